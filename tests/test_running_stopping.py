"""`orchestrate stop`: a person ends one trial of a running sweep at its next rung, whatever happens
around it.
"""

from __future__ import annotations

import errno
import json
import time
from pathlib import Path
from unittest.mock import patch

import pytest

from orchestrator.errors import Interrupted, StudyError
from orchestrator.records.results import TrialState
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Event, Measured
from orchestrator.running.signals import GracefulShutdown
from orchestrator.running.stop_requests import ask_to_stop
from orchestrator.sweepfile.search_space import Dimension
from orchestrator.sweepfile.sweep import Budget
from orchestrator.verdicts.saved_adapters import final_adapter
from tests.cli_project import folder_of, make_project, orchestrate, process
from tests.crashes import Killed
from tests.fake_worker import FakeWorker
from tests.running_support import SPACE, history, make_spec, run


class Asking(FakeWorker):
    """Asks for the end of trial 1 once its first rung was measured, and may ask the sweep to end as
    well.
    """

    folder: StudyFolder
    drain: GracefulShutdown | None = None
    at_last = False
    """Whether it asks before the last rung is judged, and not before the first."""

    def advance(self) -> tuple[Event, ...]:
        """Train, then ask."""
        events = super().advance()
        if any(
            isinstance(event, Measured)
            and event.number == 1
            and (event.final if self.at_last else event.step == 100)
            for event in events
        ):
            ask_to_stop(self.folder, 1, "loss  looks\nwrong")
            if self.drain:
                self.drain.requested = "SIGINT"
        return events


def asking(root: Path, drain: GracefulShutdown | None = None) -> Asking:
    worker = Asking()
    worker.folder, worker.drain = StudyFolder(root, "s"), drain
    return worker


def test_a_trial_ends_at_its_rung_as_a_persons_decision(tmp_path: Path) -> None:
    spec = make_spec()
    run(spec, tmp_path, asking(tmp_path))
    folder = StudyFolder(tmp_path, "s")
    result = folder.read_result(1)
    assert result is not None
    assert (result.state, result.pruned_by, result.steps_trained) == (
        TrialState.PRUNED,
        "person",
        100,
    )
    assert result.reason == "ended by a person at step 100: loss looks wrong"
    assert "trials/0001/stop.json" in folder.journal.chain().files and not folder.faults()
    assert not list((folder.path / "requests").iterdir())
    assert "trial 1 is ended by a person at step 100" in folder.notes.read_text()
    assert len(folder.results()) == spec.budget.trials


def test_a_stop_holds_at_the_last_evaluation_too(tmp_path: Path) -> None:
    worker = asking(tmp_path)
    worker.at_last = True
    run(make_spec(), tmp_path, worker)
    folder = StudyFolder(tmp_path, "s")
    result, plan = folder.read_result(1), folder.read_plan(1)
    assert result is not None and plan is not None
    assert (result.state, result.pruned_by) == (TrialState.PRUNED, "person")
    assert result.steps_trained == plan.params.max_steps
    assert result.reason.endswith(": loss looks wrong")
    assert not list((folder.path / "requests").iterdir())


def test_interrupted_at_the_decision_equals_uninterrupted(tmp_path: Path) -> None:
    spec = make_spec()
    run(spec, tmp_path / "straight", asking(tmp_path / "straight"))
    with GracefulShutdown() as drain, pytest.raises(Interrupted):
        run(spec, tmp_path / "cut", asking(tmp_path / "cut", drain), drain=drain)
    run(spec, tmp_path / "cut", FakeWorker())
    assert history(spec, tmp_path / "cut") == history(spec, tmp_path / "straight")


def test_a_decision_that_was_sealed_before_a_kill_holds_at_the_same_rung(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec()
    run(spec, tmp_path / "straight", asking(tmp_path / "straight"))
    with monkeypatch.context() as patched:
        patched.setattr(StudyFolder, "note", _killed)
        with pytest.raises(KeyboardInterrupt):
            run(spec, tmp_path / "cut", asking(tmp_path / "cut"))
    folder = StudyFolder(tmp_path / "cut", "s")
    assert folder.read_stop(1) is not None and folder.read_result(1) is None
    run(spec, tmp_path / "cut", FakeWorker())
    assert history(spec, tmp_path / "cut") == history(spec, tmp_path / "straight")


def test_a_trial_that_ends_otherwise_first_has_answered_its_request(tmp_path: Path) -> None:
    spec = make_spec(searched=SPACE[1:], fixed={"learning_rate": 0.6}, budget=Budget(trials=2))
    folder, advance = StudyFolder(tmp_path, "s"), FakeWorker.advance

    def asking(worker: FakeWorker) -> tuple[Event, ...]:
        for number in worker.active:
            ask_to_stop(folder, number, "")
        return advance(worker)

    with patch.object(FakeWorker, "advance", asking):
        run(spec, tmp_path)
    assert [result.state for result in folder.results()] == [TrialState.FAIL] * 2
    assert not list((folder.path / "requests").iterdir())


def test_a_request_that_cannot_be_removed_ends_the_trial_alone(tmp_path: Path) -> None:
    """As one that another person has made, in a folder of theirs."""
    spec, folder, unlink = make_spec(), StudyFolder(tmp_path, "s"), Path.unlink

    def refused(path: Path, missing_ok: bool = False) -> None:
        if path.name.startswith("stop-"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        unlink(path, missing_ok)

    with patch.object(Path, "unlink", refused):
        run(spec, tmp_path, asking(tmp_path))
    result = folder.read_result(1)
    assert result is not None and result.pruned_by == "person"
    assert len(folder.results()) == spec.budget.trials


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_stop_after_a_kill_comes_after_what_was_measured_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = Dimension(name="max_steps", choices=(500,))
    spec = make_spec(searched=(steps,), fixed={"learning_rate": 5e-4}, budget=Budget(trials=1))
    folder, advance = StudyFolder(tmp_path, "s"), FakeWorker.advance

    def killing(worker: FakeWorker) -> tuple[Event, ...]:
        if worker.slots[0].step == 300:
            raise Killed
        return advance(worker)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(FakeWorker, "advance", killing)
        run(spec, tmp_path, FakeWorker(1), save_every=1e9)
    ask_to_stop(folder, 0, "")
    run(spec, tmp_path, FakeWorker(1))
    result = folder.read_result(0)
    assert result is not None and result.reason == "ended by a person at step 300"
    last = final_adapter(spec, folder, result)
    written = json.loads((last.folder / "adapter_config.json").read_text())
    assert last.step == written["step"] == folder.read_measurements(0)[-1].step == 300


def test_what_is_no_request_stops_nothing(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path, "s")
    (folder.path / "requests").mkdir(parents=True)
    (folder.path / "requests" / "stop-0001.json").write_text("{")
    run(make_spec(), tmp_path)
    result = folder.read_result(1)
    assert result is not None and result.pruned_by != "person"


def test_from_another_process_while_it_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, folder = make_project(tmp_path), None
    running = process(spec, "--quiet", "execution.pack=1", pause=0.2)
    folder = folder_of(spec)
    deadline = time.monotonic() + 60
    while not folder.plan_file(0).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert orchestrate("stop", spec, 0, "--reason", "=cmd()") == 0
    assert f"by process {running.pid} on" in capsys.readouterr().out
    assert orchestrate("status", "--studies", folder.path.parent) == 0
    assert "1 study, 1 running" in capsys.readouterr().out
    assert orchestrate("clean", "--yes", "--studies", folder.path.parent) == 0
    assert "in use by process" in capsys.readouterr().out
    running.communicate(timeout=100)
    result = folder.read_result(0)
    assert (
        result is not None and result.pruned_by == "person" and result.reason.endswith(": =cmd()")
    )
    assert orchestrate("stop", spec, 0) == 3
    assert "trial 0 of study demo has ended: PRUNED" in capsys.readouterr().err


def test_a_reason_in_another_encoding_stops_the_trial(tmp_path: Path) -> None:
    class Stopped(FakeWorker):
        def advance(self) -> tuple[Event, ...]:
            raise Interrupted("Stopped.")

    spec = make_project(tmp_path)
    assert orchestrate(spec, "--quiet", worker=lambda *_: Stopped()) == 75
    assert orchestrate("stop", spec, 0, "--reason", "caf\udce9 noise") == 0
    asked = folder_of(spec).asked_to_stop(0)
    assert asked is not None and asked.reason == "caf noise"


def test_a_trial_that_never_began_cannot_be_stopped(tmp_path: Path) -> None:
    run(make_spec(), tmp_path)
    with pytest.raises(StudyError, match="study s has no trial 99 yet"):
        ask_to_stop(StudyFolder(tmp_path, "s"), 99, "")


def test_a_trial_that_waits_for_another_cannot_be_stopped_alone(tmp_path: Path) -> None:
    folder, said = StudyFolder(tmp_path, "s"), list[str]()

    class AskingForAll(FakeWorker):
        def advance(self) -> tuple[Event, ...]:
            for number in (1, 0) if not said and folder.plan_file(1).exists() else ():
                try:
                    ask_to_stop(folder, number, "")
                except StudyError as error:
                    said.append(str(error))
            return super().advance()

    one = (Dimension(name="learning_rate", choices=(1e-3,)),)
    spec = make_spec(searched=one, method="random", fixed={"max_steps": 300, "rank": 8})
    run(spec, tmp_path, AskingForAll())
    assert said == [
        "trial 1 of study s is not trained: it has the recipe of trial 0, and takes its result\n"
        f"  `orchestrate stop {folder.named} 0` ends that one."
    ]
    assert {result.pruned_by for result in folder.results()} == {"person"}
    assert not list((folder.path / "requests").iterdir())
