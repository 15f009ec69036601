"""Small sweeps on which everything happens that machines do: `python -m tests.faults.soak --minutes
5 --seed 1`.

Each attempt begins a study in a child process, does it a harm, and runs the sweep again. It holds
when the study then is what it would have been, or the run refuses in a sentence; it breaks by a
traceback, a hang, or another result after a harm that leaves the files whole. A flipped bit or a
lost file may go unnoticed: that is counted by itself.
"""

from __future__ import annotations

import argparse
import errno
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator import atomic
from orchestrator.errors import OrchestrateError
from orchestrator.sweepfile.sweep import Budget
from tests.running_support import history, make_spec, run

SPEC = make_spec(budget=Budget(trials=3), scales=(1.0,), seed=5)
PATIENCE = 60.0
"""Seconds after which a child hangs."""
REFUSED, BROKEN = 3, 1
FAKES_OWN = ("checkpoint", "adapter", "final", "study.lock")
"""What the fake worker writes without care, and the lock, which says nothing."""


@dataclass
class Soak:
    """One seed's attempts below a folder, and how they ended."""

    root: Path
    seed: int
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    harmed: str = ""
    """The file that the last flip or loss was of."""
    unnoticed: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        started = time.monotonic()
        _wait(_child(lambda: run(SPEC, self.root / "straight")))
        self.usual = time.monotonic() - started
        self.expected = history(SPEC, self.root / "straight")

    def attempt(self, kind: str, number: int) -> None:
        """One harm to one study, then the same sweep again."""
        root = self.root / f"{kind}-{number}"
        harmed = HARMS[kind](self, root)
        ended = _wait(_child(lambda: run(SPEC, root)))
        outcome = self._outcome(kind, root, ended) if harmed is None else harmed
        self.counts[kind, outcome] += 1
        if outcome == "unnoticed":
            self.unnoticed[f"{kind} of {self.harmed}"] += 1
        if outcome == "broken":
            self.broken.append(f"{kind}, attempt {number} of seed {self.seed}: {root}")
        else:
            shutil.rmtree(root)

    def _outcome(self, kind: str, root: Path, ended: int) -> str:
        if ended == REFUSED:
            return "refused" if kind in ("flip", "lost", "link") else "broken"
        if ended:
            return "broken"
        try:
            same = history(SPEC, root) == self.expected
        except OrchestrateError:
            return "refused"
        return "equal" if same else "unnoticed" if kind in ("flip", "lost") else "broken"

    def interrupted(self, root: Path) -> None:
        """A study that was killed at some moment."""
        child = _child(lambda: run(SPEC, root))
        time.sleep(self.random.uniform(0, self.usual))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

    def some_file(self, root: Path) -> Path | None:
        """A file of the study."""
        study = root / SPEC.name
        files = (path for path in study.rglob("*") if path.is_file() and path.stat().st_size)
        own = [path for path in files if not set(path.relative_to(study).parts) & set(FAKES_OWN)]
        if not own:
            return None
        chosen = self.random.choice(sorted(own))
        self.harmed = chosen.name
        return chosen


def kill(soak: Soak, root: Path) -> None:
    """kill -9, up to three times."""
    for _ in range(soak.random.randint(1, 3)):
        soak.interrupted(root)


def no_space(soak: Soak, root: Path) -> str | None:
    """The k-th file finds the disk full."""
    return _refuse(soak, root, errno.ENOSPC)


def bad_disk(soak: Soak, root: Path) -> str | None:
    """The k-th file meets an error of the disk."""
    return _refuse(soak, root, errno.EIO)


def flip(soak: Soak, root: Path) -> None:
    """One bit of one file."""
    soak.interrupted(root)
    if (path := soak.some_file(root)) is not None:
        data = bytearray(path.read_bytes())
        data[soak.random.randrange(len(data))] ^= 1 << soak.random.randrange(8)
        path.write_bytes(data)


def lost(soak: Soak, root: Path) -> None:
    """One file is gone."""
    soak.interrupted(root)
    if (path := soak.some_file(root)) is not None:
        path.unlink()


def link(soak: Soak, root: Path) -> str | None:
    """A file or folder of the study points elsewhere; what lies there must stay."""
    soak.interrupted(root)
    elsewhere, study = root / "elsewhere", root / SPEC.name
    elsewhere.mkdir(parents=True)
    (elsewhere / "000001.json").write_text("mine")
    place = study / soak.random.choice(
        ["checkpoint", "trials", "study.lock", "report.md", "trials/0000"]
    )
    atomic.remove(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(elsewhere if not place.suffix else elsewhere / "000001.json")
    ended = _wait(_child(lambda: run(SPEC, root)))
    kept = [path.read_text() for path in elsewhere.iterdir()] == ["mine"]
    return "refused" if kept and ended == REFUSED else "broken"


def eight(soak: Soak, root: Path) -> str | None:
    """Eight starts at once: one runs, the others refuse."""
    codes = [_wait(child) for child in [_child(lambda: run(SPEC, root)) for _ in range(8)]]
    return None if codes.count(0) >= 1 and set(codes) <= {0, REFUSED} else "broken"


HARMS: dict[str, Callable[[Soak, Path], str | None]] = {
    each.__name__: each for each in (kill, no_space, bad_disk, flip, lost, link, eight)
}
"""Each returns None where the study must now go on, or how the attempt has ended."""


def _refuse(soak: Soak, root: Path, number: int) -> str | None:
    left, right = soak.random.randint(1, 30), atomic._sync_file

    def sync(path: Path) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise OSError(number, os.strerror(number))
        right(path)

    def patched() -> None:
        atomic._sync_file = sync
        run(SPEC, root)

    return None if _wait(_child(patched)) in (0, REFUSED) else "broken"


def _child(work: Callable[[], Any]) -> int:
    """Start `work` in a process of its own, which exits with 0, REFUSED, or BROKEN and a traceback
    on stderr.
    """
    child = os.fork()
    if child:
        return child
    code = BROKEN
    try:
        os.fsync = lambda descriptor: None  # type: ignore[assignment]  # a killed process needs none
        work()
        code = 0
    except OrchestrateError:
        code = REFUSED
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(code)


def _wait(child: int) -> int:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return BROKEN


def table(soak: Soak) -> Iterator[str]:
    """What was tried and how it ended."""
    columns = ("equal", "refused", "unnoticed", "broken")
    yield f"{'harm':<10} {'tried':>6} " + " ".join(f"{column:>10}" for column in columns)
    for kind in HARMS:
        row = [soak.counts[kind, column] for column in columns]
        yield f"{kind:<10} {sum(row):>6} " + " ".join(f"{count:>10}" for count in row)
    yield from (f"unnoticed {count} times: {what}" for what, count in soak.unnoticed.most_common())
    yield from (f"broken: {what}" for what in soak.broken)


def main() -> int:
    """Soak for some minutes; 1 where something broke."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    soak = Soak(Path(tempfile.mkdtemp(prefix="soak-")), options.seed)
    until, number = time.monotonic() + 60 * options.minutes, 0
    while time.monotonic() < until:
        for kind in HARMS:
            soak.attempt(kind, number)
        number += 1
    print("\n".join(table(soak)))
    if not soak.broken:
        shutil.rmtree(soak.root)
    return bool(soak.broken)


if __name__ == "__main__":
    sys.exit(main())
