"""What the orchestrator knows of one pack: which trials are in it, how far they are, and all that
is needed to make it again.
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
"""A pack that is lost this often at one step is lost because of its trials."""
DEATHS_UNSURE = 4
"""The same limit for losses before the first progress, and for those of whole machines; below
`fleet.MOST_LOSSES`, which end a run.
"""


@dataclass(frozen=True)
class Ended:
    """Events of a pack that wait for their turn."""

    clock: int
    """The pack's clock at these events."""
    ticks: int
    """How many optimizer steps the advance took."""
    events: tuple[Event, ...]
    told: bool = True
    """The pack itself reported them, and so must report them again when it is rebuilt. False for a
    failure that the orchestrator made up.
    """


@dataclass
class Pack:
    """One pack as a deterministic machine. `clock`, `slots` and `steps` are as they were at the
    last events that were handled.
    """

    index: int
    clock: int = 0
    """Work done so far, in units of `planning.cost.step_cost`."""
    slots: dict[int, TrialPlan] = field(default_factory=dict)
    """Trial -> plan, in order of admission."""
    steps: dict[int, int] = field(default_factory=dict)
    """Trial -> optimizer step, in order of admission."""
    saved: Path | None = None
    """The folder of its last checkpoint; None where it was never saved."""
    saved_slots: tuple[int, ...] = ()
    """Trials that held a slot when it was saved."""
    saved_at: float = 0.0
    """Clock reading of the last checkpoint, or of the first admission."""
    log: list[Command] = field(default_factory=list)
    """The commands since the last checkpoint."""
    told: list[str] = field(default_factory=list)
    """One digest of events for each advance in the log."""
    plans: dict[int, TrialPlan] = field(default_factory=dict)
    """The plans of all trials that `saved_slots` and `log` name."""
    remote: Remote | None = None
    """Where it runs; None where it does not."""
    waits: bool = False
    """It could not be had when it was last asked for: no machine had room, or it still loads."""
    advancing: bool = False
    trains: bool = False
    """It is advancing and repeats nothing any more: everything from here on is new."""
    ended: Ended | None = None
    """Events that have come and were not handled yet."""
    heard: dict[int, int] = field(default_factory=dict)
    """Trial -> the step that it has reached in the present advance, as far as known."""
    died: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    """Trials and steps at which it was lost while it trained, if it has not come further since."""
    deaths: int = 0
    """How often it was lost at that point."""
    crashes: int = 0
    """How many of these were its process alone, on a machine that went on."""
    losses: int = 0
    """How often it was lost since its events were last handled."""

    @property
    def stands_still(self) -> bool:
        """Its state is exactly that at the last events that were handled."""
        return not self.advancing and self.ended is None

    @property
    def next_clock(self) -> int:
        """The clock of its next event; while it trains, the earliest that this can have."""
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
        """Cost of one optimizer step in every slot."""
        return sum(map(step_cost, self.slots.values()))

    def state(self) -> PackState | None:
        """Return all that is needed to make it again; None where a new pack is the same."""
        if self.saved is None and not self.log:
            return None
        saved = None if self.saved is None else read_files(self.saved)
        return PackState(saved, self.saved_slots, tuple(self.log), self.plans)

    def admitted(self, plan: TrialPlan, now: int) -> None:
        """Record that a trial took a slot. An empty pack continues at the fleet's clock `now`."""
        if not self.slots:
            self.clock = max(self.clock, now)
        self.slots[plan.number] = self.plans[plan.number] = plan
        self.steps[plan.number] = 0
        self.log.append(("admit", plan.number))

    def released(self, number: int) -> None:
        """Record that a slot is free. An empty pack is as good as a new one."""
        del self.slots[number], self.steps[number]
        self.log.append(("release", number))
        if not self.slots:
            self.forget()

    def forget(self) -> None:
        """Drop the checkpoint and the log, as nothing of the past is needed any more."""
        self.saved, self.saved_slots, self.log, self.told, self.plans = None, (), [], [], {}

    def was_saved(self, place: Path, at: float) -> None:
        """Record that its state is saved in this folder; what it was told before is not needed any
        more.
        """
        self.saved, self.saved_slots, self.saved_at = place, tuple(self.slots), at
        self.log, self.told, self.plans = [], [], dict(self.slots)

    def came(self, advanced: Advanced) -> Ended:
        """Return the events of an advance with the clock at which they belong."""
        measured = [event for event in advanced.events if isinstance(event, Measured)]
        # where all trials failed, the events belong at the rung that would have been next
        ticks = (
            measured[0].step - self.steps[measured[0].number] if measured else self.ticks_to_rung
        )
        return Ended(self.clock + ticks * self.tick_cost, ticks, advanced.events)

    def dies(self, *, with_machine: bool = False) -> bool:
        """Count a loss while it trained, and say whether its trials are to blame: the same slots
        were lost at the same step often enough.

        Before the first progress nobody knows at which step it was lost, and a machine may be
        preempted twice at one step. So it takes more losses of these kinds to tell a trial that
        kills its process, or the machine below it, from what is no fault of the trial.
        """
        reached = tuple(self.heard.get(number, step) for number, step in self.steps.items())
        place = (tuple(self.steps), reached)
        if place != self.died:
            self.died, self.deaths, self.crashes = place, 0, 0
        self.deaths += 1
        self.crashes += not with_machine
        return self.deaths >= DEATHS_UNSURE or (bool(self.heard) and self.crashes >= DEATHS)

    def end_newest(self, cause: str) -> None:
        """Let the trial that was admitted last fail."""
        number, step = list(self.steps.items())[-1]
        step = self.heard.get(number, step)
        times = "twice" if self.deaths == DEATHS else f"{self.deaths} times"
        reason = f"its worker died {times} at step {step}: {cause}"
        self.ended, self.died = (
            Ended(self.clock, 0, (Failed(number, step, reason),), told=False),
            None,
        )

    def deal(self) -> tuple[Event, ...]:
        """Return its waiting events and move the pack to them."""
        ended = self.ended
        assert ended is not None
        self.ended, self.heard = None, {}
        if ended.told:
            self.clock, self.died = ended.clock, None
            self.steps = {number: step + ended.ticks for number, step in self.steps.items()}
            self.log.append(ADVANCE)
            self.told.append(events_digest(ended.events))
        return ended.events
