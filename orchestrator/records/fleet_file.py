"""`fleet.json`, the part of a checkpoint that says what several packs were doing; beside it is one
folder per pack with what that pack last saved.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.json_files import read_json

FILE = "fleet.json"
Command = tuple[Literal["admit", "release", "advance"], int]
"""What a pack was told, and for which trial. Advancing is for all trials of the pack, whatever
number stands there.
"""


class PackInFile(BaseModel):
    """One pack, as `fleet.pack_history.Pack` has it."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    clock: int
    steps: dict[int, int]
    """Trial -> its step, in order of admission."""
    saved_slots: tuple[int, ...] | None
    """Trials in the pack's folder beside this file; None where there is no folder."""
    log: tuple[Command, ...]
    """The commands since it was last saved."""
    told: tuple[str, ...]
    """One digest of events for each advance in the log."""
    where: str
    """Where it ran when this was written; only for people."""


class FleetFile(BaseModel):
    """The content of fleet.json."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    now: int
    """The fleet's clock."""
    turn: int | None
    """Index of the pack whose events were being handled."""
    packs: tuple[PackInFile, ...]
    plans: dict[int, TrialPlan]
    """The plans of all trials that a pack names."""


def read_fleet(folder: Path) -> FleetFile | None:
    """Return the fleet in a checkpoint's folder; None where there is none. Raises StudyError when
    it is damaged.
    """
    return read_json(
        folder / FILE,
        FleetFile,
        f"Delete {folder.parent}: trials that had not ended then start anew.",
    )
