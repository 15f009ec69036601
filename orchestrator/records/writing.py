"""Writing a study's files: whole or not at all, with a message that says what is safe."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from orchestrator.atomic import ADVICE, FULL, as_refusals_of, new_file, new_files
from orchestrator.errors import StudyError
from orchestrator.names_aside import published


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
        # all of them stand aside at once
        needed = sum(map(len, files.values()))
        raise refused(named or next(iter(files)), error, needed) from error


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield where to write a file that may be large; on leaving it is `path`. Raises StudyError, as
    above.
    """
    with safely(path, None), new_file(path) as aside:
        yield aside


@contextmanager
def safely(path: Path, needed: int | None) -> Iterator[None]:
    """Within the block `path`, of about `needed` bytes where that is known, is written. Raises
    StudyError when the disk refuses.
    """
    try:
        yield
    except OSError as error:
        raise refused(path, error, needed) from error


def refused(path: Path, error: OSError, needed: int | None) -> StudyError:
    """The error that says which file the disk refused to take, and where it is full how much room
    that needs, as far as it is known.
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
    """What a full file system has left, beside what is needed; a number of bytes that would do is
    said to be none of the reason.
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
