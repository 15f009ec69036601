"""A machine whose network is cut for a minute: its packs go on elsewhere, and what they still
compute changes nothing.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from orchestrator.fleet.fleet import Fleet
from tests.ray_support import STORE, RayCluster, joined
from tests.test_services_ray import hosts_of, inline, searched, texts, wait_for

NAMESPACE, LINK, PEER = "orchestrate-far", "orch0", "orch1"
HERE, THERE = "10.213.7.1", "10.213.7.2"
CUT_SECONDS = 60.0


def ip(*words: str, check: bool = True) -> bool:
    """The command of iproute2; whether it succeeded."""
    return subprocess.run(["ip", *words], capture_output=True, check=check).returncode == 0


def permitted() -> bool:
    """Whether this user may make network namespaces here."""
    try:
        made = ip("netns", "add", f"{NAMESPACE}-try", check=False)
        ip("netns", "del", f"{NAMESPACE}-try", check=False)
    except OSError:  # no such command
        return False
    return made


pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra `ray`"),
]


@pytest.fixture
def link() -> Iterator[None]:
    """Two network namespaces, joined by a pair of virtual cards."""
    if not permitted():
        pytest.skip("needs iproute2, and the right to make network namespaces")
    try:
        ip("netns", "add", NAMESPACE)
        ip("link", "add", LINK, "type", "veth", "peer", "name", PEER, "netns", NAMESPACE)
        ip("addr", "add", f"{HERE}/24", "dev", LINK)
        ip("link", "set", LINK, "up")
        for words in (
            ("addr", "add", f"{THERE}/24", "dev", PEER),
            ("link", "set", PEER, "up"),
            ("link", "set", "lo", "up"),
        ):
            ip("-n", NAMESPACE, *words)
        yield
    finally:
        ip("link", "del", LINK, check=False)
        ip("netns", "del", NAMESPACE, check=False)


@pytest.fixture
def cluster(link: None) -> Iterator[RayCluster]:
    made = RayCluster(HERE)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def far(cluster: RayCluster) -> Iterator[subprocess.Popen[bytes]]:
    """A node of two cores in the other namespace, as `ray start` makes it."""
    ray = Path(sys.executable).with_name("ray")
    command = [*("ip", "netns", "exec", NAMESPACE), str(ray), "start", "--block"]
    command += ["--address", cluster.address, "--node-ip-address", THERE, "--num-cpus", "2"]
    node = subprocess.Popen([*command, "--object-store-memory", str(STORE)])
    yield node
    for process in psutil.Process(node.pid).children(recursive=True):
        process.kill()
    node.kill()
    node.wait()


def test_a_machine_cut_off_for_a_minute_leaves_no_trace(
    cluster: RayCluster, far: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    said: list[str] = []
    logs = tmp_path / "logs"
    with joined(cluster, HERE):
        import ray

        wait_for(lambda: sum(node["Alive"] for node in ray.nodes()) == 2)
        hosts = hosts_of(tmp_path, said)
        fleet = Fleet(hosts, 2, 2, logs, 0.0)
        cut_at, pid, events = 0.0, 0, 0

        def between() -> None:
            nonlocal cut_at, pid, events
            events += 1
            if events == 3:
                pid, cut_at = hosts._used[0].place.pid, time.monotonic()
                ip("link", "set", LINK, "down")
                cluster.add()
                cluster.add()

        there = searched(fleet, tmp_path / "saves", between)
        assert cut_at and psutil.pid_exists(pid), "it lives on beyond the cut"
        time.sleep(max(0.0, CUT_SECONDS - (time.monotonic() - cut_at)))
        ip("link", "set", LINK, "up")
        # its raylet hears that it was given up, and ends with all that it ran
        wait_for(lambda: not alive(pid))
    assert there == inline(tmp_path / "inline")
    for text in texts(logs):
        assert text.count("it continues from what was saved") == 1, said


def alive(pid: int) -> bool:
    """Whether it runs; what ended and waits for its parent does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
