"""A pack as an actor: what runs on a machine of a cluster. The actor carries messages, and a thread
of its own does what they call for, so that it answers while a pack trains.
"""

from __future__ import annotations

import os
import queue
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from orchestrator.fleet.child import serve
from orchestrator.fleet.machine_identity import (
    Identity,
    check_contents,
    check_same,
    hardware,
    local_cache,
    versions,
)
from orchestrator.fleet.message_chunks import Joined, Outbox
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Worker
from orchestrator.sweepfile.sweep import SweepSpec

MakeWorker = Callable[[SweepSpec, StudyFolder], Worker]


@dataclass(frozen=True)
class Place:
    """Where an actor was put."""

    node: str
    """The engine's name for the machine."""
    host: str
    pid: int
    gpus: str
    """As CUDA_VISIBLE_DEVICES has them; empty for none."""

    @property
    def where(self) -> str:
        """In words."""
        gpus = f", GPU {self.gpus}" if self.gpus else ""
        return f"process {self.pid} on {self.host}{gpus}"


class PackActor:
    """Two threads of the engine call it: one brings pieces of calls, one takes pieces of answers
    away.
    """

    def __init__(
        self, spec: SweepSpec, make_worker: MakeWorker, wanted: Identity, gpus: str | None
    ) -> None:
        """`gpus`: those of another pack, which this one shares; None: what the engine gave."""
        if gpus is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = gpus
        self._calls: queue.Queue[tuple[Any, ...]] = queue.Queue()
        self._joined, self._outbox = Joined(), Outbox()
        arguments = (spec, make_worker, wanted)
        threading.Thread(target=self._serve, args=arguments, name="pack", daemon=True).start()

    def place(self) -> Place:
        """Answered as soon as the actor runs."""
        import ray

        node = ray.get_runtime_context().get_node_id()
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        return Place(node, socket.gethostname(), os.getpid(), gpus)

    def push(self, piece: bytes) -> None:
        """A piece of a call; they come one after the other."""
        for call in self._joined.add(piece):
            self._calls.put(call)

    def pull(self, seconds: float) -> tuple[bytes, float]:
        """The next piece of what is said, waiting so long for it, and the processor time in
        seconds.
        """
        return self._outbox.take(seconds), time.process_time()

    def _serve(self, spec: SweepSpec, make_worker: MakeWorker, wanted: Identity) -> None:
        try:
            serve(_Mail(self._calls, self._outbox), lambda: checked(spec, make_worker, wanted))
        finally:
            self._outbox.close()


class _Mail:
    """As a `Connection` within one process."""

    def __init__(self, calls: queue.Queue[tuple[Any, ...]], outbox: Outbox) -> None:
        self._calls, self._outbox = calls, outbox

    def recv(self) -> Any:
        return self._calls.get()

    def send(self, message: Any) -> None:
        self._outbox.put(message)


def checked(spec: SweepSpec, make_worker: MakeWorker, wanted: Identity) -> Worker:
    """A worker that computes what those of the study's machine do.

    What can be compared early is: versions, then the data, then what the worker says of itself.
    Raises FingerprintError, and what `make_worker` raises.
    """
    check_same(wanted.versions, versions())
    folder = local_cache(spec.name)
    check_contents(spec, wanted.contents, folder.project_cache)
    worker = make_worker(spec, folder)
    check_same(wanted.evaluation, worker.evaluation)
    check_same(wanted.hardware, hardware(worker))
    return worker
