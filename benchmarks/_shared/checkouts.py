"""Provide another checkout of this project, to measure beside the one that runs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from _shared import ROOT


@contextmanager
def checkout(named: str | None) -> Iterator[Path | None]:
    """Yield the folder of another checkout, None where none is named. `named` is a folder, or a git
    reference, of which a worktree is made and removed on leaving.
    """
    if named is None or Path(named).is_dir():
        yield Path(named).resolve() if named else None
        return
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary) / "checkout"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(place), named], check=True)
        try:
            yield place
        finally:
            subprocess.run([*git, "remove", "--force", str(place)], check=True)


def command_of(path: Path, *words: str) -> tuple[list[str], dict[str, str]]:
    """Return the command line that runs the product of the checkout at `path`, and its environment.
    Without -P, the package in the current folder would run instead: this checkout's, as a rule.
    """
    command = [sys.executable, "-P", "-m", "orchestrator", *words]
    return command, os.environ | {"PYTHONPATH": str(path)}
