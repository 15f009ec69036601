"""What is changed after a confirmation was seen: its sets are refused, anything else is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import Interrupted
from orchestrator.running import confirmation
from orchestrator.sweepfile.loading import load_spec
from orchestrator.verdicts.confirming import earlier_runs
from tests.cli_project import SWEEP, folder_of, make_project, orchestrate

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
