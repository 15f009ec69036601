"""Real processes: eight at once on a new study, and kill -9 in the middle of ask and tell."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.records.results import TrialState
from orchestrator.records.store import StudyFolder
from orchestrator.search.study import Study
from orchestrator.search.trial_results import StudyTrial
from orchestrator.sweepfile.digest import derived_seed
from tests import search_process
from tests.search_helpers import fast_folder, make_spec


@pytest.fixture(name="root")
def _root() -> Iterator[Path]:
    with fast_folder() as folder:
        yield folder


def start(root: Path, *numbers: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.search_process", str(root), *map(str, numbers)]
    where = Path(__file__).resolve().parents[1]
    return subprocess.Popen(
        command, cwd=where, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def trials_of(root: Path) -> tuple[StudyTrial, ...]:
    study = Study.open(root / "small" / "study.db", make_spec("random", seed=4))
    try:
        return study.trials()
    finally:
        study.close()


@pytest.mark.slow
def test_eight_processes_on_a_new_study_share_one_budget(root: Path) -> None:
    process = start(root, 8, 8)
    answer, error = process.communicate(timeout=100)
    assert process.returncode == 0, error
    lines = answer.splitlines()
    assert lines.count("ready") == 8
    told = [line for line in lines if line.startswith("told")]
    assert sorted(int(line.split()[1]) for line in told) == list(range(8))
    assert [trial.state for trial in trials_of(root)] == [TrialState.COMPLETE] * 8


@pytest.mark.parametrize("most", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_kill_nine_loses_nothing_acknowledged_and_doubles_nothing(root: Path, most: int) -> None:
    # enough that the search outlasts its kills, and a run the 0.25 s that one of them waits
    count_of_trials = 4 * most + 24
    asked: dict[int, str] = {}
    told: dict[int, float] = {}
    kills, finished = 0, False
    while not finished:
        process = start(root, count_of_trials)
        assert process.stdout
        # Killed a while after some acknowledged line: the waits are spread over creation, ask,
        # files and tell.
        lines = 1 + derived_seed("lines", kills) % 4
        delay = derived_seed("delay", kills) % 40 / 1000
        timer: threading.Timer | None = None
        for count, line in enumerate(process.stdout):
            acknowledge(line, asked, told)
            if count + 1 == lines and kills < most:
                timer = threading.Timer(
                    0.25 if lines == 1 else delay, process.send_signal, [signal.SIGKILL]
                )
                timer.start()
        _, error = process.communicate()
        if timer:
            timer.cancel()
        assert process.returncode in (0, -signal.SIGKILL), error
        finished = process.returncode == 0
        kills += not finished
    assert kills > most / 2

    trials = trials_of(root)
    assert [trial.number for trial in trials] == list(range(count_of_trials))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert all(trials[number].value == value for number, value in told.items())
    assert {trial.number: json.dumps(trial.params) for trial in trials} == asked
    folder = StudyFolder(root, "small")
    assert [(result.number, result.wer["domain"]) for result in folder.results()] == [
        (trial.number, trial.value) for trial in trials
    ]
    assert sqlite3.connect(folder.database).execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert not list(folder.path.rglob("*.tmp-*"))

    with fast_folder() as undisturbed:
        search_process.run(StudyFolder(undisturbed, "small"), count_of_trials)
        assert [(t.params, t.value) for t in trials_of(undisturbed)] == [
            (t.params, t.value) for t in trials
        ]


def acknowledge(line: str, asked: dict[int, str], told: dict[int, float]) -> None:
    """Take down a line; the same number must never come with something else."""
    if found := re.fullmatch(r"asked (\d+) (.*)\n", line):
        assert asked.setdefault(int(found[1]), found[2]) == found[2]
        assert int(found[1]) not in told, "a told trial ran again"
    elif found := re.fullmatch(r"told (\d+) (.*)\n", line):
        told[int(found[1])] = float(found[2])
