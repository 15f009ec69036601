"""The end of child processes that are not needed any more."""

from __future__ import annotations

from multiprocessing import process as processes

KILLED_SECONDS = 10.0
"""How long to wait for a killed process to be gone. One that hangs in the driver of a GPU or in a file
system may never be; it computes nothing any more.
"""


def kill(process: processes.BaseProcess, seconds: float = KILLED_SECONDS) -> None:
    """Kill a child process, and wait for its end for `seconds` at most, also when Python exits."""
    process.kill()
    process.join(seconds)
    if process.exitcode is None:
        # multiprocessing joins all children that it knows at the exit, without a limit
        processes._children.discard(process)  # type: ignore[attr-defined]
