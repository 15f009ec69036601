"""What is looked at while a sweep writes it is neither lost nor damaged."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from orchestrator.records.disk_usage import size_of
from orchestrator.records.store import StudyFolder
from orchestrator.running import checkpoints
from orchestrator.running.checkpoints import Checkpoint, Checkpoints, InSlot
from tests.cli_project import folder_of, orchestrate, ran_project
from tests.fake_worker import FakeWorker, Slot
from tests.fleet_support import next_plan


@pytest.fixture(name="root")
def _root(tmp_path: Path) -> Path:
    """The folder of two checkpoints with a trial in a slot."""
    root, worker = tmp_path / "checkpoint", FakeWorker()
    worker.slots[0] = Slot(next_plan(0, []))
    for tick in (6, 7):
        state = Checkpoint(tick=tick, slots={0: InSlot(last_rung=0, seconds=0.0)})
        Checkpoints(root).write(state, worker)
    return root


@pytest.mark.parametrize("listed", [False, True])
def test_a_checkpoint_that_a_sweep_removes_while_it_is_read_is_not_damaged(
    root: Path, listed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its files are listed, or between that and their reading."""
    digests = checkpoints._slot_digests
    assert Checkpoints(root).damaged() == ()

    def removing(slots: Path) -> dict[str, str]:
        if slots.name == "000006":
            (root / "000006.json").unlink()
            shutil.rmtree(slots)
            if listed:
                raise FileNotFoundError(slots / "slots.json")
        return digests(slots)

    monkeypatch.setattr(checkpoints, "_slot_digests", removing)
    assert Checkpoints(root).damaged() == ()
    assert [path.stem for path in root.glob("*.json")] == ["000007"]


def test_checkpoints_that_a_sweep_has_replaced_meanwhile_are_not_damaged(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states, left = Checkpoints._state_files, [True]

    def listed_before(self: Checkpoints) -> list[Path]:
        found = states(self)
        if left:
            left.clear()
            for tick in (8, 9):
                self.write(Checkpoint(tick=tick), FakeWorker())
        return found

    monkeypatch.setattr(Checkpoints, "_state_files", listed_before)
    found = Checkpoints(root).latest()
    assert found is not None and found.tick == 9


def test_an_adapter_that_a_sweep_removes_while_a_study_is_checked_is_not_strange(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ran_project(tmp_path)
    folder, names = folder_of(spec), StudyFolder.names_in_trials

    def listed_before(self: StudyFolder) -> list[str]:
        return [*names(self), "trials/0000/final/adapter_config.json"]

    monkeypatch.setattr(StudyFolder, "names_in_trials", listed_before)
    assert folder.faults() == {}
    assert orchestrate("repair", spec, "--check") == 0


def test_a_file_that_goes_while_it_is_counted_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stays").write_bytes(b"12345")
    (tmp_path / "goes").write_bytes(b"123")
    lstat = Path.lstat

    def removing(path: Path) -> os.stat_result:
        if path.name == "goes":
            path.unlink()
        return lstat(path)

    monkeypatch.setattr(Path, "lstat", removing)
    assert size_of(tmp_path) == 5
