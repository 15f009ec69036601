"""A study.db that was replaced, by a backup for example, and is not the one last written to."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from unittest import mock

import optuna
import pytest

from orchestrator.cli import main
from orchestrator.errors import Interrupted, StudyError
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Event
from orchestrator.search.study import Study
from orchestrator.sweepfile.loading import load_spec
from orchestrator.sweepfile.sweep import Budget, SweepSpec
from tests.cli_project import SWEEP, folder_of, make_project, orchestrate, ran_project
from tests.fake_worker import FakeWorker
from tests.faults.commands import contents
from tests.running_support import make_spec, run

FOUR = ("budget.trials=4",)


def back_up(database: Path, copy: Path) -> None:
    """With what its write-ahead log holds."""
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)


def put_back(copy: Path, database: Path) -> None:
    """As `cp -p` does: into the file that is there."""
    shutil.copy2(copy, database)


def rename_back(copy: Path, database: Path) -> None:
    """As `mv` and rsync do."""
    copy.rename(database)


def lose(copy: Path, database: Path) -> None:
    """It is removed."""
    database.unlink()


@pytest.mark.parametrize("harm", [put_back, rename_back, lose])
def test_a_study_db_that_was_replaced_under_a_sweep_ends_it_and_is_made_again(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    harm: Callable[[Path, Path], None],
) -> None:
    spec = make_project(tmp_path / "own")
    folder = folder_of(spec)
    copy = folder.path.parent / "copy.db"
    ticks: list[int] = []

    class Worker(FakeWorker):
        def advance(self) -> tuple[Event, ...]:
            ticks.append(len(ticks))
            if len(ticks) == 2:
                back_up(folder.database, copy)
            if len(ticks) == 6:
                harm(copy, folder.database)
            return super().advance()

    def make_worker(sweep: SweepSpec, of: StudyFolder) -> FakeWorker:
        return Worker(sets=sweep.data.evaluated["domain"].path.stem)

    with pytest.raises(SystemExit) as ended:
        main([str(spec), "--quiet", *FOUR], make_worker)
    assert ended.value.code == 3
    assert capsys.readouterr().err == (
        f"{folder.database} is not as this run left it: an older copy was put in its place, or "
        "something else writes to it\n"
        "  Every finished trial is safe in its result.json. Move study.db away, then run "
        "`orchestrate repair SPEC`: it makes it again from the files of the trials.\n"
    )
    if folder.database.exists():
        folder.database.rename(folder.path.parent / "away.db")
    assert orchestrate("repair", spec, *FOUR) == 0
    assert orchestrate(spec, "--quiet", *FOUR) in (0, 4, 5)
    alone = ran_project(tmp_path / "alone", *FOUR)
    assert contents(folder)["files"] == contents(folder_of(alone))["files"]


def touch(database: Path) -> None:
    """As some backups do, which set the time to whole seconds."""
    os.utime(database, (0, database.stat().st_mtime_ns // 10**9))


def one_byte(database: Path) -> None:
    """Somebody writes to the file itself."""
    with database.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read()[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))


@pytest.mark.parametrize(("harm", "unchanged"), [(touch, True), (one_byte, False)])
def test_of_a_study_db_whose_time_alone_differs_the_content_decides(
    tmp_path: Path, harm: Callable[[Path], None], unchanged: bool
) -> None:
    spec = make_spec(budget=Budget(trials=3))
    folder, advance = StudyFolder(tmp_path, spec.name), FakeWorker.advance

    def harming(worker: FakeWorker) -> tuple[Event, ...]:
        harm(folder.database)
        return advance(worker)

    with mock.patch.object(FakeWorker, "advance", harming):
        if unchanged:
            run(spec, tmp_path)
        else:
            with pytest.raises(StudyError, match="is not as this run left it"):
                run(spec, tmp_path)
    assert (len(folder.results()) == 3) is unchanged


def test_a_database_lost_while_trials_train_has_their_searched_ratio_again(tmp_path: Path) -> None:
    sweep = SWEEP.replace("min: 4, max: 32, log: true", "values: [6, 12, 24]").replace(
        "  - {learning_rate: 5.0e-4, rank: 32}",
        "  - {rank: 6, alpha_ratio: 0.7}\n  - {rank: 24, alpha_ratio: 0.1}",
    )
    sweep = sweep.replace("  max_steps", "  alpha_ratio: {values: [0.1, 0.7]}\n  max_steps")
    spec = make_project(tmp_path, sweep)

    class Interrupting(FakeWorker):
        def advance(self) -> tuple[Event, ...]:
            raise Interrupted("a kill that is awaited")

    assert orchestrate(spec, "--quiet", *FOUR, worker=lambda *_: Interrupting()) == 75
    folder = folder_of(spec)
    before = Study.open(folder.database, load_spec(spec))
    asked = [trial.params for trial in before.trials()]
    before.close()
    assert [params["alpha_ratio"] for params in asked] == [0.7, 0.1]
    # what a manifest is called is no part of a trial
    (tmp_path / "data" / "train.jsonl").rename(tmp_path / "data" / "renamed.jsonl")
    spec.write_text(sweep.replace("data/train.jsonl", "data/renamed.jsonl"))
    assert orchestrate(spec, "--quiet", *FOUR, worker=lambda *_: Interrupting()) == 75
    folder.database.unlink()
    assert orchestrate("repair", spec, *FOUR) == 0
    again = Study.open(folder.database, load_spec(spec))
    assert [trial.params for trial in again.trials()] == asked
    again.close()


def test_a_commit_upon_another_commit_than_the_last_one_writes_nothing(tmp_path: Path) -> None:
    """As a server restored from a dump shows it."""
    spec, database = make_spec(budget=Budget(trials=3)), tmp_path / "study.db"
    study = Study.open(database, spec)
    assert study.ask()
    study.commit()
    with study._rdb.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE study_user_attributes SET value_json = '1' WHERE key = 'orchestrator:commits'"
        )
    assert study.ask()
    with pytest.raises(StudyError, match=r"study\.db is not as this run left it: an older copy"):
        study.commit()
    study.close()
    again = Study.open(database, spec)
    assert len(again.trials()) == 1
    again.close()


@pytest.mark.parametrize("revision", ["v2.6.0.a", "v99.0.0.a"])
def test_a_study_db_of_another_version_of_optuna_is_said_and_can_be_made_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], revision: str
) -> None:
    """As where the environment was updated, or the study comes from another machine."""
    spec = ran_project(tmp_path)
    database = folder_of(spec).database
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    capsys.readouterr()
    assert orchestrate(spec, "--quiet", "budget.trials=6") == 3
    assert capsys.readouterr().err == (
        f"{database} has the tables of another version of Optuna than {optuna.__version__}, which is installed\n"
        "  Move study.db away, then run `orchestrate repair SPEC`: it makes it again from the files of the trials.\n"
    )
    database.rename(database.with_name("away.db"))
    assert orchestrate("repair", spec) == 0
    assert orchestrate(spec, "--quiet", "budget.trials=6") in (0, 4, 5)
