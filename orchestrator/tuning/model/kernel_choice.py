"""The choice of `execution.kernel`: which of torch's matrix kernels computes a model's linear
layers.

With `auto` the kernels are timed, on the shapes of the model's own layers and in one thread,
because each core computes its part of a training step by itself. Processor time is measured and not
elapsed time, so a machine that is busy with other things chooses as an idle one does.
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

from orchestrator.sweepfile.execution import KernelName
from orchestrator.tuning.model.linear_kernels import (
    ATEN,
    ONEDNN,
    FrozenLinear,
    Products,
    lacks_onednn,
    products_of,
)

WORTH = 1.15
"""How many times faster than torch's own another kernel must be to be chosen; with a smaller margin
noise would change the choice from run to run."""
ROWS = 256
"""Rows of the input of each product that is timed."""
ROUNDS = 8
"""Rounds of timing at most; for each layer and kernel the fastest counts."""
SECONDS = 0.2
"""No further round begins after so long, once there were two."""
LARGEST = 1 << 20
"""Entries of the largest weight that is timed; the output head of a real model would take longer
than all other layers together."""

KINDS: tuple[Products, ...] = (ATEN, ONEDNN)
Shapes = tuple[tuple[tuple[int, int], int], ...]
"""Pairs of a weight's shape (out, in) and the number of layers that have it."""


def chosen_products(
    asked: KernelName | Literal["auto"], model: nn.Module, device: torch.device, dtype: torch.dtype
) -> tuple[Products, str]:
    """Return the products that a model's linear layers use, and a sentence with the timings where
    they were chosen by time, else the empty string.

    `dtype` is the type that the sweep computes in. Raises ModelError where the kernel that is asked
    for is not offered.
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
    """Return the fastest kernel if it beats torch's own by the factor WORTH, else torch's own."""
    best = min(seconds, key=lambda name: seconds[name])
    return best if seconds["aten"] > WORTH * seconds[best] else "aten"


def shapes_of(model: nn.Module) -> Shapes:
    """Return the shapes of a model's linear layers, without those larger than LARGEST."""
    layers: Iterable[nn.Module] = model.modules()
    weights = [layer.weight for layer in layers if isinstance(layer, nn.Linear | FrozenLinear)]
    counted = Counter(
        (weight.shape[0], weight.shape[1]) for weight in weights if weight.numel() <= LARGEST
    )
    return tuple(sorted(counted.items()))


@lru_cache
def time_kernels(shapes: Shapes) -> dict[KernelName, float]:
    """Return the processor seconds of each kernel for all layers, one pass forward and backward."""
    # torch.set_num_threads is per thread: in a thread of its own it leaves the caller's as it is
    with ThreadPoolExecutor(1) as alone:
        return alone.submit(_time_each_kernel, shapes).result()


def _time_each_kernel(shapes: Shapes) -> dict[KernelName, float]:
    """Time all kernels in the calling thread, see `time_kernels`."""
    torch.set_num_threads(1)
    layers = [_Layer(shape, count) for shape, count in shapes]
    best = {kind.name: [math.inf] * len(layers) for kind in KINDS}
    began = time.perf_counter()
    for turn in range(ROUNDS):
        # kernels take turns, so that what slows the machine for a moment slows each of them
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
    """`count` linear layers of one shape (out, in), with random operands to time one of them."""

    def __init__(self, shape: tuple[int, int], count: int) -> None:
        self.count, (out, width) = count, shape
        self.x, self.weight, self.dy = (
            torch.randn(ROWS, width),
            torch.randn(out, width),
            torch.randn(ROWS, out),
        )

    def seconds(self, kind: Products) -> float:
        """Return the processor seconds of this thread for one layer, forward and backward."""
        began = time.thread_time()
        kind.linear(self.x, self.weight)
        kind.linear(self.dy, self.weight.mT)
        return time.thread_time() - began
