"""The states in which the matrix of damages takes a study, and the names of files in them."""

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
"""The sweep. Its verdict is a rejection, which no damage may turn into anything else."""
OTHER = SPEC.replace("learning_rate: 5.0e-4, rank: 32", "learning_rate: 3.0e-3, rank: 8")
"""Another sweep, whose study supplies files that do not belong to this one."""
SEARCHING, CONFIRMING, FINISHED, ELSE = "searching", "confirming", "finished", "other"
VERIFIED = "verified"
"""Finished, and then `orchestrate verify` was run on an exported form."""
STATES = (SEARCHING, CONFIRMING, FINISHED, VERIFIED)
DONE = (FINISHED, VERIFIED)
"""The states in which a run has nothing left to do."""


class Stopped(FakeWorker):
    """A fake worker that is interrupted when `tick` ticks are over, or, where `tick` is a small
    number that they do not reach, when the third confirmation run trains.
    """

    tick, ticks = 10**9, 0
    """Ticks left before the interruption, over all runs; ticks of this worker so far."""
    meanwhile: Callable[[], object] | None = None
    """Called at the second tick of a run, if set."""

    def advance(self) -> tuple[Event, ...]:
        """Raise at its time what Ctrl+C, pressed twice, raises; otherwise train."""
        Stopped.tick -= 1
        if Stopped.meanwhile is not None and self.ticks == 1:
            Stopped.meanwhile()
        self.ticks += 1
        if Stopped.tick < 0 or (Stopped.tick < 10**6 and -3 in self.slots):
            raise Interrupted("stopped at once")
        return super().advance()


def stopped(spec: SweepSpec, folder: StudyFolder) -> FakeWorker:
    """Make a worker of two slots that is interrupted; the factory that commands are given."""
    return Stopped(capacity=2, sets=spec.data.evaluated["domain"].path.stem)


TICKS = {SEARCHING: 6, CONFIRMING: 1000, FINISHED: 10**9, VERIFIED: 10**9, ELSE: 10**9}
"""State -> `Stopped.tick` of the run that makes a study in it; 1000 is for the third confirmation
run, 10**9 for no interruption.
"""
A_PERSONS = ("notes.md",)
"""Files that a person may write and remove. What a report shows of them may change with them."""
NEVER_THERE = (
    *("storage.json", "study.db-wal", "study.db-shm", "owner", "logs", "cache", "requests"),
    *("tracking", "requests/stop-0000.json", "trials/0000/final", "trials/0000/stop.json"),
    *("trials/0000/failure.txt", "study.db.damaged", "confirm", "confirm/0001", "trials/0009"),
)
"""Names that a study may have, but that not all of the studies here have."""
REPEATED = re.compile(r"(trials/0001|trials/0003|confirm/0002)(/|$)|trials/.*hypotheses.*-0\.5")
"""Names left out, since they are a second one of their kind."""
