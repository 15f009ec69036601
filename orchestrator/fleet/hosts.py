"""All that a place for packs has to do, and the simplest of them: this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from orchestrator.fleet.pack_commands import Advanced, PackState, Rebuilt
from orchestrator.fleet.pack_server import PackServer
from orchestrator.records.worker_protocol import Measured, Progress, Worker


class Lost(Exception):
    """The process, machine or connection of a pack is gone, for the reason given; nothing of it
    comes any more.
    """


class NoRoom(Exception):
    """No machine has room for a pack now; asked again later, there may be one."""


class Remote(Protocol):
    """One pack, wherever it runs. Whatever it does may raise Lost."""

    where: str
    """In words, such as `process 4711`."""

    def call(self, method: str, *args: object) -> Any:
        """Call a method of the server and wait for what it returns or raises. Not while it
        advances.
        """

    def begin(self, state: PackState | None) -> None:
        """Let it advance, after it has become `state` where one is given; returns at once."""

    def heard(self) -> tuple[Progress | Rebuilt, ...]:
        """What was said on the way since this was last asked."""

    def finished(self) -> Advanced | None:
        """What came of the advance; None while it lasts."""

    def close(self) -> None:
        """End it, whatever it is doing; never waits for it."""


class Hosts(Protocol):
    """Where packs run."""

    ahead: bool
    """Whether packs compute while the orchestrator does something else, so that all of them should
    be at work.
    """

    @property
    def evaluation(self) -> dict[str, str]:
        """The parts of the evaluation fingerprint, the same of every pack."""

    def measure_baseline(self) -> Measured:
        """As of a worker."""

    def start(self, index: int) -> Remote:
        """A pack with no trial in its slots; raises Lost where none can be had now, NoRoom where
        it waits for a machine.
        """

    def wait(self, remotes: Sequence[Remote], seconds: float) -> None:
        """Until one of these, which advance, has something to say, and no longer than so many
        seconds; just as long where there are none.
        """

    def close(self) -> None:
        """End what was begun for packs that were never started."""


class Template(Worker, Protocol):
    """A worker that is never given a trial: it measures the baseline, and others are made of it."""

    def share(self) -> None:
        """Compute now what all siblings would compute alike: those that are made by a fork then
        have it in common.
        """

    def sibling(self) -> Worker:
        """Another one on the same model and data, of the same capacity, with no trial in its
        slots.
        """


class TemplateHosts:
    """What hosts leave to the template, wherever their packs run."""

    def __init__(self, template: Template) -> None:
        self._template = template

    @property
    def evaluation(self) -> dict[str, str]:
        """The template's."""
        return self._template.evaluation

    def measure_baseline(self) -> Measured:
        """By the template."""
        return self._template.measure_baseline()


class InlineHosts(TemplateHosts):
    """All packs in this process, on the model and data of one template, one after the other."""

    ahead = False

    def start(self, index: int) -> Remote:
        """Never lost."""
        return InlineRemote(PackServer(self._template.sibling()))

    def wait(self, remotes: Sequence[Remote], seconds: float) -> None:
        """Compute on until the first of them has something to say."""
        first = remotes[0]
        assert isinstance(first, InlineRemote), "of these hosts"
        first.compute()

    def close(self) -> None:
        """There is nothing to end."""


class InlineRemote:
    """A pack of this process."""

    where = "this process"

    def __init__(self, server: PackServer) -> None:
        self._server = server
        self._work: Iterator[Progress | Rebuilt | Advanced] = iter(())
        self._heard: list[Progress | Rebuilt] = []
        self._finished: Advanced | None = None

    def call(self, method: str, *args: object) -> Any:
        """Call it here."""
        return getattr(self._server, method)(*args)

    def begin(self, state: PackState | None) -> None:
        """Nothing is computed until somebody waits for it."""
        self._finished = None
        self._work = self._server.advance(state)

    def compute(self) -> None:
        """On to the next progress, or the end."""
        said = next(self._work)
        if isinstance(said, Advanced):
            self._finished = said
        else:
            self._heard.append(said)

    def heard(self) -> tuple[Progress | Rebuilt, ...]:
        """Since it was last asked."""
        heard, self._heard = tuple(self._heard), []
        return heard

    def finished(self) -> Advanced | None:
        """What came of it."""
        return self._finished

    def close(self) -> None:
        """There is nothing to end."""
