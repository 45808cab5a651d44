#!/usr/bin/env python3
"""Write the model fixtures: tiny random checkpoints of the published families as GGUF files, and
the f32 logits that transformers has for them.

All weights are random, norm gains too (gains of one would hide a missing norm), and rounded to
what the file keeps before the reference runs. Needs torch, transformers, gguf (PyPI).

    python3 tests/families/make_models.py tests/families
"""
import pathlib
import sys

import gguf
import numpy as np
import torch
from transformers import OlmoeConfig, OlmoeForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM

F32, F16, BF16, Q8_0 = (gguf.GGMLQuantizationType[t] for t in ("F32", "F16", "BF16", "Q8_0"))
VOCAB, CONTEXT = 96, 512
COMMON = dict(vocab_size=VOCAB, max_position_embeddings=CONTEXT, tie_word_embeddings=False, attention_bias=False,
              hidden_act="silu", pad_token_id=None, bos_token_id=1, eos_token_id=2)

# What the larger matrices are kept as, so that every type is somewhere.
TYPES = {
    "qwen3moe": dict(token_embd=F16, output=BF16, attn_q=F32, attn_k=BF16, attn_v=F16, attn_output=Q8_0, gate=Q8_0, up=BF16, down=F16),
    "olmoe": dict(token_embd=Q8_0, output=F32, attn_q=BF16, attn_k=F16, attn_v=Q8_0, attn_output=F16, gate=BF16, up=F16, down=Q8_0),
    "tied": dict(token_embd=BF16, attn_q=F16, attn_k=F16, attn_v=F16, attn_output=BF16, gate=F16, up=F16, down=BF16),
}


def qwen3moe():
    return Qwen3MoeForCausalLM(Qwen3MoeConfig(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2, head_dim=32, num_experts=8,
        num_experts_per_tok=3, moe_intermediate_size=32, intermediate_size=96, norm_topk_prob=True, rope_theta=1e6,
        rms_norm_eps=1e-6, **COMMON))


def olmoe():
    return OlmoeForCausalLM(OlmoeConfig(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4, num_experts=8,
        num_experts_per_tok=4, intermediate_size=32, norm_topk_prob=False, rope_theta=1e4, rms_norm_eps=1e-5, clip_qkv=0.7,
        **COMMON))


def tied():
    return Qwen3MoeForCausalLM(Qwen3MoeConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=1, head_dim=64, num_experts=4,
        num_experts_per_tok=2, moe_intermediate_size=32, intermediate_size=64, norm_topk_prob=False, rope_theta=1e7,
        rms_norm_eps=1e-6, **{**COMMON, "tie_word_embeddings": True}))


def rounded(x, kind):
    """An array as the file keeps it, and the f32 values that it then has."""
    data = gguf.quants.quantize(x, kind)
    return data, gguf.quants.dequantize(data, kind).reshape(x.shape)


def randomise(model, rng):
    for name, p in model.named_parameters():
        spread = 0.3 if "norm" in name else 0.6 if name.endswith("mlp.gate.weight") else 2.5 / p.shape[-1] ** 0.5
        x = rng.standard_normal(tuple(p.shape), dtype=np.float32) * np.float32(spread)
        p.data = torch.from_numpy(x + np.float32(1 if "norm" in name else 0))


LAYER = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_norm": "attn_q_norm",
         "self_attn.k_norm": "attn_k_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
         "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "mlp.gate": "ffn_gate_inp"}


def tensors(model):
    """(name in the file, parameter, rows of it or None): experts' gates and ups are apart there."""
    yield "token_embd", model.model.embed_tokens.weight, None
    for i, layer in enumerate(model.model.layers):
        for theirs, ours in LAYER.items():
            yield f"blk.{i}.{ours}", layer.get_submodule(theirs).weight, None
        experts = layer.mlp.experts
        half = experts.gate_up_proj.shape[1] // 2
        yield f"blk.{i}.ffn_gate_exps", experts.gate_up_proj, slice(0, half)
        yield f"blk.{i}.ffn_up_exps", experts.gate_up_proj, slice(half, None)
        yield f"blk.{i}.ffn_down_exps", experts.down_proj, None
    yield "output_norm", model.model.norm.weight, None
    if not model.config.tie_word_embeddings:
        yield "output", model.lm_head.weight, None


def add_tensors(w, model, types):
    for name, p, rows in tensors(model):
        last = name.split(".")[-1]
        kind = types.get(last.removeprefix("ffn_").removesuffix("_exps"), F32)
        if "norm" in last or last == "ffn_gate_inp":
            kind = F32
        x = p.data.numpy() if rows is None else p.data[:, rows].numpy()
        data, values = rounded(np.ascontiguousarray(x), kind)
        if rows is None:
            p.data = torch.from_numpy(values.copy())
        else:
            p.data[:, rows] = torch.from_numpy(values.copy())
        w.add_tensor(name + ".weight", data, raw_dtype=kind)


def add_keys(w, model, arch):
    c = model.config
    w.add_context_length(CONTEXT)
    w.add_embedding_length(c.hidden_size)
    w.add_block_count(c.num_hidden_layers)
    w.add_head_count(c.num_attention_heads)
    w.add_head_count_kv(c.num_key_value_heads)
    w.add_rope_freq_base(c.rope_parameters["rope_theta"])
    w.add_layer_norm_rms_eps(c.rms_norm_eps)
    w.add_expert_count(c.num_experts)
    w.add_expert_used_count(c.num_experts_per_tok)
    w.add_feed_forward_length(c.intermediate_size)
    if arch == "qwen3moe":
        w.add_key_length(c.head_dim)
        w.add_value_length(c.head_dim)
        w.add_expert_feed_forward_length(c.moe_intermediate_size)
        w.add_expert_weights_norm(c.norm_topk_prob)
    if getattr(c, "clip_qkv", None):
        w.add_clamp_kqv(c.clip_qkv)


def add_tokenizer(w):
    pieces = ["<unk>", "<s>", "</s>", "▁"] + [chr(p) for p in range(33, 33 + VOCAB - 4)]
    w.add_tokenizer_model("llama")
    w.add_token_list(pieces)
    w.add_token_types([2, 3, 3] + [1] * (VOCAB - 3))
    w.add_token_scores([-float(i) for i in range(VOCAB)])
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)


def logits(model, ids):
    """Of every position; and how near any choice of experts came to another one."""
    with torch.no_grad():
        out = model(torch.tensor([ids]), output_router_logits=True)
    top = torch.cat([r.reshape(-1, model.config.num_experts) for r in out.router_logits]).sort(descending=True).values
    k = model.config.num_experts_per_tok
    return out.logits[0].numpy(), float((top[:, k - 1] - top[:, k]).min())


def write(folder, name, make, lengths):
    torch.manual_seed(0)
    model = make().eval().float()
    model.set_attn_implementation("eager")
    arch = "olmoe" if name == "olmoe" else "qwen3moe"
    for seed in range(100):
        rng = np.random.default_rng(seed)
        randomise(model, rng)
        w = gguf.GGUFWriter(folder / f"{name}.gguf", arch)
        add_keys(w, model, arch)
        add_tokenizer(w)
        add_tensors(w, model, TYPES[name])
        prompts = [[int(i) for i in rng.integers(0, VOCAB, n)] for n in lengths]
        results = [logits(model, ids) for ids in prompts]
        # A choice that hangs by a hair may rightly fall otherwise elsewhere.
        if min(margin for _, margin in results) > 1e-4:
            break
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()

    e = gguf.GGUFWriter(folder / f"{name}-logits.gguf", "expected")
    for ids, (values, _) in zip(prompts, results):
        e.add_tensor(f"{len(ids)}.ids", np.array(ids, dtype=np.float32))
        e.add_tensor(f"{len(ids)}.logits", values.astype(np.float32))
    e.write_header_to_file()
    e.write_kv_data_to_file()
    e.write_tensors_to_file()
    e.close()
    print(name, "seed", seed, "logits", np.abs(results[-1][0]).mean(), "margin", min(m for _, m in results))


def main():
    folder = pathlib.Path(sys.argv[1])
    write(folder, "qwen3moe", qwen3moe, [1, 2, 17, 300])
    write(folder, "olmoe", olmoe, [1, 2, 17, 300])
    write(folder, "tied", tied, [1, 2, 17])


if __name__ == "__main__":
    main()
