"""The owner of a study on a file system that several hosts share, where `flock` does not hold."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from orchestrator.errors import StudyError
from orchestrator.files import atomic, names_aside
from orchestrator.records import store
from orchestrator.records.journal import journal_file
from orchestrator.records.locks import heartbeat_lock, mounts, study_lock
from orchestrator.records.locks.heartbeat_lock import take_turn
from orchestrator.records.locks.process_identity import Process, this_process
from orchestrator.records.store import StudyFolder
from tests.cli_project import folder_of, make_project, orchestrate, ran_project

FIRST, SECOND = Process("login1", 811, "kernel one"), Process("login2", 4711, "kernel two")
CLOCK = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d"


class Clock:
    """The monotonic clock of who looks."""

    now = 1000.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


@pytest.fixture(name="clock")
def _clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock to be set; nobody beats but when told to."""
    clock = Clock()
    monkeypatch.setattr(heartbeat_lock, "_now", clock)
    monkeypatch.setattr(heartbeat_lock, "BEAT_SECONDS", 1e6)
    return clock


@pytest.fixture(name="shared")
def _shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Studies lie on nfs, mounted with local locks."""
    monkeypatch.setattr(store, "network_file_system", lambda path: "nfs4")
    monkeypatch.setattr(fcntl, "flock", lambda descriptor, what: None)


@contextmanager
def on(process: Process) -> Iterator[None]:
    """What is started here runs on that host."""
    patch = pytest.MonkeyPatch()
    patch.setattr(heartbeat_lock, "this_process", lambda: process)
    try:
        yield
    finally:
        patch.undo()


def refused(folder: StudyFolder) -> str:
    with pytest.raises(StudyError) as caught, on(SECOND), folder.lock():
        pass
    assert caught.value.exit_code == 3
    return str(caught.value)


@pytest.mark.usefixtures("shared", "clock")
def test_another_host_is_told_who_has_the_study_and_what_to_do(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path, "phase3")
    with on(FIRST), folder.lock():
        said = refused(StudyFolder(tmp_path, "phase3"))
        with on(SECOND):
            assert re.fullmatch(
                rf"process 811 on login1, which last beat at {CLOCK} .*", folder.holder()
            )
    assert re.fullmatch(
        rf"study phase3 is in use by process 811 on login1, which last beat at {CLOCK} by its clock\n"
        r"  Wait until it has finished or stop it \(Ctrl\+C keeps all results\), then run the same command again\. "
        r"If login1 is dead, run it again in 60 s: what has not beaten by then is taken over\.",
        said,
    )
    with on(SECOND):
        assert folder.holder() == ""
        with folder.lock():  # the first one ended in order
            pass


@pytest.mark.usefixtures("clock")
def test_where_flock_holds_between_hosts_the_refusal_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "network_file_system", lambda path: "nfs4")
    monkeypatch.setattr("socket.gethostname", lambda: "login1")
    folder = StudyFolder(tmp_path, "phase3")
    with on(Process("login1", os.getpid(), "kernel one")), folder.lock():
        said = refused(StudyFolder(tmp_path, "phase3"))
    assert f"in use by process {os.getpid()} on login1, which last beat at " in said
    assert "If login1 is dead, run it again in 60 s" in said


@pytest.mark.usefixtures("shared")
def test_a_beat_that_stood_still_is_taken_over_and_its_owner_writes_no_more(
    tmp_path: Path, clock: Clock
) -> None:
    folder, other = StudyFolder(tmp_path, "phase3"), StudyFolder(tmp_path, "phase3")
    with (
        pytest.raises(StudyError, match="is in use by process 4711 on login2") as caught,
        on(FIRST),
        folder.lock(),
    ):
        folder.write_spec("name: phase3\n")
        refused(other)
        clock.now += heartbeat_lock.STILL_SECONDS - 1
        refused(other)
        clock.now += 1
        with on(SECOND), other.lock():
            other.write_spec("name: other\n")
            journal = other.journal.path.read_bytes()
            with pytest.raises(StudyError) as taken:
                folder.write_spec("name: mine\n")
            assert str(taken.value) == (
                "study phase3 was taken over by process 4711 on login2: this process had stood still for more "
                "than 60 s\n  What it had sealed is safe, and the other one goes on from there."
            )
            assert other.journal.path.read_bytes() == journal
            assert other.read_spec() == "name: other\n"
            with on(FIRST), StudyFolder(tmp_path, "phase3").lock():
                pass
    assert "login2 is dead" in str(caught.value)


def taken_over_at(
    module: ModuleType, name: str, folder: StudyFolder, clock: Clock, patch: pytest.MonkeyPatch
) -> None:
    """Let this process stand still at the next call of a function, while another host takes the
    study over and ends.
    """
    real = getattr(module, name)
    refused(folder)

    def still(*args: Any, **named: Any) -> Any:
        patch.setattr(module, name, real)
        clock.now += heartbeat_lock.STILL_SECONDS
        with pytest.MonkeyPatch.context() as there:
            there.setattr(names_aside, "_where", lambda: "0123abcd")
            with on(SECOND), folder.lock():
                folder.write_spec("name: other\n")
        return real(*args, **named)

    patch.setattr(module, name, still)


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize(
    ("module", "name"),
    [(journal_file, "_write_whole"), (atomic, "_sync_together"), (os, "replace")],
    ids=["in its journal", "before the names", "at a name"],
)
def test_an_owner_that_stands_still_in_the_middle_of_an_act_takes_nothing_from_the_next_one(
    tmp_path: Path,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    name: str,
) -> None:
    folder, other = StudyFolder(tmp_path, "phase3"), StudyFolder(tmp_path, "phase3")
    with (
        pytest.raises(StudyError, match="was taken over by process 4711 on login2"),
        on(Process("login1", os.getpid(), "kernel one")),
        folder.lock(),
    ):
        folder.write_spec("name: phase3\n")
        taken_over_at(module, name, other, clock, monkeypatch)
        folder.write_spec("name: mine\n")
    assert StudyFolder(tmp_path, "phase3").read_spec() == "name: other\n"
    assert StudyFolder(tmp_path, "phase3").journal.faults() == {}


@pytest.mark.usefixtures("shared")
def test_an_owner_that_stands_still_before_an_adapter_has_its_name_leaves_that_of_the_next_one(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, other = StudyFolder(tmp_path, "phase3"), StudyFolder(tmp_path, "phase3")

    def write(study: StudyFolder, text: str) -> None:
        with study.new_adapter(study.path / "trials" / "0000" / "adapter") as aside:
            (aside / "weights").write_text(text)

    with (
        pytest.raises(StudyError, match="was taken over by process 4711 on login2"),
        on(Process("login1", os.getpid(), "kernel one")),
        folder.lock(),
    ):
        write(folder, "first")
        monkeypatch.setattr(other, "write_spec", lambda text: write(other, text))
        taken_over_at(atomic, "_exchange_names", other, clock, monkeypatch)
        write(folder, "mine")
    assert StudyFolder(tmp_path, "phase3").journal.faults() == {}
    assert "name: other" in (other.path / "trials" / "0000" / "adapter" / "weights").read_text()


@pytest.mark.usefixtures("shared")
def test_a_former_owner_has_another_database_open_than_the_next_one(
    tmp_path: Path, clock: Clock
) -> None:
    folder, other = StudyFolder(tmp_path, "phase3"), StudyFolder(tmp_path, "phase3")
    log = folder.database.with_name("study.db-wal")

    def opened() -> sqlite3.Connection:
        return sqlite3.connect(folder.database, isolation_level=None)

    with (
        pytest.raises(StudyError, match="was taken over by process 4711 on login2"),
        on(FIRST),
        folder.lock(),
    ):
        former = opened()
        for act in ("PRAGMA journal_mode=WAL", "CREATE TABLE t(x)", "INSERT INTO t VALUES (1)"):
            former.execute(act)
        before = [path.stat().st_ino for path in (folder.database, log)]
        refused(other)
        clock.now += heartbeat_lock.STILL_SECONDS
        with on(SECOND), other.lock():
            assert not {path.stat().st_ino for path in (folder.database, log)} & {*before}
            with closing(opened()) as mine:
                mine.execute("INSERT INTO t VALUES (2)")
                former.execute("INSERT INTO t VALUES (4)")
                former.close()
                mine.execute("INSERT INTO t VALUES (3)")
                with closing(opened()) as fresh:
                    assert fresh.execute("SELECT x FROM t").fetchall() == [(1,), (2,), (3,)]
        folder.write_spec("name: mine\n")


def test_an_owner_that_stands_still_in_a_beat_looks_once_more(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = take_turn(tmp_path, "phase3", FIRST)
    with pytest.raises(StudyError):
        take_turn(tmp_path, "phase3", SECOND)
    write = first._write

    def still(released: bool) -> None:
        clock.now += heartbeat_lock.STILL_SECONDS
        with on(SECOND):
            take_turn(tmp_path, "phase3", SECOND).end()
        write(released)

    monkeypatch.setattr(first, "_write", still)
    clock.now += heartbeat_lock.SURE_SECONDS + 1
    with pytest.raises(StudyError, match="was taken over by process 4711 on login2"):
        first.confirm()


def test_an_owner_whose_file_server_does_not_answer_was_not_taken_over(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = take_turn(tmp_path, "phase3", FIRST)
    read = Path.read_text

    def unanswered(path: Path, *_: object) -> str:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    monkeypatch.setattr(Path, "read_text", unanswered)
    with suppress(StudyError):  # as the thread that beats
        turn._beat()
    turn.confirm()  # the beat before is recent enough
    clock.now += heartbeat_lock.SURE_SECONDS + 1
    with pytest.raises(StudyError, match=r"beat\.json could not be written: Input/output error"):
        turn.confirm()
    monkeypatch.setattr(Path, "read_text", read)
    turn.confirm()
    turn.end()


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("slow", [3, 4])
def test_an_owner_on_a_file_system_that_stays_slow_ends_and_loses_nothing(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, slow: int
) -> None:
    folder, took = StudyFolder(tmp_path, "phase3"), iter([20.0] * slow)
    overwrite = heartbeat_lock._overwrite

    def slowly(path: Path, text: str) -> None:
        clock.now += next(took, 0.0)
        overwrite(path, text)

    def write_again() -> None:
        monkeypatch.setattr(heartbeat_lock, "_overwrite", slowly)
        clock.now += heartbeat_lock.SURE_SECONDS + 1
        folder.write_spec("name: later\n")

    with on(FIRST), folder.lock():
        folder.write_spec("name: phase3\n")
        if slow < heartbeat_lock.SLOW_BEATS:
            write_again()
        else:
            with pytest.raises(StudyError) as caught:
                write_again()
            assert str(caught.value) == (
                "whether study phase3 is still this process's cannot be told: the last of 4 beats took 20 s to "
                f"reach {folder.path}/owner/000001/beat.json\n  Nothing more was written, and what was sealed is "
                "safe. When the file system answers within 15 s again, run the same command again."
            )
    monkeypatch.setattr(heartbeat_lock, "_overwrite", overwrite)
    kept = "phase3" if slow == heartbeat_lock.SLOW_BEATS else "later"
    again = StudyFolder(tmp_path, "phase3")
    assert again.read_spec() == f"name: {kept}\n" and again.journal.faults() == {}
    with on(SECOND), again.lock():  # the turn was ended in order
        again.write_spec("name: other\n")


@pytest.mark.usefixtures("shared")
def test_a_beat_that_moves_is_never_taken_over_whatever_the_clocks_say(
    tmp_path: Path, clock: Clock
) -> None:
    turn = take_turn(tmp_path, "phase3", FIRST)
    for _ in range(5):
        with pytest.raises(StudyError, match="is in use by process 811 on login1"):
            take_turn(tmp_path, "phase3", SECOND)
        clock.now += 10 * heartbeat_lock.STILL_SECONDS
        turn.confirm()  # its last beat is old: it beats
    turn.end()
    take_turn(tmp_path, "phase3", SECOND).end()


def test_a_restarted_reader_begins_to_watch_anew(tmp_path: Path, clock: Clock) -> None:
    turn = take_turn(tmp_path, "phase3", FIRST)
    for boot in ("two", "three"):
        with pytest.raises(StudyError):
            take_turn(tmp_path, "phase3", Process("login2", 5, boot))
        clock.now += heartbeat_lock.STILL_SECONDS
    clock.now = 5.0  # and a clock that ran backwards proves nothing
    with pytest.raises(StudyError):
        take_turn(tmp_path, "phase3", Process("login2", 5, "three"))
    turn.end()


def test_another_container_of_the_host_goes_on_watching(tmp_path: Path, clock: Clock) -> None:
    """One that is started again and again, as Kubernetes does it, is a new one each time."""
    first = take_turn(tmp_path, "phase3", FIRST)
    containers = [Process(f"pod-{each}", 1, f"kernel two pid:[{each}]") for each in (1, 2, 3)]
    for after, container in zip((0, 59), containers, strict=False):
        clock.now += after
        with pytest.raises(StudyError, match="is in use by process 811 on login1"):
            take_turn(tmp_path, "phase3", container)
    clock.now += 1
    take_turn(tmp_path, "phase3", containers[2]).end()
    first.end()


def test_an_owner_that_moves_as_it_is_taken_over_leaves_no_turn_free(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = take_turn(tmp_path, "phase3", FIRST)
    with pytest.raises(StudyError):
        take_turn(tmp_path, "phase3", SECOND)
    clock.now += heartbeat_lock.STILL_SECONDS

    class Late(heartbeat_lock.Turn):
        """Made as the first owner, who had looked for a successor before, beats."""

        def __init__(self, path: Path, study: str, process: Process) -> None:
            super().__init__(path, study, process)
            first._write(released=False)

    monkeypatch.setattr(heartbeat_lock, "Turn", Late)
    for process in (SECOND, Process("login3", 5, "kernel three")):
        with pytest.raises(StudyError, match="is in use by process 811 on login1"):
            take_turn(tmp_path, "phase3", process)
    first.end()


def test_of_many_at_once_one_has_the_turn(tmp_path: Path) -> None:
    turns, refusals = [], []
    gate = threading.Barrier(8)

    def start(number: int) -> None:
        gate.wait()
        try:
            turns.append(
                take_turn(tmp_path / "owner", "phase3", Process(f"node{number}", 1, f"{number}"))
            )
        except StudyError as error:
            refusals.append(str(error))

    for _ in range(5):
        threads = [threading.Thread(target=start, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(turns) == 1 and len(refusals) == 7
        assert all(text.startswith("study phase3 is in use by ") for text in refusals)
        turns.pop().end()
        refusals.clear()


def test_the_owner_beats_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat_lock, "BEAT_SECONDS", 0.001)
    turn = take_turn(tmp_path, "phase3", FIRST)
    written = tmp_path / "000001" / "beat.json"
    before = written.read_bytes()
    while written.read_bytes() == before:  # a suite's own limit ends what never moves
        turn.confirm()
    turn.end()
    assert b'"released": true' in written.read_bytes() and len(written.read_bytes()) == 512


def test_what_was_killed_on_this_host_is_taken_over_at_once(tmp_path: Path, clock: Clock) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    here = this_process()
    take_turn(tmp_path, "phase3", Process(here.host, gone.pid, here.boot))
    take_turn(tmp_path, "phase3", here).end()


@pytest.mark.usefixtures("shared", "clock")
def test_a_file_system_without_locks_has_the_beat_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(descriptor: int, what: int) -> None:
        raise OSError(38, os.strerror(38))

    monkeypatch.setattr(fcntl, "flock", unsupported)
    folder = StudyFolder(tmp_path, "phase3")
    with on(FIRST), folder.lock():
        assert "in use by process 811 on login1" in refused(StudyFolder(tmp_path, "phase3"))
    monkeypatch.setattr(store, "network_file_system", lambda path: None)
    with (
        pytest.raises(StudyError, match="cannot be locked: Function not implemented"),
        folder.lock(),
    ):
        pass
    assert study_lock.holder(folder.lock_file) == ""


def test_a_database_that_another_host_has_open_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = ran_project(tmp_path)
    folder = folder_of(spec)
    turn = take_turn(folder.path / "owner", "demo", FIRST)
    assert (
        orchestrate("repair", spec, "--check") == 0
    )  # copied from another host, to a disk of this one
    monkeypatch.setattr(mounts, "_read_mounts", lambda: [("/", "nfs4")])
    for command in (("dashboard", spec, "--port", 0), ("repair", spec, "--check")):
        capsys.readouterr()
        assert orchestrate(*command) == 3
        said = capsys.readouterr().err
        assert re.fullmatch(
            rf"{folder.database} is open on another host, and on nfs4 only one may read it: the study is in use by "
            rf"process 811 on login1, which last beat at {CLOCK} by its clock\n"
            r"  Run the same command there, or when that run has ended\. If it was killed or its host is dead, "
            r"continue the study first\.\n",
            said,
        )
    turn.end()
    assert orchestrate("repair", spec, "--check") == 0
    here = this_process()
    turn = take_turn(folder.path / "owner", "demo", Process(here.host, os.getppid(), here.boot))
    assert orchestrate("repair", spec, "--check") == 0
    turn.end()


MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 22 0:31 / /shared rw,nosuid shared:2 master:1 - nfs4 filer:/shared rw,vers=4.2
41 40 254:0 /data /shared/anna/local rw - ext4 /dev/vda rw
42 22 0:33 / /net/a\\040b rw - fuse.sshfs host:/ rw
43 22 0:34 / /fast rw - ext4 /dev/vdb rw
44 43 0:35 / /fast rw - lustre mgs@tcp:/fs rw
45 22 0:36 / /sharedtoo rw - xfs /dev/vdc rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/srv/studies", "ext4"),
        ("/shared", "nfs4"),
        ("/shared/anna/studies", "nfs4"),
        ("/shared/anna/local/studies", "ext4"),
        ("/sharedtoo/x", "xfs"),
        ("/net/a b/c", "fuse.sshfs"),
        ("/fast/studies", "lustre"),
    ],
)
def test_the_innermost_and_last_mount_says_the_kind(path: str, kind: str) -> None:
    assert mounts.kind_at(path, mounts.read_mountinfo(MOUNTS)) == kind


@pytest.mark.parametrize(
    ("kind", "shared"),
    [
        *(
            (kind, True)
            for kind in "nfs nfs4 cifs smb3 9p lustre gpfs ceph beegfs dvs fuse.sshfs fuse".split()
        ),
        *(
            (kind, False)
            for kind in "ext4 xfs btrfs tmpfs overlay fuseblk fuse.fuse-overlayfs apfs".split()
        ),
    ],
)
def test_what_hosts_share_is_known_by_its_kind(
    kind: str, shared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mounts, "_read_mounts", lambda: [("/", kind)])
    assert mounts.network_file_system(tmp_path) == (kind if shared else None)


def test_a_run_says_what_does_not_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(store, "network_file_system", lambda path: "nfs4")
    spec = make_project(tmp_path)
    folder = StudyFolder(tmp_path / "studies", "demo")
    folder.path.mkdir(parents=True)
    folder.spec.write_text("written by another version")
    assert orchestrate(spec) == 3
    said = " ".join("".join(capsys.readouterr()).split())
    assert (
        f"{folder.path} lies on nfs4, where flock may not hold between hosts: a beat in owner/ guards the study as "
        "well; open study.db on this host alone"
    ) in said
