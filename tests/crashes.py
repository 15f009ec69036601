"""Kill a sweep at its k-th effect. Effects are every write of a file, every commit of the study,
and every call of the worker.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from orchestrator.records.journal import journal, sealed, unsealed
from orchestrator.records.store import StudyFolder
from orchestrator.running import checkpoints
from orchestrator.search.write_through import WriteThroughStorage
from tests.fake_worker import FakeWorker

WORKER_DEEDS = ("measure_baseline", "admit", "advance", "export", "release", "save", "restore")


class Killed(BaseException):
    """Raised to end a run as SIGKILL would: nothing in the product may catch it."""


class Fuse:
    """Counts effects and raises `end` at number `at`, if any. Each effect counts twice, before and
    after it is done.
    """

    def __init__(self, at: int | None = None, end: type[BaseException] = Killed) -> None:
        self.at = at
        self.count = 0
        self._end = end

    def step(self) -> None:
        """Count one half of an effect, and raise where it is number `at`."""
        self.count += 1
        if self.count == self.at:
            raise self._end("at an effect")

    def around(self, original: Any) -> Any:
        """Return the function with a `step` before and one after it."""

        def watched(*args: Any, **kwargs: Any) -> Any:
            self.step()
            result = original(*args, **kwargs)
            self.step()
            return result

        return watched


@contextmanager
def effects(fuse: Fuse) -> Iterator[None]:
    """While the context lasts, every effect of a sweep in this process goes through `fuse`."""
    targets: list[tuple[Any, str]] = [(room, "write_aside") for room in (unsealed, checkpoints)]
    targets += [(sealed, "write_together"), (StudyFolder, "drop_final"), (journal.Journal, "seal")]
    targets += [(WriteThroughStorage, "commit")]
    targets += [(FakeWorker, name) for name in WORKER_DEEDS]
    patches = [
        mock.patch.object(owner, name, fuse.around(getattr(owner, name))) for owner, name in targets
    ]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()
