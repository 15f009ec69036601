"""Packs in processes of their own: a process a share of the cores, or one a GPU.

On a CPU they are forked from a process that has the model, the audio and the frames, and has them
in common with it. A GPU does not survive a fork, so there each process starts anew and loads the
model to its own device.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil

from orchestrator.errors import FingerprintError
from orchestrator.fleet.child import Carried, forked, spawned
from orchestrator.fleet.commands import Advanced, PackState, Rebuilt
from orchestrator.fleet.hosts import Lost, Remote, Template
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker import Measured, Progress, Worker
from orchestrator.sweepfile.sweep import SweepSpec

STANDSTILL_SECONDS = 300.0
"""A process that says nothing and computes nothing for so long, or ten times its longest silence,
is ended.
"""
COMPUTED_SECONDS = 1.0
"""Of processor time: less is what a process spends that waits for something that never comes."""
LOOK_SECONDS = 1.0


class ProcessHosts:
    """Packs in processes; what they have in common is the template's."""

    ahead = True

    def __init__(
        self, template: Template, logs: Path, standstill: float = STANDSTILL_SECONDS
    ) -> None:
        self._template, self._logs, self._standstill = template, logs, standstill

    @property
    def evaluation(self) -> dict[str, str]:
        """The template's."""
        return self._template.evaluation

    def measure_baseline(self) -> Measured:
        """By the template."""
        return self._template.measure_baseline()

    def wait(self, remotes: Sequence[Remote], seconds: float) -> None:
        """Until a pipe can be read."""
        wait(
            [remote.connection for remote in remotes if isinstance(remote, ProcessRemote)], seconds
        )

    def _started(
        self, method: str, target: Callable[..., None], index: int, device: str, *args: object
    ) -> ProcessRemote:
        self._logs.mkdir(parents=True, exist_ok=True)
        here, there = multiprocessing.Pipe()
        process = multiprocessing.get_context(method).Process(  # type: ignore[attr-defined]
            target=target,
            args=(there, self._logs / f"pack-{index}.log", *args),
            daemon=True,
            name=f"pack-{index}",
        )
        try:
            process.start()
        except OSError as error:
            raise Lost(f"no process can be started: {error}") from error
        there.close()
        return ProcessRemote(process, here, f"process {process.pid}{device}", self._standstill)


class ForkHosts(ProcessHosts):
    """Packs forked from this process, for a CPU: audio, frames and weights exist once."""

    _shared = False

    def start(self, index: int) -> Remote:
        """A fork of what this process is now; it never trains itself, so each fork is the same."""
        if not self._shared:
            self._template.share()
            self._shared = True
        return self._started("fork", forked, index, "", self._template.sibling)


class SpawnHosts(ProcessHosts):
    """Packs that load the model themselves, each to its device."""

    def __init__(
        self,
        template: Template,
        spec: SweepSpec,
        folder: StudyFolder,
        make_worker: Callable[[SweepSpec, StudyFolder], Worker],
        standstill: float = STANDSTILL_SECONDS,
    ) -> None:
        """`make_worker` can be pickled."""
        super().__init__(template, folder.logs, standstill)
        self._spec, self._folder, self._make_worker = spec, folder, make_worker

    def start(self, index: int) -> Remote:
        """Raises FingerprintError where its device would evaluate otherwise, and what `make_worker`
        raises.
        """
        devices = self._spec.execution.devices or (self._spec.execution.device,)
        device = devices[index % len(devices)]
        execution = self._spec.execution.model_copy(update={"device": device})
        spec = self._spec.model_copy(update={"execution": execution})
        place = (self._folder.path.parent, self._folder.name)
        remote = self._started(
            "spawn", spawned, index, f", {device}", self._make_worker, spec, place
        )
        try:
            there = remote.call("describe")
        except BaseException:
            remote.close()
            raise
        for name, value in self.evaluation.items():
            if there.get(name) != value:
                remote.close()
                raise FingerprintError(
                    f"pack {index} on {device} would evaluate otherwise than the others: {name} is {there.get(name)} "
                    f"there, {value} here\n  Give execution.devices of one kind."
                )
        return remote


class ProcessRemote:
    """The orchestrator's end of a pipe to a pack."""

    def __init__(
        self, process: BaseProcess, connection: Connection, where: str, standstill: float
    ) -> None:
        self.connection, self.where = connection, where
        self._process, self._standstill = process, standstill
        self._heard: list[Progress | Rebuilt] = []
        self._finished: Advanced | None = None
        self._answers: list[Any] = []
        self._last, self._longest = time.monotonic(), 0.0
        self._computed = 0.0

    def call(self, method: str, *args: object) -> Any:
        """Send it and wait; raises Lost, or what it raises there."""
        self._send(method, *args)
        while not self._answers:
            self._receive(LOOK_SECONDS)
        value = self._answers.pop()
        if isinstance(value, Carried):
            raise value.unwrap()
        return value

    def begin(self, state: PackState | None) -> None:
        """Send it."""
        self._finished = None
        self._send("advance", state)

    def heard(self) -> tuple[Progress | Rebuilt, ...]:
        """What came since."""
        heard, self._heard = tuple(self._heard), []
        return heard

    def finished(self) -> Advanced | None:
        """Read what there is; raises Lost, or what the advance raised."""
        self._receive(0)
        if self._answers:
            raise self._answers.pop().unwrap()
        return self._finished

    def close(self) -> None:
        """SIGKILL: nothing that it holds is needed, and nothing it writes outlives it."""
        self.connection.close()
        self._process.kill()
        self._process.join()

    def _send(self, *message: object) -> None:
        self._last, self._computed = time.monotonic(), self._processor_seconds()
        try:
            self.connection.send(message)
        except OSError as error:
            raise Lost(self._how_it_ended()) from error

    def _receive(self, seconds: float) -> None:
        """Take in all that has come; wait so long for the first of it."""
        try:
            while self.connection.poll(seconds):
                self._take(*self.connection.recv())
                seconds = 0
        except (EOFError, OSError) as error:
            raise Lost(self._how_it_ended()) from error
        self._check_that_it_moves()

    def _take(self, kind: str, value: Any) -> None:
        now = time.monotonic()
        self._longest, self._last = max(self._longest, now - self._last), now
        self._computed = self._processor_seconds()
        if kind == "said" and isinstance(value, Advanced):
            self._finished = value
        elif kind == "said":
            self._heard.append(value)
        else:
            self._answers.append(value)

    def _check_that_it_moves(self) -> None:
        """A long evaluation says nothing, but computes; what does neither stands still."""
        silent = time.monotonic() - self._last
        limit = max(self._standstill, 10 * self._longest)
        if silent < limit or self._finished is not None:
            return
        if self._processor_seconds() - self._computed > COMPUTED_SECONDS:
            self._last, self._computed = time.monotonic(), self._processor_seconds()
            return
        raise Lost(f"stood still for {silent:.0f} s and was ended")

    def _processor_seconds(self) -> float:
        try:
            times = psutil.Process(self._process.pid).cpu_times()
        except psutil.Error:
            return 0.0
        return float(times.user + times.system)

    def _how_it_ended(self) -> str:
        self._process.join(5)
        code = self._process.exitcode
        if code is None:
            return "its connection is gone"
        if code < 0:
            name = signal.Signals(-code).name
            return f"{name}, as where memory ran out" if name == "SIGKILL" else name
        return f"exit code {code}"
