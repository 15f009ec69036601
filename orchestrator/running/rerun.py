"""Trains one trial again, alone, from its plan.json, to see whether it gives what was recorded."""

from __future__ import annotations

from orchestrator.errors import StudyError
from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.results import Measurement, TrialResult
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Failed, Measured, Noticed, Progress, Worker
from orchestrator.running.observer import Observer
from orchestrator.verdicts.conclusion import chosen_measurement
from orchestrator.verdicts.reproduction import Rerun


def stored_plan(folder: StudyFolder, number: int) -> TrialPlan:
    """Return the plan of a trial, with the name that the study has now: it may have been copied or
    renamed since. Raises StudyError when the study has no such trial.
    """
    plan = folder.read_plan(number)
    if plan is None:
        known = len(folder.results())
        raise StudyError(
            f"study {folder.name} has no trial {number}\n"
            f"  It has {known} ended ones; `orchestrate status {folder.named}` lists them."
        )
    return plan.model_copy(update={"sweep": folder.name})


def rerun(plan: TrialPlan, folder: StudyFolder, worker: Worker, observer: Observer) -> Rerun:
    """Train one trial from its start to the step of the recorded measurement, or to its end where
    there is none, and return both. Writes nothing to the study.
    """
    result = folder.read_result(plan.number)
    recorded = _recorded_measurement(folder, result) if result else None
    worker.admit(plan)
    observer.admitted(plan, 0)
    while True:
        for event in worker.advance():
            match event:
                case Progress():
                    observer.progress(event)
                case Noticed():
                    observer.say(event.text)
                case Failed():
                    return Rerun(None, recorded, event.reason, result)
                case Measured() if event.final or (recorded and event.step >= recorded.step):
                    return Rerun(_same_scale(event, recorded), recorded, None, result)
                case Measured():
                    continue


def _recorded_measurement(folder: StudyFolder, result: TrialResult) -> Measurement | None:
    """Return the measurement that the result stands on; for a duplicate, that of the trial whose
    result it took over.
    """
    return chosen_measurement(folder, result.model_copy(update={"number": result.trained}))


def _same_scale(event: Measured, recorded: Measurement | None) -> Measurement:
    """Return the measurement at the recorded adapter scale; the last one where nothing was recorded
    or the scale is not among them.
    """
    scale = recorded.adapter_scale if recorded else event.measurements[-1].adapter_scale
    return next((m for m in event.measurements if m.adapter_scale == scale), event.measurements[-1])
