"""A pack as an actor: what runs on a machine of a cluster. The actor itself only carries messages;
a thread of its own does the work, so that the actor answers while the pack trains.
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

import psutil

from orchestrator.fleet.child import WAITS, serve
from orchestrator.fleet.machine_identity import (
    Identity,
    check_same,
    check_same_contents,
    hardware,
    local_cache,
    versions,
)
from orchestrator.fleet.message_chunks import Joined, Outbox
from orchestrator.records.worker_protocol import MakeWorker, Worker
from orchestrator.sweepfile.sweep import SweepSpec


@dataclass(frozen=True)
class Place:
    """Where an actor runs."""

    node: str
    """Ray's id of the machine."""
    host: str
    pid: int
    gpus: str
    """The GPUs, as in CUDA_VISIBLE_DEVICES; empty for none."""

    @property
    def where(self) -> str:
        """The place in words."""
        gpus = f", GPU {self.gpus}" if self.gpus else ""
        return f"process {self.pid} on {self.host}{gpus}"


class PackActor:
    """Two threads of Ray call it: one brings pieces of calls, the other takes pieces of answers
    away.
    """

    def __init__(
        self, spec: SweepSpec, make_worker: MakeWorker, wanted: Identity, gpus: str | None
    ) -> None:
        """`gpus` are those of another pack, which this one shares; None leaves the ones that Ray
        assigned.
        """
        if gpus is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = gpus
        self._calls: queue.Queue[tuple[Any, ...]] = queue.Queue()
        self._joined, self._outbox = Joined(), Outbox()
        self._carriers = {thread.id for thread in psutil.Process().threads()}
        """Threads that carry messages, Ray's own among them; every other one computes."""
        arguments = (spec, make_worker, wanted)
        threading.Thread(target=self._serve, args=arguments, name="pack", daemon=True).start()

    def place(self) -> Place:
        """Return where the actor runs; answered as soon as it does."""
        import ray

        node = ray.get_runtime_context().get_node_id()
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        return Place(node, socket.gethostname(), os.getpid(), gpus)

    def push(self, piece: bytes) -> None:
        """Take one piece of a call; pieces must come one after the other."""
        self._carriers.add(threading.get_native_id())
        for call in self._joined.add(piece):
            self._calls.put(call)

    def pull(self, seconds: float) -> tuple[bytes, float]:
        """Return the next piece of what the pack says, waiting at most `seconds` for it, and the
        processor time that the pack has spent, in seconds.
        """
        self._carriers.add(threading.get_native_id())
        return self._outbox.take(seconds), self._pack_seconds()

    def _pack_seconds(self) -> float:
        """Carrying messages takes about a hundredth of a core, so that a pack that stands still
        would seem to compute.
        """
        carried = sum(
            thread.user_time + thread.system_time
            for thread in psutil.Process().threads()
            if thread.id in self._carriers
        )
        return time.process_time() - carried

    def _serve(self, spec: SweepSpec, make_worker: MakeWorker, wanted: Identity) -> None:
        mail = _Mail(self._calls, self._outbox)
        try:
            serve(mail, lambda: checked(spec, make_worker, wanted, lambda: mail.send(WAITS)))
        finally:
            self._outbox.close()


class _Mail:
    """Carries messages between two threads: implements `child.Messages`."""

    def __init__(self, calls: queue.Queue[tuple[Any, ...]], outbox: Outbox) -> None:
        self._calls, self._outbox = calls, outbox

    def recv(self) -> Any:
        return self._calls.get()

    def send(self, message: Any) -> None:
        self._outbox.put(message)


def checked(
    spec: SweepSpec,
    make_worker: MakeWorker,
    wanted: Identity,
    waiting: Callable[[], None] = lambda: None,
) -> Worker:
    """Return a worker that computes what the study's own machine computes.

    Each part is compared as early as it is known: versions, then the data, then what the worker
    says of itself. `waiting` is called now and then while another pack of this machine decodes the
    data. Raises FingerprintError, and what `make_worker` raises.
    """
    check_same(wanted.versions, versions())
    folder = local_cache(spec.name)
    check_same_contents(spec, wanted.contents, folder.project_cache, waiting)
    worker = make_worker(spec, folder)
    check_same(wanted.evaluation, worker.evaluation)
    check_same(wanted.hardware, hardware(worker))
    return worker
