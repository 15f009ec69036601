"""What one trial costs beside its training: the sweep's loop with a worker that trains by counting.

    python benchmarks/orchestration.py [--trials 100,1000] [--packs 1,8,32] [--against PATH_OR_REF]

Every row is a process and a study of its own, in a temporary folder; ten thousand trials are
`--trials 10000`. With `--against` each row is measured in another checkout as well, right after
ours: a folder, or a git reference from the one on that added this script, of which a worktree is
made and removed. Trials have two or three rungs on two sets of 200 utterances of 40 speakers, random
search, 10,000 resamples a bound.

ms is wall time a trial without start-up, cpu_ms its processor time: compare rows of one run only.
The counts are exact.
fsyncs are those of our own files; SQLite adds one a commit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _shared.checkouts import checkout

HERE = Path(__file__).resolve().parent.parent
COLUMNS = ("ms", "cpu_ms", "commits", "fsyncs", "draws", "saves", "exports")


def main() -> None:
    """Measure and print, or be the process that measures one row."""
    options = _options()
    if options.row:
        print(json.dumps(measure_row(*(int(part) for part in options.row.split(",")))))
        return
    print(f"a trial:     {''.join(f'{name:>10}' for name in COLUMNS)}")
    with checkout(options.against) as other:
        for trials in options.trials:
            for pack in options.packs:
                print(f"{trials} trials, pack of {pack}")
                for name, path in (("ours", HERE), ("against", other)):
                    if path:
                        row = row_of(path, trials, pack)
                        figures = "".join(f"{row[column]:10.2f}" for column in COLUMNS)
                        print(f"  {name:<10} {figures}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=_numbers, default=[100, 1000], help="such as 100,1000")
    parser.add_argument("--packs", type=_numbers, default=[1, 8, 32], help="such as 1,8,32")
    parser.add_argument("--against", help="another checkout: a folder or a git reference")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    return parser.parse_args()


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def row_of(path: Path, trials: int, pack: int) -> dict[str, float]:
    """Return the figures of one study, measured by this script as it is in the checkout `path`: the
    other checkout's modules may have other names, which only its own script knows.
    """
    script = path / "benchmarks" / "orchestration.py"
    command = [sys.executable, str(script), "--row", f"{trials},{pack}"]
    environment = os.environ | {"PYTHONPATH": str(path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=environment, cwd=path, stdout=subprocess.PIPE, text=True, check=True
    )
    row: dict[str, float] = json.loads(done.stdout)
    return row


def measure_row(trials: int, pack: int) -> dict[str, float]:
    """Run one study of `trials` in packs of `pack`; return the figures of `COLUMNS` per trial."""
    counted = dict.fromkeys(COLUMNS, 0.0)
    _run(2, pack, counted)  # imports and compiles what a first study needs, before anything counts
    _count(counted)
    _run(trials, pack, counted)
    return {name: value / trials for name, value in counted.items()}


def _run(trials: int, pack: int, counted: dict[str, float]) -> None:
    """Run one study, and write into `counted` how long it took; the patches of `_count` add to it
    meanwhile.
    """
    from orchestrator.records.store import StudyFolder
    from orchestrator.running.sweep_loop import run_sweep
    from orchestrator.search.study import Study
    from orchestrator.sweepfile.search_space import Dimension
    from orchestrator.sweepfile.sweep import Budget
    from tests.fake_worker import FakeWorker
    from tests.running_support import make_spec

    searched = (
        Dimension(name="learning_rate", low=1e-5, high=1e-3, log=True),
        Dimension(name="max_steps", choices=(200, 300)),
    )
    spec = make_spec(
        method="random", searched=searched, budget=Budget(trials=trials), scales=(1.0,)
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = StudyFolder(Path(temporary), spec.name)
        with folder.lock():
            study = Study.open(folder.database, spec)
            counted.update(dict.fromkeys(COLUMNS, 0.0))
            began, used = time.perf_counter(), time.process_time()
            outcome = run_sweep(spec, folder, FakeWorker(capacity=pack), study)
            counted["ms"] = 1000 * (time.perf_counter() - began)
            counted["cpu_ms"] = 1000 * (time.process_time() - used)
            study.close()
    assert len(outcome.results) == trials, "every trial has to end"


def _count(counted: dict[str, float]) -> None:
    """From here on count into `counted` the commits, fsyncs, drawn blocks of resamples, saves and
    exports of this process, by patching the functions that do them.
    """
    import sqlalchemy

    from orchestrator.scoring import bootstrap
    from tests.fake_worker import FakeWorker

    def watch(owner: Any, name: str, column: str) -> None:
        original = getattr(owner, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            counted[column] += 1
            return original(*args, **kwargs)

        setattr(owner, name, watched)

    def committed(_connection: object) -> None:
        counted["commits"] += 1

    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "commit", committed)
    watch(os, "fsync", "fsyncs")
    watch(bootstrap, "_multinomial_counts", "draws")
    watch(FakeWorker, "save", "saves")
    watch(FakeWorker, "export", "exports")


if __name__ == "__main__":
    main()
