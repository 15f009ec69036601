"""The harms that the soak does to a study while it is made, one function each.

A harm is given a new project, begins its study and does its harm. It returns how that ended, one of
`soak.COLUMNS`, or None where the caller has to give the same command again, which then must come to
the end of an undisturbed run.
"""

from __future__ import annotations

import ctypes
import errno
import os
import random
import resource
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.files.names_aside import remove
from orchestrator.records.store import StudyFolder
from tests.cli_project import folder_of
from tests.faults import system_calls
from tests.faults.commands import Ended, Projects, apart, contents, orchestrated, start
from tests.faults.study_states import explore
from tests.faults.system_calls import Fault

YEAR = 365 * 24 * 3600
FAKES_OWN = ("checkpoint", "adapter", "final", "study.lock", "cache")
"""Names that are not damaged: what the fake worker writes without the care of the real one, the
lock, which holds nothing, and the cache, which is made anew.
"""
BROKEN = "broken"


@dataclass
class Attempt:
    """One harm to one study: its project, and a record of what happened."""

    projects: Projects
    random: random.Random
    spec: Path
    calls: int
    """How many system calls change the study in a run that nothing happens to."""
    harmed: str = ""
    """The name of the file that was damaged, if one was."""
    met: str = ""
    """What happened, in words, for whoever looks into a broken attempt."""

    @property
    def root(self) -> Path:
        """The project's folder."""
        return self.spec.parents[1]

    @property
    def study(self) -> Path:
        """The study's folder."""
        return folder_of(self.spec).path

    def run(self, *words: str, prepare: Callable[[], object] = lambda: None) -> Ended:
        """Run the command to its end."""
        return orchestrated(self.root, str(self.spec), "--quiet", *words, prepare=prepare)

    def interrupt(self) -> None:
        """Run the command, and kill it at a random moment."""
        running = start(self.root, str(self.spec), "--quiet")
        running.kill_after(self.random.uniform(0, self.projects.seconds))

    def survived(self, ended: Ended) -> str | None:
        """Return None where the command refused with a message or came to the usual end, and BROKEN
        where it ended otherwise.
        """
        if ended.told or ended.code == self.projects.ended.code:
            return None
        self.met += f"\nexit code {ended.code}: {ended.said[-3000:]}"
        return BROKEN

    def choose_file(self) -> Path | None:
        """Choose a file of the study to be damaged; None where there is none yet."""
        files = [path for path in self.study.rglob("*") if path.is_file() and path.stat().st_size]
        own = [path for path in files if not set(path.relative_to(self.study).parts) & {*FAKES_OWN}]
        if not own:
            return None
        chosen = self.random.choice(sorted(own))
        self.harmed = chosen.relative_to(self.study).as_posix()
        return chosen


def kill(attempt: Attempt) -> None:
    """Kill (SIGKILL) the command at a random moment, one to three times."""
    for _ in range(attempt.random.randint(1, 3)):
        attempt.interrupt()


def killed_call(attempt: Attempt) -> str | None:
    """Kill the command at one system call."""
    return _at_a_call(attempt, Fault.KILL)


def torn_call(attempt: Attempt) -> str | None:
    """Kill the command in the middle of one system call: of a write, half is done."""
    return _at_a_call(attempt, Fault.TEAR)


def refused_call(attempt: Attempt) -> str | None:
    """Let one system call fail as on a broken disk (EIO)."""
    return _at_a_call(attempt, Fault.REFUSE, errno.EIO)


def full_disk(attempt: Attempt) -> str | None:
    """Let the disk be full from one system call on (ENOSPC)."""
    return _at_a_call(attempt, Fault.FULL, errno.ENOSPC)


def short_write(attempt: Attempt) -> str | None:
    """Let one write write half of its bytes, and return that number."""
    return _at_a_call(attempt, Fault.SHORT)


def clock_jump(attempt: Attempt) -> str | None:
    """Let the system's clock jump by up to a year, forwards or back, in the middle of a run."""
    return _at_a_call(attempt, Fault.JUMP, attempt.random.randint(-YEAR, YEAR))


def _at_a_call(attempt: Attempt, fault: Fault, value: int = 0) -> str | None:
    """Run the command with a fault at a random one of the system calls that change the study."""
    call = attempt.random.randint(1, attempt.calls)
    attempt.met = f"{fault.name} {value} at call {call} of {attempt.calls}"
    ended = attempt.run(prepare=lambda: system_calls.arm(attempt.study, call, fault, value))
    return None if ended.code == -signal.SIGKILL else attempt.survived(ended)


def no_memory(attempt: Attempt) -> str | None:
    """Limit the address space to a little more (up to 60 MB) than is taken at the start."""
    room = attempt.random.randint(0, 60_000_000)
    attempt.met = f"{room} bytes of memory"

    def limit() -> None:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + room, resource.RLIM_INFINITY))

    return attempt.survived(attempt.run(prepare=limit))


def full_tmpfs(attempt: Attempt) -> str | None:
    """Begin the study on a small tmpfs, which fills up, and copy it to where there is room."""
    small, size = attempt.root / "small", attempt.random.randint(40, 700)
    attempt.met = f"a tmpfs of {size} kB"
    small.mkdir()

    def within() -> None:
        _mount_apart(small, size)
        ended = attempt.run("--studies", str(small))
        shutil.copytree(small, attempt.root / "studies")
        if attempt.survived(ended) == BROKEN:
            raise AssertionError(attempt.met)

    return BROKEN if apart(within) else None


def flip(attempt: Attempt) -> None:
    """Flip one bit of one file."""
    attempt.interrupt()
    if (path := attempt.choose_file()) is not None:
        data = bytearray(path.read_bytes())
        data[attempt.random.randrange(len(data))] ^= 1 << attempt.random.randrange(8)
        path.write_bytes(data)


def lost(attempt: Attempt) -> None:
    """Remove one file."""
    attempt.interrupt()
    if (path := attempt.choose_file()) is not None:
        path.unlink()


def link(attempt: Attempt) -> str | None:
    """Replace a file or folder of the study by a symbolic link. The command must refuse it, and
    what the link points to must stay as it is.
    """
    attempt.interrupt()
    elsewhere = attempt.root / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "000001.json").write_text("mine")
    names = ["checkpoint", "trials", "study.lock", "report.md", "trials/0000"]
    place = attempt.study / attempt.random.choice(names)
    remove(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(elsewhere if not place.suffix else elsewhere / "000001.json")
    ended = attempt.run()
    attempt.met = f"{place.name}: {ended}"
    kept = [path.read_text() for path in elsewhere.iterdir()] == ["mine"]
    return "refused" if kept and ended.told else BROKEN


def eight(attempt: Attempt) -> str | None:
    """Start the command eight times at once: one runs, the others refuse or find the sweep done."""
    running = [start(attempt.root, str(attempt.spec), "--quiet") for _ in range(8)]
    ended = [each.wait() for each in running]
    if any(attempt.survived(each) for each in ended):
        return BROKEN
    return None if any(not each.told for each in ended) else BROKEN


def killed_repair(attempt: Attempt) -> str | None:
    """Remove files that a repair can make again; kill the repair at a system call and repeat it."""
    if attempt.run().code != attempt.projects.ended.code:
        return BROKEN
    for name in ("study.db", "spec.yaml", "trials/0000/plan.json"):
        (attempt.study / name).unlink()
    call = attempt.random.randint(1, 300)
    attempt.met = f"killed at call {call} of a repair"
    words = ("repair", str(attempt.spec))
    orchestrated(
        attempt.root, *words, prepare=lambda: system_calls.arm(attempt.study, call, Fault.KILL)
    )
    repaired = orchestrated(attempt.root, *words)
    attempt.met += f"\n{repaired}"
    return None if repaired.code == 0 else BROKEN


def real_kill(attempt: Attempt) -> str | None:
    """Kill a sweep that trains the shipped model at a random moment, one to three times; then it
    must end with the very contents of an undisturbed one.
    """
    straight = attempt.projects.real
    spec = attempt.root / "sweep.yaml"
    shutil.copy(straight.spec, spec)
    words = (str(spec), "--quiet", "--studies", str(attempt.root / "studies"))
    for _ in range(attempt.random.randint(1, 3)):
        running = start(attempt.root, *words, worker=None)
        running.kill_after(attempt.random.uniform(0, straight.seconds))
    ended = start(attempt.root, *words, worker=None).wait()
    attempt.met = f"exit code {ended.code}: {ended.said[-3000:]}"
    folder = StudyFolder(attempt.root / "studies", "small")
    same = ended.code == straight.ended.code and contents(folder) == straight.contents
    return "equal" if same else BROKEN


def states(attempt: Attempt) -> str | None:
    """Let hypothesis decide what happens to two studies, see `study_states`."""
    said, seed = attempt.root / "said", attempt.random.getrandbits(32)

    def within() -> None:
        output = os.open(said, os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1), os.dup2(output, 2)
        explore(2, 12, seed=seed)

    if not apart(within):
        return "equal"
    attempt.met = f"seed {seed}: {said.read_text()[-5000:]}"
    return BROKEN


Harm = Callable[[Attempt], str | None]
ANYWHERE: tuple[Harm, ...] = (kill, flip, lost, link, eight, states, real_kill)
AT_CALLS: tuple[Harm, ...] = (
    killed_call,
    torn_call,
    refused_call,
    full_disk,
    short_write,
    clock_jump,
    killed_repair,
)
"""Harms that need a process started in `system_calls.environment`."""
SELDOM = ("real_kill",)
"""Harms that take a minute each, and are done in every fifth round only."""
ON_LINUX: tuple[Harm, ...] = (no_memory, full_tmpfs)


def _mount_apart(folder: Path, size: int) -> None:
    """Mount a tmpfs of `size` kB at `folder` in new namespaces, so that only this process and its
    children see it. Raises OSError where that is not allowed.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    # CLONE_NEWUSER and CLONE_NEWNS, of linux/sched.h
    new_user, new_mounts = 0x10000000, 0x00020000
    options = f"size={size}k".encode()
    if libc.unshare(new_user | new_mounts) or libc.mount(
        b"tmpfs", os.fsencode(folder), b"tmpfs", 0, options
    ):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def can_mount(folder: Path) -> bool:
    """Whether this process may mount a file system in a namespace of its own."""
    return apart(lambda: _mount_apart(folder, 100)) == 0
