"""What needs a trial that has ended says how to get one, in a study that was stopped before."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import Interrupted
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Event
from orchestrator.running.dashboard_contents import dashboard_study
from orchestrator.scoring.judge import Decision
from orchestrator.sweepfile.loading import load_spec
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts import concluding
from tests.cli_project import SWEEP, folder_of, make_project, orchestrate
from tests.fake_worker import FakeWorker

NO_CONFIRMATION = "".join(
    line for line in SWEEP.splitlines(True) if not line.lstrip().startswith("confirm:")
)


class Stopped(FakeWorker):
    """A worker that is stopped before any trial is measured."""

    def advance(self) -> tuple[Event, ...]:
        raise Interrupted("Stopped.")


def stopped(spec: SweepSpec, folder: StudyFolder) -> FakeWorker:
    return Stopped()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("export", "demo", "--to", "out"), "no trial of study demo has ended yet"),
        (("export", "demo", "0", "--to", "out"), "no trial of study demo has ended yet"),
        (("compare", "demo", "demo"), "no trial of study demo has ended yet"),
    ],
)
def test_the_study_is_to_be_continued(
    words: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spec = make_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert orchestrate(spec, "--quiet", worker=stopped) == Interrupted.exit_code
    capsys.readouterr()
    assert orchestrate(*words) == 3
    error = capsys.readouterr().err
    advice = "Let it train on first: "
    assert error.startswith(said) and advice in error
    command = shlex.split(error.partition(advice)[2])
    assert orchestrate(*command[1:], "--quiet") in (0, 4, 5)
    assert orchestrate("export", "demo", "--to", "out") == 0


@pytest.mark.parametrize(
    "words",
    [
        ("export", "demo", "--to", "out"),
        ("export", "demo", "0", "--to", "out"),
        ("compare", "demo", "demo"),
    ],
)
def test_a_study_whose_time_the_baseline_took_is_given_more(
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spec = make_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert orchestrate(spec, "--quiet", "budget.wall_clock=1e-9") == 5
    capsys.readouterr()
    assert orchestrate(*words) == 3
    said, _, command = capsys.readouterr().err.partition("\n  With more time it goes on, as in: ")
    assert said == "study demo has no trial: budget.wall_clock was spent before the first one"
    assert orchestrate(*shlex.split(command)[1:], "--quiet") == 0
    assert orchestrate("export", "demo", "--to", "out") == 0


def test_status_of_a_sweep_that_was_stopped_says_that_nothing_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = make_project(tmp_path)
    assert orchestrate(spec, "--quiet", worker=stopped) == Interrupted.exit_code
    said = printed(capsys, "status", spec)
    assert "\nInterrupted; the sweep's command continues them\n" in said
    assert "In training" not in said


def test_the_report_has_the_baseline_that_was_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = make_project(tmp_path)
    assert orchestrate(spec, "--quiet", worker=stopped) == Interrupted.exit_code
    capsys.readouterr()
    assert orchestrate("report", spec, "--format", "json") == 0
    early = json.loads(capsys.readouterr().out)
    assert orchestrate("report", spec, "--format", "md") == 0
    assert "## Baseline" in capsys.readouterr().out
    assert orchestrate(spec, "--quiet", worker=lambda *_: FakeWorker()) in (0, 4, 5)
    capsys.readouterr()
    assert orchestrate("report", spec, "--format", "json") == 0
    finished = json.loads(capsys.readouterr().out)
    assert early["trials"] == [] and early["decision"] is None and finished["trials"]
    assert early["baseline"] and early["baseline"] == finished["baseline"]


def test_a_sweep_without_a_feasible_trial_is_inconclusive_wherever_it_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = make_project(tmp_path, SWEEP.replace("max_regression: 0.5}", "max_wer: 0.1}", 1))
    monkeypatch.chdir(tmp_path)
    assert orchestrate(spec, "--quiet", worker=stopped) == Interrupted.exit_code
    assert "No trial has ended yet." in printed(capsys, "report", "demo", "--format", "html")
    assert "INCONCLUSIVE" not in printed(capsys, "status")
    assert orchestrate(spec, "--quiet") == 5
    capsys.readouterr()
    assert orchestrate(spec, "--json") == 5
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (last["event"], last["decision"], last["trial"]) == ("finished", "INCONCLUSIVE", None)
    assert "INCONCLUSIVE" in printed(capsys, "status")
    page = printed(capsys, "report", "demo", "--format", "html")
    assert "No trial keeps every guardrail." in page
    found = json.loads(printed(capsys, "report", "demo", "--format", "json"))
    assert (found["decision"], found["best_trial"]) == ("INCONCLUSIVE", None)
    sides = json.loads(printed(capsys, "compare", "demo", "demo:1", "--format", "json"))["sides"]
    assert [side["decision"] for side in sides] == ["INCONCLUSIVE"] * 2


class Cut(FakeWorker):
    """A worker that is stopped when its first trial has ended."""

    def advance(self) -> tuple[Event, ...]:
        if len(self.slots) < len(self.admitted):
            raise Interrupted("Stopped.")
        return super().advance()


def test_a_sweep_that_goes_on_has_no_verdict_wherever_it_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its best trial so far keeps every limit, and the gain is proven among those that ended."""
    spec = make_project(tmp_path, NO_CONFIRMATION)
    monkeypatch.chdir(tmp_path)
    assert orchestrate(spec, "--quiet", worker=lambda *_: Cut(1, "domain")) == Interrupted.exit_code
    found = json.loads(printed(capsys, "report", "demo", "--format", "json"))
    assert found["search"]["decision"] == "ACCEPT" and not found["finished"]
    assert found["decision"] is None
    sides = json.loads(printed(capsys, "compare", "demo", "demo", "--format", "json"))["sides"]
    assert [side["decision"] for side in sides] == [None, None]
    attributes = dashboard_study(load_spec(spec), folder_of(spec), ["demo"]).attributes
    assert "verdict" not in attributes
    assert orchestrate("export", "demo", "--to", "out") == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert "no verdict yet, the sweep is not finished" in card
    for words in (["status"], ["report", "demo", "--format", "html"], ["report", "demo"]):
        assert "ACCEPT" not in re.sub("ACCEPT: the winner shows", "", printed(capsys, *words))
    assert "ACCEPT" not in card
    assert orchestrate(spec, "--quiet") == 0
    assert "ACCEPT" in printed(capsys, "status")


@pytest.mark.parametrize("what", ["report", "compare", "status", "export", "dashboard"])
def test_a_sweep_that_ends_while_it_is_judged_has_no_verdict_by_fewer_trials(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = make_project(tmp_path, NO_CONFIRMATION)
    monkeypatch.chdir(tmp_path)
    assert orchestrate(spec, "--quiet", worker=lambda *_: Cut(1, "domain")) == Interrupted.exit_code
    decide = concluding._decide_study

    def ending_meanwhile(*given: Any) -> Decision | None:
        monkeypatch.setattr(concluding, "_decide_study", decide)
        assert orchestrate(spec, "--quiet") == 0
        capsys.readouterr()
        return decide(*given)

    monkeypatch.setattr(concluding, "_decide_study", ending_meanwhile)
    if what == "dashboard":
        found = dashboard_study(load_spec(spec), folder_of(spec), ["demo"])
        said = f"{found.note}{found.attributes}"
    else:
        words = {
            "compare": ["demo", "demo", "--format", "json"],
            "status": [],
            "export": ["demo", "--to", "out"],
        }
        said = printed(capsys, what, *words.get(what, ["demo"]))
        said = said.partition('"seeds"')[0]  # the other side of compare is read when all has ended
    said += (tmp_path / "out" / "README.md").read_text() if what == "export" else ""
    assert "ACCEPT" not in said
    assert "ACCEPT" in printed(capsys, "status")


def printed(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    assert orchestrate(*words) == 0
    return capsys.readouterr().out


def test_a_trial_that_still_trains_is_told_from_one_that_nobody_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Later(FakeWorker):
        def advance(self) -> tuple[Event, ...]:
            if len(self.admitted) > 3:
                raise Interrupted("Stopped.")
            return super().advance()

    spec = make_project(tmp_path)
    assert orchestrate(spec, "--quiet", worker=lambda *_: Later()) == Interrupted.exit_code
    for number, said in ((3, "trial 3 of study demo has not ended yet"), (7, "no ended trial 7")):
        assert orchestrate("export", spec, number, "--to", tmp_path / "out") == 3
        assert said in capsys.readouterr().err
