"""The process of one tracker: it watches the study's files and sends what is new."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

from orchestrator.errors import OrchestrateError
from orchestrator.host.orphans import end_with_parent
from orchestrator.records.json_files import read_file
from orchestrator.records.store import StudyFolder
from orchestrator.records.writing import write_aside
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.tracking.place import Place
from orchestrator.tracking.runs import Ending, tracked_runs
from orchestrator.tracking.trackers import Tracker, connect
from orchestrator.typed_words import without_credentials

LOOK_SECONDS = 1.0
"""Shortest time between two looks at the journal."""
REST = 20.0
"""The wait after a look, in multiples of the processor time that the look took, so that even a
large study costs no more than a twentieth of a core.
"""


@dataclass(frozen=True)
class Told:
    """Message to the tracker's process: the sweep has ended, or stopped before its end (`ending` is
    None).
    """

    ending: Ending | None


@dataclass(frozen=True)
class Sent:
    """What was sent: `runs` is how many runs the study has, `unsent` how many of them could not be
    sent; both are 0 where the study itself could not be read.
    """

    runs: int = 0
    unsent: int = 0
    why: str = ""
    """The error that stood in the way; empty where everything was sent."""

    @property
    def missing(self) -> str:
        """What was not sent and why, in words; empty where everything was sent."""
        if not self.why:
            return ""
        if not self.unsent:
            return f"not everything was sent ({self.why})"
        return f"{self.unsent} of {self.runs} runs were not sent ({self.why})"


@dataclass
class Sender:
    """Sends a study's runs to one tracker, which is connected when it is first needed and again
    after an error.
    """

    name: str
    spec: SweepSpec
    folder: StudyFolder
    new_id: str
    """The study's id at its trackers, if it has none yet."""
    _tracker: Tracker | None = field(default=None, init=False)
    _done: dict[str, str] = field(default_factory=dict, init=False)
    """Name of a run -> digest of what this process has sent of it."""

    def send(self, ending: Ending | None = None) -> Sent:
        """Send the runs that are new or changed, in order, up to the first that fails."""
        runs = list(tracked_runs(self.spec, self.folder, ending))
        total = len({run.name for run in runs})
        new = [run for run in runs if self._done.get(run.name) != run.digest]
        for place, run in enumerate(new):
            try:
                self._connected().send(run)
            except Exception as error:  # whatever a client of another project raises
                self._tracker, self._done = None, {}
                return Sent(total, len({run.name for run in new[place:]}), said(error))
            self._done[run.name] = run.digest
        return Sent(total)

    def close(self) -> None:
        """Close the tracker if it is connected."""
        if self._tracker is not None:
            self._tracker.close()

    def _connected(self) -> Tracker:
        if self._tracker is None:
            own = self.folder.tracking / self.name
            place = Place(
                self.folder.name, study_id(self.folder, self.new_id), self.spec.project, own
            )
            self._tracker = connect(self.name, self.spec, place)
        return self._tracker


def said(error: Exception) -> str:
    """Return an error in one line, without the credentials that an address may contain."""
    text = " ".join(str(error).split()) or type(error).__name__
    return without_credentials(text)[:300]


def study_id(folder: StudyFolder, new: str) -> str:
    """Return the id that is kept in the study, or else keep `new` as it. All trackers of a run use
    the same one. It tells a study from one that is begun anew under the same name; the study's name
    beside it, from a copy under another name, which would go on in the runs of the other.
    """
    path = folder.tracking / "id"
    known, _, of = (read_file(path) or b"").decode(errors="replace").strip().partition(" ")
    if known and of == folder.name:
        return known
    folder.tracking.mkdir(exist_ok=True)
    write_aside(path, f"{new} {folder.name}\n".encode())
    return new


def watch(
    connection: Connection, name: str, spec: SweepSpec, place: tuple[Path, str], new_id: str
) -> None:
    """Send what is new until the end of the sweep is told; then send all that is left, answer with
    what was sent, and return. A sweep that is killed leaves the rest to its next run.
    """
    folder = StudyFolder(*place)
    _settle()
    sender = Sender(name, spec, folder, new_id)
    stamp, rest = None, LOOK_SECONDS
    while True:
        try:
            told = connection.recv() if connection.poll(rest) else None
        except (EOFError, OSError):
            return
        now, began = _stamp(folder.journal.path), time.process_time()
        if told is not None or now != stamp:
            stamp = now
            sent = _sent(sender, folder, told.ending if told is not None else None)
        rest = max(LOOK_SECONDS, REST * (time.process_time() - began))
        if told is not None:
            sender.close()
            connection.send(sent)
            return


def _settle() -> None:
    """Prepare the process: signals of the terminal are left to the sweep, nothing is written to the
    terminal, and the sweep has priority on the processor.

    The process ends with the sweep. The next run has a tracker of its own, and two at once would
    begin every run twice.
    """
    for number in (signal.SIGINT, signal.SIGHUP):  # a terminal sends them to every process
        signal.signal(number, signal.SIG_IGN)
    end_with_parent()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)
    if hasattr(os, "nice"):
        os.nice(10)


def _sent(sender: Sender, folder: StudyFolder, ending: Ending | None) -> Sent:
    """Send what is new. An error is returned, and also written to the tracker's log."""
    if not folder.exists:
        return Sent()
    try:
        sent = sender.send(ending)
    except (OrchestrateError, OSError) as error:  # files that the sweep itself will refuse
        sent = Sent(why=said(error))
    if sent.why:
        with suppress(OSError):  # of a full disk, say: the sweep is told at its end
            _log(folder, sender.name, sent.why)
    return sent


def _log(folder: StudyFolder, name: str, why: str) -> None:
    """Append a failure of the tracker `name` to its log. Raises OSError where the study was moved
    away meanwhile: it is not begun again by its logs.
    """
    folder.logs.mkdir(exist_ok=True)
    at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
    log = folder.logs / f"tracking-{name}.log"
    with log.open("a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(f"{at} {why}\n")


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size
