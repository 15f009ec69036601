"""The table of trials on a terminal: a line for each, with as many rows and columns as fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from orchestrator.reporting.rendering.escape import plain
from orchestrator.reporting.rendering.terminal import width_taken
from orchestrator.reporting.wording import duration_text, rate_heading

SHOWN = 30
"""Most rows of the table; all trials are in the report."""

PARAMETERS = "parameters"
LEAST_PARAMETERS = 12
"""Least width of the column of parameters in characters; with less it is left out."""
LEAST_VALUE = 5
"""Characters of the first parameter's value that are worth the loss and the time left."""


@dataclass
class Row:
    """The row of one trial."""

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

    @property
    def training(self) -> bool:
        """Whether the trial is still training."""
        return self.state == "RUNNING"

    def left(self, now: float) -> str:
        """Return the time to the trial's last step, at its own pace so far, in words; empty before
        its first step and after its end.
        """
        done = self.step - self.first_step
        if not self.training or done <= 0:
            return ""
        return duration_text((now - self.started) / done * (self.max_steps - self.step))

    def cells(self, now: float) -> tuple[str, ...]:
        """Return the cells, in the order of `columns_of`."""
        name = str(self.number) if self.number >= 0 else f"confirm {-self.number}"
        name += "" if self.pack is None else f" (pack {self.pack})"
        step = f"{self.step}/{self.max_steps}" if self.max_steps else str(self.step)
        return name, self.params, step, self.loss, *self.rates, self.state, self.left(now)


def columns_of(rates: Sequence[str]) -> tuple[str, ...]:
    """Return the headings of the table; some have two lines."""
    headings = (f"{rate_heading(rate)} %\n(change)" for rate in rates)
    return ("trial", PARAMETERS, "step", "loss", *headings, "state", "left")


def live_table(rows: Sequence[Row], rates: Sequence[str], best: int | None, now: float) -> _Fitting:
    """Make a table of the rows that fits the terminal it is shown on; trial `best` is marked."""
    cells = [row.cells(now) for row in rows]
    marked = [
        (f"{own[0]} *" if row.number == best else own[0], *own[1:])
        for row, own in zip(rows, cells, strict=True)
    ]
    return _Fitting(columns_of(rates), marked)


def chosen_rows(rows: Sequence[Row], best: int | None, count: int) -> list[Row]:
    """Choose at most `count` rows, kept in their order: those in training first, then the best one,
    then those that came last.
    """

    def rank(place: int) -> tuple[bool, bool, int]:
        row = rows[place]
        return not row.training, row.number != best, -place

    kept = sorted(range(len(rows)), key=rank)[:count]
    return [rows[place] for place in sorted(kept)]


@dataclass(frozen=True)
class _Fitting:
    """A table that chooses its columns when rich draws it and the width is known."""

    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]

    def __rich_console__(self, console: object, options: object) -> list[Table]:
        """Return the table for rich to draw."""
        widths = widths_that_fit(self.columns, self.rows, getattr(options, "max_width", 80))
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for place, width in widths.items():
            heading = Text("\n".join(map(plain, self.columns[place].split("\n"))))
            table.add_column(heading, no_wrap=True, overflow="ellipsis", width=width)
        for row in self.rows:
            table.add_row(*(Text(plain(row[place])) for place in widths))
        return [table]


def widths_that_fit(
    columns: Sequence[str], rows: Sequence[Sequence[str]], width: int
) -> dict[int, int]:
    """Choose the columns that fit in `width` characters; return their index and their width.

    Left out first are the loss and the time left, in this order, until the first parameter can be
    told from those of other trials; then the parameters, then rates from the last to the second,
    then the step. Only the parameters may be cut off.
    """
    needed = [
        max(cell_len(line) for text in (*heading.split("\n"), *cells) for line in (plain(text),))
        for heading, *cells in zip(columns, *rows, strict=True)
    ]
    parameters = columns.index(PARAMETERS)
    whole, least = needed[parameters], min(needed[parameters], LEAST_PARAMETERS)
    telling = max([least, *(_telling_width(plain(row[parameters])) for row in rows)])
    shown, last = list(range(len(columns))), len(columns) - 1
    rates = range(last - 2, 4, -1)  # from the last to the second; the first rate, at 4, stays
    for place in (3, last, parameters, *rates, 2):
        needed[parameters] = telling if place in (3, last) else least
        if width_taken(needed[at] for at in shown) <= width:
            break
        shown.remove(place)
    room = width - width_taken(needed[at] for at in shown)
    needed[parameters] = min(whole, needed[parameters] + max(0, room))
    return {place: needed[place] for place in shown}


def _telling_width(params: str) -> int:
    """Return the width in which the first of the parameters has some of its value."""
    name, _, value = params.partition(",")[0].partition("=")
    return min(cell_len(params), cell_len(name) + 1 + min(cell_len(value), LEAST_VALUE) + 1)
