"""Packs in processes: the study is that of packs inline, whichever is killed; none outlives its
owner.
"""

from __future__ import annotations

import errno
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import psutil
import pytest

from orchestrator.corpus.manifest_errors import Fault, FaultsError, UnusableError
from orchestrator.corpus.manifests.strict_json import NotJsonError
from orchestrator.errors import (
    FingerprintError,
    ManifestError,
    ModelError,
    OrchestrateError,
    StudyError,
)
from orchestrator.fleet.channels import ChannelRemote, Message
from orchestrator.fleet.child import serve
from orchestrator.fleet.fleet import Fleet
from orchestrator.fleet.hosts import InlineHosts, Lost
from orchestrator.fleet.processes import ForkHosts, SpawnHosts
from orchestrator.planning.shares import share_of
from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Event
from orchestrator.sweepfile.loading import load_spec
from orchestrator.sweepfile.sweep import SweepSpec
from tests.cli_project import ROOT, make_project
from tests.fake_worker import FakeWorker
from tests.fleet_support import drive, next_plan
from tests.run_fake import make_worker

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="packs are forked on Linux alone")
TRIALS = 8


class SlowWorker(FakeWorker):
    """Takes so long for every step that it can be met while it trains."""

    def advance(self) -> tuple[Event, ...]:
        time.sleep(0.004)
        return super().advance()


class Refusing(FakeWorker):
    """Its model fits no trial."""

    def admit(self, plan: TrialPlan) -> None:
        raise ModelError("rank 500 is larger") from ValueError("of what it stands on")


def processes() -> list[psutil.Process]:
    """The packs of this process that run; multiprocessing keeps a tracker of its own beside those
    that it spawns.
    """
    running = [
        each for each in psutil.Process().children() if each.status() != psutil.STATUS_ZOMBIE
    ]
    return [each for each in running if "resource_tracker" not in " ".join(each.cmdline())]


@pytest.fixture(autouse=True)
def _ends_what_it_began(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    yield
    assert processes() == []


def searched(fleet: Fleet, tmp_path: Path, trials: int = TRIALS) -> list[str]:
    def save() -> None:
        if fleet.active:
            fleet.save(tmp_path / f"{len(list(tmp_path.glob('*')))}")

    try:
        tmp_path.mkdir(parents=True)
        return drive(fleet, trials, save)
    finally:
        fleet.close()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("inline")
    return searched(Fleet(InlineHosts(FakeWorker()), 2, 2, save_every=0.0), folder / "saves")


def test_packs_in_processes_are_those_inline(expected: list[str], tmp_path: Path) -> None:
    hosts = ForkHosts(FakeWorker(), tmp_path / "logs", cores=2)
    assert searched(Fleet(hosts, 2, 2, tmp_path / "logs", 0.0), tmp_path / "saves") == expected
    text = (tmp_path / "logs" / "pack-1.log").read_text()
    assert (
        "runs in process " in text and "trial 1 admitted" in text and "measured at step 100" in text
    )


def check_kills(expected: list[str], tmp_path: Path, kills: int, seed: int) -> None:
    """SIGKILL at random moments, of a pack that has come further since it was last killed."""
    left, chance, killed_at = kills, random.Random(seed), {0: 0, 1: 0}
    logs = tmp_path / "logs"
    fleet = Fleet(ForkHosts(SlowWorker(every_progress=1), logs, cores=2), 2, 2, logs, 0.0)
    advance = Fleet.advance

    def killing(self: Fleet) -> tuple[Event, ...]:
        nonlocal left
        index = chance.randrange(2)
        path = logs / f"pack-{index}.log"
        text = path.read_text() if path.exists() else ""
        # twice at one step, and a trial would rightly be told to have failed
        further = text.count(" at step ") != killed_at[index]
        if left and further and chance.random() < 0.7:
            pid = int(re.findall(r"runs in process (\d+)", text)[-1])
            if pid in {each.pid for each in processes()}:
                os.kill(pid, signal.SIGKILL)
                left, killed_at[index] = left - 1, text.count(" at step ")
                time.sleep(chance.random() / 100)
        return advance(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Fleet, "advance", killing)
        assert searched(fleet, tmp_path / f"saves-{seed}") == expected
    assert left < kills


def test_a_sigkill_at_random_moments_leaves_no_trace(expected: list[str], tmp_path: Path) -> None:
    check_kills(expected, tmp_path, 4, 1)


@pytest.mark.slow
def test_a_hundred_sigkills_at_random_moments_leave_no_trace(
    expected: list[str], tmp_path: Path
) -> None:
    for seed in range(25):
        check_kills(expected, tmp_path / f"{seed}", 4, seed)


def test_a_pack_that_stands_still_is_ended_and_goes_on(expected: list[str], tmp_path: Path) -> None:
    hosts = ForkHosts(SlowWorker(every_progress=1), tmp_path, 2, standstill=0.3)
    fleet = Fleet(hosts, 2, 2, tmp_path, 0.0)
    for number in range(4):
        fleet.admit(next_plan(number, [f"admitted {each}" for each in range(number)]))
    fleet.advance()
    processes()[0].suspend()
    said = ""
    while "stood still" not in said and len(said) < 10_000:
        said += str(fleet.advance())
    assert "stood still for" in said and "was ended); it continues from what was saved" in said
    fleet.close()


class Quiet:
    """A channel to a pack that neither says nor computes anything."""

    def send(self, message: tuple[object, ...]) -> None:
        """Do nothing."""

    def receive(self, seconds: float) -> tuple[Message, ...]:
        return ()

    def processor_seconds(self) -> float:
        return 0.0

    def how_it_ended(self) -> Lost:
        raise AssertionError

    def close(self) -> None:
        """Do nothing."""


def test_a_pack_is_not_to_blame_for_the_time_in_which_its_orchestrator_stood_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    remote = ChannelRemote(Quiet(), "process 1", 300.0)
    remote.begin(None)
    for _ in range(3):  # suspended for an hour each
        now += 3600.0
        assert remote.finished() is None
    for _ in range(269):
        now += 1.0
        assert remote.finished() is None
    now += 1.0
    with pytest.raises(Lost, match="stood still for 300 s and was ended"):
        remote.finished()


def test_what_a_pack_refuses_is_refused_here_with_its_cause(tmp_path: Path) -> None:
    fleet = Fleet(ForkHosts(Refusing(), tmp_path, cores=2), 2, 2)
    with pytest.raises(ModelError, match="rank 500 is larger") as caught:
        fleet.admit(next_plan(0, []))
    assert "of what it stands on" in str(caught.value.__cause__) and fleet.active == ()
    fleet.close()


class Lacking(FakeWorker):
    """Its machine lacks something."""

    error: Exception

    def admit(self, plan: TrialPlan) -> None:
        raise self.error


FULL = OSError(errno.ENOSPC, "No space left on device", "scratch/audio.bin")


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (FULL, StudyError, "scratch/audio.bin: No space left on device"),
        (OSError(errno.EMFILE, "Too many open files"), OrchestrateError, "Too many open files"),
        (MemoryError("of the pack"), MemoryError, "of the pack"),
    ],
    ids=["disk", "files", "memory"],
)
def test_what_the_machine_of_a_pack_lacks_is_told_as_where_there_is_one_process(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    kind: type[Exception],
    message: str,
) -> None:
    monkeypatch.setattr(Lacking, "error", error, raising=False)
    fleet = Fleet(ForkHosts(Lacking(), tmp_path, cores=2), 2, 2)
    with pytest.raises(kind, match=message) as caught:
        fleet.admit(next_plan(0, []))
    assert "in admit" in str(caught.value.__cause__)
    fleet.close()


@pytest.mark.parametrize(
    "error",
    [
        FaultsError("m.jsonl has 1 fault:\n  m.jsonl:3: no audio", (Fault(3, "no audio"),)),
        NotJsonError(3, "no value"),
        UnusableError("a.wav cannot be decoded"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_fault_of_the_data_is_told_by_its_words_and_loses_no_pack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: ManifestError
) -> None:
    monkeypatch.setattr(Lacking, "error", error, raising=False)
    fleet = Fleet(ForkHosts(Lacking(), tmp_path, cores=2), 2, 2)
    with pytest.raises(ManifestError) as caught:
        fleet.admit(next_plan(0, []))
    assert str(caught.value) == str(error)
    fleet.close()


def test_a_pack_that_finds_no_room_for_its_saved_slots_names_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = ForkHosts(FakeWorker(), tmp_path / "logs", cores=2)
    fleet = Fleet(hosts, 2, 2, save_every=0.0)
    fleet.admit(next_plan(0, []))
    fleet.save(tmp_path / "saved")
    fleet.close()

    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    again = Fleet(ForkHosts(FakeWorker(), tmp_path / "logs", cores=2), 2, 2)
    again.restore(tmp_path / "saved", {0: next_plan(0, [])})
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StudyError, match=f"{gettempdir()}.* could not be written: No space left"):
        again.export(0, 1.0, tmp_path / "adapter")
    again.close()


def test_what_a_pack_raises_is_told_where_its_log_finds_no_room(tmp_path: Path) -> None:
    """As where both lie on the disk that is full."""
    (tmp_path / "pack-0.log").symlink_to("/dev/full")
    fleet = Fleet(ForkHosts(Refusing(), tmp_path, cores=2), 2, 2)
    with pytest.raises(ModelError, match="rank 500 is larger"):
        fleet.admit(next_plan(0, []))
    fleet.close()


def test_a_call_that_does_not_fit_the_memory_of_a_pack_is_told_as_that() -> None:
    said: list[Any] = []

    class Full:
        def recv(self) -> Any:
            raise MemoryError("of the state")

        def send(self, message: Any) -> None:
            said.append(message)

    serve(Full(), FakeWorker)
    [(kind, carried)] = said
    assert kind == "raised" and repr(carried.unwrap()) == "MemoryError('of the state')"


def test_a_pack_of_a_study_that_was_moved_away_makes_nothing_where_it_was(tmp_path: Path) -> None:
    logs = tmp_path / "study" / "logs"
    remote = ForkHosts(FakeWorker(), logs, cores=2).start(0)
    assert remote.call("describe")["worker"] == "fake"
    remote.close()
    assert not logs.parent.exists()


def spawn_hosts(tmp_path: Path, template: FakeWorker, *more: str) -> SpawnHosts:
    two = ["execution.pack=2", "execution.packs=2", "execution.devices=[cuda:0, cuda:1]"]
    spec = load_spec(make_project(tmp_path), [*two, *more])
    return SpawnHosts(template, spec, StudyFolder(tmp_path / "studies", "demo"), make_worker, 2)


def test_packs_that_load_the_model_themselves_are_those_inline(tmp_path: Path) -> None:
    template = make_worker(
        load_spec(make_project(tmp_path), ["execution.pack=2"]), StudyFolder(tmp_path, "demo")
    )
    inline = searched(Fleet(InlineHosts(template), 2, 2, save_every=0.0), tmp_path / "inline", 4)
    spawned = Fleet(spawn_hosts(tmp_path, template), 2, 2, save_every=0.0)
    assert searched(spawned, tmp_path / "spawned", 4) == inline


def test_a_pack_that_would_evaluate_otherwise_is_refused_by_name(tmp_path: Path) -> None:
    fleet = Fleet(spawn_hosts(tmp_path, FakeWorker(sets="others")), 2, 2)
    with pytest.raises(
        FingerprintError,
        match=r"pack 0 on cuda:0 would evaluate otherwise: sets is \w+ there and others with the",
    ):
        fleet.admit(next_plan(0, []))
    assert len(processes()) == 1, "the other one loads the model at the same time"
    fleet.close()


def test_packs_on_gpus_of_two_kinds_are_refused(tmp_path: Path) -> None:
    alone = load_spec(make_project(tmp_path), ["execution.pack=2"])
    template = make_worker(alone, StudyFolder(tmp_path, "demo"))
    template.hardware = {"GPU": "one of 2026"}
    fleet = Fleet(spawn_hosts(tmp_path, template), 2, 2)
    with pytest.raises(
        FingerprintError,
        match=r"otherwise: GPU is missing there and one of 2026 with the others\n  Give execution.devices of one kind",
    ):
        fleet.admit(next_plan(0, []))
    fleet.close()


@pytest.mark.parametrize(
    ("execution", "devices"),
    [
        ([], ["cuda:0", "cuda:1", "cuda:0"]),
        (
            ["execution.devices=[cuda:0, cuda:0, cuda:1]", "execution.packs=4"],
            ["cuda:0", "cuda:0", "cuda:1", "cuda:0"],
        ),
    ],
)
def test_each_pack_computes_on_its_device_and_knows_of_the_others(
    execution: list[str], devices: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[SweepSpec] = []
    monkeypatch.setattr(SpawnHosts, "_started", lambda *arguments: begun.append(arguments[-2]))
    hosts = spawn_hosts(tmp_path, FakeWorker(), *execution)
    for index in range(len(devices)):
        hosts._begin(index)
    assert [spec.execution.first_device for spec in begun] == devices
    assert {share_of(spec.execution, "cuda", 8) for spec in begun} == {
        share_of(hosts._spec.execution, "cuda", 8)
    }


OWNER = """
import sys, time
from pathlib import Path
import psutil
from orchestrator.fleet.fleet import Fleet
from orchestrator.fleet.processes import ForkHosts
from tests.fake_worker import FakeWorker
from tests.fleet_support import next_plan
fleet = Fleet(ForkHosts(FakeWorker(), Path(sys.argv[1]), cores=2), 2, 2)
for number in range(4):
    fleet.admit(next_plan(number, []))
print(*[child.pid for child in psutil.Process().children()], flush=True)
time.sleep(60)
"""


def test_packs_end_with_their_owner_however_it_ends(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    packs = [psutil.Process(int(number)) for number in owner.stdout.readline().split()]
    owner.kill()
    owner.wait()
    assert len(packs) == 2
    _, alive = psutil.wait_procs(packs, timeout=20)
    assert alive == []
