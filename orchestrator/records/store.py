"""The layout of `studies/<name>/`: the only module that knows it. All paths come from here.

study.json  spec.yaml  pack.json  study.db  study.lock  sets.json  evaluations.json  baseline.json  clock.json
hypotheses-baseline-<fingerprint>.jsonl
findings.json  notes.md  report.md  report.html
trials/0007/     plan.json  measurements.jsonl  hypotheses-<step>-<scale>.jsonl  adapter/  final/  result.json
                 failure.txt, where an exception ended the trial
confirm/0001/    the same, for the run with number -1
checkpoint/      state of the pack      cache/      what can be computed again
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.atomic import clear_leftovers, make_folder, remove
from orchestrator.checks import Finding
from orchestrator.errors import StudyError
from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.files import (
    BaselinesFile,
    ClockFile,
    EvaluationsFile,
    FindingsFile,
    FormatFile,
    PackRecord,
    SetsFile,
    damaged,
    json_lines,
    parse_json,
    read_json,
    to_line,
)
from orchestrator.records.links import refuse_links
from orchestrator.records.locking import exclusive
from orchestrator.records.results import Measurement, SetRecord, TrialResult
from orchestrator.records.writing import write_aside
from orchestrator.sweepfile.identity import FORMAT

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NUMBER = re.compile(r"[0-9]{4,}")
_AGAIN = "then run the same command again"
_FINDINGS_ADVICE = f"Delete it, {_AGAIN}: the checks are made anew."


class StudyFolder:
    """One study's folder. Reading needs no lock; whoever writes holds `lock()`.

    Every file is written aside, synced and renamed. Reading a damaged file raises StudyError with the file's name and
    what to do; a missing one is None or empty.
    """

    def __init__(self, root: Path, name: str) -> None:
        """`root` is the folder of all studies. Raises StudyError for a name that is no plain folder name."""
        if not _NAME.fullmatch(name):
            raise StudyError(
                f"study name {name!r} cannot be a folder's name\n"
                "  Allowed: letters, digits, '.', '_' and '-', at most 64, starting with a letter or digit."
            )
        self.name = name
        self.path = root / name
        self.database = self.path / "study.db"
        self.checkpoint = self.path / "checkpoint"
        self.cache = self.path / "cache"
        self.audio = self.cache / "audio"
        self.notes = self.path / "notes.md"
        self.report_markdown = self.path / "report.md"
        self.report_html = self.path / "report.html"
        self.spec = self.path / "spec.yaml"
        self._format = self.path / "study.json"
        self._evaluations = self.path / "evaluations.json"
        self._pack = self.path / "pack.json"
        self._sets = self.path / "sets.json"
        self._baseline = self.path / "baseline.json"
        self._clock = self.path / "clock.json"
        self._findings = self.path / "findings.json"

    @property
    def exists(self) -> bool:
        """The study was started: its spec is written."""
        return self.spec.exists()

    @property
    def began(self) -> bool:
        """A trial was planned: what it is trained on and measured with is part of the study."""
        return any(self.path.glob("trials/*/plan.json"))

    def check_format(self) -> None:
        """Raises StudyError for a study that another version of the product wrote; it is left as it is."""
        held = read_json(self._format, FormatFile, f"Restore it from a copy, {_AGAIN}.")
        if self.exists and (held is None or held.format != FORMAT):
            wrote = "orchestrator 0.1" if held is None else f"another version (format {held.format})"
            raise StudyError(
                f"study {self.name} was written by {wrote}, which this version (format {FORMAT}) does not read\n"
                f"  Finish it with that version, or begin a new study with --fork NAME; {self.path} is left as it is."
            )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Make the folder, hold its lock, remove what a killed run left half-written.

        Raises StudyError naming process and host when another run holds it.
        """
        make_folder(self.path)
        refuse_links(self.path)
        with exclusive(self.path / "study.lock", self.name):
            clear_leftovers(self.path)
            yield

    def trial_folder(self, number: int) -> Path:
        """trials/0007 for trial 7; confirm/0001 for confirmation run -1."""
        return self.path / ("trials" if number >= 0 else "confirm") / f"{abs(number):04d}"

    def adapter_folder(self, number: int) -> Path:
        """Where the trial's best adapter stands, as stock PEFT loads it."""
        return self.trial_folder(number) / "adapter"

    def final_folder(self, number: int) -> Path:
        """Where the adapter of the trial's last measurement stands, when that is not the best one."""
        return self.trial_folder(number) / "final"

    def drop_final(self, number: int) -> None:
        """The trial's last measurement is its best one: what stood for an earlier last one goes."""
        remove(self.final_folder(number))

    def write_pack(self, pack: PackRecord) -> None:
        """Keep how many adapters train at once: it decides what the search asks, on whatever machine it goes on."""
        write_aside(self._pack, pack.model_dump_json().encode() + b"\n")

    def read_pack(self) -> PackRecord | None:
        """How many adapters the study trains at once; None before its first trial."""
        return read_json(self._pack, PackRecord, f"Restore it from a copy, {_AGAIN}.")

    def write_spec(self, text: str) -> None:
        """Keep the resolved sweep file, and first the format of the study."""
        if not self._format.exists():
            write_aside(self._format, FormatFile(format=FORMAT).model_dump_json().encode() + b"\n")
        write_aside(self.spec, text.encode())

    def read_spec(self) -> str | None:
        """The sweep file this study was started or last continued with; None for a new study."""
        try:
            return self.spec.read_text(encoding="utf-8") if self.exists else None
        except UnicodeDecodeError as error:
            raise damaged(self.spec, str(error), f"Restore it from a copy, {_AGAIN}.") from error

    def write_sets(self, sets: Mapping[str, SetRecord]) -> None:
        """Keep which lines of which manifests the sets are, and what they hold."""
        write_aside(self._sets, SetsFile(dict(sets)).model_dump_json().encode() + b"\n")

    def sets(self) -> dict[str, SetRecord]:
        """The sets by the names of the report, train and replay too; empty before the first run."""
        found = read_json(self._sets, SetsFile, f"Delete it, {_AGAIN}: the sets are read anew.")
        return found.root if found else {}

    def neighbours(self) -> Iterator[StudyFolder]:
        """The other studies under the same root, by name."""
        for path in sorted(self.path.parent.glob("*/spec.yaml")):
            if path.parent.name != self.name and _NAME.fullmatch(path.parent.name):
                study = StudyFolder(self.path.parent, path.parent.name)
                if study._format.exists():  # what another version wrote is not read
                    yield study

    @property
    def measured(self) -> bool:
        """Something was measured on the sets of the study, if only the baseline."""
        return self._baseline.exists()

    def write_baseline(self, measurement: Measurement, heard: Mapping[str, Sequence[str]]) -> None:
        """Keep the untuned model's measurement under its fingerprint, and what it heard; those of others stay."""
        hypotheses = self._baseline_hypotheses(measurement)
        write_aside(hypotheses, json_lines(_heard(measurement, heard)))
        kept = self._baselines() | {measurement.fingerprint: measurement}
        write_aside(self._baseline, json_lines([json.loads(BaselinesFile(kept).model_dump_json())]))

    def write_evaluation(self, fingerprint: str, parts: Mapping[str, str]) -> None:
        """Keep what a fingerprint is the digest of, so that a later refusal can name the part that differs."""
        write_aside(self._evaluations, to_line(json.dumps(self.evaluations() | {fingerprint: dict(parts)}, indent=1)))

    def evaluations(self) -> dict[str, dict[str, str]]:
        """Fingerprint -> its parts, of every evaluation that measured in this study."""
        found = read_json(self._evaluations, EvaluationsFile, f"Delete it, {_AGAIN}: it only explains.")
        return found.root if found else {}

    def read_baseline(self, fingerprint: str) -> Measurement | None:
        """The baseline measured with exactly this evaluation, or None."""
        return self._baselines().get(fingerprint)

    def _baselines(self) -> dict[str, Measurement]:
        found = read_json(self._baseline, BaselinesFile, f"Delete it, {_AGAIN}: the baseline is measured anew.")
        return found.root if found else {}

    def write_plan(self, plan: TrialPlan) -> None:
        """Keep all that a trial depends on, so that it can be rerun alone."""
        write_aside(self.trial_folder(plan.number) / "plan.json", plan.model_dump_json(indent=1).encode() + b"\n")

    def read_plan(self, number: int) -> TrialPlan | None:
        """The plan of a trial or confirmation run."""
        advice = f"Delete it, {_AGAIN}: it is written anew from study.db."
        return read_json(self.trial_folder(number) / "plan.json", TrialPlan, advice)

    def record_measurements(
        self, number: int, measurements: Sequence[Measurement], hypotheses: Sequence[Mapping[str, Sequence[str]]]
    ) -> None:
        """Add the measurements of a rung and what was heard; `hypotheses[i]` belongs to `measurements[i]`.

        The same (step, adapter scale) again replaces the earlier one, so a rung repeated after a crash is one rung.
        """
        for measurement, heard in zip(measurements, hypotheses, strict=True):
            write_aside(self._hypotheses(number, measurement), json_lines(_heard(measurement, heard)))
        rows = {(row.step, row.adapter_scale): row for row in (*self.read_measurements(number), *measurements)}
        data = b"".join(rows[key].model_dump_json().encode() + b"\n" for key in sorted(rows))
        write_aside(self.trial_folder(number) / "measurements.jsonl", data)

    def read_measurements(self, number: int) -> tuple[Measurement, ...]:
        """All measurements of a trial, by step, then adapter scale."""
        path = self.trial_folder(number) / "measurements.jsonl"
        advice = f"Delete it, {_AGAIN}: what the trial still needs is measured anew."
        lines = path.read_bytes().splitlines() if path.exists() else []
        return tuple(parse_json(f"{path}:{n}", line, Measurement, advice) for n, line in enumerate(lines, start=1))

    def read_hypotheses(self, number: int, measurement: Measurement) -> dict[str, tuple[str, ...]]:
        """What was heard in one measurement: set name -> hypotheses in manifest order; empty when not kept."""
        return self._read_hypotheses(self._hypotheses(number, measurement))

    def read_baseline_hypotheses(self, measurement: Measurement) -> dict[str, tuple[str, ...]]:
        """The same of the untuned model."""
        return self._read_hypotheses(self._baseline_hypotheses(measurement))

    def _baseline_hypotheses(self, measurement: Measurement) -> Path:
        return self.path / f"hypotheses-baseline-{measurement.fingerprint[:12]}.jsonl"

    def _read_hypotheses(self, path: Path) -> dict[str, tuple[str, ...]]:
        heard: dict[str, list[str]] = {}
        try:
            for line in path.read_bytes().split(b"\n") if path.exists() else ():
                if line:
                    row = json.loads(line)
                    heard.setdefault(row["set"], []).append(row["hypothesis"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise damaged(path, str(error), "Delete it: the report then goes without its examples.") from error
        return {name: tuple(texts) for name, texts in heard.items()}

    def _hypotheses(self, number: int, measurement: Measurement) -> Path:
        name = f"hypotheses-{measurement.step}-{measurement.adapter_scale!r}.jsonl"
        return self.trial_folder(number) / name

    def write_result(self, result: TrialResult) -> None:
        """Write a trial's end; the last file of the trial, so its existence means done.

        Raises ValueError for a number that is not finite: such a result must never be ranked.
        """
        text = json.dumps(result.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False)
        write_aside(self.trial_folder(result.number) / "result.json", to_line(text))

    def write_failure(self, number: int, traceback: str) -> None:
        """Keep where a trial failed, for who looks for the cause; nothing reads it."""
        write_aside(self.trial_folder(number) / "failure.txt", to_line(traceback.rstrip("\n")))

    def read_result(self, number: int) -> TrialResult | None:
        """How a trial or confirmation run ended; None while it has not."""
        path = self.trial_folder(number) / "result.json"
        advice = f"Restore it from a copy, {_AGAIN}; or give the sweep another name to start anew."
        result = read_json(path, TrialResult, advice)
        if result and result.number != number:
            raise damaged(path, f"it says trial {result.number}", advice)
        return result

    def results(self) -> tuple[TrialResult, ...]:
        """The results of all finished trials, by number, whatever their end."""
        return self._results("trials", 1)

    def confirmations(self) -> tuple[TrialResult, ...]:
        """The results of all finished confirmation runs: numbers -1, -2, .."""
        return self._results("confirm", -1)

    def _results(self, parent: str, sign: int) -> tuple[TrialResult, ...]:
        names = (folder.name for folder in (self.path / parent).glob("*"))
        numbers = sorted(int(name) for name in names if _NUMBER.fullmatch(name))
        return tuple(result for n in numbers if (result := self.read_result(sign * n)))

    def note(self, text: str, at: datetime | None = None) -> None:
        """Append one dated line to notes.md: device fallbacks, resumes, interventions."""
        day = (at or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
        before = self.notes.read_bytes() if self.notes.exists() else to_line(f"# Notes on {self.name}\n")
        before += b"" if before.endswith(b"\n") else b"\n"  # a person's last line
        write_aside(self.notes, before + to_line(f"- {day}: {' '.join(text.split())}"))

    def write_findings(self, stage: str, findings: Sequence[Finding]) -> None:
        """Keep what a stage's checks found in the place of what they found before."""
        held = read_json(self._findings, FindingsFile, _FINDINGS_ADVICE)
        stages = {name: [each.model_dump() for each in rows] for name, rows in (held.root if held else {}).items()}
        stages[stage] = [asdict(each) for each in findings]
        write_aside(self._findings, to_line(json.dumps(stages, indent=1, ensure_ascii=False)))

    def findings(self) -> tuple[Finding, ...]:
        """What the checks of the last run found, each once."""
        held = read_json(self._findings, FindingsFile, _FINDINGS_ADVICE)
        rows = (each for stage in (held.root.values() if held else ()) for each in stage)
        return tuple(dict.fromkeys(Finding(each.name, each.level, each.message) for each in rows))

    def seconds_spent(self) -> float:
        """Wall-clock seconds of all runs so far."""
        clock = read_json(self._clock, ClockFile, f"Delete it, {_AGAIN}: the time is then counted from zero.")
        return clock.seconds if clock else 0.0

    def add_seconds(self, seconds: float) -> float:
        """Add to the time spent; returns the sum."""
        total = self.seconds_spent() + seconds
        write_aside(self._clock, ClockFile(seconds=total).model_dump_json().encode() + b"\n")
        return total


def _heard(measurement: Measurement, heard: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    return [
        {"set": name, "utterance": utterance, "hypothesis": text}
        for name, texts in heard.items()
        for utterance, text in zip(measurement.sets[name].utterance_ids, texts, strict=True)
    ]
