"""Why tuning Moonshine used to stand still: the old recipe, the right one, and each fault of the
old one alone.

    python benchmarks/plateau.py                      # rewrites docs/why-it-plateaued.md and its figures
    python benchmarks/plateau.py --docs FOLDER --steps 16 --utterances 8

An hour on two CPU cores, or more: beams are slow there. `orchestrate benchmarks/plain_recipes.yaml`
is how the rate and scale of the right way were chosen. `--record FILE` keeps the numbers; with a
FILE that exists the page is drawn from it and nothing is trained.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sys
import time
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import torch
import transformers
from _shared import ROOT, plateau_page
from _shared.old_way import (
    EACH_FAULT,
    OLD,
    OLD_FASTER,
    RIGHT,
    Recipe,
    Speech,
    fresh_model,
    merged,
    training,
    transcribe,
)
from _shared.plateau_page import Evaluation, Record, Run
from _shared.workload import NAMES
from plain_script import read_manifest
from transformers import AutoProcessor
from transformers.utils.logging import disable_progress_bar

from orchestrator.scoring.edit_counts import edit_counts
from orchestrator.scoring.normalizers import normalizer

PAGE = "why-it-plateaued.md"
RECIPES = (RIGHT, *EACH_FAULT, OLD, OLD_FASTER)
SHARES = (0.25, 0.5, 1.0)
"""The fractions of a training after which it is evaluated. Decoding with beams takes minutes, so
there only the end of the training is evaluated.
"""
CONFIRM = {"domain": ("domain_confirm.jsonl",), "heldout": ("heldout_confirm.jsonl",)}
"""The manifests that are evaluated. They are the confirm sets, because plain_recipes.yaml chose the
right way's learning rate and adapter scale on the sets of the search.
"""
TOKENS_PER_SECOND = 10.0
SEED = 1


@dataclass(frozen=True)
class Bench:
    """The model, data and sizes that all runs share."""

    model: str
    processor: Any
    sets: dict[str, Speech]
    steps: int
    longer: int
    """The old way is trained once more, with this many times the steps."""

    def runs(self) -> list[Run]:
        """Train and evaluate every recipe; recipes that differ in decoding alone share one
        training.
        """
        untrained = {
            each.penalties: self.evaluate(fresh_model(self.model, SEED), each, 0)
            for each in (RIGHT, OLD)
        }
        done: dict[str, Run] = {}
        for recipe in RECIPES:
            if recipe.name not in done:
                alike = [r for r in RECIPES if r.training == recipe.training]
                done |= self.trained(alike, self.steps, untrained)
        longer = replace(OLD, name=f"old way, {self.longer} times the steps")
        done |= self.trained([longer], self.steps * self.longer, untrained)
        return list(done.values())

    def trained(
        self, recipes: list[Recipe], steps: int, untrained: dict[bool, Evaluation]
    ) -> dict[str, Run]:
        """Train the recipes' common training once and evaluate it by the decoding of each of them.
        `untrained` holds the evaluations of the untuned model, by whether penalties are used.
        """
        first, updates = recipes[0], recipes[0].updates(steps)
        print(
            f"{', '.join(r.name for r in recipes)}: {updates} updates", file=sys.stderr, flush=True
        )
        model = fresh_model(self.model, SEED)
        stops = {max(1, round(share * updates)) for share in SHARES}
        points = {recipe.name: [untrained[recipe.penalties]] for recipe in recipes}
        losses = []
        for loss in training(first, model, self.processor, self.sets, updates, SEED):
            losses.append(loss)
            if len(losses) in stops:
                for recipe in recipes:
                    if len(losses) == updates or not recipe.penalties:
                        points[recipe.name].append(self.evaluate(model, recipe, len(losses)))
        return {recipe.name: Run(recipe, steps, losses, points[recipe.name]) for recipe in recipes}

    def evaluate(self, model: Any, recipe: Recipe, updates: int) -> Evaluation:
        """Count the word errors of a model on both confirm sets, its adapter merged for that time
        at the scale of the recipe.
        """
        clean = normalizer("whisper-en")
        errors, words, cut = {}, {}, {}
        with merged(model, recipe.adapter_scale):
            for name in CONFIRM:
                speech = self.sets[name]
                heard, cut[name] = transcribe(
                    recipe.penalties, model, self.processor, speech.clips, TOKENS_PER_SECOND
                )
                counts = edit_counts(
                    [clean(text) for text in speech.texts], [clean(text) for text in heard]
                )
                errors[name], words[name] = list(counts.errors), list(counts.reference_words)
        return Evaluation(updates, errors, words, cut)


def load_sets(data: Path, utterances: int) -> dict[str, Speech]:
    """Read the training sets whole and the first `utterances` of each evaluated set, in which all
    speakers occur equally often.
    """
    sets = {}
    for name, files in (NAMES | CONFIRM).items():
        path = next(data / file for file in files if (data / file).is_file())
        clips, texts = read_manifest(str(path))
        size = len(clips) if name in ("train", "replay") else utterances
        sets[name] = Speech(clips[:size], texts[:size])
    return sets


def measure(data: Path, model: Path, steps: int, utterances: int, longer: int) -> Record:
    """Train and evaluate all recipes and return their record."""
    disable_progress_bar()
    began = time.monotonic()
    sets = load_sets(data, utterances)
    runs = Bench(str(model), AutoProcessor.from_pretrained(model), sets, steps, longer).runs()
    return Record(
        day=date.today().isoformat(),
        machine=f"{platform.machine()}, {torch.get_num_threads()} threads",
        versions=f"torch {torch.__version__.partition('+')[0]}, transformers {transformers.__version__}",
        minutes=(time.monotonic() - began) / 60,
        utterances=utterances,
        trained={name: len(sets[name]) for name in ("train", "replay")},
        runs=runs,
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--docs", type=Path, default=ROOT / "docs", help="folder of the page; made if missing"
    )
    parser.add_argument("--data", type=Path, default=ROOT / "data")
    parser.add_argument("--model", type=Path, default=ROOT / "data" / "base-model")
    parser.add_argument(
        "--steps", type=int, default=150, help="steps of every recipe, as it counts them"
    )
    parser.add_argument(
        "--utterances", type=int, default=500, help="evaluated utterances of each set"
    )
    parser.add_argument(
        "--longer", type=int, default=8, help="steps of the last run, in times of the others'"
    )
    parser.add_argument(
        "--record", type=Path, help="keep the numbers here, or draw from those that are here"
    )
    options = parser.parse_args(arguments)
    if options.record and options.record.is_file():
        record = Record.of(json.loads(options.record.read_text()))
    else:
        record = measure(
            options.data, options.model, options.steps, options.utterances, options.longer
        )
        if options.record:
            options.record.write_text(json.dumps(asdict(record)))
    options.docs.mkdir(parents=True, exist_ok=True)
    page = options.docs / PAGE
    if not page.is_file():
        shutil.copy(ROOT / "docs" / PAGE, page)
    plateau_page.write(page, record)
    print(page)


if __name__ == "__main__":
    main()
