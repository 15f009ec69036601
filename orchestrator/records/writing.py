"""Writing a study's files: whole or not at all, with a message that says what is safe."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from orchestrator.atomic import ADVICE, FULL, new_file, new_files
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
                with safely(path, len(data)):
                    aside.write_bytes(data)
    except OSError as error:
        path = next((path for path in files if str(path) == error.filename), next(iter(files)))
        raise refused(path, error, len(files[path])) from error


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield where to write a file that may be large; on leaving it is `path`. Raises StudyError, as
    above.
    """
    with safely(path, 0), new_file(path) as aside:
        yield aside


@contextmanager
def safely(path: Path, needed: int) -> Iterator[None]:
    """Within the block `path`, of about `needed` bytes, is written. Raises StudyError when the disk
    refuses.
    """
    try:
        yield
    except OSError as error:
        raise refused(path, error, needed) from error


def refused(path: Path, error: OSError, needed: int) -> StudyError:
    """The error that says which file the disk refused to take, and where it is full how much room
    that needs.
    """
    room = (
        f"; it needs {_size_text(needed)}, {_size_text(_free_bytes(path))} are free"
        if error.errno in FULL
        else ""
    )
    path = published(path)
    make_room = "Make room or fix the permissions, then run the same command again."
    advice = ADVICE.get(error.errno or 0, make_room)
    return StudyError(
        f"{path} could not be written: {error.strerror or error}{room}\n"
        f"  What was written before is safe. {advice}"
    )


def _free_bytes(path: Path) -> int:
    there = next(folder for folder in path.parents if folder.is_dir())
    return shutil.disk_usage(there).free


def _size_text(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count / 1e3:,.1f} kB"
