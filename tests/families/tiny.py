"""Tiny random models of published families that can be talked to: the vocabulary of a fixture, and
weights from a seed, as a GGUF file or as a folder of safetensors. The standard library alone."""

import array
import json
import os
import random
import struct

U32, F32, STRING, ARRAY = 4, 6, 8, 9
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}

D, HEADS, KEY_HEADS, HEAD, EXPERTS, USED, FF, LAYERS, CONTEXT = 64, 4, 2, 32, 8, 3, 32, 2, 512

QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
         r"|\s+(?!\S)|\s+")


class Keys:
    """The keys of a GGUF file: {name: (bytes of the value with its type, the value itself)}."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = file.read()
        self.at = 8
        _, count = self.take("<QQ")
        self.found = {}
        for _ in range(count):
            name = self.string()
            begin = self.at
            value = self.value(self.take("<I")[0])
            self.found[name] = (self.data[begin:self.at], value)

    def take(self, form):
        found = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return found

    def string(self):
        n, = self.take("<Q")
        self.at += n
        return self.data[self.at - n:self.at].decode("utf-8", "surrogateescape")

    def value(self, kind):
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            inner, n = self.take("<IQ")
            return [self.value(inner) for _ in range(n)]
        self.at += SIZES[kind]
        return int.from_bytes(self.data[self.at - SIZES[kind]:self.at], "little")


def string(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


def shapes(n_tokens):
    """{name: shape with the innermost dimension last}; {} stands for the layer."""
    yield "token_embd", (n_tokens, D)
    for i in range(LAYERS):
        layer = f"blk.{i}."
        yield layer + "attn_norm", (D,)
        yield layer + "ffn_norm", (D,)
        yield layer + "attn_q_norm", (HEAD,)
        yield layer + "attn_k_norm", (HEAD,)
        yield layer + "attn_q", (HEADS * HEAD, D)
        yield layer + "attn_k", (KEY_HEADS * HEAD, D)
        yield layer + "attn_v", (KEY_HEADS * HEAD, D)
        yield layer + "attn_output", (D, HEADS * HEAD)
        yield layer + "ffn_gate_inp", (EXPERTS, D)
        yield layer + "ffn_gate_exps", (EXPERTS, FF, D)
        yield layer + "ffn_up_exps", (EXPERTS, FF, D)
        yield layer + "ffn_down_exps", (EXPERTS, D, FF)
    yield "output_norm", (D,)
    yield "output", (n_tokens, D)


class Tiny:
    """Of the family qwen3moe, with the vocabulary of qwen2.gguf."""

    def __init__(self, vocabulary, seed=0):
        self.keys = Keys(vocabulary).found
        self.tokens = self.keys["tokenizer.ggml.tokens"][1]
        draw = random.Random(seed)
        self.tensors = {}
        for name, shape in shapes(len(self.tokens)):
            n, norm = 1, "norm" in name
            for size in shape:
                n *= size
            spread = 0.5 if norm else 4 / shape[-1] ** 0.5
            self.tensors[name] = shape, array.array("f", (
                norm + spread * (draw.random() - 0.5) for _ in range(n)))

    def numbers(self):
        a = "qwen3moe."
        yield a + "context_length", U32, CONTEXT
        yield a + "embedding_length", U32, D
        yield a + "block_count", U32, LAYERS
        yield a + "attention.head_count", U32, HEADS
        yield a + "attention.head_count_kv", U32, KEY_HEADS
        yield a + "attention.key_length", U32, HEAD
        yield a + "attention.layer_norm_rms_epsilon", F32, 1e-6
        yield a + "rope.freq_base", F32, 1e6
        yield a + "expert_count", U32, EXPERTS
        yield a + "expert_used_count", U32, USED
        yield a + "expert_feed_forward_length", U32, FF

    def write_file(self, path):
        keys = [string("general.architecture") + struct.pack("<I", STRING) + string("qwen3moe")]
        keys += [string(name) + struct.pack("<I" + ("f" if kind == F32 else "I"), kind, value)
                 for name, kind, value in self.numbers()]
        keys += [string(name) + raw for name, (raw, _) in self.keys.items() if name.startswith("tokenizer.")]
        head = struct.pack("<4sIQQ", b"GGUF", 3, len(self.tensors), len(keys)) + b"".join(keys)
        data = b""
        for name, (shape, values) in self.tensors.items():
            head += string(name + ".weight") + struct.pack("<I", len(shape))
            head += b"".join(struct.pack("<Q", size) for size in reversed(shape))
            head += struct.pack("<IQ", 0, len(data))
            data += values.tobytes() + bytes(-4 * len(values) % 32)
        with open(path, "wb") as file:
            file.write(head + bytes(-len(head) % 32) + data)

    def published(self):
        """(name that authors give it, shape, values): experts one by one."""
        names = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
                 "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
                 "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
                 "attn_output": "self_attn.o_proj", "ffn_gate_inp": "mlp.gate"}
        top = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
        for name, (shape, values) in self.tensors.items():
            if name in top:
                yield top[name] + ".weight", shape, values
                continue
            _, layer, what = name.split(".")
            if what in names:
                yield f"model.layers.{layer}.{names[what]}.weight", shape, values
                continue
            size = shape[1] * shape[2]
            for e in range(EXPERTS):
                yield (f"model.layers.{layer}.mlp.experts.{e}.{what[4:-5]}_proj.weight", shape[1:],
                       values[e * size:(e + 1) * size])

    def config(self):
        return {"model_type": "qwen3_moe", "architectures": ["Qwen3MoeForCausalLM"], "hidden_size": D,
                "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": KEY_HEADS,
                "head_dim": HEAD, "num_experts": EXPERTS, "num_experts_per_tok": USED,
                "moe_intermediate_size": FF, "intermediate_size": 3 * FF, "norm_topk_prob": True, "hidden_act": "silu",
                "vocab_size": len(self.tokens), "max_position_embeddings": CONTEXT, "rope_theta": 1e6,
                "rms_norm_eps": 1e-6, "attention_bias": False, "decoder_sparse_step": 1, "mlp_only_layers": [],
                "rope_scaling": None, "use_sliding_window": False, "tie_word_embeddings": False,
                "eos_token_id": self.tokens.index("<|im_end|>")}

    def tokenizer(self):
        types = self.keys["tokenizer.ggml.token_type"][1]
        ids = range(len(self.tokens))
        added = [{"id": i, "content": self.tokens[i], "single_word": False, "lstrip": False, "rstrip": False,
                  "normalized": False, "special": types[i] == 3} for i in ids if types[i] in (3, 4)]
        return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
                "normalizer": {"type": "NFC"},
                "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                    {"type": "Split", "pattern": {"Regex": QWEN2}, "behavior": "Isolated", "invert": False},
                    {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}]},
                "post_processor": None, "decoder": {"type": "ByteLevel"},
                "model": {"type": "BPE", "dropout": None, "unk_token": None, "byte_fallback": False,
                          "ignore_merges": False, "vocab": {self.tokens[i]: i for i in ids if types[i] == 1},
                          "merges": self.keys["tokenizer.ggml.merges"][1]}}

    def write_folder(self, path):
        os.mkdir(path)
        for name, content in ("config.json", self.config()), ("tokenizer.json", self.tokenizer()):
            with open(os.path.join(path, name), "w", encoding="utf-8") as file:
                json.dump(content, file)
        header, data = {}, b""
        for name, shape, values in self.published():
            header[name] = {"dtype": "F32", "shape": list(shape),
                            "data_offsets": [len(data), len(data) + 4 * len(values)]}
            data += values.tobytes()
        head = json.dumps(header).encode()
        head += b" " * (-len(head) % 8)
        with open(os.path.join(path, "model.safetensors"), "wb") as file:
            file.write(struct.pack("<Q", len(head)) + head + data)
