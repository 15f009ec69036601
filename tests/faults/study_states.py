"""A study as a state machine of hypothesis, whose rules run, kill, damage, restore, repair and move
it in any order. No number may change in silence, no trial may be lost, and once the damages are
undone the study must end as if nothing had happened.
"""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from orchestrator.errors import Interrupted, StudyError
from orchestrator.records.journal.journal import digest_of
from orchestrator.records.results import Measurement, TrialResult
from orchestrator.records.store import StudyFolder
from tests.cli_project import folder_of, make_project
from tests.crashes import Fuse, Killed, effects
from tests.faults.commands import SMALL, contents, said_here

REJECTED, REFUSED = 4, 3  # exit codes

Number = tuple[TrialResult | None, tuple[Measurement, ...]]


@cache
def straight() -> tuple[dict[int, Number], dict[str, Any]]:
    """Return the numbers of a study that nothing happens to, and the `contents` of it."""
    root = Path(tempfile.mkdtemp())
    spec = make_project(root, SMALL)
    assert said_here(spec)[0] == REJECTED
    found = numbers(folder_of(spec)), contents(folder_of(spec))
    shutil.rmtree(root)
    return found


def numbers(folder: StudyFolder) -> dict[int, Number]:
    """Return the result and the measurements of every trial and confirmation run, by number,
    without the time they took.
    """
    planned = (*folder.planned(), *folder.planned(confirm=True))
    return {number: _number(folder, number) for number in planned}


def _number(folder: StudyFolder, number: int) -> Number:
    result = folder.read_result(number)
    timeless = result.model_copy(update={"seconds": 0.0}) if result else None
    return timeless, folder.read_measurements(number)


class StudyStates(RuleBasedStateMachine):
    """One study, from before its first trial."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp())
        self.copies = 0
        self.whole: dict[str, bytes] = {}
        """Name of a damaged file -> what it held before."""
        self.ended: set[int] = set()
        """Numbers of the trials and confirmation runs whose result was seen."""

    @initialize()
    def begin(self) -> None:
        """Make a project that has no study yet."""
        self.spec = make_project(self.home / "0", SMALL)

    @property
    def folder(self) -> StudyFolder:
        """The study's folder, opened anew as by a new process."""
        return folder_of(self.spec)

    @rule(at=st.integers(1, 300))
    def kill(self, at: int) -> None:
        """Run the command up to effect number `at`, where it is killed."""
        self._run(Fuse(at))

    @rule(at=st.integers(1, 300))
    def interrupt(self, at: int) -> None:
        """Run the command up to effect number `at`, where Ctrl+C is pressed for the second time,
        which ends a run wherever it is.
        """
        self._run(Fuse(at, Interrupted))

    @rule()
    def finish(self) -> None:
        """Run the command to its end."""
        self._run(Fuse())

    @precondition(lambda self: self._files())
    @rule(chosen=st.randoms(use_true_random=False))
    def lose(self, chosen: Any) -> None:
        """Remove a sealed file."""
        path = self._damage(chosen)
        path.unlink()

    @precondition(lambda self: self._files())
    @rule(chosen=st.randoms(use_true_random=False))
    def flip(self, chosen: Any) -> None:
        """Flip one bit of a sealed file."""
        path = self._damage(chosen)
        data = bytearray(path.read_bytes())
        # a share of the length: files hold times, so that the length itself differs from run to run
        data[int(chosen.random() * len(data))] ^= 1 << chosen.randrange(8)
        path.write_bytes(data)

    @precondition(lambda self: self.whole)
    @rule()
    def restore(self) -> None:
        """Put back what the damaged files held, unless the study has a newer version by now."""
        for name, data in self.whole.items():
            if digest_of(data) == self.folder.journal.chain().newest.get(name):
                (self.folder.path / name).parent.mkdir(parents=True, exist_ok=True)
                (self.folder.path / name).write_bytes(data)
        self.whole.clear()

    @precondition(lambda self: self.folder.exists)
    @rule()
    def repair(self) -> None:
        """Repair the study. What is made again must be what was lost, to the byte."""
        code, said = said_here("repair", self.spec)
        self._check(code, said, (0,))
        for name in [name for name in self.whole if self._holds(name)]:
            assert (self.folder.path / name).read_bytes() == self.whole.pop(name)
        assert code or not self.whole, f"repaired, says the command; {self.whole} are not"

    @precondition(lambda self: self.folder.exists)
    @rule()
    def report(self) -> None:
        """Report on the study. That shows the numbers as they were measured, or names the file that
        prevents it.
        """
        code, said = said_here("table", self.spec)
        self._check(code, said, (0,))
        if code == 0:
            # a table reads only the files it needs; damage to others is the invariant's to find
            for result in self.folder.results():
                assert f"{result.wer['domain']!r}" in said, said
        self._check(*said_here("report", self.spec), (0, REJECTED))

    @rule()
    def copy(self) -> None:
        """Move the project to another folder, where the study goes on."""
        self.copies += 1
        shutil.move(self.spec.parents[1], self.home / f"{self.copies}")
        self.spec = self.home / f"{self.copies}" / "sweeps" / "demo.yaml"

    @invariant()
    def no_number_changes_and_no_trial_is_lost(self) -> None:
        """Check that what can be read is what was measured, and that all that ended is there."""
        if not hasattr(self, "spec"):
            return
        try:
            found = numbers(self.folder)
        except StudyError as error:
            self._check(REFUSED, str(error), ())
            return
        expected, _ = straight()
        for number, (result, rows) in found.items():
            wanted, measured = expected[number]
            assert result in (None, wanted)
            assert all(row in measured for row in rows)
        ended = {number for number, (result, _) in found.items() if result is not None}
        assert self.ended <= ended
        self.ended = ended

    def teardown(self) -> None:
        """Restore the damaged files and give the command again: the study then must be as if
        nothing had happened.
        """
        if hasattr(self, "spec") and self.folder.exists:
            self.restore()
            self._run(Fuse())
            assert contents(self.folder) == straight()[1]
        shutil.rmtree(self.home)

    def _run(self, fuse: Fuse) -> None:
        """Run or continue the sweep, with its effects counted by the fuse."""
        straight()  # computed before the fuse counts effects
        try:
            with effects(fuse):
                code, said = said_here(self.spec, "--quiet")
        except Killed:
            return
        self._check(code, said, (REJECTED, Interrupted.exit_code))

    def _check(self, code: int, said: str, right: tuple[int, ...]) -> None:
        """Check that a command ended with one of the `right` codes, or named a damaged file."""
        assert "Traceback" not in said
        if code not in right:
            assert code == REFUSED, said
            assert any(name in said or Path(name).name in said for name in self.whole), said

    def _files(self) -> list[Path]:
        """Return the files that may be damaged: sealed ones that are as they were written."""
        if not self.folder.journal.path.exists():
            return []
        chain = self.folder.journal.chain()
        # not those of the last write of a killed run, of which both the new and the old version
        # count as whole: that is promised
        return [
            self.folder.path / name
            for name in chain.files
            if name not in chain.before and self._holds(name) and name not in self.whole
        ]

    def _damage(self, chosen: Any) -> Path:
        """Choose a file to be damaged, and remember what it holds."""
        path: Path = chosen.choice(self._files())
        self.whole[path.relative_to(self.folder.path).as_posix()] = path.read_bytes()
        return path

    def _holds(self, name: str) -> bool:
        """Whether a file is what the journal says that it is."""
        journal = self.folder.journal
        return journal.chain().fault(name, journal.found(self.folder.path / name)) is None


def explore(examples: int, steps: int, **options: Any) -> None:
    """Try `examples` sequences of `steps` rules; raise, with the sequence, where one fails."""
    wanted = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
        **{name: value for name, value in options.items() if name != "seed"},
    )
    machine = seed(options["seed"])(StudyStates) if "seed" in options else StudyStates
    run_state_machine_as_test(machine, settings=wanted)
