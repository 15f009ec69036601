"""Dropout of a pack: what is dropped depends on the trial and its data, never on what is trained
beside it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import torch
from torch import Tensor


class DropoutPositions(threading.local):
    """Where what goes through the model now stands, (K, L) or (1, L) int64 each; every thread has
    its own.
    """

    row: Tensor
    """Of its trial's step."""
    frame: Tensor
    """Of its clip, or token of its text."""


@dataclass
class Dropout:
    """Dropout that depends on (seed, step, module, row, frame, feature) alone, so that packing
    cannot change it.
    """

    probability: Tensor
    """(K, 1, 1)."""
    seed: Tensor
    """(K, 1, 1) int64."""
    module: Tensor
    """(K, 1, 1) int64: which of its own trial's modules it is, in the order of their names."""
    step: Tensor
    """(K, 1, 1) int64, advanced by the training loop; shared by all modules of a pack."""
    places: DropoutPositions
    """Shared by all modules of a pack."""

    def __call__(self, x: Tensor) -> Tensor:
        """x (K, L, in) -> the same with entries zeroed and the rest scaled by 1 / (1 - p)."""
        spread = [0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F, 0x165667B1]
        row, frame = self.places.row[..., None], self.places.frame[..., None]
        feature = torch.arange(x.shape[-1], device=x.device)
        key = self.seed + self.step * spread[0] + self.module * spread[1]
        key = _mix_bits(key + row * spread[2] + frame * spread[3]) + feature * spread[4]
        uniform = (_mix_bits(key) & 0xFFFFFF).to(x.dtype) / 0x1000000
        return x * (uniform >= self.probability).to(x.dtype) / (1 - self.probability)


def _mix_bits(key: Tensor) -> Tensor:
    """The 64-bit finaliser of splitmix64 (Steele et al. 2014), on int64 with wrap-around."""
    for shift, factor in ((30, -4658895280553007687), (27, -7723592293110705685)):
        key = (key ^ ((key >> shift) & ((1 << (64 - shift)) - 1))) * factor
    return key ^ ((key >> 31) & ((1 << 33) - 1))
