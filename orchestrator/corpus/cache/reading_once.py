"""One run of a sweep reads its data and its model once: what was checked before is what is trained
and measured with after, in the search and in the confirmation.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

Made = TypeVar("Made")
_kept: ContextVar[dict[Hashable, Any] | None] = ContextVar("what was read", default=None)


@contextmanager
def reading_once() -> Iterator[None]:
    """Within the block `once` keeps what it makes; outside of any it makes everything anew."""
    before = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(before)


def once(key: Hashable, make: Callable[[], Made]) -> Made:
    """What `make` gave when it was first asked for under this key, which says all that it depends
    on. What it raises is not kept.
    """
    kept = _kept.get()
    if kept is None:
        return make()
    if key not in kept:
        kept[key] = make()
    made: Made = kept[key]
    return made
