"""Several packs behind the one `Worker` interface: deterministic machines whose events are handled
in a fixed order.

The events of all packs are ordered by (clock, pack). A pack's clock counts work, not time, so the
next event of a pack, or at least the earliest clock it can have, is known before it happens. The
fleet therefore waits for the one pack that is next, while the others compute ahead. What a study
asks and tells is thus a function of its file and of how many packs of how many slots there are;
never of where they run, how fast, or which of them was lost. A lost pack is made again from what it
saved and what it was told since.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.errors import StudyError
from orchestrator.files.atomic import new_folder
from orchestrator.fleet.fleet_checkpoint import load_packs, save_packs
from orchestrator.fleet.hosts import Hosts, Lost, NoRoom, Remote
from orchestrator.fleet.logs import PackLogs
from orchestrator.fleet.pack_commands import PackState, Rebuilt
from orchestrator.fleet.pack_history import Pack
from orchestrator.fleet.pack_server import write_files
from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.worker_protocol import SAVE_SECONDS, Event, Measured, Noticed, Progress
from orchestrator.records.writing import safely

PATIENCE_SECONDS = 1.0
"""How long to wait for an event before looking for progress to show to people."""
MOST_LOSSES = 5
"""A pack that is lost this often in a row, without one event in between, ends the run."""


class Fleet:
    """Implements `records.worker_protocol.Worker` with `packs` packs of `pack` slots each."""

    def __init__(
        self,
        hosts: Hosts,
        packs: int,
        pack: int,
        logs: Path | None = None,
        save_every: float = SAVE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        check_stop: Callable[[], None] = lambda: None,
    ) -> None:
        """`logs` is the folder for one log file per pack. `save_every` is in seconds of `clock`.
        `check_stop` is called while a call waits for a machine or for a pack that is made again,
        and raises where the run is to stop.
        """
        self.capacity, self._hosts, self._size = packs * pack, hosts, pack
        self._packs = [Pack(index) for index in range(packs)]
        self._of: dict[int, Pack] = {}
        """Trial -> its pack, in order of admission."""
        self._now = 0
        """The largest clock of any event handled so far."""
        self._turn: int | None = None
        """Index of the pack whose events are being handled."""
        self._noticed: list[Event] = []
        """Notices of the fleet itself that `advance` has still to return."""
        self._logs = PackLogs(logs)
        self._save_every, self._clock, self._check_stop = save_every, clock, check_stop

    @property
    def evaluation(self) -> dict[str, str]:
        """The parts of the evaluation fingerprint."""
        return self._hosts.evaluation

    @property
    def active(self) -> tuple[int, ...]:
        """Numbers of the trials that hold a slot, in order of admission."""
        return tuple(self._of)

    @property
    def overdue(self) -> bool:
        """The pack whose events are being handled was not saved for `save_every` seconds. Where the
        packs come to their events together, the first of them would else be the only one that is.
        """
        return self._turn is not None and self._due(self._packs[self._turn])

    def measure_baseline(self) -> Measured:
        """Decode the sets with the untuned base model."""
        return self._hosts.measure_baseline()

    def admit(self, plan: TrialPlan) -> None:
        """Give the plan a slot in the pack that has most of them free. Raises ModelError when the
        plan does not fit the model.
        """
        pack = self._free_pack()
        self._call(pack, "admit", plan)
        if not pack.slots:
            pack.saved_at = self._clock()
        pack.admitted(plan, self._now)
        self._of[plan.number] = pack
        self._logs.write(pack.index, f"trial {plan.number} admitted")

    def _free_pack(self) -> Pack:
        """Return the pack for a new trial: the one with fewest trials among packs that are empty or
        whose turn it is; else, as when a run begins, among all that stand still.

        A pack that computes ahead is at no certain tick, so it takes no trial. If it has free
        slots, nothing was left to fill them with.
        """
        free = [pack for pack in self._packs if len(pack.slots) < self._size and pack.stands_still]
        first = [pack for pack in free if not pack.slots or pack.index == self._turn]
        chosen = min(first or free, key=lambda pack: (len(pack.slots), pack.index), default=None)
        assert chosen is not None, "admitted beyond the capacity"
        return chosen

    def advance(self) -> tuple[Event, ...]:
        """Return the events of the pack that is next, or the progress that there was; after a second
        without any, nothing. An evaluation may take minutes, and a machine come after hours, and
        meanwhile the caller may be asked to stop.
        """
        assert self._of, "nothing to advance"
        waited = False
        while True:
            pack = self._next()
            self._begin(self._packs if self._hosts.ahead else [pack])
            self._gather()
            if pack.ended is not None and self._next() is pack:
                return self._deal(pack)
            progress = self._progress()
            said = (*self._take_noticed(), *progress)
            if said or waited:
                return said
            if pack.ended is None and (pack.remote is not None or pack.waits):
                others = [other for other in self._packs if other.advancing and other is not pack]
                remotes = [each.remote for each in (pack, *others) if each.remote is not None]
                self._hosts.wait(remotes, PATIENCE_SECONDS)
                waited = True

    def _next(self) -> Pack:
        """Return the pack whose next event comes first; a pack still training counts with the
        earliest clock possible.
        """
        return min(
            (pack for pack in self._packs if pack.slots),
            key=lambda pack: (pack.next_clock, pack.index),
        )

    def _begin(self, packs: Iterable[Pack]) -> None:
        """Start the packs that stand still and have trials, and make lost ones again first."""
        for pack in packs:
            if pack.slots and pack.stands_still:
                try:
                    made_anew = pack.remote is None
                    pack.remote = pack.remote or self._start(pack)
                    # read only once there is room: a pack may wait for it for hours
                    state = pack.state() if made_anew else None
                    pack.remote.begin(state)
                    pack.advancing, pack.trains = True, state is None
                except NoRoom:
                    pack.waits = True
                except Lost as lost:
                    self._lose(pack, lost)

    def _gather(self) -> None:
        """Collect the events of packs that have finished advancing. A pack that was lost starts
        again in the next round.
        """
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
        """Notice when a rebuilt pack came to other events than it had reported. What was reported
        stays.
        """
        if list(rebuilt.digests) != pack.told:
            self._say(
                pack,
                "was computed again and came out otherwise, so this machine rounds differently; what was told stays",
            )

    def _deal(self, pack: Pack) -> tuple[Event, ...]:
        """Return a pack's events to be handled now, and move the fleet's clock to them."""
        events = pack.deal()
        pack.losses = 0
        self._now, self._turn = max(self._now, pack.clock), pack.index
        for event in events:
            if not isinstance(event, Noticed):
                what = f"trial {event.number} {type(event).__name__.lower()} at step {event.step}"
                self._logs.write(pack.index, what)
        return (*self._take_noticed(), *events)

    def _progress(self) -> tuple[Progress, ...]:
        """Return the progress of all packs. It is only for people, and to know at which step a pack
        was lost.
        """
        return tuple(event for pack in self._packs if pack.advancing for event in self._hear(pack))

    def _hear(self, pack: Pack) -> list[Progress]:
        """Take what a pack said on the way: note the step of each trial and return its progress.
        While a pack is being rebuilt, its progress repeats earlier steps and is left out.
        """
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
        `folder`, which may be empty or missing. Publishing it is the caller's part.
        """
        files = self._call(self._of[number], "export", number, adapter_scale)
        with safely(folder, sum(map(len, files.values()))):
            write_files(files, folder)

    def release(self, number: int) -> None:
        """Free the trial's slot. A pack that is computing ahead drops what it has computed since
        its last handled events. One that runs nowhere is not made again for this, which may take
        hours; it frees the slot when it is.
        """
        pack = self._of[number]
        if not pack.stands_still:
            self._drop(pack)
            pack.ended = None
        elif pack.remote is not None:
            self._call(pack, "release", number)
        del self._of[number]
        pack.released(number)

    def save(self, folder: Path) -> None:
        """Checkpoint all packs, atomically. Packs that stand still and were not saved for a while
        are saved now; for the others, what they last saved is kept; and for each, what it was told
        since.
        """
        fresh = {pack.index: self._call(pack, "save") for pack in self._packs if self._due(pack)}
        needed = sum(len(data) for files in fresh.values() for data in files.values())
        with safely(folder, needed), new_folder(folder) as aside:
            save_packs(aside, folder, self._packs, fresh, self._clock(), self._now, self._turn)

    def _due(self, pack: Pack) -> bool:
        """Say whether a pack can be saved now and was not for `save_every` seconds."""
        standing = bool(pack.slots) and pack.stands_still and pack.remote is not None
        return standing and self._clock() - pack.saved_at >= self._save_every

    def restore(self, folder: Path, plans: dict[int, TrialPlan]) -> None:
        """Continue from a checkpoint written by `save`; the packs are made again when they are
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
        """End all packs and whatever else the hosts run."""
        for pack in self._packs:
            self._drop(pack)
        self._hosts.close()

    def _call(self, pack: Pack, method: str, *args: object) -> Any:
        """Call a method of a pack that stands still, making the pack again first if it is lost, as
        often as that happens.
        """
        while True:
            try:
                if pack.remote is None:
                    state, remote = pack.state(), self._start(pack)
                    pack.remote = remote
                    if state is not None:
                        self._compare(pack, self._rebuilt(pack, remote, state))
                return pack.remote.call(method, *args)
            except NoRoom:
                self._check_stop()
                self._hosts.wait([], PATIENCE_SECONDS)
            except Lost as lost:
                self._lose(pack, lost)

    def _rebuilt(self, pack: Pack, remote: Remote, state: PackState) -> Rebuilt:
        """Make a new pack what the state describes, which may take minutes. A run that is to stop
        does not wait for that.
        """
        try:
            rebuilt: Rebuilt = remote.call("rebuild", state, check_stop=self._check_stop)
        except Lost:
            raise
        except BaseException:
            self._drop(pack)
            raise
        return rebuilt

    def _start(self, pack: Pack) -> Remote:
        remote = self._hosts.start(pack.index)
        pack.waits = False
        self._logs.write(pack.index, f"runs in {remote.where}")
        return remote

    def _lose(self, pack: Pack, lost: Lost) -> None:
        """Drop what is left of a lost pack. If the same trials were lost at the same step often
        enough, the newest of them ends as failed.

        A pack that is lost while it only repeats what was computed before, or while it answers a
        call, gives no reason to blame a trial. Raises StudyError after `MOST_LOSSES` in a row.
        """
        self._hear(pack)
        where = "a new process" if pack.remote is None else pack.remote.where
        trained = pack.advancing and pack.trains
        if trained and pack.dies(with_machine=lost.with_machine):
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
        """End a pack's process and forget how far it was."""
        if pack.remote is not None:
            pack.remote.close()
        pack.remote, pack.advancing, pack.trains, pack.heard = None, False, False, {}

    def _say(self, pack: Pack, text: str) -> None:
        """Tell a person, and the pack's log, about a pack."""
        self._noticed.append(Noticed(f"pack {pack.index} {text}"))
        self._logs.write(pack.index, text)

    def _take_noticed(self) -> tuple[Event, ...]:
        noticed, self._noticed = tuple(self._noticed), []
        return noticed
