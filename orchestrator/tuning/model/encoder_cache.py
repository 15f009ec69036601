"""The cache of encoder frames below the lowest adapted layer, computed once per clip and sweep.

Everything below the lowest encoder layer that a trial adapts is frozen, so it is the same at every
step, and for every trial that adapts no lower layer. That layer's number is the entry depth: frames
at depth d are the input of encoder layer d, that is the front end's output for depth 0, and the
encoder's output where d is the number of layers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor

from orchestrator.corpus.cache.clips import lengths_of
from orchestrator.corpus.samples import SAMPLE_RATE
from orchestrator.progress import Counter
from orchestrator.tuning.model.core_threads import cores
from orchestrator.tuning.model.families import Family
from orchestrator.tuning.model.layout import RaggedLayout, laid_out
from orchestrator.tuning.trial_faults import is_out_of_memory

BATCH_SECONDS = 120.0
"""Seconds of audio in one front-end batch; it limits memory only, frames do not depend on it."""


@dataclass(frozen=True)
class Frames:
    """The frames of n clips at one depth, end to end in one tensor, in any order of the clips."""

    flat: Tensor
    """(frames, width)."""
    start: Tensor
    """(n,) int64: the first frame of each clip in `flat`."""
    length: Tensor
    """(n,) int64: the number of frames of each clip."""

    @classmethod
    def of(cls, parts: Sequence[Tensor]) -> Frames:
        """Join the frames (frames, width) of single clips."""
        length = torch.tensor([len(part) for part in parts], device=parts[0].device)
        return cls(torch.cat(list(parts)), length.cumsum(0) - length, length)

    def laid_out(self, clips: Tensor, slots: int, block: int) -> tuple[Tensor, RaggedLayout]:
        """Return a copy (slots, F, width) of the frames of `clips` (rows,) int64, slot-major, with
        zeros at places without a frame, and their layout.
        """
        layout = RaggedLayout(self.length[clips], slots, block)
        # (rows,) -> (slots, F): the place in `flat` of every frame
        index = (self.start[clips][layout.row] + layout.position).where(layout.valid, 0)
        return self.flat[index].masked_fill_(~layout.valid[..., None], 0), layout

    def of_clip(self, clip: int) -> Tensor:
        """Return the frames (frames, width) of one clip, a view."""
        start = int(self.start[clip])
        return self.flat[start : start + int(self.length[clip])]


class EncoderCache:
    """The frames of each set at each depth that was asked for. They are kept where they fit the
    memory budget, else computed anew for every batch.
    """

    def __init__(
        self,
        family: Family,
        clips: dict[str, Sequence[np.ndarray]],
        budget_bytes: int,
        device: torch.device,
        depths: Collection[int] = (),
        kept: Mapping[str, dict[int, Frames | None]] | None = None,
        said_name: Callable[[str], str] = str,
        autocast: Callable[[str], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        """`clips` are the float32 samples of each set by its name; where not all frames fit, those
        of the first sets are kept. `depths` are the entry depths that trials may have: frames at a
        lower one are kept on the way to a higher one. `kept` holds, by set and depth, frames that
        are there already; its mappings are shared, so what is computed of these sets later is added
        to them. `said_name` gives the name by which a person is told of a set, `autocast` the
        context in which its frames are asked for.
        """
        self.family, self.clips, self.budget_bytes, self.device = (
            family,
            clips,
            budget_bytes,
            device,
        )
        self.depths, self.said_name, self.autocast = sorted(depths), said_name, autocast
        self.kept: dict[str, dict[int, Frames | None]] = {name: {} for name in clips} | dict(
            kept or {}
        )
        self._lengths: dict[str, tuple[int, ...]] = {}
        self._sizes: dict[tuple[str, int], int] = {}

    def __call__(
        self, name: str, clips: Tensor, depth: int, slots: int = 1
    ) -> tuple[Tensor, RaggedLayout]:
        """Return the frames (slots, F, width) at `depth` of clips (rows,) of set `name`,
        slot-major, and their layout. They are a copy, which the caller may change in place.
        """
        frames, clips = self.look_up(name, clips, depth)
        return frames.laid_out(clips, slots, self.family.block)

    def look_up(self, name: str, clips: Tensor, depth: int) -> tuple[Frames, Tensor]:
        """Return frames among which are those of `clips` (rows,), and the index (rows,) of each of
        the clips in them: all frames of the set where they are kept, else those of these clips
        alone.
        """
        frames = self.keep(name, depth)
        if frames is not None:
            return frames, clips
        unique, clips = clips.unique(return_inverse=True)
        return self._compute_rows(name, unique.tolist(), depth), clips

    def lengths(self, name: str) -> tuple[int, ...]:
        """Return the number of samples of each clip of a set."""
        if name not in self._lengths:
            self._lengths[name] = lengths_of(self.clips[name])
        return self._lengths[name]

    @property
    def bytes_used(self) -> int:
        """The bytes of memory that the kept frames take."""
        return sum(
            frames.flat.numel() * frames.flat.element_size()
            for of_set in self.kept.values()
            for frames in of_set.values()
            if frames
        )

    def keep(self, name: str, depth: int) -> Frames | None:
        """Return all frames of a set at one depth, which are computed at the first call and kept;
        None where they do not fit the budget or the memory.
        """
        kept = self.kept[name]
        if depth not in kept:
            try:
                kept[depth] = self._compute_all(name, depth)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                kept[depth] = None
        return kept[depth]

    def _compute_all(self, name: str, depth: int) -> Frames | None:
        """Compute all frames of a set, in batches of similar lengths; None where they do not
        fit.
        """
        if (lower := self._entry_depth_below(depth)) is not None:
            self.keep(name, lower)  # `_compute_rows` goes on from these frames
        if self._size(name, depth) > self._room(name, depth):
            return None
        lengths = self.lengths(name)
        order = sorted(range(len(lengths)), key=lengths.__getitem__)
        batches = batches_by_length(lengths, BATCH_SECONDS * SAMPLE_RATE, order)
        flat, filled = None, 0
        start = torch.zeros(len(lengths), dtype=torch.int64, device=self.device)
        length = torch.zeros_like(start)
        side_by_side, counter = (
            cores(self.device),
            Counter(f"encoding {self.said_name(name)}", len(lengths)),
        )
        at_once = side_by_side.at_once
        for first in range(0, len(batches), at_once):
            some = batches[first : first + at_once]
            results = side_by_side.map_whole(
                lambda rows: self._compute_rows(name, rows, depth), some
            )
            for rows, computed in zip(some, results, strict=True):
                if flat is None:
                    flat = computed.flat.new_empty(
                        (self._most_frames(name), computed.flat.shape[1])
                    )
                end = filled + len(computed.flat)
                flat[filled:end] = computed.flat
                start[rows], length[rows] = filled + computed.start, computed.length
                filled = end
                counter.add(len(rows))
        assert flat is not None, "a set has clips"
        return Frames(flat[:filled], start, length)

    def _most_frames(self, name: str) -> int:
        """Return an upper bound of the frames of a set, so that their tensor is allocated once."""
        return sum(length // self.family.stride + 1 for length in self.lengths(name))

    def _size(self, name: str, depth: int) -> int:
        """Return an upper bound of the bytes that the frames of a set at a depth take. Under autocast
        their precision differs by depth, and training may have another than evaluation.
        """
        if (name, depth) not in self._sizes:
            lengths = self.lengths(name)
            shortest = min(range(len(lengths)), key=lengths.__getitem__)
            with self.autocast(name):
                flat = self.compute([self.clips[name][shortest]], depth).flat
            frame_bytes = flat.shape[1] * flat.element_size()
            self._sizes[name, depth] = self._most_frames(name) * frame_bytes
        return self._sizes[name, depth]

    def _room(self, name: str, depth: int) -> int:
        """Return the bytes that the frames of a set at a depth may take: what those before them in a
        fixed order leave of the budget, whether these are computed yet or not.

        What is kept must not depend on what is asked for first, which differs between a run that
        begins and one that continues: frames that are not kept are computed in other batches, and
        so rounded otherwise.
        """
        order = [*product(self.clips, self.depths), *((other, depth) for other in self.clips)]
        left = self.budget_bytes
        for place in order[: order.index((name, depth))]:
            size = self._size(*place)
            left -= size if size <= left else 0
        return min(left, self.budget_bytes - self.bytes_used)

    def _entry_depth_below(self, depth: int) -> int | None:
        """Return the highest entry depth of the sweep below `depth`, or None."""
        return max((lower for lower in self.depths if lower < depth), default=None)

    def _compute_rows(self, name: str, rows: Sequence[int], depth: int) -> Frames:
        """Compute the frames of some clips of a set, from kept ones at a lower depth if any."""
        lower = self._entry_depth_below(depth)
        below = None if lower is None else self.kept[name].get(lower)
        if lower is None or below is None:
            return self.compute([self.clips[name][row] for row in rows], depth)
        frames, layout = below.laid_out(
            torch.tensor(rows, device=self.device), 1, self.family.block
        )
        return self._encode_between(frames, layout, lower, depth)

    @torch.no_grad()
    def compute(self, clips: Sequence[np.ndarray], depth: int) -> Frames:
        """Return the frames at `depth` of clips that belong to no set."""
        frames, layout = laid_out(*self.family.front_end(clips), self.family.block)
        return self._encode_between(frames, layout, 0, depth)

    @torch.no_grad()
    def _encode_between(
        self, frames: Tensor, layout: RaggedLayout, first: int, depth: int
    ) -> Frames:
        """Compute frames at `depth` from frames (1, F, width) at depth `first`."""
        if depth > first:
            frames = self.family.encoder_layers(frames, layout, first, depth)
        length = layout.lengths
        return Frames(frames[0, : int(length.sum())], length.cumsum(0) - length, length)


def batches_by_length(
    lengths: Sequence[int], budget: float, order: Sequence[int]
) -> list[list[int]]:
    """Split `order`, rows sorted by rising length, into batches whose padded size, rows * longest,
    stays within `budget`. A row that exceeds it alone is a batch of its own.
    """
    groups: list[list[int]] = []
    for row in order:
        if groups and lengths[row] * (len(groups[-1]) + 1) <= budget:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups
