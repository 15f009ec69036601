"""Memoisation for one run of a sweep, so that its data and its model are read once: what the checks
saw is what the search and the confirmation train on and measure with.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

Value = TypeVar("Value")
_kept: ContextVar[dict[Hashable, Any] | None] = ContextVar("what was read", default=None)


@contextmanager
def reading_once() -> Iterator[None]:
    """Keep, within this block, what `once` makes; outside of such a block `once` makes everything
    anew.
    """
    before = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(before)


def once(key: Hashable, make: Callable[[], Value]) -> Value:
    """Return what `make` returned when this key was first asked for. The key must contain all that
    the result depends on. An exception from `make` is not kept.
    """
    kept = _kept.get()
    if kept is None:
        return make()
    if key not in kept:
        kept[key] = make()
    made: Value = kept[key]
    return made
