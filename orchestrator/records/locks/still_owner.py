"""Whether this process may still write to a study, asked before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Ownership:
    """The checks that a study is still this process's. A process that does not hold the study's
    lock has none.
    """

    def __init__(self) -> None:
        """Begin without any check, as no lock is held."""
        self._checks: tuple[Callable[[], None], ...] = ()

    def confirm(self) -> None:
        """Raise StudyError where another process owns the study by now, or its folder was
        replaced.
        """
        for check in self._checks:
            check()

    @contextmanager
    def confirmed_by(self, *checks: Callable[[], None]) -> Iterator[None]:
        """Use these checks, which raise StudyError, while the block holds the lock."""
        self._checks = checks
        try:
            yield
        finally:
            self._checks = ()
