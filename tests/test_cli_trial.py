"""`orchestrate trial`: what a rerun gives beside the record, and the exit code that says so."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Event, Failed
from orchestrator.sweepfile.sweep import SweepSpec
from tests.cli_project import SWEEP, folder_of, make_project, orchestrate, ran_project
from tests.fake_worker import FakeWorker


class DriftingWorker(FakeWorker):
    """Hears otherwise than when the study was run, with the same evaluation."""

    def _set(self, name: str, rate: float, seed: int):  # type: ignore[no-untyped-def]
        return super()._set(name, rate + 0.05, seed)


class FailingWorker(FakeWorker):
    """Trains nothing to an end."""

    def advance(self) -> tuple[Event, ...]:
        return tuple(Failed(number, 50, "loss is not finite at step 50") for number in self.slots)


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    return ran_project(tmp_path)


def drifting(spec: SweepSpec, folder: StudyFolder) -> FakeWorker:
    return DriftingWorker(sets="domain")


def failing(spec: SweepSpec, folder: StudyFolder) -> FakeWorker:
    return FailingWorker(sets="domain")


def of_another_version(spec: SweepSpec, folder: StudyFolder) -> FakeWorker:
    return FakeWorker(sets="domain", version="2")


def test_on_a_terminal_a_rerun_says_nothing_of_the_sweep(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []

    class Looking(FakeWorker):
        def advance(self) -> tuple[Event, ...]:
            shown.append(out.getvalue())
            return super().advance()

    out = io.StringIO()
    screen = Console(file=out, width=160, height=40, force_terminal=True)
    monkeypatch.setattr("orchestrator.reporting.rendering.terminal.console", lambda: screen)
    assert orchestrate("trial", finished, "0", worker=lambda *_: Looking(sets="domain")) == 0
    assert "RUNNING" in shown[-1], "the trial is shown while it trains"
    for words in ("best so far", "of search spent", "in training", "confirmation 0"):
        assert words not in out.getvalue()


@pytest.mark.parametrize(
    ("worker", "code", "said"),
    [
        (drifting, 4, "Not the same at step 200"),
        (failing, 4, "Failed this time: loss is not finite at step 50"),
        (of_another_version, 2, "not comparable"),
    ],
)
def test_a_rerun_that_is_not_the_record_has_another_exit_code(
    finished: Path,
    worker: Callable[[SweepSpec, StudyFolder], FakeWorker],
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert orchestrate("trial", finished, "0", "--quiet", worker=worker) == code
    assert said in capsys.readouterr().out


def test_a_trial_that_failed_is_the_same_where_it_fails_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = make_project(tmp_path)
    assert orchestrate(spec, "-q", "budget.trials=1", worker=failing) == 5
    capsys.readouterr()
    assert orchestrate("trial", spec, "0", "-q", worker=failing) == 0
    assert "Failed again: loss is not finite at step 50" in capsys.readouterr().out
    assert orchestrate("trial", spec, "0", "-q") == 4
    assert (
        "Not the same: measured at step 200, adapter scale 1; in the study it failed: loss is"
        in capsys.readouterr().out
    )


def test_a_point_that_came_again_is_compared_with_the_trial_whose_result_it_took(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = make_project(tmp_path, SWEEP.replace("{min: 4, max: 32, log: true}", "32"))
    assert orchestrate(spec, "-q", "method=random", "start_with=[]") in (0, 4, 5)
    again = next(r for r in folder_of(spec).results() if r.duplicate_of is not None)
    assert not folder_of(spec).read_measurements(again.number)
    capsys.readouterr()
    assert orchestrate("trial", spec, again.number, "-q") == 0
    assert "Reproduced exactly at step " in capsys.readouterr().out
    assert orchestrate("trial", spec, again.number, "-q", worker=drifting) == 4
