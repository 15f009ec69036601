"""One thread a core, each computing by itself: independent parts of a step or of an evaluation side
by side.

The operations of a small model are too short to be cut up: cores that share one wait for each other
at its end, and for whatever else runs on the machine, thousands of times a step. Parts that meet
once a step do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import cached_property, lru_cache
from typing import TypeVar

import torch

MOST_PARTS = 4
"""A step is cut into so many parts at most, each on an equal share of the cores: every part starts
the same operations, and one interpreter starts them all (`benchmarks/levers.py --only halves,eighths`)."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@lru_cache
def cores(device: torch.device) -> Cores:
    """The process's only ones for a device."""
    return Cores(device)


def use_cores(count: int, at_once: int = 1) -> None:
    """From here on this thread and what it starts compute in `count` parts: a sum is rounded as it
    is cut up. `at_once`: so many things that are not cut up may be computed side by side, where
    that is more.
    """
    global _at_once
    torch.set_num_threads(count)
    _at_once = at_once
    cores.cache_clear()


_at_once = 1
"""What `use_cores` was last told."""


class Cores:
    """`count` parts of one thing on a CPU, `at_once` threads for whole ones; none beside the
    caller's on another device.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._threads = torch.get_num_threads() if device.type == "cpu" else 1
        self.count = min(self._threads, MOST_PARTS)
        self.at_once = max(self.count, _at_once) if device.type == "cpu" else 1

    def map(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        done: Callable[[Item], None] = lambda _: None,
    ) -> list[Result]:
        """`function` of each item, in order, under the caller's grad and autocast modes; the first
        exception, if any.

        What the items share they must only read. `done` is called in the caller's thread as each
        item ends.
        """
        work = list(items)
        if self.at_once == 1 or len(work) == 1:
            return [_report_finished(function(item), item, done) for item in work]
        grad, kind = torch.is_grad_enabled(), self.device.type
        enabled, dtype = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
        alone = max(1, self._threads // len(work))

        def run_part(item: Item) -> Result:
            torch.set_num_threads(alone)  # of this thread alone; modes are of a thread, too
            with torch.set_grad_enabled(grad), torch.autocast(kind, dtype, enabled=enabled):
                return function(item)

        running = {self._thread_pool.submit(run_part, item): item for item in work}
        # all of them: one that goes on after another failed would compute with what is bound next
        for future in as_completed(running):
            done(running[future])
        return [future.result() for future in running]

    @cached_property
    def _thread_pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.at_once, thread_name_prefix="core")


def _report_finished(result: Result, item: Item, done: Callable[[Item], None]) -> Result:
    done(item)
    return result
