"""Clips (or texts) of different lengths laid end to end, without padding between them.

Everything in an encoder but attention treats each frame alone, and a third of its work on random
batches would be padding. So frames are kept as (slots, F, width), the clips of a slot one after the
other. Only where a kernel needs rectangles are they padded to (rows, T, width), one row per clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class RaggedLayout:
    """Where each clip's frames stand in (slots, F) and in (rows, T); all index tensors are int64.

    `lengths` (rows,) are the frames of every clip, slot-major, with equally many clips in each
    slot. F (`places`) is the most frames of any slot, rounded up to a multiple of `block`; T
    (`longest`) is the longest clip. `known` are the same lengths as Python numbers, where the
    caller has them.
    """

    def __init__(
        self,
        lengths: Tensor,
        slots: int = 1,
        block: int = 1,
        known: Sequence[int] | None = None,
    ) -> None:
        self.lengths, self.slots, self.block = lengths, slots, block
        # (rows,) -> (slots, clips of a slot); where each clip begins and ends in its slot
        clip_lengths = lengths.view(slots, -1)
        ends = clip_lengths.cumsum(1)
        self._first = ends - clip_lengths
        if known is None:
            both = torch.stack((lengths.max(), ends[:, -1].max())).tolist()
            longest, most = map(int, both)
        else:
            a_slot = len(known) // slots
            longest = max(known)
            most = max(sum(known[slot * a_slot : (slot + 1) * a_slot]) for slot in range(slots))
        self.places = most + -most % block
        self.longest = longest
        place = torch.arange(self.places, device=lengths.device)
        # (slots, F): the first clip that ends behind a place; beyond the last clip, their number
        own = torch.searchsorted(ends, place.repeat(slots, 1), right=True)
        self.valid = own < clip_lengths.shape[1]
        """(slots, F) boolean: true at the places that hold a frame of a clip."""
        self.clip = own.clamp_max(clip_lengths.shape[1] - 1)
        """(slots, F): the clip that a frame belongs to, counted within its slot."""
        # 0 beyond a slot's last clip: the difference would go on rising there, as far as the
        # longest slot reaches, and would index past the end of position tables
        self.position = (place - self._first.gather(1, self.clip)).where(self.valid, 0)
        """(slots, F): the index of a frame in its clip; 0 at places without a frame."""

    @property
    def row(self) -> Tensor:
        """(slots, F): the clip that a frame belongs to, counted over all slots."""
        return self.clip + self._per_slot(len(self.lengths) // self.slots)

    @cached_property
    def mask(self) -> Tensor:
        """(rows, 1, 1, T) boolean: true at the frames of padded rows that exist."""
        span = torch.arange(self.longest, device=self.lengths.device)
        return (span < self.lengths[:, None])[:, None, None]

    def repeated(self, slots: int) -> RaggedLayout:
        """Return the layout in which each of `slots` slots holds all of these clips."""
        return RaggedLayout(self.lengths.repeat(slots), slots, self.block)

    def pad(self, values: Tensor) -> Tensor:
        """(slots, F, width) -> (rows, T, width). Beyond a clip's end stand copies of its last
        frame: finite, but meaningless.
        """
        valid = self.valid.flatten()[:, None]
        moved: Tensor = GatherRows.apply(
            values.flatten(0, 1), self._padded_index, self._flat_index, valid
        )  # type: ignore[no-untyped-call]
        return moved.view(len(self.lengths), self.longest, -1)

    def flatten(self, padded: Tensor) -> Tensor:
        """(rows, T, width) -> (slots, F, width), the inverse of `pad`. Places without a frame hold
        meaningless values.
        """
        mask = self.mask.flatten()[:, None]
        moved: Tensor = GatherRows.apply(
            padded.flatten(0, 1), self._flat_index, self._padded_index, mask
        )  # type: ignore[no-untyped-call]
        return moved.view(self.slots, self.places, -1)

    @cached_property
    def _padded_index(self) -> Tensor:
        """(rows * T,): for each place of the padded form, the place in (slots * F) to copy."""
        first = (self._first + self._per_slot(self.places)).flatten()
        span = torch.arange(self.longest, device=self.lengths.device)
        last = (self.lengths - 1).clamp_min(0)[:, None]
        return (first[:, None] + span.minimum(last)).flatten()

    @cached_property
    def _flat_index(self) -> Tensor:
        """(slots * F,): for each place of the flat form, the place in (rows * T) to copy."""
        return (self.row * self.longest + self.position).flatten()

    def _per_slot(self, size: int) -> Tensor:
        """(slots, 1): where each slot begins if every slot takes `size` entries."""
        return torch.arange(self.slots, device=self.lengths.device)[:, None] * size


def laid_out(flat: Tensor, lengths: Tensor, block: int) -> tuple[Tensor, RaggedLayout]:
    """Return the frames (frames, width) of clips of these `lengths`, end to end, as one slot
    (1, F, width), and their layout.
    """
    layout = RaggedLayout(lengths, 1, block)
    return F.pad(flat, (0, 0, 0, layout.places - len(flat)))[None], layout


class GatherRows(torch.autograd.Function):
    """values (n, width), index (m,) -> values[index] (m, width), where `inverse` (n,) is the index
    that leads back, and `real` (n, 1) is true where a row of `values` is used.

    The backward pass is then a plain copy like the forward pass, where the gradient of ordinary
    indexing would scatter and add.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, index: Tensor, inverse: Tensor, real: Tensor) -> Tensor:
        ctx.save_for_backward(inverse, real)
        return values.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        inverse, real = ctx.saved_tensors
        return gradients[0].index_select(0, inverse).where(real, 0.0), None, None, None
