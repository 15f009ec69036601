"""Every file of a study, damaged in every way, met by every command: `python -m tests.faults.damage`.

A study is taken in the middle of its search, in the middle of its confirmation, and finished. A cell
is one damage to one file and one command. It holds where all that is said is what is said of the
undamaged study, or one message names the file, and what that advises leads to the usual end. It breaks
by a traceback, a hang, another number or verdict, a file that is left over, and one that is gone.
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import os
import random
import re
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from itertools import product
from pathlib import Path
from types import FrameType
from unittest import mock
from wsgiref.simple_server import WSGIServer

from orchestrator import loopback
from orchestrator.atomic import remove
from orchestrator.errors import Interrupted, OrchestrateError
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker import Event
from orchestrator.running import session
from orchestrator.sweepfile.sweep import SweepSpec
from tests.cli_project import SWEEP, folder_of, make_project
from tests.fake_worker import FakeWorker
from tests.faults.commands import contents, said_here, start

SPEC = (
    SWEEP.replace("budget: {trials: 5}", "budget: {trials: 4, wall_clock: 10h}")
    .replace("seeds: [101, 102]", "seeds: [101, 102, 103]")
    .replace("min_gain: 1.0", "min_gain: 20.0")
)
"""Rejected: no damage may turn that into anything else."""
OTHER = SPEC.replace("learning_rate: 5.0e-4, rank: 32", "learning_rate: 3.0e-3, rank: 8")
SEARCHING, CONFIRMING, FINISHED, ELSE = "searching", "confirming", "finished", "other"
STATES = (SEARCHING, CONFIRMING, FINISHED)
REJECTED = 4
REFUSED = (2, 3)
PATIENCE = 90
NOBODY = 65534
MINE = "mine.txt"
"""A file of somebody else, which stays wherever it is put."""


class Stopped(FakeWorker):
    """Is interrupted at some tick of the search, or when the third confirmation run trains."""

    tick, ticks = 10**9, 0
    meanwhile: Callable[[], object] | None = None
    """What is done once, at the second tick of a run."""

    def advance(self) -> tuple[Event, ...]:
        """Ctrl+C, twice."""
        Stopped.tick -= 1
        if Stopped.meanwhile is not None and self.ticks == 1:
            Stopped.meanwhile()
        self.ticks += 1
        if Stopped.tick < 0 or (Stopped.tick < 10**6 and -3 in self.slots):
            raise Interrupted("stopped at once")
        return super().advance()


def stopped(spec: SweepSpec, folder: StudyFolder) -> FakeWorker:
    """Two slots."""
    return Stopped(capacity=2, sets=spec.data.evaluated["domain"].path.stem)


TICKS = {SEARCHING: 6, CONFIRMING: 1000, FINISHED: 10**9, ELSE: 10**9}
"""State -> the tick at which a run is interrupted."""

Harm = Callable[["Place"], bool]


@dataclass(frozen=True)
class Place:
    """A name in a study, and where other versions of what lies there come from."""

    project: Path
    name: str
    older: tuple[Path, ...]
    """The same name in the states before, oldest first."""
    other: Path
    """The same name in another study."""

    @property
    def path(self) -> Path:
        """Where it is, or would be."""
        return self.project / "studies" / "demo" / self.name

    @property
    def is_there(self) -> bool:
        """Something lies there, if only a link to nowhere."""
        return os.path.lexists(self.path)

    @property
    def aside(self) -> Path:
        """Where links lead to."""
        return self.project / "aside"

    def take_away(self) -> None:
        """Nothing has the name, and something may."""
        remove(self.path)
        self.path.parent.mkdir(parents=True, exist_ok=True)


def absent(place: Place) -> bool:
    """It is gone."""
    if not place.is_there:
        return False
    remove(place.path)
    return True


def empty(place: Place) -> bool:
    """A file without a byte, or a folder without a file."""
    is_folder = place.path.is_dir()
    place.take_away()
    if is_folder:
        place.path.mkdir()
    else:
        place.path.write_bytes(b"")
    return True


def _changed(place: Place, change: Callable[[bytes], bytes | None]) -> bool:
    if not place.path.is_file():
        return False
    data = place.path.read_bytes()
    other = change(data)
    if other is None or other == data:
        return False
    place.path.write_bytes(other)
    return True


def truncated(place: Place) -> bool:
    """The first half of it."""
    return _changed(place, lambda data: data[: len(data) // 2])


def flipped(place: Place) -> bool:
    """One bit of one byte is another."""

    def flip(data: bytes) -> bytes | None:
        if not data:
            return None
        at = random.Random(place.name).randrange(len(data))
        return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]

    return _changed(place, flip)


def digit(place: Place) -> bool:
    """One digit of a text is another."""

    def next_digit(data: bytes) -> bytes | None:
        found = list(re.finditer(rb"[1-8]", data))
        if not found or b"\0" in data:
            return None
        at = found[len(found) // 2].start()
        return data[:at] + bytes([data[at] + 1]) + data[at + 1 :]

    return _changed(place, next_digit)


def _replaced(place: Place, source: Path) -> bool:
    if not source.is_file():
        return False
    return _changed(place, lambda data: source.read_bytes())


def older(place: Place) -> bool:
    """What it was in a state before."""
    return any(_replaced(place, source) for source in place.older)


def other(place: Place) -> bool:
    """What it is in another study."""
    return _replaced(place, place.other)


def folder(place: Place) -> bool:
    """A folder of somebody has its name."""
    if place.path.is_dir():
        return False
    place.take_away()
    place.path.mkdir()
    (place.path / MINE).write_text("mine")
    return True


def file(place: Place) -> bool:
    """A file of somebody has the name of a folder."""
    if not place.path.is_dir():
        return False
    place.take_away()
    place.path.write_text("mine")
    return True


def pipe(place: Place) -> bool:
    """Who opens it waits for ever."""
    if place.path.is_dir():
        return False
    place.take_away()
    os.mkfifo(place.path)
    return True


def link(place: Place) -> bool:
    """It lies elsewhere."""
    if not place.is_there:
        return False
    place.path.rename(place.aside)
    place.path.symlink_to(place.aside)
    return True


def dangling(place: Place) -> bool:
    """A link to nowhere has its name."""
    if place.path.is_dir():
        return False
    place.take_away()
    place.path.symlink_to(place.project / "nowhere")
    return True


def unreadable(place: Place) -> bool:
    """Nobody may read it."""
    if not place.is_there:
        return False
    place.path.chmod(0)
    return True


HARMS: tuple[Harm, ...] = (
    *(absent, empty, truncated, flipped, digit, older, other),
    *(folder, file, pipe, link, dangling, unreadable),
)
APART = (pipe, unreadable)
"""Tried in a process of its own, which can be given up, or be somebody else's."""

COMMANDS: dict[str, tuple[str, ...]] = {
    "run": ("SPEC", "--quiet"),
    "meanwhile": ("SPEC", "--quiet"),
    "check": ("repair", "SPEC", "--check"),
    "repair": ("repair", "SPEC"),
    "status": ("status", "SPEC"),
    "all": ("status", "--studies", "STUDIES"),
    "report": ("report", "SPEC"),
    "json": ("report", "SPEC", "--format", "json"),
    "html": ("report", "SPEC", "--format", "html"),
    "trial": ("trial", "SPEC", "0", "--quiet"),
    "export": ("export", "SPEC", "0", "--to", "OUT"),
    "final": ("export", "SPEC", "0", "--final", "--to", "OUT"),
    "compare": ("compare", "SPEC:0", "SPEC:1"),
    "table": ("table", "SPEC"),
    "utterances": ("table", "SPEC", "--of", "utterances", "--every-measurement"),
    "listen": ("listen", "SPEC", "--port", "0"),
    "dashboard": ("dashboard", "SPEC", "--port", "0"),
    "clean": ("clean", "SPEC", "--yes"),
    "stop": ("stop", "SPEC", "0"),
}
RUNS = ("run", "meanwhile")
"""The sweep: damaged before it goes on, and while it does."""
WRITING = (*RUNS, "repair", "clean", "stop")
"""Commands that write to the study."""
GETS = {
    "listen": ("", "sets/domain", "sets/domain/heard/0", "sets/confirm_domain"),
    "dashboard": ("", "api/studies", "api/studies/0"),
}
A_PERSONS = ("notes.md",)
"""Files that a person may write and remove: what a report shows of them goes with them."""
NEVER_THERE = (
    *("storage.json", "study.db-wal", "study.db-shm", "owner", "logs", "cache", "requests"),
    *("tracking", "requests/stop-0000.json", "trials/0000/final", "trials/0000/stop.json"),
    *("trials/0000/failure.txt", "study.db.damaged", "confirm", "confirm/0001", "trials/0009"),
)
"""Names that a study may have and these do not, or not always."""
REPEATED = re.compile(r"(trials/0001|trials/0003|confirm/0002)(/|$)|trials/.*hypotheses.*-0\.5")
"""More of a kind than one."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    said: str


@dataclass(frozen=True)
class Cell:
    """One damage to one name of a study in one state, and one command."""

    state: str
    name: str
    harm: Harm
    command: str

    def __str__(self) -> str:
        return f"{self.state:<10} {self.name:<40} {self.harm.__name__:<10} {self.command}"


class Hung(BaseException):
    """A command took longer than PATIENCE."""


@dataclass
class Matrix:
    """The states of one study below a folder, and what commands say of them undamaged."""

    root: Path
    held: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    _usual: dict[tuple[str, str], tuple[Outcome, Mapping[str, str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for state in (*STATES, ELSE):
            if not (self.root / state).exists():
                self._make(state)
        self.whole = contents(self._study_of(FINISHED))

    def _make(self, state: str) -> None:
        if state in STATES[1:]:  # the same study goes on
            before = STATES[STATES.index(state) - 1]
            shutil.copytree(self.root / before, self.root / state)
            spec = self.root / state / "sweeps" / "demo.yaml"
        else:
            spec = make_project(self.root / state, OTHER if state == ELSE else SPEC)
        Stopped.tick = TICKS[state]
        with mock.patch.object(session, "SAVE_SECONDS", 0.0):
            self.command(spec.parents[1], (str(spec), "--quiet"))
        Stopped.tick = 10**9

    def _study_of(self, state: str) -> StudyFolder:
        return folder_of(self.root / state / "sweeps" / "demo.yaml")

    def names(self, state: str) -> list[str]:
        """All names of a study in this state, one of those that repeat."""
        study = self._study_of(state).path
        found = [path.relative_to(study).as_posix() for path in sorted(study.rglob("*"))]
        return [
            *(name for name in found if not REPEATED.match(name)),
            *(name for name in NEVER_THERE if name not in found),
        ]

    def cells(
        self,
        states: Sequence[str] = STATES,
        names: str = "",
        harms: Sequence[str] = (),
        commands: Sequence[str] = (),
    ) -> Iterator[Cell]:
        """All cells, or those of some states, names, harms and commands."""
        chosen = [harm for harm in HARMS if not harms or harm.__name__ in harms]
        for state in states:
            found = [name for name in self.names(state) if re.search(names, name)]
            for name, harm, each in product(found, chosen, commands or COMMANDS):
                if self._can(cell := Cell(state, name, harm, each)):
                    yield cell

    def sampled(self, generator: random.Random) -> Iterator[Cell]:
        """Cells at random, without end."""
        names = {state: self.names(state) for state in STATES}
        while True:
            state = generator.choice(STATES)
            name = generator.choice(names[state])
            cell = Cell(state, name, generator.choice(HARMS), generator.choice(sorted(COMMANDS)))
            if self._can(cell):
                yield cell

    def sample(self, generator: random.Random, seconds: float) -> None:
        """Try cells at random for some time."""
        until = time.monotonic() + seconds
        for cell in self.sampled(generator):
            if time.monotonic() > until:
                return
            self.attempt(cell)

    def _can(self, cell: Cell) -> bool:
        """There is such a cell, on this machine."""
        if cell.command == "meanwhile" and (cell.state == FINISHED or cell.harm in APART):
            return False
        # read by somebody else, who needs a way to it
        shut = os.getuid() == 0 and not all(map(_is_open, (self.root, Path(__file__))))
        return cell.harm is not unreadable or not shut

    def attempt(self, cell: Cell) -> str | None:
        """How a cell ends: equal, noticed, told, followed, or broken; None where there is no such
        damage.
        """
        usual, _ = self.usual(cell.state, cell.command)
        project = self.fresh(cell.state)
        place = self._place(project, cell)
        if cell.command == "meanwhile":
            ended, before = self._harm_meanwhile(cell, place)
        elif cell.harm(place):
            before = snapshot(project)
            ended = self._run(project, cell)
        else:
            return None
        if not before:
            return None
        outcome, problem = self._judge(cell, place, usual, ended)
        problem = problem or _touched(cell.command, before, snapshot(project))
        if problem is None and outcome != "told" and cell.command == "meanwhile":
            ended = self.command(project, words_of(project, "check"))
            if ended.code in REFUSED:
                named = names_file(ended.said, cell.name)
                outcome, problem = "told", None if named else "the check does not name the file"
        if problem is None and outcome == "told" and cell.command in RUNS:
            outcome, problem = self._follow(cell, place, ended)
        if problem is not None:
            outcome = "broken"
            self.broken.append(f"{cell}: {problem}\n    {ended.code}: {ended.said[-1500:]!r}")
        self.held[cell.harm.__name__, cell.state, outcome] += 1
        return outcome

    def _harm_meanwhile(self, cell: Cell, place: Place) -> tuple[Outcome, dict[str, str]]:
        before: dict[str, str] = {}

        def harm() -> None:
            Stopped.meanwhile = None
            if cell.harm(place):
                before.update(snapshot(place.project))

        Stopped.meanwhile = harm
        try:
            return self._run(place.project, cell), before
        finally:
            Stopped.meanwhile = None

    def usual(self, state: str, name: str) -> tuple[Outcome, Mapping[str, str]]:
        """How a command ends where nothing is damaged."""
        if (state, name) not in self._usual:
            project = self.fresh(state)
            outcome = self.command(project, words_of(project, name))
            self._usual[state, name] = outcome, snapshot(project)
        return self._usual[state, name]

    def fresh(self, state: str) -> Path:
        """A copy of the project in a state."""
        project = self.root / f"work-{os.getpid()}"
        if project.exists():
            _open_all(project)
            shutil.rmtree(project)
        shutil.copytree(self.root / state, project, symlinks=True)
        return project

    def _place(self, project: Path, cell: Cell) -> Place:
        def of(state: str) -> Path:
            return self._study_of(state).path / cell.name

        before = STATES[: STATES.index(cell.state)]
        return Place(project, cell.name, tuple(map(of, before)), of(ELSE))

    def _run(self, project: Path, cell: Cell) -> Outcome:
        words = words_of(project, cell.command)
        if cell.harm not in APART:
            return self.command(project, words)
        nobody = cell.harm is unreadable and os.getuid() == 0
        if nobody:
            _give_away(project)
        with mock.patch("tests.faults.commands.PATIENCE", PATIENCE), _served(words[0]):
            running = start(
                project.parent,
                *words,
                prepare=_become_nobody if nobody else lambda: None,
                worker=stopped,
            )
            ended = running.wait()
        running.said.unlink()
        return Outcome(ended.code, normal(ended.said, project))

    def command(self, project: Path, words: Sequence[str]) -> Outcome:
        """How a command ends that runs in this process."""
        os.chdir(self.root)
        signal.signal(signal.SIGALRM, _give_up)
        signal.alarm(PATIENCE)
        try:
            with _served(words[0]):
                code, said = said_here(*words, worker=stopped)
        except Hung:
            code, said = -signal.SIGALRM, "hangs"
        except BaseException as error:  # any: that is what is looked for
            code, said = 1, "".join(traceback.format_exception(error))
        finally:
            signal.alarm(0)
        return Outcome(code, normal(said, project))

    def _judge(
        self, cell: Cell, place: Place, usual: Outcome, ended: Outcome
    ) -> tuple[str, str | None]:
        if "Traceback" in ended.said or ended.code in (1, -signal.SIGALRM):
            return "broken", "a traceback or a hang"
        if ended.code in REFUSED and ended != usual:
            return "told", None if names_file(ended.said, cell.name) else "does not name the file"
        if ended.code != usual.code and not names_file(ended.said, cell.name):
            return "broken", f"exit code {ended.code}, not {usual.code}"
        ignored = cell.state == FINISHED or (cell.state, cell.command) == (CONFIRMING, "meanwhile")
        unread = ignored and cell.name.startswith("study.db")
        if cell.command in RUNS and not unread and (difference := self._differs(place)):
            return "broken", difference
        if cell.name in A_PERSONS:
            return "equal", None
        timeless = cell.name == "clock.json" and cell.command not in RUNS
        texts = [_without_times(said) if timeless else said for said in (usual.said, ended.said)]
        added = _added(*texts)
        if not added:
            return "equal", None
        named = names_file(ended.said, cell.name)
        return "noticed", None if named else f"another answer: {added[:600]}"

    def _differs(self, place: Place) -> str:
        """How a study that went on differs from one that nothing happened to."""
        spec = place.project / "sweeps" / "demo.yaml"
        try:
            found = contents(folder_of(spec))
        except sqlite3.Error as error:
            return f"study.db cannot be read: {error}"
        except OrchestrateError as error:
            lost = [line.split()[0] for line in str(error).splitlines() if line.startswith("  ")]
            own = [name for name in lost if names_file(name, place.name) or "/" in name]
            return "" if own else f"the study does not hold: {error}"
        if found == self.whole:
            return ""
        rows = [
            f"{part} {key}"
            for part in found
            for key in sorted({*found[part], *self.whole[part]})
            if found[part].get(key) != self.whole[part].get(key)
        ]
        return f"the study differs: {rows}"

    def _follow(self, cell: Cell, place: Place, ended: Outcome) -> tuple[str, str | None]:
        """Do what the messages say until the command comes to its usual end."""
        done: list[str] = []
        for _ in range(6):
            step = self._advised(cell, place, ended.said, done)
            if step is None:
                return "broken", f"after {done} no advice is left in {ended.said[-500:]!r}"
            done.append(step)
            if step == "repair":
                ended = self.command(place.project, words_of(place.project, "repair"))
                if "Traceback" in ended.said or ended.code not in (0, *REFUSED):
                    return "broken", f"after {done} the repair: {ended.said[-1500:]!r}"
                if ended.code:
                    continue
            ended = self.command(place.project, words_of(place.project, "run"))
            if ended.code not in REFUSED:
                break
        if ended.code != REJECTED:
            return "broken", f"after {done}: {ended.code}: {ended.said[-1500:]!r}"
        if difference := self._differs(place):
            return "broken", f"after {done}: {difference}"
        return "followed", None

    def _advised(self, cell: Cell, place: Place, said: str, done: Sequence[str]) -> str | None:
        """The next thing that a message says to do, done but for a repair."""
        if "ermissions" in said and "permissions" not in done:
            _open_all(place.project)
            return "permissions"
        if "symbolic link" in said and place.path.is_symlink() and "no link" not in done:
            place.path.unlink()
            if place.aside.exists():
                place.aside.rename(place.path)
            return "no link"
        if re.search(r"[Mm]ove (\S+ )?(\S+ )?away|Remove it", said) and "moved away" not in done:
            named = next((n for n in (place.name, "study.db") if n.split("/")[-1] in said), None)
            if named is not None and os.path.lexists(place.project / "studies/demo" / named):
                os.rename(place.project / "studies/demo" / named, place.project / "away")
                return "moved away"
        if "orchestrate repair SPEC" in said and done[-1:] != ["repair"]:
            return "repair"
        if re.search(r"[Rr]estore|Put the", said) and "restored" not in done:
            self._restore(cell, place)
            return "restored"
        return None

    def _restore(self, cell: Cell, place: Place) -> None:
        source = self._study_of(cell.state).path / cell.name
        if not (source.is_dir() and place.path.is_dir()):
            remove(place.path)
        if source.is_dir():
            shutil.copytree(source, place.path, dirs_exist_ok=True)
        elif source.exists():
            place.path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, place.path)

    def table(self) -> Iterator[str]:
        """What was tried and how it ended."""
        outcomes = sorted({outcome for _, _, outcome in self.held})
        yield f"{'damage':<12} {'state':<11} " + " ".join(f"{name:>12}" for name in outcomes)
        for harm in HARMS:
            for state in STATES:
                row = [self.held[harm.__name__, state, outcome] for outcome in outcomes]
                yield f"{harm.__name__:<12} {state:<11} " + " ".join(f"{n:>12}" for n in row)
        yield from (f"broken: {each}" for each in self.broken)


def words_of(project: Path, name: str) -> tuple[str, ...]:
    """A command on the study of a project."""
    places = {
        "SPEC": project / "sweeps" / "demo.yaml",
        "STUDIES": project / "studies",
        "OUT": project / "out",
    }
    return tuple(
        re.sub("SPEC|STUDIES|OUT", lambda found: str(places[found[0]]), word)
        for word in COMMANDS[name]
    )


_VARYING = (
    (r"\d{4}-\d\d-\d\d( \d\d:\d\d UTC)?", "DAY"),
    (r"(?<![\w.])\d+(\.\d+)? ?(ms|s|min|h|kB|MB|B|bytes)\b", "SIZE"),
    (r'("?seconds"?: ?|rtf: ?)[\d.]+', r"\1SECONDS"),
    (r"\.tmp-\d+", ".tmp-PID"),
    (r"127\.0\.0\.1:\d+", "ADDRESS"),
    (r"- DAY: run with .*\n(.*uncommitted changes.*\n)?", ""),
)
"""What differs from run to run, and what to read in its place."""


def normal(said: str, project: Path) -> str:
    """A text without what differs from run to run."""
    said = said.replace(str(project), "PROJECT")
    for pattern, word in _VARYING:
        said = re.sub(pattern, word, said)
    return said


def _without_times(said: str) -> str:
    """Until the next run makes clock.json again the time is shown as a dash."""
    lines = said.replace("SIZE", "-").splitlines()
    return "\n".join(re.sub(r"[-─\s]+", " ", line) for line in lines)


def names_file(said: str, name: str) -> bool:
    """A message names a file of the study, or one above or below it."""
    parts = name.split("/")
    return (
        name in said
        or parts[-1] in said
        or (parts[0] == "checkpoint" and "checkpoint" in said)
        or (parts[0].startswith("study.db") and "study.db" in said)
        or (len(parts) > 2 and "/".join(parts[:2]) in said)
    )


def snapshot(project: Path) -> dict[str, str]:
    """All files below a folder, by name: what they hold, or what they are."""
    return {
        path.relative_to(project).as_posix(): _what(path) for path in sorted(project.rglob("*"))
    }


def _what(path: Path) -> str:
    if path.is_symlink():
        return f"link to {os.readlink(path)}"
    if path.is_dir():
        return "folder"
    if not path.is_file():
        return "pipe"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _touched(command: str, before: Mapping[str, str], after: Mapping[str, str]) -> str | None:
    """What a command did to files that it must leave alone."""
    left = [name for name in after if ".tmp-" in name and name not in before]
    if left:
        return f"left over: {left}"
    known = Counter(after.values())
    gone = [
        name
        for name, what in before.items()
        if name not in after and what != "folder" and not known[what]
    ]
    gone = [name for name in gone if not _OURS.search(name)]
    if gone:
        return f"gone: {gone}"
    if any(name.endswith(MINE) and name not in after for name in before):
        return "the file of somebody else is gone"
    if before.get("aside") not in (None, "folder") and after.get("aside") != before["aside"]:
        return "what a link led to is another"
    if command in WRITING:
        return None
    changed = [name for name in {*before, *after} if before.get(name) != after.get(name)]
    changed = [name for name in changed if not _MADE.search(name)]
    return f"a command that reads changed {changed}" if changed else None


_MADE = re.compile(r"^out(/|$)|study\.db-(shm|wal)$|^studies/\.cache(/|$)")
"""What a command that reads may write."""
_OURS = re.compile(r"/checkpoint/\d+|/cache/|study\.db-(shm|wal)$|/requests/|/final/|said-")
"""What a run, a repair or a cleaning may remove."""


def _added(usual: str, said: str) -> list[str]:
    """The lines of a text that another one does not have, and those that it lacks."""
    lines = difflib.ndiff(usual.splitlines(), said.splitlines())
    return [line for line in lines if line[:2] in ("+ ", "- ") and line[2:].strip()]


def _is_open(path: Path) -> bool:
    """Everybody may go to it."""
    return all(folder.stat().st_mode & 0o005 == 0o005 for folder in path.resolve().parents)


def _give_up(signal_number: int, frame: FrameType | None) -> None:
    raise Hung


def _open_all(project: Path) -> None:
    for path in (project, *project.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755)


def _give_away(project: Path) -> None:
    for path in (project, *project.rglob("*")):
        os.lchown(path, NOBODY, NOBODY)


def _become_nobody() -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


@contextmanager
def _served(command: str) -> Iterator[None]:
    """In the place of serving pages, some are asked for and printed as far as they say an error."""

    def visit(server: WSGIServer, started: Callable[[str], None]) -> None:
        with server:
            for path in GETS[command]:
                print(_answer(server, path))

    with mock.patch.object(loopback, "serve_until_interrupted", visit):
        yield


def _answer(server: WSGIServer, path: str) -> str:
    statuses: list[str] = []

    def respond(status: str, *more: object) -> Callable[[bytes], object]:
        statuses.append(status)
        return lambda data: None

    application = server.get_app()
    assert application is not None
    environ = {
        "HTTP_HOST": f"127.0.0.1:{server.server_port}",
        "REQUEST_METHOD": "GET",
        "PATH_INFO": f"/{path}",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": str(server.server_port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(),
        "wsgi.errors": sys.stderr,
    }
    text = b"".join(application(environ, respond)).decode(errors="replace")
    return f"GET /{path}: {statuses[0]} {'' if statuses[0].startswith('200') else text}"


def main(words: Sequence[str] | None = None) -> int:
    """Try all cells, or some; 1 where one broke."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, help="where the states are, or will be, kept")
    parser.add_argument("--names", default="", help="a pattern of names")
    parser.add_argument("--states", nargs="*", default=STATES)
    parser.add_argument("--harms", nargs="*", default=())
    parser.add_argument("--commands", nargs="*", default=())
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--seed", type=int, help="cells at random, until the time is over")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args(words)
    root = options.root or Path(tempfile.mkdtemp(prefix="damage-"))
    matrix = Matrix(root)
    until = time.monotonic() + options.seconds
    cells = matrix.cells(options.states, options.names, options.harms, options.commands)
    if options.seed is not None:
        cells = matrix.sampled(random.Random(options.seed))
    for cell in cells:
        broken = len(matrix.broken)
        outcome = matrix.attempt(cell)
        if options.verbose and outcome:
            print(f"{cell}: {outcome}", flush=True)
        for text in matrix.broken[broken:]:
            print(f"BROKEN {text}", flush=True)
        if time.monotonic() > until:
            break
    print("\n".join(matrix.table()))
    return bool(matrix.broken)


if __name__ == "__main__":
    sys.exit(main())
