"""The attention that the encoder and the decoder share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

REGISTER = 16
"""How many float32 numbers the widest registers of a CPU hold."""


def whole_keys(count: int) -> int:
    """Return the number of keys, `count` or up to half a register more, over which attention takes
    least time. torch computes the exponentials of the keys beyond the last whole register one by
    one.
    """
    over = count % REGISTER
    return count if over < REGISTER // 2 else count + REGISTER - over


def attend(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None,
    scaling: float,
    is_causal: bool = False,
) -> Tensor:
    """Return softmax(scaling * query keys^T) values; all are (rows, heads, positions, head_dim).
    `mask` broadcasts to (rows, heads, queries, keys), and is boolean, true where a query sees a
    key, or as `additive` gives it.

    Under bfloat16 autocast a CPU still computes it in float32, because torch's backward pass of it
    in bfloat16 takes several times as long there.
    """
    if _in_float32(query.device):
        with torch.autocast("cpu", enabled=False):
            y = attend(query.float(), keys.float(), values.float(), mask, scaling, is_causal)
        return y.to(torch.get_autocast_dtype("cpu"))
    if mask is not None and mask.is_floating_point():
        mask = mask.to(query.dtype)  # float64 in a model of that precision
    return F.scaled_dot_product_attention(
        query, keys, values, attn_mask=mask, is_causal=is_causal, scale=scaling
    )


def additive(mask: Tensor) -> Tensor:
    """Return a boolean mask in the form in which `attend` uses it again and again in least time. A
    CPU would turn it into numbers at every use, so there it is float32, 0 where true and -inf
    elsewhere.
    """
    if mask.device.type != "cpu":
        return mask
    return torch.zeros(mask.shape).masked_fill_(~mask, -torch.inf)


def _in_float32(device: torch.device) -> bool:
    """Return whether autocast is on and attention is excepted from it."""
    return device.type == "cpu" and torch.is_autocast_enabled("cpu")
