"""Whether a search is over is told by its files, also where one of them is behind or lost."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Worker
from orchestrator.running.checkpoints import Checkpoint, Checkpoints, known_as_ended
from orchestrator.running.completion import search_is_over
from orchestrator.running.sweep_run import SweepRun
from orchestrator.sweepfile.search_space import Dimension
from orchestrator.sweepfile.sweep import Budget
from tests.crashes import Killed
from tests.running_support import history, make_spec, run


def test_a_search_whose_last_checkpoint_has_trials_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All trials have ended then, but the database was not told so."""
    spec = make_spec(budget=Budget(trials=2))
    folder = StudyFolder(tmp_path, spec.name)
    write = Checkpoints.write

    def killed(checkpoints: Checkpoints, state: Checkpoint, worker: Worker) -> None:
        if state.asked == 2 and not state.slots:
            raise Killed
        write(checkpoints, state, worker)

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Checkpoints, "write", killed)
        run(spec, tmp_path)
    last = Checkpoints(folder.checkpoint).latest()
    assert last is not None and last.slots and len(folder.results()) == last.asked == 2
    assert not search_is_over(spec, folder)
    run(spec, tmp_path)
    assert search_is_over(spec, folder) and len(history(spec, tmp_path)) == 2


def test_a_search_that_spent_its_time_is_over_without_its_clock(tmp_path: Path) -> None:
    spec = make_spec(budget=Budget(trials=50, wall_clock=60.0))
    folder, seconds = StudyFolder(tmp_path, spec.name), itertools.count()
    assert run(spec, tmp_path, clock=lambda: float(next(seconds))).out_of_time
    assert search_is_over(spec, folder)
    (folder.path / "clock.json").unlink()
    assert search_is_over(spec, folder), "the last checkpoint has the time, too"


def test_the_database_need_not_know_the_end_of_a_duplicate_whose_original_was_in_a_slot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = (Dimension(name="learning_rate", choices=(5e-4,)),)
    fixed = {"rank": 8, "max_steps": 200}
    spec = make_spec(searched=one, fixed=fixed, budget=Budget(trials=2))
    folder, checkpoint = StudyFolder(tmp_path, spec.name), SweepRun.checkpoint

    def killed(sweep: SweepRun) -> None:
        if not sweep.in_slots:
            raise Killed  # before the commit
        checkpoint(sweep)

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(SweepRun, "checkpoint", killed)
        run(spec, tmp_path)
    results = folder.results()
    assert [result.duplicate_of for result in results] == [None, 0]
    assert known_as_ended(folder, results) == frozenset()
    run(spec, tmp_path)
    assert known_as_ended(folder, results) == {0, 1}
