"""Facts that are recorded twice, in study.db and in a trial's files. Where one of the two was
changed by somebody else, the study is refused before anything is trained, and following the advice
leads to the usual end.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli import main
from orchestrator.errors import Interrupted
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Event
from orchestrator.sweepfile.sweep import SweepSpec
from tests.cli_project import folder_of, make_project
from tests.fake_worker import FakeWorker
from tests.faults.commands import SMALL, contents, said_here

REJECTED, REFUSED = 4, 3


class Stopped(FakeWorker):
    """Is interrupted while its first trials train."""

    def advance(self) -> tuple[Event, ...]:
        """Ctrl+C, twice."""
        raise Interrupted("stopped at once")


def stopped(spec: SweepSpec, folder: StudyFolder) -> FakeWorker:
    """Two trials in slots, nothing measured of them."""
    return Stopped(capacity=2, sets="domain")


@dataclass(frozen=True)
class Begun:
    """A study that was interrupted while its first trials trained."""

    spec: Path
    expected: dict[str, Any]
    """What a study that was not interrupted holds."""

    @property
    def folder(self) -> StudyFolder:
        """As a new process finds it."""
        return folder_of(self.spec)

    def execute(self, *statements: str) -> None:
        """Change the database past Optuna."""
        with closing(sqlite3.connect(self.folder.database)) as connection, connection:
            for statement in statements:
                connection.execute(statement)


@pytest.fixture(scope="module", name="made")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Begun:
    root = tmp_path_factory.mktemp("twice")
    straight = make_project(root / "straight", SMALL)
    assert said_here(straight, "--quiet")[0] == REJECTED
    spec = make_project(root / "begun", SMALL)
    with pytest.raises(SystemExit) as ended:
        main([str(spec), "--quiet"], stopped)
    assert ended.value.code == Interrupted.exit_code
    return Begun(spec, contents(folder_of(straight)))


@pytest.fixture(name="begun")
def _begun(made: Begun, tmp_path: Path) -> Begun:
    shutil.copytree(made.spec.parents[1], tmp_path / "project")
    return Begun(tmp_path / "project" / "sweeps" / "demo.yaml", made.expected)


ONE = "(SELECT trial_id FROM trials WHERE number = 1)"
CHANGES = {
    "parameters of a trial": (
        "UPDATE trial_params SET param_value = 5 WHERE param_name = 'rank' AND trial_id = " + ONE,
        "study.db says other parameters of trial 1 than its plan.json, which is sealed",
    ),
    "a value outside the space": (
        "UPDATE trial_params SET param_value = 5000 WHERE param_name = 'rank' AND trial_id = "
        + ONE,
        "holds a trial that this sweep cannot have asked for: trial 1: rank must be ",
    ),
    "a trial of somebody else": (
        "INSERT INTO trials (number, study_id, state) VALUES (2, 1, 'COMPLETE')",
        "holds a trial that this sweep cannot have asked for: trial 2: learning_rate must be ",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_database_is_refused_and_the_advice_helps(begun: Begun, change: str) -> None:
    statement, words = CHANGES[change]
    begun.execute(statement)
    code, said = said_here(begun.spec, "--quiet")
    assert code == REFUSED and words in said and "Move study.db away, then run" in said
    begun.folder.database.rename(begun.folder.path.parent / "away.db")
    assert said_here("repair", begun.spec)[0] == 0
    assert said_here(begun.spec, "--quiet")[0] == REJECTED
    assert contents(begun.folder) == begun.expected


def test_a_database_that_cannot_be_read_is_one_message(begun: Begun) -> None:
    begun.folder.database.unlink()
    begun.folder.database.mkdir()
    for words in (
        (begun.spec, "--quiet"),
        ("repair", begun.spec),
        ("repair", begun.spec, "--check"),
    ):
        code, said = said_here(*words)
        assert code == REFUSED and "study.db" in said


def test_checkpoints_that_are_all_damaged_are_named_and_removed(begun: Begun) -> None:
    states = [path for path in begun.folder.checkpoint.rglob("*") if path.is_file()]
    for path in states:
        path.write_bytes(b"")
    code, said = said_here(begun.spec, "--quiet")
    assert code == REFUSED and "Run `orchestrate repair SPEC`" in said
    assert said_here("repair", begun.spec, "--check")[0] == REFUSED
    assert said_here("repair", begun.spec)[0] == 0
    assert said_here(begun.spec, "--quiet")[0] == REJECTED
    assert contents(begun.folder) == begun.expected


def test_a_name_that_is_no_text_is_shown(begun: Begun) -> None:
    strange = begun.folder.trial_folder(0) / "adapter"
    strange.mkdir(parents=True, exist_ok=True)
    Path(f"{strange}/\udcff.json").write_text("x")
    code, said = said_here("repair", begun.spec, "--check")
    assert code == REFUSED and "was not written by a run of this study" in said
