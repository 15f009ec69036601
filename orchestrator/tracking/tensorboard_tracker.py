"""TensorBoard: a folder of event files for the study, with a folder in it for each run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import (
    SCALARS,
    TENSORS,
    EventAccumulator,
)
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from orchestrator.sweepfile.tracking import TensorboardSpec
from orchestrator.tracking.place import Place
from orchestrator.tracking.runs import TrackedRun

_ALL = {SCALARS: 0, TENSORS: 0}
_PARAMETERS = "_hparams_/session_start_info"
"""The tag under which TensorBoard's plugin looks for hyperparameters."""


class TensorboardTracker:
    """Writes event files. What is in them already is read back, so that nothing is written
    twice.
    """

    def __init__(self, spec: TensorboardSpec, place: Place) -> None:
        self._folder = place.project / spec.folder / f"{place.study}-{place.id[:8]}"

    def send(self, run: TrackedRun) -> None:
        """Write what is missing of the run, as `Tracker.send`."""
        folder = self._folder / run.name.replace(", ", "-").replace(" ", "-")
        scalars, texts = _held(folder)
        said = {name: text for name, text in _texts(run).items() if texts.get(name) != text}
        missing = [point for point in run.points if (point.metric, point.step) not in scalars]
        begun = _PARAMETERS in texts
        if not (missing or said or not begun):
            return
        writer = EventFileWriter(str(folder))
        try:
            if not begun:
                # TensorBoard takes runs of one id together, as repetitions, with their means
                own = f"{self._folder.name}/{run.name}"
                _add(writer, hparams_pb(dict(run.params), trial_id=own), 0)
            for point in missing:
                _add(writer, _scalar(point.metric, point.value), point.step)
            for name, text in said.items():
                _add(writer, text_pb(name, text), 0)
        finally:
            writer.close()

    def close(self) -> None:
        """Do nothing: every file is closed once it is written."""


def _held(folder: Path) -> tuple[set[tuple[str, int]], dict[str, str]]:
    """Return (metric, step) of every point in the folder, and the last text of every tag."""
    if not folder.is_dir():
        return set(), {}
    events = EventAccumulator(str(folder), size_guidance=_ALL)
    events.Reload()
    tags = events.Tags()
    points = {(tag, event.step) for tag in tags[SCALARS] for event in events.Scalars(tag)}
    texts = {tag: _text(events.Tensors(tag)[-1].tensor_proto) for tag in tags[TENSORS]}
    return points, texts


def _text(tensor: Any) -> str:
    return b"".join(tensor.string_val).decode(errors="replace")


def _texts(run: TrackedRun) -> dict[str, str]:
    """Return the run's texts. TensorBoard stores no files, so the report's Markdown is among
    them.
    """
    reports = {
        path.name: path.read_text(encoding="utf-8") for path in run.files if path.suffix == ".md"
    }
    return {**run.texts, **reports}


def _scalar(name: str, value: float) -> Any:
    return Summary(value=[Summary.Value(tag=name, simple_value=value)])


def _add(writer: Any, summary: Any, step: int) -> None:
    writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))
