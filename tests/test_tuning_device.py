"""Which device computes, what it has, and how float32 is computed there. No GPU is needed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from orchestrator.errors import ModelError
from orchestrator.host.machine import machine_memory
from orchestrator.planning.shares import share_of
from orchestrator.sweepfile.execution import Execution
from orchestrator.tuning.model.device import choose_device, memory_of
from orchestrator.tuning.prepared_sweep import frames_budget

GB = 10**9


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What torch says where there are two; the numbers that were made the current one."""
    current: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setattr(
        torch.cuda,
        "get_device_properties",
        lambda device: SimpleNamespace(total_memory=(8 + 8 * (device.index or 0)) * GB),
    )
    return current


def test_a_gpu_that_is_not_there_is_refused_by_the_field_that_names_it(
    two_gpus: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError) as refused:
        choose_device("cuda:2", "execution.devices")
    assert str(refused.value) == (
        "execution.devices: cuda:2 is not available here; allowed: auto, cuda:0, cuda:1"
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match=r"--device: cuda is not available here; allowed: auto, "):
        choose_device("cuda", "--device")


@pytest.fixture
def rounding() -> Iterator[None]:
    """TensorFloat-32 wherever torch has it, for the time of a test."""
    places: tuple[Any, ...] = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [place.allow_tf32 for place in places]
    for place in places:
        place.allow_tf32 = True
    yield
    for place, value in zip(places, before, strict=True):
        place.allow_tf32 = value


def test_float32_is_float32_on_a_gpu(two_gpus: list[int], rounding: None) -> None:
    choose_device("cpu")
    assert torch.backends.cudnn.allow_tf32 and torch.backends.cuda.matmul.allow_tf32
    assert choose_device("cuda:1")[0] == torch.device("cuda:1") and two_gpus == [1]
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


def test_the_memory_for_frames_is_the_devices_own(
    two_gpus: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert memory_of(torch.device("cuda:1")) == 16 * GB
    assert memory_of(torch.device("cpu")) == machine_memory()
    one, several = Execution(), Execution(packs=4, cores=1, devices=("cuda:0", "cuda:1"))
    asked = several.model_copy(update={"memory_gb": 5.0})
    for execution, device, total, budget in (
        (one, "cuda", 16 * GB, 4 * GB),
        (one, "cpu", 8 * GB, GB),
        (one, "cpu", 512 * GB, 1_500_000_000),
        # two packs on each GPU, and on one of them the process that started them
        (several, "cuda", 24 * GB, 2 * GB),
        (asked, "cuda", 24 * GB, GB),
    ):
        share = share_of(execution, device, 8)
        assert frames_budget(execution, device, total, share) == budget
