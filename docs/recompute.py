"""Compute the WERs and changes of a report again, from manifests and hypotheses, without this
project: by jiwer and numpy alone.

    python docs/recompute.py studies/quickstart

Prints a line per set: the baseline's WER, each trial's, and in confirmation that of a finalist's
seeds together, with the change in WER points in brackets. It is for sweeps with
`normalizer: whisper-en` whose manifests are still in their place, as they were; read_manifest.py
beside this file reads every format that a sweep reads. docs/recompute_bounds.py computes the bounds.
"""

import json
import re
import sys
from pathlib import Path

import jiwer
import numpy as np
from read_manifest import references
from whisper_normalizer.english import EnglishTextNormalizer

rules, folds = EnglishTextNormalizer(), str.maketrans("\u2018\u2019\u02bc\uff07", "''''")


def read(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def words(text):
    said = rules(re.sub(r"\.{2,}|\u2026", " ", text.translate(folds))).split()
    return [word.lower() for word in said if any(map(str.isalnum, word))]  # no sign that stands alone


def counts(heard, name):
    said = [words(text) for text in references(study.parents[1] / sets[name]["manifest"], sets[name])]
    hypotheses = [words(row["hypothesis"]) for row in read(heard) if row["set"] == name]
    pairs = [(" ".join(r) or "-", " ".join(h if r else ["-", *h])) for r, h in zip(said, hypotheses, strict=True)]
    found = [jiwer.process_words(*pair) for pair in pairs]
    return sum(each.substitutions + each.deletions + each.insertions for each in found), sum(len(r) for r in said)


study, runs = Path(sys.argv[1]).resolve(), {}
sets = json.loads((study / "sets.json").read_bytes())
if "\n  normalizer: whisper-en\n" not in (study / "spec.yaml").read_text():
    sys.exit(f"the words of {study.name} are counted by another normaliser than whisper-en")
for path in sorted([*study.glob("trials/*/result.json"), *study.glob("confirm/*/result.json")]):
    result = json.loads(path.read_bytes())
    rows = read(path.parent / "measurements.jsonl") if result["wer"] and result["duplicate_of"] is None else []
    for row in (row for row in rows if all(row[key] == result[key] for key in ("step", "adapter_scale"))):
        heard = path.parent / f"hypotheses-{row['step']}-{row['adapter_scale']!r}.jsonl"
        base = study / f"hypotheses-baseline-{row['fingerprint'][:12]}.jsonl"
        for name in row["sets"]:
            trial = result["params"].get("trial", result["number"])
            runs.setdefault(("baseline", name), [(base, name)])
            runs.setdefault((f"trial {trial}", name), []).append((heard, name))
totals = {key: np.sum([counts(*run) for run in seeds], 0) for key, seeds in runs.items()}
for (who, name), (errors, said) in totals.items():
    more = errors - len(runs[who, name]) * totals["baseline", name][0]
    print(f"{who}: {name} {100 * errors / said:.2f} ({100 * more / said:+z.2f})")
