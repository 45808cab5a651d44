"""Short runs that tell what routing costs and what the curriculum gives.

    python -m train.compare --out DIR --minutes 22 --steps 1800 --init final-routed.pt

Arms: 'routed'; 'dense', the same model with every head and top-4 experts; 'static', two groups and top-2 experts always on, about the
bytes of the routed one. All begin with the trained encoders and a decoder made anew, so that the scores are high enough to tell
them apart. Then whole models from nothing, with and without the curriculum. Seeds go on until the minutes are used; each run
logs its own final score to log-*.jsonl in DIR, and `train.card` makes the tables.
"""

from __future__ import annotations

import argparse
import gc
import time

import torch

from train import stages

HALF = dict(batch_scale=0.5, scenes=2, score_every=1e9, eager=False, resume=False, begin=0.0)
SEEDS = 3


def runs(init: str):
    """(name, what differs) in the order of what one wants to know first."""
    for seed in range(1, SEEDS + 1):
        for arm in ("routed", "dense", "static"):
            yield f"arms-{arm}-{seed}", dict(arm=arm, seed=seed, init=init, new="decoder", no_curriculum=True)
        for plain in (False, True):
            yield f"curriculum-{'without' if plain else 'with'}-{seed}", dict(arm="routed", seed=seed, init=None, new=None, no_curriculum=plain)


def main() -> None:
    args = stages.options(__doc__).parse_args()
    pools, validation, device = stages.opened(argparse.Namespace(**{**vars(args), "no_curriculum": True}))
    began, longest = time.monotonic(), 0.0
    for name, differs in runs(args.init):
        at = time.monotonic()
        if at - began + longest > 60 * args.minutes:
            break
        pools.difficulty.value = 1.0 if differs["no_curriculum"] else 0.15
        pools.renew()
        run = stages.Run(argparse.Namespace(**{**vars(args), **HALF, **differs}), pools, validation, device, name)
        run.train()
        del run
        gc.collect()                # a run and its graphs refer to each other
        torch.cuda.empty_cache()
        longest = max(longest, time.monotonic() - at)
    pools.close()


if __name__ == "__main__":
    main()
