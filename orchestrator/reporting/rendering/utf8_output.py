"""Standard output for documents that programs read: they are in UTF-8, whatever the locale is."""

from __future__ import annotations

import io
from typing import TextIO


def in_utf8(stream: TextIO) -> TextIO:
    """Return a stream that from now on writes UTF-8; what that cannot hold, such as bytes of a path
    that are no text, becomes escapes.
    """
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    return stream
