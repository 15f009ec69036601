"""The machine's ceiling for float32 matrix products: the best rate of several large square ones.

    python benchmarks/_shared/gemm.py [DEVICE]

prints GFLOP/s.
"""

from __future__ import annotations

import sys
import time

import torch

SIZES = {"cpu": (512, 1024, 2048), "cuda": (4096, 8192)}
SECONDS = 1.5
"""Spent on each size."""


def ceiling(device: str) -> float:
    """GFLOP/s, 2 n^3 operations a product, in torch's default precision for float32."""
    best = 0.0
    for size in SIZES[device]:
        a, b = (torch.randn(size, size, device=device) for _ in range(2))
        out = a @ b
        until = time.perf_counter() + SECONDS
        while time.perf_counter() < until:
            began = time.perf_counter()
            torch.mm(a, b, out=out)
            if device == "cuda":
                torch.cuda.synchronize()
            best = max(best, 2 * size**3 / (time.perf_counter() - began) / 1e9)
    return best


if __name__ == "__main__":
    print(ceiling(sys.argv[1] if len(sys.argv) > 1 else "cpu"))
