"""What trackers are sent, and that none of them can stop, slow or change a sweep."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn
from unittest.mock import Mock

import psutil
import pytest

from orchestrator.cli import main
from orchestrator.errors import Interrupted, SpecError
from orchestrator.records.store import StudyFolder
from orchestrator.sweepfile.loading import load_spec, resolved_yaml
from orchestrator.sweepfile.spec_changes import changed_fields
from orchestrator.sweepfile.sweep import Budget, SweepSpec
from orchestrator.sweepfile.tracking import MlflowSpec, TrackingSpec, WandbSpec
from orchestrator.tracking import child
from orchestrator.tracking.child import Sender, Sent, _sent, said, study_id
from orchestrator.tracking.place import Place
from orchestrator.tracking.runs import Ending, TrackedRun, tracked_runs
from orchestrator.tracking.sending import Trackers
from orchestrator.tracking.trackers import MODULES, not_installed
from orchestrator.typed_words import install_command
from tests.cli_project import ROOT, SWEEP, make_project, orchestrate
from tests.run_fake import make_worker

ALL = "tracking: {mlflow: {uri: http://127.0.0.1:9}, wandb: {mode: offline}, tensorboard: {}}\n"
ENDING = Ending({"verdict": "ACCEPT"}, 0)


def run(spec: Path, *words: str) -> None:
    """The sweep, to its end."""
    with pytest.raises(SystemExit) as ended:
        main([str(spec), "--quiet", *words], make_worker)
    assert ended.value.code in (0, 4, 5)


@pytest.fixture(name="project", scope="module")
def _project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = make_project(tmp_path_factory.mktemp("project"))
    run(spec)
    return spec


def study(spec: Path) -> tuple[SweepSpec, StudyFolder]:
    """The sweep and its study."""
    sweep = load_spec(spec)
    return sweep, StudyFolder(sweep.project / "studies", sweep.name)


def test_a_study_keeps_nothing_of_where_it_is_sent(tmp_path: Path) -> None:
    plain = load_spec(make_project(tmp_path / "a"))
    sent = load_spec(make_project(tmp_path / "b", SWEEP + ALL))
    assert sent.tracking is not None and sent.tracking.names == ("mlflow", "wandb", "tensorboard")
    assert resolved_yaml(sent) == resolved_yaml(plain)
    assert changed_fields(plain, sent) == []


@pytest.mark.parametrize("password", ["secret", "s/cret", "s#cret", "s@cret"])
def test_credentials_in_the_file_are_refused(tmp_path: Path, password: str) -> None:
    text = SWEEP + f"tracking:\n  mlflow: {{uri: 'https://me:{password}@host/'}}\n"
    with pytest.raises(SpecError) as caught:
        load_spec(make_project(tmp_path, text))
    assert (
        "allowed: an address without a user and password; set MLFLOW_TRACKING_USERNAME and "
        "MLFLOW_TRACKING_PASSWORD in the environment"
    ) in str(caught.value)


@pytest.mark.parametrize("uri", ["https://host:5000/a", "sqlite:////srv/a@b/m.db", "/srv/a@b"])
def test_an_address_without_credentials_is_taken(tmp_path: Path, uri: str) -> None:
    spec = load_spec(make_project(tmp_path, SWEEP + f"tracking: {{mlflow: {{uri: '{uri}'}}}}\n"))
    assert spec.tracking is not None and spec.tracking.mlflow is not None
    assert spec.tracking.mlflow.uri == uri


@pytest.mark.parametrize("password", ["s3cret", "s3:cr@et", "s3cret" + "x" * 60])
@pytest.mark.parametrize(
    "form",
    ["tracking: {{mlflow: {{uri: '{}'}}}}", "tracking: {{mlflow: '{}'}}", "tracking: ['{}']"],
)
def test_credentials_in_the_file_are_not_shown(form: str, password: str, tmp_path: Path) -> None:
    address = f"https://me:{password}@host/"
    with pytest.raises(SpecError, match=r"tracking.* cannot be `") as caught:
        load_spec(make_project(tmp_path, f"{SWEEP}{form.format(address)}\n"))
    assert "s3" not in str(caught.value)


@pytest.mark.parametrize(
    "key", ["tracking.mlflow.uri", "storage.uri", "storag.url_env", "x", "model"]
)
def test_credentials_on_the_command_line_are_not_shown(key: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=f"override {key}=") as caught:
        load_spec(make_project(tmp_path), [f"{key}=postgresql://me:s3cret@host/db"])
    assert "s3cret" not in str(caught.value)


def test_what_is_not_installed_is_said_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("orchestrator.tracking.trackers.find_spec", lambda name: None)
    spec = make_project(tmp_path, SWEEP + "tracking: {wandb: {}}\n")
    said = (
        "tracking.wandb: wandb is not installed, and nothing is sent to it: "
        f"{install_command('wandb')}"
    )
    assert not_installed(load_spec(spec)) == (said,)
    with pytest.raises(SystemExit) as ended:
        main(["validate", str(spec)])
    assert ended.value.code == 0
    assert said in " ".join(capsys.readouterr().out.split())


def test_a_package_that_is_missing_as_a_whole_is_said_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To look for a part of a package imports the package."""
    monkeypatch.setitem(MODULES, "tensorboard", "no_such_package.backend")
    spec = load_spec(make_project(tmp_path, SWEEP + "tracking: {tensorboard: {}}\n"))
    [said] = not_installed(spec)
    assert said.startswith("tracking.tensorboard: tensorboard is not installed")


def test_every_run_has_its_name_parameters_and_curves(project: Path) -> None:
    sweep, folder = study(project)
    runs = {each.name: each for each in tracked_runs(sweep, folder, ENDING)}
    trials = [f"trial {number}" for number in range(sweep.budget.trials)]
    assert [name for name in runs if runs[name].kind == "trial"] == trials
    assert sum(each.kind == "confirmation" for each in runs.values()) == 2
    for number, name in enumerate(trials):
        plan, result = folder.read_plan(number), folder.read_result(number)
        assert plan is not None and result is not None
        assert runs[name].params["learning_rate"] == plan.params.learning_rate
        assert runs[name].state == result.state and runs[name].texts["reason"] == result.reason
        points = {(point.metric, point.step): point.value for point in runs[name].points}
        assert len(points) == len(runs[name].points)
        for row in folder.read_measurements(number):
            for set_name, measured in row.sets.items():
                metric = f"{set_name}_wer_at_scale_{row.adapter_scale:g}"
                assert points[metric, row.step] == measured.wer
    assert runs["study"].texts == {"trials": str(sweep.budget.trials), **ENDING.texts}
    assert {path.name for path in runs["study"].files} >= {"report.html", "report.md"}


def test_a_curve_keeps_its_name_from_the_first_rung_on(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its last step a trial is measured at the smallest scale alone."""
    sweep, folder = study(project)
    whole = {
        each.name: {point.metric for point in each.points} for each in tracked_runs(sweep, folder)
    }
    read = StudyFolder.read_measurements
    monkeypatch.setattr(StudyFolder, "read_measurements", lambda *of: read(*of)[:1])
    monkeypatch.setattr(StudyFolder, "read_result", lambda *_: None)
    for early in tracked_runs(sweep, folder):
        assert {point.metric for point in early.points if "chosen" not in point.metric} <= whole[
            early.name
        ]
    for name, metrics in whole.items():
        assert any("at_scale" in metric for metric in metrics) is (
            name.startswith("trial") and "seed" not in name
        )


class Remembering:
    """A tracker in this process; fails when it is told to."""

    def __init__(self) -> None:
        self.got: list[TrackedRun] = []
        self.fails_at: int | None = None

    def send(self, run: TrackedRun) -> None:
        """Keep it, or fail."""
        if self.fails_at == len(self.got):
            raise ConnectionError("cannot reach https://me:secret@host/\n  at all")
        self.got.append(run)

    def close(self) -> None:
        """Nothing."""


@pytest.fixture(name="tracker")
def _tracker(monkeypatch: pytest.MonkeyPatch) -> Remembering:
    tracker = Remembering()

    def connect(name: str, spec: SweepSpec, place: Place) -> Remembering:
        return tracker

    monkeypatch.setattr(child, "connect", connect)
    return tracker


def test_what_was_sent_is_not_sent_again(project: Path, tracker: Remembering) -> None:
    sweep, folder = study(project)
    sender = Sender("mlflow", sweep, folder, "new")
    total = len(list(tracked_runs(sweep, folder)))
    assert sender.send().unsent == 0 and len(tracker.got) == total
    sender.send()
    assert len(tracker.got) == total
    sender.send(ENDING)
    assert [each.name for each in tracker.got[total:]] == ["study"]


def test_what_fails_is_counted_said_without_credentials_and_sent_later(
    project: Path, tracker: Remembering
) -> None:
    sweep, folder = study(project)
    sender = Sender("mlflow", sweep, folder, "new")
    tracker.fails_at = 3
    sent = sender.send()
    assert (sent.unsent, sent.why) == (sent.runs - 3, "cannot reach https://host/ at all")
    tracker.fails_at = None
    assert sender.send().unsent == 0
    assert {each.name for each in tracker.got} == {e.name for e in tracked_runs(sweep, folder)}


def test_files_that_a_server_refuses_keep_no_run_from_it(
    project: Path, tracker: Remembering, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of MLflow whose folder of artifacts this machine cannot write to."""

    def send(run: TrackedRun) -> None:
        if run.files:
            raise PermissionError(13, "Permission denied", "/mlflow")
        tracker.got.append(run)

    monkeypatch.setattr(tracker, "send", send)
    sweep, folder = study(project)
    runs = {each.name: each for each in tracked_runs(sweep, folder)}
    sent = Sender("mlflow", sweep, folder, "new").send(ENDING)
    assert {each.name: each.state for each in tracker.got} == {
        name: each.state for name, each in runs.items()
    }
    assert tracker.got[0].name == "study", "the others stand below it"
    assert sent.missing.startswith(f"1 of {len(runs)} runs were not sent (")


def test_a_budget_that_was_raised_is_sent_anew(project: Path) -> None:
    """What a tracker was told as a parameter stays as it was first."""
    sweep, folder = study(project)
    more = sweep.model_copy(update={"budget": Budget(trials=sweep.budget.trials + 1)})
    before, after = (next(tracked_runs(each, folder)) for each in (sweep, more))
    assert before.params == after.params and before.digest != after.digest
    assert after.texts["trials"] == str(more.budget.trials)


def test_a_log_that_cannot_be_written_ends_no_tracker(
    project: Path, tmp_path: Path, tracker: Remembering
) -> None:
    sweep, folder = study(project)
    shutil.copytree(folder.path, tmp_path / "demo", ignore=shutil.ignore_patterns("logs"))
    copy = StudyFolder(tmp_path, "demo")
    copy.logs.write_text("in the way")
    tracker.fails_at = 0
    sent = _sent(Sender("mlflow", sweep, copy, "new"), copy, None)
    assert sent.why == "cannot reach https://host/ at all"


def test_a_tracker_makes_nothing_where_a_study_was_moved_away_as_it_was_sent(
    project: Path, tmp_path: Path, tracker: Remembering, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, folder = study(project)
    copy = StudyFolder(tmp_path, "demo")
    shutil.copytree(folder.path, copy.path)

    def send(run: TrackedRun) -> None:
        shutil.move(copy.path, tmp_path / "moved")
        raise ConnectionError("slow, and then gone")

    monkeypatch.setattr(tracker, "send", send)
    assert _sent(Sender("mlflow", sweep, copy, "new"), copy, None).why
    assert not copy.path.exists()


@pytest.mark.parametrize("password", ["s3cret", "s3@cret", "s3/cr@t:", ""])
def test_no_password_is_said_whatever_it_holds(password: str) -> None:
    error = OSError(f"GET https://anna:{password}@host:5000/api?a=1 and\nhttps://host/ failed")
    assert said(error) == "GET https://host:5000/api?a=1 and https://host/ failed"


@pytest.mark.parametrize(
    ("sent", "missing"),
    [
        (Sent(5), ""),
        (Sent(5, 2, "boom"), "2 of 5 runs were not sent (boom)"),
        (Sent(why="damaged"), "not everything was sent (damaged)"),
    ],
)
def test_what_was_not_sent_is_counted_only_where_it_is_known(sent: Sent, missing: str) -> None:
    assert sent.missing == missing


def test_a_study_that_is_begun_anew_is_another(tmp_path: Path) -> None:
    folders = [StudyFolder(tmp_path / name, "demo") for name in "ab"]
    for folder in folders:
        folder.path.mkdir(parents=True)
    assert [study_id(folder, name) for folder, name in zip(folders, "ab", strict=True)] == [
        "a",
        "b",
    ]
    assert [study_id(folder, "c") for folder in folders] == ["a", "b"]


def test_a_copy_under_another_name_is_another_and_a_moved_study_the_same(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "a", "demo")
    folder.path.mkdir(parents=True)
    assert study_id(folder, "first") == "first"
    moved, other = StudyFolder(tmp_path / "b", "demo"), StudyFolder(tmp_path / "b", "copy")
    for place in (moved, other):
        shutil.copytree(folder.path, place.path)
    assert [study_id(each, "second") for each in (moved, other)] == ["first", "second"]
    assert [study_id(each, "third") for each in (folder, other)] == ["first", "second"]


def put_client(
    code: str, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str = "mlflow"
) -> None:
    """A client of MLflow, or of another tracker, that is nothing but this code."""
    package = folder / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(code)
    monkeypatch.syspath_prepend(folder)


def said_of_mlflow(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr."""
    lines = capsys.readouterr().err.splitlines()
    [line] = [line for line in lines if line.startswith("mlflow: ")]
    return line


@pytest.mark.parametrize(
    ("client", "said"),
    [
        ("raise RuntimeError('boom')\n", "(boom)"),
        ("import os\nos._exit(7)\n", "(its process has ended)"),
    ],
    ids=["raises", "dies"],
)
def test_a_client_that_fails_is_said_in_a_line(
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    client: str,
    said: str,
) -> None:
    put_client(client, tmp_path, monkeypatch)
    run(project, "tracking.mlflow.uri=http://127.0.0.1:9", "tracking.wait=300")
    line = said_of_mlflow(capsys)
    assert said in line
    assert line.endswith("; the same command sends the rest")


@pytest.mark.parametrize(
    ("name", "variable"),
    [("mlflow", "MLFLOW_DISABLE_TELEMETRY"), ("wandb", "WANDB_ERROR_REPORTING")],
)
@pytest.mark.parametrize("own", [None, "mine"], ids=["by default", "as a person set it"])
def test_a_client_tells_its_makers_nothing(
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    variable: str,
    own: str | None,
) -> None:
    """The clients read these variables as they are imported."""
    monkeypatch.delenv(variable, raising=False)
    if own is not None:
        monkeypatch.setenv(variable, own)
    code = f"import os\nraise RuntimeError('told: ' + os.environ[{variable!r}])\n"
    put_client(code, tmp_path, monkeypatch, name)
    of_client = {"mlflow": "tracking.mlflow.uri=http://127.0.0.1:9", "wandb": "tracking.wandb={}"}
    run(project, of_client[name], "tracking.wait=300")
    silent = {"mlflow": "true", "wandb": "false"}[name]
    assert f"(told: {own or silent})" in capsys.readouterr().err


class Wandb(ModuleType):
    """W&B's client, of which each run that is opened is kept."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.opened: list[tuple[str, str]] = []

    def init(self, *, project: str, name: str, **_: object) -> Mock:
        """Open a run of a project."""
        self.opened.append((project, name))
        return Mock(id="1")

    def __getattr__(self, name: str) -> Any:
        return Mock()


def test_runs_are_sent_to_another_project_of_wandb_too(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", client)
    monkeypatch.delitem(sys.modules, "orchestrator.tracking.wandb_tracker", raising=False)
    sweep, folder = study(project)
    shutil.copytree(folder.path, tmp_path / "demo", ignore=shutil.ignore_patterns("tracking"))
    copy = StudyFolder(tmp_path, "demo")

    def opened(**changes: Any) -> list[tuple[str, str]]:
        """The runs that a run of the sweep opens."""
        asked = TrackingSpec(wandb=WandbSpec(**changes))
        client.opened.clear()
        told = sweep.model_copy(update={"tracking": asked})
        assert not Sender("wandb", told, copy, "new").send(ENDING).missing
        return client.opened[:]

    first = opened(project="one")
    names = {each.name for each in tracked_runs(sweep, folder) if each.name != "study"}
    assert {name for _, name in first} == {*names, "demo"}
    assert opened(project="one") == []
    assert opened(project="two") == [("two", name) for _, name in first]
    assert len(opened(project="two", mode="offline")) == len(first)
    assert opened(project="one") == opened(project="two") == []
    assert len(opened(project="one", entity="team")) == len(first)
    monkeypatch.setenv("WANDB_ENTITY", "team")
    assert opened(project="one", entity="team") == opened(project="one") == []
    monkeypatch.setenv("WANDB_ENTITY", "others")
    assert opened(project="one", entity="team") == []
    assert len(opened(project="one")) == len(first)


def test_a_run_that_was_deleted_at_wandb_is_said_with_the_way_on(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Wandb()
    refused = "run team/one/1 was previously created and deleted; try a new run name (409)"
    monkeypatch.setattr(client, "init", Mock(side_effect=RuntimeError(refused)))
    monkeypatch.setitem(sys.modules, "wandb", client)
    monkeypatch.delitem(sys.modules, "orchestrator.tracking.wandb_tracker", raising=False)
    sweep, folder = study(project)
    copy = StudyFolder(tmp_path, "demo")
    shutil.copytree(folder.path, copy.path)
    asked = sweep.model_copy(update={"tracking": TrackingSpec(wandb=WandbSpec())})
    missing = Sender("wandb", asked, copy, "new").send(ENDING).missing
    assert "name another project as tracking.wandb.project)" in missing


def test_an_experiment_that_was_deleted_at_mlflow_is_said_with_the_way_on(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow still finds it by its name, and takes no runs for it."""
    library = Mock()
    client = library.MlflowClient.return_value
    client.get_experiment_by_name.return_value = Mock(experiment_id="7", lifecycle_stage="deleted")
    monkeypatch.setitem(sys.modules, "mlflow", library)
    monkeypatch.setitem(sys.modules, "mlflow.entities", Mock())
    monkeypatch.delitem(sys.modules, "orchestrator.tracking.mlflow_tracker", raising=False)
    sweep, folder = study(project)
    copy = StudyFolder(tmp_path, "demo")
    shutil.copytree(folder.path, copy.path)
    asked = TrackingSpec(mlflow=MlflowSpec(uri="http://127.0.0.1:9"))
    told = sweep.model_copy(update={"tracking": asked})
    missing = Sender("mlflow", told, copy, "new").send(ENDING).missing
    assert (
        "(the experiment demo was deleted there: restore it (mlflow experiments restore " in missing
    )
    assert missing.endswith("--experiment-id 7), or name another as tracking.mlflow.experiment)")


def test_a_client_that_hangs_changes_nothing_of_the_sweep(
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    put_client("import time\nwhile True:\n    time.sleep(60)\n", tmp_path / "site", monkeypatch)
    tracking = "tracking: {mlflow: {uri: http://127.0.0.1:9}, wait: 0.1}\n"
    spec = make_project(tmp_path / "project", SWEEP + tracking)
    run(spec)
    line = said_of_mlflow(capsys)
    assert "(not done after 0.1 s of waiting, see tracking.wait)" in line
    (_, sent), (_, plain) = study(spec), study(project)
    assert sent.report_html.is_file()
    assert [r.model_dump(exclude={"seconds"}) for r in sent.results()] == [
        r.model_dump(exclude={"seconds"}) for r in plain.results()
    ]


@pytest.mark.parametrize(
    ("most", "late"),
    [
        (0.1, "not done after 0.1 s of waiting"),
        (60.0, "not done after 0.2 s of waiting, see tracking.wait"),
    ],
)
def test_a_longer_wait_is_advised_only_where_it_would_help(
    most: float, late: str, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After Ctrl+C a few seconds are waited, whatever `tracking.wait` says."""
    put_client("import time\ntime.sleep(600)\n", tmp_path, monkeypatch)
    sweep = load_spec(project, ["tracking.mlflow.uri=http://127.0.0.1:9", "tracking.wait=0.2"])
    trackers = Trackers(sweep, study(project)[1])
    [line] = trackers.finish(None, most)
    assert line == f"mlflow: not everything was sent ({late}); the same command sends the rest"


class Unkillable:
    """A process that hangs in the kernel, as at a file server that is away."""

    exitcode = None

    def kill(self) -> None:
        """Do nothing."""

    def join(self, timeout: float | None = None) -> None:
        assert timeout is not None, "waits for ever"


def test_a_tracker_that_cannot_be_killed_is_not_waited_for(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_client("import time\ntime.sleep(600)\n", tmp_path, monkeypatch)
    sweep = load_spec(project, ["tracking.mlflow.uri=http://127.0.0.1:9"])
    trackers = Trackers(sweep, study(project)[1])
    [sender] = trackers._senders
    process: Any = sender._process
    monkeypatch.setattr(sender, "_process", Unkillable())
    trackers.end()
    process.kill()
    process.join()


SWEEP_PROCESS = """
import sys, time
from pathlib import Path
from orchestrator.records.store import StudyFolder
from orchestrator.sweepfile.loading import load_spec
from orchestrator.tracking.sending import Trackers
sweep = load_spec(Path(sys.argv[1]), ["tracking.mlflow.uri=http://127.0.0.1:9"])
if __name__ == "__main__":
    trackers = Trackers(sweep, StudyFolder(sweep.project / "studies", sweep.name))
    time.sleep(600)
"""


def test_a_tracker_that_sends_ends_with_a_sweep_that_is_killed(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "sends"
    client = f"import os, time\nopen({str(there)!r}, 'w').write(f'{{os.getpid()}}\\n')\n"
    put_client(client + "time.sleep(600)\n", tmp_path, monkeypatch)
    paths = os.pathsep.join((str(tmp_path), str(ROOT)))
    sweep = subprocess.Popen(
        [sys.executable, "-c", SWEEP_PROCESS, str(project)],
        env=os.environ | {"PYTHONPATH": paths},
    )
    while not (there.exists() and there.read_text().endswith("\n")):
        assert sweep.poll() is None
        time.sleep(0.05)
    sending = psutil.Process(int(there.read_text()))
    sweep.kill()
    sweep.wait()
    _, alive = psutil.wait_procs([sending], timeout=30)
    assert alive == []


def test_a_sweep_is_on_record_before_its_trackers_are_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def impatient(*_: object) -> NoReturn:
        raise Interrupted("stopped")

    monkeypatch.setattr(Trackers, "finish", impatient)
    spec, record = make_project(tmp_path / "project"), tmp_path / "record.md"
    orchestrate(spec, "--quiet", "--record", str(record))
    assert "demo" in record.read_text()
