"""All the harm that is done to a study while it is made, each by one function.

Each is given a new project, begins its study and does its harm. It returns how that ended, or None
where the same command must now go on to the end of a run that nothing happened to.
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

from orchestrator.names_aside import remove
from orchestrator.records.store import StudyFolder
from tests.cli_project import folder_of
from tests.faults import system_calls
from tests.faults.commands import Ended, Projects, apart, contents, orchestrated, start
from tests.faults.study_states import explore
from tests.faults.system_calls import Fault

YEAR = 365 * 24 * 3600
FAKES_OWN = ("checkpoint", "adapter", "final", "study.lock", "cache")
"""What the fake worker writes without care, the lock, which says nothing, and what is made anew."""
BROKEN = "broken"


@dataclass
class Attempt:
    """One harm to one study."""

    projects: Projects
    random: random.Random
    spec: Path
    calls: int
    """System calls that change the study in a run that nothing happens to."""
    harmed: str = ""
    """The file that was damaged."""
    met: str = ""
    """What happened, for who looks into it."""

    @property
    def root(self) -> Path:
        """The project's folder."""
        return self.spec.parents[1]

    @property
    def study(self) -> Path:
        """The study's folder."""
        return folder_of(self.spec).path

    def run(self, *words: str, prepare: Callable[[], object] = lambda: None) -> Ended:
        """The command, to its end."""
        return orchestrated(self.root, str(self.spec), "--quiet", *words, prepare=prepare)

    def interrupt(self) -> None:
        """The command, killed at some moment."""
        running = start(self.root, str(self.spec), "--quiet")
        running.kill_after(self.random.uniform(0, self.projects.seconds))

    def survived(self, ended: Ended) -> str | None:
        """Whatever the command met, it refused with a message or came to the usual end."""
        if ended.told or ended.code == self.projects.ended.code:
            return None
        self.met += f"\nexit code {ended.code}: {ended.said[-3000:]}"
        return BROKEN

    def choose_file(self) -> Path | None:
        """A file of the study, to be damaged."""
        files = [path for path in self.study.rglob("*") if path.is_file() and path.stat().st_size]
        own = [path for path in files if not set(path.relative_to(self.study).parts) & {*FAKES_OWN}]
        if not own:
            return None
        chosen = self.random.choice(sorted(own))
        self.harmed = chosen.relative_to(self.study).as_posix()
        return chosen


def kill(attempt: Attempt) -> None:
    """kill -9 at some moment, up to three times."""
    for _ in range(attempt.random.randint(1, 3)):
        attempt.interrupt()


def killed_call(attempt: Attempt) -> str | None:
    """kill -9 at one system call."""
    return _at_a_call(attempt, Fault.KILL)


def torn_call(attempt: Attempt) -> str | None:
    """kill -9 in the middle of one system call."""
    return _at_a_call(attempt, Fault.TEAR)


def refused_call(attempt: Attempt) -> str | None:
    """One system call fails as on a broken disk."""
    return _at_a_call(attempt, Fault.REFUSE, errno.EIO)


def full_disk(attempt: Attempt) -> str | None:
    """From one system call on the disk is full."""
    return _at_a_call(attempt, Fault.FULL, errno.ENOSPC)


def short_write(attempt: Attempt) -> str | None:
    """One write does the half of its bytes and says so."""
    return _at_a_call(attempt, Fault.SHORT)


def clock_jump(attempt: Attempt) -> str | None:
    """The clock of the day jumps by up to a year, forwards or back, in the middle of a run."""
    return _at_a_call(attempt, Fault.JUMP, attempt.random.randint(-YEAR, YEAR))


def _at_a_call(attempt: Attempt, fault: Fault, value: int = 0) -> str | None:
    call = attempt.random.randint(1, attempt.calls)
    attempt.met = f"{fault.name} {value} at call {call} of {attempt.calls}"
    ended = attempt.run(prepare=lambda: system_calls.arm(attempt.study, call, fault, value))
    return None if ended.code == -signal.SIGKILL else attempt.survived(ended)


def no_memory(attempt: Attempt) -> str | None:
    """The address space ends a little above what is taken at the start."""
    room = attempt.random.randint(0, 60_000_000)
    attempt.met = f"{room} bytes of memory"

    def limit() -> None:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + room, resource.RLIM_INFINITY))

    return attempt.survived(attempt.run(prepare=limit))


def full_tmpfs(attempt: Attempt) -> str | None:
    """The study begins on a small file system, which fills, and goes on where there is room."""
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
    """One bit of one file."""
    attempt.interrupt()
    if (path := attempt.choose_file()) is not None:
        data = bytearray(path.read_bytes())
        data[attempt.random.randrange(len(data))] ^= 1 << attempt.random.randrange(8)
        path.write_bytes(data)


def lost(attempt: Attempt) -> None:
    """One file is gone."""
    attempt.interrupt()
    if (path := attempt.choose_file()) is not None:
        path.unlink()


def link(attempt: Attempt) -> str | None:
    """A file or folder of the study points elsewhere; what lies there must stay."""
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
    """Eight starts at once: one runs, the others refuse or find it done."""
    running = [start(attempt.root, str(attempt.spec), "--quiet") for _ in range(8)]
    ended = [each.wait() for each in running]
    if any(attempt.survived(each) for each in ended):
        return BROKEN
    return None if any(not each.told for each in ended) else BROKEN


def killed_repair(attempt: Attempt) -> str | None:
    """What can be made again is lost, and the repair is killed at a system call, then repeated."""
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
    """kill -9 at some moment of a sweep that trains the shipped model, up to three times."""
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
    """Two studies of which hypothesis decides what happens to them."""
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
"""These need `system_calls.environment`."""
SELDOM = ("real_kill",)
"""Take a minute each: in every fifth round alone."""
ON_LINUX: tuple[Harm, ...] = (no_memory, full_tmpfs)


def _mount_apart(folder: Path, size: int) -> None:
    """A tmpfs of so many kB at `folder`, seen by this process and its children alone."""
    libc = ctypes.CDLL(None, use_errno=True)
    new_user, new_mounts = 0x10000000, 0x00020000
    options = f"size={size}k".encode()
    if libc.unshare(new_user | new_mounts) or libc.mount(
        b"tmpfs", os.fsencode(folder), b"tmpfs", 0, options
    ):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def can_mount(folder: Path) -> bool:
    """This process may mount a file system of its own, in a namespace of its own."""
    return apart(lambda: _mount_apart(folder, 100)) == 0
