"""A first SIGINT or SIGTERM asks for an orderly stop, a second one stops at once. Either way the
sweep can continue.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from orchestrator.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class GracefulShutdown:
    """While entered, signals set `requested` instead of ending the process.

    Outside the main thread, where Python allows no handlers, it only carries `requested`.
    """

    def __init__(self, say: Callable[[str], None] = lambda _: None) -> None:
        self.requested: str | None = None
        self._say = say
        self._before: dict[int, Any] = {}

    def __enter__(self) -> GracefulShutdown:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self.requested is not None:
            raise Interrupted(
                f"{name}: stopped at once; the same command continues from the last checkpoint"
            )
        self.requested = name
        self._say(f"{name}: stopping after the present step; once more stops at once")
