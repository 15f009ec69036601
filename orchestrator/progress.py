"""How far a long piece of work has come, told to whoever shows it. No result depends on it.

What counts is deep below what shows, with nothing to say to each other but this, so the listener is
of the context, as a logger is. A process that was forked has none.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[str, int, int], None]
"""Takes what is done in words, how much of it is done, and how much there is."""

_listener: ContextVar[tuple[int, Listener] | None] = ContextVar("listener", default=None)
"""With the process that it belongs to."""


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """While the context lasts, what is counted in this thread is told to `listener`."""
    token = _listener.set((os.getpid(), listener))
    try:
        yield
    finally:
        _listener.reset(token)


class Counter:
    """One piece of work of `total` equal parts."""

    def __init__(self, what: str, total: int) -> None:
        """Says that nothing is done yet; silent where nobody listens or there is nothing to do."""
        process, listener = _listener.get() or (0, None)
        self._listener = listener if process == os.getpid() and total else None
        self._what, self._done, self._total = what, 0, total
        self.add(0)

    def add(self, count: int = 1) -> None:
        """So many parts more are done."""
        self._done += count
        if self._listener is not None:
            self._listener(self._what, self._done, self._total)
