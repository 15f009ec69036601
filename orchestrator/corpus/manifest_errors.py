"""Faults of a manifest, which are collected and then raised together, as one message that a person
can work through.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import ManifestError

SHOWN = 20
"""The number of faults that a message prints in full; the rest are counted."""

SAVE_AS_UTF8 = (
    "save the file as UTF-8 (iconv -f CP1252 -t UTF-8 OLD > NEW, if a Western Windows wrote it)"
)
"""The cure of a text in another encoding, which no byte tells."""

Place = tuple[int, int]
"""Where a record of a manifest begins: its line, and its position among the records that begin on
that line, both from 1. JSON may hold any number of records on one line.
"""


@dataclass(frozen=True, order=True)
class Fault:
    """What is wrong, and on which line (1-based) of the manifest."""

    line: int
    message: str
    ends_file: bool = False
    """Whether the rest of the file could not be read at all, so that it is unknown how many lines
    are lost.
    """
    record: int = 1
    """The position, from 1, among the records that begin on that line."""

    @property
    def place(self) -> Place:
        """Where the record with this fault begins."""
        return self.line, self.record


class UnusableError(ManifestError):
    """Raised when a record, an audio file or a whole file cannot be used. The text lacks the name
    of the manifest and the line, which whoever catches it knows.
    """


class FaultsError(ManifestError):
    """Raised with all faults of a manifest. It has them as values too, because a training set may
    be allowed to go without those lines.
    """

    def __init__(self, message: str, faults: tuple[Fault, ...]) -> None:
        super().__init__(message)
        self.faults = faults


_CURE = "Correct or delete these lines, then run the same command again."


def joined_errors(errors: Sequence[ManifestError]) -> ManifestError:
    """Return one error for what is wrong with several sets, each message once."""
    messages = list(dict.fromkeys(str(error) for error in errors))
    if len(messages) == 1:
        return errors[0]
    said = [message.removesuffix(f"\n{_CURE}") for message in messages]
    cure = [_CURE] if any(message.endswith(_CURE) for message in messages) else []
    return ManifestError("\n".join([*said, *cure]))


def bad_records(faults: Iterable[Fault]) -> int:
    """Return the number of records that have a fault, however many faults each has."""
    return len({fault.place for fault in faults})


def manifest_error(path: Path, faults: Iterable[Fault]) -> FaultsError:
    """Return one error with all faults in line order, of which the first 20 are printed in full."""
    ordered = sorted(set(faults), key=lambda fault: (fault.place, fault.message))
    count = "1 fault" if len(ordered) == 1 else f"{len(ordered)} faults"
    lines = [f"{path} has {count}:"]
    lines += [f"  {place_text(path, fault.place)}: {fault.message}" for fault in ordered[:SHOWN]]
    if len(ordered) > SHOWN:
        lines.append(f"  and {len(ordered) - SHOWN} more")
    lines.append(_CURE)
    return FaultsError("\n".join(lines), tuple(ordered))


def place_text(path: Path, place: Place) -> str:
    """Name a record as `path:line`; only for a further record of the same line is its position
    added.
    """
    line, record = place
    return f"{path}:{line}" if record == 1 else f"{path}:{line} (record {record} of that line)"


def record_text(place: Place) -> str:
    """Name a record within a sentence that is about one manifest: `line 3, record 2`."""
    line, record = place
    return f"line {line}" if record == 1 else f"line {line}, record {record}"


def why_unopened(error: OSError) -> str:
    """Say why a file or a folder cannot be opened, and what helps where that is known."""
    cure = "; fix its permissions, or those of a folder above it"
    reason = error.strerror or str(error)
    return f"{reason}{cure}" if isinstance(error, PermissionError) else reason


def show(value: Any) -> str:
    """Return `value` as a message may print it: short, and free of control and direction
    characters.
    """
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int) and abs(value) >= 10**30:
        return "a huge integer"
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
