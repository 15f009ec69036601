"""Small sweeps on which everything happens that machines do: `python -m tests.faults.soak --minutes
5 --seed 1`.

Each attempt begins a study with the real command, does it a harm, and gives the same command again.
It holds when the study then is what it would have been, or the command refuses in a sentence; it
breaks by a traceback, a hang, another result, or files that are left over. A flipped bit or a lost
file of what is not sealed may go unnoticed: that is counted by itself.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.errors import OrchestrateError
from tests.cli_project import folder_of
from tests.faults import harms, system_calls
from tests.faults.commands import Projects, contents, orchestrated
from tests.faults.fuzzing import fuzz
from tests.faults.harms import BROKEN, Attempt, Harm
from tests.faults.matrix import Matrix

DAMAGE = ("flip", "lost")
UNSEALED = ("study.db", "clock.json", "findings.json", "notes.md", "report.")
"""Beginnings of the names of files that no reported number is computed from, whose damage may go
unnoticed.
"""
COLUMNS = ("equal", "repaired", "refused", "unnoticed", BROKEN)
"""How an attempt may end, in the order of the table."""


def harms_here(root: Path) -> tuple[Harm, ...]:
    """Return the harms that can be done on this machine."""
    found = harms.ANYWHERE
    if system_calls.can_be_armed():
        found += harms.AT_CALLS
    if sys.platform == "linux":
        found += harms.ON_LINUX if harms.can_mount(root) else harms.ON_LINUX[:1]
    return found


@dataclass
class Soak:
    """The attempts of one seed, below a folder, and how they ended."""

    root: Path
    seed: int
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    unnoticed: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.projects = Projects(self.root)
        self.harms = harms_here(self.root)
        self.calls = self.projects.count_calls() if system_calls.can_be_armed() else 0

    def attempt(self, harm: Harm, number: int) -> None:
        """Begin a study, do it one harm, and give the same command again; count how that ends."""
        kind = harm.__name__
        spec = self.projects.new(f"{kind}-{number}")
        attempt = Attempt(self.projects, self.random, spec, self.calls)
        outcome = harm(attempt) or _continued(attempt, damaged=kind in DAMAGE)
        self.counts[kind, outcome] += 1
        if outcome == "unnoticed":
            self.unnoticed[f"{kind} of {attempt.harmed}"] += 1
        if outcome == BROKEN:
            where = f"{kind}, attempt {number} of seed {self.seed}: {attempt.root}"
            self.broken.append(f"{where}\n  {attempt.harmed} {attempt.met}")
        else:
            shutil.rmtree(attempt.root)


def _continued(attempt: Attempt, damaged: bool) -> str:
    """Give the same command again, after a repair where a damaged study is refused, and return how
    that ended: one of COLUMNS.
    """
    ended, equal = attempt.run(), "equal"
    if ended.told and damaged:
        repaired = orchestrated(attempt.root, "repair", str(attempt.spec))
        ended, equal = attempt.run(), "repaired"
        # a damaged file that cannot be computed again from others
        if repaired.told or ended.told:
            return "refused"
    attempt.met += f"\nafterwards {ended.code}: {ended.said[-3000:]}"
    if ended.code != attempt.projects.ended.code:
        return BROKEN
    try:
        found = contents(folder_of(attempt.spec))
    except OrchestrateError as error:
        attempt.met += f"\n{error}"
        return "refused" if damaged else BROKEN
    # the fake worker leaves files aside of its own, which end in `.aside`
    left = [str(path) for path in attempt.study.rglob("*.tmp-*") if path.suffix != ".aside"]
    if left:
        attempt.met += f"\nleft over: {left}"
        return BROKEN
    if found == attempt.projects.contents:
        return equal
    attempt.met += _differences(attempt.projects.contents, found)
    return "unnoticed" if damaged and attempt.harmed.startswith(UNSEALED) else BROKEN


def _differences(
    expected: dict[str, dict[str, object]], found: dict[str, dict[str, object]]
) -> str:
    rows = [
        f"\n{part} {key}: {expected[part].get(key)} -> {found[part].get(key)}"
        for part in expected
        for key in sorted({*expected[part], *found[part]})
        if expected[part].get(key) != found[part].get(key)
    ]
    return "".join(rows)


def table(soak: Soak) -> Iterator[str]:
    """Yield the lines of a table of what was tried and how it ended."""
    yield f"{'harm':<14} {'tried':>6} " + " ".join(f"{column:>10}" for column in COLUMNS)
    for harm in soak.harms:
        row = [soak.counts[harm.__name__, column] for column in COLUMNS]
        yield f"{harm.__name__:<14} {sum(row):>6} " + " ".join(f"{count:>10}" for count in row)
    yield from (f"unnoticed {count} times: {what}" for what, count in soak.unnoticed.most_common())
    yield from (f"broken: {what}" for what in soak.broken)


def main(words: Sequence[str] | None = None) -> int:
    """Soak for some minutes; return 1 where something broke, else 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, help="so often each harm, however long it takes")
    parser.add_argument("--only", nargs="*", help="names of harms; by default all")
    options = parser.parse_args(words)
    if not system_calls.missing() and not system_calls.can_be_armed():
        again = [sys.executable, "-m", "tests.faults.soak", *sys.argv[1:]]
        return subprocess.run(again, env=system_calls.environment()).returncode
    if system_calls.missing():
        print(f"left out: {system_calls.missing()}")
    broken = fuzz(options.minutes / 10, options.seed)
    soak = Soak(Path(tempfile.mkdtemp(prefix="soak-")), options.seed)
    soak.root.chmod(0o755)  # some damages are met by another user
    matrix = Matrix(soak.root / "damage")
    matrix.sample(random.Random(options.seed), 6 * options.minutes)
    until, number = time.monotonic() + 60 * options.minutes, 0
    while number < options.rounds if options.rounds else time.monotonic() < until:
        for harm in soak.harms:
            wanted = harm.__name__ in (options.only or (harm.__name__,))
            if wanted and (number % 5 == 0 or harm.__name__ not in harms.SELDOM):
                soak.attempt(harm, number)
        number += 1
    print("\n".join((*table(soak), *matrix.table(), *broken)))
    if not soak.broken and not matrix.broken:
        shutil.rmtree(soak.root)
    return bool(soak.broken or matrix.broken or broken)


if __name__ == "__main__":
    sys.exit(main())
