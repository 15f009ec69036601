"""A sweep while it runs: a table that redraws itself on a terminal, lines without escape codes in a
pipe.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from rich.columns import Columns
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.results import Measurement, TrialResult
from orchestrator.reporting.escape import plain
from orchestrator.reporting.preparation import Preparation
from orchestrator.reporting.status import duration
from orchestrator.reporting.terminal import table_of
from orchestrator.reporting.wording import (
    delta_text,
    params_text,
    percent,
    rate_heading,
    shown_percent,
    shown_points,
)
from orchestrator.scoring.judge import Verdict
from orchestrator.set_names import confirm_name

EVERY_BAR, EVERY_LINE = 0.2, 10.0
"""Seconds between two looks at a bar, and between two lines in a pipe."""
BAR_WIDTH = 30

SHOWN = 30
"""Rows of the live table; earlier trials are in the report."""


@dataclass
class Row:
    """One trial as it is shown."""

    number: int
    params: str
    max_steps: int
    first_step: int
    started: float
    step: int = 0
    loss: str = "-"
    rates: tuple[str, ...] = ()
    state: str = "RUNNING"
    pack: int | None = None

    def left(self, now: float) -> str:
        """Time to the last step at the trial's own pace; empty before its first step and after its
        end.
        """
        done = self.step - self.first_step
        if self.state != "RUNNING" or done <= 0:
            return ""
        return duration((now - self.started) / done * (self.max_steps - self.step))

    def cells(self, now: float) -> tuple[str, ...]:
        """Under `Show.columns`."""
        name = str(self.number) if self.number >= 0 else f"confirm {-self.number}"
        name += "" if self.pack is None else f" (pack {self.pack})"
        step = f"{self.step}/{self.max_steps}"
        return name, self.params, step, self.loss, *self.rates, self.state, self.left(now)


class LiveReporter:
    """An observer for people. Enter it around the sweep.

    On a terminal it keeps a table of the last trials in place; otherwise it prints one line for
    each thing worth one.
    """

    def __init__(
        self,
        console: Console,
        varied: tuple[str, ...],
        clock: Callable[[], float] = time.monotonic,
        rates: tuple[str, ...] = ("domain", "heldout"),
    ) -> None:
        """`varied`: the parameters to show; `rates`: the rates, as measurements name them."""
        self._console = console
        self._varied = varied
        self._rates = rates
        self.columns = (
            *("trial", "parameters", "step", "loss"),
            *(f"{rate_heading(rate)} % (change)" for rate in rates),
            *("state", "left"),
        )
        self._clock = clock
        self._rows: dict[int, Row] = {}
        self._preparation = Preparation(EVERY_BAR if console.is_terminal else EVERY_LINE)
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> LiveReporter:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def baseline(self, measurement: Measurement) -> None:
        """WER of the untuned model."""
        wers = ", ".join(
            f"{name} {percent(score.wer)} %" for name, score in measurement.sets.items()
        )
        self.say(f"baseline: {wers}")

    def admitted(self, plan: TrialPlan, step: int) -> None:
        """A new row."""
        values = plan.params.model_dump()
        params = params_text({name: values[name] for name in self._varied if name in values})
        row = Row(
            plan.number, params, plan.params.max_steps, step, self._clock(), step, rates=self._none
        )
        self._rows[plan.number] = row
        self._line(
            f"{_name(plan.number)}: {params}" + (f", continued at step {step}" if step else "")
        )

    def progress(self, event: object) -> None:
        """Step and loss; no line of its own in a pipe."""
        number, step, loss, pack = (
            getattr(event, name) for name in ("number", "step", "loss", "pack")
        )
        if row := self._rows.get(number):
            row.step, row.loss, row.pack = step, f"{loss:.3f}", pack
        self._redraw()

    def measured(self, verdict: Verdict) -> None:
        """WER and change at a rung."""
        names = {rate: confirm_name(rate, verdict.confirmed) for rate in self._rates}
        cells = tuple(
            f"{shown_percent(rate, verdict.wer.get(name))} "
            f"({shown_points(rate, verdict.delta.get(name))})"
            for rate, name in names.items()
        )
        if row := self._rows.get(verdict.number):
            row.step, row.rates = verdict.step, cells
        said = [
            f"{rate_heading(rate)} {cell}" for rate, cell in zip(self._rates, cells, strict=True)
        ]
        self._line(f"{_name(verdict.number)}: step {verdict.step}, {', '.join(said)}")

    def ended(self, result: TrialResult) -> None:
        """Its state and reason."""
        row = self._rows.setdefault(
            result.number, Row(result.number, params_text(result.params), 0, 0, self._clock())
        )
        row.state = str(result.state)
        row.rates = tuple(delta_text(result, rate) for rate in self._rates)
        self._line(f"{_name(result.number)}: {result.state}, {result.reason}")

    def say(self, text: str) -> None:
        """A line above the table, or in the pipe."""
        self._console.print(Text(plain(text)), soft_wrap=True)

    def preparing(self, what: str, done: int, total: int) -> None:
        """How far it is and how long it takes: a bar on a terminal, a line now and then in a
        pipe.
        """
        text = self._preparation.told(what, done, total, self._clock())
        if text and self._live:
            bar = ProgressBar(total=max(total, 1), completed=done, width=BAR_WIDTH)
            shown = Columns((bar, Text(plain(text)))) if done < total else Text("")
            self._live.update(shown, refresh=True)
        if text and (self._live is None or done == total):
            self.say(text)

    @property
    def _none(self) -> tuple[str, ...]:
        return ("-",) * len(self._rates)

    def _line(self, text: str) -> None:
        if self._live:
            self._redraw()
        else:
            self.say(text)

    def _redraw(self) -> None:
        if self._live:
            now = self._clock()
            rows = tuple(row.cells(now) for row in list(self._rows.values())[-SHOWN:])
            self._live.update(table_of(self.columns, rows), refresh=True)


def _name(number: int) -> str:
    return f"trial {number}" if number >= 0 else f"confirmation run {-number}"
