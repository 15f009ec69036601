"""Damages to a file or folder of a study, as real disks, tools and people do them: one function
each, which returns False where the damage does not apply to what lies there.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.files.names_aside import remove

MINE = "mine.txt"
"""The name of a file of somebody else, which no command may remove wherever it lies."""
Harm = Callable[["Place"], bool]


@dataclass(frozen=True)
class Place:
    """A name in a study, and other versions of what lies there, by which it may be replaced."""

    project: Path
    name: str
    older: tuple[Path, ...]
    """The same name in the study's earlier states, oldest first."""
    other: Path
    """The same name in another study."""

    @property
    def path(self) -> Path:
        """The path of the name, whether something lies there or not."""
        return self.project / "studies" / "demo" / self.name

    @property
    def is_there(self) -> bool:
        """Whether something lies there, be it only a link to nowhere."""
        return os.path.lexists(self.path)

    @property
    def aside(self) -> Path:
        """The path outside of the study to which `link` moves what lay there."""
        return self.project / "aside"

    def take_away(self) -> None:
        """Remove what lies there, and make the folder in which something else can have the name."""
        remove(self.path)
        self.path.parent.mkdir(parents=True, exist_ok=True)


def absent(place: Place) -> bool:
    """Remove it."""
    if not place.is_there:
        return False
    remove(place.path)
    return True


def empty(place: Place) -> bool:
    """Put an empty file in its place, or an empty folder where it is a folder."""
    is_folder = place.path.is_dir()
    place.take_away()
    if is_folder:
        place.path.mkdir()
    else:
        place.path.write_bytes(b"")
    return True


def _changed(place: Place, change: Callable[[bytes], bytes | None]) -> bool:
    """Change the bytes of a file; False where it is none, or the change gives None or the same."""
    if not place.path.is_file():
        return False
    data = place.path.read_bytes()
    other = change(data)
    if other is None or other == data:
        return False
    place.path.write_bytes(other)
    return True


def truncated(place: Place) -> bool:
    """Keep only the first half of a file."""
    return _changed(place, lambda data: data[: len(data) // 2])


def flipped(place: Place) -> bool:
    """Flip one bit of a file, in a byte that follows from its name."""

    def flip(data: bytes) -> bytes | None:
        if not data:
            return None
        at = random.Random(place.name).randrange(len(data))
        return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]

    return _changed(place, flip)


def digit(place: Place) -> bool:
    """Increase a digit in the middle of a text file by one."""

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
    """Replace a file by an older version of it, from an earlier state of the study."""
    return any(_replaced(place, source) for source in place.older)


def other(place: Place) -> bool:
    """Replace a file by that of another study."""
    return _replaced(place, place.other)


def folder(place: Place) -> bool:
    """Put somebody's folder in the place of a file."""
    if place.path.is_dir():
        return False
    place.take_away()
    place.path.mkdir()
    (place.path / MINE).write_text("mine")
    return True


def file(place: Place) -> bool:
    """Put somebody's file in the place of a folder."""
    if not place.path.is_dir():
        return False
    place.take_away()
    place.path.write_text("mine")
    return True


def pipe(place: Place) -> bool:
    """Put a named pipe in the place of a file; opening it blocks for ever."""
    if place.path.is_dir():
        return False
    place.take_away()
    os.mkfifo(place.path)
    return True


def link(place: Place) -> bool:
    """Move it elsewhere, and put a symbolic link to it in its place."""
    if not place.is_there:
        return False
    place.path.rename(place.aside)
    place.path.symlink_to(place.aside)
    return True


def dangling(place: Place) -> bool:
    """Put a symbolic link to nowhere in the place of a file."""
    if place.path.is_dir():
        return False
    place.take_away()
    place.path.symlink_to(place.project / "nowhere")
    return True


def unreadable(place: Place) -> bool:
    """Take all permissions away from it."""
    if not place.is_there:
        return False
    place.path.chmod(0)
    return True


HARMS: tuple[Harm, ...] = (
    *(absent, empty, truncated, flipped, digit, older, other),
    *(folder, file, pipe, link, dangling, unreadable),
)
APART = (pipe, unreadable)
"""Damages for which the command is run in a process of its own, because it may hang and has to be
killed, or has to run as another user, to whom permissions apply.
"""
