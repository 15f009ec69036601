"""Standard output and standard error that outlive their terminal.

Where a terminal was closed, what is written to it is refused (EIO). A sweep must not end for want
of a reader: what counts is in files.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _OfTerminal(io.FileIO):
    """A terminal; once that is gone, nowhere."""

    def write(self, data: ReadableBuffer, /) -> int:
        """As a file writes."""
        try:
            return super().write(data)
        except OSError as error:
            if error.errno != errno.EIO or os.isatty(self.fileno()):
                raise
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return super().write(data)


def outlive_terminal() -> None:
    """Have this process go on where the terminal is closed that it writes to."""
    sys.stdout, sys.stderr = _lasting(sys.stdout), _lasting(sys.stderr)


def _lasting(stream: object) -> io.TextIOWrapper:
    """The stream itself where it is no terminal."""
    if not isinstance(stream, io.TextIOWrapper) or not stream.isatty():
        return stream  # type: ignore[return-value]
    raw = _OfTerminal(stream.fileno(), "wb", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), stream.encoding, stream.errors, line_buffering=True
    )
