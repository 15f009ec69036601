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

Item = TypeVar("Item")
Result = TypeVar("Result")


@lru_cache
def cores(device: torch.device) -> Cores:
    """The process's only ones for a device."""
    return Cores(device)


def use_cores(count: int) -> None:
    """From here on this thread and what it starts compute in so many parts: a sum is rounded as it
    is cut up.
    """
    torch.set_num_threads(count)
    cores.cache_clear()


class Cores:
    """`count` threads on a CPU, none beside the caller's on another device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.count = torch.get_num_threads() if device.type == "cpu" else 1

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
        if self.count == 1 or len(work) == 1:
            return [_report_finished(function(item), item, done) for item in work]
        grad, kind = torch.is_grad_enabled(), self.device.type
        enabled, dtype = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
        alone = max(1, self.count // len(work))

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
        return ThreadPoolExecutor(self.count, thread_name_prefix="core")


def _report_finished(result: Result, item: Item, done: Callable[[Item], None]) -> Result:
    done(item)
    return result
