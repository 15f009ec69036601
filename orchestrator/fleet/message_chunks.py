"""Messages in pieces so small that an engine passes them on by itself, and keeps none in a store."""

from __future__ import annotations

import pickle
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

PIECE = 64 * 1024
"""Bytes. Ray sends arguments and results of less than 100 KiB with the call, and puts larger ones
into its object store, which is of limited size and spills to the disk.
"""
_LENGTH = 8
"""Bytes before each message that say how long it is."""


def packed(message: object) -> bytes:
    """A message as it travels."""
    data = pickle.dumps(message)
    return len(data).to_bytes(_LENGTH, "big") + data


def pieces(data: bytes) -> Iterator[bytes]:
    """In order; of `PIECE` bytes but for the last."""
    for start in range(0, len(data), PIECE):
        yield data[start : start + PIECE]


class Joined:
    """Messages out of the pieces in which they came."""

    def __init__(self) -> None:
        self._data = bytearray()

    @property
    def partial(self) -> bool:
        """The rest of a message is still to come."""
        return bool(self._data)

    def add(self, piece: bytes) -> Iterator[Any]:
        """The messages that are whole by now."""
        self._data += piece
        while len(self._data) >= _LENGTH:
            end = _LENGTH + int.from_bytes(self._data[:_LENGTH], "big")
            if len(self._data) < end:
                return
            message = pickle.loads(bytes(self._data[_LENGTH:end]))
            del self._data[:end]
            yield message


class Outbox:
    """What one thread sends and another one takes away in pieces."""

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, message: object) -> None:
        """Never waits."""
        with self._changed:
            self._pieces.extend(pieces(packed(message)))
            self._changed.notify_all()

    def take(self, seconds: float) -> bytes:
        """The next piece, waiting so long for it; empty where none came. Raises EOFError where
        nothing comes any more.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._pieces or self._closed, seconds)
            if self._pieces:
                return self._pieces.popleft()
            if self._closed:
                raise EOFError("nothing comes any more")
            return b""

    def close(self) -> None:
        """Nothing comes after what was put in."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
