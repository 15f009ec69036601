"""Child processes that are started and killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess

import pytest

from orchestrator.host.child_processes import kill, start


def sleeping() -> BaseProcess:
    """A process that sleeps, which is not started yet."""
    return multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600.0,))


def test_a_process_that_is_killed_is_gone() -> None:
    process = sleeping()
    start(process)
    kill(process)
    assert process.exitcode == -9 and process not in multiprocessing.active_children()


def test_one_that_cannot_be_killed_is_not_waited_for_at_the_exit_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As one that hangs in the kernel; Python joins all active children when it exits."""
    process = sleeping()
    start(process)
    with monkeypatch.context() as hanging:
        hanging.setattr(process, "kill", lambda: None)
        kill(process, 0.1)
    assert process.is_alive() and process not in multiprocessing.active_children()
    process.kill()
    process.join()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_of_the_terminal_does_not_end_a_process_that_begins(number: int) -> None:
    process, before = sleeping(), signal.pthread_sigmask(signal.SIG_BLOCK, ())
    # as for the first process of a run
    resource_tracker._resource_tracker._stop()  # type: ignore[attr-defined]
    start(process)
    assert process.pid is not None
    os.kill(process.pid, number)
    process.join(0.5)
    assert process.is_alive()
    kill(process)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
