"""Checkpoints of a sweep: where it continues after it was stopped at any point.

A sweep is a deterministic function of its checkpoint, the study's answers to `ask`, and its
early-stop answers. The checkpoint holds the slots and how many trials had been asked for; the
answers given since are in the study. Replayed from the checkpoint, the sweep asks for the same
numbers in the same order, finds their answers on record, and repeats effects that are idempotent.
Where the record ends, the first new effect meets the very state that an uninterrupted sweep would
have met.
"""

from __future__ import annotations

import filecmp
import os
import re
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from orchestrator.errors import StudyError
from orchestrator.files.atomic import make_folder
from orchestrator.files.file_kinds import other_kind
from orchestrator.files.names_aside import remove
from orchestrator.files.system_files import without_system_files
from orchestrator.records.journal.journal import digest_of
from orchestrator.records.json_files import not_a_file
from orchestrator.records.misplaced_links import link_error
from orchestrator.records.results import TrialResult
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Worker
from orchestrator.records.writing import write_aside
from orchestrator.sweepfile.digest import digest

_OWN = re.compile(r"[0-9]{6,}(\.json)?")
"""The names of a checkpoint's own JSON file and folder."""
_PACK = re.compile(r"pack-[0-9]+")
"""The folder of one pack of several, in the worker's part of a checkpoint."""


class InSlot(BaseModel):
    """A trial that held a slot when the checkpoint was written."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    last_rung: int
    """The step of its last measurement, 0 before the first. Measurements on file beyond it were
    made after the checkpoint and are ignored on resume.
    """
    seconds: float
    """Seconds that it had held its slot."""


class Checkpoint(BaseModel):
    """The state of a sweep between two ticks, apart from the worker's own, which is saved beside
    it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    tick: int = 0
    asked: int = 0
    """How many trials had been asked for: those with a smaller number."""
    slots: dict[int, InSlot] = {}
    """Trial number -> what is known of it, for each trial that held a slot."""
    exhausted: bool = False
    """The search space had no further point."""
    spent: float = 0.0
    """Wall-clock seconds of all runs so far."""
    files: dict[str, str] = {}
    """Path of each file in the worker's part -> SHA-256 of its bytes."""


class CheckpointFile(BaseModel):
    """A checkpoint's JSON file: the state and the digest of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    state: Checkpoint
    sha256: str

    @classmethod
    def of(cls, state: Checkpoint) -> CheckpointFile:
        """Return the state together with its digest."""
        return cls(state=state, sha256=digest(state.model_dump(mode="json")))


class Checkpoints:
    """The files `<root>/000007.json` and, when slots were taken, the folders `<root>/000007/`,
    which the worker writes.

    The JSON is written last, so its existence means that the checkpoint is complete. The checkpoint
    before it is kept in case the newer one is damaged: a sweep that continues from it repeats what
    it did since, with the same result.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def latest(self, whole: bool = False) -> Checkpoint | None:
        """Return the newest checkpoint that is not damaged; with `whole`, the worker's part must
        match its digests too. None where there never was one.

        Raises StudyError when all are damaged.
        """
        while True:
            states = self._state_files()
            found = next(
                (state for path in states if (state := self._read_if_whole(path, whole))), None
            )
            if found is not None or not states:
                return found
            if states == self._state_files():  # else a run has replaced them meanwhile
                raise StudyError(
                    f"every checkpoint in {self._root} is damaged\n"
                    "  Run `orchestrate repair SPEC`, which removes them, then the same command again: trials that had "
                    "not ended start anew."
                )

    def older(self) -> list[Path]:
        """Return the files and folders of all checkpoints but the newest; none where the newest is
        damaged.
        """
        states = self._state_files()
        if not states or self._read_if_whole(states[0], True) is None:
            return []
        return sorted(path for path in self._own_paths() if path.stem != states[0].stem)

    def _own_paths(self) -> list[Path]:
        """Return the files and folders of all checkpoints. A folder with the name of a checkpoint's
        JSON is somebody else's and left out, and so is a worker's folder with a folder inside that
        no worker makes.
        """
        own = [path for path in self._root.iterdir() if _OWN.fullmatch(path.name)]
        files = [path for path in own if path.suffix and not other_kind(path)]
        folders = [path for path in own if not path.suffix and _strange_folder(path) is None]
        return files + folders

    def drop(self, name: str) -> None:
        """Remove a checkpoint. Raises StudyError where something else has the name of its JSON."""
        state = self._root / f"{name}.json"
        if kind := other_kind(state):
            raise not_a_file(state, kind)
        remove(state)
        if _strange_folder(self._root / name) is None:
            remove(self._root / name)

    def damaged(self) -> tuple[str, ...]:
        """Return the names of the damaged checkpoints. One that a run removes while it is read, its
        JSON first, is none.
        """
        return tuple(
            path.stem
            for path in self._state_files()
            if self._read_if_whole(path, True) is None and os.path.lexists(path)
        )

    def _state_files(self) -> list[Path]:
        return sorted(
            (path for path in self._root.glob("*.json") if _OWN.fullmatch(path.name)), reverse=True
        )

    def _read_if_whole(self, path: Path, whole: bool) -> Checkpoint | None:
        """Return the state in a checkpoint's JSON; None where it is damaged or, with `whole`, where
        the worker's files are not those that it was written with.
        """
        if other_kind(path):
            return None
        try:
            held = CheckpointFile.model_validate_json(path.read_bytes())
            if held != CheckpointFile.of(held.state):
                return None
            if whole and _slot_digests(self.worker_folder(held.state)) != held.state.files:
                return None
        except (ValidationError, FileNotFoundError):
            return None
        return held.state

    def worker_folder(self, checkpoint: Checkpoint) -> Path:
        """Return the folder of the worker's part."""
        return self._root / f"{checkpoint.tick:06d}"

    def write(self, checkpoint: Checkpoint, worker: Worker) -> None:
        """Save the worker, then the state, and remove all checkpoints but this one and the one
        before. Raises StudyError where the folder has become a symbolic link meanwhile.
        """
        if self._root.is_symlink():
            raise link_error(self._root)
        slots = self.worker_folder(checkpoint)
        if (strange := _strange_folder(slots)) is not None:
            raise not_a_file(strange, "a folder")
        remove(slots)  # left by a crash before its JSON was written
        make_folder(self._root)
        if checkpoint.slots:
            worker.save(slots)
        files = self._digests_of_saved(slots)
        held = CheckpointFile.of(checkpoint.model_copy(update={"files": files}))
        write_aside(slots.with_suffix(".json"), held.model_dump_json().encode() + b"\n")
        kept = {f"{checkpoint.tick - back:06d}" for back in range(2)}
        for path in self._own_paths():
            if path.stem not in kept:
                remove(path)

    def _digests_of_saved(self, slots: Path) -> dict[str, str]:
        """Return path -> SHA-256 of the files that the worker has saved now. Of one that it took
        over from the checkpoint before, the digest is the one that it had there: its bytes may have
        been damaged since, and are not read again.
        """
        # the JSON of this name, if any, is that of a damaged checkpoint whose place this one takes
        others = (path for path in self._state_files() if path.stem != slots.name)
        states = (self._read_if_whole(path, whole=False) for path in others)
        before = next(filter(None, states), Checkpoint())
        there = self.worker_folder(before)
        return {
            name: before.files[name]
            if name in before.files and _is_taken_over(path, there / name)
            else digest_of(path.read_bytes())
            for name, path in _slot_files(slots).items()
        }


def _is_taken_over(path: Path, earlier: Path) -> bool:
    """Say whether a file is a link to an earlier one, or a copy of it where the file system has no
    hard links.
    """
    if not earlier.exists():
        return False
    return path.samefile(earlier) or filecmp.cmp(path, earlier, shallow=False)


def _strange_folder(slots: Path) -> Path | None:
    """Return the first folder inside the worker's part of a checkpoint that no worker makes; None
    where there is none. Its presence means that the content is somebody else's.
    """
    folders = (path for path in sorted(slots.rglob("*")) if path.is_dir())
    return next((path for path in folders if not _PACK.fullmatch(path.name)), None)


def known_as_ended(folder: StudyFolder, results: Iterable[TrialResult]) -> frozenset[int]:
    """Return the trials that the database must know to have ended, because it was told so before
    the last checkpoint was written. Raises StudyError when all checkpoints are damaged.
    """
    last = Checkpoints(folder.checkpoint).latest()
    if last is None:
        return frozenset()
    return frozenset(
        result.number
        for result in results
        if result.number < last.asked
        and result.number not in last.slots
        and result.duplicate_of not in last.slots
    )


def mend_beside(folder: StudyFolder) -> tuple[str, ...]:
    """Make damaged or lost unsealed files again (clock.json, findings.json) and say what was made.
    The caller holds the lock. Raises StudyError when all checkpoints are damaged.
    """
    last = Checkpoints(folder.checkpoint).latest()
    return folder.mend(last.spent if last else 0.0)


def _slot_files(slots: Path) -> dict[str, Path]:
    """Return the files that a worker saved, by their paths in its folder; empty where no trial held
    a slot.
    """
    files = [path for path in sorted(slots.rglob("*")) if path.is_file()]
    return {path.relative_to(slots).as_posix(): path for path in without_system_files(files)}


def _slot_digests(slots: Path) -> dict[str, str]:
    """Return path -> SHA-256 of the files that a worker saved."""
    return {name: digest_of(path.read_bytes()) for name, path in _slot_files(slots).items()}
