"""Whether the file of a database is as the process that writes to it left it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

_PART = 1 << 20
_State = tuple[int, int, int]
"""(inode, size, time of the last change) of a file."""


class FileAsLeft:
    """The file of a database that this process has open, as of the last `note`.

    It is read through one descriptor, which is closed after the database is: SQLite's locks are of
    the whole process, and closing any descriptor of the file would let go of them.
    """

    def __init__(self, path: Path) -> None:
        """Note the file at `path`. Raises OSError where it cannot be opened."""
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._state, self._digest = _state_of(os.fstat(self._descriptor)), self._digest_now()

    def note(self) -> None:
        """Remember the file as it is now."""
        state = _state_of(os.fstat(self._descriptor))
        if state != self._state:
            self._state, self._digest = state, self._digest_now()

    def holds(self) -> bool:
        """Say whether no other file, or a link, has the name, and nobody else has written to it. Of
        a file whose time alone differs, as some backups and file servers leave it, the content
        decides.
        """
        try:
            now = _state_of(self._path.lstat())
        except FileNotFoundError:
            return False
        if now == self._state:
            return True
        if now[:2] != self._state[:2] or self._digest_now() != self._digest:
            return False
        self._state = now
        return True

    def close(self) -> None:
        """Close the descriptor. The database must be closed before."""
        os.close(self._descriptor)

    def _digest_now(self) -> str:
        found, at = hashlib.sha256(), 0
        while part := os.pread(self._descriptor, _PART, at):
            found.update(part)
            at += len(part)
        return found.hexdigest()


def _state_of(state: os.stat_result) -> _State:
    return state.st_ino, state.st_size, state.st_mtime_ns
