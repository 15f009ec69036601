"""Where a sweep continues after it was stopped anywhere.

A sweep is a deterministic function of its checkpoint, the study's answers to `ask`, and its early-stop answers. The
checkpoint holds the slots and how many trials had been asked for; the answers given since are in the study. Replayed
from the checkpoint, the sweep asks for the same numbers in the same order, finds them, and repeats effects that are
idempotent; where the record ends, the first new effect meets the very state an uninterrupted sweep would have met.
"""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from orchestrator.atomic import make_folder, remove
from orchestrator.errors import StudyError
from orchestrator.records.worker import Worker
from orchestrator.records.writing import write_aside

_OWN = re.compile(r"[0-9]{6,}(\.json)?")


class InSlot(BaseModel):
    """A trial that held a slot."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    last_rung: int
    """Step of its last measurement, 0 before the first: what is on file beyond it belongs to the future."""
    seconds: float
    """Time it had held its slot."""


class Checkpoint(BaseModel):
    """The state of a sweep between two ticks, beside the worker's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tick: int = 0
    asked: int = 0
    """Trials with a smaller number had been asked for."""
    slots: dict[int, InSlot] = {}
    exhausted: bool = False
    """The search space had no further point."""


class Checkpoints:
    """`<root>/000007.json` and, when slots were taken, `<root>/000007/` written by the worker.

    The JSON comes last and means complete; older checkpoints go when a newer one is complete.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def latest(self) -> Checkpoint | None:
        """The newest complete checkpoint. Raises StudyError when it is damaged."""
        newest = max((path for path in self._root.glob("*.json") if _OWN.fullmatch(path.name)), default=None)
        if newest is None:
            return None
        try:
            return Checkpoint.model_validate_json(newest.read_bytes())
        except ValidationError as error:
            raise StudyError(
                f"{newest} is damaged: {error.errors(include_url=False)[0]['msg']}\n"
                f"  Delete {self._root}, then run the same command again: trials that had not ended start anew."
            ) from error

    def slots(self, checkpoint: Checkpoint) -> Path:
        """The worker's part."""
        return self._root / f"{checkpoint.tick:06d}"

    def write(self, checkpoint: Checkpoint, worker: Worker) -> None:
        """Save the worker, then the state; forget what is older."""
        slots = self.slots(checkpoint)
        remove(slots)  # left by a crash before its JSON was written
        make_folder(self._root)
        if checkpoint.slots:
            worker.save(slots)
        write_aside(slots.with_suffix(".json"), checkpoint.model_dump_json().encode() + b"\n")
        for path in self._root.iterdir():
            if _OWN.fullmatch(path.name) and path.stem != slots.name:
                remove(path)
