"""A study that has begun, and what a sweep file may say otherwise by now: kept when the run can do
what it asks.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest

from orchestrator.cli import main
from orchestrator.errors import ModelError
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Worker
from orchestrator.running.spec_changes import _by_content
from orchestrator.search import database_differences
from orchestrator.sweepfile.loading import FieldChange, load_spec
from orchestrator.sweepfile.sweep import SweepSpec
from tests.cli_project import folder_of, orchestrate, ran_project
from tests.fake_worker import FakeWorker


def test_a_set_may_have_the_name_of_a_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ran_project(tmp_path)
    folder, sets = folder_of(spec), folder_of(spec).sets()
    monkeypatch.setattr(StudyFolder, "sets", lambda self: {"max_seconds": sets["domain"]})
    change = FieldChange("data.max_seconds", 40.0, 15.0, False)
    assert _by_content(change, load_spec(spec), folder) == change
    renamed = replace(change, path="data.also.max_seconds.manifest", new="data/domain.jsonl")
    assert _by_content(renamed, load_spec(spec), folder).allowed


def other_version(spec: SweepSpec, folder: StudyFolder) -> Worker:
    return FakeWorker(sets=spec.data.evaluated["domain"].path.stem, version="2")


def test_a_budget_that_is_refused_leaves_the_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a manifest that is damaged by now, a model that is gone, a machine that evaluates
    otherwise, nor a database with other results makes a finished study unfinished.
    """
    spec = ran_project(tmp_path)
    folder = folder_of(spec)
    kept, notes = folder.spec.read_bytes(), folder.notes.read_bytes()
    more = f"budget.trials={load_spec(spec).budget.trials + 1}"
    train = load_spec(spec).data.train
    before = train.read_bytes()
    train.write_bytes(before + b"{bad\n")
    assert orchestrate(spec, "-q", more) in (2, 3)
    assert (folder.spec.read_bytes(), folder.notes.read_bytes()) == (kept, notes)
    train.write_bytes(before)

    def gone(spec: SweepSpec, folder: StudyFolder) -> Worker:
        raise ModelError("there is no model any more")

    with pytest.raises(SystemExit) as ended:
        main([str(spec), "-q", more], gone)
    assert ended.value.code == 2 and "no model any more" in capsys.readouterr().err
    assert folder.spec.read_bytes() == kept
    assert orchestrate("report", spec) == 0
    assert "Not finished" not in capsys.readouterr().out
    assert orchestrate(spec, "-q", more, worker=other_version) == 2
    assert "evaluated differently" in capsys.readouterr().err
    assert (folder.spec.read_bytes(), orchestrate("report", spec)) == (kept, 0)
    with mock.patch.object(database_differences, "differing_trial", lambda *_: 0):
        assert orchestrate(spec, "-q", more) == 3
    assert "says of trial 0" in capsys.readouterr().err
    assert folder.spec.read_bytes() == kept
    assert orchestrate(spec, "-q", more) in (0, 4, 5)
    assert folder.spec.read_bytes() != kept
    assert "budget.trials from" in folder.notes.read_text()
