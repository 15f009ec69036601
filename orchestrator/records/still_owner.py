"""Whether a study is still this process's to write to, asked before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Ownership:
    """Of one study; a process that does not hold its lock has nothing to confirm."""

    def __init__(self) -> None:
        """Nothing is held."""
        self._checks: tuple[Callable[[], None], ...] = ()

    def confirm(self) -> None:
        """Raise StudyError where the study is another's by now, or its folder another one."""
        for check in self._checks:
            check()

    @contextmanager
    def confirmed_by(self, *checks: Callable[[], None]) -> Iterator[None]:
        """Within the block the lock is held, and these say whether it still holds."""
        self._checks = checks
        try:
            yield
        finally:
            self._checks = ()
