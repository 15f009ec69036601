"""Files that are either the old or the new version, whatever happens in between."""

from __future__ import annotations

import os
from pathlib import Path

from orchestrator.errors import StudyError


def write_aside(path: Path, data: bytes) -> None:
    """Write `data` to `path`: aside, fsync, rename, fsync of the folder; missing folders are made.

    A reader, or the next run after kill -9 or a power cut, finds the old bytes or the new ones, never a part.
    Raises StudyError when the disk refuses.
    """
    aside = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        make_folder(path.parent)
        _write_and_sync(aside, data)
        os.replace(aside, path)
        sync_folder(path.parent)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise StudyError(
            f"{path} could not be written: {error.strerror}\n"
            "  What was written before is safe. Make room or fix the permissions, then run the same command again."
        ) from error


def make_folder(folder: Path) -> None:
    """Make `folder` and its parents, durably."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """fsync of a folder: without it a rename may be lost at a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """fsync of every file and folder below `folder`, and of itself: what a rename then publishes is on the disk."""
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            sync_folder(path)
        else:
            with open(path, "rb") as file:
                os.fsync(file.fileno())
    sync_folder(folder)


def _write_and_sync(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
