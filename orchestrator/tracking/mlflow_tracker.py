"""MLflow: an experiment for the study and a run for each trial, found again by its tags."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from orchestrator.errors import StudyError
from orchestrator.sweepfile.tracking import MlflowSpec
from orchestrator.tracking.place import Place
from orchestrator.tracking.runs import Point, TrackedRun

_PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "20", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}
"""Shorter than MLflow's own limits of minutes: what fails is sent again at the next rung."""
_STATUS = {"COMPLETE": "FINISHED", "REPORTED": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}
_STUDY, _RUN, _SENT = "orchestrator.study_id", "orchestrator.run", "orchestrator.sent"
_AT_ONCE = 900
"""Metrics per request; MLflow takes 1000."""
_LONGEST = 4000
"""Characters of a parameter or tag; MLflow takes 5000 and more."""


class MlflowTracker:
    """A connected MLflow. The digest of an ended run is kept as its tag there, so a run that is
    complete costs only one request.
    """

    def __init__(self, spec: MlflowSpec, place: Place) -> None:
        """Raises StudyError where nothing says which server is meant, and where the experiment was
        deleted.
        """
        for name, value in _PATIENCE.items():
            os.environ.setdefault(name, value)
        if spec.uri is None and not os.environ.get("MLFLOW_TRACKING_URI"):
            raise StudyError("neither tracking.mlflow.uri nor MLFLOW_TRACKING_URI says where it is")
        self._place = place
        self._client = MlflowClient(tracking_uri=spec.uri)
        self._experiment = self._experiment_id(spec.experiment or place.study)
        self._parent: str | None = None

    def _experiment_id(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None and found.lifecycle_stage == "deleted":
            # its name stays taken, and it takes no runs
            raise StudyError(
                f"the experiment {name} was deleted there: restore it (mlflow experiments restore "
                f"--experiment-id {found.experiment_id}), or name another as tracking.mlflow.experiment"
            )
        made = found.experiment_id if found else self._client.create_experiment(name)
        return str(made)

    def send(self, run: TrackedRun) -> None:
        """Send the run, as `Tracker.send`."""
        held = self._first(run) or self._begun(run)
        run_id = held.info.run_id
        if run.kind == "study":
            self._parent = run_id
        if run.state is not None and held.data.tags.get(_SENT) == run.digest:
            return
        params = [
            Param(name, str(value)[:_LONGEST])
            for name, value in run.params.items()
            if name not in held.data.params
        ]
        tags = [RunTag(name, text[:_LONGEST]) for name, text in run.texts.items()]
        self._client.log_batch(run_id, params=params, tags=tags)
        self._add(run_id, self._missing(held, run))
        for path in run.files:
            if path.is_dir():
                self._client.log_artifacts(run_id, str(path), path.name)
            else:
                self._client.log_artifact(run_id, str(path))
        if run.state is not None:
            self._client.set_terminated(run_id, _STATUS[run.state])
            # set last, so that a run cut off before is sent again
            self._client.set_tag(run_id, _SENT, run.digest)

    def close(self) -> None:
        """Do nothing: everything was sent at once."""

    def _first(self, run: TrackedRun) -> Any:
        """Return the run as MLflow has it, None where it does not. A request whose answer was lost
        is made twice, so the run may exist twice; then the first is used, and the others are
        deleted.
        """
        tags = {_STUDY: self._place.id, _RUN: run.name}
        asked = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        order = ["attributes.start_time ASC"]
        found = self._client.search_runs([self._experiment], asked, order_by=order)
        for other in found[1:]:
            self._client.delete_run(other.info.run_id)
        return found[0] if found else None

    def _begun(self, run: TrackedRun) -> Any:
        """Create the run, below the study's own run."""
        name = self._place.study if run.kind == "study" else run.name
        tags = {_STUDY: self._place.id, _RUN: run.name, "orchestrator.study": self._place.study}
        if self._parent is not None:
            tags["mlflow.parentRunId"] = self._parent
        made = self._client.create_run(self._experiment, tags=tags, run_name=name)
        return self._first(run) or made

    def _missing(self, held: Any, run: TrackedRun) -> list[Point]:
        """Return the points that MLflow does not have yet."""
        there = {
            (metric, value.step)
            for metric in {point.metric for point in run.points} & held.data.metrics.keys()
            for value in self._client.get_metric_history(held.info.run_id, metric)
        }
        return [point for point in run.points if (point.metric, point.step) not in there]

    def _add(self, run_id: str, points: list[Point]) -> None:
        now = int(1000 * time.time())
        metrics = [Metric(point.metric, point.value, now, point.step) for point in points]
        for some in _in_parts(metrics):
            self._client.log_batch(run_id, metrics=some)


def _in_parts(metrics: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(metrics), _AT_ONCE):
        yield metrics[start : start + _AT_ONCE]
