"""A study whose lock is removed, or whose folder is moved, removed or replaced, while a run that
owns it is alive.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

from orchestrator.cli import main
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Event, MakeWorker
from orchestrator.sweepfile.sweep import SweepSpec
from tests.cli_project import folder_of, make_project, orchestrate, process, ran_project
from tests.fake_worker import FakeWorker
from tests.faults.commands import contents

SHORT = ("budget.trials=2",)


def test_a_second_start_is_refused_though_the_lock_was_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = make_project(tmp_path / "own")
    folder = folder_of(spec)
    first = process(spec, "--quiet", *SHORT)
    assert first.stderr
    first.stderr.readline()  # it trains
    os.kill(first.pid, signal.SIGSTOP)
    try:
        folder.lock_file.unlink()
        capsys.readouterr()
        assert orchestrate(spec, "--quiet", *SHORT) == 3
        assert capsys.readouterr().err.startswith("study demo is in use by another process\n")
        assert not folder.lock_file.exists()
    finally:
        os.kill(first.pid, signal.SIGCONT)
    said = first.communicate()
    assert first.returncode in (0, 4, 5), said
    assert f'"pid": {first.pid},' in folder.lock_file.read_text()
    alone = folder_of(ran_project(tmp_path / "alone", *SHORT))
    assert contents(folder) == contents(alone)


def moved(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))


def removed(path: Path) -> None:
    shutil.rmtree(path)


def replaced(path: Path) -> None:
    moved(path)
    shutil.copytree(path.with_name("elsewhere"), path)


def harmed_at(tick: int, harm: Callable[[Path], None]) -> MakeWorker:
    """A worker at whose tick of this number, of search and confirmation, the folder is harmed."""
    ticks = []

    class Harmed(FakeWorker):
        folder: Path

        def advance(self) -> tuple[Event, ...]:
            ticks.append(self)
            if len(ticks) == tick:
                harm(self.folder)
            return super().advance()

    def make_worker(spec: SweepSpec, folder: StudyFolder) -> FakeWorker:
        worker = Harmed(sets=spec.data.evaluated["domain"].path.stem)
        worker.folder = folder.path
        return worker

    return make_worker


def refused_after(
    spec: Path, tick: int, harm: Callable[[Path], None], root: Path
) -> dict[str, int]:
    """Run a sweep that is harmed and must end with exit code 3; the files of `root` right after the
    harm.
    """
    left: dict[str, int] = {}

    def harm_and_look(folder: Path) -> None:
        harm(folder)
        left.update(listing(root))

    with pytest.raises(SystemExit) as ended:
        main([str(spec), "--quiet", *SHORT], harmed_at(tick, harm_and_look))
    assert ended.value.code == 3
    return left


@pytest.mark.parametrize(("harm", "tick"), [(moved, 2), (removed, 6), (replaced, 2)])
def test_a_run_whose_folder_is_gone_ends_in_one_sentence_and_writes_no_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], harm: Callable[[Path], None], tick: int
) -> None:
    spec = make_project(tmp_path)
    path = folder_of(spec).path
    left = refused_after(spec, tick, harm, path.parent)
    assert capsys.readouterr().err == (
        f"{path} is not the folder any more in which this run of study demo began: it was moved, "
        "removed or replaced\n"
        "  Nothing more was written. Put the folder back, then run the same command again.\n"
    )
    assert listing(path.parent) == left
    if harm is not removed:
        shutil.rmtree(path, ignore_errors=True)
        path.with_name("elsewhere").rename(path)
    assert orchestrate(spec, "--quiet", *SHORT) in (0, 4, 5)


def listing(root: Path) -> dict[str, int]:
    """Every file below it with the time it was written, but for what SQLite remembers."""
    found = [path for path in root.rglob("*") if not path.name.startswith("study.db")]
    return {path.relative_to(root).as_posix(): path.stat().st_mtime_ns for path in found}


def without_journal(path: Path) -> None:
    """As `rm -r` that a running sweep makes fail in the middle leaves it."""
    for name in ("journal.jsonl", "study.json", "pack.json"):
        (path / name).unlink()


def older_journal(path: Path) -> None:
    """Of a copy, put back while the sweep goes on."""
    journal = path / "journal.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:4]))


def test_a_journal_that_only_has_another_time_is_unchanged(tmp_path: Path) -> None:
    """As some backups leave it, which set the time to whole seconds, and file servers that give
    their own once a file is closed.
    """
    spec = make_project(tmp_path)
    journal, advance = folder_of(spec).journal.path, FakeWorker.advance

    def touching(worker: FakeWorker) -> tuple[Event, ...]:
        os.utime(journal, (0, journal.stat().st_mtime_ns // 10**9))
        return advance(worker)

    with mock.patch.object(FakeWorker, "advance", touching):
        assert orchestrate(spec, "--quiet") == 0
    assert orchestrate("repair", spec, "--check") == 0


def one_digit_of_journal(path: Path) -> None:
    """As an editor leaves it, with as many bytes as before."""
    journal = path / "journal.jsonl"
    with journal.open("r+b") as file:
        file.seek(journal.read_bytes().index(b'"sha256": "') + 11)
        file.write(b"x")


@pytest.mark.parametrize(
    ("harm", "tick"), [(without_journal, 2), (older_journal, 5), (one_digit_of_journal, 3)]
)
def test_a_journal_that_changed_under_its_owner_ends_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], harm: Callable[[Path], None], tick: int
) -> None:
    spec = make_project(tmp_path)
    path = folder_of(spec).path
    left = refused_after(spec, tick, harm, path)
    assert capsys.readouterr().err == (
        f"{path / 'journal.jsonl'} was removed or changed by something else while this run held "
        "study demo\n"
        "  Nothing more was written. Restore the study from a copy, then run the same command "
        "again.\n"
    )
    assert listing(path) == left
