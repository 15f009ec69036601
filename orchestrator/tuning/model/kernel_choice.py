"""`execution.kernel`: which of torch's matrix kernels computes a model's linear layers, timed where
nobody says.

Timed on the layers' own shapes, in one thread, as a core computes its part of a step. What counts is
processor time, so a machine that is busy with other things chooses as an idle one does.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Literal

import torch
from torch import nn

from orchestrator.sweepfile.sweep import KernelName
from orchestrator.tuning.model.linear_kernels import (
    ATEN,
    ONEDNN,
    FrozenLinear,
    Products,
    lacks_onednn,
    products_of,
)

WORTH = 1.15
"""Another kernel must be so many times faster than torch's own, or small differences would change
the choice from run to run."""
ROWS = 256
"""Of each product that is timed."""
ROUNDS = 8
"""Of which the fastest counts."""
SECONDS = 0.2
"""No further round begins after so long."""
LARGEST = 1 << 20
"""Entries of a weight; the output head of a real model would take longer than all the rest."""

KINDS: tuple[Products, ...] = (ATEN, ONEDNN)
Shapes = tuple[tuple[tuple[int, int], int], ...]
"""((out, in), how many such layers)."""


def chosen_products(
    asked: KernelName | Literal["auto"], model: nn.Module, device: torch.device, dtype: torch.dtype
) -> tuple[Products, str]:
    """The products for a model, and why where they were timed; `dtype` is what the sweep computes
    in. Raises ModelError where the kernel that is asked for is not offered.
    """
    if asked != "auto":
        return products_of(asked, device, dtype), ""
    if lacks_onednn(device, dtype):
        return ATEN, ""
    seconds = time_kernels(shapes_of(model))
    kernel = fastest(seconds)
    rows = ", ".join(f"{name} {1000 * spent:.1f} ms" for name, spent in seconds.items())
    return products_of(kernel, device, dtype), (
        f"matrix kernel {kernel}; products of the model's linear layers took {rows}"
    )


def fastest(seconds: Mapping[KernelName, float]) -> KernelName:
    """The fastest kernel that beats torch's own by WORTH, else torch's own."""
    best = min(seconds, key=lambda name: seconds[name])
    return best if seconds["aten"] > WORTH * seconds[best] else "aten"


def shapes_of(model: nn.Module) -> Shapes:
    """The shapes of a model's linear layers that are timed."""
    layers: Iterable[nn.Module] = model.modules()
    weights = [layer.weight for layer in layers if isinstance(layer, nn.Linear | FrozenLinear)]
    counted = Counter(
        (weight.shape[0], weight.shape[1]) for weight in weights if weight.numel() <= LARGEST
    )
    return tuple(sorted(counted.items()))


@lru_cache
def time_kernels(shapes: Shapes) -> dict[KernelName, float]:
    """Seconds that each kernel takes for all layers once forward and once backward."""
    # in a thread of its own: how many threads torch uses is set for the thread that sets it
    with ThreadPoolExecutor(1) as alone:
        return alone.submit(_time_each_kernel, shapes).result()


def _time_each_kernel(shapes: Shapes) -> dict[KernelName, float]:
    torch.set_num_threads(1)
    layers = [_Layer(shape, count) for shape, count in shapes]
    best = {kind.name: [math.inf] * len(layers) for kind in KINDS}
    began = time.perf_counter()
    for turn in range(ROUNDS):
        # by turns, so that what slows the machine for a moment slows each of them
        for at, layer in enumerate(layers):
            for kind in KINDS:
                best[kind.name][at] = min(best[kind.name][at], layer.seconds(kind))
        if turn and time.perf_counter() - began > SECONDS:
            break
    return {
        name: sum(layer.count * spent for layer, spent in zip(layers, row, strict=True))
        for name, row in best.items()
    }


class _Layer:
    """So many linear layers of one shape (out, in), with something to multiply."""

    def __init__(self, shape: tuple[int, int], count: int) -> None:
        self.count, (out, width) = count, shape
        self.x, self.weight, self.dy = (
            torch.randn(ROWS, width),
            torch.randn(out, width),
            torch.randn(ROWS, out),
        )

    def seconds(self, kind: Products) -> float:
        """Processor seconds of this thread for one of them, forward and backward."""
        began = time.thread_time()
        kind.linear(self.x, self.weight)
        kind.linear(self.dy, self.weight.mT)
        return time.thread_time() - began
