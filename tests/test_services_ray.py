"""Packs on a real Ray cluster of this machine, whose nodes, actors and driver are killed: the study
is that of packs inline.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestrator.errors import FingerprintError, Interrupted, StudyError
from orchestrator.fleet.fleet import Fleet
from orchestrator.fleet.hosts import InlineHosts, NoRoom, Remote
from orchestrator.fleet.machine_identity import Identity, identity_of, versions
from orchestrator.fleet.placement import as_measured
from orchestrator.fleet.ray_hosts import START_SECONDS, RayHosts
from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Event, Measured, Worker
from orchestrator.sweepfile.loading import load_spec
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.tuning.worker import start_worker
from tests.cli_project import SWEEP, folder_of, make_project, orchestrate, process
from tests.embedded import small_sweep
from tests.fake_worker import FakeWorker
from tests.fleet_support import drive, next_plan
from tests.ray_support import STORE, RayCluster, joined, ray_cluster
from tests.test_fleet_cli import came
from tests.test_fleet_torch import SIZES, trained

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
    most: int | None = None,
    **changes: Any,
) -> RayHosts:
    execution = RAY.replace("packs: 2", f"packs: {packs}")
    spec = load_spec(make_project(tmp_path / "project", SWEEP + execution))
    template = FakeWorker()
    wanted = Identity(versions(), {}, template.evaluation, {})
    return RayHosts(template, spec, make, wanted, most or packs, said.append, **changes)


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
    cluster.only(2)
    said: list[str] = []
    logs = tmp_path / "logs"
    with joined(cluster):
        hosts = hosts_of(tmp_path, said, room=15.0)

        def node_of(index: int) -> Any:
            """Of a pack, and another one to go to."""
            [node] = [
                node
                for node in cluster.cluster.worker_nodes
                if node.node_id == hosts._used[index].place.node
            ]
            cluster.add()
            return node

        def kill_actor() -> None:
            process = pids(logs)[0]
            os.kill(process, signal.SIGKILL)
            wait_for(lambda: is_gone(process))

        def lose_machine(index: int, how: Callable[[Any], None]) -> None:
            node = node_of(index)
            how(node)
            wait_for(lambda: not is_alive(node))

        deaths: list[Callable[[], None]] = [
            kill_actor,
            partial(lose_machine, 1, cluster.remove),
            partial(lose_machine, 0, cluster.kill_raylet),
        ]
        events = 0

        def between() -> None:
            """A death, where all that died before it has come to something again."""
            nonlocal events
            events += 1
            lost = sum(text.count("lost in ") for text in texts(logs))
            if deaths and events % 3 == 0 and lost >= 3 - len(deaths):
                deaths.pop(0)()

        fleet = Fleet(hosts, 2, 2, logs, 0.0)
        there = searched(fleet, tmp_path / "saves", between)
    assert there == inline(tmp_path / "inline")
    assert deaths == []
    assert sum(text.count("it continues from what was saved") for text in texts(logs)) >= 3


def is_alive(node: Any) -> bool:
    """As Ray sees it."""
    import ray

    return any(each["Alive"] and each["NodeID"] == node.node_id for each in ray.nodes())


def is_gone(process: int) -> bool:
    """Whether it runs no more; its parent may be gone, too, and not have asked how it ended."""
    try:
        return psutil.Process(process).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def texts(logs: Path) -> list[str]:
    return [path.read_text() for path in logs.glob("*.log")]


class Heavy(SlowWorker):
    """Its state is larger than the object store of a node."""

    def save(self, folder: Path) -> None:
        super().save(folder)
        (folder / "weights").write_bytes(bytes(range(256)) * (STORE // 256 + 1))

    def restore(self, folder: Path, plans: dict[int, TrialPlan]) -> None:
        assert (folder / "weights").stat().st_size > STORE
        super().restore(folder, plans)


def make_heavy(spec: SweepSpec, folder: StudyFolder) -> Worker:
    """What runs on the nodes."""
    return Heavy(every_progress=1)


def test_a_state_larger_than_the_object_store_comes_home_and_goes_elsewhere(
    cluster: RayCluster, tmp_path: Path
) -> None:
    cluster.only(1)
    said: list[str] = []
    with joined(cluster):
        import ray

        fleet = Fleet(hosts_of(tmp_path, said, make_heavy), 1, 2, tmp_path / "logs", 0.0)
        fleet.admit(next_plan(0, []))
        first = measured(fleet)
        fleet.save(tmp_path / "saved")
        os.kill(pids(tmp_path / "logs")[0], signal.SIGKILL)
        second = measured(fleet)
        # of the nodes that are left: one killed before is counted until Ray misses it
        wait_for(lambda: store_of(ray.available_resources()) == store_of(ray.cluster_resources()))
        fleet.close()
    assert (tmp_path / "saved" / "pack-0" / "weights").stat().st_size > STORE
    assert (first.step, second.step) == (100, 200)


def store_of(resources: dict[str, float]) -> float:
    """Bytes for Ray's objects."""
    return resources["object_store_memory"]


def measured(fleet: Fleet) -> Measured:
    """The next evaluation."""
    while True:
        for event in fleet.advance():
            if isinstance(event, Measured):
                return event


def test_a_pack_that_stands_still_as_it_is_called_is_ended_and_made_again(
    cluster: RayCluster, tmp_path: Path
) -> None:
    cluster.only(2)
    logs = tmp_path / "logs"
    with joined(cluster):
        fleet = Fleet(hosts_of(tmp_path, [], standstill=5.0), 2, 2, logs, 0.0)
        fleet.admit(next_plan(0, []))
        first, process = measured(fleet), pids(logs)[0]
        os.kill(process, signal.SIGSTOP)
        fleet.save(tmp_path / "saved")
        second = measured(fleet)
        fleet.close()
        os.kill(process, signal.SIGCONT)  # it was told to end
        wait_for(lambda: is_gone(process))
    assert (first.step, second.step) == (100, 200)
    assert "(stood still for 5 s and was ended); it continues" in texts(logs)[0]


def test_packs_wait_for_a_machine_and_then_share_one(cluster: RayCluster, tmp_path: Path) -> None:
    cluster.only(1)
    said: list[str] = []
    with joined(cluster):
        hosts = hosts_of(tmp_path, said, packs=2, room=START_SECONDS)
        there = searched(Fleet(hosts, 2, 2, tmp_path / "logs", 0.0), tmp_path / "saves")
    assert there == inline(tmp_path / "inline")
    assert "pack 1 waits for a machine with 1 CPU to spare" in said
    last = re.fullmatch(r"pack 1 goes on in process \d+ on \S+, shared with pack 0", said[-1])
    assert last, said


def other_soundfile(folder: Path) -> str:
    """A path on which another version of a package lies, before that of the environment."""
    place = folder / "soundfile-0.0.1.dist-info"
    place.mkdir(parents=True)
    (place / "METADATA").write_text("Metadata-Version: 2.1\nName: soundfile\nVersion: 0.0.1\n")
    return os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))


def test_a_machine_of_other_versions_is_refused_and_others_are_used(
    cluster: RayCluster, tmp_path: Path
) -> None:
    cluster.only(0)
    other = cluster.add(PYTHONPATH=other_soundfile(tmp_path / "other"))
    said: list[str] = []
    with joined(cluster):
        with pytest.raises(
            FingerprintError,
            match=r"(?s)is refused: soundfile is 0\.0\.1 there and 0\.1\S+ on the machine of the "
            r"study.*same environment",
        ):
            searched(Fleet(hosts_of(tmp_path, said), 2, 2), tmp_path / "refused")
        assert [text for text in said if "refused" in text] == []
        good = cluster.add()
        # two packs of a core each: both machines are tried
        hosts = hosts_of(tmp_path, said, room=2.0)
        there = searched(Fleet(hosts, 2, 2, tmp_path / "logs", 0.0), tmp_path / "saves")
        assert {used.place.node for used in hosts._used.values()} == {good.node_id}
    cluster.remove(other)
    assert there == inline(tmp_path / "inline")
    refusals = [text for text in said if "soundfile is 0.0.1 there" in text]
    assert refusals[0].endswith("its packs go elsewhere") and len(refusals) == 1


def test_mixed_devices_are_refused(cluster: RayCluster, tmp_path: Path) -> None:
    cluster.only(0)
    cluster.add(EVALUATES_AS="2")
    said: list[str] = []
    with (
        joined(cluster),
        pytest.raises(
            FingerprintError, match="version is 2 there and 1 on the machine of the study"
        ),
    ):
        searched(Fleet(hosts_of(tmp_path, said, make_of_version), 2, 2), tmp_path / "saves")


class Broken(FakeWorker):
    """Of a machine whose GPU is not to be had."""

    @property
    def evaluation(self) -> dict[str, str]:
        if "GPU_IS_GONE" in os.environ:
            raise RuntimeError("No CUDA GPUs are available")
        return super().evaluation


def make_broken(spec: SweepSpec, folder: StudyFolder) -> Worker:
    """What runs on the nodes."""
    return Broken(every_progress=1)


def test_a_machine_that_cannot_load_the_model_is_refused_and_another_is_used(
    cluster: RayCluster, tmp_path: Path
) -> None:
    cluster.only(0)
    cluster.add(GPU_IS_GONE="1")
    said: list[str] = []
    with joined(cluster):
        with pytest.raises(StudyError, match=r"is refused: RuntimeError: No CUDA GPUs are avail"):
            searched(Fleet(hosts_of(tmp_path, said, make_broken), 2, 2), tmp_path / "refused")
        assert [text for text in said if "refused" in text] == []
        good = cluster.add()
        # two packs of a core each: both machines are tried
        hosts = hosts_of(tmp_path, said, make_broken, room=2.0)
        fleet = Fleet(hosts, 2, 2, tmp_path / "logs", 0.0)
        there = searched(fleet, tmp_path / "saves")
        assert {used.place.node for used in hosts._used.values()} == {good.node_id}
    assert there == inline(tmp_path / "inline")
    [refusal] = [text for text in said if "refused" in text]
    assert "No CUDA GPUs are available" in refusal and refusal.endswith("its packs go elsewhere")


def make_never(spec: SweepSpec, folder: StudyFolder) -> Worker:
    """A worker that takes for ever to load, as where a machine decodes much audio."""
    (spec.project / "loads").touch()
    time.sleep(3600.0)
    raise AssertionError


def test_a_run_stops_while_a_machine_loads(cluster: RayCluster, tmp_path: Path) -> None:
    cluster.only(1)

    def stop() -> None:
        if (tmp_path / "project" / "loads").exists():
            raise Interrupted("asked to")

    with joined(cluster):
        fleet = Fleet(hosts_of(tmp_path, [], make_never), 2, 2, check_stop=stop)
        with pytest.raises(Interrupted):
            fleet.admit(next_plan(0, []))
        fleet.close()


def test_no_more_actors_are_asked_for_than_there_are_trials(
    cluster: RayCluster, tmp_path: Path
) -> None:
    cluster.only(2)
    with joined(cluster):
        hosts = hosts_of(tmp_path, [], most=1)
        started(hosts, 0)
        assert hosts._asked == []
        started(hosts, 1)  # more than was known
        hosts.close()


def test_packs_load_side_by_side(cluster: RayCluster, tmp_path: Path) -> None:
    """Each waits, as it loads, until the other one loads, too."""
    cluster.only(2)
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    with joined(cluster):
        hosts = hosts_of(tmp_path, [], partial(make_meeting, meeting))
        assert started(hosts, 0).call("describe") == hosts.evaluation
        hosts.close()


def started(hosts: RayHosts, index: int) -> Remote:
    """A pack, asked for again, as a fleet does, while there is no room for it."""
    found: list[Remote] = []

    def asked() -> bool:
        with suppress(NoRoom):
            found.append(hosts.start(index))
        return bool(found)

    wait_for(asked)
    return found[0]


def make_meeting(meeting: Path, spec: SweepSpec, folder: StudyFolder) -> Worker:
    """What runs on the nodes."""
    (meeting / f"{os.getpid()}").touch()
    wait_for(lambda: len(list(meeting.iterdir())) == 2)
    return FakeWorker()


def children(name: str) -> set[int]:
    """Processes of Ray that run an actor."""
    return {
        each.pid
        for each in psutil.process_iter(["cmdline"])
        if name in " ".join(each.info["cmdline"] or ())
    }


def test_a_command_whose_driver_is_killed_continues_to_the_study_of_packs_inline(
    cluster: RayCluster, tmp_path: Path
) -> None:
    """Search and confirmation; a node is lost, too."""
    nodes = cluster.only(2)
    inline, there = (
        make_project(tmp_path / name, SWEEP + execution)
        for name, execution in (("inline", LOCAL), ("ray", RAY))
    )
    code = orchestrate(inline, "--quiet")
    with joined(cluster):
        killed = process(there, pause=0.1)
        wait_for(lambda: "measured at step 100" in logs_of(there))
        killed.kill()
        killed.communicate()
        wait_for(lambda: not children("ray::PackActor"))
        again = process(there, pause=0.1)
        before = logs_of(there).count("measured")
        wait_for(lambda: logs_of(there).count("measured") > before)
        cluster.remove(nodes[0])
        shown = "".join(again.communicate())
    assert again.returncode == code, shown
    assert came(folder_of(there)) == came(folder_of(inline))
    notes = (folder_of(there).path / "notes.md").read_text()
    assert "it continues from what was saved, to the same result" in notes, shown
    assert "State-dump" not in shown and "raylet" not in shown


def logs_of(spec: Path) -> str:
    return "".join(path.read_text() for path in folder_of(spec).logs.glob("*.log"))


def wait_for(condition: Callable[[], bool], seconds: float = 300.0) -> None:
    """Fails where it does not hold by then."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def start_torch(spec: SweepSpec, folder: StudyFolder) -> Worker:
    """The real worker, on the nodes."""
    return start_worker(spec, folder.project_cache)


def test_real_adapters_of_a_cluster_that_loses_one_are_those_inline_to_the_bit(
    cluster: RayCluster, tmp_path: Path
) -> None:
    cluster.only(2)
    execution = {"pack": 2, "packs": 2, "cores": 1, "device": "cpu"}
    (tmp_path / "sweep").mkdir()
    spec = small_sweep(tmp_path / "sweep", SIZES, execution=execution)
    template = start_worker(spec, tmp_path / "sweep" / "cache")
    inline = trained(template, InlineHosts(template), tmp_path / "inline")
    folder = StudyFolder(tmp_path / "sweep" / "studies", spec.name)
    wanted, said = identity_of(template, spec, folder), list[str]()
    assert len(wanted.contents) >= 4 and wanted.hardware
    logs = tmp_path / "logs"
    with joined(cluster):
        hosts = RayHosts(template, as_measured(spec, template), start_torch, wanted, 2, said.append)
        there = trained(
            template,
            hosts,
            tmp_path / "there",
            kill=lambda: os.kill(pids(logs)[1], signal.SIGKILL),
            logs=logs,
        )
    assert there == inline
    assert "it continues from what was saved" in (logs / "pack-1.log").read_text()
