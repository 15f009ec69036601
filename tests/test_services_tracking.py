"""Real trackers: an MLflow server that is started here, TensorBoard's own reader, W&B offline."""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

for package in ("mlflow", "tensorboard.backend", "wandb"):
    pytest.importorskip(package)
pytestmark = pytest.mark.services

from mlflow import MlflowClient  # noqa: E402
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: E402
from tensorboard.plugins.hparams.metadata import (  # noqa: E402
    parse_session_start_info_plugin_data,
)
from wandb.proto.wandb_internal_pb2 import Record  # noqa: E402

from orchestrator.records.store import StudyFolder  # noqa: E402
from orchestrator.sweepfile.loading import load_spec  # noqa: E402
from orchestrator.sweepfile.tracking import TensorboardSpec  # noqa: E402
from orchestrator.tracking.child import Sender  # noqa: E402
from orchestrator.tracking.place import Place  # noqa: E402
from orchestrator.tracking.runs import Ending, TrackedRun, tracked_runs  # noqa: E402
from orchestrator.tracking.tensorboard_tracker import TensorboardTracker  # noqa: E402
from tests.cli_project import SWEEP, make_project  # noqa: E402
from tests.test_tracking import run, said_of_mlflow  # noqa: E402

SERVER = Path(sys.prefix) / "mlflow" / "bin" / "mlflow"
"""Of an environment of its own, by `make test-services`: a server is another program."""


def server_command() -> list[str]:
    """What starts MLflow's server on this machine."""
    beside = Path(sys.executable).with_name("mlflow")
    found = next((path for path in (SERVER, beside) if path.is_file()), None)
    if found is None:
        pytest.skip("no MLflow server is installed")
    return [str(found), "server"]


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination",
        str(folder / "artifacts"), "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
    ]  # fmt: skip
    with (folder / "log").open("w") as log:
        command = [*server_command(), *options]
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{address}/health", process, folder / "log")
        yield address
    finally:
        os.killpg(process.pid, 15)
        process.wait()


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(1200):
        try:
            with urlopen(address):
                return
        except OSError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.25)
    raise AssertionError(log.read_text())


@pytest.fixture(name="sent", scope="module")
def _sent(tmp_path_factory: pytest.TempPathFactory, server: str) -> Path:
    """The sweep file of a study that was sent to all three."""
    tracking = f"tracking: {{mlflow: {{uri: {server}}}, wandb: {{mode: offline}}, tensorboard: {{}}, wait: 600}}\n"
    spec = make_project(tmp_path_factory.mktemp("project"), SWEEP + tracking)
    run(spec)
    return spec


def runs_of(spec: Path) -> tuple[StudyFolder, dict[str, TrackedRun]]:
    """What should have arrived."""
    sweep = load_spec(spec)
    folder = StudyFolder(sweep.project / "studies", sweep.name)
    headline = folder.report_markdown.read_text().split("**")[1]
    ending = Ending({"verdict": headline.partition(":")[0], "headline": headline}, None)
    return folder, {each.name: each for each in tracked_runs(sweep, folder, ending)}


def history(client: Any, run_id: str, metrics: set[str]) -> list[tuple[str, int, float]]:
    """Every value of every curve, as often as it is there."""
    return [
        (metric, value.step, value.value)
        for metric in metrics
        for value in client.get_metric_history(run_id, metric)
    ]


def in_mlflow(server: str, name: str = "demo") -> dict[str, Any]:
    """Name -> run."""
    client = MlflowClient(tracking_uri=server)
    experiment = client.get_experiment_by_name(name)
    found = client.search_runs([experiment.experiment_id])
    names = Counter(each.data.tags["orchestrator.run"] for each in found)
    assert max(names.values()) == 1
    return {each.data.tags["orchestrator.run"]: each for each in found}


def assert_in_mlflow(server: str, runs: dict[str, TrackedRun], name: str = "demo") -> None:
    """Every run is there with its parameters and exactly its points."""
    client = MlflowClient(tracking_uri=server)
    found = in_mlflow(server, name)
    assert found.keys() == runs.keys()
    for key, each in runs.items():
        held = found[key]
        assert {p: str(v)[:4000] for p, v in each.params.items()} == held.data.params
        metrics = {point.metric for point in each.points}
        assert metrics == held.data.metrics.keys()
        assert sorted(history(client, held.info.run_id, metrics)) == sorted(
            (point.metric, point.step, point.value) for point in each.points
        )


def test_mlflow_has_parameters_curves_verdict_report_and_adapter(sent: Path, server: str) -> None:
    folder, runs = runs_of(sent)
    assert_in_mlflow(server, runs)
    found, client = in_mlflow(server), MlflowClient(tracking_uri=server)
    study = found["study"]
    assert study.info.run_name == "demo" and study.info.status == "FINISHED"
    assert study.data.tags["headline"] == runs["study"].texts["headline"]
    there = {each.path for each in client.list_artifacts(study.info.run_id)}
    assert {"report.html", "report.md", "adapter"} <= there
    for number, result in enumerate(folder.results()):
        held = found[f"trial {number}"]
        assert held.info.run_name == f"trial {number}"
        assert held.data.tags["mlflow.parentRunId"] == study.info.run_id
        assert held.data.tags["reason"] == result.reason


def test_the_same_command_again_sends_nothing_twice(sent: Path, server: str) -> None:
    folder, runs = runs_of(sent)
    offline = len(list((folder.tracking / "wandb" / "wandb").glob("offline-run-*")))
    before = event_counts(sent)
    run(sent)
    assert_in_mlflow(server, runs)
    assert event_counts(sent) == before
    assert len(list((folder.tracking / "wandb" / "wandb").glob("offline-run-*"))) == offline


def test_a_sender_that_was_killed_between_two_runs_goes_on(sent: Path, server: str) -> None:
    sweep = load_spec(sent, ["tracking.mlflow.experiment=again"])
    folder, _ = runs_of(sent)
    runs = {each.name: each for each in tracked_runs(sweep, folder)}
    ended = Sender("mlflow", sweep, folder, "new")
    for name in list(runs)[:3]:
        ended._connected().send(runs[name])
    assert Sender("mlflow", sweep, folder, "new").send().unsent == 0
    assert Sender("mlflow", sweep, folder, "new").send().unsent == 0
    assert_in_mlflow(server, runs, "again")


def test_a_run_that_was_begun_twice_is_there_once(
    sent: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to the first request is lost, and MLflow's client asks again."""
    begin = MlflowClient.create_run

    def twice(self: Any, *args: Any, **named: Any) -> Any:
        begin(self, *args, **named)
        return begin(self, *args, **named)

    monkeypatch.setattr(MlflowClient, "create_run", twice)
    sweep = load_spec(sent, ["tracking.mlflow.experiment=twice"])
    folder, _ = runs_of(sent)
    assert Sender("mlflow", sweep, folder, "new").send().unsent == 0
    runs = {each.name: each for each in tracked_runs(sweep, folder)}
    assert_in_mlflow(server, runs, "twice")


def test_runs_of_an_experiment_that_was_deleted_are_sent_once_it_is_restored(
    sent: Path, server: str
) -> None:
    sweep = load_spec(sent, ["tracking.mlflow.experiment=gone"])
    folder, _ = runs_of(sent)
    assert Sender("mlflow", sweep, folder, "new").send().unsent == 0
    client = MlflowClient(tracking_uri=server)
    number = client.get_experiment_by_name("gone").experiment_id
    client.delete_experiment(number)
    why = Sender("mlflow", sweep, folder, "new").send().why
    assert f"mlflow experiments restore --experiment-id {number}" in why
    client.restore_experiment(number)
    assert Sender("mlflow", sweep, folder, "new").send().unsent == 0
    runs = {each.name: each for each in tracked_runs(sweep, folder)}
    assert_in_mlflow(server, runs, "gone")


def event_folder(spec: Path) -> Path:
    """Where TensorBoard finds the study."""
    [found] = (spec.parents[1] / "runs").iterdir()
    return found


def event_counts(spec: Path) -> dict[str, int]:
    """Points and texts of every run."""
    counts = {}
    for folder in event_folder(spec).iterdir():
        events = EventAccumulator(str(folder)).Reload()
        tags = events.Tags()
        counts[folder.name] = sum(len(events.Scalars(tag)) for tag in tags["scalars"])
        counts[folder.name] += 1000 * sum(len(events.Tensors(tag)) for tag in tags["tensors"])
    return counts


def test_tensorboards_own_reader_finds_every_curve(sent: Path) -> None:
    _, runs = runs_of(sent)
    names = {name.replace(", ", "-").replace(" ", "-"): each for name, each in runs.items()}
    assert {folder.name for folder in event_folder(sent).iterdir()} == names.keys()
    for name, each in names.items():
        events = EventAccumulator(str(event_folder(sent) / name)).Reload()
        tags = events.Tags()
        held = {(tag, e.step): e.value for tag in tags["scalars"] for e in events.Scalars(tag)}
        assert held == {
            (point.metric, point.step): pytest.approx(point.value, rel=1e-6)
            for point in each.points
        }
        assert {*each.texts, "_hparams_/session_start_info"} <= set(tags["tensors"])
    assert (
        "report.md"
        in EventAccumulator(str(event_folder(sent) / "study")).Reload().Tags()["tensors"]
    )


def test_tensorboard_takes_no_runs_of_two_studies_together(tmp_path: Path) -> None:
    """It shows runs of one group as one row: the parameters of the first, and the means of all."""
    groups = []
    for name, identity in (("a", "1" * 32), ("b", "2" * 32), ("b", "3" * 32)):
        tracker = TensorboardTracker(TensorboardSpec(), Place(name, identity, tmp_path, tmp_path))
        tracker.send(TrackedRun("trial 7", "trial", {"rank": 8}, ()))
    for folder in sorted((tmp_path / "runs").iterdir()):
        events = EventAccumulator(str(folder / "trial-7")).Reload()
        [start] = events.PluginTagToContent("hparams").values()
        groups.append(parse_session_start_info_plugin_data(start).group_name)
    assert groups == ["a-11111111/trial 7", "b-22222222/trial 7", "b-33333333/trial 7"]


def test_wandb_offline_holds_every_run_and_point(sent: Path) -> None:
    folder, runs = runs_of(sent)
    held = {}
    for path in (folder.tracking / "wandb" / "wandb").glob("offline-run-*/run-*.wandb"):
        name, points = offline(path)
        assert name not in held
        held[name] = points
    assert held.keys() == {("demo" if name == "study" else name) for name in runs}
    for name, each in runs.items():
        assert held["demo" if name == "study" else name] == {
            (point.metric, point.step): point.value for point in each.points
        }


def offline(path: Path) -> tuple[str, dict[tuple[str, int], float]]:
    """Name and history of a run that W&B keeps until it is synced."""
    name = ""
    points: dict[tuple[str, int], float] = {}
    for data in logged(path.read_bytes()):
        record = Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "run":
            name = record.run.display_name
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            row = {i.key or ".".join(i.nested_key): json.loads(i.value_json) for i in items}
            own = {key: value for key, value in row.items() if not key.startswith("_")}
            points |= {(key, row["_step"]): value for key, value in own.items()}
    return name, points


def logged(data: bytes) -> Iterator[bytes]:
    """The records of a log as LevelDB has it: blocks of 32 KiB, records in one piece or several."""
    place, whole = 7, b""  # behind W&B's own header
    while place < len(data):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        _, size, kind = struct.unpack_from("<IHB", data, place)
        whole += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # the only piece, or the last
            yield whole
            whole = b""


def test_a_server_that_is_down_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sent: Path
) -> None:
    root = tmp_path / "project"
    shutil.copytree(sent.parents[1], root)
    tracking = [
        "tracking.mlflow.uri=http://127.0.0.1:9",
        "tracking.wandb=null",
        "tracking.tensorboard=null",
    ]
    run(root / "sweeps" / sent.name, *tracking)
    assert said_of_mlflow(capsys).endswith("; the same command sends the rest")
