"""A process that was started for another one does not outlive it; those of packs and trackers under
Linux are killed in their own tests.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import subprocess
import sys
import time
from unittest.mock import Mock

import psutil
import pytest

from orchestrator.host.orphans import end_with_parent
from tests.cli_project import ROOT

PARENT = """
import multiprocessing, time
from tests.test_orphans import sleep_on
child = multiprocessing.get_context("spawn").Process(target=sleep_on, args=({system!r},))
child.start()
child.join()
"""


def sleep_on(system: str) -> None:
    """In a process of this system: all but Linux end no orphans by themselves."""
    sys.platform = system
    end_with_parent()
    print(os.getpid(), flush=True)
    time.sleep(600)


@pytest.mark.parametrize("system", sorted({sys.platform, "darwin"}))
def test_orphans_end(system: str) -> None:
    program = PARENT.format(system=system)
    parent = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs([child], timeout=60)
    assert alive == []


@pytest.mark.parametrize(("parent", "ends"), [(1, False), (4711, True)])
def test_a_process_whose_parent_is_process_1_of_a_container_runs(
    parent: int, ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[int] = []
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Mock())
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: Mock(pid=parent))
    monkeypatch.setattr(os, "getppid", lambda: 1)
    monkeypatch.setattr(os, "_exit", ended.append)
    end_with_parent()
    assert ended == ([1] if ends else [])
