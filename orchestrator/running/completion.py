"""Whether anything of a study is left to do, from its files alone."""

from __future__ import annotations

from orchestrator.records.store import StudyFolder
from orchestrator.running.checkpoints import Checkpoint, Checkpoints, InSlot
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.concluding import conclude
from orchestrator.verdicts.conclusion import Conclusion
from orchestrator.verdicts.confirming import pending_runs


def search_is_over(spec: SweepSpec, folder: StudyFolder) -> bool:
    """Say whether the search has spent its trials or its wall clock, or has tried every point, and
    every trial that it asked for has ended.
    """
    last = last_checkpoint(folder) or _state_by_files(folder)
    if last is None or last.slots:
        return False
    limit = spec.budget.wall_clock
    out_of_time = limit is not None and max(folder.seconds_spent() or 0.0, last.spent) >= limit
    spent = last.exhausted or last.asked >= spec.budget.trials or out_of_time
    # a run that was killed may have begun trials since the checkpoint, before time was up or with
    # a larger budget
    return spent and not _unended_trials(folder)


def last_checkpoint(folder: StudyFolder) -> Checkpoint | None:
    """Return the newest whole checkpoint of a study; None where it has none."""
    return Checkpoints(folder.checkpoint).latest()


def _state_by_files(folder: StudyFolder) -> Checkpoint | None:
    """Reconstruct a checkpoint from the trials' files, for a study whose checkpoints were removed.
    It lacks only whether the search space was used up. None before the first trial.
    """
    numbers = folder.planned()
    if not numbers:
        return None
    slots = {number: InSlot(last_rung=0, seconds=0.0) for number in _unended_trials(folder)}
    return Checkpoint(asked=len(numbers), slots=slots)


def _unended_trials(folder: StudyFolder) -> list[int]:
    """Return the trials that were planned and have no result. Raises StudyError for a plan that no
    run of the study wrote.
    """
    left = [number for number in folder.planned() if folder.read_result(number) is None]
    return [number for number in left if folder.read_plan(number) is not None]


def is_finished(spec: SweepSpec, folder: StudyFolder) -> bool:
    """Say whether nothing is left to train: the search is over and every finalist is confirmed."""
    return search_is_over(spec, folder) and not pending_runs(spec, folder)


def judged(spec: SweepSpec, folder: StudyFolder) -> tuple[Conclusion, bool]:
    """Judge a study whose sweep may be running, and say whether nothing is left to train.

    That is asked first: what ends while the files are read is missing in the conclusion, which
    would be taken for the last one. Raises what `conclude` does.
    """
    done = is_finished(spec, folder)
    return conclude(spec, folder), done
