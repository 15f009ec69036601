"""`tracking:` of the sweep file: experiment trackers that a study is also sent to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from orchestrator.sweepfile.frozen import Frozen


def _without_credentials(address: str) -> str:
    if "@" in urlsplit(address).netloc:
        raise ValueError(
            "an address without a user and password; set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD in the environment"
        )
    return address


class MlflowSpec(Frozen):
    """An MLflow server, or a folder or database that MLflow writes itself."""

    uri: Annotated[str, Field(min_length=1), AfterValidator(_without_credentials)] | None = None
    """None: what MLFLOW_TRACKING_URI says."""
    experiment: str | None = Field(default=None, min_length=1)
    """None: the name of the study."""


class WandbSpec(Frozen):
    """Weights & Biases."""

    project: str = Field(default="orchestrator", min_length=1)
    entity: str | None = Field(default=None, min_length=1)
    """None: the user's default."""
    mode: Literal["online", "offline"] | None = None
    """offline: kept in the study until `wandb sync`; None: what WANDB_MODE says, else online."""


class TensorboardSpec(Frozen):
    """Event files."""

    folder: Path = Path("runs")
    """From the project's folder on; each study has a folder in it."""


class TrackingSpec(Frozen):
    """Trackers by name, none by default. Never part of the study."""

    mlflow: MlflowSpec | None = None
    wandb: WandbSpec | None = None
    tensorboard: TensorboardSpec | None = None
    wait: float = Field(default=60.0, ge=0, le=3600)
    """Seconds that the end of a sweep waits for what is not sent yet."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the trackers that the file asks for."""
        known = ("mlflow", "wandb", "tensorboard")
        return tuple(name for name in known if getattr(self, name) is not None)
