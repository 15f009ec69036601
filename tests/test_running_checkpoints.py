"""Checkpoints of several packs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.fleet.fleet import Fleet
from orchestrator.fleet.hosts import InlineHosts
from orchestrator.records.worker_protocol import Measured
from orchestrator.running.checkpoints import Checkpoint, Checkpoints, InSlot
from tests.fake_worker import FakeWorker
from tests.fleet_support import next_plan

SLOTS = {number: InSlot(last_rung=0, seconds=0.0) for number in range(2)}
PLANS = {number: next_plan(number, []) for number in SLOTS}


def no_links(*_: object) -> None:
    raise PermissionError("as on FAT")


@pytest.mark.parametrize("linked", [True, False])
def test_what_was_damaged_since_it_was_saved_is_damaged_in_the_next_checkpoint_too(
    linked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That one takes over what a pack had saved shortly before: one file in both, or a copy."""
    if not linked:
        monkeypatch.setattr(os, "link", no_links)
    now = 0.0
    fleet = Fleet(InlineHosts(FakeWorker(1)), 2, 1, save_every=60.0, clock=lambda: now)
    checkpoints = Checkpoints(tmp_path)
    for plan in PLANS.values():
        fleet.admit(plan)
    now = 100.0
    checkpoints.write(Checkpoint(tick=1, slots=SLOTS), fleet)
    saved = tmp_path / "000001" / "pack-1" / "slots.json"
    whole = saved.read_bytes()
    saved.write_bytes(whole.replace(b"0", b"7"))
    now = 110.0
    checkpoints.write(Checkpoint(tick=2, slots=SLOTS), fleet)
    assert (tmp_path / "000002" / "pack-1" / "slots.json").samefile(saved) is linked
    assert checkpoints.damaged() == ("000002", "000001")
    saved.write_bytes(whole)
    assert checkpoints.damaged() == (() if linked else ("000002",))


def test_a_checkpoint_that_takes_the_place_of_a_damaged_one_is_whole(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    fleet = Fleet(InlineHosts(FakeWorker(1)), 2, 1, save_every=0.0)
    for plan in PLANS.values():
        fleet.admit(plan)
    checkpoints.write(Checkpoint(tick=1, slots=SLOTS), fleet)
    while not any(isinstance(event, Measured) for event in fleet.advance()):
        pass
    checkpoints.write(Checkpoint(tick=2, slots=SLOTS), fleet)
    (tmp_path / "000002" / "pack-0" / "slots.json").write_bytes(b"damaged")
    assert checkpoints.damaged() == ("000002",)
    again = Fleet(InlineHosts(FakeWorker(1)), 2, 1, save_every=1e9)
    again.restore(tmp_path / "000001", PLANS)
    checkpoints.write(Checkpoint(tick=2, slots=SLOTS), again)
    assert checkpoints.damaged() == ()
