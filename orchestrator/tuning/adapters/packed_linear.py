"""One linear layer of a frozen base model that computes K adapters in one forward and backward pass.

Per targeted `nn.Linear`, K slots, R the pack's largest rank, input x (K, L, in), trial after trial:

    y = x (W + s (B A - B0 A0))^T            the frozen A0, B0 exist for PiSSA slots only
    y = g * y                                DoRA: g = magnitude / ||W + s (B A - B0 A0)||_row, detached norm; else 1
    y = y + bias                             bias last, as PEFT does

Ranks below R and modules that a trial does not target are zero rows: their gradients are exactly
zero, and AdamW keeps them zero. So rank, alpha, targets and variant may differ in one pack, and
nothing of one slot enters another: loss is a sum over trials, clipping is a row norm, the optimizer
is element-wise.

PiSSA is kept as W x + s (B A - B0 A0) x because PEFT's own form changes the base weight, which a
shared base cannot allow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from orchestrator.tuning.adapters.dropout import Dropout
from orchestrator.tuning.model.linear_kernels import ATEN, FrozenLinear, Products


@dataclass
class Slots:
    """What one module holds for all K slots of a pack; zeros where a slot lacks it."""

    A: Tensor
    B: Tensor
    scaling: Tensor
    """(K, 1, 1)."""
    magnitude: Tensor | None = None
    dora: Tensor | None = None
    """(K, 1) boolean: which slots are DoRA here."""
    A0: Tensor | None = None
    B0: Tensor | None = None
    dropout: Dropout | None = None

    def with_frozen(self) -> tuple[Tensor, Tensor]:
        """A (K, R, in) and B (K, out, R), PiSSA's frozen halves beside the trained ones, s
        multiplied into B.
        """
        A = self.A if self.A0 is None else torch.cat((self.A, self.A0), 1)
        B = self.B if self.B0 is None else torch.cat((self.B, -self.B0), 2)
        return A, B * self.scaling

    def gain(self, weight: Tensor, A: Tensor, B: Tensor) -> Tensor:
        """g (K, out): magnitude over row norm where a slot is DoRA, else 1."""
        assert self.dora is not None and self.magnitude is not None
        return torch.where(self.dora, self.magnitude / row_norm(weight, A, B), 1.0)


class PackedLinear(FrozenLinear):
    """Stands in the place of a frozen `nn.Linear`, with the very same parameters.

    Unbound it computes what the linear computed; bound to a pack's `slots` it computes all K
    adapters; bound to `merged` weights (K, out, in) it computes K merged models, for decoding.
    """

    def __init__(self, linear: nn.Linear, products: Products = ATEN) -> None:
        super().__init__(linear, products)
        self.slots: Slots | None = None
        self.merged: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.merged is not None:
            return self._forward_merged(x, self.merged)
        if self.slots is None:
            return super().forward(x)
        return self._forward_packed(x, self.slots)

    def _forward_merged(self, x: Tensor, weights: Tensor) -> Tensor:
        rows = x.reshape(len(weights), -1, x.shape[-1])
        return self.products.linears(rows, weights, self.bias).view(*x.shape[:-1], -1)

    def _forward_packed(self, x: Tensor, slots: Slots) -> Tensor:
        rows = x.reshape(len(slots.A), -1, x.shape[-1])
        y = (
            self._forward_adapted(rows, slots)
            if slots.dropout is None
            else self._forward_dropped(rows, slots, slots.dropout)
        )
        y = y if self.bias is None else y + self.bias
        return y.view(*x.shape[:-1], -1)

    def _forward_adapted(self, x: Tensor, slots: Slots) -> Tensor:
        """x (K, L, in) -> (K, L, out) without bias."""
        A, B = slots.with_frozen()
        gain = None if slots.magnitude is None else slots.gain(self.weight, A, B)
        if not torch.is_autocast_enabled(x.device.type):
            out: Tensor = _LowRank.apply(x, self.weight, A, B, gain, self.products)  # type: ignore[no-untyped-call]
            return out
        # a change of bfloat16 weights below their resolution would be lost if it were added to them
        y = torch.baddbmm(self.products.linear(x, self.weight), torch.bmm(x, A.mT), B.mT)
        return y if gain is None else gain[:, None] * y

    def _forward_dropped(self, x: Tensor, slots: Slots, dropout: Dropout) -> Tensor:
        """The same with dropout; PEFT's DoRA: the base keeps the whole input, only what is added
        sees the dropped.
        """
        A, B = slots.with_frozen()
        base, rows = self.products.linear(x, self.weight), dropout(x)
        y = torch.baddbmm(base, torch.bmm(rows, A.mT), B.mT)
        if slots.magnitude is None or slots.dora is None:
            return y
        gain = slots.gain(self.weight, A, B)[:, None]
        through = self.products.linear(rows, self.weight)
        return torch.where(slots.dora[:, None], base + (gain - 1) * through + gain * (y - base), y)


class _LowRank(torch.autograd.Function):
    """x (K, L, in), weight (out, in), A (K, R, in), B (K, out, R), g (K, out) or None -> g * x (W +
    B A)^T (K, L, out).

    The adapted weight is formed once per slot, so that forward and the gradient of x are one
    product each; the gradients of A and B go through the R columns alone: 2 + 4 R / in products of
    the size of W in all, where W's own is never computed. The small side R stands in rows, never in
    columns: CPU libraries multiply by 4 or 8 columns several times slower.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        A: Tensor,
        B: Tensor,
        gain: Tensor | None,
        products: Products,
    ) -> Tensor:
        adapted = torch.baddbmm(weight.expand(len(A), *weight.shape), B, A)
        if gain is not None:
            adapted *= gain[..., None]
        y = products.linears(x, adapted)
        ctx.products = products
        ctx.save_for_backward(x, adapted, A, B, gain, None if gain is None else y)
        return y

    @staticmethod
    def backward(
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, None, Tensor, Tensor, Tensor | None, None]:
        x, adapted, A, B, gain, y = ctx.saved_tensors
        (dy,) = gradients
        dx = ctx.products.linears(dy, adapted.mT) if ctx.needs_input_grad[0] else None
        dB = torch.bmm(torch.bmm(A, x.mT), dy).mT
        if gain is None:
            return dx, None, torch.bmm(torch.bmm(B.mT, dy.mT), x), dB, None, None
        B = B * gain[..., None]
        return (
            dx,
            None,
            torch.bmm(torch.bmm(B.mT, dy.mT), x),
            dB * gain[..., None],
            (dy * y).sum(1) / gain,
            None,
        )


@torch.no_grad()
def row_norm(weight: Tensor, A: Tensor, B: Tensor) -> Tensor:
    """||W + B A|| per row, (K, out), without materialising the sum: ||W||^2 + 2 (W A^T . B) 1 + (B A A^T . B) 1.

    Detached: DoRA treats the norm as a constant (Liu et al. 2024, section 4.3; PEFT does the same).
    """
    with without_autocast(weight):
        cross = (torch.matmul(weight, A.mT) * B).sum(-1)
        square = (torch.bmm(B, torch.bmm(A, A.mT)) * B).sum(-1)
        return (weight.square().sum(1) + 2 * cross + square).clamp_min(0).sqrt()


def without_autocast(like: Tensor) -> torch.autocast:
    """No autocast within the block: what describes weights is computed in their own type."""
    return torch.autocast(like.device.type, enabled=False)


@contextmanager
def bind_slots(linears: Mapping[str, PackedLinear], layers: Mapping[str, Slots]) -> Iterator[None]:
    """Within the block the model computes the pack's K adapters."""
    try:
        for name, slots in layers.items():
            linears[name].slots = slots
        yield
    finally:
        for name in layers:
            linears[name].slots = None


@contextmanager
def bound_merged(
    linears: Mapping[str, PackedLinear], weights: Mapping[str, Tensor]
) -> Iterator[None]:
    """Within the block the model computes K merged models."""
    try:
        for name, weight in weights.items():
            linears[name].merged = weight
        yield
    finally:
        for name in weights:
            linears[name].merged = None
