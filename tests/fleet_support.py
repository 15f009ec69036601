"""Packs on threads, which are slow at random and get lost at the calls that a test names; sweeps on
them, and the contents of the studies as bytes.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from orchestrator.fleet.fleet import Fleet
from orchestrator.fleet.hosts import Hosts, Lost, Remote
from orchestrator.fleet.pack_commands import Advanced, PackState, Rebuilt, events_digest
from orchestrator.fleet.pack_server import PackServer
from orchestrator.planning.trial_plan import TrialPlan, trial_plan
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Failed, Measured, Noticed, Progress, Worker
from orchestrator.running.sweep_loop import run_sweep
from orchestrator.search.study import Study
from orchestrator.sweepfile.digest import derived_seed, digest
from orchestrator.sweepfile.search_space import Dimension
from orchestrator.sweepfile.sweep import SweepSpec
from tests.fake_worker import FakeWorker
from tests.running_support import RESAMPLES, make_spec

SEARCHED = (
    Dimension(name="learning_rate", choices=(1e-3, 0.6)),
    Dimension(name="rank", low=4, high=32, log=True),
    Dimension(name="max_steps", choices=(200, 300, 400, 500)),
)
UNEQUAL = ("study.db", "study.lock", "notes.md", "clock.json")
"""Files that are not compared, since they say when and where a study ran or are no text. What the
database holds is compared by `history`.
"""


class ThreadHosts:
    """Hosts whose packs advance on `threads` threads. A call whose number is in `kills` loses its
    pack, before or after the call has had its effect.
    """

    ahead = True

    def __init__(
        self, template: FakeWorker, threads: int, kills: Sequence[int] = (), seed: int = 0
    ) -> None:
        self.template, self.kills = template, set(kills)
        self.pool = ThreadPoolExecutor(threads)
        self.random = random.Random(seed)
        self.calls = 0
        self.when = ""
        """When a call loses its pack, "before" or "after"; where this is empty, by turns."""
        self.with_machine = False
        """A lost pack's machine is gone, and not its process alone."""
        self.changed = threading.Condition()
        """Notified when a pack has something to say."""

    @property
    def evaluation(self) -> dict[str, str]:
        return self.template.evaluation

    def measure_baseline(self) -> Measured:
        return self.template.measure_baseline()

    def start(self, index: int) -> Remote:
        return ThreadRemote(self)

    def wait(self, remotes: Sequence[Remote], seconds: float) -> None:
        with self.changed:
            if not any(remote.ready for remote in remotes if isinstance(remote, ThreadRemote)):
                self.changed.wait(seconds)

    def close(self) -> None:
        """Do nothing: a thread cannot be killed."""

    def counted(self) -> str:
        """Count a call, and return when it loses its pack: "before", "after" or "never"."""
        self.calls += 1
        return (
            "never"
            if self.calls not in self.kills
            else self.when or ("before", "after")[self.calls % 2]
        )


class ThreadRemote:
    """One pack; once it is lost, `call` and `finished` raise Lost."""

    where = "a thread"

    def __init__(self, hosts: ThreadHosts) -> None:
        self.hosts = hosts
        self.server = PackServer(hosts.template.sibling())
        self.said: list[Progress | Rebuilt] = []
        self.end: Advanced | None = None
        self.lost = False

    @property
    def ready(self) -> bool:
        return self.lost or self.end is not None or bool(self.said)

    def call(
        self, method: str, *args: object, check_stop: Callable[[], None] = lambda: None
    ) -> Any:
        when = self.hosts.counted()
        if when == "before":
            raise Lost("killed before", with_machine=self.hosts.with_machine)
        answer = getattr(self.server, method)(*args)
        if when == "after":
            raise Lost("killed after", with_machine=self.hosts.with_machine)
        return answer

    def begin(self, state: PackState | None) -> None:
        self.end = None
        when = self.hosts.counted()
        delay = self.hosts.random.random() / 500
        self.hosts.pool.submit(self._advance, state, when, delay)

    def _advance(self, state: PackState | None, when: str, delay: float) -> None:
        time.sleep(delay)
        if when != "before":
            for said in self.server.advance(state):
                if isinstance(said, Progress | Rebuilt):
                    self.said.append(said)
                elif when == "never":
                    self.end = said
        self.lost = when != "never"
        with self.hosts.changed:
            self.hosts.changed.notify_all()

    def heard(self) -> tuple[Progress | Rebuilt, ...]:
        heard = tuple(self.said)
        del self.said[: len(heard)]
        return heard

    def finished(self) -> Advanced | None:
        if self.lost:
            raise Lost("killed in training", with_machine=self.hosts.with_machine)
        return self.end

    def close(self) -> None:
        """Do nothing: a thread cannot be killed. Nobody asks any more for what it says."""


def run_fleet(
    spec: SweepSpec,
    root: Path,
    hosts: Hosts,
    packs: int,
    pack: int = 2,
    save_every: float = 0.0,
    wrap: Callable[[Fleet], Any] = lambda fleet: fleet,
    clock: Callable[[], float] = lambda: 0.0,
    checkpoint_every: float = 0.0,
) -> Fleet:
    """Run a sweep on a fleet of `packs` packs of `pack` slots, as the command does; return the
    fleet. `wrap` may put something between the sweep and the fleet. `save_every` and
    `checkpoint_every`, those of the fleet and of the sweep, are in seconds of `clock`.
    """
    folder = StudyFolder(root, spec.name)
    fleet = Fleet(hosts, packs, pack, folder.logs, save_every, clock)
    with folder.lock():
        study = Study.open(folder.database, spec)
        try:
            run_sweep(
                spec,
                folder,
                wrap(fleet),
                study,
                clock=clock,
                resamples=RESAMPLES,
                save_every=checkpoint_every,
            )
        finally:
            study.close()
            fleet.close()
    return fleet


def study_bytes(root: Path) -> dict[str, bytes]:
    """Return the contents of all files that say what came of the study below `root`, by name."""
    apart = ("checkpoint", "logs", "cache")
    files = {
        path.relative_to(root / "s"): path
        for path in sorted((root / "s").rglob("*"))
        if path.is_file()
    }
    return {
        str(name): path.read_bytes()
        for name, path in files.items()
        if name.parts[0] not in apart and name.name not in UNEQUAL
    }


def drive(worker: Worker, trials: int, between: Callable[[], None] = lambda: None) -> list[str]:
    """Drive a worker like a small search, in which each plan depends on all that happened before.
    Returns what happened, in order.

    `between` is called after the events of each advance, where a sweep writes its checkpoint.
    """
    history: list[str] = []
    asked = 0
    while True:
        while len(worker.active) < worker.capacity and asked < trials:
            worker.admit(next_plan(asked, history))
            history.append(f"admitted {asked}")
            asked += 1
        if not worker.active:
            return history
        for event in worker.advance():
            if isinstance(event, Progress | Noticed):
                continue
            kind = type(event).__name__
            history.append(f"{kind} {event.number} at {event.step}: {_said(event)}")
            stops = derived_seed("stop", digest(history)) % 4 == 0
            if isinstance(event, Failed) or event.final or stops:
                worker.release(event.number)
                history.append(f"released {event.number}")
        between()


def _said(event: Measured | Failed) -> str:
    return event.reason if isinstance(event, Failed) else events_digest([event])


def next_plan(number: int, history: list[str]) -> TrialPlan:
    """Return a plan that depends on the history: of 200 to 500 steps, for the decoder or the whole
    model; every fifth one fails (the fake worker's loss is not finite at its learning rate).
    """
    at = derived_seed("ask", number, digest(history))
    params = {
        "learning_rate": 0.6 if number % 5 == 3 else 1e-3,
        "rank": 4 + at % 5,
        "max_steps": 200 + 100 * (at // 7 % 4),
    }
    plan = trial_plan(make_spec(searched=SEARCHED), number, params)
    patterns = ("decoder.*.q_proj",) if at // 3 % 2 else ("q_proj",)
    return plan.model_copy(
        update={"params": plan.params.model_copy(update={"target_patterns": patterns})}
    )
