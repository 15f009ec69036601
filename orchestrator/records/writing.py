"""Writes a study's files whole or not at all. An error says what is safe."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from orchestrator.errors import StudyError
from orchestrator.files.atomic import ADVICE, FULL, as_refusals_of, new_file, new_files
from orchestrator.files.names_aside import published


def write_aside(path: Path, data: bytes) -> None:
    """Write `data` to `path` as `atomic.new_file` does. Raises StudyError when the disk refuses."""
    with safely(path, len(data)), new_file(path) as aside:
        aside.write_bytes(data)


def write_together(files: Mapping[Path, bytes], meanwhile: Callable[[], None]) -> None:
    """Write files that belong together as `atomic.new_files` does. Raises StudyError when the disk
    refuses one of them.
    """
    try:
        with new_files(*files, meanwhile=meanwhile) as asides:
            for (path, data), aside in zip(files.items(), asides, strict=True):
                with as_refusals_of(path):
                    aside.write_bytes(data)
    except OSError as error:
        named = published(Path(error.filename)) if error.filename else None
        # all new versions exist at once, beside the old ones
        needed = sum(map(len, files.values()))
        raise refused(named or next(iter(files)), error, needed) from error


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a path to write a file to that may be large; on leaving, it becomes `path`. Raises
    StudyError when the disk refuses.
    """
    with safely(path, None), new_file(path) as aside:
        yield aside


@contextmanager
def safely(path: Path, needed: int | None) -> Iterator[None]:
    """Turn errors of the disk while `path` is written, within the block, into StudyError. `needed`
    is about how many bytes it takes, where that is known.
    """
    try:
        yield
    except OSError as error:
        raise refused(path, error, needed) from error


def refused(path: Path, error: OSError, needed: int | None) -> StudyError:
    """Return the error that says which file the disk refused and, where it is full, how much room
    is needed as far as that is known.
    """
    room = _room_text(path, needed) if error.errno in FULL else ""
    path = published(path)
    make_room = "Make room or fix the permissions, then run the same command again."
    advice = ADVICE.get(error.errno or 0, make_room)
    return StudyError(
        f"{path} could not be written: {error.strerror or error}{room}\n"
        f"  What was written before is safe. {advice}"
    )


def _room_text(path: Path, needed: int | None) -> str:
    """Say what a full file system has left and what is needed. Where enough bytes are free, say
    that another limit, such as a quota or the number of files, was met.
    """
    there = next(folder for folder in path.absolute().parents if folder.is_dir())
    found = os.statvfs(there)
    free = shutil.disk_usage(there).free
    if found.f_files and not found.f_favail:
        return f"; the file system of {there} takes no further file, whatever its size"
    if needed is None:
        return f"; it needs more than {_size_text(free)}, which are free"
    other = ", so that another limit was met, such as a quota" if free >= needed else ""
    return f"; it needs {_size_text(needed)}, {_size_text(free)} are free{other}"


def _size_text(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count / 1e3:,.1f} kB"
