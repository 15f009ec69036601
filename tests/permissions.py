"""Run the command as a user to whom file permissions apply: where the tests run as root, it is run
without the capabilities by which root ignores them.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli_project import ROOT

_DROP_FROM_BOUNDING_SET = 24
"""PR_CAPBSET_DROP, of linux/prctl.h."""
_PASS_OVER_PERMISSIONS = (1, 2)
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, of linux/capability.h."""

needs_permissions = pytest.mark.skipif(
    os.geteuid() == 0 and sys.platform != "linux", reason="root is bound by no permissions here"
)


def _obey() -> None:
    """Make file permissions apply to what this process executes next, though it is root's."""
    if os.geteuid() == 0:
        prctl = ctypes.CDLL(None).prctl
        for capability in _PASS_OVER_PERMISSIONS:
            assert prctl(_DROP_FROM_BOUNDING_SET, capability, 0, 0, 0) == 0


def bound(*arguments: object, at: Path | None = None) -> tuple[int, str, str]:
    """Run the command with the fake worker in the folder `at`, bound by permissions; return its
    exit code, output and errors.
    """
    command = [sys.executable, "-m", "tests.run_fake", "0", *map(str, arguments)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=at or ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        preexec_fn=_obey,
    )
    errors = "".join(line for line in done.stderr.splitlines(True) if line != "tick\n")
    return done.returncode, done.stdout, errors


@contextmanager
def with_mode(mode: int, *paths: Path) -> Iterator[None]:
    """Give files and folders this mode while the context lasts."""
    before = {path: path.stat().st_mode for path in paths}
    try:
        for path in paths:
            path.chmod(mode)
        yield
    finally:
        for path, old in reversed(before.items()):
            path.chmod(old)


@contextmanager
def read_only(root: Path) -> Iterator[None]:
    """Take away the permission to write `root` and all below it while the context lasts."""
    everything = [root, *root.rglob("*")]
    before = {path: path.stat().st_mode for path in everything}
    try:
        for path, mode in before.items():
            path.chmod(mode & ~0o222)
        yield
    finally:
        for path, mode in before.items():
            path.chmod(mode)
