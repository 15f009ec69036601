"""What stands beside the sealed files of a study: notes, findings and the clock. No verdict rests
on them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.checks import Finding
from orchestrator.records.files import (
    ClockFile,
    FindingsFile,
    ServerRecord,
    model_line,
    read_json,
    to_line,
)
from orchestrator.records.ownership import Ownership
from orchestrator.records.writing import write_aside

_FINDINGS_ADVICE = "Delete it, then run the same command again: the checks are made anew."


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

    def note(self, text: str, at: datetime | None = None) -> None:
        """Append one dated line to notes.md: device fallbacks, resumes, interventions."""
        day = (at or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
        before = (
            self.notes.read_bytes() if self.notes.exists() else to_line(f"# Notes on {self.name}\n")
        )
        before += b"" if before.endswith(b"\n") else b"\n"  # a person's last line
        self._write(self.notes, before + to_line(f"- {day}: {' '.join(text.split())}"))

    def note_once(self, text: str) -> None:
        """`note`, unless some line says so already."""
        noted = (
            self.notes.read_text(encoding="utf-8", errors="replace") if self.notes.exists() else ""
        )
        if " ".join(text.split()) not in noted:
            self.note(text)

    def write_findings(self, stage: str, findings: Sequence[Finding]) -> None:
        """Keep what a stage's checks found in the place of what they found before."""
        held = read_json(self._findings, FindingsFile, _FINDINGS_ADVICE)
        stages = held.model_dump() if held else {}
        stages[stage] = [asdict(finding) for finding in findings]
        self._write(self._findings, to_line(json.dumps(stages, indent=1, ensure_ascii=False)))

    def findings(self) -> tuple[Finding, ...]:
        """What the checks of the last run found, each once."""
        held = read_json(self._findings, FindingsFile, _FINDINGS_ADVICE)
        rows = (finding for stage in (held.root.values() if held else ()) for finding in stage)
        return tuple(
            dict.fromkeys(Finding(finding.name, finding.level, finding.message) for finding in rows)
        )

    def server(self) -> ServerRecord | None:
        """Where on which server the study's database is; None where it is a file of the folder."""
        return read_json(self._storage, ServerRecord, "Restore it from a copy of the study.")

    def write_server(self, record: ServerRecord) -> None:
        """Keep that the study's database is on a server."""
        self._write(self._storage, model_line(record))

    def forget_server(self) -> None:
        """The study's database is a file of the folder; what is on the server stays there."""
        self.ownership.confirm()
        self._storage.unlink(missing_ok=True)

    def seconds_spent(self) -> float:
        """Wall-clock seconds of all runs so far."""
        advice = "Delete it, then run the same command again: the time is then taken from the last checkpoint."
        clock = read_json(self._clock, ClockFile, advice)
        return clock.seconds if clock else 0.0

    def add_seconds(self, seconds: float, known: float = 0.0) -> float:
        """Add to the time spent, which is at least what is `known`; returns the sum."""
        total = max(self.seconds_spent(), known) + seconds
        self._write(self._clock, model_line(ClockFile(seconds=total)))
        return total

    def _write(self, path: Path, data: bytes) -> None:
        """Write it to the study, which is this process's where it holds the lock."""
        self.ownership.confirm()
        write_aside(path, data)
