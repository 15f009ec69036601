"""Measure the machine's ceiling for matrix products: the best rate over several sizes of large
square matrices, by the fastest kernel that torch has there.

    python benchmarks/_shared/gemm.py [DEVICE [TYPE]]     float32 or bfloat16

prints GFLOP/s.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import torch

SIZES = {"cpu": (512, 1024, 2048), "cuda": (4096, 8192)}
SECONDS = 1.5
"""How long each size is measured with each kernel."""


def kernels(device: str) -> list[Callable[[torch.Tensor, torch.Tensor], object]]:
    """Return functions that multiply two square matrices: torch.mm, and on a CPU also oneDNN's
    product, which AMD's processors need to be fast.
    """
    found: list[Callable[[torch.Tensor, torch.Tensor], object]] = [torch.mm]
    onednn = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if device == "cpu" and onednn is not None and torch.backends.mkldnn.is_available():
        found.append(lambda a, b: onednn(a, b, None, "none", [], ""))
    return found


def ceiling(device: str, kind: torch.dtype) -> float:
    """Return the best rate in GFLOP/s, at 2 n^3 operations per product; float32 is computed in
    torch's default precision.
    """
    best = 0.0
    for size in SIZES[device]:
        a, b = (torch.randn(size, size, device=device, dtype=kind) for _ in range(2))
        for multiply in kernels(device):
            multiply(a, b)
            until = time.perf_counter() + SECONDS
            while time.perf_counter() < until:
                began = time.perf_counter()
                multiply(a, b)
                if device == "cuda":
                    torch.cuda.synchronize()
                best = max(best, 2 * size**3 / (time.perf_counter() - began) / 1e9)
    return best


if __name__ == "__main__":
    named = sys.argv[1] if len(sys.argv) > 1 else "cpu"
    print(ceiling(named, getattr(torch, sys.argv[2] if len(sys.argv) > 2 else "float32")))
