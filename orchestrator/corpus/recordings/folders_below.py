"""Walking through a folder of recordings and the folders below it, through links too. Nothing but
names is looked at.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path


def folders_below(
    folder: Path, refuse: Callable[[OSError], None] | None = None
) -> Iterator[tuple[str, list[str]]]:
    """Yield a folder and those below it, each with the names in it that are no folders. Each real
    folder is visited once, so that a link to a folder above makes no loop.

    What begins with a dot is hidden: `._x` is what macOS keeps beside x. `refuse` is called for a
    folder that cannot be listed, which is passed over unless it raises.
    """
    seen = {os.path.realpath(folder)}
    for place, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        # real folders come before links, so that a folder is visited under its own name
        shown = sorted(
            (name for name in folders if not _is_hidden(name)),
            key=lambda name: _is_link(place, name),
        )
        folders[:] = [
            name for name in shown if _first_seen(os.path.realpath(os.path.join(place, name)), seen)
        ]
        yield place, [name for name in files if not _is_hidden(name)]


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _is_link(place: str, name: str) -> tuple[bool, str]:
    return os.path.islink(os.path.join(place, name)), name


def _first_seen(path: str, seen: set[str]) -> bool:
    """Whether `path` is seen for the first time; adds it to `seen`."""
    if path in seen:
        return False
    seen.add(path)
    return True
