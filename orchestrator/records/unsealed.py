"""What stands beside the sealed files of a study: notes, findings and the clock. No verdict rests
on them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from orchestrator.checks import Finding
from orchestrator.errors import StudyError
from orchestrator.records.json_files import (
    ClockFile,
    FindingsFile,
    ServerRecord,
    model_line,
    read_file,
    read_json,
    to_line,
)
from orchestrator.records.still_owner import Ownership
from orchestrator.records.writing import write_aside

_SERVER_ADVICE = (
    "Restore it from a copy of the study, or run `orchestrate repair SPEC`, which makes the database "
    "again from the files of the trials."
)
_LOST_STAGE = "lost"
"""Of findings.json: no check's, so it stays."""
_FINDINGS_LOST = Finding(
    "findings-lost",
    "warn",
    "what the checks of an earlier run found is lost, as findings.json was damaged or removed; "
    "notes.md has it.",
)


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
        before = read_file(self.notes) or to_line(f"# Notes on {self.name}\n")
        before += b"" if before.endswith(b"\n") else b"\n"  # a person's last line
        self._write(self.notes, before + to_line(f"- {day}: {' '.join(text.split())}"))

    def note_once(self, text: str) -> None:
        """`note`, unless some line says so already."""
        if " ".join(text.split()) not in self.noted():
            self.note(text)

    def noted(self) -> str:
        """notes.md; empty where there is none."""
        return (read_file(self.notes) or b"").decode("utf-8", errors="replace")

    def write_findings(self, stage: str, findings: Sequence[Finding]) -> None:
        """Keep what a stage's checks found in the place of what they found before."""
        stages = {name: [*map(asdict, found)] for name, found in self._findings_by_stage().items()}
        stages[stage] = [asdict(finding) for finding in findings]
        self._write_findings(stages)

    def _write_findings(self, stages: Mapping[str, Any]) -> None:
        self._write(self._findings, to_line(json.dumps(stages, indent=1, ensure_ascii=False)))

    def findings(self) -> tuple[Finding, ...]:
        """What the checks of the last run found, each once; where the file is damaged, that this is
        lost.
        """
        stages = self._findings_by_stage().values()
        return tuple(dict.fromkeys(finding for found in stages for finding in found))

    def _findings_by_stage(self) -> dict[str, tuple[Finding, ...]]:
        if _is_damaged(self._findings, FindingsFile):
            return {_LOST_STAGE: (_FINDINGS_LOST,)}
        held = read_json(self._findings, FindingsFile, "")
        return {
            stage: tuple(Finding(row.name, row.level, row.message) for row in rows)
            for stage, rows in (held.root.items() if held else ())
        }

    def server(self) -> ServerRecord | None:
        """Where on which server the study's database is; None where it is a file of the folder."""
        return read_json(self._storage, ServerRecord, _SERVER_ADVICE)

    def drop_damaged_server(self) -> str | None:
        """Move a record of the server that is damaged away; says where to, None where it holds."""
        if not _is_damaged(self._storage, ServerRecord):
            return None
        self.ownership.confirm()
        away = self._storage.with_name(f"{self._storage.name}.damaged")
        os.replace(self._storage, away)
        return away.name

    def write_server(self, record: ServerRecord) -> None:
        """Keep that the study's database is on a server."""
        self._write(self._storage, model_line(record))

    def forget_server(self) -> None:
        """The study's database is a file of the folder; what is on the server stays there."""
        self.ownership.confirm()
        self._storage.unlink(missing_ok=True)

    def seconds_spent(self) -> float | None:
        """Wall-clock seconds of all runs so far; None where clock.json is damaged or not there."""
        if _is_damaged(self._clock, ClockFile):
            return None
        clock = read_json(self._clock, ClockFile, "")
        return clock.seconds if clock else None

    def add_seconds(self, seconds: float, known: float = 0.0) -> float:
        """Add to the time spent, which is at least what is `known`; returns the sum."""
        total = max(self.seconds_spent() or 0.0, known) + seconds
        self._write(self._clock, model_line(ClockFile.of(total)))
        return total

    def damaged_beside(self) -> tuple[str, ...]:
        """The names of those files beside the sealed ones that are damaged and `mend` makes again."""
        models: dict[Path, type[BaseModel]] = {
            self._clock: ClockFile,
            self._findings: FindingsFile,
        }
        return tuple(path.name for path, model in models.items() if _is_damaged(path, model))

    def mend(self, known: float, checked: bool) -> tuple[str, ...]:
        """Make clock.json and findings.json again where they are damaged or lost; says what was
        made. `known` are the seconds that the last checkpoint says were spent, `checked` whether
        the checks of some run have found something or nothing.
        """
        made = []
        damaged = self.damaged_beside()
        if self._clock.name in damaged or (known and not self._clock.exists()):
            self.add_seconds(0.0, known)
            made.append(f"{self._clock.name} from the last checkpoint")
        if self._findings.name in damaged or (checked and not self._findings.exists()):
            self._write_findings({_LOST_STAGE: [asdict(_FINDINGS_LOST)]})
            made.append(f"{self._findings.name}, without what the checks had found")
        return tuple(made)

    def _write(self, path: Path, data: bytes) -> None:
        """Write it to the study, which is this process's where it holds the lock."""
        self.ownership.confirm()
        write_aside(path, data)


def _is_damaged(path: Path, model: type[BaseModel]) -> bool:
    """Something has the name and is not what a run wrote."""
    try:
        read_json(path, model, "")
    except StudyError:
        return True
    return False
