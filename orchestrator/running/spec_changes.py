"""What may differ between a sweep file and the spec that its study has stored, and when such a
change is stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

from orchestrator.errors import StudyError
from orchestrator.records.base_weights import measured_model
from orchestrator.records.content_digests import stored_spec
from orchestrator.records.store import StudyFolder
from orchestrator.running.completion import last_checkpoint
from orchestrator.running.pack_sizes import with_recorded_pack
from orchestrator.sweepfile.loading import FieldChange, changed_fields, resolved_yaml
from orchestrator.sweepfile.sweep import SweepSpec


def agree_on_spec(spec: SweepSpec, folder: StudyFolder) -> Callable[[], None]:
    """Refuse changes that an existing study does not allow. Returns a function that stores the
    resolved spec when it is first called: all of it for a new study, else what has changed.

    A study that stopped before its first trial, at its data, at the checks of its model or at those
    of its baseline, counts as new. Raises StudyError with a table of the differences, and ModelError
    for another model.
    """
    folder.check_format()
    with_recorded_pack(spec, folder)  # refuses before anything of the sweep file is kept
    on_server = spec.storage is not None
    if folder.began and not folder.has_database(on_server):
        raise _without_database(folder, on_server)
    # the first checkpoint comes before the first trial is asked for, and the plan after that
    if folder.began or (folder.has_database(on_server) and last_checkpoint(folder) is not None):
        stored = stored_spec(folder, spec.project)
        changes = [_by_content(change, spec, folder) for change in changed_fields(stored, spec)]
        refused = [change for change in changes if not change.allowed]
        if refused:
            raise StudyError(_disagreement_text(folder.name, refused))
        if any(change.path == "model.id" for change in changes):
            _check_moved_model(spec, folder)
        return cache(partial(_keep_spec, spec, folder, changes))
    return cache(partial(_keep_spec, spec, folder, None))


def _keep_spec(spec: SweepSpec, folder: StudyFolder, changes: list[FieldChange] | None) -> None:
    """Write spec.yaml, with a note for each change; `changes` is None for a new study."""
    for change in changes or ():
        folder.note(
            f"sweep file changed: {change.path} from {_value_text(change.old)} to {_value_text(change.new)}"
        )
    if changes is None or changes:
        folder.write_spec(resolved_yaml(spec))


def _check_moved_model(spec: SweepSpec, folder: StudyFolder) -> None:
    """Raise ModelError where another model folder holds another model than was measured. A run that
    only reports would not find it, and exports would name that folder as their base.
    """
    if measured := measured_model(folder):
        from orchestrator.tuning.model.base_model import check_same_model

        check_same_model(spec.model, spec.evaluation.encoder_windows, measured)


def _without_database(folder: StudyFolder, on_server: bool) -> StudyError:
    """Return the error for a study that has begun, but has no database where the sweep file
    says.
    """
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
    """Return the name of the set whose manifest a field of the sweep file names, such as
    confirm_noisy for data.confirm.also.noisy; empty where the field is not below data.
    """
    parts = [part for part in path.split(".")[1:] if part not in ("also", "manifest")]
    return "_".join(parts) if path.startswith("data.") else ""


def _by_content(change: FieldChange, spec: SweepSpec, folder: StudyFolder) -> FieldChange:
    """Allow a change of a manifest's name if the file has the recorded bytes: it is the same
    manifest.
    """
    record = folder.sets().get(_set_of_field(change.path))
    if record is None or not isinstance(change.new, str):  # a set may be called max_seconds
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
            f"The sweep file takes trial {moved.new} now: its own take.trial says so, or the other study has another "
            f"best trial than when this study began. take.trial: {moved.old} keeps what was taken then.\n"
            if moved
            else ""
        )
        + "Two ways on: put the sweep file back as the study has it, or begin a new study with --fork NAME."
    )


def _value_text(value: Any) -> str:
    return "-" if value is None else str(value)
