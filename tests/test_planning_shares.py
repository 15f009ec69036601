"""How many packs a sweep has, on which cores each computes, and how they divide the memory for
cached frames.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from orchestrator.host.machine import Machine
from orchestrator.planning.shares import (
    Share,
    cores_of_all,
    decided,
    foreseen,
    share_of,
    slots_of_each,
)
from orchestrator.sweepfile.execution import Execution
from orchestrator.sweepfile.search_space import Dimension
from orchestrator.sweepfile.sweep import Budget, SweepSpec
from tests.running_support import make_spec

TWO_GPUS = {"devices": ("cuda:0", "cuda:1"), "cores": 2}


@pytest.mark.parametrize(
    ("execution", "device", "cores", "share"),
    [
        ({}, "cpu", 8, Share("fork", 1, 1, 1)),
        ({"packs": "auto"}, "cuda", 8, Share("inline", 1, 1, 1)),
        ({"packs": 4, "cores": 2}, "cpu", 8, Share("fork", 4, 1, 1)),
        ({"packs": 4, "cores": 2}, "cpu", 5, Share("fork", 2, 1, 1)),
        ({"packs": 4, "cores": 2}, "cpu", 1, Share("inline", 1, 1, 1)),
        ({"packs": 2, "cores": 1, "processes": True}, "cpu", 1, Share("fork", 1, 1, 1)),
        ({"packs": 4, "cores": 2, "processes": False}, "cpu", 8, Share("inline", 1, 1, 1)),
        ({"packs": 2, "cores": 4}, "mps", 8, Share("inline", 1, 1, 1)),
        ({"packs": 2, "cores": 4}, "cuda", 8, Share("inline", 1, 1, 1)),
        ({"packs": 2, "cores": 4, "processes": True}, "cuda", 8, Share("spawn", 1, 3, 3)),
        ({"packs": 4} | TWO_GPUS, "cuda", 8, Share("spawn", 2, 5, 3)),
        ({"packs": 5} | TWO_GPUS, "cuda", 8, Share("spawn", 2, 6, 4)),
        (
            {"packs": 4, "devices": ("cuda:0", "cuda:0", "cuda:0", "cuda:1")},
            "cuda",
            8,
            Share("spawn", 2, 5, 4),
        ),
        ({"packs": 4, "processes": False} | TWO_GPUS, "cuda", 8, Share("inline", 1, 1, 1)),
        ({"packs": 4, "cores": 3, "launcher": "ray"}, "cpu", 8, Share("ray", 4, 2, 1)),
    ],
)
def test_a_share(
    execution: dict[str, object], device: str, cores: int, share: Share,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(sys, "platform", "linux")
    assert share_of(Execution.model_validate(execution), device, cores) == share


def test_packs_are_forked_under_linux_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert share_of(Execution(packs=2, cores=1), "cpu", 8).where == "inline"


def sweep(trials: int = 24, method: str = "tpe", **execution: object) -> SweepSpec:
    """Of so many trials, with this execution."""
    return make_spec(
        budget=Budget(trials=trials), method=method, execution=Execution.model_validate(execution)
    )


def machine(cores: int = 8, memory: float = 64e9, gpu: bool = False) -> Machine:
    """One with so many cores and bytes."""
    return Machine(cores, int(memory), gpu)


@pytest.mark.parametrize(
    ("said", "on", "packs", "cores", "slots"),
    [
        # one a core, with four trials at once if there are fewer cores
        (sweep(), machine(1), 1, "auto", 4),
        (sweep(), machine(2), 2, 1, 2),
        (sweep(), machine(4), 4, 1, 1),
        (sweep(), machine(8), 8, 1, 1),
        # a search that learns trains no more than a third of its trials at once
        (sweep(), machine(32), 8, 4, 1),
        (sweep(method="random"), machine(32, 2e11), 16, 2, 1),
        (sweep(8), machine(8), 4, 2, 1),
        (sweep(2), machine(8), 2, 4, 1),
        (sweep(1000), machine(200, 1e12), 64, 3, 1),
        # no core is left over where a few packs fewer leave none
        (sweep(16), machine(8), 4, 2, 1),
        (sweep(), machine(12), 6, 2, 1),
        (sweep(), machine(3), 3, 1, 1),
        # as many as the memory is likely to hold
        (sweep(), machine(8, 16e9), 4, 2, 2),
        (sweep(), machine(2, 7e9), 1, "auto", 4),
        # what is written stays
        (sweep(packs=1), machine(8), 1, "auto", 4),
        (sweep(pack=4), machine(8), 1, "auto", 4),
        (sweep(cores=2), machine(8), 1, 2, 4),
        (sweep(packs=2), machine(8), 2, 4, 4),
        (sweep(packs=4), machine(2), 4, 1, 1),
        (sweep(packs=2, cores=1, pack=3), machine(8), 2, 1, 3),
        (sweep(192, packs=2, cores=1), machine(64), 2, 1, 2),
        (sweep(packs=4, cores=4, launcher="ray", device="cpu"), machine(2), 4, 4, 2),
        (sweep(processes=False), machine(8), 1, "auto", 4),
        # where a GPU may be, it is asked for by its name or measured
        (sweep(device="cpu"), machine(8), 8, 1, 1),
        (sweep(device="cpu"), machine(8, gpu=True), 1, "auto", "auto"),
        (sweep(), machine(8, gpu=True), 1, "auto", "auto"),
        (sweep(device="cuda"), machine(8), 1, "auto", "auto"),
        (sweep(devices=("cuda:0", "cuda:1", "cuda:2")), machine(8, gpu=True), 3, 2, "auto"),
        (sweep(devices=("cuda:0", "cuda:1")), machine(8), 2, 4, "auto"),
        (sweep(devices=("cuda:0", "cuda:0")), machine(8, gpu=True), 1, "auto", "auto"),
        # one that is named twice has two packs, and no other is left out
        (sweep(devices=("cuda:0", "cuda:0", "cuda:1")), machine(9, gpu=True), 3, 3, "auto"),
    ],
)
def test_packs_and_cores_are_decided_from_the_file_and_the_machine(
    said: SweepSpec,
    on: Machine,
    packs: int,
    cores: int | str,
    slots: int | str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    made = decided(said, on)
    assert (made.packs, made.cores) == (packs, cores)
    assert foreseen(said, on) == made.model_copy(update={"pack": slots})
    if slots != "auto" and made.pack == "auto":
        assert slots_of_each(said.model_copy(update={"execution": made}), on.cores) == slots


def test_where_packs_cannot_be_forked_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    made = decided(sweep(), machine(8))
    assert (made.packs, made.cores) == (1, "auto")
    assert foreseen(sweep(), machine(8)).pack == "auto"


@pytest.mark.parametrize(
    ("execution", "cores", "of_all"),
    [
        ({"packs": 2, "cores": 1}, 8, 2),
        ({"packs": 4, "cores": 2}, 8, 8),
        ({"packs": 4, "cores": 1}, 2, 2),
        ({"packs": 1, "cores": 3}, 8, 3),
        ({"packs": 1}, 8, 8),
        ({"packs": 2, "cores": 1, "processes": False}, 8, 2),
        ({"packs": 4, "cores": 3, "launcher": "ray"}, 8, 3),
    ],
)
def test_what_packs_are_made_of_has_the_cores_of_all(
    execution: dict[str, object], cores: int, of_all: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert cores_of_all(Execution.model_validate(execution), cores) == of_all


def test_the_table_of_the_docs_is_what_is_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    text = (Path(__file__).parent.parent / "docs" / "scaling.md").read_text()
    rows = text.partition("| cores | trials | packs |")[2].partition("\n\n")[0].splitlines()[2:]
    assert len(rows) >= 6
    for row in rows:
        cores, trials, packs, slots, each = (int(cell) for cell in row.strip("| ").split("|"))
        on = machine(cores)
        made = foreseen(sweep(trials), on)
        all_cores = cores if made.cores == "auto" else made.cores
        assert (made.packs, made.pack, all_cores) == (packs, slots, each)


def test_a_space_of_few_points_needs_few_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    few = make_spec(
        searched=(Dimension(name="rank", choices=(4, 8, 16)),),
        method="grid",
        budget=Budget(trials=100),
    )
    made = decided(few, machine(32))
    assert (made.packs, made.cores) == (3, 10)
