"""Killed anywhere and continued, a study holds what it would have held."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from orchestrator.errors import Interrupted
from orchestrator.records.journal.journal import Journal
from orchestrator.records.results import TrialResult
from orchestrator.records.store import StudyFolder
from orchestrator.running.observer import NullObserver
from orchestrator.sweepfile.sweep import Budget, EarlyStop, SweepSpec
from tests.crashes import Fuse, Killed, effects
from tests.fake_worker import FakeWorker
from tests.running_support import SPACE, history, make_spec, run

SPECS = {
    "tpe": make_spec(budget=Budget(trials=5), scales=(1.0,), seed=5),
    "duplicates": make_spec(
        budget=Budget(trials=6), searched=SPACE[:1], fixed={"rank": 8, "max_steps": 200}
    ),
    "median": make_spec(
        budget=Budget(trials=6),
        early_stop=EarlyStop(method="median", startup_trials=1),
        scales=(0.5,),
    ),
    "fails": make_spec(budget=Budget(trials=4), searched=SPACE[1:], fixed={"learning_rate": 0.6}),
}
NEVER = 1e9
SAVE_EVERY = {"tpe": NEVER, "duplicates": 0.0, "median": NEVER, "fails": 0.1}
"""Seconds of the tests' clock between checkpoints: at every event, after a few, none but the last."""


@pytest.fixture(autouse=True)
def _no_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed process needs no fsync, and hundreds of them take minutes."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def count_effects(spec: SweepSpec, root: Path, save_every: float = 0.0) -> int:
    fuse = Fuse()
    with effects(fuse):
        run(spec, root, save_every=save_every)
    return fuse.count


def killed_at(at: int, spec: SweepSpec, root: Path, save_every: float = 0.0) -> None:
    with effects(Fuse(at)), pytest.raises(Killed):
        run(spec, root, save_every=save_every)


def check_kills(
    spec: SweepSpec, save_every: float, tmp_path: Path, chosen: range | None = None
) -> None:
    total = count_effects(spec, tmp_path / "straight", save_every)
    expected = history(spec, tmp_path / "straight")
    for at in chosen or range(1, total + 1):
        if at > total:
            break
        root = tmp_path / f"kill-{at}"
        killed_at(at, spec, root, save_every)
        run(spec, root, save_every=save_every)
        assert history(spec, root) == expected, f"killed at effect {at} of {total}"


@pytest.mark.parametrize("name", SPECS)
def test_one_kill_leaves_no_trace(name: str, tmp_path: Path) -> None:
    check_kills(SPECS[name], SAVE_EVERY[name], tmp_path, range(11, 10_000, 211))


@pytest.mark.slow
@pytest.mark.parametrize("save_every", [0.0, 0.1, NEVER])
@pytest.mark.parametrize("name", SPECS)
def test_one_kill_at_every_effect_leaves_no_trace(
    name: str, save_every: float, tmp_path: Path
) -> None:
    check_kills(SPECS[name], save_every, tmp_path)


@pytest.mark.parametrize("name", [pytest.param("tpe", marks=pytest.mark.slow), "median"])
def test_many_kills_leave_no_trace(name: str, tmp_path: Path) -> None:
    spec = SPECS[name]
    run(spec, tmp_path / "straight")
    lives = 0
    while True:
        lives += 1
        try:
            with effects(Fuse(90)):
                run(spec, tmp_path / "killed")
            break
        except Killed:
            assert lives < 50, "no progress"
    assert lives > 2
    assert history(spec, tmp_path / "killed") == history(spec, tmp_path / "straight")


def test_checkpoints_come_by_time_and_at_the_end(tmp_path: Path) -> None:
    spec = make_spec(budget=Budget(trials=4), scales=(1.0,))

    class Counting(FakeWorker):
        saves = 0

        def save(self, folder: Path) -> None:
            self.saves += 1
            super().save(folder)

    saves = []
    for save_every in (0.0, 0.1, NEVER):
        worker = Counting()
        run(spec, tmp_path / f"{save_every}", worker, save_every=save_every)
        saves.append(worker.saves)
        assert history(spec, tmp_path / f"{save_every}") == history(spec, tmp_path / "0.0")
    assert saves[0] > saves[1] > saves[2] == 0
    assert StudyFolder(tmp_path / f"{NEVER}", "s").checkpoint.joinpath("000001.json").exists()


def test_a_trial_that_ended_after_the_last_commit_reports_its_last_rung_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # PRUNED trials have the value of their last report: it must not be that of the rung before.
    spec = make_spec(budget=Budget(trials=3), fixed={"learning_rate": 3e-3}, searched=SPACE[1:])
    run(spec, tmp_path / "straight", save_every=NEVER)
    expected = history(spec, tmp_path / "straight")
    assert any(state == "PRUNED" and value for _, state, _, value, *_ in expected)
    ended = StudyFolder.write_result

    def killing(folder: StudyFolder, result: TrialResult) -> None:
        ended(folder, result)
        raise Killed

    for _ in expected:
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(StudyFolder, "write_result", killing)
            run(spec, tmp_path / "killed", save_every=NEVER)
    run(spec, tmp_path / "killed", save_every=NEVER)
    assert history(spec, tmp_path / "killed") == expected


@pytest.mark.parametrize("at", [1, pytest.param(3, marks=pytest.mark.slow), 6])
def test_a_second_ctrl_c_between_a_seal_and_its_file_leaves_no_trace(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(
        budget=Budget(trials=1), searched=SPACE[:1], fixed={"rank": 8, "max_steps": 100}
    )
    run(spec, tmp_path / "straight")
    left, seal = at, Journal.seal

    def interrupted(journal: Journal, what: str, files: Mapping[Path, str | None]) -> None:
        nonlocal left
        seal(journal, what, files)
        left -= 1
        if left == 0:
            raise Interrupted("stopped at once")

    with monkeypatch.context() as patched, pytest.raises(Interrupted):
        patched.setattr(Journal, "seal", interrupted)
        run(spec, tmp_path / "stopped")
    run(spec, tmp_path / "stopped")
    assert history(spec, tmp_path / "stopped") == history(spec, tmp_path / "straight")


def test_a_finished_sweep_trains_nothing(tmp_path: Path) -> None:
    spec = make_spec(budget=Budget(trials=3))
    run(spec, tmp_path)
    worker = FakeWorker()
    outcome = run(spec, tmp_path, worker)
    assert (worker.admitted, worker.baselines, len(outcome.results)) == ([], 0, 3)


def test_a_raised_budget_continues(tmp_path: Path) -> None:
    run(make_spec(budget=Budget(trials=3)), tmp_path / "a", FakeWorker(capacity=1))
    run(make_spec(budget=Budget(trials=6)), tmp_path / "a", FakeWorker(capacity=1))
    run(make_spec(budget=Budget(trials=6)), tmp_path / "b", FakeWorker(capacity=1))
    spec = make_spec(budget=Budget(trials=6))
    assert history(spec, tmp_path / "a") == history(spec, tmp_path / "b")


def test_without_its_checkpoints_what_ended_stays_and_the_rest_starts_anew(tmp_path: Path) -> None:
    spec = SPECS["tpe"]
    total = count_effects(spec, tmp_path / "straight")
    killed_at(total * 2 // 3, spec, tmp_path / "s")
    ended = {
        folder.parent.name for folder in (tmp_path / "s" / "s" / "trials").glob("*/result.json")
    }
    assert ended
    shutil.rmtree(tmp_path / "s" / "s" / "checkpoint")
    worker = FakeWorker()
    run(spec, tmp_path / "s", worker)
    assert not {f"{number:04d}" for number in worker.admitted} & ended
    assert len(history(spec, tmp_path / "s")) == 5


@pytest.mark.parametrize("part", ["slots.json", "state"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(part: str, tmp_path: Path) -> None:
    spec, root = SPECS["tpe"], tmp_path / "killed"
    killed_at(count_effects(spec, tmp_path / "straight") // 2, spec, root)
    newest = max(state for state in (root / "s" / "checkpoint").glob("*.json"))
    path = newest if part == "state" else newest.with_suffix("") / part
    path.write_bytes(path.read_bytes().replace(b"0", b"1", 1))
    said = Said()
    run(spec, root, observer=said)
    assert (
        f"checkpoint {newest.stem} is damaged: the sweep continues from the one before it"
        in said.text
    )
    assert history(spec, root) == history(spec, tmp_path / "straight")


def test_the_journal_of_a_killed_run_ends_where_that_of_a_straight_one_does(tmp_path: Path) -> None:
    spec = SPECS["tpe"]
    total = count_effects(spec, tmp_path / "straight")
    expected = sealed(tmp_path / "straight")
    for at in (total // 3, total - 40):
        killed_at(at, spec, tmp_path / f"{at}")
        run(spec, tmp_path / f"{at}")
        assert sealed(tmp_path / f"{at}") == expected


def sealed(root: Path) -> dict[str, str | None]:
    """What a journal says of every file, but for results, whose seconds are the clock's; and all of
    it holds.
    """
    folder = StudyFolder(root, "s")
    assert not folder.faults()
    return {
        file: digest
        for file, digest in folder.journal.chain().newest.items()
        if digest and "result" not in file
    }


class Said(NullObserver):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.text = ""

    def say(self, text: str) -> None:
        self.text += text
