"""Output of a running sweep for people: a table that is redrawn in place on a terminal, plain lines
in a pipe.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.progress import listening
from orchestrator.records.results import Measurement, TrialResult
from orchestrator.records.worker_protocol import Progress as Trained
from orchestrator.reporting.progress.live_table import SHOWN, Row, chosen_rows, live_table
from orchestrator.reporting.progress.sweep_standing import (
    Budgeted,
    InTraining,
    Standing,
    best_text,
    earlier_steps,
    one_line,
    time_text,
    trials_text,
)
from orchestrator.reporting.rendering.escape import plain
from orchestrator.reporting.wording import (
    all_rates,
    delta_text,
    duration_text,
    params_text,
    percent,
    rate_heading,
    shown_percent,
    shown_points,
)
from orchestrator.scoring.judge import Verdict
from orchestrator.set_names import confirm_name, is_wer

REDRAW_SECONDS = 0.1
"""Least seconds between two redraws when only counters changed."""
LINE_SECONDS = 30.0
"""Least seconds between two lines about the same long piece of work, in a pipe."""
BESIDE_THE_TABLE = 8
"""Lines of the terminal that are kept for the heading, bars and a few messages, beside those of the
summary.
"""


class LiveReporter:
    """The observer of a sweep that shows it to people. Use it as a context manager around the
    sweep.

    On a terminal it keeps a table of trials, progress bars and a summary in place; otherwise it
    prints a line for each important event.
    """

    def __init__(
        self,
        console: Console,
        varied: Sequence[str],
        budget: Budgeted,
        clock: Callable[[], float] = time.monotonic,
        today: Callable[[], datetime] = datetime.now,
        again: bool = False,
    ) -> None:
        """`varied` are the parameters to show; `clock` counts seconds, `today` is the
        time of day. `again`: one trial is run again, apart from its sweep, of which nothing is
        said; its row goes when it ends.
        """
        self._console, self._varied, self._budget = console, varied, budget
        self._clock, self._today, self._again = clock, today, again
        self._rows: dict[int, Row] = {}
        self._ended: dict[int, TrialResult] = {}
        self._steps, self._seconds, self._began = 0, 0.0, clock()
        self._searched = 0.0
        self._searching_from: float | None = self._began
        """The clock's time when the search had taken `_searched` seconds; None once it
        has ended.
        """
        self._learnt = ""
        self._drawn = -REDRAW_SECONDS
        self._work = Work(console)
        on_terminal = console.is_terminal and not console.is_dumb_terminal
        live = Live(console=console, auto_refresh=False, transient=again)
        self._live = live if on_terminal else None
        self._open = ExitStack()

    def __enter__(self) -> LiveReporter:
        self._open.enter_context(listening(self.working))
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._open.close()
        if self._live:
            self._redraw()
            self._live.stop()

    def resumed(self, results: Sequence[TrialResult], seconds: float) -> None:
        """Show the trials that ended in earlier runs; `seconds` is what their search took."""
        self._steps, self._seconds, self._began = earlier_steps(results), seconds, self._clock()
        self.searched(seconds, goes_on=True)
        self.confirmed(results)

    def confirmed(self, results: Sequence[TrialResult]) -> None:
        """Show the runs that ended in earlier runs."""
        for result in results:
            self._end_row(result)
        if results:
            self._print_line(one_line(self._standing_now, self._today()))

    def searched(self, seconds: float, goes_on: bool) -> None:
        """Set the time of the search that is shown; it runs on from there where `goes_on`."""
        self._searched = seconds
        self._searching_from = self._clock() if goes_on else None

    def baseline(self, measurement: Measurement) -> None:
        """Show the WER of the untuned model on every set, and its other rates that are shown."""
        wers = [f"{name} {percent(score.wer)} %" for name, score in measurement.sets.items()]
        rates = all_rates(measurement)
        others = [
            f"{rate_heading(rate)} {percent(rates[rate])} %"
            for rate in self._budget.rates
            if not is_wer(rate) and rate in rates
        ]
        self.say(f"baseline: {', '.join([*wers, *others])}")

    def admitted(self, plan: TrialPlan, step: int) -> None:
        """Show a trial that begins or continues in a new row."""
        values = plan.params.model_dump()
        params = params_text({name: values[name] for name in self._varied if name in values})
        row = Row(plan.number, params, plan.last_rung, step, self._clock(), step)
        row.rates = ("-",) * len(self._budget.rates)
        self._rows[plan.number] = row
        # A trial that ended after the last checkpoint is trained again, with the same result, so
        # its steps must not count twice.
        again = self._ended.pop(plan.number, None)
        self._steps += step - (again.steps_trained if again else 0)
        self._print_line(
            f"{_trial_name(plan.number)}: {params}"
            + (f", continued at step {step}" if step else "")
        )

    def progress(self, event: Trained) -> None:
        """Show a trial's step and loss in its row; nothing in a pipe."""
        if row := self._rows.get(event.number):
            self._steps += max(0, event.step - row.step)
            row.step, row.loss, row.pack = event.step, f"{event.loss:.3f}", event.pack
        self._redraw_soon()

    def measured(self, verdict: Verdict) -> None:
        """Show the rates and their changes at a rung."""
        rates = self._budget.rates
        names = {rate: confirm_name(rate, verdict.confirmed) for rate in rates}
        cells = tuple(
            f"{shown_percent(rate, verdict.rates.get(name))} "
            f"({shown_points(rate, verdict.delta.get(name))})"
            for rate, name in names.items()
        )
        if row := self._rows.get(verdict.number):
            self._steps += max(0, verdict.step - row.step)
            row.step, row.rates = verdict.step, cells
        said = [f"{rate_heading(rate)} {cell}" for rate, cell in zip(rates, cells, strict=True)]
        self._say_learnt(f"{_trial_name(verdict.number)}: step {verdict.step}, {', '.join(said)}")

    def ended(self, result: TrialResult) -> None:
        """Show a trial's state and reason; in a pipe also the standing of the sweep."""
        self._end_row(result)
        self._say_learnt(f"{_trial_name(result.number)}: {result.state}, {result.reason}")
        if not self._live:
            self.say(one_line(self._standing_now, self._today()))

    def say(self, text: str) -> None:
        """Print a line above the table, or in the pipe."""
        self._console.print(Text(plain(text)), soft_wrap=True)

    def working(self, what: str, done: int, total: int) -> None:
        """Show how far a long piece of work has come: by a bar, or a line from time to time."""
        said = self._work.moved(what, done, total, self._clock())
        if done >= total:
            self._redraw()  # removes its bar
        elif self._live:
            self._redraw_soon()
        elif said:
            self.say(said)

    def _end_row(self, result: TrialResult) -> None:
        number, steps = result.number, result.steps_trained
        self._ended[number] = result
        new = Row(number, params_text(result.params), 0, steps, self._clock(), steps)
        row = self._rows.setdefault(number, new)
        row.state = str(result.state)
        row.rates = tuple(delta_text(result, rate) for rate in self._budget.rates)

    @property
    def _standing_now(self) -> Standing:
        now, began = self._clock(), self._searching_from
        in_slots = [row for row in self._rows.values() if row.training]
        return Standing(
            budget=self._budget,
            ended=tuple(self._ended.values()),
            training=tuple(InTraining(row.number, row.step, row.max_steps) for row in in_slots),
            steps=self._steps,
            seconds=self._seconds + now - self._began,
            searched=self._searched + (0.0 if began is None else now - began),
        )

    def _say_learnt(self, text: str) -> None:
        self._learnt = text
        self._print_line(text)

    def _print_line(self, text: str) -> None:
        if self._live:
            self._redraw()
        else:
            self.say(text)

    def _redraw_soon(self) -> None:
        """Redraw if the last time is long enough ago: it costs as much as a step of a
        small model.
        """
        if self._live and self._clock() - self._drawn >= REDRAW_SECONDS:
            self._redraw()

    def _redraw(self) -> None:
        if self._live:
            self._drawn = self._clock()
            self._live.update(Group(*self.visible_parts()), refresh=True)

    def visible_parts(self) -> list[RenderableType]:
        """Return what the terminal shows now: the table, the summary below it and the bars."""
        standing, now = self._standing_now, self._clock()
        best = standing.best.number if standing.best else None
        summary = self._summary_table(standing)
        beside = BESIDE_THE_TABLE + len(self._console.render_lines(summary))
        room = max(3, min(SHOWN, self._console.height - beside))
        rows = chosen_rows(list(self._rows.values()), best, room)
        parts: list[RenderableType] = []
        if rows:
            parts.append(live_table(rows, self._budget.rates, best, now))
            parts += [] if self._again else [summary]
        return [*parts, *self._work.bars()]

    def _summary_table(self, standing: Standing) -> Table:
        texts = {
            "best so far": best_text(standing),
            "trials": trials_text(standing),
            "time": time_text(standing, self._today()),
            "last learnt": self._learnt,
        }
        table = Table.grid(padding=(0, 2))
        for name, text in texts.items():
            if text:
                table.add_row(Text(name, style="dim"), Text(plain(text)))
        return table


class Work:
    """The long pieces of work in progress, with their bars for a terminal or lines for a pipe."""

    def __init__(self, console: Console) -> None:
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            console=console,
            auto_refresh=False,
        )
        self._tasks: dict[str, _Task] = {}

    def moved(self, what: str, done: int, total: int, now: float) -> str:
        """Record that `done` of `total` parts are done at time `now`; return a line to print in a
        pipe, or an empty string.
        """
        if done == 0:
            self._close(what)
            self._tasks[what] = _Task(self._bars.add_task(plain(what), total=total), now, now)
        task = self._tasks[what]
        self._bars.update(task.bar, completed=done)
        if done >= total:
            self._close(what)
            return ""
        if now - task.said_at < LINE_SECONDS:
            return ""
        task.said_at = now
        left = (now - task.began) / done * (total - done)
        return f"{what}: {done} of {total}, about {duration_text(left)} left"

    def bars(self) -> list[RenderableType]:
        """Return the bars of the work that is not done yet."""
        return [self._bars.get_renderable()] if self._tasks else []

    def _close(self, what: str) -> None:
        if task := self._tasks.pop(what, None):
            self._bars.remove_task(task.bar)


@dataclass
class _Task:
    bar: TaskID
    began: float
    said_at: float


def _trial_name(number: int) -> str:
    return f"trial {number}" if number >= 0 else f"confirmation run {-number}"
