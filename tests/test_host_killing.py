"""Child processes that are ended."""

from __future__ import annotations

import multiprocessing
import time

import pytest

from orchestrator.host.killing import kill


def test_a_process_that_is_killed_is_gone() -> None:
    process = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600.0,))
    process.start()
    kill(process)
    assert process.exitcode == -9 and process not in multiprocessing.active_children()


def test_one_that_cannot_be_killed_is_not_waited_for_at_the_exit_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As one that hangs in the kernel; Python joins all active children when it exits."""
    process = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600.0,))
    process.start()
    with monkeypatch.context() as hanging:
        hanging.setattr(process, "kill", lambda: None)
        kill(process, 0.1)
    assert process.is_alive() and process not in multiprocessing.active_children()
    process.kill()
    process.join()
