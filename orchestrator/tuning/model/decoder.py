"""The decoder's forward pass, of both families, on the stock model's own layers, for training and
for decoding.

Training runs it over whole label sequences; decoding runs it over chunks of one or more tokens
against a static self-attention cache. Cross-attention keys and values are computed once per encoder
output.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from orchestrator.tuning.model.attention import attend, whole_keys
from orchestrator.tuning.model.configuration import special_tokens
from orchestrator.tuning.model.layout import RaggedLayout
from orchestrator.tuning.model.rotary import rotary_table, rotate_features

KeyValue = tuple[Tensor, Tensor]
"""Keys and values, each (rows, heads, positions, head_dim)."""


@dataclass
class SelfCache:
    """A static self-attention cache: one pair of keys and values for each layer, which have room
    for `length` positions of every row and are written in place.
    """

    layers: list[KeyValue]

    @property
    def length(self) -> int:
        """The number of tokens that a row has room for."""
        return self.layers[0][0].shape[2]


class Decoder:
    """The decoder of a Moonshine model, without the stock class's caches and without its in-place
    addition of positions to the encoder's output.
    """

    positions: int
    """The most tokens of a text, its end included, that the model was made for."""
    start: int
    """The first token that the decoder is fed."""
    eos: int
    """The token at the end of every label."""
    ends: frozenset[int]
    """The tokens each of which ends a decoded text."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.stack, self.head = model.model.decoder, model.proj_out
        attention = self.stack.layers[0].self_attn
        self.head_dim, self.scaling = attention.head_dim, attention.scaling
        self.heads = len(attention.k_proj.weight) // self.head_dim
        tokens = special_tokens(model, tokenizer)
        self.start, self.eos, self.ends = tokens.start, tokens.eos, tokens.ends
        self.positions = model.config.max_position_embeddings
        self._rotary = rotary_table(self.stack.rotary_emb, self.positions, self.head.weight)

    def rotary(self, count: int) -> tuple[Tensor, Tensor]:
        """Return the cosines and sines of at least `count` positions, each (positions, rotary
        features). There may be more than the model was trained on, as in the stock decoder.
        """
        table = self._rotary
        if count > len(table[0]):  # without a lock: threads that get here at once make the same
            table = self._rotary = rotary_table(self.stack.rotary_emb, 2 * count, self.head.weight)
        return table

    def cross_keys(self, memory: Tensor, layout: RaggedLayout | None = None) -> list[KeyValue]:
        """Return the keys and values of every layer's cross-attention, padded to rows
        (rows, heads, T, head_dim), of a memory (slots, F, width); without a layout the memory
        is padded already, (rows, T, width).
        """
        return [
            (
                self._split_heads(layer.encoder_attn.k_proj(memory), layout),
                self._split_heads(layer.encoder_attn.v_proj(memory), layout),
            )
            for layer in self.stack.layers
        ]

    def empty_cache(self, rows: int, length: int) -> SelfCache:
        """Return a zeroed cache for `rows` sequences of at least `length` tokens."""
        shape = (rows, self.heads, whole_keys(length), self.head_dim)
        like = self.head.weight
        return SelfCache(
            [(like.new_zeros(shape), like.new_zeros(shape)) for _ in self.stack.layers]
        )

    def __call__(
        self,
        tokens: Tensor,
        cross: list[KeyValue],
        cross_mask: Tensor,
        cache: SelfCache | None = None,
        start: Tensor | None = None,
        text: RaggedLayout | None = None,
    ) -> Tensor:
        """Return the last hidden states (N, C, width), after the final norm, of `tokens` (N, C)
        int64.

        `cross_mask` is (N, 1, 1, T), as `RaggedLayout.mask` gives it. With a cache, row n's tokens
        stand at positions start[n] .. start[n] + C - 1, see everything cached before them, and are
        added to it; without one, they are whole sequences from position 0.

        `text` is the layout of the rows' lengths, where these differ. Tokens beyond a row's length
        are then not computed, and the states are returned in that layout, (slots, F, width).
        """
        span = torch.arange(tokens.shape[1], device=tokens.device)
        positions = span[None] if start is None else start[:, None] + span
        reach = tokens.shape[1] if cache is None else cache.length
        # (N or 1, 1, C, features), to broadcast over the heads
        cos, sin = (table[positions][:, None] for table in self.rotary(reach))
        mask = None
        if cache is not None:
            # (N, 1, C, length): a token sees the cached positions up to its own
            mask = torch.arange(cache.length, device=tokens.device) <= positions[:, None, :, None]
        x = self.stack.embed_tokens(tokens)
        x = x if text is None else text.flatten(x)
        for index, (layer, memory) in enumerate(zip(self.stack.layers, cross, strict=True)):
            stored = None if cache is None else cache.layers[index]
            x = x + self._self_attention(
                layer.self_attn, layer.input_layernorm(x), cos, sin, stored, positions, mask, text
            )
            query = self._split_heads(
                layer.encoder_attn.q_proj(layer.post_attention_layernorm(x)), text
            )
            attn_output = attend(query, *memory, cross_mask, self.scaling)
            x = x + layer.encoder_attn.o_proj(self._join_heads(attn_output, text))
            x = x + layer.mlp(layer.final_layernorm(x))
        normed: Tensor = self.stack.norm(x)
        return normed

    def _self_attention(
        self,
        attention: Any,
        x: Tensor,
        cos: Tensor,
        sin: Tensor,
        stored: KeyValue | None,
        positions: Tensor,
        mask: Tensor | None,
        text: RaggedLayout | None,
    ) -> Tensor:
        query, keys, values = (
            self._split_heads(projection(x), text)
            for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        query, keys = rotate_features(query, cos, sin), rotate_features(keys, cos, sin)
        if stored is not None:
            # (N, heads, C, head_dim): write at each token's position, then read the whole cache
            index = positions[:, None, :, None].expand(keys.shape)
            keys = stored[0].scatter_(2, index, keys.to(stored[0].dtype))
            values = stored[1].scatter_(2, index, values.to(stored[1].dtype))
        y = attend(query, keys, values, mask, self.scaling, is_causal=mask is None)
        projected: Tensor = attention.o_proj(self._join_heads(y, text))
        return projected

    def _split_heads(self, x: Tensor, text: RaggedLayout | None) -> Tensor:
        """(rows, positions, width), or (slots, F, width) in the layout `text`, -> (rows, heads,
        positions, head_dim).
        """
        x = x if text is None else text.pad(x)
        return x.view(*x.shape[:2], -1, self.head_dim).transpose(1, 2)

    @staticmethod
    def _join_heads(x: Tensor, text: RaggedLayout | None) -> Tensor:
        """(rows, heads, positions, head_dim) -> what `_split_heads` was given: its inverse."""
        x = x.transpose(1, 2).flatten(2)
        return x if text is None else text.flatten(x)
