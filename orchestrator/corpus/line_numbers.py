"""Telling on which line of a text a position lies. Pure."""

from __future__ import annotations

import re
from bisect import bisect_left


class LineNumbers:
    """The numbers of the lines of one text. Its line ends are found once: counted anew for every
    position, they would take the square of a long text's length.
    """

    def __init__(self, text: str, first: int = 1) -> None:
        """Find the line ends of a text whose first line has the number `first`."""
        self._first = first
        self._ends = [found.start() for found in re.finditer("\n", text)]

    def line_of(self, position: int) -> int:
        """Return the number of the line on which a position lies; a line end ends its own line."""
        return self._first + bisect_left(self._ends, position)
