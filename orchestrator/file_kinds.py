"""What lies under a file's name. A folder, a pipe or a device there is never opened: to read one
fails, or waits for ever.
"""

from __future__ import annotations

import stat
from pathlib import Path

_KINDS = {stat.S_IFDIR: "a directory", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}


def kind_text(mode: int) -> str:
    """What has the mode `mode` (`st_mode`) and is no regular file, in words."""
    return _KINDS.get(stat.S_IFMT(mode), "a device")


def other_kind(path: Path) -> str:
    """What lies at `path` in the place of a regular file, in words; empty for a file, for a link to
    one, and where there is nothing.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return ""
    return "" if stat.S_ISREG(mode) else kind_text(mode)
