"""Run a small search in a process of its own, for a test to kill: python -m tests.search_process
ROOT TRIALS [COPIES].

It waits for the lock of the study and prints a line for each step that is on disk: `asked N
{params}`, `told N WER`. With COPIES it forks that many processes, which saves their imports, and
exits with the number of those that failed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from orchestrator.errors import StudyError
from orchestrator.records.results import TrialState
from orchestrator.records.store import StudyFolder
from orchestrator.search.study import Asked, Study
from orchestrator.sweepfile.digest import derived_seed
from tests.search_helpers import make_result, make_spec


def run(folder: StudyFolder, trials: int) -> None:
    """Finish the trials in flight, then ask for trials and finish them until the study has
    `trials`.
    """
    folder.write_spec("name: small\n")
    study = Study.open(folder.database, make_spec("random", seed=4))
    for trial in study.trials():
        if trial.state is TrialState.RUNNING:
            finish(folder, study, Asked(trial.number, trial.params))
    while len(study.trials()) < trials:
        asked_now = study.ask()
        assert asked_now
        study.commit()
        finish(folder, study, asked_now)
    study.close()


def finish(folder: StudyFolder, study: Study, asked: Asked) -> None:
    """Write a made-up result of the trial, then tell the study, in the order of a real sweep."""
    say(f"asked {asked.number} {json.dumps(asked.params)}")
    wer = 30 + derived_seed(json.dumps(asked.params)) % 1000 / 100
    study.report(asked.number, 100, wer)
    folder.write_result(make_result(asked.number, asked.params, wer))
    study.tell(asked.number, make_result(asked.number, asked.params, wer))
    study.commit()
    say(f"told {asked.number} {wer}")
    folder.note(f"told {asked.number}")


def say(line: str) -> None:
    """Print a line at once, so that it is out before the process can be killed."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def wait_and_run() -> None:
    """Wait until the lock of the study is free, then run."""
    folder, trials = StudyFolder(Path(sys.argv[1]), "small"), int(sys.argv[2])
    say("ready")
    while True:
        try:
            with folder.lock():
                run(folder, trials)
            return
        except StudyError as error:
            assert "is in use by" in str(error), error
            time.sleep(0.02)


def main() -> None:
    """Run in this process, or in several forked at once."""
    children = []
    for _ in range(int(sys.argv[3]) if len(sys.argv) > 3 else 0):
        child = os.fork()
        if child == 0:
            wait_and_run()
            return
        children.append(child)
    if not children:
        wait_and_run()
    sys.exit(sum(os.waitpid(child, 0)[1] != 0 for child in children))


if __name__ == "__main__":
    main()
