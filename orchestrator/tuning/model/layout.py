"""Clips of different lengths without padding between them: laid end to end, slot after slot.

Everything in an encoder but attention treats each frame alone, so a third of its work on random
batches would be padding. Frames are kept as (slots, F, width), the clips of a slot one after the
other; only where a kernel needs rectangles are they padded to (rows, T, width).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class RaggedLayout:
    """Where each clip's frames stand; all index tensors are int64.

    `lengths` (rows,): frames of every clip, slot-major, equally many clips a slot. F is the most
    frames of any slot, rounded up to a multiple of `block`. `known`: the same lengths where the
    host has them, which spares it waiting for the device.
    """

    def __init__(
        self,
        lengths: Tensor,
        slots: int = 1,
        block: int = 1,
        known: Sequence[int] | None = None,
    ) -> None:
        self.lengths, self.slots, self.block = lengths, slots, block
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
        own = torch.searchsorted(ends, place.repeat(slots, 1), right=True)
        self.valid = own < clip_lengths.shape[1]
        """(slots, F): true where a frame stands."""
        self.clip = own.clamp_max(clip_lengths.shape[1] - 1)
        """(slots, F): which clip of its slot a frame belongs to."""
        # behind the last clip of a slot it would count on, as far as the longest slot goes, past
        # every table
        self.position = (place - self._first.gather(1, self.clip)).where(self.valid, 0)
        """(slots, F): which frame of its clip; 0 where none stands."""

    @property
    def row(self) -> Tensor:
        """(slots, F): which of all rows a frame belongs to."""
        return self.clip + self._per_slot(len(self.lengths) // self.slots)

    @cached_property
    def mask(self) -> Tensor:
        """(rows, 1, 1, T) boolean: the frames that exist once padded."""
        span = torch.arange(self.longest, device=self.lengths.device)
        return (span < self.lengths[:, None])[:, None, None]

    def repeated(self, slots: int) -> RaggedLayout:
        """The same clips once more for each of `slots` slots."""
        return RaggedLayout(self.lengths.repeat(slots), slots, self.block)

    def pad(self, values: Tensor) -> Tensor:
        """(slots, F, width) -> (rows, T, width); what lies beyond a clip's end is finite but
        meaningless.
        """
        valid = self.valid.flatten()[:, None]
        moved: Tensor = GatherRows.apply(
            values.flatten(0, 1), self._padded_index, self._flat_index, valid
        )  # type: ignore[no-untyped-call]
        return moved.view(len(self.lengths), self.longest, -1)

    def flatten(self, padded: Tensor) -> Tensor:
        """(rows, T, width) -> (slots, F, width), the inverse of `pad`; what stands in no clip is
        meaningless.
        """
        mask = self.mask.flatten()[:, None]
        moved: Tensor = GatherRows.apply(
            padded.flatten(0, 1), self._flat_index, self._padded_index, mask
        )  # type: ignore[no-untyped-call]
        return moved.view(self.slots, self.places, -1)

    @cached_property
    def _padded_index(self) -> Tensor:
        """For each place of (rows, T), the place of (slots, F) it is read from."""
        first = (self._first + self._per_slot(self.places)).flatten()
        span = torch.arange(self.longest, device=self.lengths.device)
        last = (self.lengths - 1).clamp_min(0)[:, None]
        return (first[:, None] + span.minimum(last)).flatten()

    @cached_property
    def _flat_index(self) -> Tensor:
        """For each place of (slots, F), the place of (rows, T) it is read from."""
        return (self.row * self.longest + self.position).flatten()

    def _per_slot(self, size: int) -> Tensor:
        return torch.arange(self.slots, device=self.lengths.device)[:, None] * size


def laid_out(flat: Tensor, lengths: Tensor, block: int) -> tuple[Tensor, RaggedLayout]:
    """Frames end to end (frames, width) of clips of `lengths`, as one slot (1, F, width), and their
    layout.
    """
    layout = RaggedLayout(lengths, 1, block)
    return F.pad(flat, (0, 0, 0, layout.places - len(flat)))[None], layout


class GatherRows(torch.autograd.Function):
    """Rows picked by an index whose real entries are picked back by `inverse`: both ways are plain
    copies, where the gradient of indexing would scatter and add."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, index: Tensor, inverse: Tensor, real: Tensor) -> Tensor:
        ctx.save_for_backward(inverse, real)
        return values.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        inverse, real = ctx.saved_tensors
        return gradients[0].index_select(0, inverse).where(real, 0.0), None, None, None
