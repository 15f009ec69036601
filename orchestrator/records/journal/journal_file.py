"""The file of a journal: which version of it was read, lines that are appended to that version, and
a new file in its place.
"""

from __future__ import annotations

import os
from pathlib import Path

from orchestrator.files.atomic import make_folder, sync_folder

_APPENDED = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
Stamp = tuple[int, int, int]
"""(mtime, size, inode) of a file: while they stay the same, so does the content."""


class OtherFile(Exception):
    """The file is no longer the one that was read: somebody else wrote to it or replaced it."""


def stamp_of(path: Path) -> Stamp | None:
    """Return the stamp of a file; None where there is none."""
    try:
        state = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return state.st_mtime_ns, state.st_size, state.st_ino


def append(path: Path, read: Stamp | None, length: int, data: bytes) -> Stamp:
    """Write `data` durably behind the first `length` bytes, in the file that had the stamp `read`
    (None: there was none), and return its new stamp.

    Raises OtherFile where it is another file by now, which is left as it is, and OSError where the
    disk refuses; the file then has `length` bytes.
    """
    make_folder(path.parent)
    descriptor = os.open(path, _APPENDED, 0o666)
    try:
        state = os.fstat(descriptor)
        if (state.st_size, state.st_ino) != (read[1:] if read else (0, state.st_ino)):
            raise OtherFile
        if state.st_size > length:
            os.ftruncate(descriptor, length)  # what a power cut left of a line
        try:
            _write_whole(descriptor, data, length)
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, length)
            raise
    finally:
        os.close(descriptor)
    if read is None:
        sync_folder(path.parent)
    stamp = stamp_of(path)
    if stamp is None or stamp[2] != state.st_ino:
        raise OtherFile
    return stamp


def _write_whole(descriptor: int, data: bytes, at: int) -> None:
    """Write all of `data`. On a disk that is nearly full, a write may do only a part, and says so
    by its count alone.
    """
    while data:
        written = os.pwrite(descriptor, data, at)
        data, at = data[written:], at + written
