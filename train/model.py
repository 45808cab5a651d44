"""The Percept model: the readable reference definition.

engine/MODEL.md is the contract; names of parameters here are the tensor names of the GGUF file.
One definition serves training and reference:

- `Percept.eval()` in f32 computes exactly what engine/MODEL.md says (masked softmax, expert cap);
- training uses the same functions with flash attention, in which a key's log gate rides in two
  extra dimensions of the head, because a bf16 sum of both halves keeps 16 bits of it.

Quantisation-aware training (`Quant`) fakes the shipped numbers: weights in Q8_0 blocks of 32,
activations in int8 blocks of 32 with an f16 scale, straight-through gradients.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
import torch.nn as nn
import torch.nn.functional as F

from train.fronts import MEL_BINS, PATCH_INPUTS

BLOCK = 32          # Q8_0
NEVER = -1.0e4      # log gate of a key outside its group, in training: exp() of it is 0 in f32


@dataclass
class Config:
    d_model: int = 256
    vocab_size: int = 2048
    context: int = 2048
    n_layers: int = 6
    n_groups: int = 8
    head_dim: int = 32
    n_experts: int = 48
    d_expert: int = 64
    expert_cap: int = 8
    d_density: int = 64
    rope_base: float = 10000.0
    eps: float = 1e-6
    image_layers: int = 6
    audio_layers: int = 6
    text_layers: int = 4
    d_ffn: int = 512
    n_pool: int = 4
    image_rope_base: float = 100.0
    # 'routed', or a comparison model: 'dense' (every head, top-4 experts) and 'static' (two heads, top-2 experts)
    routing: str = "routed"


# --- quantisation -------------------------------------------------------------------------------


def q8_blocks(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """x in Q8_0: whole numbers [n, 32] as f32 and scales [n, 1] in f16. Per 32 along the last axis, max/127, halves away from zero."""
    b = x.float().reshape(-1, BLOCK)
    scale = b.abs().amax(dim=1, keepdim=True) / 127.0
    q = torch.where(scale > 0, b / scale.clamp_min(1e-30), torch.zeros_like(b))
    return torch.trunc(q + torch.copysign(torch.full_like(q, 0.5), q)), scale.to(torch.float16)


def fake_q8(x: torch.Tensor) -> torch.Tensor:
    """x through Q8_0 and back; the gradient passes straight through."""
    q, scale = q8_blocks(x.detach())
    return x + ((q * scale.float()).reshape(x.shape).to(x.dtype) - x).detach()


@dataclass
class Quant:
    weights: bool = False
    activations: bool = False


# --- parts --------------------------------------------------------------------------------------


def rms(x: torch.Tensor, weight: torch.Tensor | None, eps: float) -> torch.Tensor:
    x = x.float()
    y = x * torch.rsqrt(x.pow(2).mean(dim=-1, keepdim=True) + eps)
    return y if weight is None else y * weight


def swish_mul(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    return F.silu(gate) * up


def expert_mix(gate: torch.Tensor, up: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
    """[T, N, w] products weighted by their gates [T, N]."""
    return F.silu(gate) * up * r.to(gate.dtype).unsqueeze(-1)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotate-half; x [..., n, heads, dh], cos and sin [n, dh/2] (f32)."""
    a, b = x.float().chunk(2, dim=-1)
    cos, sin = cos.unsqueeze(-2), sin.unsqueeze(-2)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


def gated_heads(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, g: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scaled q, k and v [B, G, T, dh] with eight more dimensions, in two of which a key's log gate [B, G, T] is added to its scores."""
    log_g = torch.where(g > 0, g.clamp_min(1e-20).log(), NEVER)
    hi = log_g.to(v.dtype)
    lo = (log_g - hi.float()).to(v.dtype)
    one = torch.ones_like(hi)
    more = lambda x, a, b: torch.cat([x.to(v.dtype), a.unsqueeze(-1), b.unsqueeze(-1), torch.zeros_like(v[..., :6])], dim=-1)
    return more(q / math.sqrt(q.shape[-1]), one, one), more(k, hi, lo), torch.cat([v, torch.zeros_like(v[..., :8])], dim=-1)


class Matrix(nn.Module):
    """y = x Wᵀ with W [..., out, in]; may carry a low-rank adapter and fake its quantisation."""

    def __init__(self, quant: Quant, *shape: int, gain: float = 1.0, bias: bool = False):
        super().__init__()
        self.quant = quant
        self.weight = nn.Parameter(torch.randn(*shape) * gain / math.sqrt(shape[-1]))
        self.bias = nn.Parameter(torch.zeros(shape[-2])) if bias else None
        self.lora_a = self.lora_b = None
        self.lora_scale = 0.0

    def add_lora(self, rank: int, alpha: float) -> None:
        lead, (out, inp) = self.weight.shape[:-2], self.weight.shape[-2:]
        device = self.weight.device
        self.lora_a = nn.Parameter(torch.randn(*lead, rank, inp, device=device) / math.sqrt(inp))
        self.lora_b = nn.Parameter(torch.zeros(*lead, out, rank, device=device))
        self.lora_scale = alpha / rank
        self.weight.requires_grad_(False)

    def merge_lora(self) -> None:
        if self.lora_a is not None:
            self.weight.data += self.lora_scale * (self.lora_b.data @ self.lora_a.data)
            self.lora_a = self.lora_b = None

    def now(self) -> torch.Tensor:
        w = self.weight
        if self.lora_a is not None:
            w = w + self.lora_scale * (self.lora_b.float() @ self.lora_a.float())
        return fake_q8(w) if self.quant.weights else w

    def act(self, x: torch.Tensor) -> torch.Tensor:
        return fake_q8(x) if self.quant.activations else x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(self.act(x), self.now(), self.bias)


class Gain(nn.Module):
    def __init__(self, n: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n))


class Probe:
    """Receives (name, rows) at each stage; the parity fixtures are made with it."""

    def __call__(self, name: str, rows: torch.Tensor) -> None:
        pass


# --- encoders -----------------------------------------------------------------------------------


class EncoderBlock(nn.Module):
    def __init__(self, c: Config, quant: Quant):
        super().__init__()
        d, out_gain = c.d_model, 1.0 / math.sqrt(2 * 6)
        self.c = c
        self.attn_norm, self.ffn_norm = Gain(d), Gain(d)
        self.attn_q, self.attn_k, self.attn_v = (Matrix(quant, d, d) for _ in range(3))
        self.attn_out = Matrix(quant, d, d, gain=out_gain)
        self.ffn_gate, self.ffn_up = Matrix(quant, c.d_ffn, d), Matrix(quant, c.d_ffn, d)
        self.ffn_down = Matrix(quant, d, c.d_ffn, gain=out_gain)

    def forward(self, x, cos, sin, key_mask):
        c, (b, n, d) = self.c, x.shape
        h = rms(x, self.attn_norm.weight, c.eps)
        q, k, v = self.attn_q(h), self.attn_k(h), self.attn_v(h)
        heads = (b, n, d // c.head_dim, c.head_dim)
        q, k = rotate(q.view(heads), cos, sin).to(v.dtype), rotate(k.view(heads), cos, sin).to(v.dtype)
        mask = None if key_mask is None else key_mask[:, None, None, :]
        a = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.view(heads).transpose(1, 2), attn_mask=mask)
        x = x + self.attn_out(a.transpose(1, 2).reshape(b, n, d))
        h = rms(x, self.ffn_norm.weight, c.eps)
        return x + self.ffn_down(swish_mul(self.ffn_gate(h), self.ffn_up(h)))


class Encoder(nn.Module):
    """Blocks, final norm, pooling and the projection into the shared space; subclasses make the first rows."""

    def __init__(self, c: Config, quant: Quant, n_layers: int):
        super().__init__()
        self.c = c
        self.blk = nn.ModuleList([EncoderBlock(c, quant) for _ in range(n_layers)])
        self.norm = Gain(c.d_model)
        self.pool_query = Gain(1)
        self.pool_query.weight = nn.Parameter(torch.randn(c.n_pool, c.d_model) / math.sqrt(c.d_model))
        self.space = Matrix(quant, c.d_model, c.n_pool * c.d_model)

    def run(self, x, cos, sin, probe, key_mask=None):
        x = x.float()
        for i, block in enumerate(self.blk):
            x = block(x, cos, sin, key_mask)
            probe(f"block{i}", x)
        s = rms(x, self.norm.weight, self.c.eps)
        score = s @ self.pool_query.weight.t() / math.sqrt(self.c.d_model)           # [B, n, 4]
        if key_mask is not None:
            score = score.masked_fill(~key_mask.unsqueeze(-1), float("-inf"))
        pooled = (score.float().softmax(dim=1).transpose(1, 2) @ s.float()).flatten(1)
        z = self.space(pooled).float()
        v = F.normalize(z, dim=-1, eps=1e-12)
        probe("seq", s), probe("pooled", pooled), probe("vector", v)
        return s, v


def rope_1d(n: int, base: float, device) -> tuple[torch.Tensor, torch.Tensor]:
    theta = base ** (-torch.arange(16, device=device, dtype=torch.float32) / 16)
    angle = torch.arange(n, device=device, dtype=torch.float32)[:, None] * theta
    return angle.cos(), angle.sin()


def rope_2d(rows: int, cols: int, base: float, device) -> tuple[torch.Tensor, torch.Tensor]:
    theta = base ** (-torch.arange(8, device=device, dtype=torch.float32) / 8)
    r = torch.arange(rows, device=device, dtype=torch.float32)[:, None] * theta
    c = torch.arange(cols, device=device, dtype=torch.float32)[:, None] * theta
    angle = torch.cat([r[:, None].expand(rows, cols, 8), c[None].expand(rows, cols, 8)], dim=-1).reshape(rows * cols, 16)
    return angle.cos(), angle.sin()


class ImageEncoder(Encoder):
    def __init__(self, c: Config, quant: Quant):
        super().__init__(c, quant, c.image_layers)
        self.patch = Matrix(quant, c.d_model, PATCH_INPUTS, bias=True)
        self.seq_proj = Matrix(quant, c.d_model, c.d_model)

    def forward(self, patches, grid, probe=Probe()):
        """patches [B, rows * cols, 800] (train/fronts.py), grid (rows, cols)."""
        cos, sin = rope_2d(*grid, self.c.image_rope_base, patches.device)
        return self.run(self.patch(patches), cos, sin, probe)


class AudioEncoder(Encoder):
    def __init__(self, c: Config, quant: Quant):
        super().__init__(c, quant, c.audio_layers)
        self.conv1 = Matrix(quant, c.d_model, 4 * MEL_BINS, bias=True)
        self.conv2 = Matrix(quant, c.d_model, 4 * c.d_model, bias=True)
        self.seq_proj = Matrix(quant, c.d_model, c.d_model)

    @staticmethod
    def windows(x):
        """Rows 2i-1 .. 2i+2 side by side, zero outside: [B, T, w] -> [B, ceil(T/2), 4w]."""
        t = x.shape[1]
        x = F.pad(x, (0, 0, 1, 3))
        return torch.cat([x[:, j : j + t : 2] for j in range(4)], dim=-1)

    def forward(self, mel, probe=Probe()):
        """mel [B, T, 80] (train/fronts.py)."""
        x = F.silu(self.conv1(self.windows(mel)))
        x = F.silu(self.conv2(self.windows(x)))
        probe("stem", x)
        cos, sin = rope_1d(x.shape[1], self.c.rope_base, x.device)
        return self.run(x, cos, sin, probe)


class TextEncoder(Encoder):
    def __init__(self, c: Config, quant: Quant):
        super().__init__(c, quant, c.text_layers)
        self.token_embd = Matrix(quant, c.vocab_size, c.d_model)
        nn.init.normal_(self.token_embd.weight, std=1.0)

    def forward(self, ids, key_mask=None, probe=Probe()):
        cos, sin = rope_1d(ids.shape[1], self.c.rope_base, ids.device)
        return self.run(F.embedding(ids, self.token_embd.now()), cos, sin, probe, key_mask)


# --- decoder ------------------------------------------------------------------------------------


class Router(nn.Module):
    """g = relu(W h + b + softplus(a) delta + s), in f32."""

    def __init__(self, n: int, d: int, bias: float):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n, d) * 0.02)
        self.bias = nn.Parameter(torch.full((n,), bias))
        self.density = nn.Parameter(torch.full((n,), -2.0))

    def forward(self, h, delta, shift):
        with torch.autocast(h.device.type, enabled=False):
            return F.linear(h.float(), self.weight, self.bias) + F.softplus(self.density) * delta + shift.unsqueeze(-1)


class Density(nn.Module):
    def __init__(self, c: Config):
        super().__init__()
        self.c = c
        self.norm = Gain(c.d_model)
        self.up = nn.Linear(c.d_model, c.d_density)
        self.down = nn.Linear(c.d_density, 1)

    def forward(self, x):
        with torch.autocast(x.device.type, enabled=False):
            return self.down(F.silu(self.up(rms(x, self.norm.weight, self.c.eps))))


def top_k_mask(x: torch.Tensor, k: int) -> torch.Tensor:
    """True at the k largest of the last axis, ties to the lower index."""
    order = torch.sort(x, dim=-1, descending=True, stable=True).indices[..., :k]
    return torch.zeros_like(x, dtype=torch.bool).scatter_(-1, order, True)


class DecoderLayer(nn.Module):
    def __init__(self, c: Config, quant: Quant):
        super().__init__()
        d, w, n, g, dh = c.d_model, c.d_expert, c.n_experts, c.n_groups, c.head_dim
        out_gain = 1.0 / math.sqrt(2 * c.n_layers)
        self.c = c
        self.attn_norm, self.ffn_norm = Gain(d), Gain(d)
        self.attn_q_norm, self.attn_k_norm = Gain(dh), Gain(dh)
        self.attn_gate = Router(g - 1, d, bias=1.0)
        self.attn_q, self.attn_k, self.attn_v = (Matrix(quant, g * dh, d) for _ in range(3))
        self.attn_out = Matrix(quant, g, d, dh, gain=out_gain / math.sqrt(g))
        self.ffn_gate_inp = Router(n, d, bias=0.3)
        self.ffn_gate_exps, self.ffn_up_exps = Matrix(quant, n, w, d), Matrix(quant, n, w, d)
        self.ffn_down_exps = Matrix(quant, n, d, w, gain=out_gain / 2)
        self.ffn_gate_shexp, self.ffn_up_shexp = Matrix(quant, w, d), Matrix(quant, w, d)
        self.ffn_down_shexp = Matrix(quant, d, w, gain=out_gain)

    def gates(self, h, delta, shift):
        """Head gates [B, T, G]; group 0 is 1."""
        c = self.c
        if c.routing == "routed":
            g = F.relu(self.attn_gate(h, delta, shift))
        else:
            g = torch.zeros(*h.shape[:-1], c.n_groups - 1, device=h.device)
            g[..., : c.n_groups - 1 if c.routing == "dense" else 1] = 1.0
        return torch.cat([torch.ones_like(g[..., :1]), g], dim=-1)

    def expert_gates(self, h, delta, shift):
        """[B, T, N], zero outside the chosen experts."""
        c, a = self.c, self.ffn_gate_inp(h, delta, shift)
        if c.routing == "routed":
            r = F.relu(a)
            if self.training:       # ties do not happen, and a threshold is cheaper than a stable sort
                return r * (r >= r.topk(c.expert_cap, dim=-1).values[..., -1:])
            return r * top_k_mask(r, c.expert_cap)
        k = 4 if c.routing == "dense" else 2
        return torch.where(top_k_mask(a, k), a, float("-inf")).softmax(dim=-1) * k * 0.5

    def attention(self, q, k, v, g):
        """q, k, v [B, T, G, dh] -> [B, T, G, dh]; the key's gate enters as its logarithm."""
        c = self.c
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        g = g.transpose(1, 2)                                                     # [B, G, T]
        if self.training:
            q, k, v = gated_heads(q, k, v, g)
            a = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1.0)[..., : c.head_dim]
            return a.transpose(1, 2)
        t = q.shape[2]
        score = q.float() @ k.float().transpose(-1, -2) / math.sqrt(c.head_dim)
        visible = torch.ones(t, t, dtype=torch.bool, device=q.device).tril() & (g > 0).unsqueeze(-2)
        score = (score + g.clamp_min(1e-38).log().unsqueeze(-2)).masked_fill(~visible, float("-inf"))
        p = torch.nan_to_num(score.softmax(dim=-1))     # rows of inactive queries may see nothing; their gate is 0
        return (p @ v.float()).transpose(1, 2)

    def forward(self, x, delta, shift, cos, sin):
        """-> the rows after the layer, head gates [B, T, G], expert gates [B, T, N]."""
        c, (b, t, d) = self.c, x.shape
        h = rms(x, self.attn_norm.weight, c.eps)
        g = self.gates(h, delta, shift)
        heads = (b, t, c.n_groups, c.head_dim)
        q = rotate(rms(self.attn_q(h).view(heads), self.attn_q_norm.weight, c.eps), cos, sin)
        k = rotate(rms(self.attn_k(h).view(heads), self.attn_k_norm.weight, c.eps), cos, sin)
        a = self.attention(q, k, self.attn_v(h).view(heads), g)
        a = self.attn_out.act(a) * g.to(a.dtype).unsqueeze(-1)
        # sum over groups of Wo_i a_i, as one product over the concatenated heads
        x = x + F.linear(a.reshape(b, t, -1), self.attn_out.now().permute(1, 0, 2).reshape(d, -1))

        h = rms(x, self.ffn_norm.weight, c.eps)
        r = self.expert_gates(h, delta, shift)
        hq = self.ffn_gate_exps.act(h)
        wide = (b, t, c.n_experts, c.d_expert)
        gate = F.linear(hq, self.ffn_gate_exps.now().flatten(0, 1)).view(wide)
        up = F.linear(hq, self.ffn_up_exps.now().flatten(0, 1)).view(wide)
        if self.ffn_down_exps.quant.activations:
            mixed = fake_q8(swish_mul(gate, up)) * r.to(gate.dtype).unsqueeze(-1)
        else:
            mixed = expert_mix(gate, up, r)
        y = F.linear(mixed.flatten(2), self.ffn_down_exps.now().permute(1, 0, 2).reshape(d, -1))
        x = x + y + self.ffn_down_shexp(swish_mul(F.linear(hq, self.ffn_gate_shexp.now()), F.linear(hq, self.ffn_up_shexp.now())))
        return x, g, r


@dataclass
class Routing:
    """What the gates did: lists over layers of [B, T, G] and [B, T, N], and the density [B, T, 1]."""

    heads: list = field(default_factory=list)
    experts: list = field(default_factory=list)
    density: torch.Tensor | None = None


class Percept(nn.Module):
    def __init__(self, config: Config | None = None):
        super().__init__()
        c = self.c = config or Config()
        self.quant = Quant()
        self.img, self.aud, self.txt = ImageEncoder(c, self.quant), AudioEncoder(c, self.quant), TextEncoder(c, self.quant)
        self.space_proj = Matrix(self.quant, c.d_model, c.d_model)
        self.space_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.space_bias = nn.Parameter(torch.tensor(-10.0))
        self.token_embd = Matrix(self.quant, c.vocab_size, c.d_model)
        nn.init.normal_(self.token_embd.weight, std=0.05)
        self.density = Density(c)
        self.blk = nn.ModuleList([DecoderLayer(c, self.quant) for _ in range(c.n_layers)])
        self.output_norm = Gain(c.d_model)

    # What enters the decoder -------------------------------------------------

    def media_rows(self, encoder: Encoder, s, v):
        """The vector row, then the sequence rows: [B, 1 + n, d]."""
        vec = self.space_proj(16.0 * v).unsqueeze(1)
        return torch.cat([vec.float(), encoder.seq_proj(s).float()], dim=1)

    def embed(self, ids):
        return F.embedding(ids, self.token_embd.now())

    # Decoder -----------------------------------------------------------------

    def decode(self, x, shift, probe=Probe()):
        """Rows [B, T, d] and their effort shift [B, T] -> final normed rows [B, T, d] and the routing."""
        cos, sin = rope_1d(x.shape[1], self.c.rope_base, x.device)
        delta = self.density(x)
        probe("density", delta)
        routing = Routing(density=delta)
        x = x.float()
        for i, layer in enumerate(self.blk):
            x, g, r = layer(x, delta, shift, cos, sin)
            probe(f"layer{i}/gates", g), probe(f"layer{i}/experts", r), probe(f"layer{i}/out", x)
            routing.heads.append(g)
            routing.experts.append(r)
        return rms(x, self.output_norm.weight, self.c.eps), routing

    def logits(self, rows):
        y = self.token_embd(rows)
        return y
