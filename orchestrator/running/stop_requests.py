"""A person ends one trial of a running sweep: any process may ask for it, only the sweep decides
and seals it.

The request is a file beside the trials, which any process may write. The sweep finds it at the
trial's next rung and seals the decision with its step before the trial ends. So a sweep that is
killed in between, or continues from an older checkpoint, ends the trial at the same rung again.
"""

from __future__ import annotations

from orchestrator.errors import StudyError
from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.json_files import PersonStop
from orchestrator.records.results import TrialState
from orchestrator.records.store import StudyFolder
from orchestrator.running.reported_rates import measured_beyond
from orchestrator.running.trial_stopping import Stop

PERSON = "person"
"""The rule under which a result records that a person ended the trial (`TrialResult.pruned_by`)."""


def ask_to_stop(folder: StudyFolder, number: int, reason: str) -> None:
    """Ask for the end of a trial at its next rung. Raises StudyError where the trial does not exist,
    has ended, or has none because it waits for the result of another.
    """
    plan = folder.read_plan(number)
    if plan is None:
        raise StudyError(
            f"study {folder.name} has no trial {number} yet\n"
            f"  `orchestrate status {folder.named}` lists those in training."
        )
    if (result := folder.read_result(number)) is not None:
        raise StudyError(
            f"trial {number} of study {folder.name} has ended: {result.state}, {result.reason}"
        )
    if (original := _training_original(folder, plan)) is not None:
        raise StudyError(
            f"trial {number} of study {folder.name} is not trained: it has the recipe of trial {original}, and "
            f"takes its result\n  `orchestrate stop {folder.named} {original}` ends that one."
        )
    folder.ask_to_stop(number, " ".join(reason.split()))


def _training_original(folder: StudyFolder, plan: TrialPlan) -> int | None:
    """Return the earlier trial of the same recipe that has not ended; None where there is none."""
    for number in folder.planned():
        if number < plan.number and folder.read_result(number) is None:
            earlier = folder.read_plan(number)
            if earlier is not None and earlier.recipe == plan.recipe:
                return number
    return None


def persons_stop(folder: StudyFolder, number: int, step: int) -> Stop | None:
    """Return the stop if a person ends the trial at this rung, else None. A new request is sealed
    here. The caller holds the lock.
    """
    decided = folder.read_stop(number)
    if decided is None:
        asked = folder.asked_to_stop(number)
        # what was measured before a kill is repeated first, or its later rungs would stay on file
        if asked is None or measured_beyond(folder, number, step):
            return None
        decided = PersonStop(step=step, reason=asked.reason)
        folder.write_stop(number, decided)
        folder.note(f"trial {number} is ended by a person at step {step}{_reason_text(decided)}")
    if step < decided.step:  # repeated from an older checkpoint
        return None
    return Stop(
        TrialState.PRUNED,
        f"ended by a person at step {decided.step}{_reason_text(decided)}",
        PERSON,
    )


def _reason_text(decided: PersonStop) -> str:
    return f": {decided.reason}" if decided.reason else ""
