"""`pack: auto` measures, decides purely, and keeps its answer for the sweep."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.records.store import StudyFolder
from orchestrator.reporting.planned import pack_text
from orchestrator.tuning import probe
from orchestrator.tuning.engine import PackWorker
from tests.embedded import small_sweep


@pytest.mark.parametrize(
    ("rows", "slots"),
    [
        ([(1, 1.0, 0.1)], 1),
        ([(1, 1.0, 0.1), (2, 1.1, 0.1), (4, 1.5, 0.1)], 4),
        ([(1, 1.0, 0.1), (2, 1.95, 0.1), (4, 3.9, 0.1)], 1),
        ([(1, 1.0, 0.1), (2, 1.5, 0.1), (4, 2.9, 0.1), (8, 5.7, 0.1)], 2),
        ([(1, 1.0, 0.1), (2, 1.1, 0.3), (4, 1.2, 0.6)], 2),
        ([(1, 1.0, 0.1), (2, 2.0, 0.1), (4, 2.0, 0.1)], 4),
    ],
)
def test_the_smallest_pack_that_no_larger_one_clearly_beats(rows: list[tuple[int, float, float]], slots: int) -> None:
    chosen, why = probe.choose(rows)
    assert chosen == slots
    assert why.startswith(f"pack of {slots}; one step of one trial took, by slots trained at once, 1: 1000 ms")


def test_the_choice_is_measured_once_recorded_and_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = small_sweep(tmp_path, {"train": 24, "replay": 12, "domain": 4, "heldout": 4}, execution={"pack": "auto"})
    first = PackWorker(spec, tmp_path / "cache")
    assert first.capacity in probe.SIZES["cpu"]
    assert first.notes[-1].startswith(f"pack of {first.capacity}; one step of one trial took")
    monkeypatch.setattr(probe, "choose", lambda rows: pytest.fail("measured again"))
    again = PackWorker(spec, tmp_path / "cache")
    assert (again.capacity, again.notes) == (first.capacity, first.notes)
    fixed = spec.model_copy(update={"execution": spec.execution.model_copy(update={"pack": 3})})
    assert PackWorker(fixed, tmp_path / "cache").capacity == 3


def test_the_plan_shows_the_choice(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path, "s")
    assert pack_text(3, {}) == "pack of 3 adapters at once"
    assert pack_text("auto", folder.pack_choices()) == "pack: auto, measured when the sweep starts and then kept"
    folder.cache.mkdir(parents=True)
    (folder.cache / "pack-cpu.json").write_text('{"slots": 2, "why": "pack of 2; one step took 9 ms"}')
    assert pack_text("auto", folder.pack_choices()) == "on cpu pack of 2; one step took 9 ms"
