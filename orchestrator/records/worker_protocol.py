"""The interface between the search and the training: plans go in, events come out, and the answer
to an event is to continue or to stop.

The worker does not know Optuna and the study does not know torch. Many trials are in flight at
once; the sweep asks as slots free up and tells as trials end. Tests use a fake worker in the place
of torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.results import Measurement
from orchestrator.records.store import StudyFolder
from orchestrator.sweepfile.sweep import SweepSpec

SAVE_SECONDS = 60.0
"""A worker is saved at most this often; what it did since is computed again after a kill, with the
same result.
"""
Hypotheses = dict[str, tuple[str, ...]]
"""Set name -> hypotheses as decoded, in manifest order."""


@dataclass(frozen=True)
class Progress:
    """A trial has trained up to `step`; `loss` is the mean per token since its last measurement."""

    number: int
    step: int
    loss: float
    pack: int | None = None
    """The pack in which it trains, where there are several."""


@dataclass(frozen=True)
class Measured:
    """A trial reached a rung: one measurement per adapter scale, in the plan's order."""

    number: int
    step: int
    measurements: tuple[Measurement, ...]
    hypotheses: tuple[Hypotheses, ...]
    final: bool
    """The trial is at `max_steps`: it trains no further, and keeps its slot until `release`."""


@dataclass(frozen=True)
class Failed:
    """A trial ended by itself: loss or gradient not finite, out of memory, an adapter that did not
    move, any exception in its step or its evaluation."""

    number: int
    step: int
    reason: str
    traceback: str = ""
    """The traceback, where an exception ended the trial."""


@dataclass(frozen=True)
class Noticed:
    """Something that a person should know and that changes no result: a step far slower than
    usual.
    """

    text: str


Event = Progress | Measured | Failed | Noticed


class Worker(Protocol):
    """One device with one frozen base model and `capacity` adapter slots."""

    capacity: int
    """How many trials train at once."""

    @property
    def evaluation(self) -> dict[str, str]:
        """The parts of the evaluation fingerprint; every measurement carries their digest."""

    @property
    def active(self) -> tuple[int, ...]:
        """The numbers of the trials that hold a slot, in order of admission."""

    @property
    def overdue(self) -> bool:
        """`save` would now keep what it has not kept for `SAVE_SECONDS`, though it was called
        meanwhile: of several packs it keeps the one whose events were just handled. Never so of a
        single one, which each `save` keeps.
        """

    def measure_baseline(self) -> Measured:
        """Measure the untuned base model on the sets of the sweep (number -1, trial None, step
        0).
        """

    def admit(self, plan: TrialPlan) -> None:
        """Give the plan a slot. Raises ModelError when its targets do not fit the model."""

    def advance(self) -> tuple[Event, ...]:
        """Train all slots up to the next tick at which there is something to say, and return that; a
        single pack always has something to say while a slot is active.

        Of several packs, these are the events of the one that is next by the fleet's clock, and none
        after a second in which there are none.
        """

    def export(self, number: int, adapter_scale: float, folder: Path) -> None:
        """Write the trial's present adapter, at the given scale, as stock PEFT loads it, into
        `folder`, which may be empty or missing. Publishing it is the caller's part.
        """

    def release(self, number: int) -> None:
        """Free the slot of a trial, whether finished, pruned or failed."""

    def save(self, folder: Path) -> None:
        """Checkpoint all slots as of the same tick, atomically: adapters, optimizer, step, data
        position.
        """

    def restore(self, folder: Path, plans: dict[int, TrialPlan]) -> None:
        """Continue from a checkpoint written by `save`; `plans` are by trial number."""


MakeWorker = Callable[[SweepSpec, StudyFolder], Worker]
"""Makes a worker for the sets of a spec. It loads the model, so it is called only when something is
left to train.
"""
