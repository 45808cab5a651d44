"""A checkpoint into the shipped file: Q8_0 weights, F32 gains and routers, keys and tokenizer (engine/MODEL.md, section 9).

    python -m train.export CHECKPOINT TOKENIZER.json OUT.gguf
    python -m train.export --unpack MODEL.gguf CHECKPOINT      the weights back, for training to go on from
    python -m train.export --random TOKENIZER.json OUT.gguf    an untrained model, for tests
"""

from __future__ import annotations

import dataclasses
import json
import sys

import numpy as np
import torch
import torch.nn.functional as F
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
from gguf.quants import dequantize, quantize

from train.model import Config, Matrix, Percept
from train.stages import packed_state, unpacked_state
from train.tokenizer import BOS, EOS, SPECIALS


def matrices(model: Percept) -> set[str]:
    """Names of the parameters that the file holds in Q8_0."""
    return {f"{name}.weight" for name, m in model.named_modules() if isinstance(m, Matrix)}


def tensors(model: Percept):
    """(name, f32 array, quantised?) in the file's order."""
    quantised = matrices(model)
    for name, p in model.named_parameters():
        if name in ("space_scale", "space_bias"):
            continue
        x = p.detach().float().cpu()
        if name.endswith(".density") and name.startswith("blk."):
            x = F.softplus(x)
        if name == "density.down.weight":
            x = x.reshape(-1)
        yield name, x.numpy(), name in quantised


def export(model: Percept, tokenizer_path: str, out: str, name: str = "percept-spark") -> None:
    c = model.c
    w = GGUFWriter(out, "percept")
    w.data_alignment = 64
    w.add_custom_alignment(64)
    w.add_name(name)
    w.add_license("Apache-2.0")
    ints = {
        "context_length": c.context, "embedding_length": c.d_model, "block_count": c.n_layers,
        "attention.group_count": c.n_groups, "attention.head_count_per_group": 1, "attention.head_dim": c.head_dim,
        "expert_count": c.n_experts, "expert_feed_forward_length": c.d_expert, "expert_used_cap": c.expert_cap,
        "density_length": c.d_density, "space.length": c.d_model,
        "encoder.head_dim": c.head_dim, "encoder.feed_forward_length": c.d_ffn, "encoder.pool_count": c.n_pool,
        "image.block_count": c.image_layers, "image.patch_size": 16, "audio.block_count": c.audio_layers,
        "audio.mel_count": 80, "text.block_count": c.text_layers,
    }
    for key, value in ints.items():
        w.add_uint32(f"percept.{key}", value)
    floats = {
        "rope.freq_base": c.rope_base, "norm_epsilon": c.eps, "image.rope.freq_base": c.image_rope_base,
        "space.scale": model.space_scale.exp().item(), "space.bias": model.space_bias.item(),
    }
    for key, value in floats.items():
        w.add_float32(f"percept.{key}", value)

    with open(tokenizer_path) as f:
        bpe = json.load(f)["model"]
    tokens = sorted(bpe["vocab"], key=bpe["vocab"].get)
    merges = [m if isinstance(m, str) else " ".join(m) for m in bpe["merges"]]
    assert len(tokens) == c.vocab_size and tokens[: len(SPECIALS)] == SPECIALS
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("percept")
    w.add_token_list(tokens)
    w.add_token_merges(merges)
    w.add_token_types([3] * len(SPECIALS) + [1] * (len(tokens) - len(SPECIALS)))
    w.add_bos_token_id(BOS)
    w.add_eos_token_id(EOS)

    for tensor_name, x, quantised in tensors(model):
        if quantised:
            w.add_tensor(tensor_name, quantize(np.ascontiguousarray(x), GGMLQuantizationType.Q8_0), raw_dtype=GGMLQuantizationType.Q8_0)
        else:
            w.add_tensor(tensor_name, np.ascontiguousarray(x, dtype=np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def load_gguf(path: str) -> Percept:
    """The shipped file back into the reference model, weights dequantised: the reference of the parity tests."""
    r = GGUFReader(path)
    get = lambda key: r.fields[f"percept.{key}"].contents()
    c = Config(
        d_model=get("embedding_length"), n_layers=get("block_count"), n_groups=get("attention.group_count"),
        n_experts=get("expert_count"), d_expert=get("expert_feed_forward_length"), expert_cap=get("expert_used_cap"),
        image_layers=get("image.block_count"), audio_layers=get("audio.block_count"), text_layers=get("text.block_count"),
        d_ffn=get("encoder.feed_forward_length"), vocab_size=len(r.fields["tokenizer.ggml.tokens"].data),
    )
    model = Percept(c)
    state = {}
    for t in r.tensors:
        x = torch.from_numpy(np.array(dequantize(t.data, t.tensor_type), dtype=np.float32)).reshape(tuple(int(n) for n in reversed(t.shape)))
        if t.name.endswith(".density") and t.name.startswith("blk."):
            x = x + torch.log(-torch.expm1(-x))         # softplus undone
        state[t.name] = x.reshape(1, -1) if t.name == "density.down.weight" else x
    state["space_scale"], state["space_bias"] = torch.tensor(get("space.scale")).log(), torch.tensor(get("space.bias"))
    model.load_state_dict(state)
    return model.eval()


def randomised(seed: int = 1, config: Config | None = None) -> Percept:
    """An untrained model whose gains, biases and routers are random too, so that a missing one shows."""
    torch.manual_seed(seed)
    model = Percept(config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("norm.weight"):
                p.uniform_(0.5, 1.5)
            elif name.endswith("bias") and p.ndim == 1:
                p.add_(torch.randn_like(p) * 0.1)
        for layer in model.blk:
            layer.attn_gate.weight.mul_(4), layer.attn_gate.bias.fill_(-0.4)
            layer.ffn_gate_inp.weight.mul_(4), layer.ffn_gate_inp.bias.fill_(-2.2)
    return model.eval()


if __name__ == "__main__":
    if sys.argv[1] == "--unpack":
        shipped = load_gguf(sys.argv[2])
        torch.save({"config": dataclasses.asdict(shipped.c), "model": packed_state(shipped)}, sys.argv[3])
    elif sys.argv[1] == "--random":
        export(randomised(), sys.argv[2], sys.argv[3], "percept-random")
    else:
        checkpoint = torch.load(sys.argv[1], map_location="cpu", weights_only=False)
        trained = Percept(Config(**checkpoint["config"]))
        trained.load_state_dict(unpacked_state(checkpoint["model"]))
        export(trained, sys.argv[2], sys.argv[3])
