"""Names under which files stand aside while they are written, and what killed writers left under
them.

A name is `<name>.tmp-<pid>-<where>`; `<where>` is the machine or container whose process it is: on
storage that several share, the number alone says nothing.
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
"""Ends the name of a folder that is being replaced, while neither version has the name."""
_ASIDE = re.compile(
    r".+\.tmp-(?:old|(?P<process>[0-9]+)(?:-(?P<where>[0-9a-f]{8}))?)(?:-wal|-shm|-journal)?"
)
_FORGOTTEN_SECONDS = 86_400
"""What a process of another machine left aside is taken for dead after a day without a change."""


def aside_of(path: Path) -> Path:
    """The name of this process under which `path` is written."""
    return path.with_name(f"{path.name}.tmp-{os.getpid()}-{_where()}")


@lru_cache
def _where() -> str:
    """This machine, or the container in it that numbers its own processes."""
    try:
        numbering = os.readlink("/proc/self/ns/pid")
    except OSError:
        numbering = ""
    return f"{zlib.crc32(f'{os.uname().nodename} {numbering}'.encode()):08x}"


def published(path: Path) -> Path:
    """The name that what is written at `path` is to have: its own, or of what stands aside the one
    that it will take.
    """
    aside = _ASIDE.fullmatch(path.name)
    return path.with_name(path.name[: path.name.rindex(".tmp-")]) if aside else path


def clear_leftovers(root: Path) -> None:
    """Remove what killed writers left below `root`; a folder killed between its two versions is the
    old one again.

    Only for who holds the lock of `root`. What a process without the lock is just writing, into a
    cache, stays.
    """
    for leftover in sorted(root.rglob("*.tmp-*")):
        published = leftover.with_name(leftover.name.removesuffix(OLD))
        if leftover.name.endswith(OLD) and ".tmp-" not in published.name and not published.exists():
            os.replace(leftover, published)
        elif is_abandoned(leftover):
            remove(leftover)


def clear_dead(folder: Path, name: str = "*") -> None:
    """Remove what writers of `name`, or of any file of `folder`, left aside there when they were
    killed.
    """
    start = "" if name == "*" else f"{name}.tmp-"
    for leftover in os.listdir(folder) if folder.is_dir() else ():
        aside = leftover.startswith(start) and ".tmp-" in leftover
        if aside and not leftover.endswith(OLD) and is_abandoned(folder / leftover):
            remove(folder / leftover)


def is_abandoned(path: Path) -> bool:
    """Whether a file is one of ours that stands aside and whose writer is gone."""
    found = _ASIDE.fullmatch(path.name)
    if found is None:
        return False
    process, where = found["process"], found["where"]
    if process is None:
        return True
    if where not in (None, _where()):
        return _is_forgotten(path)
    return int(process) == os.getpid() or not _process_runs(int(process))


def _is_forgotten(path: Path) -> bool:
    """Of a process that cannot be asked: by the clock of the file system, whose hosts may differ."""
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
    """Remove a file, a folder or a link, never what a link points to; nothing where there is
    none.
    """
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):  # the latter by macOS
        if not path.is_dir() or path.is_symlink():
            raise
        shutil.rmtree(path)
