"""Dropout in a pack: what is dropped depends on the trial and its data, never on the trials that
share the pack.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import torch
from torch import Tensor


class DropoutPositions(threading.local):
    """The place of each of the L positions that go through the model now, as int64 tensors (K, L).
    Each thread has its own, for it computes its own micro-batch.
    """

    row: Tensor
    """Which row (utterance) of its trial's optimizer step a position belongs to."""
    frame: Tensor
    """The index of the frame in its clip, or of the token in its text."""


@dataclass
class Dropout:
    """Counter-based dropout of one module: whether an entry is dropped is a hash of (seed, step,
    module, row, frame, feature) alone, so that packing cannot change it.

    A generator's stream would not do: what a trial draws from it depends on what was drawn before.
    """

    probability: Tensor
    """(K, 1, 1): the share of entries that each trial drops."""
    seed: Tensor
    """(K, 1, 1) int64: each trial's seed."""
    module: Tensor
    """(K, 1, 1) int64: the index of this module among its trial's own, in order of their names."""
    step: Tensor
    """(K, 1, 1) int64: each trial's optimizer step, set by the training loop; one tensor that all
    modules of a pack share.
    """
    places: DropoutPositions
    """Row and frame of every position, shared by all modules of a pack."""

    def __call__(self, x: Tensor) -> Tensor:
        """x (K, L, in) -> the same with entries zeroed and the rest scaled by 1 / (1 - p)."""
        # odd constants that spread the coordinates over the key; (K, L, 1) + (in,) -> (K, L, in)
        spread = [0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F, 0x165667B1]
        row, frame = self.places.row[..., None], self.places.frame[..., None]
        feature = torch.arange(x.shape[-1], device=x.device)
        key = self.seed + self.step * spread[0] + self.module * spread[1]
        key = _mix_bits(key + row * spread[2] + frame * spread[3]) + feature * spread[4]
        # uniform in [0, 1), of 24 bits: as many as float32 holds exactly. Under autocast x may be
        # bfloat16, which holds eight: then other entries would be dropped, and another share
        uniform = (_mix_bits(key) & 0xFFFFFF).to(self.probability.dtype) / 0x1000000
        return x * (uniform >= self.probability).to(x.dtype) / (1 - self.probability)


def _mix_bits(key: Tensor) -> Tensor:
    """The 64-bit finaliser of splitmix64 (Steele et al. 2014), on int64 with wrap-around."""
    # the mask makes the shift a logical one: torch shifts int64 with its sign
    for shift, factor in ((30, -4658895280553007687), (27, -7723592293110705685)):
        key = (key ^ ((key >> shift) & ((1 << (64 - shift)) - 1))) * factor
    return key ^ ((key >> 31) & ((1 << 33) - 1))
