"""A heartbeat lock: one process at a time on a study where `flock` may not hold between hosts.

`owner/000007/` is the turn of the seventh owner. Whoever makes the folder has the turn, because
mkdir is one atomic step of the file server, whatever its clients cache. The owner rewrites
`beat.json` in place every few seconds; a reader that opens the file anew gets it from the server.
Another host takes the next turn when the beat has not changed for a minute by that host's own
clock; clocks of two hosts are never compared. An owner that stood still meanwhile finds its turn
taken before it seals anything more.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from types import ModuleType

from orchestrator.errors import StudyError
from orchestrator.files.atomic import make_folder
from orchestrator.records.locks.process_identity import Process, this_process
from orchestrator.records.writing import refused, safely, write_aside

OWNERS = "owner"
"""The folder of the turns in a study's."""
BEAT_SECONDS = 5.0
"""Time between two beats."""
STILL_SECONDS = 60.0
"""An owner whose beat has not changed for this long, by the observer's clock, counts as dead."""
SURE_SECONDS = 15.0
"""An owner whose own last beat is older than this checks that it still has the turn before it seals
anything.
"""
SLOW_BEATS = 4
"""An owner gives up after so many beats in a row of more than `SURE_SECONDS` each: in their time
another process could have taken the turn.
"""
_SIZE = 512
"""Bytes of beat.json, always the same, so that a reader finds one version or the other."""


@dataclass(frozen=True)
class Beat:
    """What an owner writes about itself."""

    process: Process
    at: str
    """When it last beat, by its own clock; only for people."""
    count: int
    """How often it has beaten, which makes each beat differ from the last."""
    released: bool
    """The owner has ended its turn in order."""

    @property
    def words(self) -> str:
        """Who the owner is, and when it last beat."""
        who = f"process {self.process.pid} on {self.process.host}"
        return f"{who}, which last beat at {self.at} by its clock"


def _now() -> float:
    """Return seconds of this host's boot clock, which nobody sets and which, where the system has
    such a clock, counts time asleep.
    """
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


class Turn:
    """The turn of an owner, with a thread that beats until the turn ends."""

    dispossessed: int | None = None
    """Process id of the owner that stood still, whose turn this one ended; None where there was
    none.
    """

    def __init__(self, path: Path, study: str, process: Process) -> None:
        """Sign the new folder `path` and begin to beat."""
        self._path, self._study, self._process = path, study, process
        self._count = 0
        self._ended = threading.Event()
        self._alone = threading.Lock()
        """Held during each beat, so that the thread and `confirm` do not beat at once."""
        (path / "taken").write_bytes(b"")
        self._beaten = _now()
        """When the owner last began to beat. It may have stood still since, in the middle of it."""
        self._write(released=False)
        self._thread = threading.Thread(target=self._run, name="beat", daemon=True)
        self._thread.start()

    def confirm(self) -> None:
        """Raise StudyError where another process has taken the turn, or where the file system is
        so slow that this cannot be told.
        """
        with self._alone:
            for _ in range(SLOW_BEATS):
                if _now() - self._beaten <= SURE_SECONDS:
                    return
                self._beat()
            if (seconds := _now() - self._beaten) > SURE_SECONDS:
                raise self._too_slow(seconds)

    def end(self) -> None:
        """Stop beating, and mark the study as free if the turn was still this owner's."""
        self._ended.set()
        self._thread.join()
        with self._alone, suppress(OSError):
            if self._successor() is None:
                self._write(released=True)

    def withdraw(self) -> None:
        """Undo the turn, as if it had never been taken."""
        self._ended.set()
        self._thread.join()
        shutil.rmtree(self._path, ignore_errors=True)

    def _run(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            # an error here comes again in `confirm`, which can report it
            with self._alone, suppress(OSError, StudyError):
                self._beat()

    def _beat(self) -> None:
        """Beat once. Raises StudyError where another process has taken the turn, or the disk
        refuses.
        """
        began = _now()
        try:
            successor = self._successor()
            if successor is None:
                self._write(released=False)
        except OSError as error:
            raise refused(self._path / "beat.json", error, _SIZE) from error
        if successor is not None:
            self._beaten = float("-inf")
            raise StudyError(
                f"study {self._study} was taken over by {successor}: this process had stood still "
                f"for more than {STILL_SECONDS:g} s\n"
                "  What it had sealed is safe, and the other one goes on from there."
            )
        self._beaten = began

    def _too_slow(self, seconds: float) -> StudyError:
        return StudyError(
            f"whether study {self._study} is still this process's cannot be told: the last of "
            f"{SLOW_BEATS} beats took {seconds:.0f} s to reach {self._path / 'beat.json'}\n"
            "  Nothing more was written, and what was sealed is safe. When the file system answers "
            f"within {SURE_SECONDS:g} s again, run the same command again."
        )

    def _successor(self) -> str | None:
        """Return who took the turn; None while nobody has. Raises OSError where the file system does
        not say.
        """
        try:
            taken = (self._path / "taken").read_text()
        except (FileNotFoundError, NotADirectoryError):  # removed by the owner after the next one
            return "another process"
        return taken or ("another process" if _next(self._path).exists() else None)

    def _write(self, released: bool) -> None:
        self._count += 1
        at = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        text = json.dumps(asdict(Beat(self._process, at, self._count, released)))
        _overwrite(self._path / "beat.json", text.ljust(_SIZE - 1) + "\n")


@contextmanager
def beating(folder: Path, study: str) -> Iterator[Turn]:
    """Hold the next turn in `folder`, which is made if it is missing, while the context lasts.

    Raises StudyError at once where another process has the turn, with what to do if it is dead.
    """
    turn = take_turn(folder, study, this_process())
    try:
        yield turn
    finally:
        turn.end()


def take_turn(folder: Path, study: str, process: Process) -> Turn:
    """Take the next turn for `process`. Raises StudyError as `beating` does."""
    make_folder(folder)
    last = _last(folder)
    data = b"" if last is None else _read(last)
    beat = _parsed(data)
    free = last is None or (beat is not None and _is_free(beat, process))
    if last is not None and not free and not _stood_still(last, data, process):
        raise _in_use(last, study)
    mine = folder / f"{1:06d}" if last is None else _next(last)
    with safely(mine, _SIZE):
        try:
            mine.mkdir()
        except FileExistsError:  # somebody was faster
            raise _in_use(mine, study) from None
        turn = Turn(mine, study, process)
    if _last(folder) != mine or (last is not None and _read(last) != data):
        # What was read before was stale, or the owner beat in this very moment. The new turn is
        # removed, not ended: an ended one would be free to take while the other owner goes on.
        turn.withdraw()
        raise _in_use(_last(folder) or mine, study)
    if beat is not None and not free:
        turn.dispossessed = beat.process.pid
    if last is not None:
        with suppress(OSError):  # its owner had not signed
            _overwrite(last / "taken", f"process {process.pid} on {process.host}")
    for path in folder.iterdir():
        if path.name.isdecimal() and path not in (last, mine):
            shutil.rmtree(path, ignore_errors=True)
    return turn


def owner(folder: Path, elsewhere: bool = False) -> str:
    """Say who has the turn in `folder`; empty where nobody has, as far as this host can tell, and,
    with `elsewhere`, where a process of this host has it.
    """
    try:
        last = _last(folder)
    except PermissionError:
        return ""
    beat = None if last is None else _parsed(_read(last))
    here = this_process()
    if beat is None or _is_free(beat, here) or (elsewhere and beat.process.boot == here.boot):
        return ""
    return beat.words


def refusal(folder: Path, study: str, holder: str) -> StudyError | None:
    """Return the error for a start that `flock` refused because `holder` has the study; None where
    the beat is not that holder's. The beat seen now is noted, so that a later start can tell
    whether it stood still.
    """
    last = _last(folder)
    data = b"" if last is None else _read(last)
    beat = _parsed(data)
    if last is None or beat is None or not beat.words.startswith(f"{holder}, "):
        return None
    _stood_still(last, data, this_process())
    return _in_use(last, study)


def _psutil() -> ModuleType:
    import psutil  # imported here, as every command that reads a study imports this module

    return psutil


def _is_free(beat: Beat, process: Process) -> bool:
    """The owner ended in order, or was a process of this very host and is gone. Within a host,
    `flock` keeps a second owner out.
    """
    gone = beat.process.boot == process.boot and not _psutil().pid_exists(beat.process.pid)
    return beat.released or gone


def _stood_still(last: Path, data: bytes, process: Process) -> bool:
    """Say whether this host saw the same beat `STILL_SECONDS` ago. If it has not seen this beat
    yet, notes it for the next time, which may be that of another container of the host.
    """
    reader = hashlib.sha256(process.clock.encode()).hexdigest()[:16]
    note = last.parent / f"seen-{reader}.json"
    seen = {"turn": last.name, "beat": hashlib.sha256(data).hexdigest(), "since": _now()}
    try:
        before = json.loads(note.read_bytes())
        same = (before["turn"], before["beat"]) == (seen["turn"], seen["beat"])
        if same and seen["since"] - before["since"] >= 0:
            return bool(seen["since"] - before["since"] >= STILL_SECONDS)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    write_aside(note, json.dumps(seen).encode())
    return False


def _in_use(turn: Path, study: str) -> StudyError:
    """Return the error that says who has the turn, and what to do."""
    beat = _parsed(_read(turn))
    who = beat.words if beat else "another process, which has not signed yet"
    host = beat.process.host if beat else "its host"
    return StudyError(
        f"study {study} is in use by {who}\n"
        "  Wait until it has finished or stop it (Ctrl+C keeps all results), then run the same "
        f"command again. If {host} is dead, run it again in {STILL_SECONDS:g} s: what has not "
        "beaten by then is taken over."
    )


def _last(folder: Path) -> Path | None:
    """Return the newest turn in `folder`; None where there was none."""
    turns = [path for path in folder.glob("[0-9]*") if path.name.isdecimal()]
    return max(turns, key=lambda path: int(path.name), default=None)


def _next(turn: Path) -> Path:
    """Return the folder of the turn after `turn`."""
    return turn.with_name(f"{int(turn.name) + 1:06d}")


def _read(turn: Path) -> bytes:
    """Return the bytes of a turn's beat; empty where it cannot be read."""
    try:
        return (turn / "beat.json").read_bytes()
    except OSError:
        return b""


def _parsed(data: bytes) -> Beat | None:
    """Return the beat in these bytes; None where they hold none."""
    try:
        held = json.loads(data)
        process = Process(**held.pop("process"))
        return Beat(process, **held)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _overwrite(path: Path, text: str) -> None:
    """Write in place, through to the server. Another host that opens the file sees that, whereas a
    file renamed over the old one may go unnoticed for a minute.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    try:
        os.pwrite(descriptor, text.encode(), 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
