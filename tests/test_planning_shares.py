"""Where packs compute, how many at the same time, and who divides the memory for frames."""

from __future__ import annotations

import sys

import pytest

from orchestrator.planning.shares import Share, share_of
from orchestrator.sweepfile.sweep import Execution

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
