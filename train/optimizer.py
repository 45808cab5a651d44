"""Muon for matrices, AdamW for the rest.

Muon (Jordan, 2024): the momentum of a matrix, made nearly orthogonal by five Newton-Schulz steps. Its update is scaled by
0.2 sqrt(max(out, in)), so that one learning rate serves both (Moonlight, arXiv 2502.16982). Matrices of equal shape go together.
"""

from __future__ import annotations

from collections import defaultdict

import torch


def orthogonal(g: torch.Tensor) -> torch.Tensor:
    """[n, out, in] -> nearly orthogonal factors, in bf16."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.bfloat16()
    flip = x.shape[-2] > x.shape[-1]
    if flip:
        x = x.transpose(-1, -2)
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        s = x @ x.transpose(-1, -2)
        x = a * x + (b * s + c * s @ s) @ x
    return x.transpose(-1, -2) if flip else x


class Muon(torch.optim.Optimizer):
    """lr may be a tensor of no dimensions, so that a captured step can follow a schedule."""

    def __init__(self, params, lr, momentum: float = 0.95, weight_decay: float = 0.05):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            shapes = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    shapes[p.shape[-2:]].append(p)
            for (out, inp), params in shapes.items():
                grads = [p.grad for p in params]
                momenta = []
                for p in params:
                    state = self.state[p]
                    if "m" not in state:
                        state["m"] = torch.zeros_like(p)
                    momenta.append(state["m"])
                torch._foreach_lerp_(momenta, grads, 1 - group["momentum"])
                ahead = torch._foreach_lerp(grads, momenta, group["momentum"])      # Nesterov
                update = orthogonal(torch.cat([u.reshape(-1, out, inp) for u in ahead]))
                update = update.float() * (group["lr"] * 0.2 * max(out, inp) ** 0.5)
                parts = update.split([p.numel() // (out * inp) for p in params])
                torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_sub_(params, [u.reshape(p.shape) for u, p in zip(parts, params)])
