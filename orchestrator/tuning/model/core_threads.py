"""One thread a core, each computing by itself: independent parts of a step or of an evaluation side
by side.

The operations of a small model are too short to be cut up: cores that share one wait for each other
at its end, and for whatever else runs on the machine, thousands of times a step. Parts that meet
once a step do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from functools import cached_property, lru_cache
from typing import TypeVar

import torch

from orchestrator.machine import shares_of

MOST_PARTS = 4
"""A step is cut into so many parts at most, each on an equal share of the cores: every part starts
the same operations, and one interpreter starts them all
(`benchmarks/levers.py --only halves,quarters,eighths`).
"""

FOUND_THREADS = torch.get_num_threads()
"""What torch takes by itself, or by its environment."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@lru_cache
def cores(device: torch.device) -> Cores:
    """The process's only ones for a device."""
    return Cores(device)


def use_cores(count: int, at_once: int = 1) -> None:
    """From here on this thread and what it starts compute one thing on `count` cores: a sum is
    rounded as it is cut up. `at_once`: so many things that are not cut up may be computed side by
    side, where that is more.
    """
    global _at_once
    torch.set_num_threads(count)
    _at_once = at_once
    cores.cache_clear()


_at_once = 1
"""What `use_cores` was last told."""


@contextmanager
def on_all_cores(device: torch.device) -> Iterator[None]:
    """Within it one thing is cut up for as many cores as whole ones are computed on: for what is
    not kept, or has the same value on any number of cores.
    """
    found = cores(device)
    if found.at_once == found.threads:
        yield
        return
    use_cores(found.at_once)
    try:
        yield
    finally:
        use_cores(found.threads, found.at_once)


class Cores:
    """On a CPU `count` parts of one thing, or `at_once` whole things; none beside the caller's on
    another device.
    """

    def __init__(self, device: torch.device) -> None:
        on_cpu = device.type == "cpu"
        self.device = device
        self.threads = torch.get_num_threads() if on_cpu else 1
        self.count = shares_of(self.threads, MOST_PARTS)
        self.at_once = max(self.threads, _at_once) if on_cpu else 1

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """`function` of each part of one thing, in order, `count` at the same time, each on an
        equal share of the cores, under the caller's grad and autocast modes; the first exception,
        if any. What the parts share they must only read.
        """
        parts = list(items)
        if self.count == 1 or len(parts) == 1:
            return [function(part) for part in parts]
        alone = max(1, self.threads // min(len(parts), self.count))
        return self._mapped(self._part_pool, function, parts, alone, lambda _: None)

    def map_whole(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        done: Callable[[Item], None] = lambda _: None,
    ) -> list[Result]:
        """As `map`, of things that are not cut up, `at_once` at the same time, each on one core: its
        sums are those of any number of cores. `done` is called in the caller's thread as each item
        ends.
        """
        whole = list(items)
        if self.at_once == 1:
            return [_report_finished(function(item), item, done) for item in whole]
        return self._mapped(self._pool, function, whole, 1, done)

    def _mapped(
        self,
        pool: ThreadPoolExecutor,
        function: Callable[[Item], Result],
        items: list[Item],
        threads: int,
        done: Callable[[Item], None],
    ) -> list[Result]:
        grad, kind = torch.is_grad_enabled(), self.device.type
        enabled, dtype = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)

        def run(item: Item) -> Result:
            torch.set_num_threads(threads)  # of this thread alone; modes are of a thread, too
            with torch.set_grad_enabled(grad), torch.autocast(kind, dtype, enabled=enabled):
                return function(item)

        running = {pool.submit(run, item): item for item in items}
        # all of them: one that goes on after another failed would compute with what is bound next
        for future in as_completed(running):
            done(running[future])
        return [future.result() for future in running]

    @cached_property
    def _part_pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.count, thread_name_prefix="part")

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.at_once, thread_name_prefix="core")


def _report_finished(result: Result, item: Item, done: Callable[[Item], None]) -> Result:
    done(item)
    return result
