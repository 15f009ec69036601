"""What carries calls to the actor of a pack, and its answers back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from orchestrator.errors import OrchestrateError
from orchestrator.fleet.channels import LOOK_SECONDS, ChannelRemote, Message, stood_still
from orchestrator.fleet.hosts import Lost
from orchestrator.fleet.message_chunks import Joined, packed, pieces
from orchestrator.fleet.ray_actor import Place
from orchestrator.fleet.ray_cluster import how_it_ended

PULL_SECONDS = 1.0
"""How long a machine holds a `pull` open while the pack has nothing to say."""


class ActorChannel:
    """A channel of calls to one actor. Each call is made at most once: where one gets no answer,
    the pack is lost.
    """

    def __init__(self, actor: Any, standstill: float) -> None:
        """`standstill` is how many seconds a call may go without an answer: the actor answers at
        once, whatever its pack does.
        """
        self._actor, self._joined, self._standstill = actor, Joined(), standstill
        self._seconds, self._ended = 0.0, Lost("")
        """The processor time that the actor last reported, and why it ended."""
        self.open = True
        self.pulled = actor.pull.remote(PULL_SECONDS)
        """Ray's reference to the next piece that the pack says."""

    def send(self, message: tuple[object, ...]) -> None:
        """Send a call in pieces, each after the last was received, because calls may overtake each
        other.
        """
        for piece in pieces(packed(message)):
            self._answer(self._actor.push.remote(piece))

    def receive(self, seconds: float) -> Iterator[Message]:
        """Yield the messages that one `pull` brings, and the rest of a message that it begins."""
        import ray

        ready, _ = ray.wait([self.pulled], timeout=seconds)
        while ready:
            piece, self._seconds = self._answer(self.pulled)
            self.pulled = self._actor.pull.remote(PULL_SECONDS)
            yield from self._joined.add(piece)
            ready = self._joined.partial

    def processor_seconds(self) -> float:
        """Return the processor time that the actor last reported."""
        return self._seconds

    def how_it_ended(self) -> Lost:
        """Return the loss that says why the actor is gone, in Ray's words or shorter ones."""
        return self._ended

    def close(self) -> None:
        """End the actor's process."""
        self.open = False
        end_actor(self._actor)

    def _answer(self, reference: Any) -> Any:
        import ray

        silent = 0.0  # counted in looks: the time in which this process stood still is left out
        while not ray.wait([reference], timeout=LOOK_SECONDS)[0]:
            silent += LOOK_SECONDS
            if silent >= self._standstill:
                self._ended = stood_still(silent)
                raise EOFError
        try:
            return ray.get(reference)
        except ray.exceptions.RayError as error:
            self._ended = how_it_ended(error)
            raise EOFError from error


def end_actor(actor: Any) -> None:
    """End the actor's process, if it is not gone already."""
    import ray

    try:
        ray.kill(actor, no_restart=True)
    except ray.exceptions.RayError:
        return  # it is gone already


class ActorRemote(ChannelRemote):
    """A pack in an actor. Once it has loaded, its errors name the machine: a full disk, or a file
    that is not there, is one of that machine.
    """

    def __init__(
        self, channel: ActorChannel, place: Place, sharing: str, standstill: float
    ) -> None:
        """`sharing` says with which pack it shares the machine, in words."""
        super().__init__(channel, place.where + sharing, standstill)
        self.calls, self.place, self.loaded = channel, place, False

    def answer(self) -> Any:
        """Return the answer that has come, or raise what the method raised there."""
        try:
            return super().answer()
        except OrchestrateError as error:
            if not self.loaded:
                raise
            raise type(error)(f"on {self.place.host}: {error}") from error.__cause__
