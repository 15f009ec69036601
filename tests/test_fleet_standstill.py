"""Packs that stand still while they are spoken to or load, and runs that are to stop meanwhile."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestrator.errors import Interrupted
from orchestrator.fleet.channels import ChannelRemote
from orchestrator.fleet.fleet import Fleet
from orchestrator.fleet.hosts import InlineHosts, Lost
from orchestrator.fleet.message_chunks import Joined
from orchestrator.fleet.processes import ForkHosts, ProcessChannel, SpawnHosts
from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Event, Measured, Worker
from orchestrator.sweepfile.loading import load_spec
from orchestrator.sweepfile.sweep import SweepSpec
from tests.cli_project import make_project
from tests.fake_worker import FakeWorker
from tests.fleet_support import next_plan
from tests.run_fake import make_worker

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="packs are forked on Linux alone")
LARGE = 4_000_000
"""More bytes than the buffers between two processes hold."""


@pytest.fixture(autouse=True)
def _ends_what_it_began(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    yield
    assert processes() == []


def processes() -> list[psutil.Process]:
    """The packs of this process; multiprocessing keeps a tracker of its own beside them."""
    return [
        each
        for each in psutil.Process().children()
        if "resource_tracker" not in " ".join(each.cmdline())
    ]


def measured(fleet: Fleet) -> Measured:
    """The next evaluation."""
    while True:
        for event in fleet.advance():
            if isinstance(event, Measured):
                return event


def test_a_pack_that_stands_still_as_it_is_called_is_ended_and_made_again(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    fleet = Fleet(ForkHosts(FakeWorker(), logs, 2, standstill=0.3), 2, 2, logs, 0.0)
    fleet.admit(next_plan(0, []))
    first = measured(fleet)
    processes()[0].suspend()
    fleet.save(tmp_path / "saved")
    second = measured(fleet)
    fleet.close()
    assert (first.step, second.step) == (100, 200)
    assert "was ended); it continues" in (logs / "pack-0.log").read_text()


class Asleep(FakeWorker):
    """A worker that is never ready, so that nothing that its pack is told is read."""

    def sibling(self, cores_now: Callable[[], int] | None = None) -> FakeWorker:
        time.sleep(3600.0)
        raise AssertionError


def test_a_pack_that_takes_nothing_of_its_state_is_ended(tmp_path: Path) -> None:
    remote = ForkHosts(Asleep(), tmp_path, 2, standstill=1.0).start(0)
    with pytest.raises(Lost, match="stood still for 1 s and was ended"):
        remote.call("rebuild", b"0" * LARGE)
    remote.close()


class Heavy(FakeWorker):
    """A worker whose checkpoint is large."""

    def save(self, folder: Path) -> None:
        super().save(folder)
        (folder / "weights").write_bytes(b"0" * LARGE)


def test_a_pack_that_stands_still_within_its_answer_is_ended(tmp_path: Path) -> None:
    remote = ForkHosts(Heavy(), tmp_path, 2, standstill=1.0).start(0)
    assert isinstance(remote, ChannelRemote)
    remote.call("admit", next_plan(0, []))
    remote.ask("save")
    [pack] = processes()
    assert isinstance(remote.channel, ProcessChannel)
    assert wait([remote.channel.connection], 60.0), "it answers"
    pack.suspend()
    with pytest.raises(Lost, match="stood still for 1 s and was ended"):
        while not remote.answered():
            time.sleep(0.1)
    remote.close()


def test_a_large_state_goes_to_a_pack_and_comes_back(tmp_path: Path) -> None:
    fleet = Fleet(ForkHosts(Heavy(), tmp_path, 2), 2, 2, save_every=0.0)
    fleet.admit(next_plan(0, []))
    assert measured(fleet).step == 100
    fleet.save(tmp_path / "saved")
    assert (tmp_path / "saved" / "pack-0" / "weights").read_bytes() == b"0" * LARGE
    processes()[0].kill()
    assert measured(fleet).step == 200
    fleet.close()


@pytest.mark.parametrize("size", [10, LARGE])
def test_a_state_that_does_not_fit_the_memory_of_a_pack_is_told_as_that(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether all of it was sent by then or not: the pack has ended when its answer is read."""
    here, add = os.getpid(), Joined.add

    def full(joined: Joined, piece: bytes) -> Iterator[Any]:
        if os.getpid() != here:
            raise MemoryError("of the state")
        return add(joined, piece)

    monkeypatch.setattr(Joined, "add", full)
    remote = ForkHosts(FakeWorker(), tmp_path, 2).start(0)
    assert isinstance(remote, ChannelRemote) and isinstance(remote.channel, ProcessChannel)
    with pytest.raises(MemoryError, match="of the state"):
        remote.begin(b"0" * size)  # type: ignore[arg-type]
        remote.channel._process.join()
        remote.finished()
    remote.close()


class Unkillable:
    """A process that hangs in the kernel, where no signal reaches it."""

    killed, exitcode = False, None

    def kill(self) -> None:
        self.killed = True

    def join(self, timeout: float | None = None) -> None:
        assert timeout is not None, "waits for ever"


def test_a_process_that_cannot_be_killed_is_not_waited_for() -> None:
    """As where a pack hangs in the driver of its GPU."""
    process: Any = Unkillable()
    closed: list[bool] = []
    here, there = socket.socketpair()
    with there:
        ProcessChannel(process, here, 300.0, lambda: closed.append(True)).close()
    assert process.killed and closed == [True]


@pytest.mark.parametrize(
    ("number", "said"),
    [(signal.SIGSEGV, "SIGSEGV"), (signal.SIGRTMIN + 5, f"signal {signal.SIGRTMIN + 5}")],
)
def test_a_signal_that_ended_a_pack_is_named(number: int, said: str, tmp_path: Path) -> None:
    remote = ForkHosts(Asleep(), tmp_path, 2).start(0)
    processes()[0].send_signal(number)
    with pytest.raises(Lost) as lost:
        remote.call("describe")
    assert str(lost.value) == said
    remote.close()


class Hearing(FakeWorker):
    """A worker that hears its sets for ever."""

    def advance(self) -> tuple[Event, ...]:
        time.sleep(3600.0)
        raise AssertionError


def test_a_run_may_stop_while_its_packs_evaluate(tmp_path: Path) -> None:
    """Which takes minutes where the sets are large, and a job may have two minutes left."""
    fleet = Fleet(ForkHosts(Hearing(), tmp_path, 2, standstill=60.0), 2, 2)
    fleet.admit(next_plan(0, []))
    assert fleet.advance() == ()
    fleet.close()


def make_never(spec: SweepSpec, folder: StudyFolder) -> Worker:
    """A worker that takes for ever to load, as from a file server that does not answer."""
    (spec.project / "loads").touch()
    time.sleep(3600.0)
    raise AssertionError


def test_a_run_stops_while_a_process_loads_the_model(tmp_path: Path) -> None:
    spec = load_spec(make_project(tmp_path), ["execution.pack=2", "execution.packs=2"])

    def stop() -> None:
        if (spec.project / "loads").exists():
            raise Interrupted("asked to")

    folder = StudyFolder(tmp_path / "studies", "demo")
    hosts = SpawnHosts(make_worker(spec, folder), spec, folder, make_never, 2)
    fleet = Fleet(hosts, 2, 2, check_stop=stop)
    with pytest.raises(Interrupted):
        fleet.admit(next_plan(0, []))
    fleet.close()


def test_a_run_may_stop_while_a_pack_repeats_what_it_was_told(tmp_path: Path) -> None:
    """As after a stop, where each pack first computes again what it did since it was saved."""
    fleet = Fleet(InlineHosts(FakeWorker()), 1, 2, save_every=1e9)
    fleet.admit(next_plan(0, []))
    assert measured(fleet).step == 100
    fleet.save(tmp_path / "saved")
    again = Fleet(InlineHosts(FakeWorker()), 1, 2, save_every=1e9)
    again.restore(tmp_path / "saved", {0: next_plan(0, [])})
    assert again.advance() == ()
    assert measured(again).step == 200


class NeverRestored(FakeWorker):
    """A worker that takes for ever to become what was saved."""

    def restore(self, folder: Path, plans: dict[int, TrialPlan]) -> None:
        time.sleep(3600.0)


def test_a_run_stops_while_a_trial_waits_for_its_pack_to_be_made_again(tmp_path: Path) -> None:
    """As where a run goes on whose pack had a free slot."""
    fleet = Fleet(InlineHosts(FakeWorker()), 1, 2, save_every=0.0)
    fleet.admit(next_plan(0, []))
    assert measured(fleet).step == 100
    fleet.save(tmp_path / "saved")

    def stop() -> None:
        raise Interrupted("asked to")

    hosts = ForkHosts(NeverRestored(), tmp_path, 2, standstill=1.0)
    again = Fleet(hosts, 1, 2, check_stop=stop)
    again.restore(tmp_path / "saved", {0: next_plan(0, [])})
    with pytest.raises(Interrupted, match="asked to"):
        again.admit(next_plan(1, []))
    assert processes() == []
