"""What becomes of a file or folder of a study on real disks, and of what has its name."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.names_aside import remove

MINE = "mine.txt"
"""A file of somebody else, which stays wherever it is put."""
Harm = Callable[["Place"], bool]


@dataclass(frozen=True)
class Place:
    """A name in a study, and where other versions of what lies there come from."""

    project: Path
    name: str
    older: tuple[Path, ...]
    """The same name in the states before, oldest first."""
    other: Path
    """The same name in another study."""

    @property
    def path(self) -> Path:
        """Where it is, or would be."""
        return self.project / "studies" / "demo" / self.name

    @property
    def is_there(self) -> bool:
        """Something lies there, if only a link to nowhere."""
        return os.path.lexists(self.path)

    @property
    def aside(self) -> Path:
        """Where links lead to."""
        return self.project / "aside"

    def take_away(self) -> None:
        """Nothing has the name, and something may."""
        remove(self.path)
        self.path.parent.mkdir(parents=True, exist_ok=True)


def absent(place: Place) -> bool:
    """It is gone."""
    if not place.is_there:
        return False
    remove(place.path)
    return True


def empty(place: Place) -> bool:
    """A file without a byte, or a folder without a file."""
    is_folder = place.path.is_dir()
    place.take_away()
    if is_folder:
        place.path.mkdir()
    else:
        place.path.write_bytes(b"")
    return True


def _changed(place: Place, change: Callable[[bytes], bytes | None]) -> bool:
    if not place.path.is_file():
        return False
    data = place.path.read_bytes()
    other = change(data)
    if other is None or other == data:
        return False
    place.path.write_bytes(other)
    return True


def truncated(place: Place) -> bool:
    """The first half of it."""
    return _changed(place, lambda data: data[: len(data) // 2])


def flipped(place: Place) -> bool:
    """One bit of one byte is another."""

    def flip(data: bytes) -> bytes | None:
        if not data:
            return None
        at = random.Random(place.name).randrange(len(data))
        return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]

    return _changed(place, flip)


def digit(place: Place) -> bool:
    """One digit of a text is another."""

    def next_digit(data: bytes) -> bytes | None:
        found = list(re.finditer(rb"[1-8]", data))
        if not found or b"\0" in data:
            return None
        at = found[len(found) // 2].start()
        return data[:at] + bytes([data[at] + 1]) + data[at + 1 :]

    return _changed(place, next_digit)


def _replaced(place: Place, source: Path) -> bool:
    if not source.is_file():
        return False
    return _changed(place, lambda data: source.read_bytes())


def older(place: Place) -> bool:
    """What it was in a state before."""
    return any(_replaced(place, source) for source in place.older)


def other(place: Place) -> bool:
    """What it is in another study."""
    return _replaced(place, place.other)


def folder(place: Place) -> bool:
    """A folder of somebody has its name."""
    if place.path.is_dir():
        return False
    place.take_away()
    place.path.mkdir()
    (place.path / MINE).write_text("mine")
    return True


def file(place: Place) -> bool:
    """A file of somebody has the name of a folder."""
    if not place.path.is_dir():
        return False
    place.take_away()
    place.path.write_text("mine")
    return True


def pipe(place: Place) -> bool:
    """Who opens it waits for ever."""
    if place.path.is_dir():
        return False
    place.take_away()
    os.mkfifo(place.path)
    return True


def link(place: Place) -> bool:
    """It lies elsewhere."""
    if not place.is_there:
        return False
    place.path.rename(place.aside)
    place.path.symlink_to(place.aside)
    return True


def dangling(place: Place) -> bool:
    """A link to nowhere has its name."""
    if place.path.is_dir():
        return False
    place.take_away()
    place.path.symlink_to(place.project / "nowhere")
    return True


def unreadable(place: Place) -> bool:
    """Nobody may read it."""
    if not place.is_there:
        return False
    place.path.chmod(0)
    return True


HARMS: tuple[Harm, ...] = (
    *(absent, empty, truncated, flipped, digit, older, other),
    *(folder, file, pipe, link, dangling, unreadable),
)
APART = (pipe, unreadable)
"""Tried in a process of its own, which can be given up, or be somebody else's."""
