"""Output of a running sweep for programs: one JSON object per line for every event, and nothing
else on stdout.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from orchestrator.errors import Interrupted, OrchestrateError
from orchestrator.files.atomic import system_error
from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.progress import listening
from orchestrator.records.results import Measurement, TrialResult, encodable
from orchestrator.records.worker_protocol import Progress
from orchestrator.reporting.progress import events
from orchestrator.reporting.progress.sweep_standing import Budgeted
from orchestrator.reporting.rendering.escape import plain
from orchestrator.reporting.rendering.utf8_output import in_utf8
from orchestrator.reporting.wording import all_rates, shown_result
from orchestrator.scoring.judge import Verdict
from orchestrator.scoring.limit_text import shown_change, shown_rate
from orchestrator.verdicts.conclusion import Conclusion

WORK_SECONDS = 1.0
"""Least seconds between two events about one piece of work; shorter work is not reported."""


class JsonReporter:
    """The observer of a sweep that writes its events as JSON lines. Use it as a context manager
    around the sweep: within it, everything else that is printed goes to stderr.
    """

    def __init__(
        self,
        study: Path,
        budget: Budgeted,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`study` is its folder; `clock` counts seconds, `now` is the time of day."""
        self._path, self._budget, self._clock, self._now = study, budget, clock, now
        self._out: TextIO = sys.stdout
        self._said_at: dict[str, float] = {}
        self._writing, self._waiting = False, list[str]()
        self._open = ExitStack()

    def __enter__(self) -> JsonReporter:
        self._out = in_utf8(sys.stdout)
        self._open.enter_context(redirect_stdout(sys.stderr))
        self._open.enter_context(listening(self.working))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if isinstance(error, OSError):
            error = system_error(error)
        if isinstance(error, (OrchestrateError, Interrupted)):
            self._write_event(events.StoppedEvent, message=str(error), exit_code=error.exit_code)
        self._open.close()

    def resumed(self, results: Sequence[TrialResult], seconds: float) -> None:
        """Write the study, then the trials and confirmation runs that ended in earlier runs."""
        budget = self._budget
        self._write_event(
            events.StudyEvent,
            path=str(self._path),
            trials=budget.trials,
            confirmations=budget.confirmations,
            wall_clock=budget.wall_clock,
            objective=budget.objective,
            ended=len(results),
            seconds=seconds,
        )
        self.confirmed(results)

    def confirmed(self, results: Sequence[TrialResult]) -> None:
        """Write the runs that ended in earlier runs."""
        for result in results:
            self._write_ended(result, earlier=True)

    def searched(self, seconds: float, goes_on: bool) -> None:
        """Write nothing: every event has its time."""

    def baseline(self, measurement: Measurement) -> None:
        """Write the rates of the untuned model."""
        wer = {name: score.wer for name, score in measurement.sets.items()}
        self._write_event(events.BaselineEvent, wer=wer, rates=all_rates(measurement))

    def admitted(self, plan: TrialPlan, step: int) -> None:
        """Write that a trial begins, or continues."""
        self._write_event(
            events.TrialStartedEvent,
            **_number_fields(plan.number),
            parameters=plan.params.model_dump(mode="json"),
            step=step,
            max_steps=plan.last_rung,
        )

    def progress(self, event: Progress) -> None:
        """Write a trial's step and loss."""
        self._write_event(
            events.ProgressEvent,
            **_number_fields(event.number),
            step=event.step,
            loss=event.loss,
            pack=event.pack,
        )

    def measured(self, verdict: Verdict) -> None:
        """Write the result of an evaluation."""
        self._write_event(
            events.MeasuredEvent,
            **_number_fields(verdict.number),
            step=verdict.step,
            adapter_scale=verdict.adapter_scale,
            feasible=verdict.feasible,
            rates={rate: shown_rate(rate, value) for rate, value in verdict.rates.items()},
            changes={rate: shown_change(rate, value) for rate, value in verdict.delta.items()},
        )

    def ended(self, result: TrialResult) -> None:
        """Write the end of a trial."""
        self._write_ended(result, earlier=False)

    def say(self, text: str) -> None:
        """Write a sentence for a person."""
        self._write_event(events.NoteEvent, text=plain(text))

    def working(self, what: str, done: int, total: int) -> None:
        """Write how far a long piece of work has come, at most every WORK_SECONDS."""
        now = self._clock()
        if done == 0:
            self._said_at[what] = now
        elif now - self._said_at[what] >= WORK_SECONDS:
            self._said_at[what] = now
            self._write_event(events.WorkEvent, what=what, done=done, total=total)

    def finished(self, conclusion: Conclusion, headline: str, report: Path, done: bool) -> None:
        """Write that the run came to its end; `report` is the path of report.html, `done`: nothing
        is left to train.
        """
        decision = conclusion.shown_decision(done)
        self._write_event(
            events.FinishedEvent,
            decision=decision and str(decision),
            trial=conclusion.best and conclusion.best.number,
            headline=headline,
            report=str(report),
            exit_code=conclusion.exit_code,
        )

    def _write_ended(self, result: TrialResult, earlier: bool) -> None:
        shown = shown_result(result)
        self._write_event(
            events.TrialEndedEvent,
            **_number_fields(result.number),
            state=str(result.state),
            reason=result.reason,
            pruned_by=result.pruned_by,
            feasible=result.feasible,
            parameters=result.params,
            step=result.step,
            adapter_scale=result.adapter_scale,
            rates=shown["wer"],
            changes=shown["delta"],
            steps_trained=result.steps_trained,
            duplicate_of=result.duplicate_of,
            earlier=earlier,
        )

    def _write_event(self, kind: type[Any], /, **values: Any) -> None:
        """Write one event as a line.

        A signal handler may call this while a line is being written: its event waits in a queue
        until that line is complete.
        """
        time_of_day = f"{self._now().astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        values = {
            name: encodable(value) if isinstance(value, str) else value
            for name, value in values.items()
        }
        event = kind(time=time_of_day, study=self._path.name, **values)
        self._waiting.append(event.model_dump_json())
        if self._writing:
            return
        self._writing = True
        try:
            while self._waiting:
                self._out.write(self._waiting.pop(0) + "\n")
            self._out.flush()
        except BrokenPipeError:
            # the reader has gone: the sweep goes on, and further output is discarded
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._out.fileno())
        finally:
            self._writing = False


def _number_fields(number: int) -> dict[str, Any]:
    """Return kind and number as programs see them: confirmation runs, which have negative numbers
    internally, are counted from 1, like their folders.
    """
    if number < 0:
        return {"kind": "confirmation", "number": -number}
    return {"kind": "trial", "number": number}
