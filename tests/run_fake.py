"""Run the `orchestrate` command with a fake worker that needs no torch: `python -m tests.run_fake
SECONDS_PER_TICK ARGUMENT...`
"""

from __future__ import annotations

import sys
import time

from orchestrator.cli import main
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Event
from orchestrator.sweepfile.sweep import SweepSpec
from tests.fake_worker import FakeWorker


class SlowWorker(FakeWorker):
    """A fake worker that prints "tick" and sleeps at every tick, so that a test can send a signal
    in between.
    """

    pause = 0.0
    """Seconds that every tick takes."""

    def advance(self) -> tuple[Event, ...]:
        """Announce the tick, sleep, then train."""
        print("tick", file=sys.stderr, flush=True)
        time.sleep(self.pause)
        return super().advance()


def make_worker(spec: SweepSpec, folder: StudyFolder) -> FakeWorker:
    """Make a worker whose sets are named after the domain manifest, so that those of the search and
    those of the confirmation differ.
    """
    pack = 2 if spec.execution.pack == "auto" else spec.execution.pack
    source = spec.data.evaluated["domain"]
    return SlowWorker(
        capacity=pack, sets=source.path.stem if source.split is None else f"{source.part} part"
    )


if __name__ == "__main__":
    SlowWorker.pause = float(sys.argv.pop(1))
    main(make_worker=make_worker)
