"""What is changed after a confirmation was seen: its sets and another evaluation are refused, anything
else is said.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import FingerprintError, Interrupted
from orchestrator.records.results import TrialResult
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import MakeWorker
from orchestrator.running import confirmation
from orchestrator.sweepfile.loading import load_spec
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.confirming import earlier_runs
from orchestrator.verdicts.judging import pool_scores
from tests.cli_project import SWEEP, folder_of, make_project, orchestrate
from tests.fake_worker import FakeWorker
from tests.run_fake import make_worker

FEW = "budget.trials=2"


def said_of_earlier(capsys: pytest.CaptureFixture[str]) -> str:
    """The sentence about earlier confirmation runs; empty where there is none."""
    words = " ".join(capsys.readouterr().out.partition("What the numbers cannot say")[2].split())
    return words.partition("Not the first confirmation: ")[2].partition(" Where ")[0]


def test_confirm_sets_that_a_confirmation_has_used_may_not_change(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = make_project(tmp_path)
    path = tmp_path / "data" / "confirm_domain.jsonl"
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    assert orchestrate(spec, "--quiet", FEW) in (0, 4, 5)
    path.write_bytes(b"".join(lines[:-1]))
    capsys.readouterr()
    assert orchestrate(spec, "budget.trials=3") == 3
    assert capsys.readouterr().err == (
        "data of study demo have changed since its trials were trained and measured:\n"
        f"  data/confirm_domain.jsonl (confirm_domain): {len(lines)} utterances then, {len(lines) - 1} now\n"
        "  Put the data back, or begin a new study with --fork NAME.\n"
    )
    path.write_bytes(whole)
    assert orchestrate(spec, "--quiet", "budget.trials=3") in (0, 4, 5)


def test_confirm_sets_may_change_until_a_confirmation_uses_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise Interrupted("Stopped.")

    spec = make_project(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(confirmation, "run_confirmation", stopped)
        assert orchestrate(spec, "--quiet", FEW) == Interrupted.exit_code
    path = tmp_path / "data" / "confirm_domain.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert orchestrate(spec, "--quiet", FEW) in (0, 4, 5)
    assert folder_of(spec).confirmations()


def worker_with(**parts: str) -> MakeWorker:
    """Make fake workers whose evaluation has these parts."""

    class Other(FakeWorker):
        @property
        def evaluation(self) -> dict[str, str]:
            return super().evaluation | parts

    def make(spec: SweepSpec, folder: StudyFolder) -> FakeWorker:
        return Other(2, make_worker(spec, folder).sets)

    return make


def test_confirmation_runs_of_two_evaluations_are_not_added_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, write = make_project(tmp_path), StudyFolder.write_result

    def stopping(folder: StudyFolder, result: TrialResult) -> None:
        write(folder, result)
        if result.number == -1:
            raise Interrupted("Stopped.")

    before, after = worker_with(torch="2.1"), worker_with(torch="2.2")
    with monkeypatch.context() as patch:
        patch.setattr(StudyFolder, "write_result", stopping)
        assert orchestrate(spec, "--quiet", FEW, worker=before) == Interrupted.exit_code
    capsys.readouterr()
    assert orchestrate(spec, "--quiet", FEW, worker=after) == 2
    assert capsys.readouterr().err == (
        "The confirmation runs of study demo were evaluated differently from what this machine would do now, so their "
        "numbers cannot be compared. What differs:\n"
        "  torch: 2.1 in the study, 2.2 now\n"
        "Put back what changed (data, model, device, library versions), or start a new study with --fork NAME.\n"
    )
    folder = folder_of(spec)
    assert len(folder.confirmations()) == 1 and len(folder.baselines()) == 2
    assert orchestrate(spec, "--quiet", FEW, worker=before) in (0, 4, 5)
    rows = [row for run in (-1, -2) for row in folder.read_measurements(run)]
    with pytest.raises(FingerprintError, match="their counts cannot be added"):
        pool_scores([rows[0], rows[1].model_copy(update={"fingerprint": "other"})])


def test_a_confirmation_with_another_model_device_or_list_of_terms_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise Interrupted("Stopped.")

    spec = make_project(tmp_path)
    searched = {"weights": "a", "terms": "c", "device": "cuda", "precision": "fp32"}
    with monkeypatch.context() as patch:
        patch.setattr(confirmation, "run_confirmation", stopped)
        code = orchestrate(spec, "--quiet", FEW, worker=worker_with(**searched))
        assert code == Interrupted.exit_code
    for changed in ({"weights": "b"}, {"terms": "d"}, {"device": "cpu"}):
        capsys.readouterr()
        other = worker_with(**searched | changed)
        assert orchestrate(spec, "--quiet", FEW, worker=other) == 2
        ((name, value),) = changed.items()
        said = capsys.readouterr().err
        assert f"What differs:\n  {name}: {searched[name]} in the study, {value} now\nPut" in said
    precise = worker_with(**searched | {"precision": "bf16"})
    assert orchestrate(spec, "--quiet", FEW, worker=precise) in (0, 4, 5)


def test_runs_that_were_seen_before_those_that_count_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    poor = (
        "start_with:\n  - {learning_rate: 1.0e-4, rank: 4}\n  - {learning_rate: 5.0e-4, rank: 32}"
    )
    good = "start_with:\n  - {learning_rate: 5.0e-4, rank: 32}"
    spec = make_project(tmp_path, SWEEP.replace(good, poor))
    assert orchestrate(spec, "budget.trials=1") in (0, 4, 5)
    assert said_of_earlier(capsys) == ""
    assert orchestrate(spec) in (0, 4, 5)  # another trial is the best one now
    folder = folder_of(spec)
    earlier = earlier_runs(load_spec(spec), folder, folder.results())
    assert [run.result.params for run in earlier] == [
        {"trial": 0, "seed": seed} for seed in (101, 102)
    ]
    named = [
        f"trial 0 with seed {run.result.params['seed']} "
        f"({run.result.delta['confirm_domain']:+.2f} points; of a trial that is no finalist any more)"
        for run in earlier
    ]
    assert said_of_earlier(capsys) == f"earlier runs no longer count, {', '.join(named)}."
    unseen, fewer = (load_spec(spec, [words]) for words in ("confirm=", "confirm.seeds=[102, 103]"))
    whys = {run.why for run in earlier_runs(unseen, folder, folder.results())}
    assert whys == {"which the sweep file asks for no longer"}
    found = earlier_runs(fewer, folder, folder.results())
    assert [(run.result.params["seed"], run.why) for run in found] == [
        (101, "with another seed"),
        (102, "of a trial that is no finalist any more"),
        (101, "with another seed"),
    ]
