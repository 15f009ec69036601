"""`tracking:` of the sweep file: experiment trackers that a study is also sent to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from orchestrator.sweepfile.frozen import Frozen

_HOST = re.compile(r"[A-Za-z0-9+.-]+://[^/]")
"""How an address that names a host begins. What stands before its last @ may be a password, which
people write with / and # as they are.
"""


def _without_credentials(address: str) -> str:
    if _HOST.match(address) and "@" in address:
        raise ValueError(
            "an address without a user and password; set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD in the environment"
        )
    return address


class MlflowSpec(Frozen):
    """Where MLflow is: a server, or a folder or database that MLflow writes itself."""

    uri: Annotated[str, Field(min_length=1), AfterValidator(_without_credentials)] | None = None
    """Address of the server, or what else MLflow takes; null takes that in
    MLFLOW_TRACKING_URI.
    """
    experiment: str | None = Field(default=None, min_length=1)
    """Name of the experiment there; null takes the name of the study."""


class WandbSpec(Frozen):
    """Where the runs go at Weights & Biases, and whether they are sent or kept for later."""

    project: str = Field(default="orchestrator", min_length=1)
    """Name of the project there."""
    entity: str | None = Field(default=None, min_length=1)
    """The team or user that the project belongs to; null takes the user's default."""
    mode: Literal["online", "offline"] | None = None
    """offline: runs are kept in the study until `wandb sync`. Null: what WANDB_MODE says, else
    online.
    """


class TensorboardSpec(Frozen):
    """Where the event files for TensorBoard are written."""

    folder: Path = Path("runs")
    """Relative to the project's folder; each study has a folder in it."""


class TrackingSpec(Frozen):
    """The trackers to which a study is also sent, by name; null does not use one. Never part of
    the study.
    """

    mlflow: MlflowSpec | None = None
    wandb: WandbSpec | None = None
    tensorboard: TensorboardSpec | None = None
    wait: float = Field(default=60.0, ge=0, le=3600)
    """Seconds that a sweep waits at its end for what is not sent yet."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the trackers that the file asks for."""
        known = ("mlflow", "wandb", "tensorboard")
        return tuple(name for name in known if getattr(self, name) is not None)
