"""The journal of a study as values: its lines, what they seal, and whether a file on disk agrees
with them.

A line is one version of one file: its path within the study, the SHA-256 it was meant to have, what
was written, and the digest of the line before, so that no line can be changed, removed or inserted
unnoticed. The lines of one act of writing come before the files they speak of. So the files of the
last act, and only those, may still be as they were before it. A run that ends in order closes its
last act.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from pydantic import ValidationError

from orchestrator.records.journal.digest_map import Digests
from orchestrator.records.results import Value

CLOSED = ""
"""Stands in the place of a file's name in the line that closes an act: all that was sealed before
it was published.
"""
NO_FILE = "no file"
"""Stands in the place of a digest where a folder or a pipe has the file's name."""


class Entry(Value):
    """One line of the journal."""

    act: int
    """Number of the act of writing, from 1. The files of one act are sealed together, then
    published.
    """
    file: str
    """The file's path within the study's folder."""
    sha256: str | None
    """Digest of the file's bytes; None where the file was removed."""
    what: str
    """What was written, in words."""
    previous: str
    """SHA-256 of the line before; empty in the first."""

    @cached_property
    def line(self) -> bytes:
        """The line as it stands in the journal, with its end of line."""
        return json.dumps(self.model_dump(), ensure_ascii=False).encode() + b"\n"


class Fault(StrEnum):
    """How a file differs from what was sealed."""

    LOST = "is lost"
    ALTERED = "has been altered"
    NO_FILE = "is no file any more: move away what has its name"
    STRANGE = "was not written by a run of this study"


@dataclass(frozen=True)
class Chain:
    """Everything that a journal seals."""

    length: int = 0
    """Bytes of its complete lines; anything behind them is a line that was cut off while it was
    written.
    """
    last: str = ""
    """SHA-256 of the last line."""
    act: int = 0
    """Number of the last act."""
    newest: Digests = field(default_factory=lambda: Digests({}))
    """File -> the digest that was sealed last; None for a file that was removed."""
    before: Mapping[str, str | None] = field(default_factory=dict)
    """The files of the last act -> the digest that was valid before it. Empty once that act is
    closed.
    """

    def fault(self, file: str, found: str | None) -> Fault | None:
        """Return what is wrong with a file whose digest on disk is `found` (None where it does not
        exist); None where nothing is.
        """
        if found == self.newest.get(file) or (file in self.before and found == self.before[file]):
            return None
        if found is None:
            return Fault.LOST
        if found == NO_FILE:
            return Fault.NO_FILE
        return Fault.STRANGE if self.newest.get(file) is None else Fault.ALTERED

    def knows(self, file: str) -> bool:
        """The file is sealed, or was being replaced or removed when the last writer stopped."""
        return self.newest.get(file) is not None or self.before.get(file) is not None

    @property
    def closed(self) -> bool:
        """The last run ended in order, or the journal is empty."""
        return not self.before

    @property
    def files(self) -> tuple[str, ...]:
        """The names of all files that should exist, sorted."""
        return tuple(sorted(file for file, sealed in self.newest.items() if sealed is not None))

    def under(self, folder: str) -> tuple[str, ...]:
        """Return the files that should exist in a trial's folder, or in a folder within it."""
        return self.newest.under(folder)

    def entries(self, what: str, files: Mapping[str, str | None]) -> tuple[Entry, ...]:
        """Return the lines that seal these files as the next act. Files whose digest is sealed
        already need no line.
        """
        found: list[Entry] = []
        for file, sha256 in files.items():
            if sha256 != self.newest.get(file):
                previous = _line_digest(found[-1].line) if found else self.last
                found.append(
                    Entry(act=self.act + 1, file=file, sha256=sha256, what=what, previous=previous)
                )
        return tuple(found)

    def extended(self, entries: Iterable[Entry]) -> Chain:
        """Return the chain with further lines, all of the next act."""
        written = tuple(entries)
        if not written:
            return self
        sealed = {entry.file: entry.sha256 for entry in written if entry.file != CLOSED}
        length = self.length + sum(len(entry.line) for entry in written)
        before = {file: self.newest.get(file) for file in sealed}
        return Chain(
            length,
            _line_digest(written[-1].line),
            written[-1].act,
            self.newest.changed(sealed),
            before,
        )

    @property
    def closing(self) -> tuple[Entry, ...]:
        """The line that says that the files of the last act were published; none where that has
        been said.
        """
        if not self.before:
            return ()
        return (
            Entry(
                act=self.act + 1,
                file=CLOSED,
                sha256=None,
                what="all was published",
                previous=self.last,
            ),
        )


def read_chain(data: bytes) -> Chain:
    """Return the chain that the bytes of a journal hold. Raises ValueError, naming the line, where
    it is broken.

    A last line without its end was being written when the power went. It is left out: nothing it
    speaks of was published.
    """
    lines = data.split(b"\n")[:-1]
    newest: dict[str, str | None] = {}
    before: dict[str, str | None] = {}
    act, last = 0, ""
    for number, line in enumerate(lines, start=1):
        entry = _parse_entry(number, line)
        if entry.previous != last or entry.act not in (act, act + 1) or entry.act == 0:
            raise ValueError(f"line {number} does not follow the line before it")
        if entry.act != act:
            act, before = entry.act, {}
        if entry.file != CLOSED:
            before[entry.file] = newest.get(entry.file)
            newest[entry.file] = entry.sha256
        last = _line_digest(line + b"\n")
    return Chain(sum(len(line) + 1 for line in lines), last, act, Digests(newest), before)


def _parse_entry(number: int, line: bytes) -> Entry:
    try:
        entry = Entry.model_validate_json(line)
    except ValidationError as error:
        raise ValueError(f"line {number}: {error.errors(include_url=False)[0]['msg']}") from error
    if entry.line != line + b"\n":
        raise ValueError(f"line {number} is not as it was written")
    return entry


def _line_digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()
