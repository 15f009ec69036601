"""What a checkpoint says of several packs: `fleet.json`, beside a folder a pack with what that last
saved.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.json_files import read_json

FILE = "fleet.json"
Command = tuple[Literal["admit", "release", "advance"], int]
"""What a pack was told, and of which trial; to advance is of all of them, whatever number stands
there.
"""


class PackInFile(BaseModel):
    """One pack."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    clock: int
    steps: dict[int, int]
    """Trial -> its step, in order of admission."""
    saved_slots: tuple[int, ...] | None
    """Trials in the folder beside this file; None where there is no folder."""
    log: tuple[Command, ...]
    told: tuple[str, ...]
    where: str
    """Where it ran when this was written, for people."""


class FleetFile(BaseModel):
    """fleet.json."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    now: int
    turn: int | None
    packs: tuple[PackInFile, ...]
    plans: dict[int, TrialPlan]
    """Of every trial that a pack names."""


def read_fleet(folder: Path) -> FleetFile | None:
    """The fleet in a checkpoint's folder; None where it holds none. Raises StudyError when it is
    damaged.
    """
    return read_json(
        folder / FILE,
        FleetFile,
        f"Delete {folder.parent}: trials that had not ended then start anew.",
    )
