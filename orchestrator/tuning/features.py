"""Frames below the lowest adapted layer, computed once per clip for the whole sweep.

Everything under a pack's entry depth is frozen, so it is the same for every trial and every step. Depth 0 is the front
end's output, depth n the encoder's; what lies between is the output of the first encoder layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from orchestrator.tuning.families import Family, valid_frames

BATCH_SECONDS = 120.0
"""Audio of one front-end batch; a matter of memory only, frames do not depend on it."""


@dataclass(frozen=True)
class Frames:
    """All clips of one set at one depth: flat (frames, width), with each clip's start and length (n,) int64."""

    flat: Tensor
    start: Tensor
    length: Tensor

    def gather(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Frames of `clips` (rows,) int64 -> (rows, T, width) padded with zeros, and lengths (rows,); always a copy."""
        length = self.length[clips]
        valid = valid_frames(length, int(length.max()))
        index = (self.start[clips][:, None] + torch.arange(valid.shape[1], device=clips.device)).where(valid, 0)
        return self.flat[index] * valid[..., None], length


class FrameStore:
    """Frames by set and depth: kept while they fit the memory budget, else computed anew for every batch."""

    def __init__(
        self,
        family: Family,
        depth: int,
        clips: dict[str, Sequence[np.ndarray]],
        budget_bytes: int,
        device: torch.device,
    ) -> None:
        self.family, self.depth, self.clips, self.device = family, depth, clips, device
        self.budget_bytes = budget_bytes
        self.kept: dict[tuple[str, int], Frames] = {}

    def __call__(self, name: str, clips: Tensor, depth: int) -> tuple[Tensor, Tensor]:
        """Frames (rows, T, width) and lengths of clips (rows,) of set `name` at `depth`; safe to change in place."""
        frames = self.kept.get((name, depth)) or self._keep(name, depth)
        if frames is not None:
            return frames.gather(clips)
        unique, back = clips.unique(return_inverse=True)
        computed, length = self._compute(name, unique.tolist(), depth)
        return (computed * valid_frames(length, computed.shape[1])[..., None])[back], length[back]

    @property
    def bytes_used(self) -> int:
        """Memory that the kept frames take."""
        return sum(frames.flat.numel() * frames.flat.element_size() for frames in self.kept.values())

    def _keep(self, name: str, depth: int) -> Frames | None:
        clips = self.clips[name]
        order = sorted(range(len(clips)), key=lambda i: len(clips[i]))
        parts: list[Tensor] = [torch.empty(0)] * len(clips)
        used = self.bytes_used
        for rows in batches_by_length([len(clip) for clip in clips], BATCH_SECONDS * 16000, order):
            frames, length = self._compute(name, rows, depth)
            for row, clip_frames, n in zip(rows, frames, length.tolist(), strict=True):
                parts[row] = clip_frames[:n].clone()
                used += parts[row].numel() * parts[row].element_size()
            if used > self.budget_bytes:
                return None
        length = torch.tensor([len(part) for part in parts], device=self.device)
        frames_kept = Frames(torch.cat(parts), length.cumsum(0) - length, length)
        self.kept[name, depth] = frames_kept
        return frames_kept

    def _compute(self, name: str, rows: Sequence[int], depth: int) -> tuple[Tensor, Tensor]:
        return self.compute([self.clips[name][row] for row in rows], depth)

    @torch.no_grad()
    def compute(self, clips: Sequence[np.ndarray], depth: int) -> tuple[Tensor, Tensor]:
        """Frames (n, T, width) at `depth` of clips that belong to no set, and their lengths (n,); what lies beyond a
        length is undefined."""
        frames, length = self.family.front_end(clips)
        return (self.family.encoder_layers(frames, length, 0, depth) if depth else frames), length


def batches_by_length(lengths: Sequence[int], budget: float, order: Sequence[int]) -> list[list[int]]:
    """Split `order` (sorted by length, rising) into runs whose padded size, rows * longest, stays within `budget`."""
    groups: list[list[int]] = []
    for row in order:
        if groups and lengths[row] * (len(groups[-1]) + 1) <= budget:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups
