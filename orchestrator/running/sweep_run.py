"""One run of a sweep between two ticks: its state, and the effects that change it.

Every effect is idempotent, and the order of effects is fixed by the checkpoint and the answers on
file (see `checkpoints.py`). So continuing a sweep is the same loop, run again from the last
checkpoint.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from orchestrator.errors import ModelError, StudyError
from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.content_digests import search_contents
from orchestrator.records.results import Measurement, TrialResult, TrialState
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Event, Failed, Measured, Noticed, Progress, Worker
from orchestrator.running.asked_trials import AskedTrials
from orchestrator.running.baseline import baseline_once
from orchestrator.running.checkpoints import Checkpoint, Checkpoints, InSlot
from orchestrator.running.duplicates import Duplicates, duplicate_result
from orchestrator.running.observer import Observer
from orchestrator.running.recording_findings import check_headroom, keep_cause, notice, notice_text
from orchestrator.running.reported_rates import measured_beyond, reported_rates
from orchestrator.running.stop_requests import persons_stop
from orchestrator.running.trial_stopping import (
    RunningTrial,
    Stop,
    at_last_step,
    result_of,
    why_stop,
)
from orchestrator.scoring.judge import Verdict
from orchestrator.search.study import Asked, Study
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.judging import best_verdict, judge_scores, scores
from orchestrator.verdicts.training_losses import trial_losses

log = logging.getLogger(__name__)


class SweepRun:
    """State of one run between ticks, and the effects that change it."""

    def __init__(
        self,
        spec: SweepSpec,
        folder: StudyFolder,
        worker: Worker,
        study: Study,
        observer: Observer,
        clock: Callable[[], float],
        resamples: int,
    ) -> None:
        self.spec, self.folder = spec, folder
        self.worker, self.study, self.observer = worker, study, observer
        self.clock, self.resamples = clock, resamples
        self.checkpoints = Checkpoints(folder.checkpoint)
        self.clock_at = clock()
        """Clock reading when the time spent was last counted."""
        self.spent = folder.seconds_spent() or 0.0
        """Seconds of all runs up to `clock_at`."""
        self.tick, self.exhausted = 0, False
        self.in_slots: dict[int, RunningTrial] = {}
        self.duplicates = Duplicates(folder.read_result)
        self.skip: frozenset[int] = frozenset()
        """Trials that had ended when their checkpoints were deleted: told again, not trained."""

    @property
    def out_of_time(self) -> bool:
        """All runs together have spent the wall clock of the budget."""
        limit = self.spec.budget.wall_clock
        return limit is not None and self.spent + self.clock() - self.clock_at >= limit

    def resume(self) -> None:
        """Measure or read the baseline, then restore the last checkpoint, or begin anew."""
        self.baseline = baseline_once(self.folder, self.worker, self.observer)
        contents = search_contents(self.folder.sets(), self.worker.evaluation.get("weights"))
        check_headroom(self.spec, self.baseline, self.folder, self.observer)
        self.baseline_scores = scores(self.baseline)
        self.study.check(self.folder.results())
        self.asked = AskedTrials(self.spec, self.folder, self.study, contents)
        known = self.asked.params
        checkpoint = self._last_checkpoint()
        if checkpoint is None:
            # Trials may have ended: then somebody deleted the checkpoints. What ended stays, the
            # rest starts anew.
            self.skip = frozenset(result.number for result in self.folder.results())
            checkpoint = Checkpoint()
            if not self.skip:
                self.count_time()  # the baseline's, which a kill before the next checkpoint would lose
                checkpoint = Checkpoint(spent=self.spent)
                self.checkpoints.write(checkpoint, self.worker)
        if checkpoint.asked > len(known):
            raise StudyError(
                f"{self.study.called} holds {len(known)} trials, the checkpoint says {checkpoint.asked}\n"
                f"  {self.study.remake}"
            )
        self.tick, self.asked.count = checkpoint.tick, checkpoint.asked
        self.spent = max(self.spent, checkpoint.spent)
        self.observer.searched(self.spent + self.clock() - self.clock_at, goes_on=True)
        held = sorted(checkpoint.slots)
        log.debug("checkpoint %d: %d asked for, in slots %s", self.tick, self.asked.count, held)
        for number, slot in checkpoint.slots.items():
            self.in_slots[number] = self._running_trial(number, known[number], slot)
        if self.in_slots:
            self.worker.restore(
                self.checkpoints.worker_folder(checkpoint),
                {n: f.plan for n, f in self.in_slots.items()},
            )
        for trial in self.in_slots.values():
            self.observer.admitted(trial.plan, trial.last_rung)
        self._wait_for_originals()

    def _wait_for_originals(self) -> None:
        """Register the duplicates that the checkpoint had asked for: trials outside of slots wait
        for their original or have ended. Raises StudyError where the database does not know that
        one has ended: it is older than the checkpoint, which was written after it.
        """
        running = {t.number for t in self.study.trials() if t.state is TrialState.RUNNING}
        for number in range(self.asked.count):
            original = self.duplicates.original(self.asked.plan(number), self.in_slots)
            if original in self.in_slots:
                self.duplicates.wait(original, Asked(number, self.asked.params[number]))
            elif number in running and number not in self.in_slots:
                raise StudyError(
                    f"{self.study.called} is older than the checkpoint: it does not know that "
                    f"trial {number} has ended\n  {self.study.remake}"
                )

    def _last_checkpoint(self) -> Checkpoint | None:
        """Return the newest checkpoint that is not damaged; say and note which ones are."""
        found = self.checkpoints.latest(whole=True)
        for damaged in self.checkpoints.damaged():
            text = f"checkpoint {damaged} is damaged: the sweep continues from the one before it, to the same result"
            notice_text(self.folder, self.observer, text)
        return found

    @property
    def repeats(self) -> bool:
        """A killed run measured trials further than this one has come with them."""
        at = dict.fromkeys(self.asked.left, 0) | {n: t.last_rung for n, t in self.in_slots.items()}
        return any(measured_beyond(self.folder, number, rung) for number, rung in at.items())

    def fill_slots(self, late: bool) -> None:
        """Ask and admit while slots are free and the budget lasts; trials of earlier runs come
        first. If it is `late`, as the time is spent, they alone do.
        """
        budget = 0 if late else self.spec.budget.trials
        while len(self.worker.active) < self.worker.capacity and not self.exhausted:
            if self.asked.count >= max(budget, len(self.asked.params)):
                return
            taken = self.asked.take_next()
            if taken is None:
                self.exhausted = True
                return
            plan, params = taken
            number = plan.number
            log.debug("trial %d, recipe %s: %s", number, plan.recipe[:16], params)
            original = self.duplicates.original(plan, self.in_slots)
            if number in self.skip:
                self._report_again(number)
                self.study.tell(number, self._result_on_file(number))
            elif original is None:
                self._admit_trial(plan, params)
            elif original in self.in_slots:
                self.duplicates.wait(original, Asked(number, params))
            else:
                self._tell_duplicate(original, number, params)

    def take(self, events: Sequence[Event]) -> None:
        """Act on the worker's events in their order."""
        for event in events:
            if isinstance(event, Noticed):
                notice(self.folder, self.observer, event)
                continue
            trial = self.in_slots[event.number]
            trial.step = event.step
            match event:
                case Progress():
                    self.observer.progress(event)
                case _ if trial.on_file is not None:
                    self._report_again(trial.number, event.step)
                    if isinstance(event, Failed) or event.step >= trial.on_file.steps_trained:
                        self._close_trial(trial, trial.on_file)
                case Measured():
                    self._handle_measured(trial, event)
                case Failed():
                    if event.traceback:
                        self.folder.write_failure(event.number, event.traceback)
                    self._end_trial(trial, Stop(TrialState.FAIL, event.reason))

    def count_time(self) -> None:
        """Add the time since the last call to what all runs have spent."""
        now = self.clock()
        self.spent = self.folder.add_seconds(now - self.clock_at, self.spent)
        self.clock_at = now

    def checkpoint(self) -> None:
        """Commit what the study was told, then save the time spent, the slots and the state."""
        self.asked.commit()
        self.count_time()
        slots = {
            number: InSlot(last_rung=trial.last_rung, seconds=self.clock_at - trial.started)
            for number, trial in self.in_slots.items()
        }
        self.tick += 1
        state = Checkpoint(
            tick=self.tick,
            asked=self.asked.count,
            slots=slots,
            exhausted=self.exhausted,
            spent=self.spent,
        )
        self.checkpoints.write(state, self.worker)
        log.debug("checkpoint %d written after %.1f s of all runs", self.tick, self.spent)

    def end_all(self, stop: Stop) -> None:
        """End every trial that was asked for and has not ended, at its best measurement on file."""
        for trial in tuple(self.in_slots.values()):
            trial.verdicts = self._verdicts_on_file(trial.plan)
            self._report_again(trial.number)
            self._end_trial(trial, stop)
        for number in self.asked.left:
            self.asked.take_next()  # its plan may not be on file yet
            trial = self._running_trial(number, self.asked.params[number])
            self._report_again(number)
            self._tell_result(trial.on_file or result_of(self.spec, trial, stop, 0.0))

    def _running_trial(
        self, number: int, params: dict[str, Any], slot: InSlot | None = None
    ) -> RunningTrial:
        """Return a trial as it stood in its slot; without one, with all that is on file."""
        plan = self.asked.checked_plan(number, params)
        last_rung, seconds = (slot.last_rung, slot.seconds) if slot else (None, 0.0)
        trial = RunningTrial(plan, params, self.clock() - seconds, self.folder.read_result(number))
        trial.verdicts = self._verdicts_on_file(plan, last_rung)
        trial.step = trial.last_rung = last_rung or 0
        return trial

    def _verdicts_on_file(self, plan: TrialPlan, last_rung: int | None = None) -> list[Verdict]:
        rows = self.folder.read_measurements(plan.number)
        return [
            self._judge_measurement(plan, row)
            for row in rows
            if last_rung is None or row.step <= last_rung
        ]

    def _judge_measurement(self, plan: TrialPlan, measurement: Measurement) -> Verdict:
        losses = trial_losses(self.spec, self.folder, plan.number, measurement.step)
        tuned, looks = scores(measurement, losses), len(plan.rungs)
        return judge_scores(
            self.spec, tuned, self.baseline_scores, looks=looks, resamples=self.resamples
        )

    def _admit_trial(self, plan: TrialPlan, params: dict[str, Any]) -> None:
        trial = RunningTrial(plan, params, self.clock(), self.folder.read_result(plan.number))
        try:
            self.worker.admit(plan)
        except ModelError as error:
            keep_cause(self.folder, plan.number, error)
            self._tell_result(result_of(self.spec, trial, Stop(TrialState.FAIL, str(error)), 0.0))
            return
        self.in_slots[plan.number] = trial
        self.observer.admitted(plan, 0)

    def _handle_measured(self, trial: RunningTrial, event: Measured) -> None:
        self.folder.record_measurements(trial.number, event.measurements, event.hypotheses)
        rung = [
            self._judge_measurement(trial.plan, measurement) for measurement in event.measurements
        ]
        trial.verdicts += rung
        trial.last_rung = event.step
        here = best_verdict(rung)
        assert here is not None
        self._keep_adapter(trial, here)
        self.observer.measured(here)
        behind = self.study.early_stop(trial.number, event.step, here.rates[self.spec.objective])
        # a person's decision comes first, and holds at the last evaluation too
        stop = persons_stop(self.folder, trial.number, event.step) or (
            at_last_step(trial)
            if event.final
            else why_stop(self.spec, rung, self._baseline_rate, behind)
        )
        if stop is not None:
            self._end_trial(trial, stop)

    @property
    def _baseline_rate(self) -> float:
        """The untuned model's rate of the objective, which the search minimises."""
        rate = self.baseline_scores.sets[self.spec.objective].rate
        assert rate is not None, "a set without words is refused before anything is measured"
        return rate

    def _keep_adapter(self, trial: RunningTrial, here: Verdict) -> None:
        """Export the present adapter: as the best one, or, beside that, as the last one."""
        number, is_best = trial.number, trial.best is here
        place = self.folder.adapter_folder(number) if is_best else self.folder.final_folder(number)
        with self.folder.new_adapter(place) as aside:
            self.worker.export(number, here.adapter_scale, aside)
        if is_best:
            self.folder.drop_final(number)

    def _end_trial(self, trial: RunningTrial, stop: Stop) -> None:
        seconds = self.clock() - trial.started
        self._close_trial(trial, trial.on_file or result_of(self.spec, trial, stop, seconds))

    def _close_trial(self, trial: RunningTrial, result: TrialResult) -> None:
        """Write the result, tell the study, free the slot, in this order: a crash in between leaves
        nothing that replay does not repeat.
        """
        self._tell_result(result)
        self.worker.release(trial.number)
        del self.in_slots[trial.number]
        for asked in self.duplicates.take_waiting(trial.number):
            self._tell_duplicate(trial.number, asked.number, asked.params)

    def _tell_duplicate(self, original: int, number: int, params: dict[str, Any]) -> None:
        """Give a duplicate the result of its original, which has ended."""
        copy = duplicate_result(self._result_on_file(original), number, params)
        if copy.step is not None and self.spec.objective in copy.wer:
            self.study.report(number, copy.step, copy.wer[self.spec.objective])
        self._tell_result(copy)

    def _report_again(self, number: int, upto: int | None = None) -> None:
        """Report the rungs that a trial has on file, those up to step `upto` where one is given. A
        run that was killed before its commit may not have told the study of all of them.
        """
        for step, rate in reported_rates(
            self.spec, self.folder, number, self.folder.read_result(number)
        ).items():
            if upto is None or step <= upto:
                self.study.early_stop(number, step, rate)

    def _result_on_file(self, number: int) -> TrialResult:
        result = self.folder.read_result(number)
        assert result is not None, f"trial {number} ended without a result"
        return result

    def _tell_result(self, result: TrialResult) -> None:
        """Tell the study the result, which is written first unless it is on file, as is its
        plan.
        """
        self.asked.commit_plans()
        if self.folder.read_result(result.number) is None:
            self.folder.write_result(result)
        self.study.tell(result.number, result)
        self.observer.ended(result)
