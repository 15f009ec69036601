"""A pack at the other end of a channel, whatever carries the messages: sockets to a process,
or calls of an actor.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, NoReturn, Protocol

from orchestrator.fleet.child import Carried
from orchestrator.fleet.hosts import Lost
from orchestrator.fleet.pack_commands import Advanced, PackState, Rebuilt
from orchestrator.records.worker_protocol import Progress

STANDSTILL_SECONDS = 300.0
"""A pack that neither sends a message nor computes for this long, or for ten times its longest
silence if that is more, is ended.
"""
COMPUTED_SECONDS = 1.0
"""Seconds of processor time that count as computing: a process that waits for something that never
comes spends less.
"""
AWAY_SECONDS = 10.0
"""Of the time between two looks for messages, no more than this counts as a pack's silence. The
orchestrator looks every second, so it stood still itself, as with Ctrl+Z or a suspended job.
"""
LOOK_SECONDS = 1.0
"""How long a call waits for messages before it checks again that the pack still moves."""

Message = tuple[str, Any]
"""What a pack sends: "said", "answer", "raised" or "waits", and the value."""


def stood_still(seconds: float) -> Lost:
    """Return the loss of a pack that neither said nor computed anything for so long."""
    return Lost(f"stood still for {seconds:.0f} s and was ended")


class Channel(Protocol):
    """Carries method calls to one pack, and its messages back."""

    def send(self, message: tuple[object, ...]) -> None:
        """Send a call. Raises EOFError or OSError where the other end is gone."""

    def receive(self, seconds: float) -> Iterable[Message]:
        """Return all messages that have come, after waiting at most `seconds` for the first. Raises
        EOFError or OSError where nothing will come any more.
        """

    def processor_seconds(self) -> float:
        """Return how much processor time its process has spent so far."""

    def how_it_ended(self) -> Lost:
        """Return the error that says why nothing comes any more."""

    def close(self) -> None:
        """End its process, without waiting for what it is doing."""


class ChannelRemote:
    """The orchestrator's end of a channel: implements `hosts.Remote`."""

    def __init__(self, channel: Channel, where: str, standstill: float) -> None:
        self.channel, self.where, self._standstill = channel, where, standstill
        self._heard: list[Progress | Rebuilt] = []
        """Progress and rebuilds that were not fetched by `heard` yet."""
        self._finished: Advanced | None = None
        self._answers: list[Any] = []
        self._looked, self._silent, self._longest = time.monotonic(), 0.0, 0.0
        """When messages were last looked for; for how long none has come or was sent until then, and
        the longest such silence before a message so far, both in seconds.
        """
        self._computed = 0.0
        """Processor seconds of the pack's process at that time."""

    def call(
        self, method: str, *args: object, check_stop: Callable[[], None] = lambda: None
    ) -> Any:
        """Send a call and wait for its answer. Raises Lost, or what the method raises there, or what
        `check_stop` raises meanwhile.
        """
        self.ask(method, *args)
        while not self._answers:
            check_stop()
            self._receive(LOOK_SECONDS)
        return self.answer()

    def ask(self, method: str, *args: object) -> None:
        """Send a call, without waiting for its answer."""
        self._send(method, *args)

    def answered(self) -> bool:
        """Read what has come and say whether the answer is there. Raises Lost."""
        self._receive(0)
        return bool(self._answers)

    def answer(self) -> Any:
        """Return the answer that has come, or raise what the method raised there."""
        value = self._answers.pop()
        if isinstance(value, Carried):
            raise value.unwrap()
        return value

    def begin(self, state: PackState | None) -> None:
        """Send the call to advance, without waiting for it."""
        self._finished = None
        self._send("advance", state)

    def heard(self) -> tuple[Progress | Rebuilt, ...]:
        """Return, once each, the progress and rebuilds that have come."""
        heard, self._heard = tuple(self._heard), []
        return heard

    def finished(self) -> Advanced | None:
        """Read what has come and return the end of the advance; None while it lasts. Raises Lost,
        or what the advance raised.
        """
        self._receive(0)
        if self._answers:
            self.answer()
        return self._finished

    def close(self) -> None:
        """End the pack's process; nothing that it holds is needed."""
        self.channel.close()

    def _send(self, *message: object) -> None:
        self._looked, self._silent = time.monotonic(), 0.0
        self._computed = self.channel.processor_seconds()
        try:
            self.channel.send(message)
        except (EOFError, OSError) as error:
            self._raise_end(error)

    def _receive(self, seconds: float) -> None:
        """Take in all messages that have come, waiting at most `seconds` for the first. Raises
        Lost.
        """
        try:
            for kind, value in self.channel.receive(seconds):
                self._take(kind, value)
        except (EOFError, OSError) as error:
            self._raise_end(error)
        self._check_that_it_moves()

    def _raise_end(self, error: Exception) -> NoReturn:
        """Raise what the pack raised as the last it said, such as that a call did not fit its memory;
        else the loss that says how it ended.
        """
        lost = self.channel.how_it_ended()
        with suppress(EOFError, OSError):  # it may have ended while the call was still being sent
            for kind, value in self.channel.receive(0):
                self._take(kind, value)
        if self._answers and isinstance(self._answers[-1], Carried):
            self.answer()
        raise lost from error

    def _take(self, kind: str, value: Any) -> None:
        self._count_silence()
        self._longest, self._silent = max(self._longest, self._silent), 0.0
        self._computed = self.channel.processor_seconds()
        if kind == "said" and isinstance(value, Advanced):
            self._finished = value
        elif kind == "said":
            self._heard.append(value)
        elif kind != "waits":
            self._answers.append(value)

    def _count_silence(self) -> None:
        now = time.monotonic()
        self._silent += min(now - self._looked, AWAY_SECONDS)
        self._looked = now

    def _check_that_it_moves(self) -> None:
        """Raise Lost if the pack stands still. A long evaluation sends no messages but computes, so
        only a pack that does neither counts.
        """
        self._count_silence()
        limit = max(self._standstill, 10 * self._longest)
        if self._silent < limit:
            return
        if self.channel.processor_seconds() - self._computed > COMPUTED_SECONDS:
            self._silent, self._computed = 0.0, self.channel.processor_seconds()
            return
        raise stood_still(self._silent)
