"""The two graphs of the `onnx` form, for both families: from one clip to the keys and values of
cross-attention, and one step of the decoder.

They are made of the stock model's own layers, so their weights are those that were measured. They
take one whole clip at a time, so they need neither padding nor packing.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from orchestrator.tuning.model.families import encoder_layer
from orchestrator.tuning.model.rotary import rotate_features
from orchestrator.tuning.model.windows import EncoderWindow


class _Rotary(nn.Module):
    """The angles of a stock rotary embedding."""

    def __init__(self, embedding: Any) -> None:
        super().__init__()
        self.register_buffer("inverse", embedding.inv_freq.clone().float())
        # a factor that YaRN has; 1 in published models
        self.scaling = float(getattr(embedding, "attention_scaling", 1.0))

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cosines and sines (positions, rotary features) of positions (n,)."""
        frequencies = self.get_buffer("inverse")
        angles = (positions.float()[:, None] * frequencies).repeat_interleave(2, -1)
        return angles.cos() * self.scaling, angles.sin() * self.scaling


class EncoderGraph(nn.Module):
    """audio (1, samples) -> the encoder's output (1, T, width), and the keys and the values of all
    cross-attentions, (layers, 1, heads, T, head_dim) each.
    """

    def __init__(self, model: PreTrainedModel, windows: list[EncoderWindow]) -> None:
        """`windows` are those of each layer of a streaming model; empty for version 1, whose frames
        attend to the whole clip.
        """
        super().__init__()
        self.encoder: Any = model.model.encoder
        self.decoder: Any = model.model.decoder
        self.windows = windows
        self.head_dim: int = self.decoder.layers[0].self_attn.head_dim
        if not windows:
            self.rotary = _Rotary(self.encoder.rotary_emb)

    def forward(self, audio: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        encoded = self._streaming(audio) if self.windows else self._version_1(audio)
        memory = encoded
        if self.windows:
            positions = torch.arange(encoded.shape[1], device=encoded.device)
            memory = self.decoder.proj(encoded + self.decoder.pos_emb(positions)[None])
        keys = [self._heads(layer.encoder_attn.k_proj(memory)) for layer in self.decoder.layers]
        values = [self._heads(layer.encoder_attn.v_proj(memory)) for layer in self.decoder.layers]
        return encoded, torch.stack(keys), torch.stack(values)

    def _heads(self, x: Tensor) -> Tensor:
        heads: Tensor = x.unflatten(2, (-1, self.head_dim)).transpose(1, 2)
        return heads

    def _streaming(self, audio: Tensor) -> Tensor:
        # (1, samples) -> (1, pieces, frame_len) -> (1, width, pieces) -> (1, T, width)
        embedder = self.encoder.embedder
        x = embedder.comp(embedder.cmvn(audio.unflatten(1, (-1, embedder.frame_len))))
        x = F.silu(embedder.linear(x)).transpose(1, 2)
        x = F.silu(nn.Conv1d.forward(embedder.conv1, F.pad(x, (embedder.conv1.left_pad, 0))))
        x = nn.Conv1d.forward(embedder.conv2, F.pad(x, (embedder.conv2.left_pad, 0))).transpose(
            1, 2
        )
        place = torch.arange(x.shape[1], device=x.device)
        # (queries, keys): how far a key lies before its query; negative where it lies ahead
        distance = place[:, None] - place[None]
        for layer, window in zip(self.encoder.layers, self.windows, strict=True):
            inside = (distance <= window.before) & (distance >= -window.ahead)
            x = encoder_layer(layer, x, _Attend(inside))
        normed: Tensor = self.encoder.final_norm(x)
        return normed

    def _version_1(self, audio: Tensor) -> Tensor:
        encoder = self.encoder
        x = torch.tanh(encoder.conv1(audio[:, None]))
        x = F.gelu(encoder.conv2(encoder.groupnorm(x)))
        x = F.gelu(encoder.conv3(x)).transpose(1, 2)
        cos, sin = self.rotary(torch.arange(x.shape[1], device=x.device))
        table = cos[None, :, None], sin[None, :, None]
        for layer in encoder.layers:
            x = encoder_layer(layer, x, _Attend(None, table))
        normed: Tensor = encoder.layer_norm(x)
        return normed


class _Attend:
    """The attention of one clip, query, key and value (1, T, heads, head_dim): within a mask
    (T, T), or over the whole clip with rotary positions.
    """

    def __init__(self, mask: Tensor | None, rotary: tuple[Tensor, Tensor] | None = None) -> None:
        self.mask, self.rotary = mask, rotary

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        if self.rotary is not None:
            query, key = rotate_features(query, *self.rotary), rotate_features(key, *self.rotary)
        rows = [x.transpose(1, 2) for x in (query, key, value)]
        attn_output = F.scaled_dot_product_attention(
            rows[0], rows[1], rows[2], attn_mask=self.mask, scale=scaling
        )
        return attn_output.transpose(1, 2)


class DecoderGraph(nn.Module):
    """Tokens (1, n) int64 that follow `past` cached ones -> logits (1, n, vocabulary), and the
    keys and the values of self-attention with the new tokens appended, (layers, 1, heads, past + n,
    head_dim).

    `k_self` and `v_self` are (layers, 1, heads, past, head_dim), where `past` may be 0;
    `k_cross` and `v_cross` are as `EncoderGraph` gives them.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.stack: Any = model.model.decoder
        self.head: Any = model.proj_out
        attention = self.stack.layers[0].self_attn
        self.head_dim: int = attention.head_dim
        self.scaling: float = attention.scaling
        self.rotary = _Rotary(self.stack.rotary_emb)

    def forward(
        self, token: Tensor, k_self: Tensor, v_self: Tensor, k_cross: Tensor, v_cross: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        past, count = k_self.shape[3], token.shape[1]
        positions = torch.arange(count, device=token.device) + past
        cos, sin = (angles[None, None] for angles in self.rotary(positions))
        # (n, past + n): a token sees the cached ones and those up to itself
        seen = torch.arange(past + count, device=token.device)[None] <= positions[:, None]
        x = self.stack.embed_tokens(token)
        keys, values = [], []
        for index, layer in enumerate(self.stack.layers):
            attention, normed = layer.self_attn, layer.input_layernorm(x)
            query = rotate_features(self._heads(attention.q_proj(normed)), cos, sin)
            key = torch.cat(
                (k_self[index], rotate_features(self._heads(attention.k_proj(normed)), cos, sin)), 2
            )
            value = torch.cat((v_self[index], self._heads(attention.v_proj(normed))), 2)
            keys.append(key)
            values.append(value)
            x = x + attention.o_proj(self._attend(query, key, value, seen))
            query = self._heads(layer.encoder_attn.q_proj(layer.post_attention_layernorm(x)))
            x = x + layer.encoder_attn.o_proj(
                self._attend(query, k_cross[index], v_cross[index], None)
            )
            x = x + layer.mlp(layer.final_layernorm(x))
        return self.head(self.stack.norm(x)), torch.stack(keys), torch.stack(values)

    def _heads(self, x: Tensor) -> Tensor:
        heads: Tensor = x.unflatten(2, (-1, self.head_dim)).transpose(1, 2)
        return heads

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        shared = query.shape[1] // key.shape[1]
        if shared > 1:  # grouped-query attention
            key, value = (x.repeat_interleave(shared, 1) for x in (key, value))
        attn_output = F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, scale=self.scaling
        )
        return attn_output.transpose(1, 2).flatten(2)
