"""The table of trials on a terminal: one line each, as many rows and columns as there is room for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from orchestrator.reporting.escape import plain
from orchestrator.reporting.wording import duration_text, rate_heading

SHOWN = 30
"""Rows of the table at most; all trials are in the report."""

GAP = 3
"""Columns of the terminal between two cells, as the table is drawn."""

PARAMETERS = "parameters"
LEAST_PARAMETERS = 12
"""Columns of the terminal below which the parameters are not worth showing."""


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

    @property
    def training(self) -> bool:
        """It holds a slot."""
        return self.state == "RUNNING"

    def left(self, now: float) -> str:
        """Time to the last step at the trial's own pace; empty before its first step and after its
        end.
        """
        done = self.step - self.first_step
        if not self.training or done <= 0:
            return ""
        return duration_text((now - self.started) / done * (self.max_steps - self.step))

    def cells(self, now: float) -> tuple[str, ...]:
        """Under `columns_of`."""
        name = str(self.number) if self.number >= 0 else f"confirm {-self.number}"
        name += "" if self.pack is None else f" (pack {self.pack})"
        step = f"{self.step}/{self.max_steps}" if self.max_steps else str(self.step)
        return name, self.params, step, self.loss, *self.rates, self.state, self.left(now)


def columns_of(rates: Sequence[str]) -> tuple[str, ...]:
    """The headings of the table, some of them two lines."""
    headings = (f"{rate_heading(rate)} %\n(change)" for rate in rates)
    return ("trial", PARAMETERS, "step", "loss", *headings, "state", "left")


def live_table(rows: Sequence[Row], rates: Sequence[str], best: int | None, now: float) -> _Fitting:
    """The rows as a table that fits the terminal it is shown on; `best` is marked."""
    cells = [row.cells(now) for row in rows]
    marked = [
        (f"{own[0]} *" if row.number == best else own[0], *own[1:])
        for row, own in zip(rows, cells, strict=True)
    ]
    return _Fitting(columns_of(rates), marked)


def chosen_rows(rows: Sequence[Row], best: int | None, count: int) -> list[Row]:
    """At most `count` rows in their order: those in training, then the best, then what ended last."""

    def rank(place: int) -> tuple[bool, bool, int]:
        row = rows[place]
        return not row.training, row.number != best, -place

    kept = sorted(range(len(rows)), key=rank)[:count]
    return [rows[place] for place in sorted(kept)]


@dataclass(frozen=True)
class _Fitting:
    """Cells under their headings; which columns are shown is known when the width is."""

    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]

    def __rich_console__(self, console: object, options: object) -> list[Table]:
        """What rich draws."""
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
    """The columns that stand side by side in `width`, by their place, and how wide each is: loss,
    time left, then parameters are left out first, then rates from the last on.

    Parameters may be cut off, nothing else is.
    """
    needed = [
        max(cell_len(line) for text in (*heading.split("\n"), *cells) for line in (plain(text),))
        for heading, *cells in zip(columns, *rows, strict=True)
    ]
    parameters = columns.index(PARAMETERS)
    whole, needed[parameters] = needed[parameters], min(needed[parameters], LEAST_PARAMETERS)
    shown, last = list(range(len(columns))), len(columns) - 1
    rates = range(last - 2, 4, -1)  # all but the first
    for place in (3, last, parameters, *rates):
        if width_taken(needed[at] for at in shown) <= width:
            break
        shown.remove(place)
    room = width - width_taken(needed[at] for at in shown)
    needed[parameters] = min(whole, needed[parameters] + max(0, room))
    return {place: needed[place] for place in shown}


def width_taken(widths: Iterable[int]) -> int:
    """Columns of the terminal that cells of these widths take, a gap between two and a margin on
    either side.
    """
    found = list(widths)
    return sum(found) + GAP * (len(found) - 1) + 2
