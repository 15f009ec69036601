"""Run the real command on small projects, each time in a process of its own that may be killed, and
read what a study then holds.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

from orchestrator.cli import main
from orchestrator.records.journal.journal import digest_of
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import MakeWorker
from tests.cli_project import SWEEP, folder_of, make_project, orchestrate
from tests.faults import system_calls
from tests.faults.system_calls import Fault
from tests.run_fake import make_worker

SMALL = (
    SWEEP.replace("trials: 5", "trials: 2")
    .replace("seeds: [101, 102]", "seeds: [101]")
    .replace("min_gain: 1.0", "min_gain: 20.0")
)
"""A sweep of two trials of two rungs and one confirmation run. Its verdict is a rejection, which no
fault may turn into anything else.
"""
SIZES = {"train": 24, "domain": 6, "heldout": 5}
"""Utterances in each set of a sweep that trains the shipped model."""
PATIENCE = 600.0
"""Seconds after which a command is said to hang."""
CRASHED = 1
"""Exit code of a command that ended with a traceback."""
HUNG = -signal.SIGALRM
"""Stands for the exit code of a command that hung."""

Act = Callable[[], object]


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, or minus the signal that killed it, and what it said."""

    code: int
    said: str

    @property
    def told(self) -> bool:
        """Whether the command refused with a message for a person, without a traceback."""
        return self.code in (2, 3) and bool(self.said.strip()) and "Traceback" not in self.said


@dataclass(frozen=True)
class Running:
    """A command that runs in a process of its own."""

    process: int
    said: Path
    """The file that all it prints goes to."""

    def kill(self) -> None:
        """Send SIGKILL and wait until the process is gone."""
        os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)

    def kill_after(self, seconds: float) -> None:
        """Kill the command after some seconds, whatever it is doing then."""
        time.sleep(seconds)
        self.kill()

    def wait(self) -> Ended:
        """Wait and return how the command ends. When that takes longer than PATIENCE, it is killed
        and its code is HUNG.
        """
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            ended, status = os.waitpid(self.process, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
                return Ended(code, self.said.read_text(errors="replace"))
            time.sleep(0.005)
        self.kill()
        return Ended(HUNG, self.said.read_text(errors="replace"))


def start(
    root: Path,
    *words: str,
    prepare: Act = lambda: None,
    afterwards: Act = lambda: None,
    worker: MakeWorker | None = make_worker,
) -> Running:
    """Start `orchestrate` with these words in a forked process, with the fake worker or another
    (None: the real one). `prepare` and `afterwards` are called before and after it in that process;
    all that it prints goes to a file below `root`.
    """
    said = root / f"said-{time.monotonic_ns()}"
    child = os.fork()
    if child:
        return Running(child, said)
    code = CRASHED
    try:
        output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1), os.dup2(output, 2)
        # sys.stdout and sys.stderr are pytest's, which do not write to descriptors 1 and 2
        sys.stdout, sys.stderr = (
            os.fdopen(place, "w", buffering=1, closefd=False) for place in (1, 2)
        )
        os.fsync = lambda descriptor: None  # type: ignore[assignment]  # only power cuts need it
        prepare()
        main(list(words), worker)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        afterwards()
        os._exit(code)


def apart(work: Callable[[], None]) -> int:
    """Call `work` in a forked process; return its exit code, CRASHED where it raised."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = CRASHED
    try:
        work()
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def orchestrated(root: Path, *words: str, prepare: Act = lambda: None) -> Ended:
    """Run `orchestrate` as `start` does, and wait until it has ended."""
    return start(root, *words, prepare=prepare).wait()


def said_here(*words: object, worker: MakeWorker = make_worker) -> tuple[int, str]:
    """Run a command in this process; return its exit code and all that it printed."""
    said = TextIOWrapper(BytesIO(), encoding="utf-8")
    with redirect_stdout(said), redirect_stderr(said):
        code = orchestrate(*words, worker=worker)
    said.seek(0)
    return code, said.read()


@dataclass(frozen=True)
class Straight:
    """A sweep that nothing happened to: how it ended, how long it took, what its study holds."""

    spec: Path
    ended: Ended
    seconds: float
    contents: dict[str, Any]


class Projects:
    """Makes projects of one small sweep below a folder. The sweep is first run once undisturbed, to
    know how it ends, how long it takes, and what its study then holds.
    """

    def __init__(self, root: Path, sweep: str = SMALL) -> None:
        self.root, self._sweep = root, sweep
        # what is imported and compiled at the first use is there before processes are forked
        said_here(self.new("warm"), "--quiet")
        straight = self.new("straight")
        started = time.monotonic()
        self.ended = orchestrated(straight.parents[1], str(straight), "--quiet")
        self.seconds = time.monotonic() - started
        self.contents = contents(folder_of(straight))

    def count_calls(self) -> int:
        """Return how many system calls change the study in a run that nothing happens to."""
        spec = self.new("counted")
        counted = spec.parents[1] / "counted"

        def count() -> None:
            system_calls.arm(folder_of(spec).path, 0, Fault.COUNT)

        def keep() -> None:
            counted.write_text(str(system_calls.counted()))

        start(spec.parents[1], str(spec), "--quiet", prepare=count, afterwards=keep).wait()
        return int(counted.read_text())

    @cached_property
    def real(self) -> Straight:
        """An undisturbed sweep of two trials that trains the shipped model on some of the shipped
        utterances; run at the first access.
        """
        root = self.root / "real"
        root.mkdir()
        apart(lambda: _write_real(root))
        spec, began = root / "sweep.yaml", time.monotonic()
        words = (str(spec), "--quiet", "--studies", str(root / "studies"))
        ended = start(root, *words, worker=None).wait()
        held = contents(StudyFolder(root / "studies", "small"))
        return Straight(spec, ended, time.monotonic() - began, held)

    def new(self, name: str) -> Path:
        """Make a new project of this name; return its sweep file."""
        root = self.root / name
        template = self.root / "template"
        if not template.exists():
            make_project(template, self._sweep)
        shutil.copytree(template, root)
        return root / "sweeps" / "demo.yaml"


def _write_real(root: Path) -> None:
    from tests.embedded import small_sweep  # imports torch, which does not bear a fork

    small_sweep(root, SIZES, budget={"trials": 2}, execution={"pack": 2})


def contents(folder: StudyFolder) -> dict[str, Any]:
    """Return all of a study that must not depend on what happened meanwhile: the digest of every
    sealed file, and what study.db says. Raises StudyError where a file is not what was sealed.
    """
    files = folder.journal.chain().files
    folder.journal.check(*(folder.path / file for file in files))
    held = {file: digest_of(_timeless(folder.path / file)) for file in files}
    return {"files": held, "database": _told(folder.database)}


def _timeless(path: Path) -> bytes:
    """Read a file; of a result, without the time that the trial took."""
    data = path.read_bytes()
    if path.name == "result.json":
        data = json.dumps(json.loads(data) | {"seconds": 0.0}).encode()
    return data


TOLD = {
    "trials": "SELECT number, state FROM trials",
    "params": "SELECT trial_id, param_name, param_value, distribution_json FROM trial_params",
    "values": "SELECT trial_id, value FROM trial_values",
    "reports": "SELECT trial_id, step, intermediate_value FROM trial_intermediate_values",
    "attributes": "SELECT trial_id, key, value_json FROM trial_user_attributes "
    "WHERE key != 'seconds'",
}
"""Name -> query of study.db; identifiers of rows and times are left out."""


def _told(database: Path) -> dict[str, list[Any]]:
    with closing(sqlite3.connect(database)) as connection:
        return {
            name: sorted(connection.execute(query).fetchall(), key=repr)
            for name, query in TOLD.items()
        }
