"""Packs behind the one `Worker` seam: many deterministic machines whose events are dealt with in a
fixed order.

Events of all packs stand in the order of (clock, pack). The next event of a pack is known before it
happens, or at least how early it can be, so the fleet waits for the one pack that is next while the
others compute ahead. What a study asks and tells is therefore a function of its file and of how
many packs of how many slots there are, never of where they run, how fast, or which of them was
lost: a lost pack is made again from what it saved and what it was told since.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.atomic import new_folder
from orchestrator.errors import StudyError
from orchestrator.fleet.fleet_checkpoint import load_packs, save_packs
from orchestrator.fleet.hosts import Hosts, Lost, NoRoom, Remote
from orchestrator.fleet.logs import PackLogs
from orchestrator.fleet.pack_commands import Rebuilt
from orchestrator.fleet.pack_history import Pack
from orchestrator.fleet.pack_server import write_files
from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.worker_protocol import SAVE_SECONDS, Event, Measured, Noticed, Progress
from orchestrator.records.writing import safely

PATIENCE_SECONDS = 1.0
"""Between two looks at what people should see."""
MOST_LOSSES = 5
"""A pack that is lost so often without anything coming of it cannot be had here."""


class Fleet:
    """Implements `records.worker_protocol.Worker` with `packs` packs of `pack` slots."""

    def __init__(
        self,
        hosts: Hosts,
        packs: int,
        pack: int,
        logs: Path | None = None,
        save_every: float = SAVE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`logs`: the folder of a log file a pack. `save_every` in seconds of `clock`."""
        self.capacity, self._hosts, self._size = packs * pack, hosts, pack
        self._packs = [Pack(index) for index in range(packs)]
        self._of: dict[int, Pack] = {}
        """Trial -> its pack, in order of admission."""
        self._now = 0
        self._turn: int | None = None
        """The pack whose events are being dealt with."""
        self._noticed: list[Event] = []
        self._logs = PackLogs(logs)
        self._save_every, self._clock = save_every, clock

    @property
    def evaluation(self) -> dict[str, str]:
        """The parts of the evaluation fingerprint."""
        return self._hosts.evaluation

    @property
    def active(self) -> tuple[int, ...]:
        """Numbers of the trials that hold a slot, in order of admission."""
        return tuple(self._of)

    def measure_baseline(self) -> Measured:
        """Decode the sets with the untuned base model."""
        return self._hosts.measure_baseline()

    def admit(self, plan: TrialPlan) -> None:
        """Give the plan a slot of the pack with most free ones; raises ModelError when it does not
        fit the model.
        """
        pack = self._free_pack()
        self._call(pack, "admit", plan)
        if not pack.slots:
            pack.saved_at = self._clock()
        pack.admitted(plan, self._now)
        self._of[plan.number] = pack
        self._logs.write(pack.index, f"trial {plan.number} admitted")

    def _free_pack(self) -> Pack:
        """Of those that are empty or whose events are being dealt with, or else of those that a run
        found so.

        A pack that computes ahead is at no certain tick. Its free slots are free because nothing
        was left to fill them.
        """
        free = [pack for pack in self._packs if len(pack.slots) < self._size and pack.stands_still]
        first = [pack for pack in free if not pack.slots or pack.index == self._turn]
        chosen = min(first or free, key=lambda pack: (len(pack.slots), pack.index), default=None)
        assert chosen is not None, "admitted beyond the capacity"
        return chosen

    def advance(self) -> tuple[Event, ...]:
        """The events of the pack that is next; or, after a second without them, what progress there
        was.
        """
        assert self._of, "nothing to advance"
        while True:
            pack = self._next()
            self._begin(self._packs if self._hosts.ahead else [pack])
            self._gather()
            if pack.ended is not None and self._next() is pack:
                return self._deal(pack)
            progress = self._progress()
            if said := (*self._take_noticed(), *progress):
                return said
            if pack.ended is None and (pack.remote is not None or pack.waits):
                others = [other for other in self._packs if other.advancing and other is not pack]
                remotes = [each.remote for each in (pack, *others) if each.remote is not None]
                self._hosts.wait(remotes, PATIENCE_SECONDS)

    def _next(self) -> Pack:
        return min(
            (pack for pack in self._packs if pack.slots),
            key=lambda pack: (pack.next_clock, pack.index),
        )

    def _begin(self, packs: Iterable[Pack]) -> None:
        for pack in packs:
            if pack.slots and pack.stands_still:
                try:
                    state = pack.state() if pack.remote is None else None
                    pack.remote = pack.remote or self._start(pack)
                    pack.remote.begin(state)
                    pack.advancing, pack.trains = True, state is None
                except NoRoom:
                    pack.waits = True
                except Lost as lost:
                    self._lose(pack, lost)

    def _gather(self) -> None:
        """Take what has ended; a pack that was lost starts again at the next look."""
        for pack in self._packs:
            if not pack.advancing or pack.remote is None:
                continue
            try:
                advanced = pack.remote.finished()
            except Lost as lost:
                self._lose(pack, lost)
                continue
            if advanced is not None:
                self._hear(pack)
                pack.advancing = False
                pack.ended = pack.came(advanced)

    def _compare(self, pack: Pack, rebuilt: Rebuilt) -> None:
        """What was told stays, and a machine that computes otherwise is said."""
        if list(rebuilt.digests) != pack.told:
            self._say(
                pack,
                "was computed again and came out otherwise, so this machine rounds differently; what was told stays",
            )

    def _deal(self, pack: Pack) -> tuple[Event, ...]:
        events = pack.deal()
        pack.losses = 0
        self._now, self._turn = max(self._now, pack.clock), pack.index
        for event in events:
            if not isinstance(event, Noticed):
                what = f"trial {event.number} {type(event).__name__.lower()} at step {event.step}"
                self._logs.write(pack.index, what)
        return (*self._take_noticed(), *events)

    def _progress(self) -> tuple[Progress, ...]:
        """Of all packs; only for people, and for what is said when one is lost."""
        return tuple(event for pack in self._packs if pack.advancing for event in self._hear(pack))

    def _hear(self, pack: Pack) -> list[Progress]:
        progress: list[Progress] = []
        for said in pack.remote.heard() if pack.remote is not None else ():
            if isinstance(said, Rebuilt):
                self._compare(pack, said)
                pack.trains = True
            elif pack.trains and said.number in pack.slots:
                pack.heard[said.number] = said.step
                progress.append(replace(said, pack=pack.index))
        return progress

    def export(self, number: int, adapter_scale: float, folder: Path) -> None:
        """Write the trial's present adapter, at the given scale, as stock PEFT loads it, into
        `folder`, which is empty or made. To publish it is the caller's part.
        """
        files = self._call(self._of[number], "export", number, adapter_scale)
        with safely(folder, sum(map(len, files.values()))):
            write_files(files, folder)

    def release(self, number: int) -> None:
        """Free the trial's slot. A pack that is still computing ahead gives that up."""
        pack = self._of[number]
        if pack.stands_still:
            self._call(pack, "release", number)
        else:
            self._drop(pack)
            pack.ended = None
        del self._of[number]
        pack.released(number)

    def save(self, folder: Path) -> None:
        """Checkpoint all packs, atomically: those that stand still and were not saved for a while
        anew, of the others what they last saved; and of each what it was told since."""
        fresh = {pack.index: self._call(pack, "save") for pack in self._packs if self._due(pack)}
        needed = sum(len(data) for files in fresh.values() for data in files.values())
        with safely(folder, needed), new_folder(folder) as aside:
            save_packs(aside, folder, self._packs, fresh, self._clock(), self._now, self._turn)

    def _due(self, pack: Pack) -> bool:
        standing = bool(pack.slots) and pack.stands_still and pack.remote is not None
        return standing and self._clock() - pack.saved_at >= self._save_every

    def restore(self, folder: Path, plans: dict[int, TrialPlan]) -> None:
        """Continue from a checkpoint written by `save`; packs are made again when they are
        needed.
        """
        self._packs, self._now, self._turn = load_packs(folder, len(self._packs), self._clock())
        of = {number: pack for pack in self._packs for number in pack.slots}
        if set(of) != set(plans):
            raise StudyError(
                f"{folder} holds trials {sorted(of)}, the study has {sorted(plans)} in training"
            )
        self._of = {number: of[number] for number in plans}

    def close(self) -> None:
        """End whatever runs."""
        for pack in self._packs:
            self._drop(pack)
        self._hosts.close()

    def _call(self, pack: Pack, method: str, *args: object) -> Any:
        """Of a pack that stands still; made again first where it is lost, as often as that
        happens.
        """
        while True:
            try:
                if pack.remote is None:
                    state, remote = pack.state(), self._start(pack)
                    pack.remote = remote
                    if state is not None:
                        self._compare(pack, remote.call("rebuild", state))
                return pack.remote.call(method, *args)
            except NoRoom:
                self._hosts.wait([], PATIENCE_SECONDS)
            except Lost as lost:
                self._lose(pack, lost)

    def _start(self, pack: Pack) -> Remote:
        remote = self._hosts.start(pack.index)
        pack.waits = False
        self._logs.write(pack.index, f"runs in {remote.where}")
        return remote

    def _lose(self, pack: Pack, lost: Lost) -> None:
        """Forget what ran. Where the same slots had brought it down at the same step before, the
        newest trial ends.

        A worker that dies while it only repeats what was computed before, or answers a call,
        accuses no trial.
        """
        self._hear(pack)
        where = "a new process" if pack.remote is None else pack.remote.where
        twice = pack.advancing and pack.trains and pack.dies()
        if twice:
            pack.end_newest(str(lost))
        self._drop(pack)
        pack.losses += 1
        if pack.losses >= MOST_LOSSES:
            raise StudyError(
                f"pack {pack.index} was lost {pack.losses} times without anything coming of it, the last time in "
                f"{where}: {lost}\n  See {self._logs.place(pack.index)}. The same command continues the study."
            )
        self._say(
            pack, f"lost in {where} ({lost}); it continues from what was saved, to the same result"
        )

    def _drop(self, pack: Pack) -> None:
        if pack.remote is not None:
            pack.remote.close()
        pack.remote, pack.advancing, pack.trains, pack.heard = None, False, False, {}

    def _say(self, pack: Pack, text: str) -> None:
        self._noticed.append(Noticed(f"pack {pack.index} {text}"))
        self._logs.write(pack.index, text)

    def _take_noticed(self) -> tuple[Event, ...]:
        noticed, self._noticed = tuple(self._noticed), []
        return noticed
