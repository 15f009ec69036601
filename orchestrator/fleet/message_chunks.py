"""Messages as bytes that are put together again at the other end, whatever the pieces in which they
travel; pieces small enough that Ray sends each with its call instead of putting it into the object
store.
"""

from __future__ import annotations

import pickle
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

PIECE = 64 * 1024
"""Bytes of a piece. Ray sends arguments and results of less than 100 KiB with the call, and puts
larger ones into its object store, which is of limited size and spills to the disk.
"""
_LENGTH = 8
"""Bytes of the length that stands before each message."""


def packed(message: object) -> bytes:
    """Return a message as it travels: its length, then its pickle."""
    data = pickle.dumps(message)
    return len(data).to_bytes(_LENGTH, "big") + data


def pieces(data: bytes) -> Iterator[bytes]:
    """Yield the pieces in order, all of `PIECE` bytes but the last."""
    for start in range(0, len(data), PIECE):
        yield data[start : start + PIECE]


class Joined:
    """Puts messages together from the pieces in which they come."""

    def __init__(self) -> None:
        self._data = bytearray()

    @property
    def partial(self) -> bool:
        """The rest of a message is still to come."""
        return bool(self._data)

    def add(self, piece: bytes) -> Iterator[Any]:
        """Add a piece and yield the messages that are complete with it."""
        self._data += piece
        while len(self._data) >= _LENGTH:
            end = _LENGTH + int.from_bytes(self._data[:_LENGTH], "big")
            if len(self._data) < end:
                return
            # a state may be hundreds of megabytes: no copy of it is made here
            with memoryview(self._data) as held, held[_LENGTH:end] as data:
                message = pickle.loads(data)
            del self._data[:end]
            yield message


class Outbox:
    """A queue of messages that one thread sends and another takes in pieces."""

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, message: object) -> None:
        """Queue a message; never waits."""
        with self._changed:
            self._pieces.extend(pieces(packed(message)))
            self._changed.notify_all()

    def take(self, seconds: float) -> bytes:
        """Return the next piece, waiting at most `seconds` for it; empty where none came. Raises
        EOFError once the box is closed and empty.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._pieces or self._closed, seconds)
            if self._pieces:
                return self._pieces.popleft()
            if self._closed:
                raise EOFError("nothing comes any more")
            return b""

    def close(self) -> None:
        """Let nothing follow what was put in."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
