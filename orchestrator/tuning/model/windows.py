"""Sliding-window attention of streaming Moonshine's encoder: how wide the windows are, and
attention within them.

`config.encoder_config.sliding_windows` gives each layer two numbers, left and right. Whether the
last frame of either side belongs to the window is decided in transformers' code, and it has been
reported as off by one (huggingface/transformers #46305, #47162). So the widths are read off the
masks that the installed stock encoder hands to its own layers. The runtime of the model's authors
reads both numbers as inclusive; a sweep that asks for that form has the stock model's configuration
changed until its masks are so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from orchestrator.errors import ModelError
from orchestrator.tuning.model.attention import attend
from orchestrator.tuning.model.layout import RaggedLayout


class EncoderWindow(NamedTuple):
    """The frames that a frame attends to beside itself."""

    before: int
    ahead: int


def stock_windows(
    encoder: Any, configured: Sequence[Sequence[int]], samples_per_frame: int
) -> list[EncoderWindow]:
    """The window of each layer of a stock streaming encoder, from the masks that its layers
    receive.

    The probe is a silent clip with more frames on either side of its middle frame than any window
    is wide. Raises ModelError where a layer's mask is no window.
    """
    beyond = max(width for window in configured for width in window) + 2
    masks: list[Tensor | None] = []

    def note_mask(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        masks.append(kwargs.get("attention_mask"))

    hooks = [
        layer.register_forward_pre_hook(note_mask, with_kwargs=True) for layer in encoder.layers
    ]
    weight = next(encoder.parameters())
    silence = weight.new_zeros(1, (2 * beyond + 1) * samples_per_frame)
    try:
        with torch.no_grad():
            encoder(silence, attention_mask=torch.ones_like(silence, dtype=torch.long))
    finally:
        for hook in hooks:
            hook.remove()
    return [_window_of_mask(mask, layer) for layer, mask in enumerate(masks)]


def _window_of_mask(mask: Tensor | None, layer: int) -> EncoderWindow:
    """The window in a layer's mask (1, 1, T, T): boolean, true where a key is seen, or 0 there and
    -inf elsewhere.
    """
    if mask is not None:
        seen = (mask if mask.dtype == torch.bool else mask == 0)[0, 0]
        middle = len(seen) // 2
        keys = seen[middle].nonzero().flatten().tolist()
        if (
            keys
            and keys == list(range(keys[0], keys[-1] + 1))
            and 0 < keys[0] <= middle <= keys[-1] < len(seen) - 1
        ):
            return EncoderWindow(middle - keys[0], keys[-1] - middle)
    raise ModelError(
        f"the installed transformers gives encoder layer {layer} of the model no sliding window around each frame, "
        "which is the only form of streaming Moonshine that this version runs; use the transformers of constraints.txt"
    )


def inclusive_windows(configured: Sequence[Sequence[int]]) -> list[EncoderWindow]:
    """The windows as the authors' runtime reads them: `left` frames before and `right` frames
    ahead, both inside.
    """
    return [EncoderWindow(left, right) for left, right in configured]


def set_windows(model: Any, wanted: Sequence[EncoderWindow]) -> None:
    """Change the configuration of a stock streaming model so that the masks it makes are those
    windows.

    Then everything that compares with the stock model, or is made of it, sees the same windows.
    Raises ModelError where the installed transformers cannot be brought to them.
    """
    encoder, config = model.model.encoder, model.config.encoder_config
    samples = samples_per_frame(config)
    # one frame is what the two readings of a number can differ by
    for more in (0, 1):
        config.sliding_windows = [[window.before + more, window.ahead + more] for window in wanted]
        if stock_windows(encoder, config.sliding_windows, samples) == list(wanted):
            return
    raise ModelError(
        "the installed transformers cannot be given the encoder windows "
        f"{windows_text(wanted)}; set evaluation.encoder_windows to stock, or use the transformers of constraints.txt"
    )


def samples_per_frame(config: Any) -> int:
    """Samples of one encoder frame, from the configuration of a streaming encoder."""
    frame = round(config.sample_rate * config.frame_ms / 1000)
    return 4 * int(frame)


def windows_text(windows: Sequence[EncoderWindow]) -> str:
    """Frames before and ahead, layer by layer: 15+3,15+0. Of a model without windows: whole
    clip.
    """
    return ",".join(f"{window.before}+{window.ahead}" for window in windows) or "whole clip"


class SlidingWindowAttention:
    """Attention within a window around each frame, of one's own clip.

    Computed in blocks of queries against the span of keys that any of them may see, so its cost
    grows with the window and not with the square of the clip: the same sums as a masked attention
    over all frames.
    """

    def __init__(self, layout: RaggedLayout, window: EncoderWindow) -> None:
        self.block, self.before, self.ahead = layout.block, window.before, window.ahead
        device = layout.lengths.device
        offset = torch.arange(self.block + self.before + self.ahead, device=device) - self.before
        distance = offset - torch.arange(self.block, device=device)[:, None]
        inside = (distance >= -self.before) & (distance <= self.ahead)  # (block queries, span keys)
        clips = layout.clip.where(layout.valid, -1).view(layout.slots, -1, self.block, 1, 1)
        # beyond either end stand zeros, that is clip -1
        near = self._join_neighbours(clips + 1)[..., 0, 0] - 1
        same = clips[..., 0] == near[:, :, None]
        # what stands in no clip sees everything: a row without any key gives NaN in some attention
        # kernels
        self.mask = (same & inside | (clips[..., 0] < 0)).flatten(0, 1)[:, None]

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """query, key, value (slots, F, heads, head_dim) -> (slots, F, heads, head_dim)."""
        blocks = [x.view(len(x), -1, self.block, *x.shape[2:]) for x in (query, key, value)]
        # each block of queries becomes a row of its own: (slots * n, heads, block or span,
        # head_dim)
        query, key, value = (
            x.flatten(0, 1).transpose(1, 2)
            for x in (blocks[0], self._join_neighbours(blocks[1]), self._join_neighbours(blocks[2]))
        )
        attn_output = attend(query, key, value, self.mask, scaling)
        return attn_output.transpose(1, 2).reshape(len(blocks[0]), -1, *blocks[0].shape[3:])

    def _join_neighbours(self, blocks: Tensor) -> Tensor:
        """(slots, n, block, heads, head_dim) -> (slots, n, before + block + ahead, heads,
        head_dim).
        """
        one_more = (0, 0, 0, 0, 0, 0)
        earlier = F.pad(blocks[:, :-1, self.block - self.before :], (*one_more, 1, 0))
        later = F.pad(blocks[:, 1:, : self.ahead], (*one_more, 0, 1))
        return torch.cat((earlier, blocks, later), 2)
