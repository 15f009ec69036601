"""The sweep's loop: ask, admit, advance, judge, tell, until the budget is spent. Killed at any
point, it continues as if it never had been.

This is the loop alone; what a run holds and does between two ticks is in `sweep_run.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.errors import Interrupted
from orchestrator.planning.points import count_points
from orchestrator.records.results import Measurement, TrialResult, TrialState
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import SAVE_SECONDS, Noticed, Progress, Worker
from orchestrator.reporting.wording import counted
from orchestrator.running.observer import NullObserver, Observer
from orchestrator.running.signals import GracefulShutdown
from orchestrator.running.sweep_run import SweepRun
from orchestrator.running.trial_stopping import WALL_CLOCK, Stop
from orchestrator.search.study import Study
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.judging import RESAMPLES

AGAIN = "The same command continues the sweep."


@dataclass(frozen=True)
class SweepOutcome:
    """What a run of the sweep left behind."""

    baseline: Measurement
    results: tuple[TrialResult, ...]
    exhausted: bool
    """The search space ended before the budget."""
    out_of_time: bool
    """The wall clock of the budget was spent."""


def run_sweep(
    spec: SweepSpec,
    folder: StudyFolder,
    worker: Worker,
    study: Study,
    observer: Observer | None = None,
    clock: Callable[[], float] = time.monotonic,
    drain: GracefulShutdown | None = None,
    resamples: int = RESAMPLES,
    save_every: float = SAVE_SECONDS,
    agreed: Callable[[], None] = lambda: None,
) -> SweepOutcome:
    """Run or continue the sweep until its budget is spent; the caller holds the folder's lock.

    `clock` counts seconds. `save_every` is how many of them lie between two checkpoints, fewer where
    the worker has something overdue; an orderly stop writes one too. `agreed` is called before
    anything is trained, once worker, database and checkpoint are those of the study. Raises
    Interrupted after an orderly stop, FingerprintError when the study holds numbers of another
    evaluation.
    """
    drain = drain or GracefulShutdown()
    # asked for while the model was loading: do not begin the baseline, which takes long
    if drain.requested:
        raise _stopped(drain, folder)
    sweep = SweepRun(spec, folder, worker, study, observer or NullObserver(), clock, resamples)
    sweep.resume()
    agreed()
    while True:
        if drain.requested:
            sweep.checkpoint()
            raise _stopped(drain, folder)
        late = sweep.out_of_time
        # what was measured before a kill is measured again first: its adapter may not be on file
        if late and not sweep.repeats:
            sweep.count_time()  # a run that is killed here must not find time left
            sweep.end_all(Stop(TrialState.PRUNED, "wall clock spent", WALL_CLOCK))
            _say_spent(spec, folder, sweep.observer)
            break
        sweep.fill_slots(late)
        if not worker.active:
            break
        sweep.asked.commit()
        events = worker.advance()
        sweep.take(events)
        measured = not all(isinstance(event, Progress | Noticed) for event in events)
        if measured and (worker.overdue or clock() - sweep.clock_at >= save_every):
            sweep.checkpoint()
    sweep.checkpoint()
    sweep.observer.searched(sweep.spent, goes_on=False)
    return SweepOutcome(sweep.baseline, folder.results(), sweep.exhausted, sweep.out_of_time)


def _say_spent(spec: SweepSpec, folder: StudyFolder, observer: Observer) -> None:
    """Say and note that the wall clock has ended the search before its last trial: where no trial
    was in training then, nothing else would tell.
    """
    ended, wanted = len(folder.results()), spec.budget.trials
    if spec.method == "grid":
        wanted = min(wanted, count_points(spec.parameters) or wanted)
    if ended < wanted:
        text = f"budget.wall_clock is spent: the search ends with {ended} of {wanted} trials"
        observer.say(text)
        folder.note_once(text)


def _stopped(drain: GracefulShutdown, folder: StudyFolder) -> Interrupted:
    """Return the error that ends a run that was asked to stop."""
    trials = counted(len(folder.results()), "trial")
    return Interrupted(f"Stopped by {drain.requested} after {trials}. {AGAIN}")
