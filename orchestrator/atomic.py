"""Files and folders that are either the old or the new version, whatever happens in between.

What is written stands aside under `<name>.tmp-<pid>` until it is whole and on the disk, then takes the name. A reader,
or the next run after kill -9 or a power cut, finds the old bytes or the new ones, never a part.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OLD = ".tmp-old"
"""Ends the name of a folder that is being replaced, while neither version has the name."""


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield where to write the new `path`, whose folder is made; on leaving it is published.

    Where the body raises, nothing is left and the old file stays. Raises OSError when the disk refuses.
    """
    make_folder(path.parent)
    aside = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        yield aside
        _sync_file(aside)
        os.replace(aside, path)
        sync_folder(path.parent)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder; on leaving it is published as `path`, in the place of the folder that has the name.

    Where the body raises, nothing is left and the old folder stays. Raises OSError when the disk refuses.
    """
    make_folder(path.parent)
    aside = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir()
        yield aside
        _sync_tree(aside)
        _exchange(aside, path)
        sync_folder(path.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def clear_leftovers(root: Path) -> None:
    """Remove what killed writers left below `root`; a folder killed between its two versions is the old one again.

    Only for who holds the lock of `root`: to anyone else these are files that a live run is just writing.
    """
    for leftover in sorted(root.rglob("*.tmp-*")):
        published = leftover.with_name(leftover.name.removesuffix(_OLD))
        if leftover.name.endswith(_OLD) and not published.exists():
            os.replace(leftover, published)
        elif leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)


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


def _exchange(aside: Path, path: Path) -> None:
    """`aside` takes the name `path`. A folder cannot be renamed over another that holds files."""
    if not path.exists():
        os.replace(aside, path)
        return
    old = path.with_name(path.name + _OLD)
    shutil.rmtree(old, ignore_errors=True)
    os.replace(path, old)
    os.replace(aside, path)
    shutil.rmtree(old)


def _sync_file(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _sync_tree(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            sync_folder(path)
        else:
            _sync_file(path)
    sync_folder(folder)
