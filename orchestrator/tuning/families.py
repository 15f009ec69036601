"""What a model family needs: the one module that knows where Moonshine v1 and streaming Moonshine differ.

Everything else sees three things: a front end that turns clips into frames, encoder layers that take frames with their
lengths, and the memory that the decoder's cross-attention reads. The decoders of both families are alike.

Both front ends give every clip the frames that it would have had alone, so a number never depends on the batch:
the streaming embedder takes its masks from true lengths (the stock masks give a padded clip up to three extra frames),
and v1, whose GroupNorm runs over all time, is run clip by clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import MoonshineForConditionalGeneration, MoonshineStreamingForConditionalGeneration, PreTrainedModel

from orchestrator.errors import ModelError


class Family(Protocol):
    """The parts of a model in which the families differ."""

    multiple: int
    """Clips are cut to a multiple of so many samples."""
    stride: int
    """Samples per encoder frame."""
    shortest: int
    """The fewest samples that give a frame."""
    longest_seconds: float
    """The longest clip the model has positions for."""

    def front_end(self, clips: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
        """float32 clips at 16 kHz -> frames (n, T, width), padded with zeros, and their true lengths (n,) int64."""

    def encoder_layers(self, frames: Tensor, lengths: Tensor, first: int, last: int) -> Tensor:
        """Run layers first..last-1 on frames (N, T, width); the final norm too when `last` is the number of layers."""

    def memory(self, encoded: Tensor) -> Tensor:
        """What cross-attention reads, of the decoder's width; never changes `encoded`."""


def family_of(model: PreTrainedModel) -> Family:
    """The family of a loaded model; raises ModelError for any other class."""
    if isinstance(model, MoonshineStreamingForConditionalGeneration):
        return Streaming(model)
    if isinstance(model, MoonshineForConditionalGeneration):
        return Version1(model)
    raise ModelError(
        f"model class {type(model).__name__} is not supported; allowed: MoonshineStreamingForConditionalGeneration, "
        f"MoonshineForConditionalGeneration. Name such a model in `model.id`."
    )


def valid_frames(lengths: Tensor, width: int) -> Tensor:
    """Boolean (n, width): true at the frames that exist."""
    return torch.arange(width, device=lengths.device)[None] < lengths[:, None]


class Streaming:
    """MoonshineStreaming: raw frames, causal convolutions, sliding-window encoder without positions."""

    def __init__(self, model: MoonshineStreamingForConditionalGeneration) -> None:
        self.encoder, self.decoder = model.model.encoder, model.model.decoder
        config = model.config.encoder_config
        self.multiple = self.shortest = round(config.sample_rate * config.frame_ms / 1000)
        self.stride = 4 * self.multiple
        self.windows = [tuple(window) for window in config.sliding_windows]
        self.longest_seconds = model.config.max_position_embeddings * self.stride / config.sample_rate

    def front_end(self, clips: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
        embedder = self.encoder.embedder
        weight = embedder.linear.weight
        count = torch.tensor([len(clip) // self.multiple for clip in clips], device=weight.device)
        audio = np.zeros((len(clips), int(count.max()) * self.multiple), np.float32)
        for row, clip in enumerate(clips):
            kept = len(clip) // self.multiple * self.multiple
            audio[row, :kept] = clip[:kept]
        framed = torch.from_numpy(audio).to(weight).reshape(len(clips), -1, self.multiple)
        x = embedder.comp(embedder.cmvn(framed))
        x = F.silu(embedder.linear(x)) * valid_frames(count, x.shape[1])[..., None]
        x = x.transpose(1, 2)
        for conv, activation in ((embedder.conv1, F.silu), (embedder.conv2, lambda y: y)):
            count = (count - 1) // 2 + 1
            x = nn.Conv1d.forward(conv, F.pad(x, (conv.left_pad, 0)))
            x = activation(x * valid_frames(count, x.shape[-1])[:, None])
        return x.transpose(1, 2), count

    def encoder_layers(self, frames: Tensor, lengths: Tensor, first: int, last: int) -> Tensor:
        valid = valid_frames(lengths, frames.shape[1])
        windows = {window: Window(valid, *window) for window in set(self.windows[first:last])}
        for layer, window in zip(self.encoder.layers[first:last], self.windows[first:last], strict=True):
            attention, x = layer.self_attn, layer.input_layernorm(frames)
            heads = (*x.shape[:2], -1, attention.head_dim)
            projections = (attention.q_proj, attention.k_proj, attention.v_proj)
            query, key, value = (project(x).view(heads).transpose(1, 2) for project in projections)
            heard = windows[window](query, key, value, attention.scaling)
            frames = frames + attention.o_proj(heard.transpose(1, 2).flatten(2))
            frames = frames + layer.mlp(layer.post_attention_layernorm(frames))
        return self.encoder.final_norm(frames) if last == len(self.encoder.layers) else frames

    def memory(self, encoded: Tensor) -> Tensor:
        # out of place: the stock decoder adds positions to its input, which would spoil a cached encoder output
        positions = self.decoder.pos_emb.weight[: encoded.shape[1]]
        return self.decoder.proj(encoded + positions)


class Window:
    """Attention within `left` frames back (the frame itself counted) and fewer than `right` ahead, of existing frames.

    Computed in blocks of queries against the span of keys that any of them may see, so its cost grows with the window
    and not with the square of the clip: the same sums as a masked attention over all frames.
    """

    BLOCK = 32

    def __init__(self, valid: Tensor, left: int, right: int) -> None:
        frames = valid.shape[1]
        self.before, ahead = left - 1, max(right - 1, 0)
        self.span = self.BLOCK + self.before + ahead
        self.missing = -frames % self.BLOCK
        self.after = ahead + self.missing
        offset = torch.arange(self.span, device=valid.device) - self.before
        distance = offset - torch.arange(self.BLOCK, device=valid.device)[:, None]
        inside = (distance > -left) & (distance <= ahead)
        queries = F.pad(valid, (0, self.missing)).view(len(valid), -1, self.BLOCK)
        keys = F.pad(valid, (self.before, self.after)).unfold(1, self.span, self.BLOCK)
        # a query that does not exist sees everything: a row without any key gives NaN in some attention kernels
        self.mask = (keys[:, :, None] & inside | ~queries[..., None]).flatten(0, 1)[:, None]

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """query, key, value (N, heads, T, head_dim) -> (N, heads, T, head_dim)."""
        rows, heads, frames, width = query.shape
        blocks = F.pad(query, (0, 0, 0, self.missing)).view(rows, heads, -1, self.BLOCK, width).transpose(1, 2)
        near = [
            F.pad(x, (0, 0, self.before, self.after)).unfold(2, self.span, self.BLOCK).permute(0, 2, 1, 4, 3)
            for x in (key, value)
        ]
        query, key, value = (x.flatten(0, 1) for x in (blocks, *near))
        heard = F.scaled_dot_product_attention(query, key, value, attn_mask=self.mask, scale=scaling)
        return heard.view(rows, -1, heads, self.BLOCK, width).transpose(1, 2).flatten(2, 3)[:, :, :frames]


class Version1:
    """Moonshine v1: strided convolutions with a GroupNorm over time, full attention with rotary positions."""

    multiple = 1
    stride = 384
    shortest = 895  # the three convolutions' receptive field

    def __init__(self, model: MoonshineForConditionalGeneration) -> None:
        self.encoder = model.model.encoder
        self.longest_seconds = model.config.max_position_embeddings * self.stride / 16000

    def front_end(self, clips: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
        encoder, weight = self.encoder, self.encoder.conv1.weight
        frames = []
        for clip in clips:
            x = torch.tanh(encoder.conv1(torch.tensor(clip).to(weight)[None, None]))
            x = F.gelu(encoder.conv2(encoder.groupnorm(x)))
            frames.append(F.gelu(encoder.conv3(x))[0].T)
        lengths = torch.tensor([len(x) for x in frames], device=weight.device)
        return nn.utils.rnn.pad_sequence(frames, batch_first=True), lengths

    def encoder_layers(self, frames: Tensor, lengths: Tensor, first: int, last: int) -> Tensor:
        positions = torch.arange(frames.shape[1], device=frames.device)[None]
        rotary = self.encoder.rotary_emb(frames, position_ids=positions)
        mask = valid_frames(lengths, frames.shape[1])[:, None, None, :]
        for layer in self.encoder.layers[first:last]:
            frames = layer(frames, attention_mask=mask, position_ids=positions, position_embeddings=rotary)
        return self.encoder.layer_norm(frames) if last == len(self.encoder.layers) else frames

    def memory(self, encoded: Tensor) -> Tensor:
        return encoded
