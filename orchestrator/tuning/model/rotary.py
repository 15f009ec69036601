"""Rotary position embeddings (Su et al. 2021, RoFormer) as both Moonshine families use them: the
features of a pair are neighbours.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def rotary_table(embedding: nn.Module, count: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cosines and sines of positions 0..count-1 of a stock rotary embedding, each
    (count, rotary features), in the dtype and on the device of `like`.
    """
    # float32 whatever the model's dtype, as the stock embedding computes them
    inverse = embedding.get_buffer("inv_freq").to(like.device).float()
    positions = torch.arange(count, device=like.device).float()
    # one angle per pair, once for each feature of the pair
    angles = (positions[:, None] * inverse).repeat_interleave(2, dim=-1)
    # a factor that YaRN has; 1 in published models
    scaling = float(getattr(embedding, "attention_scaling", 1.0))
    return (angles.cos() * scaling).to(like), (angles.sin() * scaling).to(like)


def rotate_features(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return x (..., head_dim) with its first `cos.shape[-1]` features rotated and the rest as they
    are; cos and sin broadcast against those features.
    """
    rotary, rest = x[..., : cos.shape[-1]], x[..., cos.shape[-1] :]
    # each pair (a, b) -> (-b, a)
    turned = torch.stack((-rotary[..., 1::2], rotary[..., ::2]), dim=-1).flatten(-2)
    return torch.cat((rotary * cos + turned * sin, rest), dim=-1)
