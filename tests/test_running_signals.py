"""Real signals to a real process: the study ends as if there had been none."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from orchestrator.records.store import StudyFolder
from orchestrator.sweepfile.loading import load_spec
from tests.cli_project import make_project, orchestrate, process
from tests.running_support import history


def wait_for_ticks(started: subprocess.Popen[str], count: int) -> None:
    assert started.stderr
    for _ in range(count):
        assert started.stderr.readline() == "tick\n"


def numbers(spec: Path) -> list[Any]:
    studies = spec.parents[1] / "studies"
    confirmed = [
        c.model_copy(update={"seconds": 0.0}) for c in StudyFolder(studies, "demo").confirmations()
    ]
    return [*history(load_spec(spec), studies), confirmed]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    spec = make_project(tmp_path_factory.mktemp("straight"))
    assert orchestrate(spec, "-q") == 0
    return numbers(spec)


# SIGINT by default as the first of two, below.
@pytest.mark.parametrize(
    ("number", "ticks"),
    [pytest.param(signal.SIGINT, 3, marks=pytest.mark.slow), (signal.SIGTERM, 5)],
)
def test_a_signal_drains_and_says_how_to_go_on(
    number: signal.Signals, ticks: int, tmp_path: Path, straight: list[Any]
) -> None:
    spec = make_project(tmp_path)
    started = process(spec, pause=0.3)
    wait_for_ticks(started, ticks)
    started.send_signal(number)
    out, error = started.communicate(timeout=60)
    assert started.returncode == 75, error
    assert f"{number.name}: stopping after the present step" in out
    assert "The same command continues" in error and "Traceback" not in error
    assert orchestrate(spec, "-q") == 0
    assert numbers(spec) == straight


def test_a_second_signal_stops_at_once(tmp_path: Path, straight: list[Any]) -> None:
    spec = make_project(tmp_path)
    started = process(spec, pause=20)
    wait_for_ticks(started, 1)
    started.send_signal(signal.SIGINT)
    assert started.stdout
    while "stopping after the present step" not in started.stdout.readline():
        pass
    started.send_signal(signal.SIGINT)
    _, error = started.communicate(timeout=15)
    assert (started.returncode, "stopped at once" in error) == (75, True)
    assert orchestrate(spec, "-q") == 0
    assert numbers(spec) == straight


@pytest.mark.parametrize(
    "ticks",
    [pytest.param(2, marks=pytest.mark.slow), 6, pytest.param(9, marks=pytest.mark.slow)],
)
def test_kill_9_leaves_no_trace(ticks: int, tmp_path: Path, straight: list[Any]) -> None:
    spec = make_project(tmp_path)
    started = process(spec, pause=0.02)
    wait_for_ticks(started, ticks)
    started.kill()
    started.communicate()
    assert orchestrate(spec, "-q") == 0
    assert numbers(spec) == straight
