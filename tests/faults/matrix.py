"""Every file of a study, damaged in every way, met by every command: `python -m tests.faults.matrix`.

A study is taken in the middle of its search, in the middle of its confirmation, finished, and after a form of
it was heard. A cell is one damage to one file and one command. It holds where all that is said is what is said of the
undamaged study, or one message names the file, and what that advises leads to the usual end. It breaks
by a traceback, a hang, another number or verdict, a file that is left over, and one that is gone.
"""

from __future__ import annotations

import argparse
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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from types import FrameType
from unittest import mock

from orchestrator.errors import OrchestrateError
from orchestrator.files.names_aside import remove
from orchestrator.records.store import StudyFolder
from orchestrator.running import session
from tests.cli_project import folder_of, make_project
from tests.faults.commands import contents, said_here, start
from tests.faults.damage import APART, HARMS, Harm, Place, unreadable
from tests.faults.matrix_commands import (
    COMMANDS,
    RUNS,
    Outcome,
    added_lines,
    names_file,
    normal,
    served,
    snapshot,
    touched,
    without_times,
    words_of,
)
from tests.faults.matrix_states import (
    A_PERSONS,
    CONFIRMING,
    DONE,
    ELSE,
    FINISHED,
    NEVER_THERE,
    OTHER,
    REPEATED,
    SPEC,
    STATES,
    TICKS,
    VERIFIED,
    Stopped,
    stopped,
)

REJECTED = 4
REFUSED = (2, 3)
OUTCOMES = ("equal", "noticed", "told", "followed", "broken")
"""As undamaged; so, with a word on the file; refused by its name; refused, and the advice led to the
usual end.
"""
PATIENCE = 600
"""Seconds after which a command hangs."""
NOBODY = 65534


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
    held: Counter[tuple[str, str]] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    _usual: dict[tuple[str, str], tuple[Outcome, Mapping[str, str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for state in (*STATES, ELSE):
            if not (self.root / state).exists():
                self._make(state)
        self.whole = contents(self._study_of(FINISHED))
        self._verified = contents(self._study_of(VERIFIED))

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
        if state == VERIFIED:
            self.command(spec.parents[1], words_of(spec.parents[1], "verify"))
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
        if cell.command == "meanwhile" and (cell.state in DONE or cell.harm in APART):
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
        problem = problem or touched(cell.command, cell.name, before, snapshot(project))
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
        self.held[cell.harm.__name__, outcome] += 1
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
        with mock.patch("tests.faults.commands.PATIENCE", PATIENCE), served(words[0]):
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
        before = signal.signal(signal.SIGALRM, _give_up)
        signal.alarm(PATIENCE)
        try:
            with chdir(self.root), served(words[0]):
                code, said = said_here(*words, worker=stopped)
        except Hung:
            code, said = -signal.SIGALRM, "hangs"
        except BaseException as error:  # any: that is what is looked for
            code, said = 1, "".join(traceback.format_exception(error))
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)
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
        ignored = cell.state in DONE or (cell.state, cell.command) == (CONFIRMING, "meanwhile")
        unread = ignored and cell.name.startswith("study.db")
        if cell.command in RUNS and not unread and (difference := self._differs(cell, place)):
            return "broken", difference
        if cell.name in A_PERSONS:
            return "equal", None
        timeless = cell.name == "clock.json" and cell.command not in RUNS
        texts = [without_times(said) if timeless else said for said in (usual.said, ended.said)]
        added = added_lines(*texts)
        if not added:
            return "equal", None
        named = names_file(ended.said, cell.name)
        return "noticed", None if named else f"another answer: {added[:600]}"

    def _differs(self, cell: Cell, place: Place) -> str:
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
        whole = self._verified if cell.state == VERIFIED else self.whole
        if found == whole:
            return ""
        rows = [
            f"{part} {key}"
            for part in found
            for key in sorted({*found[part], *whole[part]})
            if found[part].get(key) != whole[part].get(key)
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
        if difference := self._differs(cell, place):
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
        yield f"{'damage':<14} {'cells':>6} " + " ".join(f"{name:>10}" for name in OUTCOMES)
        for harm in HARMS:
            row = [self.held[harm.__name__, outcome] for outcome in OUTCOMES]
            yield f"{harm.__name__:<14} {sum(row):>6} " + " ".join(f"{count:>10}" for count in row)
        yield from (f"broken: {each}" for each in self.broken)


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
