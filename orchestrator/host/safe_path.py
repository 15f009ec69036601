"""Python processes that take no module from the current folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_SAFE = "PYTHONSAFEPATH"


@contextmanager
def own_modules_only() -> Iterator[None]:
    """Within the block, a Python process that is started looks for no module in the current folder.

    One that `multiprocessing` spawns looks there first by itself, before it takes over its parent's
    path: a `signal.py` beside somebody's sweep file would be run in the place of Python's own.
    """
    before = os.environ.get(_SAFE)
    os.environ[_SAFE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SAFE]
        else:
            os.environ[_SAFE] = before
