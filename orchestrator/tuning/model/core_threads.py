"""Threads that compute independent parts of a training step, or independent batches of an
evaluation, at the same time on a CPU.

The operations of a small model are too short to be divided among cores: cores that share one
operation wait for each other at its end, and for whatever else runs on the machine, thousands of
times a step. Threads that each compute a part of the utterances wait for each other once a step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from contextlib import contextmanager
from functools import cached_property, lru_cache
from typing import TypeVar

import torch

from orchestrator.host.machine import shares_of

MOST_PARTS = 4
"""The most parts that a step is divided into, each on an equal share of the cores. Each part starts
the same number of operations, and one interpreter starts them all: in eight parts a step of the
shipped model takes 1.2 to 1.6 times the processor time that it takes whole
(`benchmarks/levers.py --only halves,quarters,eighths`).
"""

FOUND_THREADS = torch.get_num_threads()
"""The number of threads that torch uses by itself, or by its environment variables."""

MOST_CORES = 1024
"""More cores than any machine has: a bound on the threads of a pool that no one reaches."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@lru_cache
def cores(device: torch.device) -> Cores:
    """Return the process's one `Cores` of a device, made anew after `use_cores`."""
    return Cores(device)


def use_cores(count: int, at_once: int | Callable[[], int] = 1) -> None:
    """Let this thread, and the threads that `Cores` starts, compute on `count` cores.

    `count` decides how a step is divided into parts, and so how its sums are rounded. Work that is
    not divided, such as whole batches of an evaluation, gives the same result on any number of
    cores: of it, `at_once` items may be computed at the same time where that is more than `count`.
    A function is asked whenever such work begins.
    """
    global _at_once
    torch.set_num_threads(count)
    _at_once = at_once
    cores.cache_clear()


_at_once: int | Callable[[], int] = 1
"""The `at_once` of the last call of `use_cores`."""


@contextmanager
def on_all_cores(device: torch.device) -> Iterator[None]:
    """A context within which a step, too, is divided for all cores that undivided work may use.

    It is for results that are not kept, or that are the same on any number of cores.
    """
    found = cores(device)
    if found.at_once == found.threads:
        yield
        return
    use_cores(found.at_once)
    try:
        yield
    finally:
        use_cores(found.threads, found.lent)


class Cores:
    """The cores of a device, and the thread pools that compute on them.

    At the same time are computed `count` parts of a step, on `threads` cores in all, or `at_once`
    undivided items, each on one core. On any device but a CPU all three are 1, and the caller's
    thread computes.
    """

    def __init__(self, device: torch.device) -> None:
        on_cpu = device.type == "cpu"
        self.device = device
        self.threads = torch.get_num_threads() if on_cpu else 1
        self.count = shares_of(self.threads, MOST_PARTS)
        self.lent = _at_once if on_cpu else 1
        """How many undivided items may be computed at the same time, where that is more than
        `threads`; a function where it changes.
        """

    @property
    def at_once(self) -> int:
        """The undivided items that may be computed at the same time now."""
        return max(self.threads, self.lent if isinstance(self.lent, int) else self.lent())

    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Generator[Result, None, None]:
        """Yield `function` of each part of one step, in order. `count` of them are computed at the
        same time, each on an equal share of the cores, under the caller's grad and autocast modes.
        What was yielded is not kept, so results that are added up take no room side by side.

        The first exception, if any, is raised when all parts have ended; a caller that may raise
        meanwhile closes the generator, which waits for them. The parts must not write to what they
        share.
        """
        parts = list(items)
        if self.count == 1 or len(parts) == 1:
            yield from map(function, parts)
            return
        run = self._for_threads(function, max(1, self.threads // min(len(parts), self.count)))
        running = deque(self._part_pool.submit(run, part) for part in parts)
        try:
            while running:
                yield running.popleft().result()
        finally:
            wait(running)  # also after one failed: the others still read what the caller lent them

    def map_whole(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        done: Callable[[Item], None] = lambda _: None,
    ) -> list[Result]:
        """Like `map`, but for items that are not parts of one sum: `at_once` are computed at the
        same time, each on one core, so that no result depends on the number of cores. `at_once` is
        asked anew for each, because who lent a core may need it again. No item is begun after one
        has failed. `done` is called in the caller's thread as each item ends.
        """
        if self.device.type != "cpu":
            return [_then(done, item, function(item)) for item in items]
        run, threads_start = self._for_threads(function, 1), True
        begun: dict[Future[Result], Item] = {}
        running: set[Future[Result]] = set()
        for item in items:
            while running and len(running) >= self.at_once:
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    done(begun[future])
            if any(future.done() and future.exception() for future in begun):
                break
            started = self._started(run, item) if threads_start and self.at_once > 1 else None
            if started is not None:
                begun[started] = item
                running.add(started)
                continue
            threads_start = threads_start and self.at_once == 1
            begun[self._computed(function, item)] = item
            done(item)
        for future in as_completed(running):
            done(begun[future])
        return [future.result() for future in begun]

    def _started(self, run: Callable[[Item], Result], item: Item) -> Future[Result] | None:
        """Begin an item in a thread; None where the system lets no more threads start, so that a
        core which was lent never fails what the own one can do.
        """
        try:
            return self._pool.submit(run, item)
        except RuntimeError:
            self._pool.shutdown(wait=False)  # it keeps the item, which is now computed elsewhere
            del self._pool
            return None

    def _computed(self, function: Callable[[Item], Result], item: Item) -> Future[Result]:
        """Compute an item in this thread, on one core, and keep what it returns or raises."""
        future: Future[Result] = Future()
        torch.set_num_threads(1)
        try:
            future.set_result(function(item))
        except Exception as error:
            future.set_exception(error)
        finally:
            torch.set_num_threads(self.threads)
        return future

    def _for_threads(
        self, function: Callable[[Item], Result], threads: int
    ) -> Callable[[Item], Result]:
        """Return `function` for a thread of a pool: on `threads` cores, in the caller's modes."""
        grad, kind = torch.is_grad_enabled(), self.device.type
        enabled, dtype = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)

        def run(item: Item) -> Result:
            torch.set_num_threads(threads)  # per thread, as the grad and autocast modes are
            with torch.set_grad_enabled(grad), torch.autocast(kind, dtype, enabled=enabled):
                return function(item)

        return run

    @cached_property
    def _part_pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.count, thread_name_prefix="part")

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        """Its threads start as they are needed, `at_once` at most."""
        return ThreadPoolExecutor(MOST_CORES, thread_name_prefix="core")


def _then(done: Callable[[Item], None], item: Item, result: Result) -> Result:
    """Say that an item has ended, and return its result."""
    done(item)
    return result
