"""The two model families, Moonshine v1 and streaming Moonshine: the one module that knows where
they differ.

All other code sees three things: a front end that turns clips into frames, encoder layers that take
frames in a layout, and the memory, which is what the decoder's cross-attention reads. The decoders
of both families are alike.

Both front ends give every clip the frames that it would have had alone, so no result depends on the
batch: the streaming embedder takes its masks from true lengths (the stock masks give a padded clip
up to three extra frames), and v1, whose GroupNorm normalises over all time, is run clip by clip.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    MoonshineForConditionalGeneration,
    MoonshineStreamingForConditionalGeneration,
    PreTrainedModel,
)

from orchestrator.errors import ModelError
from orchestrator.records.readiness.model_limits import VERSION_1_SHORTEST, VERSION_1_STRIDE
from orchestrator.tuning.model.attention import REGISTER, attend
from orchestrator.tuning.model.configuration import check_runnable
from orchestrator.tuning.model.layout import RaggedLayout
from orchestrator.tuning.model.rotary import rotary_table, rotate_features
from orchestrator.tuning.model.windows import (
    EncoderWindow,
    SlidingWindowAttention,
    samples_per_frame,
    stock_windows,
)


class Family(Protocol):
    """The parts of a model in which the families differ."""

    multiple: int
    """The front end uses whole multiples of this many samples; the rest of a clip is cut off."""
    stride: int
    """Samples per encoder frame."""
    shortest: int
    """The fewest samples that give a frame."""
    longest_seconds: float
    """The longest clip the model has positions for; infinite where they are computed for any
    length.
    """
    block: int
    """The length F of a layout of its frames must be a multiple of this."""
    windows: list[EncoderWindow]
    """The attention window of each encoder layer; empty where frames attend to the whole clip."""

    def front_end(self, clips: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
        """Turn n float32 clips at 16 kHz into frames end to end (frames, width), and the number of
        frames of each clip (n,) int64.
        """

    def encoder_layers(self, frames: Tensor, layout: RaggedLayout, first: int, last: int) -> Tensor:
        """Run encoder layers first..last-1 on frames (slots, F, width), and the final norm when
        `last` is the number of layers.
        """

    def memory(self, encoded: Tensor, layout: RaggedLayout) -> Tensor:
        """Return what cross-attention reads, (slots, F, width of the decoder), from the encoder's
        output (slots, F, width), which is not changed.
        """


def family_of(model: PreTrainedModel) -> Family:
    """Return the family of a loaded model. Raises ModelError for any other class, and for a
    configuration that cannot be run.
    """
    if isinstance(
        model, (MoonshineStreamingForConditionalGeneration, MoonshineForConditionalGeneration)
    ):
        check_runnable(model)
    if isinstance(model, MoonshineStreamingForConditionalGeneration):
        return Streaming(model)
    if isinstance(model, MoonshineForConditionalGeneration):
        return MoonshineV1(model)
    raise ModelError(
        f"model class {type(model).__name__} is not supported; allowed: MoonshineStreamingForConditionalGeneration, "
        f"MoonshineForConditionalGeneration. Name such a model."
    )


def valid_frames(lengths: Tensor, width: int) -> Tensor:
    """Return a mask (n, width), true at the first `lengths[i]` places of each row."""
    return torch.arange(width, device=lengths.device)[None] < lengths[:, None]


def encoder_layer(
    layer: Any, frames: Tensor, attend: Callable[[Tensor, Tensor, Tensor, float], Tensor]
) -> Tensor:
    """Run a stock encoder layer, alike in both families, on frames (slots, F, width) with another
    attention.

    `attend` takes query, key, value (slots, F, heads, head_dim) and the scaling, and returns a
    tensor of that shape.
    """
    attention, x = layer.self_attn, layer.input_layernorm(frames)
    heads = (*x.shape[:2], -1, attention.head_dim)
    query, key, value = (
        projection(x).view(heads)
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    if (shared := query.shape[2] // key.shape[2]) > 1:  # grouped-query attention
        key, value = (states.repeat_interleave(shared, 2) for states in (key, value))
    frames = frames + attention.o_proj(attend(query, key, value, attention.scaling).flatten(2))
    widened: Tensor = layer.mlp(layer.post_attention_layernorm(frames))
    return frames + widened


class Streaming:
    """MoonshineStreaming: a front end of raw frames and causal convolutions, and an encoder of
    sliding windows without position embeddings.
    """

    def __init__(
        self,
        model: MoonshineStreamingForConditionalGeneration,
        windows: Sequence[EncoderWindow] | None = None,
    ) -> None:
        """`windows` replace those of the stock model, where the two are to be compared."""
        self.encoder, self.decoder = model.model.encoder, model.model.decoder
        config = model.config.encoder_config
        self.multiple = self.shortest = round(config.sample_rate * config.frame_ms / 1000)
        self.stride = samples_per_frame(config)
        self.windows = list(
            windows or stock_windows(self.encoder, config.sliding_windows, self.stride)
        )
        # what the span of a block has on either side of it must come from one neighbour
        self.block = max(
            32, *(max(window.before + REGISTER // 2, window.ahead) for window in self.windows)
        )
        self.longest_seconds = (
            model.config.max_position_embeddings * self.stride / config.sample_rate
        )

    def front_end(self, clips: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
        embedder = self.encoder.embedder
        weight = embedder.linear.weight
        count = torch.tensor([len(clip) // self.multiple for clip in clips], device=weight.device)
        audio = np.zeros((len(clips), int(count.max()) * self.multiple), np.float32)
        for row, clip in enumerate(clips):
            kept = len(clip) // self.multiple * self.multiple
            audio[row, :kept] = clip[:kept]
        # (n, samples) -> (n, pieces, multiple) -> (n, width, pieces)
        framed = torch.from_numpy(audio).to(weight).reshape(len(clips), -1, self.multiple)
        x = embedder.comp(embedder.cmvn(framed))
        x = F.silu(embedder.linear(x)) * valid_frames(count, x.shape[1])[..., None]
        x = x.transpose(1, 2)
        for conv, activation in ((embedder.conv1, F.silu), (embedder.conv2, lambda y: y)):
            # each has stride 2; the stock class's own mask would keep frames beyond a clip's end
            count = (count - 1) // 2 + 1
            x = nn.Conv1d.forward(conv, F.pad(x, (conv.left_pad, 0)))
            x = activation(x * valid_frames(count, x.shape[-1])[:, None])
        # (n, width, T) -> (frames, width), the clips end to end
        return x.transpose(1, 2)[valid_frames(count, x.shape[-1])], count

    def encoder_layers(self, frames: Tensor, layout: RaggedLayout, first: int, last: int) -> Tensor:
        attention = {
            window: SlidingWindowAttention(layout, window)
            for window in set(self.windows[first:last])
        }
        for layer, window in zip(
            self.encoder.layers[first:last], self.windows[first:last], strict=True
        ):
            frames = encoder_layer(layer, frames, attention[window])
        return self.encoder.final_norm(frames) if last == len(self.encoder.layers) else frames

    def memory(self, encoded: Tensor, layout: RaggedLayout) -> Tensor:
        # out of place: the stock decoder adds positions to its input in place, which would change
        # cached frames
        projected: Tensor = self.decoder.proj(
            encoded + self.decoder.pos_emb.weight[layout.position]
        )
        return projected


class MoonshineV1:
    """Moonshine v1: a front end of strided convolutions with a GroupNorm over time, and an encoder
    of full attention with rotary positions.
    """

    multiple = 1
    stride = VERSION_1_STRIDE
    shortest = VERSION_1_SHORTEST
    block = 1
    # its `max_position_embeddings` limits the text alone; the encoder's positions are rotary
    longest_seconds = math.inf

    def __init__(self, model: MoonshineForConditionalGeneration) -> None:
        self.encoder = model.model.encoder
        self.windows: list[EncoderWindow] = []

    def front_end(self, clips: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
        encoder, weight = self.encoder, self.encoder.conv1.weight
        frames = []
        for clip in clips:  # (1, 1, samples) -> (1, width, T) -> (T, width)
            x = torch.tanh(encoder.conv1(torch.tensor(clip).to(weight)[None, None]))
            x = F.gelu(encoder.conv2(encoder.groupnorm(x)))
            frames.append(F.gelu(encoder.conv3(x))[0].T)
        return torch.cat(frames), torch.tensor([len(x) for x in frames], device=weight.device)

    def encoder_layers(self, frames: Tensor, layout: RaggedLayout, first: int, last: int) -> Tensor:
        table = rotary_table(self.encoder.rotary_emb, layout.longest, frames)
        # (T, features) -> (slots, F, 1, features), by each frame's position in its own clip
        cos, sin = (angles[layout.position][:, :, None] for angles in table)

        def attend_clips(query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
            heads, turned = (
                query.shape[2:],
                (rotate_features(query, cos, sin), rotate_features(key, cos, sin), value),
            )
            # (slots, F, heads, head_dim) -> (rows, heads, T, head_dim), and back below
            rows = [
                layout.pad(states.flatten(2)).unflatten(2, heads).transpose(1, 2)
                for states in turned
            ]
            attn_output = attend(rows[0], rows[1], rows[2], layout.mask, scaling)
            joined: Tensor = layout.flatten(attn_output.transpose(1, 2).flatten(2)).unflatten(
                2, heads
            )
            return joined

        for layer in self.encoder.layers[first:last]:
            frames = encoder_layer(layer, frames, attend_clips)
        return self.encoder.layer_norm(frames) if last == len(self.encoder.layers) else frames

    def memory(self, encoded: Tensor, layout: RaggedLayout) -> Tensor:
        return encoded
