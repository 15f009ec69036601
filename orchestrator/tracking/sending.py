"""Trackers beside a sweep, each in a process of its own, which reads the study's files.

The sweep hands them nothing while it runs, so there is no queue that could fill and nothing that it
could wait for: the study's files are the queue. At its end it waits for a limited time and says
what was not sent. Nothing is lost by that: the same command sends the rest.
"""

from __future__ import annotations

import multiprocessing
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from orchestrator.errors import Interrupted
from orchestrator.host.child_processes import kill, start
from orchestrator.records.store import StudyFolder
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.tracking.child import Sent, Told, watch
from orchestrator.tracking.runs import Ending
from orchestrator.tracking.trackers import installed, not_installed

STOPPED_SECONDS = 5.0
"""How long to wait for trackers when a person has stopped the sweep and wants the terminal back."""
_END_SECONDS = 1.0
"""How long a process that has answered may take to end by itself."""
_REST = "the same command sends the rest"


class Trackers:
    """The trackers of one run of a sweep. An error of a tracker never raises here."""

    def __init__(self, spec: SweepSpec, folder: StudyFolder) -> None:
        """Start the process of each tracker whose package is installed."""
        self._wait = spec.tracking.wait if spec.tracking else 0.0
        new_id = uuid.uuid4().hex
        self._senders = [_Process(name, spec, folder, new_id) for name in installed(spec)]

    def finish(self, ending: Ending | None, most: float = 3600.0) -> tuple[str, ...]:
        """Tell the trackers that the sweep has ended, wait as long as the sweep file says, but for
        `most` seconds at most, and end them. Returns a line for each one that did not send
        everything.
        """
        limit = min(self._wait, most)
        late = f"not done after {limit:g} s of waiting"
        if limit == self._wait:
            late += ", see tracking.wait"
        for sender in self._senders:
            sender.tell(Told(ending))
        until = time.monotonic() + limit
        lines = [sender.outcome(until, late) for sender in self._senders]
        self.end()
        return tuple(filter(None, lines))

    def end(self) -> None:
        """End the trackers, whatever they are doing."""
        for sender in self._senders:
            sender.end()
        self._senders = []


@contextmanager
def tracked(spec: SweepSpec, folder: StudyFolder, say: Callable[[str], None]) -> Iterator[Trackers]:
    """Run trackers while the context lasts. When the run is stopped, they send what a few seconds
    allow; when it is refused, nothing more. `say` is called with a line for each tracker that is
    not installed or, after a stop, has not sent everything.
    """
    for line in not_installed(spec):
        say(line)
    trackers = Trackers(spec, folder)
    try:
        yield trackers
    except Interrupted:
        for line in trackers.finish(None, STOPPED_SECONDS):
            say(line)
        raise
    finally:
        trackers.end()


class _Process:
    """The process of one tracker."""

    def __init__(self, name: str, spec: SweepSpec, folder: StudyFolder, new_id: str) -> None:
        self._name, self._fault, self._answered = name, "", False
        self._connection: Connection | None = None
        self._process: BaseProcess | None = None
        here, there = multiprocessing.Pipe()
        # spawned: a client of a tracker has threads, and the sweep's memory is none of its business
        process = multiprocessing.get_context("spawn").Process(
            target=watch,
            args=(there, name, spec, (folder.path.parent, folder.name), new_id),
            daemon=True,
            name=f"tracking-{name}",
        )
        try:
            start(process)
        except OSError as error:
            self._fault = f"no process can be started: {error}"
            return
        there.close()
        self._connection, self._process = here, process

    def tell(self, told: Told) -> None:
        """Send the end of the sweep, one small message, which fits into any pipe without
        waiting.
        """
        try:
            if self._connection is not None:
                self._connection.send(told)
        except OSError:
            self._fault = "its process has ended"

    def outcome(self, until: float, late: str) -> str:
        """Wait until `until` for the tracker's answer. Returns a line that says what was not sent,
        empty where everything was; `late` says in it that there was no answer.
        """
        if self._fault or self._connection is None:
            return f"{self._name}: not everything was sent ({self._fault}); {_REST}"
        try:
            if not self._connection.poll(max(0.0, until - time.monotonic())):
                return f"{self._name}: not everything was sent ({late}); {_REST}"
            sent: Sent = self._connection.recv()
            self._answered = True
        except (EOFError, OSError):
            return f"{self._name}: not everything was sent (its process has ended); {_REST}"
        return f"{self._name}: {sent.missing}; {_REST}" if sent.missing else ""

    def end(self) -> None:
        """End the process, whatever it is doing."""
        if self._process is not None and self._connection is not None:
            if self._answered:  # its client may have threads and processes to end
                self._process.join(_END_SECONDS)
            kill(self._process)
            self._connection.close()
