"""Rotary positions (Su et al. 2021, RoFormer) as both Moonshine families use them: pairs
interleaved.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def rotary_table(embedding: nn.Module, count: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines of positions 0..count-1 of a stock rotary embedding, each (count, rotary
    features).
    """
    # float32 whatever the model's type, as the stock embedding computes them
    inverse = embedding.get_buffer("inv_freq").to(like.device).float()
    positions = torch.arange(count, device=like.device).float()
    angles = (positions[:, None] * inverse).repeat_interleave(2, dim=-1)
    scaling = float(getattr(embedding, "attention_scaling", 1.0))  # of YaRN; 1 in published models
    return (angles.cos() * scaling).to(like), (angles.sin() * scaling).to(like)


def rotate_features(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x (..., head_dim) with its first `cos.shape[-1]` features turned; cos and sin broadcast
    against it.
    """
    rotary, rest = x[..., : cos.shape[-1]], x[..., cos.shape[-1] :]
    turned = torch.stack((-rotary[..., 1::2], rotary[..., ::2]), dim=-1).flatten(-2)
    return torch.cat((rotary * cos + turned * sin, rest), dim=-1)
