"""The files beside the sealed ones of a study: notes, findings, the clock and the server's record.
No verdict rests on them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from orchestrator.checks import Finding
from orchestrator.errors import StudyError
from orchestrator.records.journal.journal import NAME, origin_of
from orchestrator.records.json_files import (
    ClockFile,
    FindingRow,
    FindingsFile,
    ServerRecord,
    SignedFile,
    damaged,
    model_line,
    read_file,
    read_json,
    to_line,
)
from orchestrator.records.locks.still_owner import Ownership
from orchestrator.records.writing import write_aside

_SERVER_ADVICE = (
    "Restore it from a copy of the study, or run `orchestrate repair SPEC`, which makes the database "
    "again from the files of the trials."
)
_LOST_STAGE = "lost"
"""A stage of findings.json to which no check belongs, so that nothing overwrites it."""
_FINDINGS_LOST = Finding(
    "findings-lost",
    "warn",
    "what the checks of an earlier run found is lost, as findings.json was damaged or removed; "
    "notes.md has it.",
)

Signed = TypeVar("Signed", bound=SignedFile)


class UnsealedFiles:
    """Files of a study that people may read, edit and delete."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name
        self.ownership = Ownership()
        self.notes = path / "notes.md"
        self._clock = path / "clock.json"
        self._findings = path / "findings.json"
        self._storage = path / "storage.json"

    @property
    def measured(self) -> bool:
        """Something was measured in the study, so findings.json must exist even if the checks found
        nothing. Overridden in `StudyFolder`.
        """
        return False

    def note(self, text: str, at: datetime | None = None) -> None:
        """Append one dated line to notes.md, such as for device fallbacks, resumes and
        interventions.
        """
        day = (at or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
        before = read_file(self.notes) or to_line(f"# Notes on {self.name}\n")
        before += b"" if before.endswith(b"\n") else b"\n"  # a person's last line
        self._write(self.notes, before + to_line(f"- {day}: {' '.join(text.split())}"))

    def note_once(self, text: str) -> None:
        """Append the note unless notes.md says so already."""
        if not self.has_note(text):
            self.note(text)

    def has_note(self, text: str) -> bool:
        """Whether notes.md has this note, on whatever date."""
        ending = f": {' '.join(text.split())}"
        return any(line.endswith(ending) for line in self.noted().splitlines())

    def noted(self) -> str:
        """Return the text of notes.md; empty where there is none."""
        return (read_file(self.notes) or b"").decode("utf-8", errors="replace")

    def write_findings(self, stage: str, findings: Sequence[Finding]) -> None:
        """Keep what a stage's checks found, in the place of what they found before."""
        self._write_findings(self._findings_by_stage() | {stage: tuple(findings)})

    def _write_findings(self, stages: Mapping[str, Sequence[Finding]]) -> None:
        rows = {
            stage: tuple(FindingRow(**asdict(finding)) for finding in found)
            for stage, found in stages.items()
        }
        held = FindingsFile(stages=rows).signed(self._origin)
        text = json.dumps(held.model_dump(mode="json"), indent=1, ensure_ascii=False)
        self._write(self._findings, to_line(text))

    def findings(self) -> tuple[Finding, ...]:
        """Return what the checks of the last run found, each finding once. Where the file is
        damaged or lost, return a finding that says so.
        """
        stages = self._findings_by_stage().values()
        return tuple(dict.fromkeys(finding for found in stages for finding in found))

    def _findings_by_stage(self) -> dict[str, tuple[Finding, ...]]:
        try:
            held = self._read_findings()
        except StudyError:
            return {_LOST_STAGE: (_FINDINGS_LOST,)}
        if held is None:
            return {_LOST_STAGE: (_FINDINGS_LOST,)} if self.measured else {}
        return {
            stage: tuple(Finding(row.name, row.level, row.message) for row in rows)
            for stage, rows in held.stages.items()
        }

    def server(self) -> ServerRecord | None:
        """Return which server holds the study's database, and under which name; None where it is a
        file of the folder.
        """
        return read_json(self._storage, ServerRecord, _SERVER_ADVICE)

    def drop_damaged_server(self) -> str | None:
        """Move a damaged record of the server aside and return its new name; None where it is not
        damaged.
        """
        if not _is_damaged(self.server):
            return None
        self.ownership.confirm()
        away = self._storage.with_name(f"{self._storage.name}.damaged")
        os.replace(self._storage, away)
        return away.name

    def write_server(self, record: ServerRecord) -> None:
        """Keep that the study's database is on a server."""
        self._write(self._storage, model_line(record))

    def forget_server(self) -> None:
        """Keep that the study's database is a file of the folder; what is on the server stays
        there.
        """
        self.ownership.confirm()
        self._storage.unlink(missing_ok=True)

    def seconds_spent(self) -> float | None:
        """Return the wall-clock seconds of all runs so far; None where clock.json is damaged or
        missing.
        """
        try:
            clock = self._read_clock()
        except StudyError:
            return None
        return clock.seconds if clock else None

    def add_seconds(self, seconds: float, known: float = 0.0) -> float:
        """Add to the time spent, taking it to be at least `known` seconds, and return the sum."""
        total = max(self.seconds_spent() or 0.0, known) + seconds
        self._write(self._clock, model_line(ClockFile(seconds=total).signed(self._origin)))
        return total

    def damaged_beside(self) -> tuple[str, ...]:
        """Return the names of the damaged files that `mend` makes again."""
        found = []
        if _is_damaged(self._read_clock):
            found.append(self._clock.name)
        if _is_damaged(self._read_findings):
            found.append(self._findings.name)
        return tuple(found)

    def mend(self, known: float) -> tuple[str, ...]:
        """Make clock.json and findings.json again where they are damaged or lost, and say what was
        made. `known` is the number of seconds spent according to the last checkpoint.
        """
        made = []
        found = self.damaged_beside()
        # a checkpoint is written after the clock, so a clock behind it is lost or an older one
        behind = (self.seconds_spent() or 0.0) < known
        if self._clock.name in found or behind:
            self.add_seconds(0.0, known)
            made.append(f"{self._clock.name} from the last checkpoint")
        if self._findings.name in found or (self.measured and not self._findings.exists()):
            self._write_findings({_LOST_STAGE: (_FINDINGS_LOST,)})
            made.append(f"{self._findings.name}, without what the checks had found")
        return tuple(made)

    @property
    def _origin(self) -> str:
        return origin_of(self.path / NAME)

    def _read_clock(self) -> ClockFile | None:
        return self._signed_file(self._clock, ClockFile)

    def _read_findings(self) -> FindingsFile | None:
        return self._signed_file(self._findings, FindingsFile)

    def _signed_file(self, path: Path, model: type[Signed]) -> Signed | None:
        """Return what a signed file of this study says; None where there is none. Raises StudyError
        for one that is damaged or of another study.
        """
        held = read_json(path, model, "")
        if held is not None and not held.is_of(self._origin):
            raise damaged(path, "it was changed, or is of another study", "")
        return held

    def _write(self, path: Path, data: bytes) -> None:
        """Write a file of the study, after checking that a study whose lock this process holds is
        still its own.
        """
        self.ownership.confirm()
        write_aside(path, data)


def _is_damaged(read: Callable[[], object]) -> bool:
    """Say whether reading a file raises StudyError: something has its name and is not what a run
    wrote.
    """
    try:
        read()
    except StudyError:
        return True
    return False
