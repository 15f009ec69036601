"""The layout of `studies/<name>/`. All paths come from `StudyFolder`; those of trials are made in
`trial_files.py`, those of notes and findings in `unsealed.py`.

journal.jsonl  study.json  spec.yaml  pack.json  study.lock
study.db, or storage.json where the database is on a server
sets.json  evaluations.json  baseline.json  hypotheses-baseline-<fingerprint>.jsonl
shipped.json  findings.json  clock.json  notes.md  report.md  report.html
trials/0007/     plan.json  measurements.jsonl  hypotheses-<step>-<scale>.jsonl
                 adapter/  final/  result.json
                 failure.txt, where an exception ended the trial
                 stop.json, where a person ends it
confirm/0001/    the same, for the run with number -1
requests/        stop-0007.json, until the sweep has answered it
checkpoint/      state of the packs
cache/           exported forms, which can be made again
../.cache/       what all studies of the root share and can be made again, see
                 corpus.cache.project_cache
owner/           on a file system that other hosts share: who has the study, and when it last beat
logs/            of several packs: pack-0.log and so on, what each did; tracking-mlflow.log and so on,
                 what was not sent
tracking/        id of the study at its trackers, and what W&B keeps
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from orchestrator.errors import StudyError
from orchestrator.files.atomic import make_folder
from orchestrator.files.names_aside import clear_leftovers
from orchestrator.records.journal.chain import Fault
from orchestrator.records.journal.journal import NAME
from orchestrator.records.json_files import (
    BaselinesFile,
    EvaluationsFile,
    FormatFile,
    PackRecord,
    SetsFile,
    model_line,
    read_json,
    to_line,
)
from orchestrator.records.locks.heartbeat_lock import OWNERS, beating, owner
from orchestrator.records.locks.mounts import network_file_system
from orchestrator.records.locks.renewing import renew
from orchestrator.records.locks.study_lock import exclusive, holder
from orchestrator.records.misplaced_links import refuse_misplaced
from orchestrator.records.results import Measurement, SetRecord
from orchestrator.records.shipping import Shipped, ShippedFile
from orchestrator.records.trial_files import TrialFiles, hypothesis_lines
from orchestrator.sweepfile.digest import FORMAT
from orchestrator.typed_words import quoted_path

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_AGAIN = "then run the same command again"


_MARKS = ("spec.yaml", NAME, "study.json", "study.db")
"""A folder that has one of these files is a study, whatever else it has lost."""


def study_names(root: Path) -> list[str]:
    """Return the names of the studies below `root`, including those that have lost files or may not
    be looked into. Raises PermissionError where `root` itself may not be.
    """
    names = os.listdir(root) if root.is_dir() else []
    return sorted(name for name in names if _NAME.fullmatch(name) and _is_study(root / name))


def _is_study(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    # lexists is false for what it may not look at, so such a folder counts as a study
    return not os.access(folder, os.X_OK) or any(os.path.lexists(folder / name) for name in _MARKS)


class StudyFolder(TrialFiles):
    """One study's folder. Reading needs no lock; whoever writes holds `lock()`.

    Every file is written aside, synced and renamed. Files that a number stands on are sealed in the
    journal. Reading one raises StudyError where it is lost or is not what was written; one that was
    never written is None or empty.
    """

    def __init__(self, root: Path, name: str) -> None:
        """`root` is the folder of all studies. Raises StudyError for a name that is no plain folder
        name.
        """
        if not _NAME.fullmatch(name):
            raise StudyError(
                f"study name {name!r} cannot be a folder's name\n"
                "  Allowed: letters, digits, '.', '_' and '-', at most 64, starting with a letter or digit."
            )
        self.format_file = root / name / "study.json"
        super().__init__(root / name, name, self.format_file)
        self.database = self.path / "study.db"
        self.lock_file = self.path / "study.lock"
        self._owner = self.path / OWNERS
        self.checkpoint = self.path / "checkpoint"
        self.cache = self.path / "cache"
        self.project_cache = root / ".cache"
        self.logs = self.path / "logs"
        self.tracking = self.path / "tracking"
        self.report_markdown = self.path / "report.md"
        self.report_html = self.path / "report.html"
        self.spec = self.path / "spec.yaml"
        self._evaluations = self.path / "evaluations.json"
        self._pack = self.path / "pack.json"
        self.sets_file = self.path / "sets.json"
        self._baseline = self.path / "baseline.json"
        self._shipped = self.path / "shipped.json"

    @property
    def exists(self) -> bool:
        """The study was started: its spec was written, whether that file still exists or not."""
        return self.spec.exists() or self.is_sealed(self.spec)

    @property
    def began(self) -> bool:
        """A trial was planned, so what it is trained on and measured with belongs to the study."""
        return bool(self.planned())

    def has_database(self, on_server: bool) -> bool:
        """Say whether the study has a database on a server, or in its folder, as asked."""
        kept = self.server()
        if on_server:
            return kept is not None
        return kept is None and self.database.exists()

    def check_format(self) -> None:
        """Raise StudyError for a study that another version of the product wrote; it is left as it
        is. Raises StudyError as well where the journal is lost.
        """
        if self.journal.path.exists():
            held = self.held(self.format_file, FormatFile)
        else:
            held = read_json(self.format_file, FormatFile, f"Restore it from a copy, {_AGAIN}.")
        if self.exists and (held is None or held.format != FORMAT):
            wrote = (
                "orchestrator 0.1" if held is None else f"another version (format {held.format})"
            )
            raise StudyError(
                f"study {self.name} was written by {wrote}, which this version (format {FORMAT}) does not read\n"
                f"  Finish it with that version, or begin a new study with --fork NAME; {self.path} is left as it is."
            )
        self.journal.chain()  # raises where it is lost

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Make the folder and hold the study's lock. Once it is held, what a killed run left
        half-written is removed, and the journal is settled.

        Raises StudyError naming process and host when another run holds the lock. While it is held,
        writing raises StudyError once another host has taken the study over.
        """
        make_folder(self.path)
        refuse_misplaced(self.path)
        with self._held_alone() as dispossessed:
            clear_leftovers(self.path, dispossessed)
            with self.journal.settled():
                yield

    @contextmanager
    def _held_alone(self) -> Iterator[int | None]:
        """Hold the lock file, and on a shared file system a turn of the heartbeat as well. Yields
        the process id of the owner of another host that stood still and has lost the study to this
        one; None where there is none.
        """
        owners = self._owner if self.shared_file_system() else None
        with exclusive(self.lock_file, self.name, owners) as lock, ExitStack() as turns:
            confirming, dispossessed = [lock.confirm], None
            if owners is not None:
                turn = turns.enter_context(beating(owners, self.name))
                confirming.append(turn.confirm)
                dispossessed = turn.dispossessed
                renew(self.journal.path, self.database)
            with self.ownership.confirmed_by(*confirming, self.journal.confirm_unchanged):
                yield dispossessed

    def shared_file_system(self) -> str | None:
        """Return the kind of the file system, such as nfs4, where other hosts may share it; else
        None.
        """
        return network_file_system(self.path)

    @property
    def named(self) -> str:
        """What names the study in a command that is typed in the present folder."""
        root = self.path.parent
        is_here = os.path.abspath(root) == os.path.abspath("studies")
        return self.name if is_here else f"{self.name} --studies {quoted_path(root)}"

    @property
    def read_only(self) -> bool:
        """The folder exists, and this process may read it but change nothing in it."""
        places = [path for path in (self.path, self.lock_file) if path.exists()]
        return not all(os.access(path, os.W_OK) for path in places)

    def holder(self) -> str:
        """Say who holds the study's lock; empty where nobody does, as far as this host can tell.
        Does not get in the way of a process that is just taking the lock.
        """
        return holder(self.lock_file) or owner(self._owner)

    def write_pack(self, pack: PackRecord) -> None:
        """Keep how many adapters train at once. It decides what the search asks, so the study keeps
        to it on whatever machine it continues.
        """
        line = to_line(pack.model_dump_json(exclude_unset=True))
        self.publish("size of the pack", {self._pack: line})

    def read_pack(self) -> PackRecord | None:
        """Return how many adapters the study trains at once; None before its first trial."""
        return self.held(self._pack, PackRecord)

    def write_spec(self, text: str) -> None:
        """Keep the resolved sweep file, and before it, in a new study, the format."""
        if not self.format_file.exists():
            self.publish(
                "format of the study", {self.format_file: model_line(FormatFile(format=FORMAT))}
            )
        self.publish("sweep file as resolved", {self.spec: text.encode()})

    def read_spec(self) -> str | None:
        """Return the sweep file with which this study was started or last continued; None for a new
        study.
        """
        data = self.journal.read(self.spec)
        return None if data is None else data.decode()

    def write_sets(self, sets: Mapping[str, SetRecord]) -> None:
        """Keep which lines of which manifests form the sets, and what they hold."""
        self.publish("sets", {self.sets_file: model_line(SetsFile(dict(sets)))})

    def sets(self) -> dict[str, SetRecord]:
        """Return the sets by the names of the report, including train and replay; empty before the
        first run.
        """
        found = self.held(self.sets_file, SetsFile)
        return found.root if found else {}

    def neighbours(self) -> Iterator[StudyFolder]:
        """Yield the other studies under the same root, by name; some of them may not be
        readable.
        """
        for name in study_names(self.path.parent):
            study = StudyFolder(self.path.parent, name)
            # a study without a journal is of another version, and is not read
            without_journal = os.access(study.path, os.X_OK) and not study.journal.path.exists()
            if name != self.name and not without_journal:
                yield study

    @property
    def measured(self) -> bool:
        """Something was measured on the sets of the study, if only the baseline."""
        return self._baseline.exists() or self.is_sealed(self._baseline)

    def write_baseline(
        self, measurement: Measurement, hypotheses: Mapping[str, Sequence[str]]
    ) -> None:
        """Keep the untuned model's measurement under its fingerprint, and what it heard. Baselines
        of other fingerprints stay.
        """
        kept = self._baselines() | {measurement.fingerprint: measurement}
        files = {
            self._baseline_hypotheses(measurement): hypothesis_lines(measurement, hypotheses),
            self._baseline: to_line(
                json.dumps(json.loads(BaselinesFile(kept).model_dump_json()), ensure_ascii=False)
            ),
        }
        self.publish("baseline", files)

    def write_evaluation(self, fingerprint: str, parts: Mapping[str, str]) -> None:
        """Keep the parts that a fingerprint is the digest of, so that a later refusal can name the
        part that differs.
        """
        known = self.evaluations() | {fingerprint: dict(parts)}
        self.publish(
            "parts of an evaluation", {self._evaluations: to_line(json.dumps(known, indent=1))}
        )

    def evaluations(self) -> dict[str, dict[str, str]]:
        """Return fingerprint -> its parts, of every evaluation that measured in this study."""
        found = self.held(self._evaluations, EvaluationsFile)
        return found.root if found else {}

    def measured_weights(self) -> str | None:
        """Return the digest of the base model's weights that the study's trials are trained on, or,
        before the first, that its evaluations name; None where they name none, or several.
        """
        first = self.read_plan(self.planned()[0]) if self.began else None
        if first is not None and "model" in first.contents:
            return first.contents["model"]
        found = {parts.get("weights") for parts in self.evaluations().values()}
        return found.pop() if len(found) == 1 else None

    def read_baseline(self, fingerprint: str) -> Measurement | None:
        """Return the baseline measured with exactly this evaluation, or None."""
        return self._baselines().get(fingerprint)

    def baselines(self) -> tuple[Measurement, ...]:
        """Return the baselines of all evaluations that measured in this study."""
        return tuple(self._baselines().values())

    def _baselines(self) -> dict[str, Measurement]:
        found = self.held(self._baseline, BaselinesFile)
        return found.root if found else {}

    def write_shipped(self, found: Shipped) -> None:
        """Keep what an exported form of a trial was heard to say; what other forms and trials were
        heard to say stays.
        """
        kept = self.shipped() | {found.name: found}
        self.publish("what ships", {self._shipped: model_line(ShippedFile(kept))})

    def shipped(self) -> dict[str, Shipped]:
        """Return what exported forms were heard to say, by `Shipped.name`, such as onnx-int8/3."""
        found = self.held(self._shipped, ShippedFile)
        return found.root if found else {}

    def faults(self) -> dict[str, Fault]:
        """Return the faults of sealed files that are not as they were written, and of files in
        trial folders that were never sealed.
        """
        names = self.names_in_trials()  # first: a run seals each file before it is there
        known = self.journal.chain()
        unknown = [name for name in names if not known.knows(name)]
        # a run may have removed one meanwhile, after it had sealed that
        strange = [name for name in unknown if os.path.lexists(self.path / name)]
        return self.journal.faults() | dict.fromkeys(strange, Fault.STRANGE)

    def read_baseline_hypotheses(self, measurement: Measurement) -> dict[str, tuple[str, ...]]:
        """Return what the untuned model heard in a baseline: set name -> hypotheses in manifest
        order.
        """
        return self._read_hypotheses(self._baseline_hypotheses(measurement))

    def _baseline_hypotheses(self, measurement: Measurement) -> Path:
        return self.path / f"hypotheses-baseline-{measurement.fingerprint[:12]}.jsonl"
