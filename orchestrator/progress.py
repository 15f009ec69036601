"""Progress of long pieces of work, reported to whoever displays it. No result depends on it.

The code that counts is many calls below the code that displays, and they share nothing else, so the
listener is a context variable instead of an argument, like a logger. It is not inherited by forked
processes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[str, int, int], None]
"""Called with the work in words, the number of parts that are done, and the number of all parts."""

_listener: ContextVar[tuple[int, Listener] | None] = ContextVar("listener", default=None)
"""The listener and the id of the process that set it, so that a fork does not report to it."""


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Within the context, report the counters made in this thread to `listener`."""
    token = _listener.set((os.getpid(), listener))
    try:
        yield
    finally:
        _listener.reset(token)


class Counter:
    """Counts the finished parts of one piece of work that has `total` equal parts."""

    def __init__(self, what: str, total: int) -> None:
        """Report that nothing is done yet. Silent where nobody listens or `total` is 0."""
        process, listener = _listener.get() or (0, None)
        self._listener = listener if process == os.getpid() and total else None
        self._what, self._done, self._total = what, 0, total
        self.add(0)

    def add(self, count: int = 1) -> None:
        """Report that `count` more parts are done."""
        self._done += count
        if self._listener is not None:
            self._listener(self._what, self._done, self._total)
