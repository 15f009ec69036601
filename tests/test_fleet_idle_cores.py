"""Packs that compute use the cores of those that wait."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.fleet.child import MarkedMessages
from orchestrator.fleet.idle_cores import ComputingPacks
from orchestrator.fleet.processes import ForkHosts
from orchestrator.records.worker_protocol import Event
from tests.fake_worker import FakeWorker
from tests.fleet_support import next_plan


@pytest.mark.parametrize(
    ("cores", "computing", "each"),
    [(2, [0, 1], 1), (2, [1], 2), (8, [0, 2, 5], 2), (8, [3], 8), (2, [0, 1, 2], 1), (1, [0], 1)],
)
def test_the_cores_are_shared_among_those_that_compute(
    cores: int, computing: list[int], each: int
) -> None:
    packs = ComputingPacks(cores)
    for index in computing:
        packs.mark(index, True)
    assert packs.cores_of_each() == each
    for index in computing[1:]:
        packs.mark(index, False)
    assert packs.cores_of_each() == cores


def test_a_forked_pack_is_seen_by_the_others() -> None:
    packs = ComputingPacks(2)
    packs.mark(0, True)
    if (child := os.fork()) == 0:
        packs.mark(1, True)
        os._exit(0)
    os.waitpid(child, 0)
    assert packs.cores_of_each() == 1


SEEN = mmap.mmap(-1, 1)
"""How many cores a busy pack was last told that it may use."""


class Busy(FakeWorker):
    """A worker that never comes to a tick, and notes how many cores it may use."""

    cores_now: Callable[[], int]

    def sibling(self, cores_now: Callable[[], int] | None = None) -> FakeWorker:
        assert cores_now is not None
        made = Busy(self.capacity)
        made.cores_now = cores_now
        return made

    def advance(self) -> tuple[Event, ...]:
        while True:
            SEEN[0] = self.cores_now()
            time.sleep(0.01)


def wait_for(cores: int) -> None:
    """Wait until that many were seen, for as long as a busy machine may need."""
    until = time.monotonic() + 30
    while SEEN[0] != cores:
        assert time.monotonic() < until, f"{SEEN[0]} cores, not {cores}"
        time.sleep(0.01)


def test_the_cores_of_a_pack_whose_process_is_ended_are_free(tmp_path: Path) -> None:
    hosts = ForkHosts(Busy(), tmp_path, cores=6)
    remotes = [hosts.start(index) for index in range(2)]
    for number, (remote, cores) in enumerate(zip(remotes, (6, 3), strict=True)):
        remote.call("admit", next_plan(number, []))
        remote.begin(None)
        wait_for(cores)
    remotes[0].close()
    wait_for(6)
    remotes[1].close()


class Calls:
    """Messages that note, at each call that is taken or answered, what the others may use."""

    def __init__(self, packs: ComputingPacks) -> None:
        self.packs, self.left = packs, ["advance", "save"]
        self.seen: list[int] = []

    def recv(self) -> Any:
        self.seen.append(self.packs.cores_of_each())
        if not self.left:
            raise EOFError
        return self.left.pop(0)

    def send(self, message: Any) -> None:
        self.seen.append(self.packs.cores_of_each())


def test_a_pack_computes_from_a_call_until_it_waits_for_the_next() -> None:
    packs = ComputingPacks(4)
    packs.mark(0, True)
    calls = Calls(packs)
    marked = MarkedMessages(calls, packs, 1)
    for _ in range(2):
        marked.send(marked.recv())
    with pytest.raises(EOFError):
        marked.recv()
    assert calls.seen == [4, 2, 4, 2, 4]
