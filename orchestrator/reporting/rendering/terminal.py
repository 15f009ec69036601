"""Rendering of a document on a terminal, or as text without escape codes in a pipe."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from orchestrator.reporting.rendering.escape import plain
from orchestrator.reporting.rendering.report_blocks import (
    Block,
    Bullets,
    Code,
    Document,
    Heading,
    Paragraph,
    Picture,
    Table,
)

GAP = 3
"""Width of the gap between two cells in characters, as rich draws these tables."""
LONGEST_WORD = 40
"""Longest word in characters that a table does not break, such as a path or a list of modules."""


class _Output(Console):
    """A console that goes on silently when the reader of its pipe has gone. That must not end a
    sweep, whose results are in files.
    """

    def on_broken_pipe(self) -> None:
        """Do what rich does, without the exit."""
        with suppress(SystemExit):
            super().on_broken_pipe()


def console() -> Console:
    """Return a console for standard output. Where that is no terminal it is 200 columns wide,
    because tables in a file need not fit a screen.
    """
    found = _Output(highlight=False)
    if not found.is_terminal:
        found.width = 200
    return found


def show(document: Document, console: Console) -> None:
    """Print a document. All text is passed as `Text`, so that nothing in it is read as markup."""
    console.print(Text(plain(document.title), style="dim"))
    console.print(Text(plain(document.headline), style="bold"))
    for block in document.blocks:
        _show_block(block, console)


def _show_block(block: Block, console: Console) -> None:
    match block:
        case Heading(text):
            console.print()
            console.print(Text(plain(text), style="bold underline"))
        case Paragraph(text):
            console.print(Text(plain(text)))
        case Bullets(items):
            for item in items:
                console.print(Text(f"- {plain(item)}"))
        case Table(columns, rows):
            _show_table(columns, rows, console)
        case Code(lines):
            for line in lines:
                console.print(Text(f"  {plain(line)}"), soft_wrap=True)
        case Picture(file, text):
            console.print(Text(f"{plain(text)}: {file}"))


def _show_table(
    columns: tuple[str, ...], rows: tuple[tuple[str, ...], ...], console: Console
) -> None:
    """Print a table; where it would break words and numbers, print each row as a list."""
    widths = widths_of(columns, rows, console.width)
    if widths is None:
        if not rows:
            console.print(Text(plain(f"{', '.join(filter(None, columns))}: none")))
        for row in rows:
            console.print()
            for column, cell in zip(columns, row, strict=True):
                console.print(Text(f"{plain(column)}: {plain(cell)}".removeprefix(": ")))
        return
    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    for column, width in zip(columns, widths, strict=True):
        table.add_column(Text(plain(column)), overflow="fold", width=width)
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    console.print(table)


def widths_of(
    columns: tuple[str, ...], rows: tuple[tuple[str, ...], ...], room: int
) -> list[int] | None:
    """Return the widths of a table's columns, in which no word of up to `LONGEST_WORD` characters
    is broken; None where those do not fit into `room`. What is left goes to the narrowest columns
    first, so that numbers stand in one line and long texts share the rest.
    """
    texts = [[plain(text) for text in own] for own in zip(columns, *rows, strict=True)]
    whole = [max(map(cell_len, own)) for own in texts]
    words = [
        max((cell_len(word) for text in own for word in text.split()), default=0) for own in texts
    ]
    widths = [max(1, min(longest, LONGEST_WORD)) for longest in words]
    spare = room - width_taken(widths)
    if spare < 0:
        return None
    while spare and (lacking := [at for at, own in enumerate(widths) if own < whole[at]]):
        widths[min(lacking, key=widths.__getitem__)] += 1
        spare -= 1
    return widths


def width_taken(widths: Iterable[int]) -> int:
    """Return the width of a table with cells of these widths, with a gap between two and a margin
    of one character on either side.
    """
    found = list(widths)
    return sum(found) + GAP * (len(found) - 1) + 2
