"""Weights & Biases: a group for the study and a run for each trial, sent as a whole once it has
ended.
"""

from __future__ import annotations

import json
import os
import re
from itertools import groupby
from pathlib import Path
from typing import Any

import wandb

from orchestrator.errors import StudyError
from orchestrator.records.writing import write_aside
from orchestrator.sweepfile.digest import digest
from orchestrator.sweepfile.tracking import WandbSpec
from orchestrator.tracking.place import Place
from orchestrator.tracking.runs import TrackedRun


class WandbTracker:
    """A connected W&B. Only one run at a time is open there, and no step can be added behind a
    later one, so a run is sent only when it has ended. What was sent is kept in a file beside W&B's
    own, because offline there is no server to ask.
    """

    def __init__(self, spec: WandbSpec, place: Place) -> None:
        self._spec, self._place = spec, place
        self._file = place.own / "sent.json"
        self._sent: dict[str, str] = _read(self._file)
        """Destination and id of a run at W&B -> digest of what was sent."""
        self._destination = _destination(spec)

    def send(self, run: TrackedRun) -> None:
        """Send the run if it has ended, as `Tracker.send`."""
        run_id = _id(self._place.id, run.name)
        key = f"{self._destination} {run_id}"
        if run.state is None or self._sent.get(key) == run.digest:
            return
        self._place.own.mkdir(exist_ok=True)
        open_run = self._open(run, run_id)
        try:
            _fill(open_run, run)
        finally:
            open_run.finish(exit_code=int(run.state == "FAIL"))
        self._sent[key] = run.digest
        write_aside(self._file, json.dumps(self._sent, indent=1).encode())

    def _open(self, run: TrackedRun, run_id: str) -> Any:
        try:
            return wandb.init(
                project=self._spec.project,
                entity=self._spec.entity,
                mode=self._spec.mode,
                dir=str(self._place.own),
                group=self._place.study,
                job_type=run.kind,
                name=self._place.study if run.kind == "study" else run.name,
                id=run_id,
                resume="allow",
                config=dict(run.params),
                settings=wandb.Settings(
                    silent=True, init_timeout=30, console="off", disable_git=True
                ),
            )
        except Exception as error:
            if "previously created and deleted" not in str(error):
                raise
            raise StudyError(
                f"{run.name} was deleted there, which takes no run of its id again: restore it there, "
                "or name another project as tracking.wandb.project"
            ) from error

    def close(self) -> None:
        """Do nothing: every run is closed once it is sent."""


def _fill(open_run: Any, run: TrackedRun) -> None:
    points = sorted(run.points, key=lambda point: point.step)
    for step, at_step in groupby(points, key=lambda point: point.step):
        open_run.log({point.metric: point.value for point in at_step}, step=step)
    open_run.summary.update(dict(run.texts))
    for path in run.files:
        artifact = wandb.Artifact(f"{open_run.id}-{path.stem}", type=path.suffix[1:] or path.name)
        if path.is_dir():
            artifact.add_dir(str(path))
        else:
            artifact.add_file(str(path))
        open_run.log_artifact(artifact)


def _destination(spec: WandbSpec) -> str:
    """Return a digest of where runs go, which a person may change: a study keeps no address."""
    mode = spec.mode or os.environ.get("WANDB_MODE") or "online"
    entity = spec.entity or os.environ.get("WANDB_ENTITY")
    return digest([mode, spec.project, entity, os.environ.get("WANDB_BASE_URL")])[:12]


def _id(study: str, name: str) -> str:
    """Return the run's id at W&B, the same after a resume, made of letters, digits and hyphens."""
    return f"{study[:12]}-{re.sub('[^a-z0-9]+', '-', name)}"


def _read(path: Path) -> dict[str, str]:
    try:
        held: dict[str, str] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return held
