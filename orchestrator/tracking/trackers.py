"""The interface of all trackers, and which trackers there are."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

from orchestrator.typed_words import install_command

if TYPE_CHECKING:
    from orchestrator.sweepfile.sweep import SweepSpec
    from orchestrator.tracking.place import Place
    from orchestrator.tracking.runs import TrackedRun

MODULES = {"mlflow": "mlflow", "wandb": "wandb", "tensorboard": "tensorboard.backend"}
"""Tracker -> the module that its optional package brings."""
_SILENT = {"MLFLOW_DISABLE_TELEMETRY": "true", "WANDB_ERROR_REPORTING": "false"}
"""Variables of the environment by which a client tells its makers nothing of how it is used and what
fails; without them it does.
"""


class Tracker(Protocol):
    """A connected tracker. An error that a method raises costs only the run being sent, and is
    reported.
    """

    def send(self, run: TrackedRun) -> None:
        """Bring the tracker's run to this state. What it has already is not sent again."""

    def close(self) -> None:
        """Write what is still in memory."""


def connect(name: str, spec: SweepSpec, place: Place) -> Tracker:
    """Return the tracker of this name as the sweep file declares it; imports its client, which then
    sends nothing to anybody but the tracker, unless the environment asks for it.
    """
    for variable, value in _SILENT.items():
        os.environ.setdefault(variable, value)  # read when the client is imported
    tracking = spec.tracking
    assert tracking is not None
    if name == "mlflow" and tracking.mlflow is not None:
        from orchestrator.tracking.mlflow_tracker import MlflowTracker

        return MlflowTracker(tracking.mlflow, place)
    if name == "wandb" and tracking.wandb is not None:
        from orchestrator.tracking.wandb_tracker import WandbTracker

        return WandbTracker(tracking.wandb, place)
    if name == "tensorboard" and tracking.tensorboard is not None:
        from orchestrator.tracking.tensorboard_tracker import TensorboardTracker

        return TensorboardTracker(tracking.tensorboard, place)
    raise KeyError(name)


def installed(spec: SweepSpec) -> tuple[str, ...]:
    """Return the names of the sweep's trackers whose client is installed."""
    names = spec.tracking.names if spec.tracking else ()
    return tuple(name for name in names if _is_there(MODULES[name]))


def _is_there(module: str) -> bool:
    """Say whether a module could be imported. Looking for a submodule imports its package."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def not_installed(spec: SweepSpec) -> tuple[str, ...]:
    """Return a line for each of the sweep's trackers whose client is missing."""
    there = installed(spec)
    return tuple(
        f"tracking.{name}: {name} is not installed, and nothing is sent to it: "
        f"{install_command(name)}"
        for name in (spec.tracking.names if spec.tracking else ())
        if name not in there
    )
