"""A folder or a pipe under the name of a file, and a file under the name of a folder: one message,
whose advice leads to the usual end.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.errors import StudyError
from orchestrator.files.atomic import make_folder
from orchestrator.files.file_kinds import other_kind
from orchestrator.records.locks.study_lock import holder
from orchestrator.records.misplaced_links import refuse_misplaced
from tests.cli_project import folder_of, ran_project
from tests.faults.commands import contents, said_here

REFUSED = 3
MADE_AGAIN = ("study.db", "study.db-wal", "spec.yaml", "trials/0000/result.json", "clock.json")
"""Files whose loss a repair or the next run mends."""


@pytest.mark.parametrize("name", MADE_AGAIN)
def test_the_advice_on_a_folder_in_the_place_of_a_file_leads_to_the_usual_end(
    tmp_path: Path, name: str
) -> None:
    spec = ran_project(tmp_path)
    verdict, whole = said_here(spec, "--quiet")[0], contents(folder_of(spec))
    place = folder_of(spec).path / name
    place.unlink(missing_ok=True)
    place.mkdir()
    (place / "somebody's.txt").write_text("mine")
    for words in ((spec, "--quiet"), ("repair", spec)):
        code, said = said_here(*words)
        assert code == REFUSED and place.name in said, said
        assert "ove it away, then run the same" in said or "move away what has its name" in said
    place.rename(tmp_path / "away")
    code, said = said_here(spec, "--quiet")
    if code == REFUSED:
        assert "run `orchestrate repair SPEC`" in said
        assert said_here("repair", spec)[0] == 0
        code = said_here(spec, "--quiet")[0]
    assert (code, contents(folder_of(spec))) == (verdict, whole)
    assert (tmp_path / "away" / "somebody's.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["journal.jsonl", "study.lock", "notes.md", "report.md"])
def test_a_folder_is_named_by_each_command_and_goes_back(tmp_path: Path, name: str) -> None:
    spec = ran_project(tmp_path)
    verdict = said_here(spec, "--quiet")[0]
    place = folder_of(spec).path / name
    place.rename(tmp_path / "kept")
    place.mkdir()
    for words in ((spec, "--quiet"), ("repair", spec)):
        code, said = said_here(*words)
        assert code == REFUSED, said
        assert said.startswith(f"{place} is a directory, and a file belongs there\n  Move it away")
    place.rmdir()
    (tmp_path / "kept").rename(place)
    assert said_here(spec, "--quiet")[0] == verdict


def test_a_pipe_is_never_waited_for(tmp_path: Path) -> None:
    spec = ran_project(tmp_path)
    study = folder_of(spec)
    for name in ("notes.md", "trials/0000/result.json", "journal.jsonl"):
        place = study.path / name
        place.rename(tmp_path / "kept")
        os.mkfifo(place)
        code, said = said_here("report", spec)
        assert code == REFUSED and place.name in said, said
        place.unlink()
        (tmp_path / "kept").rename(place)
    study.lock_file.unlink()
    os.mkfifo(study.lock_file)
    assert holder(study.lock_file) == ""
    assert said_here(spec, "--quiet")[0] == REFUSED


@pytest.mark.parametrize("name", ["trials", "confirm", "checkpoint", "trials/0000", "cache"])
def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path, name: str) -> None:
    study = tmp_path / "study"
    place = study / name
    place.parent.mkdir(parents=True)
    place.write_text("mine")
    with pytest.raises(StudyError, match="is no folder, and one belongs there\n  Move it away"):
        refuse_misplaced(study)
    with pytest.raises(NotADirectoryError):
        make_folder(place / "below")
    assert place.read_text() == "mine"


def test_folders_of_a_person_may_lie_in_a_study(tmp_path: Path) -> None:
    (tmp_path / "my notes").mkdir()
    (tmp_path / "trials" / "0000").mkdir(parents=True)
    (tmp_path / "trials" / "0000" / "adapter").mkdir()
    refuse_misplaced(tmp_path)


def test_an_emptied_database_is_found_and_made_again(tmp_path: Path) -> None:
    spec = ran_project(tmp_path)
    verdict, whole = said_here(spec, "--quiet")[0], contents(folder_of(spec))
    database = folder_of(spec).database
    emptied: list[Callable[[], object]] = [
        lambda: database.write_bytes(b""),
        lambda: _forget_last_trial(database),
    ]
    for harm in emptied:
        harm()
        code, said = said_here("repair", spec, "--check")
        assert code == REFUSED and "study.db has been altered" in said
        assert said_here("repair", spec)[0] == 0
        assert said_here(spec, "--quiet")[0] == verdict
        assert contents(folder_of(spec)) == whole


def _forget_last_trial(database: Path) -> None:
    """As an older copy of it."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DELETE FROM trials WHERE number = (SELECT MAX(number) FROM trials)")


def test_a_damaged_record_of_a_server_is_moved_away(tmp_path: Path) -> None:
    spec = ran_project(tmp_path)
    verdict = said_here(spec, "--quiet")[0]
    record = folder_of(spec).path / "storage.json"
    record.write_text("{")
    code, said = said_here("repair", spec, "--check")
    assert code == REFUSED and "run `orchestrate repair SPEC`" in said
    assert said_here("repair", spec)[0] == 0 and not record.exists()
    assert record.with_name("storage.json.damaged").read_text() == "{"
    assert said_here(spec, "--quiet")[0] == verdict


def test_a_journal_without_a_line_is_a_lost_one(tmp_path: Path) -> None:
    spec = ran_project(tmp_path)
    journal = folder_of(spec).journal.path
    whole = journal.read_bytes()
    for left in (b"", whole[:40]):
        journal.write_bytes(left)
        for words in (("report", spec), (spec, "--quiet"), ("repair", spec)):
            code, said = said_here(*words)
            assert code == REFUSED and said.startswith(f"{journal} is lost"), said
    journal.write_bytes(whole)
    assert said_here("repair", spec, "--check")[0] == 0


def test_what_somebody_copied_into_a_trial_is_moved_away(tmp_path: Path) -> None:
    spec = ran_project(tmp_path)
    copied = folder_of(spec).trial_folder(0) / "plan (copy).json"
    copied.write_bytes(folder_of(spec).plan_file(0).read_bytes())
    code, said = said_here("repair", spec)
    assert code == REFUSED and "plan (copy).json was not written by a run of this study" in said
    assert "Move these away where they are nobody's" in said
    copied.rename(tmp_path / "copied")
    assert said_here("repair", spec)[0] == 0


def test_kinds_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "nowhere").symlink_to("gone")
    os.mkfifo(tmp_path / "pipe")
    found = {path.name: other_kind(path) for path in tmp_path.iterdir()}
    assert found == {"file": "", "link": "", "nowhere": "", "pipe": "a named pipe"}
    assert other_kind(tmp_path) == "a directory" and other_kind(Path(os.devnull)) == "a device"
    assert other_kind(tmp_path / "file" / "below") == ""
