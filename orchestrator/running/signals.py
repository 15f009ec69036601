"""Orderly ends on signals. The first SIGINT, SIGTERM or SIGHUP asks for an orderly stop, a second
one stops at once, and a third ends the process immediately. In every case the sweep can continue
later.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any, NoReturn

from orchestrator.errors import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Handler = Callable[[int, FrameType | None], None]


class GracefulShutdown:
    """While entered, signals set `requested` instead of ending the process.

    Outside the main thread, where Python allows no signal handlers, it only carries `requested`.
    """

    def __init__(self, say: Callable[[str], None] = lambda _: None) -> None:
        self.requested: str | None = None
        """Name of the signal that asked for a stop; None until then."""
        self._say = say
        self._before: dict[int, Any] = {}
        """Signal number -> the handler to restore on exit."""
        self._at_once = False
        """A second signal came, so the next one ends the process."""

    def __enter__(self) -> GracefulShutdown:
        self._before = _answer_with(self._on_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        _put_back(self._before)

    def check(self) -> None:
        """Raise Interrupted where a signal has asked for a stop."""
        if self.requested is not None:
            raise _stopped_by(self.requested)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self._at_once:
            _end_here(name)
        if self.requested is not None:
            self._at_once = True
            raise Interrupted(
                f"{name}: stopped at once; the same command continues from the last checkpoint"
            )
        self.requested = name
        # a buffered stream is not reentrant: it raises when the signal came while it wrote a line
        with suppress(RuntimeError):
            self._say(f"{name}: stopping after the present step; once more stops at once")


@contextmanager
def continues_later() -> Iterator[None]:
    """Within the block, a signal raises Interrupted at once, with a message saying that the sweep
    continues later. Where a `GracefulShutdown` is entered inside the block, that one decides
    instead.
    """

    stopped = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        name = signal.Signals(number).name
        if stopped:
            _end_here(name)
        stopped = True
        raise _stopped_by(name)

    before = _answer_with(stop)
    try:
        yield
    except KeyboardInterrupt as error:  # a library has a handler of its own
        raise _stopped_by("SIGINT") from error
    finally:
        _put_back(before)


def _end_here(name: str) -> NoReturn:
    """End the process without unwinding. Called while the stack is being left after a stop at once,
    when another exception would surface in whatever library is closing its files.
    """
    with suppress(OSError):  # the terminal may be gone
        os.write(2, f"{name}: ended; the same command continues\n".encode())
    os._exit(Interrupted.exit_code)


def _stopped_by(name: str) -> Interrupted:
    return Interrupted(
        f"Stopped by {name}. What was measured is kept. The same command continues, or writes the "
        "report."
    )


def _answer_with(handler: Handler) -> dict[int, Any]:
    """Install `handler` for all signals and return the handlers that were there before. A SIGHUP
    that the parent process set to be ignored, as nohup does, stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    ignored = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else set()
    return {number: signal.signal(number, handler) for number in _SIGNALS if number not in ignored}


def _put_back(handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
