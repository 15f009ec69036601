"""What a sweep file may say otherwise than its study does, and when that is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

from orchestrator.errors import StudyError
from orchestrator.records.content_digests import stored_spec
from orchestrator.records.store import StudyFolder
from orchestrator.running.pack_sizes import with_recorded_pack
from orchestrator.sweepfile.loading import FieldChange, changed_fields, resolved_yaml
from orchestrator.sweepfile.sweep import SweepSpec


def agree_on_spec(spec: SweepSpec, folder: StudyFolder) -> Callable[[], None]:
    """Refuse what may not change of an old study; returns what keeps the resolved spec, when it is
    called first: of a new study all of it, of an old one what has changed.

    A study that stopped before its first trial, at its data or at the checks of its model, is new.
    Raises StudyError with a table of the differences.
    """
    folder.check_format()
    with_recorded_pack(spec, folder)  # refuses before anything of the sweep file is kept
    on_server = spec.storage is not None
    if folder.began and not folder.has_database(on_server):
        raise _without_database(folder, on_server)
    if folder.began or (folder.exists and folder.has_database(on_server)):
        stored = stored_spec(folder, spec.project)
        changes = [_by_content(change, spec, folder) for change in changed_fields(stored, spec)]
        refused = [change for change in changes if not change.allowed]
        if refused:
            raise StudyError(_disagreement_text(folder.name, refused))
        return cache(partial(_keep_spec, spec, folder, changes))
    return cache(partial(_keep_spec, spec, folder, None))


def _keep_spec(spec: SweepSpec, folder: StudyFolder, changes: list[FieldChange] | None) -> None:
    """`changes`: None of a new study."""
    for change in changes or ():
        folder.note(
            f"sweep file changed: {change.path} from {_value_text(change.old)} to {_value_text(change.new)}"
        )
    if changes is None or changes:
        folder.write_spec(resolved_yaml(spec))


def _without_database(folder: StudyFolder, on_server: bool) -> StudyError:
    """The error of a study that has begun, but has no database where the sweep file says."""
    if not folder.has_database(not on_server):
        lost = "storage.json" if on_server else "study.db"
        return StudyError(
            f"{lost} of study {folder.name} is lost, though trials have begun\n"
            "  Restore it from a copy of the study, or run `orchestrate repair SPEC`, which makes it again from the "
            "files of the trials."
        )
    places = ("on a server (`storage`)", "in study.db")
    here, there = places if on_server else reversed(places)
    return StudyError(
        f"the sweep file has the database of study {folder.name} {here}, and it is {there}\n"
        "  Write `storage` as it was, or run `orchestrate repair SPEC`, which makes the database in the new place from "
        "the files of the trials."
    )


def _set_of_field(path: str) -> str:
    """The set whose manifest a field of the sweep file names: data.confirm.also.noisy is
    confirm_noisy.
    """
    parts = [part for part in path.split(".")[1:] if part not in ("also", "manifest")]
    return "_".join(parts) if path.startswith("data.") else ""


def _by_content(change: FieldChange, spec: SweepSpec, folder: StudyFolder) -> FieldChange:
    """A manifest of another name that has the recorded bytes is the same manifest."""
    record = folder.sets().get(_set_of_field(change.path))
    if record is None or change.new is None:
        return change
    try:
        data = (spec.project / change.new).read_bytes()
    except OSError:
        return change
    return replace(change, allowed=hashlib.sha256(data).hexdigest() == record.sha256)


def _disagreement_text(name: str, changes: list[FieldChange]) -> str:
    rows = [
        ("field", "study", "sweep file"),
        *((c.path, _value_text(c.old), _value_text(c.new)) for c in changes),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    table = "\n".join(
        f"  {field:<{widths[0]}}  {old:<{widths[1]}}  {new}" for field, old, new in rows
    )
    moved = next(
        (c for c in changes if c.path == "take.trial" and None not in (c.old, c.new)), None
    )
    return (
        f"Study {name} was begun with another sweep file:\n{table}\n"
        + (
            "The study that `take` names has another best trial than when this study began; take.trial: "
            f"{moved.old} keeps what was taken then.\n"
            if moved
            else ""
        )
        + "Two ways on: put the sweep file back as the study has it, or begin a new study with --fork NAME."
    )


def _value_text(value: Any) -> str:
    return "-" if value is None else str(value)
