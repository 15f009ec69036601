"""Confirmation: the finalists are retrained with fresh seeds and scored on sets that the search
never read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from orchestrator.errors import Interrupted, ModelError
from orchestrator.records.results import Measurement, TrialResult, TrialState
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import (
    Failed,
    Hypotheses,
    Measured,
    Noticed,
    Progress,
    Worker,
)
from orchestrator.reporting.wording import counted
from orchestrator.running.baseline import check_confirmation
from orchestrator.running.observer import NullObserver, Observer
from orchestrator.running.recording_findings import keep_cause, notice
from orchestrator.running.signals import GracefulShutdown
from orchestrator.scoring.judge import Scores, Verdict
from orchestrator.set_names import confirm_name
from orchestrator.sweepfile.digest import digest
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.confirming import ConfirmationRun, confirmation_runs, pending_runs
from orchestrator.verdicts.judging import RESAMPLES, judge_scores, scores
from orchestrator.verdicts.training_losses import all_losses

log = logging.getLogger(__name__)


def run_confirmation(
    spec: SweepSpec,
    folder: StudyFolder,
    make_worker: Callable[[], Worker],
    observer: Observer | None = None,
    drain: GracefulShutdown | None = None,
    resamples: int = RESAMPLES,
    agreed: Callable[[], None] = lambda: None,
) -> None:
    """Train and score the confirmation runs that the finalists still need; the caller holds the
    folder's lock.

    `make_worker` makes a worker for `confirmation_spec(spec)`, and is called only when something is
    left to do; `agreed` is called once that worker is found to evaluate as the study did. A run
    that was cut off starts anew: trials of a pack depend on each other in how sums are rounded
    alone, so the result is the same but for its last digits. Raises Interrupted after an orderly
    stop, FingerprintError where the study holds numbers of another evaluation.
    """
    observer, drain = observer or NullObserver(), drain or GracefulShutdown()
    pending = pending_runs(spec, folder)
    if not pending:
        return
    log.debug("%d confirmation runs left, of seeds %s", len(pending), [run.seed for run in pending])
    # loading the model takes long, and so does measuring the baseline
    _check_stop(drain, len(pending))
    worker = make_worker()
    _check_stop(drain, len(pending))
    confirmation = _Confirmation(spec, folder, worker, observer, pending, resamples)
    agreed()
    while confirmation.left:
        _check_stop(drain, confirmation.left)
        confirmation.fill_slots()
        confirmation.advance()


def _check_stop(drain: GracefulShutdown, left: int) -> None:
    """Raise Interrupted where a signal has asked for a stop; `left` runs have not ended."""
    if drain.requested:
        runs = counted(left, "confirmation run")
        raise Interrupted(f"Stopped by {drain.requested}, {runs} left. The same command continues.")


class _Confirmation:
    """The runs that wait and those in slots, and the effects that bring them to their end."""

    def __init__(
        self,
        spec: SweepSpec,
        folder: StudyFolder,
        worker: Worker,
        observer: Observer,
        pending: list[ConfirmationRun],
        resamples: int,
    ) -> None:
        self.spec, self.folder, self.worker, self.observer = spec, folder, worker, observer
        self.pending, self.resamples = pending, resamples
        self.in_slots: dict[int, ConfirmationRun] = {}
        check_confirmation(folder, worker, confirmation_runs(spec, folder, folder.results()))
        self.baseline = scores(_confirm_baseline(folder, worker, observer))

    @property
    def left(self) -> int:
        """How many runs have not ended."""
        return len(self.pending) + len(self.in_slots)

    def fill_slots(self) -> None:
        """Admit runs while slots are free; one that cannot be trained ends as failed."""
        while self.pending and len(self.worker.active) < self.worker.capacity:
            run = self.pending.pop(0)
            self.folder.write_plans(run.plan)
            try:
                self.worker.admit(run.plan)
            except ModelError as error:
                keep_cause(self.folder, run.number, error)
                self._record_result(_failed_result(run, 0, str(error)))
                continue
            self.in_slots[run.number] = run
            self.observer.admitted(run.plan, 0)

    def advance(self) -> None:
        """Train until the worker has something to say, and act on each of its events."""
        if not self.in_slots:
            return
        for event in self.worker.advance():
            if isinstance(event, Noticed):
                notice(self.folder, self.observer, event)
                continue
            if event.number not in self.in_slots:
                continue
            run = self.in_slots[event.number]
            match event:
                case Progress():
                    self.observer.progress(event)
                case Measured():
                    self._close_run(run, self._record_measured(run, event))
                case Failed():
                    if event.traceback:
                        self.folder.write_failure(run.number, event.traceback)
                    self._close_run(run, _failed_result(run, event.step, event.reason))

    def _record_measured(self, run: ConfirmationRun, event: Measured) -> TrialResult:
        """Keep the measurement, the transcripts and the adapter of a run, and return its result."""
        measurement = _rename_sets(event.measurements[0])
        self.folder.record_measurements(
            run.number, [measurement], [_under_confirm_names(event.hypotheses[0])]
        )
        result = measured_result(
            self.spec, self.folder, run, measurement, self.baseline, self.resamples
        )
        with self.folder.new_adapter(self.folder.adapter_folder(run.number)) as aside:
            self.worker.export(run.number, run.plan.params.adapter_scales[0], aside)
        return result

    def _close_run(self, run: ConfirmationRun, result: TrialResult) -> None:
        self._record_result(result)
        self.worker.release(run.number)
        del self.in_slots[run.number]

    def _record_result(self, result: TrialResult) -> None:
        self.folder.write_result(result)
        self.observer.ended(result)


def _confirm_baseline(folder: StudyFolder, worker: Worker, observer: Observer) -> Measurement:
    """Return the untuned model's measurement on the confirm sets: the one on file, or a new one,
    which is measured and kept.
    """
    found = folder.read_baseline(digest(worker.evaluation))
    if found is None:
        observer.say("measuring the baseline on the confirm sets")
        measured = worker.measure_baseline()
        found = _rename_sets(measured.measurements[0])
        folder.write_evaluation(found.fingerprint, worker.evaluation)
        folder.write_baseline(found, _under_confirm_names(measured.hypotheses[0]))
    return found


def measured_result(
    spec: SweepSpec,
    folder: StudyFolder,
    run: ConfirmationRun,
    measurement: Measurement,
    baseline: Scores,
    resamples: int = RESAMPLES,
) -> TrialResult:
    """Return the result of a run that was measured. Limits on the loss are judged by the losses of
    its finalist.
    """
    finalist = folder.read_result(run.trial)
    losses = all_losses(spec, folder, finalist) if finalist else ()
    verdict = judge_scores(
        spec, scores(measurement, *losses), baseline, confirmed=True, resamples=resamples
    )
    return _run_result(
        run,
        TrialState.COMPLETE,
        f"trial {run.trial} with seed {run.seed}",
        measurement.step,
        verdict,
    )


def _failed_result(run: ConfirmationRun, step: int, reason: str) -> TrialResult:
    return _run_result(
        run, TrialState.FAIL, f"trial {run.trial} with seed {run.seed}: {reason}", step, None
    )


def _run_result(
    run: ConfirmationRun, state: TrialState, reason: str, step: int, verdict: Verdict | None
) -> TrialResult:
    return TrialResult(
        number=run.number,
        state=state,
        reason=reason,
        params={"trial": run.trial, "seed": run.seed},
        feasible=verdict is not None and verdict.feasible,
        step=step if verdict else None,
        adapter_scale=verdict.adapter_scale if verdict else None,
        wer=verdict.rates if verdict else {},
        delta=verdict.delta if verdict else {},
        constraints=verdict.constraints if verdict else {},
        steps_trained=step,
    )


def _under_confirm_names(hypotheses: Hypotheses) -> Hypotheses:
    """Rename the keys of hypotheses from the worker's set names to those of the confirm sets."""
    return {confirm_name(name): texts for name, texts in hypotheses.items()}


def _rename_sets(measurement: Measurement) -> Measurement:
    """Rename the sets of a measurement to their confirm names, which tell them from the
    search's.
    """
    sets = {confirm_name(name): score for name, score in measurement.sets.items()}
    return measurement.model_copy(update={"sets": sets})
