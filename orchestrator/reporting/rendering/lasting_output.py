"""Standard output and standard error that survive the closing of their terminal.

Writing to a closed terminal fails with EIO. That must not end a sweep, whose results are in files.
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
    """A stream to a terminal, which goes to /dev/null once the terminal is closed."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write `data`; after the terminal was closed, discard it."""
        try:
            return super().write(data)
        except OSError as error:
            if error.errno != errno.EIO or os.isatty(self.fileno()):
                raise
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return super().write(data)


def open_closed_streams() -> None:
    """Open /dev/null in the place of each standard stream that was closed before this process began
    (`>&-`). Else the next file that is opened gets its number, and a study's database what libraries
    print there.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # it gets the lowest number that is free; the processes of packs have it, too
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            raw = io.BufferedWriter(io.FileIO(number, "wb", closefd=False))
            setattr(sys, name, io.TextIOWrapper(raw, "utf-8"))


def outlive_terminal() -> None:
    """Replace stdout and stderr so that this process goes on when its terminal is closed."""
    sys.stdout, sys.stderr = _lasting(sys.stdout), _lasting(sys.stderr)


def _lasting(stream: object) -> io.TextIOWrapper:
    """Return a stream that survives its terminal; the stream itself where it is no terminal."""
    if not isinstance(stream, io.TextIOWrapper) or not stream.isatty():
        return stream  # type: ignore[return-value]
    raw = _OfTerminal(stream.fileno(), "wb", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), stream.encoding, stream.errors, line_buffering=True
    )
