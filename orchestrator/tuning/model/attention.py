"""The attention that the encoder and the decoder share."""

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
    """Return softmax(scaling * query keys^T) values; all are (rows, heads, positions, head_dim),
    and `mask` is boolean, true where a query sees a key, and broadcasts to
    (rows, heads, queries, keys).

    Under bfloat16 autocast a CPU still computes it in float32, because torch's backward pass of it
    in bfloat16 takes several times as long there.
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
    """Return whether autocast is on and attention is excepted from it."""
    return device.type == "cpu" and torch.is_autocast_enabled("cpu")
