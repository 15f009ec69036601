"""What every tracker can do, and which there are."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from orchestrator.sweepfile.sweep import SweepSpec
    from orchestrator.tracking.runs import TrackedRun

MODULES = {"mlflow": "mlflow", "wandb": "wandb", "tensorboard": "tensorboard.backend"}
"""Tracker -> the module that its extra brings."""


@dataclass(frozen=True)
class Place:
    """Whose runs are sent, and where a tracker may keep files of its own."""

    study: str
    id: str
    """Of this study alone, whatever its name."""
    project: Path
    own: Path
    """A folder in the study."""


class Tracker(Protocol):
    """One of them, connected. Whatever it raises costs the run that was sent, and is said."""

    def send(self, run: TrackedRun) -> None:
        """Bring the run there to this state. What is there already is not sent again."""

    def close(self) -> None:
        """Write what is still in memory."""


def connect(name: str, spec: SweepSpec, place: Place) -> Tracker:
    """The tracker of this name as the sweep file declares it; imports its client."""
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
    """The trackers of the sweep whose client is there."""
    names = spec.tracking.names if spec.tracking else ()
    return tuple(name for name in names if _is_there(MODULES[name]))


def _is_there(module: str) -> bool:
    """Whether it could be imported; to look for a part of a package imports the package."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def not_installed(spec: SweepSpec) -> tuple[str, ...]:
    """A line for each tracker of the sweep whose client is missing."""
    there = installed(spec)
    return tuple(
        f"tracking.{name}: {name} is not installed, and nothing is sent to it: "
        f"pip install 'orchestrator[{name}]'"
        for name in (spec.tracking.names if spec.tracking else ())
        if name not in there
    )
