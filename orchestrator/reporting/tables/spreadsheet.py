"""CSV output that is safe to open in a spreadsheet.

Spreadsheets take a cell that begins with = + - or @ for a formula, and a formula can run programs
and send data away (OWASP, "CSV Injection"). A transcript, a speaker or a reason may begin like
that. Such a text gets a leading apostrophe, which marks text in spreadsheets. A text that already
has apostrophes before such a sign gets one more, so that removing one always gives back what was
recorded (`unguard_cell`). Numbers are never changed: -3.5 is a number and not a text.
"""

from __future__ import annotations

import csv
import re
from typing import TextIO

from orchestrator.reporting.rendering.escape import plain
from orchestrator.reporting.tables.study_tables import Cell, DataTable

_FORMULA = re.compile(r"'*\s*[=+\-@＝＋－＠]")
"""Start of a text that may be read as a formula. The full-width signs are included, because some
versions read them as their ASCII forms.
"""


def write_csv(table: DataTable, file: TextIO) -> None:
    """Write a header and a line for each row, by RFC 4180 but with LF line ends; missing values are
    empty.
    """
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows([_written_cell(cell) for cell in row] for row in table.rows)


def guard_cell(text: str) -> str:
    """Return a text as a cell that no spreadsheet runs; control characters become spaces."""
    harmless = plain(text)
    return f"'{harmless}" if _FORMULA.match(harmless) else harmless


def unguard_cell(cell: str) -> str:
    """Return the text that `guard_cell` was given, except for control characters."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _written_cell(cell: Cell) -> Cell:
    if isinstance(cell, bool):
        return str(cell).lower()
    return guard_cell(cell) if isinstance(cell, str) else cell
