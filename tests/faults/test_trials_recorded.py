"""What a sweep records of a trial that an exception ended, and of the notices of its worker."""

from __future__ import annotations

from pathlib import Path

from orchestrator.errors import ModelError
from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.results import TrialState
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Event, Failed, Measured, Noticed
from orchestrator.sweepfile.sweep import Budget
from tests.fake_worker import FakeWorker
from tests.running_support import make_spec, run

TOLD = "Traceback (most recent call last):\nMemoryError\n"


class Unlucky(FakeWorker):
    """Trial 1 fails where it would have been measured, trial 2 cannot be admitted; each tick
    something is noticed.
    """

    def admit(self, plan: TrialPlan) -> None:
        if plan.number == 2:
            raise ModelError("the adapter cannot be made: out of memory") from MemoryError(
                "all of it"
            )
        super().admit(plan)

    def advance(self) -> tuple[Event, ...]:
        events = []
        for event in super().advance():
            if isinstance(event, Measured) and event.number == 1:
                self.slots[1].ended = True
                event_or_fault: Event = Failed(1, event.step, "out of memory", TOLD)
                events.append(event_or_fault)
            else:
                events.append(event)
        return (Noticed("a training step took 99.0 s"), *events)


def test_a_trial_that_failed_keeps_its_traceback_and_the_sweep_goes_on(tmp_path: Path) -> None:
    spec = make_spec(budget=Budget(trials=5))
    outcome = run(spec, tmp_path, Unlucky())
    folder = StudyFolder(tmp_path, spec.name)
    assert len(outcome.results) == 5
    own = [result for result in outcome.results if result.duplicate_of is None]
    assert [result.number for result in own if result.state is TrialState.FAIL] == [1, 2]
    assert (folder.trial_folder(1) / "failure.txt").read_text() == TOLD
    assert "MemoryError: all of it" in (folder.trial_folder(2) / "failure.txt").read_text()
    assert not (folder.trial_folder(0) / "failure.txt").exists()
    assert folder.faults() == {}, "a traceback is no foreign file"
    assert "a training step took 99.0 s" in folder.notes.read_text()


def test_the_same_run_again_trains_nothing_more(tmp_path: Path) -> None:
    spec = make_spec(budget=Budget(trials=5))
    run(spec, tmp_path, Unlucky())
    worker = FakeWorker()
    run(spec, tmp_path, worker)
    assert worker.admitted == []
