"""What runs in the process of a pack, at its end of the connection."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from socket import socket
from typing import Any, Protocol

from orchestrator.errors import OrchestrateError
from orchestrator.files.atomic import system_error
from orchestrator.fleet.idle_cores import ComputingPacks
from orchestrator.fleet.message_chunks import PIECE, Joined, packed
from orchestrator.fleet.pack_server import PackServer
from orchestrator.host.orphans import end_with_parent
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Progress, Worker
from orchestrator.sweepfile.sweep import SweepSpec

PROGRESS_SECONDS = 0.2
"""Shortest time between two reports of progress, which people do not read any faster."""
WAITS = ("waits", None)
"""The message of a pack that computes nothing until it is its turn, and does not stand still."""


class ThereIs(Exception):
    """Stands for the cause of an exception from another process, as the traceback's text."""


def forked(
    connection: socket,
    log: Path,
    sibling: Callable[[Callable[[], int]], Worker],
    computing: ComputingPacks,
    index: int,
) -> None:
    """Serve a worker that `sibling` makes from what this forked process has inherited; never
    returns. `index` is the pack's among those that are `computing` on this machine.
    """
    _settle(log)
    keep_only({0, 1, 2, connection.fileno()})
    # A new thread: what torch and OpenMP keep for this one are threads that did not survive the
    # fork.
    messages = MarkedMessages(SocketMessages(connection), computing, index)
    make = partial(sibling, computing.cores_of_each)
    thread = threading.Thread(target=serve, args=(messages, make))
    thread.start()
    thread.join()
    os._exit(0)  # no part of the parent's clean-up is ours


def spawned(
    connection: socket,
    log: Path,
    make_worker: Callable[[SweepSpec, StudyFolder], Worker],
    spec: SweepSpec,
    place: tuple[Path, str],
) -> None:
    """Serve a worker that is loaded in this new process. `place` is the root and the name of the
    study's folder.
    """
    _settle(log)
    serve(SocketMessages(connection), lambda: make_worker(spec, StudyFolder(*place)))


def _settle(log: Path) -> None:
    """Prepare the process of a pack: signals are left to the orchestrator, output goes to the log,
    and the process ends with its parent.
    """
    for number in (signal.SIGINT, signal.SIGHUP):  # a terminal sends them to every process
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent()
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.close(file)
    sys.stdout, sys.stderr = (
        os.fdopen(stream, "w", buffering=1, closefd=False) for stream in (1, 2)
    )


def keep_only(kept: set[int]) -> None:
    """Close the file descriptors that were inherited, but for `kept`: the lock and the database of
    the study, sockets to other packs.
    """
    for name in os.listdir("/proc/self/fd" if sys.platform == "linux" else "/dev/fd"):
        if int(name) not in kept:
            try:
                os.close(int(name))
            except OSError:
                continue  # that of the listing itself


class Messages(Protocol):
    """What carries calls in and messages out."""

    def recv(self) -> Any:
        """Return the next call. Raises EOFError or OSError where none comes any more."""

    def send(self, message: Any) -> None:
        """Send a message. Raises BrokenPipeError where nobody receives it."""


class SocketMessages:
    """The messages of a pack through its end of a pair of sockets."""

    def __init__(self, connection: socket) -> None:
        self._connection, self._joined = connection, Joined()
        self._calls: deque[Any] = deque()

    def recv(self) -> Any:
        """Return the next call. Raises EOFError or OSError where none comes any more."""
        while not self._calls:
            piece = self._connection.recv(PIECE)
            if not piece:
                raise EOFError
            self._calls.extend(self._joined.add(piece))
        return self._calls.popleft()

    def send(self, message: Any) -> None:
        """Send a message. Raises BrokenPipeError where nobody receives it."""
        self._connection.sendall(packed(message))


class MarkedMessages:
    """The messages of a pack, which counts as computing from each call to the next `recv`."""

    def __init__(self, messages: Messages, packs: ComputingPacks, index: int) -> None:
        self._messages, self._packs, self._index = messages, packs, index

    def recv(self) -> Any:
        """Return the next call. Raises EOFError or OSError where none comes any more."""
        self._packs.mark(self._index, False)
        call = self._messages.recv()
        self._packs.mark(self._index, True)
        return call

    def send(self, message: Any) -> None:
        """Send a message. Raises BrokenPipeError where nobody receives it."""
        self._messages.send(message)


def serve(connection: Messages, make: Callable[[], Worker]) -> None:
    """Answer calls, until no more come, on a worker that is made at once rather than at the first
    call, so that packs load side by side. If making it raises, every call is answered with that
    error.
    """
    server: Future[PackServer] = Future()
    try:
        server.set_result(PackServer(make()))
    except Exception as error:
        server.set_exception(error)
    while True:
        try:
            method, *args = connection.recv()
        except (EOFError, OSError):
            return
        except MemoryError as error:  # the call itself is too large, such as the state of a pack
            connection.send(("raised", _portable(error)))
            return
        try:
            if method == "advance":
                _advance(connection, server.result(), *args)
            else:
                connection.send(("answer", getattr(server.result(), method)(*args)))
        except BrokenPipeError:
            return
        except Exception as error:
            with suppress(OSError):  # the log may lie on the disk that is full
                traceback.print_exc()
            connection.send(("raised", _portable(error)))


def _advance(connection: Messages, server: PackServer, *args: Any) -> None:
    """Advance the pack and send what it says. Of the progress, only each trial's latest is sent,
    now and then.
    """
    held: dict[int, Progress] = {}
    sent = time.monotonic()
    for said in server.advance(*args):
        if isinstance(said, Progress):
            held[said.number] = said
            if time.monotonic() - sent < PROGRESS_SECONDS:
                continue
        for progress in held.values():
            connection.send(("said", progress))
        held, sent = {}, time.monotonic()
        if not isinstance(said, Progress):
            connection.send(("said", said))


def _portable(error: Exception) -> Carried:
    """Wrap the exception so that it can be pickled and raised in another process."""
    shown = "".join(traceback.format_exception(error))
    if isinstance(error, OrchestrateError):
        # as the nearest kind that the command line knows: a narrower one may need more than a text
        named = OrchestrateError.__module__
        kind = next(each for each in type(error).__mro__ if each.__module__ == named)
        return Carried(kind(str(error)), shown if error.__cause__ is not None else "")
    if isinstance(error, OSError):
        return Carried(system_error(error), shown)
    if isinstance(error, MemoryError):
        return Carried(MemoryError(str(error)), shown)
    return Carried(RuntimeError(f"{type(error).__name__}: {error}"), shown)


@dataclass(frozen=True)
class Carried:
    """An exception on its way to another process, with its cause as text, because pickle drops the
    cause.
    """

    error: Exception
    cause: str

    def unwrap(self) -> Exception:
        """Return the exception to raise, with its cause in place."""
        if self.cause:
            self.error.__cause__ = ThereIs(self.cause)
        return self.error
