"""A sweep while it runs, for programs: every event as one JSON object a line, and nothing else on
stdout.
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

from orchestrator.atomic import system_error
from orchestrator.errors import Interrupted, OrchestrateError
from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.progress import listening
from orchestrator.records.results import Measurement, TrialResult
from orchestrator.records.worker_protocol import Progress
from orchestrator.reporting import events
from orchestrator.reporting.escape import plain
from orchestrator.reporting.sweep_standing import Budgeted
from orchestrator.scoring.judge import Verdict
from orchestrator.verdicts.conclusion import Conclusion

WORK_SECONDS = 1.0
"""Between two events of one piece of work; what ends sooner is not said."""


class JsonReporter:
    """An observer for programs. Enter it around the sweep: meanwhile whatever else is printed goes
    to stderr.
    """

    def __init__(
        self,
        study: Path,
        budget: Budgeted,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`study`: its folder; `clock` in seconds."""
        self._path, self._budget, self._clock, self._now = study, budget, clock, now
        self._out: TextIO = sys.stdout
        self._said_at: dict[str, float] = {}
        self._writing, self._waiting = False, list[str]()
        self._open = ExitStack()

    def __enter__(self) -> JsonReporter:
        self._out = sys.stdout
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
        """The study, then what ended in earlier runs."""
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
        for result in results:
            self._write_ended(result, earlier=True)

    def searched(self, seconds: float, goes_on: bool) -> None:
        """Nothing: every event has its time."""

    def baseline(self, measurement: Measurement) -> None:
        """WER of the untuned model."""
        wer = {name: score.wer for name, score in measurement.sets.items()}
        self._write_event(events.BaselineEvent, wer=wer)

    def admitted(self, plan: TrialPlan, step: int) -> None:
        """A trial begins, or continues."""
        self._write_event(
            events.TrialStartedEvent,
            **_number_fields(plan.number),
            parameters=plan.params.model_dump(mode="json"),
            step=step,
            max_steps=plan.rungs[-1],
        )

    def progress(self, event: Progress) -> None:
        """Step and loss."""
        self._write_event(
            events.ProgressEvent,
            **_number_fields(event.number),
            step=event.step,
            loss=event.loss,
            pack=event.pack,
        )

    def measured(self, verdict: Verdict) -> None:
        """An evaluation."""
        self._write_event(
            events.MeasuredEvent,
            **_number_fields(verdict.number),
            step=verdict.step,
            adapter_scale=verdict.adapter_scale,
            feasible=verdict.feasible,
            rates=verdict.wer,
            changes=verdict.delta,
        )

    def ended(self, result: TrialResult) -> None:
        """The end of a trial."""
        self._write_ended(result, earlier=False)

    def say(self, text: str) -> None:
        """A sentence."""
        self._write_event(events.NoteEvent, text=plain(text))

    def working(self, what: str, done: int, total: int) -> None:
        """How far a long piece of work has come."""
        now = self._clock()
        if done == 0:
            self._said_at[what] = now
        elif now - self._said_at[what] >= WORK_SECONDS:
            self._said_at[what] = now
            self._write_event(events.WorkEvent, what=what, done=done, total=total)

    def finished(self, conclusion: Conclusion, headline: str, report: Path) -> None:
        """The run came to its end; `report` is that for a browser."""
        self._write_event(
            events.FinishedEvent,
            decision=conclusion.decision and str(conclusion.decision),
            trial=conclusion.best and conclusion.best.number,
            headline=headline,
            report=str(report),
            exit_code=conclusion.exit_code,
        )

    def _write_ended(self, result: TrialResult, earlier: bool) -> None:
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
            rates=result.wer,
            changes=result.delta,
            steps_trained=result.steps_trained,
            duplicate_of=result.duplicate_of,
            earlier=earlier,
        )

    def _write_event(self, kind: type[Any], /, **values: Any) -> None:
        """One line. A signal says something in the middle of another line: its own waits for the
        end of that.
        """
        time_of_day = f"{self._now().astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
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
            # whoever read has gone: the sweep goes on, and what is said goes nowhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._out.fileno())
        finally:
            self._writing = False


def _number_fields(number: int) -> dict[str, Any]:
    """Confirmation runs have negative numbers among ourselves, and folders from 0001 on."""
    if number < 0:
        return {"kind": "confirmation", "number": -number}
    return {"kind": "trial", "number": number}
