"""Kills a sweep at its k-th effect: every file written, every commit of the study, every deed of the
worker.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from orchestrator.records import journal, sealed, unsealed
from orchestrator.records.store import StudyFolder
from orchestrator.running import checkpoints
from orchestrator.search.write_through import WriteThroughStorage
from tests.fake_worker import FakeWorker

WORKER_DEEDS = ("measure_baseline", "admit", "advance", "export", "release", "save", "restore")


class Killed(BaseException):
    """In the place of SIGKILL: nothing in the product may catch it."""


class Fuse:
    """Counts effects and kills at the one it was set to; each counts twice, before and after it was
    done.
    """

    def __init__(self, at: int | None = None, end: type[BaseException] = Killed) -> None:
        self.at = at
        self.count = 0
        self._end = end

    def step(self) -> None:
        """One half of an effect."""
        self.count += 1
        if self.count == self.at:
            raise self._end("at an effect")

    def around(self, original: Any) -> Any:
        """The same function, watched."""

        def watched(*args: Any, **kwargs: Any) -> Any:
            self.step()
            result = original(*args, **kwargs)
            self.step()
            return result

        return watched


@contextmanager
def effects(fuse: Fuse) -> Iterator[None]:
    """All effects of a sweep go through `fuse`."""
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
