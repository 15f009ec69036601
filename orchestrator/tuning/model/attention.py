"""Attention as every part of a model computes it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def attend(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None,
    scaling: float,
    is_causal: bool = False,
) -> Tensor:
    """softmax(scaling * query keys^T) values; all (rows, heads, positions, head_dim), `mask` boolean,
    true where a key is seen.

    Under bfloat16 autocast a CPU computes it in float32 all the same: torch's backward pass of it in
    bfloat16 takes several times as long there.
    """
    if not _in_float32(query.device):
        return F.scaled_dot_product_attention(
            query, keys, values, attn_mask=mask, is_causal=is_causal, scale=scaling
        )
    with torch.autocast("cpu", enabled=False):
        y = F.scaled_dot_product_attention(
            query.float(),
            keys.float(),
            values.float(),
            attn_mask=mask,
            is_causal=is_causal,
            scale=scaling,
        )
    return y.to(torch.get_autocast_dtype("cpu"))


def _in_float32(device: torch.device) -> bool:
    """Whether autocast is on and attention left out of it."""
    return device.type == "cpu" and torch.is_autocast_enabled("cpu")
