"""Packs in processes of their own: one process per share of the cores, or one per GPU.

On a CPU they are forked from a process that has the model, the audio and the encoder frames, and
share its memory. CUDA does not survive a fork, so on GPUs each process starts anew and loads the
model to its own device.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from socket import socket, socketpair

import psutil

from orchestrator.errors import FingerprintError
from orchestrator.fleet.channels import (
    LOOK_SECONDS,
    STANDSTILL_SECONDS,
    ChannelRemote,
    Message,
    stood_still,
)
from orchestrator.fleet.child import forked, spawned
from orchestrator.fleet.hosts import Lost, NoRoom, Remote, Template, TemplateHosts
from orchestrator.fleet.idle_cores import ComputingPacks
from orchestrator.fleet.machine_identity import check_same, hardware
from orchestrator.fleet.message_chunks import PIECE, Joined, packed
from orchestrator.host.child_processes import kill, start
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Worker
from orchestrator.sweepfile.sweep import SweepSpec


class ProcessHosts(TemplateHosts):
    """Packs in processes, whose evaluation and baseline are the template's."""

    ahead = True

    def __init__(
        self, template: Template, logs: Path, standstill: float = STANDSTILL_SECONDS
    ) -> None:
        super().__init__(template)
        self._logs, self._standstill = logs, standstill

    def wait(self, remotes: Sequence[Remote], seconds: float) -> None:
        """Wait until a socket can be read."""
        channels = [remote.channel for remote in remotes if isinstance(remote, ChannelRemote)]
        wait(
            [channel.connection for channel in channels if isinstance(channel, ProcessChannel)],
            seconds,
        )

    def close(self) -> None:
        """Do nothing: each process ends with its remote."""

    def _started(
        self,
        method: str,
        target: Callable[..., None],
        index: int,
        device: str,
        *args: object,
        at_close: Callable[[], None] = lambda: None,
    ) -> ChannelRemote:
        log = self._logs / f"pack-{index}.log"
        if self._logs.parent.is_dir():
            self._logs.mkdir(exist_ok=True)
        else:  # a study that was moved away is not begun again by its logs
            log = Path(os.devnull)
        here, there = socketpair()
        process = multiprocessing.get_context(method).Process(  # type: ignore[attr-defined]
            target=target,
            args=(there, log, *args),
            daemon=True,
            name=f"pack-{index}",
        )
        try:
            start(process)
        except OSError as error:
            here.close()
            raise Lost(f"no process can be started: {error}") from error
        finally:
            there.close()
        channel = ProcessChannel(process, here, self._standstill, at_close)
        return ChannelRemote(channel, f"process {process.pid}{device}", self._standstill)


class ForkHosts(ProcessHosts):
    """Packs forked from this process, for a CPU: audio, frames and weights exist only once. A pack
    that computes may use the cores of packs that wait.
    """

    _shared = False

    def __init__(
        self,
        template: Template,
        logs: Path,
        cores: int,
        standstill: float = STANDSTILL_SECONDS,
    ) -> None:
        """`cores` is how many all packs use together."""
        super().__init__(template, logs, standstill)
        self._computing = ComputingPacks(cores)

    def start(self, index: int) -> Remote:
        """Fork this process as it is now. It never trains itself, so every fork is the same."""
        if not self._shared:
            self._template.share()
            self._shared = True
        return self._started(
            "fork",
            forked,
            index,
            "",
            self._template.sibling,
            self._computing,
            index,
            # one that is killed while it computes can no longer say that it does not
            at_close=partial(self._computing.mark, index, False),
        )


class SpawnHosts(ProcessHosts):
    """Packs that load the model themselves, each to its device."""

    def __init__(
        self,
        template: Template,
        spec: SweepSpec,
        folder: StudyFolder,
        make_worker: Callable[[SweepSpec, StudyFolder], Worker],
        most: int,
        standstill: float = STANDSTILL_SECONDS,
    ) -> None:
        """`make_worker` can be pickled. `most` is how many packs will have a trial."""
        super().__init__(template, folder.logs, standstill)
        self._spec, self._folder, self._make_worker = spec, folder, make_worker
        self._most = most
        self._begun = False
        """The packs that will have a trial were started."""
        self._loading: dict[int, ChannelRemote] = {}
        """Packs that were started and that load, or that nobody asked for yet."""

    def start(self, index: int) -> Remote:
        """Return the pack once it has loaded; until then, raises NoRoom, so that a run that is to
        stop does not wait for it. Raises FingerprintError where its device would evaluate
        differently, and what `make_worker` raises.
        """
        if not self._begun:
            self._begin_from(index)
        if index not in self._loading:
            self._load(index)
        remote = self._loading[index]
        try:
            loaded = remote.answered()
            if loaded:
                wanted = self.evaluation | hardware(self._template)
                check_same(wanted, remote.answer(), "with the others")
        except BaseException as error:
            del self._loading[index]
            remote.close()
            if not isinstance(error, FingerprintError):
                raise
            raise FingerprintError(
                f"pack {index} on {self._spec.execution.device_of(index)} would evaluate otherwise: {error}\n"
                "  Give execution.devices of one kind."
            ) from error
        if not loaded:
            raise NoRoom
        return self._loading.pop(index)

    def close(self) -> None:
        """End the packs that nobody asked for."""
        for remote in self._loading.values():
            remote.close()
        self._loading.clear()

    def _begin_from(self, index: int) -> None:
        """Start all packs that will have a trial, as far as that is known, so that they load the
        model side by side.
        """
        packs = self._spec.execution.packs
        assert packs != "auto", "decided before"
        for other in range(index, min(index + self._most, packs)):
            self._load(other)

    def _load(self, index: int) -> None:
        """Start a pack and ask it to describe itself, which it answers once it has loaded."""
        self._loading[index] = self._begin(index)
        self._loading[index].ask("describe")

    def _begin(self, index: int) -> ChannelRemote:
        """Start a process whose own device is first among the devices of its spec."""
        self._begun = True
        execution = self._spec.execution
        device = execution.device_of(index)
        before = index % max(1, len(execution.devices))
        own = {"devices": execution.devices[before:] + execution.devices[:before]}
        spec = self._spec.model_copy(update={"execution": execution.model_copy(update=own)})
        place = (self._folder.path.parent, self._folder.name)
        return self._started("spawn", spawned, index, f", {device}", self._make_worker, spec, place)


class ProcessChannel:
    """The orchestrator's end of a pair of sockets, the other end of which the process of a pack has.

    It never waits for the process to take or to send the rest of a message: one that stands still
    in the middle of a large state would keep the whole run waiting.
    """

    def __init__(
        self,
        process: BaseProcess,
        connection: socket,
        standstill: float,
        at_close: Callable[[], None],
    ) -> None:
        """`standstill` is for how many seconds the process may take nothing of a call that is sent:
        it reads as soon as it has nothing else to do. `at_close` is called when `close` has ended
        the process.
        """
        self.connection, self._process, self._at_close = connection, process, at_close
        connection.settimeout(LOOK_SECONDS)
        self._standstill, self._joined = standstill, Joined()
        self._stood: Lost | None = None
        """The loss of a process that did not take a call."""

    def send(self, message: tuple[object, ...]) -> None:
        """Send a call as the process takes it."""
        left, silent = memoryview(packed(message)), 0.0
        while left:
            try:
                left, silent = left[self.connection.send(left) :], 0.0
            except TimeoutError:
                silent += LOOK_SECONDS  # in looks: while this process itself stands still, none is
                if silent >= self._standstill:
                    self._stood = stood_still(silent)
                    raise EOFError from None

    def receive(self, seconds: float) -> Iterator[Message]:
        """Read what has come, and yield the messages that are whole with it."""
        while wait([self.connection], seconds):
            piece = self.connection.recv(PIECE)
            if not piece:
                raise EOFError
            yield from self._joined.add(piece)
            seconds = 0

    def processor_seconds(self) -> float:
        """Return the processor time that the system counts for the process; 0 where it is gone."""
        try:
            times = psutil.Process(self._process.pid).cpu_times()
        except psutil.Error:
            return 0.0
        return float(times.user + times.system)

    def how_it_ended(self) -> Lost:
        """Return the loss that says how the process ended, by its exit code."""
        if self._stood is not None:
            return self._stood
        self._process.join(5)
        code = self._process.exitcode
        if code is None:
            return Lost("its connection is gone")
        if code < 0:
            name = _signal_name(-code)
            return Lost(f"{name}, as where memory ran out" if name == "SIGKILL" else name)
        return Lost(f"exit code {code}")

    def close(self) -> None:
        """Kill the process: nothing that it holds is needed, and nothing it writes outlives it."""
        self.connection.close()
        kill(self._process)
        self._at_close()


def _signal_name(number: int) -> str:
    """Return the name of a signal; of the real-time ones only the first and the last have one."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
