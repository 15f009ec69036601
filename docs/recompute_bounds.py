"""Compute the bounds of a report again, from the edit counts on file, without this project: by
numpy alone.

    python docs/recompute_bounds.py studies/quickstart

Prints a line per set of each trial, and of each finalist over its seeds: 95 % bounds of the change
in WER points, whose 5 % of error are divided among the trials that compete there; a dash where one
utterance or speaker holds all words. A resample without words stands for the set as it is. After a
larger budget, former finalists compete no longer. docs/verdict.md has the formulas. The quantile of
Student's distribution is estimated from random draws, as numpy has no table of it.
"""

import json
import sys
from pathlib import Path

import numpy as np
from numpy.random import PCG64, Generator

study, spec = Path(sys.argv[1]), Path(sys.argv[1], "spec.yaml").read_text()
seed, top = (int([*spec.split(f"\n{key}: "), "0 "][1].split()[0]) for key in ("seed", "  top"))
errors = lambda each: np.sum([each[kind] for kind in ("substitutions", "deletions", "insertions")], 0)  # noqa: E731


def bounds(before, runs, rivals):
    d, w = sum(100 * (errors(each) - errors(before)) for each in runs), len(runs) * np.array(before["reference_words"])
    if all(who := before["speakers"]) and len(set(who)) >= 20:
        d, w = (np.bincount(np.unique(who, return_inverse=True)[1], each) for each in (d, w))
    if not np.all(w < w.sum()):
        return "-"
    n, point, floor = len(d), d.sum() / w.sum(), 200 * len(runs) / w.sum()
    error = max(floor, np.sqrt((n - 1) / n * np.sum(((d.sum() - d) / (w.sum() - w) - point) ** 2)))
    drawn = np.where(w[r := Generator(PCG64(seed)).integers(0, n, (10_000, n))].sum(1)[:, None], r, np.arange(n))
    ratio, total = d[drawn].sum(1) / w[drawn].sum(1), w[drawn].sum(1)
    spread = np.sqrt(np.sum((d[drawn] - ratio[:, None] * w[drawn]) ** 2, 1) * n / (n - 1)) / total
    pivots, rank = np.sort((ratio - point) / np.maximum(spread, floor)), max(1, int(500 / rivals + 1e-6))
    t = np.quantile(np.random.default_rng(0).standard_t(n - 1, 4_000_000), 1 - 0.05 / rivals)
    return f"{point - error * max(pivots[-rank], t):+z.2f} to {point + error * max(-pivots[rank - 1], t):+z.2f}"


for kind in ("trials", "confirm"):
    runs, rivals = {}, set()
    for path in sorted(study.glob(f"{kind}/*/result.json")):
        result, rows = json.loads(path.read_bytes()), path.with_name("measurements.jsonl")
        rivals |= {result["params"].get("trial")} - {None}  # one that failed was a rival, too
        for row in map(json.loads, rows.read_bytes().splitlines() if result["wer"] and rows.exists() else []):
            if (row["step"], row["adapter_scale"]) == (result["step"], result["adapter_scale"]):
                runs.setdefault(result["params"].get("trial", result["number"]), []).append(row)
    for trial, own in runs.items():
        base = json.loads((study / "baseline.json").read_bytes())[own[0]["fingerprint"]]["sets"]
        for name in (name for name in base if name in own[0]["sets"]):
            counts = [row["sets"][name] for row in own]
            print(f"trial {trial}: {name}", bounds(base[name], counts, min(len(rivals), top) or len(runs)))
