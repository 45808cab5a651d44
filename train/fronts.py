"""Pixels to patches and samples to log-mel frames: engine/MODEL.md, sections 2 and 3, in PyTorch."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

PATCH = 16
PATCH_INPUTS = 3 * PATCH * PATCH + 32
MEL_BINS = 80
HOP, FFT = 160, 400
SAMPLE_RATE = 16000


def grid_of(width: int, height: int, max_patches: int) -> tuple[int, int]:
    """(rows, cols) of patches for a picture of this size."""
    area, budget = width * height, max_patches * PATCH * PATCH
    s = math.sqrt(budget / area) if area > budget else math.sqrt(4096 / area) if area < 4096 else 1.0
    side = lambda n: min(64, max(1, math.floor(n * s / PATCH + 0.5)))
    rows, cols = side(height), side(width)
    while rows * cols > max_patches:
        if rows > cols:
            rows -= 1
        else:
            cols -= 1
    return rows, cols


def resize(image: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """[B, 3, H, W] f32 -> [B, 3, 16 rows, 16 cols], antialiased triangle filter."""
    size = (PATCH * grid[0], PATCH * grid[1])
    if tuple(image.shape[-2:]) == size:
        return image
    return F.interpolate(image, size=size, mode="bilinear", antialias=True, align_corners=False)


def patches(image: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """[B, 3, 16 rows, 16 cols] with values 0..255 -> [B, rows * cols, 800]."""
    b, (rows, cols) = image.shape[0], grid
    p = image.float() / 127.5 - 1.0
    p = p.view(b, 3, rows, PATCH, cols, PATCH).permute(0, 2, 4, 3, 5, 1).reshape(b, rows * cols, 3 * PATCH * PATCH)
    freq = math.pi * 2.0 ** (torch.arange(8, device=image.device, dtype=torch.float32) / 2)
    u = (torch.arange(rows, device=image.device, dtype=torch.float32) + 0.5) / rows
    v = (torch.arange(cols, device=image.device, dtype=torch.float32) + 0.5) / cols
    fu, fv = u[:, None] * freq, v[:, None] * freq
    fu, fv = torch.cat([fu.sin(), fu.cos()], -1), torch.cat([fv.sin(), fv.cos()], -1)
    pos = torch.cat([fu[:, None].expand(rows, cols, 16), fv[None].expand(rows, cols, 16)], -1).reshape(1, rows * cols, 32)
    return torch.cat([p, pos.expand(b, -1, -1)], dim=-1)


def _hz_to_mel(f: float) -> float:
    return f / (200.0 / 3) if f < 1000 else 15.0 + math.log(f / 1000.0) * 27.0 / math.log(6.4)


def _mel_to_hz(m: float) -> float:
    return m * 200.0 / 3 if m < 15 else 1000.0 * math.exp(math.log(6.4) / 27.0 * (m - 15.0))


def mel_filters() -> torch.Tensor:
    """[201, 80]: slaney scale and area normalisation, 0 to 8000 Hz."""
    top = _hz_to_mel(SAMPLE_RATE / 2)
    edges = [_mel_to_hz(top * i / (MEL_BINS + 1)) for i in range(MEL_BINS + 2)]
    bins = torch.arange(FFT // 2 + 1, dtype=torch.float64) * SAMPLE_RATE / FFT
    out = torch.zeros(FFT // 2 + 1, MEL_BINS, dtype=torch.float64)
    for i in range(MEL_BINS):
        lo, mid, hi = edges[i : i + 3]
        tri = torch.minimum((bins - lo) / (mid - lo), (hi - bins) / (hi - mid)).clamp_min(0)
        out[:, i] = tri * 2.0 / (hi - lo)
    return out.float()


_constants: dict = {}


def log_mel(samples: torch.Tensor) -> torch.Tensor:
    """[B, n] in [-1, 1] -> [B, ceil(n / 160), 80]."""
    key = samples.device
    if key not in _constants:
        _constants[key] = (torch.hann_window(FFT, periodic=True, device=key), mel_filters().to(key))
    window, filters = _constants[key]
    n = samples.shape[1]
    frames = -(-n // HOP)
    x = F.pad(samples.float(), (120, (frames - 1) * HOP + FFT - 120 - n))
    x = x.unfold(1, FFT, HOP) * window
    power = torch.view_as_real(torch.fft.rfft(x)).pow(2).sum(-1)
    return (torch.log10((power @ filters).clamp_min(1e-8)) + 4.0) / 4.0
