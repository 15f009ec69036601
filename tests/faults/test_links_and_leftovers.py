"""Only files of our own names are deleted, only those of processes that are gone, and never through
a link.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from orchestrator.corpus.cache import clip_cache
from orchestrator.errors import StudyError
from orchestrator.files.atomic import new_file, new_folder
from orchestrator.files.names_aside import (
    aside_of,
    clear_dead,
    clear_leftovers,
    is_abandoned,
    published,
)
from orchestrator.records.store import StudyFolder
from orchestrator.sweepfile.sweep import Budget
from tests.running_support import make_spec, run

PLACES = [
    "study.lock",
    "study.db",
    "checkpoint",
    "trials",
    "trials/0000",
    "notes.md",
    "spec.yaml",
    "report.md",
    "logs",
    "logs/pack-0.log",
    "logs/tracking-mlflow.log",
    "tracking/wandb",
]


@pytest.mark.parametrize("place", PLACES)
def test_a_link_in_a_study_is_refused_and_what_it_points_to_is_untouched(
    tmp_path: Path, place: str
) -> None:
    spec = make_spec(budget=Budget(trials=1))
    study = StudyFolder(tmp_path, spec.name)
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "000001.json").write_text("a year's work")
    (precious / "thesis.md").write_text("a year's work")
    link = study.path / place
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(precious if "." not in place else precious / "thesis.md")
    with pytest.raises(StudyError, match="is a symbolic link"):
        run(spec, tmp_path)
    assert {path.name: path.read_text() for path in precious.iterdir()} == dict.fromkeys(
        ("000001.json", "thesis.md"), "a year's work"
    )


@pytest.mark.parametrize("place", ["logs/pack-0.log", "logs/tracking-mlflow.log"])
def test_a_pipe_in_the_place_of_a_log_is_refused_and_not_waited_for(
    tmp_path: Path, place: str
) -> None:
    spec = make_spec(budget=Budget(trials=1))
    pipe = StudyFolder(tmp_path, spec.name).path / place
    pipe.parent.mkdir(parents=True)
    os.mkfifo(pipe)
    with pytest.raises(StudyError, match=rf"{pipe.name} is a named pipe"):
        run(spec, tmp_path)


def test_the_study_itself_and_its_cache_may_lie_elsewhere(tmp_path: Path) -> None:
    spec = make_spec(budget=Budget(trials=1))
    (tmp_path / "big" / "cache").mkdir(parents=True)
    (tmp_path / "big" / "cache" / "mine.tmp-notes").write_text("keep")
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / spec.name).symlink_to(tmp_path / "big")
    run(spec, tmp_path / "studies")
    assert (tmp_path / "big" / "cache" / "mine.tmp-notes").read_text() == "keep"


def test_an_adapter_that_was_replaced_by_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("keep")
    (tmp_path / "adapter").symlink_to(tmp_path / "elsewhere")
    with new_folder(tmp_path / "adapter") as aside:
        (aside / "new").write_text("new")
    assert (tmp_path / "elsewhere" / "file").read_text() == "keep"
    assert [path.name for path in (tmp_path / "adapter").iterdir()] == ["new"]


def test_a_link_that_waits_where_a_file_is_written_aside_is_not_written_through(
    tmp_path: Path,
) -> None:
    (tmp_path / "keep").write_text("keep")
    aside_of(tmp_path / "new").symlink_to(tmp_path / "keep")
    with new_file(tmp_path / "new") as aside:
        aside.write_text("new")
    assert (tmp_path / "keep").read_text() == "keep" and (tmp_path / "new").read_text() == "new"


def test_what_is_not_ours_stays_in_the_checkpoints(tmp_path: Path) -> None:
    spec = make_spec(budget=Budget(trials=2))
    folder = StudyFolder(tmp_path, spec.name)
    folder.checkpoint.mkdir(parents=True)
    (folder.checkpoint / "README").write_text("mine")
    (folder.checkpoint / "12 angry men.json").write_text("mine")
    run(spec, tmp_path)
    assert (folder.checkpoint / "README").read_text() == "mine"
    assert (folder.checkpoint / "12 angry men.json").read_text() == "mine"


def test_the_file_of_a_killed_writer_goes_and_that_of_a_live_one_stays(
    tmp_path: Path, gone: int
) -> None:
    live = tmp_path / f"out.jsonl.tmp-{os.getppid()}"
    dead, other = tmp_path / f"out.jsonl.tmp-{gone}", tmp_path / f"else.tmp-{gone}"
    for path in (live, dead, other):
        path.write_text("half")
    with new_file(tmp_path / "out.jsonl") as aside:
        aside.write_text("whole")
    assert live.exists() and other.exists() and not dead.exists()


def test_what_a_process_of_another_user_writes_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system says of it that it may not be sent a signal, and so that it runs."""

    def refused(process: int, number: int) -> None:
        raise PermissionError

    theirs = tmp_path / f"out.jsonl.tmp-{os.getppid()}"
    theirs.write_text("half")
    monkeypatch.setattr(os, "kill", refused)
    with new_file(tmp_path / "out.jsonl") as aside:
        aside.write_text("whole")
    assert theirs.exists()


def test_the_old_version_of_a_folder_that_is_being_replaced_is_nobody_s_leftover(
    tmp_path: Path,
) -> None:
    """Without the lock of a study nobody can tell whether it has to get its name back."""
    old = tmp_path / "out.tmp-old"
    old.mkdir()
    clear_dead(tmp_path)
    clear_dead(tmp_path, "out")
    assert old.exists()


def test_the_folder_of_a_killed_export_goes(tmp_path: Path, gone: int) -> None:
    (tmp_path / f"out.tmp-{gone}").mkdir()
    (tmp_path / f"out.tmp-{gone}" / "file").write_text("half")
    with new_folder(tmp_path / "out"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_audio_of_a_killed_run_goes_whatever_its_key(tmp_path: Path, gone: int) -> None:
    (tmp_path / f"old.pcm.tmp-{gone}").write_text("half")
    (tmp_path / f"live.pcm.tmp-{os.getppid()}").write_text("half")
    clip_cache.write_clips([], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"live.pcm.tmp-{os.getppid()}"]


def test_under_the_lock_a_live_process_keeps_what_it_writes_into_the_cache(
    tmp_path: Path, gone: int
) -> None:
    for name in (f"a.tmp-{os.getppid()}", f"b.tmp-{gone}", "c.tmp-notes", ".tmp-1"):
        (tmp_path / name).write_text("half")
    clear_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".tmp-1",
        f"a.tmp-{os.getppid()}",
        "c.tmp-notes",
    ]
    assert not is_abandoned(Path("x.tmp-")) and is_abandoned(Path(f"x.tmp-{10**30}"))


def test_what_another_machine_is_writing_stays_for_a_day(tmp_path: Path, gone: int) -> None:
    """On storage that several share, no process here has the number of one there."""
    ours = aside_of(tmp_path / "out")
    here = ours.name.rpartition("-")[2]
    there = f"{int(here, 16) ^ 1:08x}"
    left = [tmp_path / f"out.tmp-{number}-{there}" for number in (gone, os.getpid())]
    old, dead = tmp_path / f"out.tmp-{gone + 1}-{there}", tmp_path / f"out.tmp-{gone}-{here}"
    for path in (*left, old, dead):
        path.write_text("half")
    os.utime(old, (time.time() - 90_000,) * 2)
    with new_file(tmp_path / "out") as aside:
        assert aside == ours
        aside.write_text("whole")
    clear_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "out", *left])
    assert published(left[0]) == published(ours) == tmp_path / "out"
