"""Tell regular files from folders, pipes and devices, and make one for SQLite where there is
nothing. What is no regular file is never opened, because reading it fails or blocks for ever.
"""

from __future__ import annotations

import stat
from contextlib import suppress
from pathlib import Path

_KINDS = {stat.S_IFDIR: "a directory", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}


def kind_text(mode: int) -> str:
    """Name, in words, the kind of something that is no regular file, by its `st_mode`."""
    return _KINDS.get(stat.S_IFMT(mode), "a device")


def other_kind(path: Path) -> str:
    """Name, in words, what lies at `path` in the place of a regular file; empty for a regular file,
    for a link to one, and where there is nothing.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return ""
    return "" if stat.S_ISREG(mode) else kind_text(mode)


def make_empty(path: Path) -> None:
    """Make an empty file of the usual mode where there is nothing. SQLite itself gives its files the
    mode 0644 whatever the umask is, so that nobody else of a group could write to them. Where that
    fails, nothing is raised: whoever opens the file says why.
    """
    if not path.exists():
        with suppress(OSError):
            path.touch()
