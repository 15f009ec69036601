"""Checks which files of a study still hold, and makes lost or altered ones again from the rest
where that is possible.

A file is written again only if the digest of its bytes is the one that was sealed. So it does not
matter what it was made from: it is what the study wrote. Nothing is ever sealed here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import OrchestrateError, StudyError
from orchestrator.records.content_digests import stored_spec
from orchestrator.records.journal.chain import Fault
from orchestrator.records.json_files import FormatFile, model_line
from orchestrator.records.store import StudyFolder
from orchestrator.running.checkpoints import Checkpoints, known_as_ended, mend_beside
from orchestrator.sweepfile.digest import FORMAT
from orchestrator.sweepfile.loading import resolved_yaml
from orchestrator.sweepfile.sweep import SweepSpec

if TYPE_CHECKING:
    from orchestrator.running.remaking_files import RemadeFile
    from orchestrator.search.storage import Database


_OTHER_SWEEP = (
    "spec.yaml follows from the sweep file as the study last continued with it, to the budget and the description: put "
    "that back, then run the same command again, or restore spec.yaml from a copy of the study."
)


@dataclass(frozen=True)
class Repaired:
    """What `repair_study` did."""

    made: tuple[str, ...]
    """What was done, in words: files made again, damaged ones removed or moved away."""
    sealed: int
    """How many files the journal seals; all of them hold."""


def faults_of(folder: StudyFolder, database: Database, project: Path) -> dict[str, Fault]:
    """Return name -> fault of everything in the study that is lost or altered: sealed files, the
    database, unsealed files and checkpoints. `project` is the project's folder. Raises StudyError
    where the journal itself is lost or damaged, or a database server cannot be asked.
    """
    from orchestrator.search.storage import short_name

    found = folder.faults()
    if folder.began and (fault := _database_fault(folder, database, project)):
        found[short_name(database)] = fault
    found |= dict.fromkeys(folder.damaged_beside(), Fault.ALTERED)
    states = Checkpoints(folder.checkpoint)
    return found | {f"checkpoint/{name}": Fault.ALTERED for name in states.damaged()}


def check_sealed(folder: StudyFolder, project: Path) -> int:
    """Return the number of sealed files, all of which hold. Raises StudyError naming those that do
    not.
    """
    from orchestrator.search.storage import database_of

    folder.check_format()
    if faults := faults_of(folder, database_of(folder), project):
        raise folder.journal.error(faults)
    return len(folder.journal.chain().files)


def repair_study(sweep: SweepSpec, folder: StudyFolder) -> Repaired:
    """Make again what can be made again, and note it; the caller holds the lock. `sweep` is the
    sweep file as it is now.

    At the end, raises StudyError naming what could not be made again.
    """
    from orchestrator.search.storage import database_for

    made: list[str] = []
    if away := folder.drop_damaged_server():
        made.append(f"storage.json was damaged and is now {away}")
    for path, data, source in _remake_settings(sweep, folder):
        _put_back(folder, path, data, source, made)
    folder.check_format()
    if (faults := folder.journal.faults()).get(folder.spec.name):
        raise folder.journal.error(faults, _OTHER_SWEEP)
    spec = stored_spec(folder, sweep.project).model_copy(update={"storage": sweep.storage})
    if faults_of(folder, database_for(spec, folder), spec.project):
        _remake_all(spec, folder, made)
    with suppress(OrchestrateError):
        made.extend(mend_beside(folder))
    for line in made:
        folder.note(f"repair: {line}")
    if left := faults_of(folder, database_for(spec, folder), spec.project):
        done = "".join(f" Made again: {line}." for line in made)
        raise folder.journal.error(left, f"{_advice_on(left)}{done}")
    return Repaired(tuple(made), len(folder.journal.chain().files))


def _advice_on(left: Mapping[str, Fault]) -> str:
    """Say what a person can do about the faults that a repair leaves."""
    if set(left.values()) == {Fault.NO_FILE}:
        return "Move away what is named here, then run the same command again."
    if set(left.values()) == {Fault.STRANGE}:
        return (
            "Move these away where they are nobody's; where journal.jsonl is older than they are, "
            "restore it from a copy of the study."
        )
    return "These cannot be made again from the rest; restore them from a copy of the study."


def _remake_settings(sweep: SweepSpec, folder: StudyFolder) -> Iterator[RemadeFile]:
    yield folder.format_file, model_line(FormatFile(format=FORMAT)), "the format of this version"
    yield folder.spec, resolved_yaml(sweep).encode(), "the sweep file"


def _remake_all(spec: SweepSpec, folder: StudyFolder, made: list[str]) -> None:
    from orchestrator.running.remaking_files import (
        remake_confirmation_plans,
        remake_confirmations,
        remake_database,
        remake_plans,
        remake_results,
        remake_sets,
    )
    from orchestrator.search.storage import database_for

    _drop_checkpoints(folder, made)
    for remade in (remake_sets, remake_plans, remake_results):
        _put_each(folder, made, remade(spec, folder))
    if folder.began and _database_fault(folder, database_for(spec, folder), spec.project):
        with suppress(OrchestrateError):
            made.append(remake_database(spec, folder))
    # last: which trials were finalists is told by all results
    for remade in (remake_confirmation_plans, remake_confirmations):
        _put_each(folder, made, remade(spec, folder))


def _drop_checkpoints(folder: StudyFolder, made: list[str]) -> None:
    """Remove damaged checkpoints; the sweep then continues from an older one, or from the trials'
    files.
    """
    checkpoints = Checkpoints(folder.checkpoint)
    for name in checkpoints.damaged():
        checkpoints.drop(name)
        made.append(f"checkpoint/{name} was damaged and is removed")


def _put_each(folder: StudyFolder, made: list[str], candidates: Iterator[RemadeFile]) -> None:
    """Put back what `candidates` yields, up to the first that cannot be made because something else
    is missing. That stays lost, and `repair_study` names it at the end.
    """
    with suppress(OrchestrateError):
        for path, data, source in candidates:
            _put_back(folder, path, data, source, made)


def _put_back(folder: StudyFolder, path: Path, data: bytes, source: str, made: list[str]) -> None:
    """Write the file if it is lost or altered and `data` has the sealed digest, and add it to
    `made`.
    """
    name = path.relative_to(folder.path).as_posix()
    if folder.journal.chain().fault(name, folder.journal.found(path)) and folder.put_back(
        path, data
    ):
        made.append(f"{name} from {source}")


def _database_fault(folder: StudyFolder, database: Database, project: Path) -> Fault | None:
    """Return what is wrong with a database, by itself or compared with the trials' files, as far as
    those hold; None where nothing is.
    """
    from orchestrator.search.storage import fault_of

    fault = fault_of(database, folder.planned())
    if fault is not None:
        return fault
    try:
        spec, results = stored_spec(folder, project), folder.results()
        ended = known_as_ended(folder, results)
    except StudyError:
        return None  # they are made again first
    from orchestrator.search.database_differences import differing_trial_in

    differing = differing_trial_in(database, spec, results, ended)
    if differing is None:
        return None
    was_there = any(result.number == differing for result in results)
    # of a run that goes on, a trial may have ended after the results were read
    return Fault.ALTERED if was_there or folder.read_result(differing) is None else None
