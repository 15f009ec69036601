"""A study as the dashboard shows it: Optuna's trials, copied into memory, with names, notes,
figures and files added.

The dashboard does not know constraints and calls the lowest value the best. So a COMPLETE trial
that breaks a guardrail, as `method: gp` leaves them, is PRUNED in the copy.
"""

from __future__ import annotations

import io
import json
import uuid
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import optuna
from bottle import HTTPResponse
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import FrozenTrial, Trial
from optuna.trial import TrialState as OptunaState
from optuna_dashboard import save_note, save_plotly_graph_object

from orchestrator.errors import OrchestrateError, StudyError
from orchestrator.search.dashboard_study import Attachment, DashboardStudy, DashboardTrial
from orchestrator.search.storage import Database, remake_advice

_ARTIFACT = "artifacts:{}"
"""The attribute under which Optuna keeps the description of an artifact."""


class Attachments:
    """An Optuna artifact store whose files are made when they are asked for. Nothing is written."""

    def __init__(self, attachments: Mapping[str, Attachment]) -> None:
        self._attachments = attachments

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Return the contents of a file. Raises HTTPResponse, which the dashboard sends, where it
        cannot be read.
        """
        try:
            return io.BytesIO(self._attachments[artifact_id].read())
        except (KeyError, OrchestrateError, OSError) as error:
            text = f"This file cannot be read any more: {error}\n"
            raise HTTPResponse(text, 404, {"Content-Type": "text/plain; charset=utf-8"}) from error

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Raise PermissionError."""
        raise PermissionError("the dashboard only shows the study")

    def remove(self, artifact_id: str) -> None:
        """Raise PermissionError."""
        raise PermissionError("the dashboard only shows the study")


@dataclass(frozen=True)
class _Figure:
    """The part of a plotly figure that `save_plotly_graph_object` needs."""

    contents: Mapping[str, Any]

    def to_json(self) -> str:
        return json.dumps(self.contents, allow_nan=False)


def copy_of(
    held: BaseStorage, shown: DashboardStudy, database: Database
) -> tuple[InMemoryStorage, Attachments]:
    """Return the one study of `held` as it is shown, and its attachments. Raises StudyError where
    there is not exactly one study, or its trials are not those of the study's files.
    """
    studies = held.get_all_studies()
    if len(studies) != 1:
        raise StudyError(
            f"{database} holds {len(studies)} studies, and a sweep has one\n  {remake_advice(database)}"
        )
    storage = InMemoryStorage()
    study = optuna.create_study(
        storage=storage, study_name=studies[0].study_name, direction="minimize"
    )
    trials = held.get_all_trials(studies[0]._study_id)
    shown.check(database, trials)
    for trial in trials:
        _add(study, trial, shown.trials.get(trial.number))
    _describe(study, shown)
    places = {None: shown.attachments} | {n: t.attachments for n, t in shown.trials.items()}
    return storage, Attachments(
        {_id(place, each): each for place, attachments in places.items() for each in attachments}
    )


def _add(study: optuna.Study, trial: FrozenTrial, shown: DashboardTrial | None) -> None:
    trial.user_attrs, trial.system_attrs = {}, {}
    if shown is not None:
        trial.user_attrs = dict(shown.attributes)
        trial.system_attrs = _artifacts(trial.number, shown.attachments)
        trial.system_attrs["constraints"] = list(shown.constraints)
        if trial.state == OptunaState.COMPLETE and not shown.feasible:
            trial.state = OptunaState.PRUNED
    trial_id = study._storage.create_new_trial(study._study_id, template_trial=trial)
    if shown is not None:
        save_note(Trial(study, trial_id), shown.note)


def _describe(study: optuna.Study, shown: DashboardStudy) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names([shown.objective])
    for name, value in shown.attributes.items():
        study.set_user_attr(name, value)
    for name, value in _artifacts(None, shown.attachments).items():
        study._storage.set_study_system_attr(study._study_id, name, value)
    for name, figure in shown.figures.items():
        save_plotly_graph_object(study, _Figure(figure), graph_object_id=name)
    save_note(study, "\n".join([shown.note, *_links(study._study_id, shown)]))


def _links(study_id: int, shown: DashboardStudy) -> Iterator[str]:
    if shown.best is not None:
        address = f"/dashboard/studies/{study_id}/trials?numbers={shown.best}"
        yield f"- [Trial {shown.best}]({address}) in this dashboard"
    for attachment in shown.attachments:
        address = f"/artifacts/{study_id}/{_id(None, attachment)}"
        yield f"- [{attachment.name}]({address})"


def _artifacts(place: int | None, attachments: tuple[Attachment, ...]) -> dict[str, Any]:
    """Return the attributes that Optuna's `upload_artifact` would write."""
    return {
        _ARTIFACT.format(_id(place, each)): json.dumps(
            {
                "artifact_id": _id(place, each),
                "filename": each.name,
                "mimetype": each.kind,
                "encoding": None,
            }
        )
        for each in attachments
    }


def _id(place: int | None, attachment: Attachment) -> str:
    """Return an artifact's id, the same in every copy, so that links on an open page stay valid."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{place}/{attachment.name}"))
