"""Sliding-window attention of streaming Moonshine's encoder: how wide the windows are, and
attention within them.

`config.encoder_config.sliding_windows` gives each layer two numbers, left and right. Whether the
last frame of either side belongs to the window is decided in transformers' code, and it has been
reported as off by one (huggingface/transformers #46305, #47162). So the widths are read off the
masks that the installed stock encoder hands to its own layers. The runtime of the model's authors
reads both numbers as inclusive. For a sweep that asks for that reading, the configuration of the
stock model is changed until its masks are those windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import MoonshineStreamingForConditionalGeneration

from orchestrator.errors import ModelError
from orchestrator.sweepfile.sweep import ModelSpec
from orchestrator.tuning.model.attention import additive, attend, whole_keys
from orchestrator.tuning.model.layout import RaggedLayout

INCLUSIVE = "encoder_windows_are_inclusive"
"""Key of config.json in an export whose widths are written so that transformers computes the
windows of the authors' runtime.
"""


class EncoderWindow(NamedTuple):
    """How many frames before itself and how many ahead of itself a frame attends to."""

    before: int
    ahead: int


def stock_windows(
    encoder: Any, configured: Sequence[Sequence[int]], samples_per_frame: int
) -> list[EncoderWindow]:
    """Return the window of each layer of a stock streaming encoder, from the masks that its layers
    receive when it encodes a silent clip.

    The clip has more frames on either side of its middle frame than any window is wide. Raises
    ModelError where a layer's mask is no window.
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
    """Return the window that a layer's mask (1, 1, T, T) gives the middle frame. The mask is
    boolean, true where a key is seen, or additive, 0 there and -inf elsewhere.

    Raises ModelError where the keys seen are not one run around the middle frame that ends within
    the clip.
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
    """Return the windows as the authors' runtime reads the configuration: the `left` frames before
    a frame and the `right` frames ahead of it.
    """
    return [EncoderWindow(left, right) for left, right in configured]


def set_windows(model: Any, wanted: Sequence[EncoderWindow]) -> None:
    """Change the configuration of a stock streaming model so that the masks it makes are the
    windows `wanted`.

    Then everything that compares with the stock model, or is made of it, has the same windows.
    Raises ModelError where the installed transformers cannot be brought to them.
    """
    encoder, config = model.model.encoder, model.config.encoder_config
    samples = samples_per_frame(config)
    # the inclusive and the exclusive reading of a width differ by one frame
    for more in (0, 1):
        config.sliding_windows = [[window.before + more, window.ahead + more] for window in wanted]
        if stock_windows(encoder, config.sliding_windows, samples) == list(wanted):
            return
    raise ModelError(
        "the installed transformers cannot be given the encoder windows "
        f"{windows_text(wanted)}; set evaluation.encoder_windows to stock, or use the transformers of constraints.txt"
    )


def read_inclusively(spec: ModelSpec, model: Any) -> None:
    """Give a stock model the encoder windows that the authors' runtime has. Raises ModelError for a
    model without windows, and for one whose configuration already has them as stock reads it.
    """
    if not isinstance(model, MoonshineStreamingForConditionalGeneration):
        raise ModelError(
            f"model {spec.id!r} has no encoder windows: its encoder hears whole clips. "
            "Next: remove evaluation.encoder_windows, which is for streaming models."
        )
    if getattr(model.config, INCLUSIVE, False):
        raise ModelError(
            f"model {spec.id!r} is an export of a sweep with encoder_windows: inclusive, and its config.json gives "
            "those windows to whoever loads it. Next: write evaluation.encoder_windows: stock for it."
        )
    # a configuration may list more than there are layers, as that of six that transformers takes
    # where it lists none
    listed = model.config.encoder_config.sliding_windows[: len(model.model.encoder.layers)]
    set_windows(model, inclusive_windows(listed))


def samples_per_frame(config: Any) -> int:
    """Return the samples of one encoder frame, from the configuration of a streaming encoder."""
    frame = round(config.sample_rate * config.frame_ms / 1000)
    return 4 * int(frame)  # two convolutions of stride 2


def windows_text(windows: Sequence[EncoderWindow]) -> str:
    """Return the frames before and ahead of each layer as text, such as "15+3,15+0"; "whole clip"
    for a model without windows.
    """
    return ",".join(f"{window.before}+{window.ahead}" for window in windows) or "whole clip"


class SlidingWindowAttention:
    """Attention of each frame to the frames of its own clip within a window around it.

    The frames of a slot are divided into blocks, and each block of queries is computed against the
    span of keys that any of them may see. So the cost grows with the window and not with the square
    of the clip's length. The result is that of a masked attention over all frames.
    """

    def __init__(self, layout: RaggedLayout, window: EncoderWindow) -> None:
        self.block, self.ahead = layout.block, window.ahead
        # the span begins with frames that no query of the block sees, where that takes less time
        span = window.before + self.block + self.ahead
        self.before = window.before + whole_keys(span) - span
        device = layout.lengths.device
        # a key's place relative to the first query of its block, then to each query: (block, span)
        offset = torch.arange(self.block + self.before + self.ahead, device=device) - self.before
        distance = offset - torch.arange(self.block, device=device)[:, None]
        # (block queries, span keys)
        inside = (distance >= -window.before) & (distance <= window.ahead)
        # (slots, F) -> (slots, n blocks, block, 1, 1): each frame's clip, -1 where there is
        # no frame
        clips = layout.clip.where(layout.valid, -1).view(layout.slots, -1, self.block, 1, 1)
        # (slots, n, span): the clip of each key. Joining pads with zeros, which + 1 and - 1 make -1
        near = self._join_neighbours(clips + 1)[..., 0, 0] - 1
        same = clips[..., 0] == near[:, :, None]
        # Places without a frame see every key, because a query without any key gives NaN in some
        # attention kernels. (slots, n, block, span) -> (slots * n, 1, block, span)
        self.mask = additive((same & inside | (clips[..., 0] < 0)).flatten(0, 1)[:, None])

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
        """(slots, n, block, ...) -> (slots, n, before + block + ahead, ...): each block with the
        frames before and after it.

        A layout's block is at least as long as what a span has on either side of it, so one
        neighbour on either side is enough; beyond the first and the last block stand zeros.
        """
        joined: Tensor = _JoinNeighbours.apply(blocks, self.before, self.ahead)  # type: ignore[no-untyped-call]
        return joined


class _JoinNeighbours(torch.autograd.Function):
    """Blocks (slots, n, block, ...), before, ahead -> (slots, n, before + block + ahead, ...).

    Written in place into one new tensor, where padding and concatenating would copy twice. The
    gradient of a frame is the sum over the spans it was copied to.
    """

    @staticmethod
    def forward(ctx: Any, blocks: Tensor, before: int, ahead: int) -> Tensor:
        ctx.before, ctx.ahead = before, ahead
        slots, count, size, *rest = blocks.shape
        end = before + size
        spans = blocks.new_empty(slots, count, end + ahead, *rest)
        spans[:, :, before:end] = blocks
        spans[:, 1:, :before] = blocks[:, :-1, size - before :]
        spans[:, :-1, end:] = blocks[:, 1:, :ahead]
        spans[:, 0, :before] = 0
        spans[:, -1, end:] = 0
        return spans

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (spans,), before, ahead = gradients, ctx.before, ctx.ahead
        end = spans.shape[2] - ahead
        blocks = spans[:, :, before:end].clone()
        blocks[:, :-1, end - 2 * before :] += spans[:, 1:, :before]
        blocks[:, 1:, :ahead] += spans[:, :-1, end:]
        return blocks, None, None
