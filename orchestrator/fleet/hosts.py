"""The interfaces that a place for packs implements, and the simplest such place: this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from orchestrator.fleet.pack_commands import Advanced, PackState, Rebuilt
from orchestrator.fleet.pack_server import PackServer
from orchestrator.records.worker_protocol import Measured, Progress, Worker


class Lost(Exception):
    """The process, machine or connection of a pack is gone, for the reason given; nothing more will
    come from it.

    `with_machine` says that the machine or its network is what is gone, as at a preemption, which
    says nothing about the trials of the pack.
    """

    def __init__(self, reason: str, *, with_machine: bool = False) -> None:
        super().__init__(reason)
        self.with_machine = with_machine


class NoRoom(Exception):
    """A pack cannot be had now, as no machine has room for it or it still loads; it may be later."""


class Remote(Protocol):
    """One pack, wherever it runs. Every method may raise Lost."""

    where: str
    """Where it runs, in words, such as `process 4711`."""

    def call(
        self, method: str, *args: object, check_stop: Callable[[], None] = lambda: None
    ) -> Any:
        """Call a method of the pack's server and wait for what it returns or raises. Not allowed
        while the pack advances. `check_stop` is called now and then while this waits for another
        process; what it raises ends the wait, after which the pack is to be closed.
        """

    def begin(self, state: PackState | None) -> None:
        """Let the pack advance, after it has become `state` where one is given. Returns at once."""

    def heard(self) -> tuple[Progress | Rebuilt, ...]:
        """Return what was said on the way since the last call."""

    def finished(self) -> Advanced | None:
        """Return the result of the advance; None while it lasts."""

    def close(self) -> None:
        """End the pack, whatever it is doing, without waiting for that."""


class Hosts(Protocol):
    """The place where packs run."""

    ahead: bool
    """Packs compute while the orchestrator does something else, so all of them should be kept at
    work.
    """

    @property
    def evaluation(self) -> dict[str, str]:
        """The parts of the evaluation fingerprint, the same of every pack."""

    def measure_baseline(self) -> Measured:
        """Measure the untuned base model, as `Worker.measure_baseline`."""

    def start(self, index: int) -> Remote:
        """Return a pack with no trial in its slots. Raises Lost where none can be had now, NoRoom
        where it waits for a machine.
        """

    def wait(self, remotes: Sequence[Remote], seconds: float) -> None:
        """Wait until one of these packs, which advance, has something to say, but no longer than
        `seconds`. Where no packs are given, wait that long.
        """

    def close(self) -> None:
        """End what was begun for packs that were never started."""


class Template(Worker, Protocol):
    """A worker that is never given a trial: it measures the baseline, and the packs' workers are
    made from it.
    """

    def share(self) -> None:
        """Compute now what all siblings would compute alike, so that siblings made by a fork share
        its memory.
        """

    def sibling(self, cores_now: Callable[[], int] | None = None) -> Worker:
        """Return another worker on the same model and data, of the same capacity, with no trial in
        its slots.

        `cores_now` returns how many cores it may use at the moment, where that is more than
        `execution.cores`. No result may depend on it.
        """


class TemplateHosts:
    """The part of `Hosts` that the template answers, wherever the packs run."""

    def __init__(self, template: Template) -> None:
        self._template = template

    @property
    def evaluation(self) -> dict[str, str]:
        """The parts of the template's evaluation fingerprint."""
        return self._template.evaluation

    def measure_baseline(self) -> Measured:
        """Measure the untuned base model with the template."""
        return self._template.measure_baseline()


class InlineHosts(TemplateHosts):
    """All packs in this process, on the model and data of one template, one after the other."""

    ahead = False

    def start(self, index: int) -> Remote:
        """Return a pack on a sibling of the template. Never raises Lost."""
        return InlineRemote(PackServer(self._template.sibling()))

    def wait(self, remotes: Sequence[Remote], seconds: float) -> None:
        """Compute the first pack on until it has something to say, however long that takes."""
        first = remotes[0]
        assert isinstance(first, InlineRemote), "of these hosts"
        first.compute()

    def close(self) -> None:
        """Do nothing: there is nothing to end."""


class InlineRemote:
    """A pack in this process."""

    where = "this process"

    def __init__(self, server: PackServer) -> None:
        self._server = server
        self._work: Iterator[Progress | Rebuilt | Advanced] = iter(())
        self._heard: list[Progress | Rebuilt] = []
        self._finished: Advanced | None = None

    def call(
        self, method: str, *args: object, check_stop: Callable[[], None] = lambda: None
    ) -> Any:
        """Call the method directly."""
        return getattr(self._server, method)(*args)

    def begin(self, state: PackState | None) -> None:
        """Prepare the advance; nothing is computed until somebody waits for it."""
        self._finished = None
        self._work = self._server.advance(state)

    def compute(self) -> None:
        """Compute on to the next progress, or to the end."""
        said = next(self._work)
        if isinstance(said, Advanced):
            self._finished = said
        else:
            self._heard.append(said)

    def heard(self) -> tuple[Progress | Rebuilt, ...]:
        """Return what was said since the last call."""
        heard, self._heard = tuple(self._heard), []
        return heard

    def finished(self) -> Advanced | None:
        """Return the result of the advance; None while it lasts."""
        return self._finished

    def close(self) -> None:
        """Do nothing: there is nothing to end."""
