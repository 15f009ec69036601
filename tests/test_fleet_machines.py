"""What machines of a cluster must have in common, and what carries messages to them; without a
cluster.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.corpus.cache.project_cache import ProjectCache
from orchestrator.errors import FingerprintError, StudyError
from orchestrator.fleet import ray_cluster, ray_hosts
from orchestrator.fleet.channels import ChannelRemote
from orchestrator.fleet.child import Carried
from orchestrator.fleet.hosts import Lost, NoRoom
from orchestrator.fleet.machine_identity import Identity, identity_of, local_cache, versions
from orchestrator.fleet.message_chunks import PIECE, Joined, Outbox, packed, pieces
from orchestrator.fleet.ray_actor import PackActor, Place, checked
from orchestrator.fleet.ray_channel import ActorRemote
from orchestrator.records.locks import study_lock
from orchestrator.records.readiness import optional_packages
from orchestrator.records.store import StudyFolder
from orchestrator.sweepfile.loading import load_spec
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.typed_words import install_command
from tests.cli_project import ROOT, SWEEP, make_project, orchestrate
from tests.fake_worker import FakeWorker

TWO = ("execution.pack=2", "execution.packs=2", "execution.cores=1")
RAY = "execution: {pack: 2, packs: 2, cores: 1, device: cpu, launcher: ray}\n"


@given(st.lists(st.binary(max_size=50), max_size=5), st.integers(1, 30))
def test_messages_arrive_whole_whatever_the_pieces(messages: list[bytes], size: int) -> None:
    data = b"".join(map(packed, messages))
    joined = Joined()
    came = [
        message
        for start in range(0, len(data), size)
        for message in joined.add(data[start : start + size])
    ]
    assert came == messages
    assert not joined.partial


def test_no_piece_is_so_large_that_an_engine_would_store_it() -> None:
    cut = list(pieces(packed(b"x" * 1_000_000)))
    assert max(map(len, cut)) == PIECE < 100 * 1024 - 4096
    assert [message for piece in cut for message in Joined().add(piece)] == []
    joined = Joined()
    assert [len(message) for piece in cut for message in joined.add(piece)] == [1_000_000]


def test_an_outbox_gives_what_was_put_and_then_ends() -> None:
    outbox = Outbox()
    assert outbox.take(0.0) == b""
    outbox.put("said")
    outbox.close()
    assert list(Joined().add(outbox.take(0.0))) == ["said"]
    with pytest.raises(EOFError):
        outbox.take(0.0)


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SweepSpec:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    return load_spec(make_project(tmp_path, SWEEP + RAY))


def of_study(spec: SweepSpec) -> Identity:
    return identity_of(FakeWorker(), spec, StudyFolder(spec.project / "studies", spec.name))


def make(spec: SweepSpec, folder: StudyFolder) -> FakeWorker:
    return FakeWorker()


def test_a_machine_like_that_of_the_study_gets_a_worker_and_decodes_into_its_own_cache(
    spec: SweepSpec,
) -> None:
    wanted = of_study(spec)
    assert set(wanted.contents) >= {"data of train", "data of domain", "data of confirm_domain"}
    assert isinstance(checked(spec, make, wanted), FakeWorker)
    cache = ProjectCache(spec.project / "scratch" / f"orchestrate-{os.getuid()}" / ".cache")
    assert cache.files.exists() and any(cache.clips.rglob("*"))


def test_a_machine_with_other_data_is_refused_before_the_model_is_loaded(spec: SweepSpec) -> None:
    wanted = of_study(spec)
    text = spec.data.train.read_text()
    spec.data.train.write_text(text.replace("sentence 1", "another sentence"))
    with pytest.raises(
        FingerprintError,
        match=rf"data of train is \w{{64}} there and {wanted.contents['data of train']} on the "
        "machine of the study",
    ):
        checked(spec, lambda *_: pytest.fail("loaded"), wanted)


@pytest.mark.parametrize(
    ("field", "name", "value"),
    [
        ("versions", "torch", "1.0"),
        ("versions", "orchestrator's code", "0123"),
        ("evaluation", "version", "7"),
        ("hardware", "GPU", "NVIDIA H100"),
    ],
)
def test_a_machine_that_differs_is_refused_by_name_and_both_values(
    field: str, name: str, value: str
) -> None:
    wanted = Identity(versions(), {}, FakeWorker().evaluation, {})
    parts = getattr(wanted, field)
    other = Identity(**(vars(wanted) | {field: parts | {name: value}}))
    spec = load_spec(ROOT / "sweeps" / "quickstart.yaml", TWO)
    with pytest.raises(FingerprintError) as caught:
        checked(spec, make, other)
    there = parts.get(name, "missing")
    assert str(caught.value) == (f"{name} is {there} there and {value} on the machine of the study")


def test_a_cache_that_others_may_write_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    local_cache("demo")
    root = tmp_path / f"orchestrate-{os.getuid()}"
    assert root.stat().st_mode & 0o777 == 0o700
    root.chmod(0o777)
    with pytest.raises(StudyError, match="belongs to this user alone; remove it, or set TMPDIR"):
        local_cache("demo")


def test_an_actor_answers_while_its_pack_works_and_says_what_it_raises() -> None:
    wanted = Identity(versions(), {}, {"version": "other"}, {})
    spec = load_spec(ROOT / "sweeps" / "quickstart.yaml", TWO)
    actor, joined = PackActor(spec, make, wanted, None), Joined()
    for piece in pieces(packed(("describe",))):
        actor.push(piece)
    [(kind, carried)] = joined.add(actor.pull(60.0)[0])
    assert kind == "raised" and "version is 1 there and other" in str(carried.error)


class ActorHere:
    """A channel to an actor of this process, whose own processor time is not told apart."""

    def __init__(self, actor: PackActor) -> None:
        self.actor, self.joined = actor, Joined()

    def send(self, message: tuple[object, ...]) -> None:
        for piece in pieces(packed(message)):
            self.actor.push(piece)

    def receive(self, seconds: float) -> Iterator[Any]:
        yield from self.joined.add(self.actor.pull(0.2)[0])

    def processor_seconds(self) -> float:
        return 0.0

    def how_it_ended(self) -> Lost:
        raise AssertionError

    def close(self) -> None:
        """Do nothing."""


def test_a_pack_does_not_stand_still_while_another_of_its_machine_decodes_the_data(
    spec: SweepSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_lock, "TURN_SECONDS", 0.01)
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    wanted, cache = of_study(spec), local_cache(spec.name).project_cache
    cache.mkdir()
    with study_lock.one_at_a_time(cache):
        remote = ChannelRemote(ActorHere(PackActor(spec, make, wanted, None)), "there", 300.0)
        remote.ask("describe")
        for _ in range(60):  # ten minutes
            now += 10.0
            assert not remote.answered()
    while not remote.answered():
        pass
    assert remote.answer() == FakeWorker().evaluation


class Refusing:
    """The calls of an actor that answers each of them with one error."""

    def __init__(self, error: Exception) -> None:
        self.carried = Carried(error, "")

    def __getattr__(self, name: str) -> Any:
        answers = {"receive": [("raised", self.carried)], "processor_seconds": 0.0}
        return lambda *_: answers.get(name)


def test_what_a_machine_lacks_is_said_with_its_name_once_its_pack_has_loaded() -> None:
    full = StudyError("slots/state: No space left on device\n  Make room.")
    calls: Any = Refusing(full)
    remote = ActorRemote(calls, Place("12ab", "gpu-3", 811, ""), "", 300.0)
    with pytest.raises(StudyError) as caught:  # a refusal names the machine itself
        remote.call("describe")
    assert str(caught.value) == str(full)
    remote.loaded = True
    for ask in (lambda: remote.call("save"), remote.finished):
        with pytest.raises(StudyError) as caught:
            ask()
        assert str(caught.value) == f"on gpu-3: {full}"


def test_a_pack_that_still_loads_counts_on_the_device_that_it_shares(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nodes = [{"NodeID": node, "Alive": True} for node in "ab"]
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(nodes=lambda: nodes))
    monkeypatch.setattr(ray_hosts, "connect", lambda: None)
    spec, wanted = load_spec(ROOT / "sweeps" / "quickstart.yaml", TWO), Identity({}, {}, {}, {})
    hosts = ray_hosts.RayHosts(FakeWorker(), spec, make, wanted, 4, print)

    def pack_on(node: str, sharing: str = "") -> ActorRemote:
        calls: Any = SimpleNamespace(open=True)
        return ActorRemote(calls, Place(node, f"gpu-{node}", 811, "0"), sharing, 300.0)

    hosts._used = {0: pack_on("a"), 1: pack_on("b")}
    assert hosts._least_loaded() == 0
    hosts._loading[2] = pack_on("a", ", shared with pack 0")
    assert hosts._least_loaded() == 1


@pytest.mark.parametrize(
    ("error", "said"), [(MemoryError(), "out of memory"), (MemoryError("of 2 GB"), "of 2 GB")]
)
def test_a_machine_whose_memory_does_not_hold_the_model_is_refused(
    error: MemoryError, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [{"NodeID": node, "Alive": True, "Resources": {"CPU": 8.0}} for node in "ab"]
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(nodes=lambda: nodes))
    monkeypatch.setattr(ray_hosts, "connect", lambda: None)
    spec, wanted = load_spec(ROOT / "sweeps" / "quickstart.yaml", TWO), Identity({}, {}, {}, {})
    told: list[str] = []
    hosts = ray_hosts.RayHosts(FakeWorker(), spec, make, wanted, 4, told.append)
    calls: Any = Refusing(error)
    hosts._loading[0] = ActorRemote(calls, Place("a", "gpu-3", 811, "0"), "", 300.0)
    with pytest.raises(NoRoom):
        hosts.start(0)
    assert told == [f"gpu-3 is refused: {said}; its packs go elsewhere"]


def burn(seconds: float) -> None:
    """Spend processor time in this thread."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_an_actor_reports_the_processor_time_of_its_pack_and_not_that_of_its_messages() -> None:
    spec = load_spec(ROOT / "sweeps" / "quickstart.yaml", TWO)
    may_compute, reported = threading.Event(), []

    def make_late(spec: SweepSpec, folder: StudyFolder) -> FakeWorker:
        may_compute.wait()
        burn(0.5)
        return FakeWorker()

    wanted = Identity(versions(), {}, {}, {})
    actor, joined = PackActor(spec, make_late, wanted, None), Joined()

    def pull(seconds: float) -> list[Any]:
        """As a thread of Ray does, which has much else to do."""
        burn(0.5)
        piece, spent = actor.pull(seconds)
        reported.append(spent)
        return list(joined.add(piece))

    with ThreadPoolExecutor(1) as carrier:
        for _ in range(2):
            assert carrier.submit(pull, 0.0).result() == []
        for piece in pieces(packed(("describe",))):
            carrier.submit(actor.push, piece).result()
        may_compute.set()
        [(kind, _)] = carrier.submit(pull, 60.0).result()
    assert kind == "answer"
    assert reported[1] - reported[0] < 0.3 and reported[2] - reported[1] > 0.3


def test_without_the_extra_one_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        optional_packages, "find_spec", lambda name: None if name == "ray" else found(name)
    )
    sweep = make_project(tmp_path, SWEEP + RAY)
    for command in (("validate", sweep), (sweep, "--quiet")):
        assert orchestrate(*command) == 2
        assert capsys.readouterr().err == (
            f"execution.launcher: ray needs ray: {install_command('ray')}\n"
        )


@pytest.mark.parametrize("home", ["", "~"], ids=["a home", "a user without one"])
def test_a_cluster_without_a_token_is_joined_only_where_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    monkeypatch.setenv("HOME", home or str(tmp_path))
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(StudyError, match=r"(?s)needs a token.*ray get-auth-token --generate"):
        ray_cluster.connect()


@pytest.mark.parametrize("address", ["http://gpu-1:8265", "ray://gpu-1:10001", "gpu-1"])
def test_what_is_no_address_of_a_head_is_refused_by_name(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(StudyError) as caught:
        ray_cluster.connect()
    assert str(caught.value) == (
        f"execution.launcher: ray cannot join the cluster at RAY_ADDRESS={address}\n"
        "  It takes HOST:PORT of the head, such as gpu-1:6379, on a machine of the cluster; set it so, or unset it; "
        "then run the same command again."
    )


def test_a_head_that_does_not_answer_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False))
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    with pytest.raises(StudyError) as caught:
        ray_cluster.connect()
    assert str(caught.value) == (
        f"execution.launcher: ray cannot join the cluster at RAY_ADDRESS=127.0.0.1:{port}: "
        "nobody answers there (Connection refused)\n"
        "  Start the head there, or correct RAY_ADDRESS, or unset it; then run the same command again."
    )


@pytest.mark.parametrize("address", ["127.0.0.1:99999", "a..b:6379"])
def test_what_cannot_be_an_address_is_one_message(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(StudyError, match="nobody answers there"):
        ray_cluster._check_that_it_answers()


def test_a_head_that_answers_is_left_to_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as head:
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{head.getsockname()[1]}")
        ray_cluster._check_that_it_answers()


@pytest.mark.parametrize("address", ["gpu-1:6379", "10.0.0.7:6379", "[fe80::1]:6379", "auto", ""])
def test_an_address_of_a_head_is_left_to_ray(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    ray_cluster._check_address()


@pytest.mark.parametrize(
    ("text", "said", "with_machine"),
    [
        ("The actor died because its node has died. Node Id: 3", "its machine is gone", True),
        (
            "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR",
            "its process is gone, as where memory ran out",
            False,
        ),
        (
            "Task was killed due to the node running low on memory pressure",
            "Ray ended it, for memory was running out",
            False,
        ),
        (
            "Traceback:\n  File \"a.py\", line 3\nModuleNotFoundError: No module named 'peft'",
            "ModuleNotFoundError: No module named 'peft'",
            False,
        ),
        ("something new\nand more of it", "something new", False),
    ],
)
def test_why_an_actor_is_gone_is_said_in_a_few_words(
    text: str, said: str, with_machine: bool
) -> None:
    lost = ray_cluster.how_it_ended(RuntimeError(text))
    assert (str(lost), lost.with_machine) == (said, with_machine)


def test_an_actor_that_cannot_be_reached_counts_as_a_lost_machine() -> None:
    class ActorUnavailableError(Exception):
        """Named as Ray's own, which the default environment does not have."""

    lost = ray_cluster.how_it_ended(ActorUnavailableError("no answer"))
    assert (str(lost), lost.with_machine) == ("its connection is gone", True)
