"""A study in its states, and the names that it has in them."""

from __future__ import annotations

import re
from collections.abc import Callable

from orchestrator.errors import Interrupted
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Event
from orchestrator.sweepfile.sweep import SweepSpec
from tests.cli_project import SWEEP
from tests.fake_worker import FakeWorker

SPEC = (
    SWEEP.replace("budget: {trials: 5}", "budget: {trials: 4, wall_clock: 10h}")
    .replace("seeds: [101, 102]", "seeds: [101, 102, 103]")
    .replace("min_gain: 1.0", "min_gain: 20.0")
)
"""Rejected: no damage may turn that into anything else."""
OTHER = SPEC.replace("learning_rate: 5.0e-4, rank: 32", "learning_rate: 3.0e-3, rank: 8")
SEARCHING, CONFIRMING, FINISHED, ELSE = "searching", "confirming", "finished", "other"
VERIFIED = "verified"
"""Finished, and an exported form was heard."""
STATES = (SEARCHING, CONFIRMING, FINISHED, VERIFIED)
DONE = (FINISHED, VERIFIED)
"""A run has nothing left to do."""


class Stopped(FakeWorker):
    """Is interrupted at some tick of the search, or when the third confirmation run trains."""

    tick, ticks = 10**9, 0
    meanwhile: Callable[[], object] | None = None
    """What is done once, at the second tick of a run."""

    def advance(self) -> tuple[Event, ...]:
        """Ctrl+C, twice."""
        Stopped.tick -= 1
        if Stopped.meanwhile is not None and self.ticks == 1:
            Stopped.meanwhile()
        self.ticks += 1
        if Stopped.tick < 0 or (Stopped.tick < 10**6 and -3 in self.slots):
            raise Interrupted("stopped at once")
        return super().advance()


def stopped(spec: SweepSpec, folder: StudyFolder) -> FakeWorker:
    """Two slots."""
    return Stopped(capacity=2, sets=spec.data.evaluated["domain"].path.stem)


TICKS = {SEARCHING: 6, CONFIRMING: 1000, FINISHED: 10**9, VERIFIED: 10**9, ELSE: 10**9}
"""State -> the tick at which a run is interrupted."""
A_PERSONS = ("notes.md",)
"""Files that a person may write and remove: what a report shows of them goes with them."""
NEVER_THERE = (
    *("storage.json", "study.db-wal", "study.db-shm", "owner", "logs", "cache", "requests"),
    *("tracking", "requests/stop-0000.json", "trials/0000/final", "trials/0000/stop.json"),
    *("trials/0000/failure.txt", "study.db.damaged", "confirm", "confirm/0001", "trials/0009"),
)
"""Names that a study may have and these do not, or not always."""
REPEATED = re.compile(r"(trials/0001|trials/0003|confirm/0002)(/|$)|trials/.*hypotheses.*-0\.5")
"""More of a kind than one."""
