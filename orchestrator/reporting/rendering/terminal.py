"""Rendering of a document on a terminal, or as text without escape codes in a pipe."""

from __future__ import annotations

from contextlib import suppress

from rich import box
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
            console.print(table_of(columns, rows))
        case Code(lines):
            for line in lines:
                console.print(Text(f"  {plain(line)}"), soft_wrap=True)
        case Picture(file, text):
            console.print(Text(f"{plain(text)}: {file}"))


def table_of(columns: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> RichTable:
    """Make a rich table; cells are plain text."""
    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(Text(plain(column)), overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    return table
