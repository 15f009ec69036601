"""A pack at the other end of a channel, whatever carries the messages: a pipe to a process, or calls
of an actor.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Protocol

from orchestrator.fleet.child import Carried
from orchestrator.fleet.hosts import Lost
from orchestrator.fleet.pack_commands import Advanced, PackState, Rebuilt
from orchestrator.records.worker_protocol import Progress

STANDSTILL_SECONDS = 300.0
"""A pack that says nothing and computes nothing for so long, or ten times its longest silence, is
ended.
"""
COMPUTED_SECONDS = 1.0
"""Of processor time: less is what a process spends that waits for something that never comes."""
LOOK_SECONDS = 1.0

Message = tuple[str, Any]
"""What a pack sends: "said", "answer" or "raised", and the value."""


class Channel(Protocol):
    """Carries method calls to one pack, and its messages back."""

    def send(self, message: tuple[object, ...]) -> None:
        """Raises EOFError or OSError where nobody is there any more."""

    def receive(self, seconds: float) -> Iterable[Message]:
        """All that has come; waits so long for the first of it. Raises EOFError or OSError where
        nothing comes any more.
        """

    def processor_seconds(self) -> float:
        """Of processor time, which its process has spent so far."""

    def how_it_ended(self) -> str:
        """Why nothing comes any more, in words."""

    def close(self) -> None:
        """End its process; never waits for it."""


class ChannelRemote:
    """The orchestrator's end of a channel."""

    def __init__(self, channel: Channel, where: str, standstill: float) -> None:
        self.channel, self.where, self._standstill = channel, where, standstill
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
        """Nothing that it holds is needed."""
        self.channel.close()

    def _send(self, *message: object) -> None:
        self._last, self._computed = time.monotonic(), self.channel.processor_seconds()
        try:
            self.channel.send(message)
        except (EOFError, OSError) as error:
            raise Lost(self.channel.how_it_ended()) from error

    def _receive(self, seconds: float) -> None:
        """Take in all that has come; wait so long for the first of it."""
        try:
            for kind, value in self.channel.receive(seconds):
                self._take(kind, value)
        except (EOFError, OSError) as error:
            raise Lost(self.channel.how_it_ended()) from error
        self._check_that_it_moves()

    def _take(self, kind: str, value: Any) -> None:
        now = time.monotonic()
        self._longest, self._last = max(self._longest, now - self._last), now
        self._computed = self.channel.processor_seconds()
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
        if self.channel.processor_seconds() - self._computed > COMPUTED_SECONDS:
            self._last, self._computed = time.monotonic(), self.channel.processor_seconds()
            return
        raise Lost(f"stood still for {silent:.0f} s and was ended")
