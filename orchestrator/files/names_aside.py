"""Temporary names under which files are written, and the removal of what killed writers left.

A temporary name is `<name>.tmp-<pid>-<where>`. `<where>` identifies the machine or container of the
process: on storage that several machines share, the process id alone says nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import time
import zlib
from functools import lru_cache
from pathlib import Path

OLD = ".tmp-old"
"""Suffix of the old version of a folder while it is being replaced: for a moment neither version
has the final name.
"""
_ASIDE = re.compile(
    r".+\.tmp-(?:old|(?P<process>[0-9]+)(?:-(?P<where>[0-9a-f]{8}))?)(?:-wal|-shm|-journal)?",
    re.DOTALL,  # a name may hold a line break
)
_FORGOTTEN_SECONDS = 86_400
"""Age at which a temporary file of another machine, whose processes cannot be asked, counts as
abandoned: a day without a change.
"""


def aside_of(path: Path) -> Path:
    """Return the temporary name under which this process writes `path`."""
    return path.with_name(f"{path.name}.tmp-{os.getpid()}-{_where()}")


@lru_cache
def _where() -> str:
    """Return eight hex digits for this machine, or for the container in it that has its own process
    ids (a PID namespace).
    """
    try:
        numbering = os.readlink("/proc/self/ns/pid")
    except OSError:
        numbering = ""
    return f"{zlib.crc32(f'{os.uname().nodename} {numbering}'.encode()):08x}"


def published(path: Path) -> Path:
    """Return the final name of what is written at `path`: without the temporary suffix, if it has
    one.
    """
    aside = _ASIDE.fullmatch(path.name)
    return path.with_name(path.name[: path.name.rindex(".tmp-")]) if aside else path


def clear_leftovers(root: Path, dispossessed: int | None = None) -> None:
    """Remove what killed writers left below `root`. Where a writer was killed between the two
    renames of a folder, the old version gets its name back.

    Only the holder of the lock of `root` may call it. Temporary files of living processes that do
    not need the lock, such as those that write to a cache, stay; those of the former holder, the
    process `dispossessed` of another machine, do not, so that it cannot give them their names when
    it goes on.
    """
    for leftover in sorted(root.rglob("*.tmp-*")):
        published = leftover.with_name(leftover.name.removesuffix(OLD))
        if leftover.name.endswith(OLD) and ".tmp-" not in published.name and not published.exists():
            os.replace(leftover, published)
        elif is_abandoned(leftover, dispossessed):
            remove(leftover)


def clear_dead(folder: Path, name: str = "*") -> None:
    """Remove the temporary files that killed writers of `name` (`*`: any) left in `folder`."""
    start = "" if name == "*" else f"{name}.tmp-"
    if not folder.is_dir():
        return
    for leftover in os.listdir(folder):
        aside = leftover.startswith(start) and ".tmp-" in leftover
        if aside and not leftover.endswith(OLD) and is_abandoned(folder / leftover):
            remove(folder / leftover)


def is_abandoned(path: Path, dispossessed: int | None = None) -> bool:
    """Whether `path` has a temporary name of this module and its writer is gone, or is the process
    `dispossessed` of another machine.

    Files of this process count as abandoned too.
    """
    found = _ASIDE.fullmatch(path.name)
    if found is None:
        return False
    process, where = found["process"], found["where"]
    if process is None:
        return True
    if where not in (None, _where()):
        return int(process) == dispossessed or _is_forgotten(path)
    return int(process) == os.getpid() or not _process_runs(int(process))


def _is_forgotten(path: Path) -> bool:
    """Whether a file has not changed for a day, by the file system's clock, which may differ."""
    try:
        return time.time() - path.lstat().st_mtime > _FORGOTTEN_SECONDS
    except OSError:
        return False


def _process_runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def remove(path: Path) -> None:
    """Remove a file, a folder with its content, or a link, never what a link points to; do nothing
    where there is none.
    """
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):  # macOS raises the latter for a folder
        if not path.is_dir() or path.is_symlink():
            raise
        shutil.rmtree(path)
