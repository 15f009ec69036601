"""Packs on a real Ray cluster of this machine, whose nodes, actors and driver are killed: the study
is that of packs inline.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestrator.errors import FingerprintError
from orchestrator.fleet.fleet import Fleet
from orchestrator.fleet.hosts import InlineHosts
from orchestrator.fleet.identity import Identity, versions
from orchestrator.fleet.ray_hosts import RayHosts
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker import Event, Worker
from orchestrator.sweepfile.loading import load_spec
from orchestrator.sweepfile.sweep import SweepSpec
from tests.cli_project import SWEEP, folder_of, make_project, orchestrate, process
from tests.fake_worker import FakeWorker
from tests.fleet_support import drive, next_plan
from tests.test_fleet_cli import came
from tests.ray_support import RayCluster, joined, ray_cluster

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra `ray`"),
]
TRIALS = 8
RAY = "execution: {pack: 2, packs: 2, cores: 1, device: cpu, launcher: ray}\n"
LOCAL = RAY.replace("launcher: ray", "processes: false")


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with ray_cluster() as made:
        yield made


class SlowWorker(FakeWorker):
    """Takes so long for every step that it can be met while it trains."""

    def advance(self) -> tuple[Event, ...]:
        time.sleep(0.004)
        return super().advance()


def make_slow(spec: SweepSpec, folder: StudyFolder) -> Worker:
    """What runs on the nodes."""
    return SlowWorker(every_progress=1)


def make_of_version(spec: SweepSpec, folder: StudyFolder) -> Worker:
    """A worker that evaluates as its machine says."""
    return FakeWorker(version=os.environ.get("EVALUATES_AS", "1"))


def hosts_of(
    tmp_path: Path,
    said: list[str],
    make: Callable[[SweepSpec, StudyFolder], Worker] = make_slow,
    packs: int = 2,
    **changes: Any,
) -> RayHosts:
    execution = RAY.replace("packs: 2", f"packs: {packs}")
    spec = load_spec(make_project(tmp_path / "project", SWEEP + execution))
    template = FakeWorker()
    wanted = Identity(versions(), {}, template.evaluation, {})
    return RayHosts(template, spec, make, wanted, said.append, **changes)


def searched(fleet: Fleet, saves: Path, between: Callable[[], None] = lambda: None) -> list[str]:
    """A search in small; `between` is called whenever something was said."""

    def save() -> None:
        between()
        if fleet.active:
            fleet.save(saves / f"{len(list(saves.glob('*')))}")

    saves.mkdir(parents=True)
    try:
        return drive(fleet, TRIALS, save)
    finally:
        fleet.close()


def inline(folder: Path, packs: int = 2) -> list[str]:
    return searched(Fleet(InlineHosts(FakeWorker()), packs, 2, save_every=0.0), folder)


def pids(logs: Path) -> dict[int, int]:
    """Pack -> its process, as the logs last said."""
    found = {}
    for path in logs.glob("pack-*.log"):
        said = re.findall(r"runs in process (\d+)", path.read_text())
        found[int(path.stem.split("-")[1])] = int(said[-1])
    return found


def test_packs_that_lose_actors_raylets_and_nodes_are_those_inline(
    cluster: RayCluster, tmp_path: Path
) -> None:
    nodes, said = cluster.only(2), list[str]()
    logs = tmp_path / "logs"
    deaths = iter(
        (
            lambda: os.kill(pids(logs)[0], signal.SIGKILL),
            lambda: cluster.remove(nodes[0]),
            cluster.add,
            lambda: cluster.kill_raylet(nodes[1]),
            cluster.add,
        )
    )
    counted = 0

    def between() -> None:
        nonlocal counted
        counted += 1
        if counted % 3 == 0 and (death := next(deaths, None)):
            death()

    with joined(cluster):
        fleet = Fleet(hosts_of(tmp_path, said), 2, 2, logs, 0.0)
        there = searched(fleet, tmp_path / "saves", between)
    assert there == inline(tmp_path / "inline")
    assert next(deaths, None) is None
    text = "".join(path.read_text() for path in logs.glob("*.log"))
    assert text.count("it continues from what was saved") >= 3
