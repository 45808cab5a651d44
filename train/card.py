"""The model card, from what the evaluation and the training wrote; nothing in it is typed.

    python -m train.card SCORES.json TRAINING-LOG.jsonl OUT.md
"""

from __future__ import annotations

import json
import sys

GOALS = {  # what the first release is to reach
    "shapes": 0.97, "words": 0.90, "sound class": 0.95, "speech": 0.90, "sprites": 0.90,
    "image-text": 0.90, "audio-text": 0.90, "speech-image": 0.75,
}
COMPARED = ["shape", "sprite", "word", "window", "sound", "instrument", "speech"]
TITLES = {
    "shapes": "shape questions", "sprite questions": "questions about emoji and icons", "words": "words of up to 8 letters, read exactly",
    "word questions": "other questions about words", "windows": "windows and dialogs", "sound class": "class of a sound (one of 36)",
    "sound questions": "other questions about sounds", "instruments": "instruments and melodies", "speech": "spoken commands and words, transcribed",
    "speech questions": "questions about speech", "text": "text-only turns",
}


def percent(x) -> str:
    return "" if x is None else f"{100 * x:.1f}"


def exact(entry: dict, key: str):
    return entry[key]["exact"] if key in entry else None


def routed_share(r: dict) -> float:
    """groups_active counts the seven routed groups."""
    return r["groups_active"] / 7


def skills(sets: dict) -> list[str]:
    out = ["| Skill (held out) | n | int8 | asked | chance | question only | f32 | effort -1 | 0 | +1 |", "|-|-|-|-|-|-|-|-|-|-|"]
    for name, e in sets.items():
        out.append("| " + " | ".join([
            TITLES.get(name, name), str(e["int8"]["n"]), percent(e["int8"]["exact"]), percent(GOALS.get(name)) if name != "speech" else "", percent(e["chance"]),
            percent(exact(e, "question only")), percent(exact(e, "f32")), percent(exact(e, "effort -1")), percent(exact(e, "int8 few")), percent(exact(e, "effort +1"))]) + " |")
        if "word_accuracy" in e["int8"]:
            out.append(f"| … word accuracy | {e['int8']['n']} | {percent(e['int8']['word_accuracy'])} | {percent(GOALS[name])} | | | {percent(e['f32'].get('word_accuracy'))} | "
                       f"{percent(e['effort -1'].get('word_accuracy'))} | {percent(e['int8 few'].get('word_accuracy'))} | {percent(e['effort +1'].get('word_accuracy'))} |")
    return out


def kinds(sets: dict) -> list[str]:
    out = ["| Kind of question | n | int8 |", "|-|-|-|"]
    for e in sets.values():
        out += [f"| `{k}` | {n} | {percent(x)} |" for k, (n, x) in e["int8"]["kinds"].items() if n >= 5]
    return out


def routing(sets: dict, info: dict) -> list[str]:
    total = info["decoder_parameters"]
    out = ["| Set | routed head groups active, % | experts active | decoder parameters active, % |", "|-|-|-|-|"]
    rows = sum(e["int8"]["routing"]["rows"] for e in sets.values())
    mean = lambda key: sum(e["int8"]["routing"][key] * e["int8"]["routing"]["rows"] for e in sets.values()) / rows
    for name, e in sets.items():
        r = e["int8"]["routing"]
        out.append(f"| {TITLES.get(name, name)} | {percent(routed_share(r))} | {r['experts_active']:.2f} | {percent(r['parameters_active'] / total)} |")
    out.append(f"| all rows | {percent(mean('groups_active') / 7)} | {mean('experts_active'):.2f} | {percent(mean('parameters_active') / total)} |")
    return out


def training(lines: list[dict]) -> list[str]:
    mine = [x for x in lines if x.get("arm") == "routed"]
    if not mine:
        return ["No training log was given."]
    last = mine[-1]
    stages = [x for x in mine if x.get("event") == "stage"]
    out = [f"{last['step']} steps in {last['seconds'] / 60:.1f} minutes on one GPU; " + ", ".join(f"stage {x['stage']} began at step {x['step']}" for x in stages) + "."]
    if last.get("event") == "saved":
        out.append(f"The weights are those saved at that step; the run broke off at step {last['ended']}, {last['why']}.")
    begun = next((x for x in lines if x.get("event") == "begun"), None)
    if begun:
        anew = f", and with new {begun['new']}" if begun.get("new") else ""
        out.append(f"They began with the weights of a model of {begun['steps']} steps{anew}.")
    wordings = [x for x in lines if x.get("event") == "wordings"]
    if wordings:
        out.append(f"Then {wordings[-1]['step']} steps of `train.wordings` in {wordings[-1]['seconds'] / 60:.1f} minutes on two CPU cores.")
    out.append("")
    ablations = [x for x in lines if x.get("event") == "ablation"]
    if ablations:
        out += [f"What the decoder receives of a medium, and what it then answers (% right by teacher forcing, {ablations[0]['examples']} held-out examples in all):", "",
                "| | " + " | ".join(COMPARED) + " |", "|-|" + "-|" * len(COMPARED)]
        for x in ablations:
            label = {"both": "vector and sequence", "vector": "vector only", "sequence": "sequence only", "none": "nothing"}[x["parts"]]
            out.append(f"| {label} | " + " | ".join(percent(x["score"].get("all " + k)) for k in COMPARED) + " |")
    return out


def compared(lines: list[dict], label: str, names: dict[str, str]) -> list[str]:
    """A row for each sort of run: the mean of its seeds, and how far they lie apart."""
    out = [f"| {label} | seeds | steps | " + " | ".join(COMPARED) + " | mean (spread) | routed groups, % | experts |", "|-|-|-|" + "-|" * len(COMPARED) + "-|-|-|"]
    for name, title in names.items():
        found = [x for x in lines if x.get("event") == "final" and x["arm"].rpartition("-")[0] == name]
        if not found:
            return []
        mean = lambda key: sum(x["score"][key] for x in found) / len(found)
        each = [sum(x["score"]["all " + k] for k in COMPARED) / len(COMPARED) for x in found]
        out.append(f"| {title} | {len(found)} | {found[0]['step']} | " + " | ".join(percent(mean("all " + k)) for k in COMPARED) +
                   f" | {percent(sum(each) / len(each))}{f' ({percent(max(each) - min(each))})' if len(each) > 1 else ''} | {percent(mean('heads'))} | {mean('experts'):.2f} |")
    return out


def comparisons(lines: list[dict]) -> list[str]:
    arms = compared(lines, "Decoder", {"arms-routed": "routed", "arms-dense": "every head, top-4 experts", "arms-static": "two groups, top-2 experts"})
    curriculum = compared(lines, "From nothing", {"curriculum-with": "with the curriculum", "curriculum-without": "without"})
    out = []
    if arms:
        out += ["Short runs (`train.compare`: half batches, two of the shapes of a step) of a new decoder under the trained encoders. % of held-out answers right in the trainer, by teacher forcing:", "", *arms, ""]
    if curriculum:
        out += ["Whole models from nothing, as short:", "", *curriculum, ""]
    return out or ["Comparison with a dense and with a static model of equal active bytes: not run for these weights, so the claim that routing costs nothing is untested here."]


def card(scores: dict, log: list[dict]) -> str:
    info, sets = scores["info"], scores["sets"]
    out = [
        "# percept-spark", "",
        "Written by `train/card.py` from the evaluation (`train/evaluate.py`: files on disk, through the C runtime) and the training log.", "",
        f"- {info['parameters']:,} parameters, of them {info['decoder_parameters']:,} in the decoder; file of {info['bytes']:,} bytes, sha256 `{info['digest']}`",
        "- Q8_0 weights, F32 gains and routers; architecture and file layout: `engine/MODEL.md`",
        "- trained from nothing on generated data only (`train/world`); English only; licence Apache-2.0",
        f"- sizes of the held-out sets: {scores['size']:g} of the full ones; pools of {scores['sprites']['n']:,}", "",
        "## Skills", "", "Exact answers in per cent, greedy, at the default effort unless said. `asked` is the goal of the first release. Question only: the same questions without the picture or sound. f32 and the three efforts are of a third of a set.", "",
        *skills(sets), "",
        "## Shared space", "", "| Task | n | R@1 | R@5 | other direction | R@1 at 128 | at 64 | asked |", "|-|-|-|-|-|-|-|-|",
        f"| emoji and icons by name | {scores['sprites']['n']} | {percent(scores['sprites']['r1'])} | {percent(scores['sprites']['r5'])} | {percent(scores['sprites']['back_r1'])} | | | {percent(GOALS['sprites'])} |",
        *(f"| {name} | {e['n']} | {percent(e['r1'])} | {percent(e['r5'])} | {percent(e['back_r1'])} | {percent(e['r1 at 128'])} | {percent(e['r1 at 64'])} | {percent(GOALS[name])} |" for name, e in scores["retrieval"].items()), "",
        "Distance between the centroids of both sides: " + ", ".join(f"{name} {e['gap']:.2f}" for name, e in scores["retrieval"].items()) + ".", "",
        "## Routing", "", *routing(sets, info), "", "## Training", "", *training(log), "", "## Comparisons", "", *comparisons(log), "", "## Every kind of question", "", *kinds(sets), "",
    ]
    return "\n".join(out)


if __name__ == "__main__":
    with open(sys.argv[1]) as f:
        scores = json.load(f)
    with open(sys.argv[2]) as f:
        lines = [json.loads(line) for line in f]
    text = card(scores, lines)
    with open(sys.argv[3], "w") as f:
        f.write(text)
