"""The lock of a study: one holder, named to others, free when it dies."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.errors import StudyError
from orchestrator.records.store import StudyFolder

HOLDER = """
import os, subprocess, sys, time
from pathlib import Path
from orchestrator.records.store import StudyFolder
with StudyFolder(Path(sys.argv[1]), "phase3").lock():
    if sys.argv[2] == "fork":
        told, tell = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(tell, b"1")
            time.sleep(60)
        os.read(told, 1)
    elif sys.argv[2] == "exec":
        child = subprocess.Popen(["sleep", "60"], close_fds=False).pid
    else:
        child = 0
    print(os.getpid(), child, flush=True)
    time.sleep(60)
"""


def hold(root: Path, child: str = "") -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(root), child], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    return process, int(process.stdout.readline().split()[1])


def test_a_second_process_is_told_who_holds_the_study(tmp_path: Path) -> None:
    process, _ = hold(tmp_path)
    try:
        with pytest.raises(StudyError) as caught, StudyFolder(tmp_path, "phase3").lock():
            pass
    finally:
        process.kill()
        process.wait()
    assert caught.value.exit_code == 3
    assert str(caught.value) == (
        f"study phase3 is in use by process {process.pid} on {socket.gethostname()}\n"
        "  Wait until it has finished or stop it (Ctrl+C keeps all results), then run the same command again."
    )


@pytest.mark.parametrize("child", ["", "fork", "exec"])
def test_kill_nine_frees_the_study_whatever_children_live_on(tmp_path: Path, child: str) -> None:
    process, orphan = hold(tmp_path, child)
    process.kill()
    process.wait()
    try:
        with StudyFolder(tmp_path, "phase3").lock():
            assert str(os.getpid()) in (tmp_path / "phase3" / "study.lock").read_text()
    finally:
        if orphan:
            os.kill(orphan, signal.SIGKILL)


def test_the_lock_is_free_after_an_exception_and_holds_within_one_process_too(
    tmp_path: Path,
) -> None:
    folder = StudyFolder(tmp_path, "phase3")
    with pytest.raises(KeyError), folder.lock():
        with pytest.raises(StudyError, match=f"in use by process {os.getpid()} on "), folder.lock():
            pass
        raise KeyError
    with folder.lock():
        pass


@pytest.mark.parametrize("signature", [b"", b"{", b"[]", b'{"pid": "x"}', b"\xff"])
def test_a_holder_that_has_not_signed_yet_is_another_process(
    tmp_path: Path, signature: bytes
) -> None:
    folder = StudyFolder(tmp_path, "phase3")
    with folder.lock():
        (folder.path / "study.lock").write_bytes(signature)
        with (
            pytest.raises(StudyError, match="study phase3 is in use by another process\n"),
            folder.lock(),
        ):
            pass


def test_a_lock_file_that_was_removed_as_it_was_taken_is_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By `rm -r` of a study that its owner had just finished with."""
    folder, flock = StudyFolder(tmp_path, "phase3"), fcntl.flock

    def late(descriptor: int, what: int) -> None:
        if folder.lock_file.exists():
            monkeypatch.setattr(fcntl, "flock", flock)
            folder.lock_file.unlink()
        flock(descriptor, what)

    monkeypatch.setattr(fcntl, "flock", late)
    with folder.lock():
        assert str(os.getpid()) in folder.lock_file.read_text()
        with pytest.raises(StudyError, match="is in use by"), folder.lock():
            pass


def test_a_holder_in_another_container_of_one_host_name_is_not_taken_for_dead(
    tmp_path: Path,
) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    folder = StudyFolder(tmp_path, "phase3")
    with folder.lock():
        there = {"pid": gone.pid, "host": socket.gethostname(), "boot": "of another"}
        folder.lock_file.write_text(json.dumps(there))
        assert folder.holder() == f"process {gone.pid} on {socket.gethostname()}"


def remove(file: Path) -> None:
    file.unlink()


def replace(file: Path) -> None:
    file.rename(file.with_name("old"))
    file.write_text("{}")


def link(file: Path) -> None:
    file.rename(file.with_name("old"))
    file.symlink_to("old")


@pytest.mark.parametrize("harm", [remove, replace])
def test_an_owner_whose_lock_file_is_gone_keeps_the_study_and_makes_the_file_anew(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    folder, other = StudyFolder(tmp_path, "phase3"), StudyFolder(tmp_path, "phase3")
    with folder.lock():
        harm(folder.lock_file)
        with (
            pytest.raises(StudyError, match="study phase3 is in use by another process\n"),
            other.lock(),
        ):
            pass
        folder.note("an act")
        with pytest.raises(StudyError, match=f"in use by process {os.getpid()} on "), other.lock():
            pass
        assert other.holder() == f"process {os.getpid()} on {socket.gethostname()}"
    with other.lock():
        pass


def test_a_lock_file_that_became_a_link_ends_the_run(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path, "phase3")
    with pytest.raises(StudyError) as caught, folder.lock():
        link(folder.lock_file)
        folder.note("an act")
    assert str(caught.value) == (
        f"{folder.lock_file} was replaced while this run of study phase3 held it, and cannot be "
        "opened: Too many levels of symbolic links\n"
        "  Nothing more was written. Remove it, then run the same command again."
    )
    assert not folder.notes.exists()


def test_where_folders_cannot_be_locked_an_owner_without_its_file_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, other, flock = (*(StudyFolder(tmp_path, "phase3") for _ in range(2)), fcntl.flock)

    def of_files(descriptor: int, what: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EBADF, "not of folders")
        flock(descriptor, what)

    monkeypatch.setattr(fcntl, "flock", of_files)
    with pytest.raises(StudyError) as caught, folder.lock():
        folder.lock_file.unlink()
        with other.lock():
            folder.note("an act")
    assert str(caught.value) == (
        f"{folder.lock_file} was removed or replaced while this run of study phase3 held it: "
        "another run may own the study by now\n"
        "  Nothing more was written. When no other run is left, run the same command again."
    )
    assert not folder.notes.exists()
