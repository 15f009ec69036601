"""What the orchestrator knows of one pack: who is in it, how far, and all that would make it
again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.fleet.hosts import Remote
from orchestrator.fleet.pack_commands import ADVANCE, Advanced, PackState, events_digest
from orchestrator.fleet.pack_server import read_files
from orchestrator.planning.cost import step_cost
from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.fleet_file import Command
from orchestrator.records.worker_protocol import Event, Failed, Measured

DEATHS = 2
"""So often a pack is lost at one step where its trials are to blame."""
DEATHS_UNHEARD = 4
"""The same before its first progress; fewer than the losses that end a run."""


@dataclass(frozen=True)
class Ended:
    """Events of a pack that wait for their turn."""

    clock: int
    ticks: int
    events: tuple[Event, ...]
    told: bool = True
    """Whether the pack itself said them: then it must say them again when it is made again."""


@dataclass
class Pack:
    """One deterministic machine: `clock`, `slots` and `steps` are as at the last events that were
    dealt with.
    """

    index: int
    clock: int = 0
    """In `planning.cost.step_cost`."""
    slots: dict[int, TrialPlan] = field(default_factory=dict)
    steps: dict[int, int] = field(default_factory=dict)
    saved: Path | None = None
    saved_slots: tuple[int, ...] = ()
    saved_at: float = 0.0
    log: list[Command] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    """Digests of what came of every advance in the log."""
    plans: dict[int, TrialPlan] = field(default_factory=dict)
    """Of all trials that `saved_slots` and `log` name."""
    remote: Remote | None = None
    waits: bool = False
    """No machine had room for it when it was last asked."""
    advancing: bool = False
    trains: bool = False
    """It advances, and has become what it was: nothing is repeated any more."""
    ended: Ended | None = None
    heard: dict[int, int] = field(default_factory=dict)
    """Trial -> the step it has reached in the present advance, as far as that is known."""
    died: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    """Slots and steps at which it was lost while it trained, if it has not come further since."""
    deaths: int = 0
    """How often it was lost there."""
    losses: int = 0
    """How often it was lost since something last came of it."""

    @property
    def stands_still(self) -> bool:
        """It is as at the last events that were dealt with."""
        return not self.advancing and self.ended is None

    @property
    def next_clock(self) -> int:
        """Of its next event; while it trains, the earliest that it can be."""
        if self.ended is not None:
            return self.ended.clock
        return self.clock + self.ticks_to_rung * self.tick_cost

    @property
    def ticks_to_rung(self) -> int:
        """Optimizer steps to the next rung of any slot."""
        return min(
            min(rung for rung in plan.rungs if rung > self.steps[number]) - self.steps[number]
            for number, plan in self.slots.items()
        )

    @property
    def tick_cost(self) -> int:
        """Of one step of every slot."""
        return sum(map(step_cost, self.slots.values()))

    def state(self) -> PackState | None:
        """All that makes it again; None where a new one is the same."""
        if self.saved is None and not self.log:
            return None
        saved = None if self.saved is None else read_files(self.saved)
        return PackState(saved, self.saved_slots, tuple(self.log), self.plans)

    def admitted(self, plan: TrialPlan, now: int) -> None:
        """A trial took a slot; a pack that was empty begins at the clock of what is being dealt
        with.
        """
        if not self.slots:
            self.clock = max(self.clock, now)
        self.slots[plan.number] = self.plans[plan.number] = plan
        self.steps[plan.number] = 0
        self.log.append(("admit", plan.number))

    def released(self, number: int) -> None:
        """A slot is free. A pack that is empty is as good as a new one."""
        del self.slots[number], self.steps[number]
        self.log.append(("release", number))
        if not self.slots:
            self.forget()

    def forget(self) -> None:
        """Nothing of the past is needed any more."""
        self.saved, self.saved_slots, self.log, self.told, self.plans = None, (), [], [], {}

    def was_saved(self, place: Path, at: float) -> None:
        """What it is stands in this folder; what it was told before is not needed any more."""
        self.saved, self.saved_slots, self.saved_at = place, tuple(self.slots), at
        self.log, self.told, self.plans = [], [], dict(self.slots)

    def came(self, advanced: Advanced) -> Ended:
        """What it said, at the clock where it belongs."""
        measured = [event for event in advanced.events if isinstance(event, Measured)]
        # where all of them failed, at the rung that would have been next
        ticks = (
            measured[0].step - self.steps[measured[0].number] if measured else self.ticks_to_rung
        )
        return Ended(self.clock + ticks * self.tick_cost, ticks, advanced.events)

    def dies(self) -> bool:
        """It was lost as it trained: whether the same slots have brought it down at the same step
        before, so that they are to blame.

        Before its first progress nobody knows at which step it was lost: it takes more than two
        losses there to tell a trial that kills from one that was killed by somebody else.
        """
        reached = tuple(self.heard.get(number, step) for number, step in self.steps.items())
        place = (tuple(self.steps), reached)
        self.deaths = self.deaths + 1 if place == self.died else 1
        self.died = place
        return self.deaths >= (DEATHS if self.heard else DEATHS_UNHEARD)

    def end_newest(self, cause: str) -> None:
        """The trial that came last is told to have failed."""
        number, step = list(self.steps.items())[-1]
        step = self.heard.get(number, step)
        times = "twice" if self.deaths == DEATHS else f"{self.deaths} times"
        reason = f"its worker died {times} at step {step}: {cause}"
        self.ended, self.died = (
            Ended(self.clock, 0, (Failed(number, step, reason),), told=False),
            None,
        )

    def deal(self) -> tuple[Event, ...]:
        """Its events, which are dealt with from here on."""
        ended = self.ended
        assert ended is not None
        self.ended, self.heard = None, {}
        if ended.told:
            self.clock, self.died = ended.clock, None
            self.steps = {number: step + ended.ticks for number, step in self.steps.items()}
            self.log.append(ADVANCE)
            self.told.append(events_digest(ended.events))
        return ended.events
