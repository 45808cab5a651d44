"""What finished weights answer without parts of what they are shown, by teacher forcing; `train.card` makes the table.

    python -m train.report WEIGHTS.pt [--validation 300] >> LOG.jsonl
"""

from __future__ import annotations

import argparse
import json

import torch

from train import stages
from train.model import Percept


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("weights")
    p.add_argument("--tokenizer", default="train/tokenizer.json")
    p.add_argument("--validation", type=int, default=300, help="examples of the commonest kinds; rarer ones have a share of it")
    args = p.parse_args()
    model = Percept()
    model.load_state_dict(stages.unpacked_state(torch.load(args.weights, map_location="cpu", weights_only=False)["model"]))
    validation = stages.Validation(args.tokenizer, args.validation)
    validation.to(torch.device("cpu"))
    examples = sum(len(kinds) for _, _, kinds, _ in validation.chunks)
    for parts in ("both", "vector", "sequence", "none"):
        print(json.dumps(dict(event="ablation", parts=parts, examples=examples, score=validation.score(model, 0.0, parts))), flush=True)


if __name__ == "__main__":
    main()
