"""CSV that a spreadsheet shows and never runs.

Spreadsheets take a cell that begins with = + - or @ for a formula, and a formula can run programs
and send data away (OWASP, "CSV Injection"). A transcript, a speaker or a reason may begin so. Such
a text gets an apostrophe in front, by which spreadsheets know a text. A text that already has
apostrophes before such a sign gets one more, so that to take one away gives back what was recorded
(`unguard_cell`). Numbers are never changed: -3.5 is a number and not a text.
"""

from __future__ import annotations

import csv
import re
from typing import TextIO

from orchestrator.reporting.escape import plain
from orchestrator.reporting.tables import Cell, DataTable

_FORMULA = re.compile(r"'*\s*[=+\-@＝＋－＠]")
"""The full-width forms count: some versions read them as their ASCII forms."""


def write_csv(table: DataTable, file: TextIO) -> None:
    """A header and a line a row, as RFC 4180 has it; nothing between the commas for what is
    absent.
    """
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows([_written_cell(cell) for cell in row] for row in table.rows)


def guard_cell(text: str) -> str:
    """A text as a cell that no spreadsheet runs; control characters become spaces."""
    harmless = plain(text)
    return f"'{harmless}" if _FORMULA.match(harmless) else harmless


def unguard_cell(cell: str) -> str:
    """What `guard_cell` was given, but for control characters."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _written_cell(cell: Cell) -> Cell:
    if isinstance(cell, bool):
        return str(cell).lower()
    return guard_cell(cell) if isinstance(cell, str) else cell
