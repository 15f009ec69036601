"""The old recipe has the faults that its page says it has, and the page's prose survives a new
run.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.append(str(BENCHMARKS))

from _shared import old_way, plateau_page  # noqa: E402
from _shared.plateau_page import Evaluation, Record, Run  # noqa: E402

from tests.tuning_models import small_model, tokenizer  # noqa: E402

IDS = torch.tensor([[5, 6, 7, 2], [8, 9, 2, -100]])


def logits_of(labels: torch.Tensor) -> tuple[Any, dict[str, torch.Tensor], torch.Tensor]:
    torch.manual_seed(0)
    model = small_model("streaming")
    audio = torch.randn(2, 16000, dtype=torch.float64)
    inputs = {"input_values": audio, "attention_mask": torch.ones(2, 16000, dtype=torch.long)}
    with torch.no_grad():
        return model, inputs, model(**inputs, labels=labels).logits


def test_the_right_loss_scores_each_label_and_the_old_one_the_label_after_it() -> None:
    model, inputs, logits = logits_of(IDS)
    right = F.cross_entropy(logits.flatten(0, 1), IDS.flatten(), ignore_index=-100)
    after = F.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), IDS[:, 1:].flatten(), ignore_index=-100
    )
    with torch.no_grad():
        assert old_way.loss_of(old_way.RIGHT, model, inputs, IDS).item() == pytest.approx(
            right.item(), rel=1e-6
        )
        assert old_way.loss_of(old_way.OLD, model, inputs, IDS).item() == pytest.approx(
            after.item(), rel=1e-6
        )
    assert abs(right.item() - after.item()) > 1e-3


def test_labels_end_in_eos_or_as_the_tokenizer_leaves_them() -> None:
    words = tokenizer()
    assert old_way.labels(old_way.RIGHT, words, ["zero one", "two"]).tolist() == [
        [3, 4, 2],
        [5, 2, -100],
    ]
    assert old_way.labels(old_way.OLD, words, ["zero one", "two"]).tolist() == [[3, 4], [5, -100]]


def test_micro_batches_make_fewer_updates_and_replay_is_half_of_one() -> None:
    assert (old_way.RIGHT.updates(96), old_way.OLD.updates(96)) == (96, 12)
    for recipe, general in ((old_way.RIGHT, 4), (old_way.OLD, 0)):
        (rows,) = old_way.chosen(recipe, 20, 20, 1, seed=0)
        assert len(rows) == old_way.UPDATE and sum(name == "replay" for name, _ in rows) == general


def run(recipe: old_way.Recipe, steps: int, errors: int) -> Run:
    evaluations = [
        Evaluation(
            at,
            {name: [wrong] * 30 for name in plateau_page.SETS},
            dict.fromkeys(plateau_page.SETS, [8] * 30),
            dict.fromkeys(plateau_page.SETS, 0.1),
        )
        for at, wrong in ((0, 2), (recipe.updates(steps), errors))
    ]
    return Run(recipe, steps, [3.0, 2.0, 1.0], evaluations)


def test_a_page_keeps_its_words_and_gets_new_tables_and_figures(tmp_path: Path) -> None:
    recipes = [old_way.RIGHT, *old_way.EACH_FAULT, old_way.OLD, old_way.OLD_FASTER]
    runs = [run(recipe, 16, 1 if recipe is old_way.RIGHT else 3) for recipe in recipes]
    runs.append(run(old_way.Recipe("longer"), 64, 3))
    record = Record("2026-01-02", "m", "v", 3.0, 30, {"train": 5, "replay": 6}, runs)
    page = tmp_path / "page.md"
    page.write_text(
        "Words before.\n"
        + "".join(
            f"<!-- begin: {n} -->\nold {n}\n<!-- end: {n} -->\n"
            for n in ("sizes", "together", "alone", "costs")
        )
        + "Words after.\n"
    )
    plateau_page.write(page, record)
    text = page.read_text()
    assert (
        text.startswith("Words before.\n")
        and text.endswith("Words after.\n")
        and "old " not in text.replace("old way", "")
    )
    assert "| right way | 3 | 3.00 to 1.00 | 25.0 to 12.5 | -12.5" in text
    assert "no EOS in the labels | +25.0" in text
    shown = {path.name for path in (tmp_path / "images").iterdir()}
    described = (Path(__file__).parents[1] / "docs" / "why-it-plateaued.md").read_text()
    assert shown == {
        f"plateau-{part}-{what}.svg"
        for part in ("together", "alone")
        for what in ("loss", "domain", "heldout")
    }
    assert all(name.endswith(".svg") for name in shown) and described
