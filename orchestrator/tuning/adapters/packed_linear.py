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

from collections.abc import Iterator, Mapping, Sequence
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

    @torch.no_grad()
    def of_step(self, weight: Tensor) -> StepSlots:
        """What all micro-batches of a step compute with, on the frozen `weight` (out, in)."""
        A, B = self.A.detach(), self.B * self.scaling
        whole_A = A if self.A0 is None else torch.cat((A, self.A0), 1)
        whole_B = B if self.B0 is None else torch.cat((B, self.B0 * -self.scaling), 2)
        adapted = norm = gain = None
        if self.dropout is None and not torch.is_autocast_enabled(weight.device.type):
            adapted = torch.baddbmm(weight.expand(len(A), *weight.shape), whole_B, whole_A)
        if self.magnitude is not None and self.dora is not None:
            norm = row_norm(weight, whole_A, whole_B) if adapted is None else adapted.norm(dim=-1)
            gain = torch.where(self.dora, self.magnitude / norm, 1.0)
            if adapted is not None:
                adapted *= gain[..., None]
            gain.requires_grad_()
        if adapted is None:
            A, B = whole_A, whole_B
        return StepSlots(self, A.requires_grad_(), B.requires_grad_(), adapted, gain, norm)


@dataclass(frozen=True)
class StepSlots:
    """The same during one step. A, B and gain are leaves of its graph."""

    state: Slots
    A: Tensor
    """(K, R, in): what is trained; where there is no `adapted`, PiSSA's frozen half beside it."""
    B: Tensor
    """(K, out, R), likewise, s multiplied in."""
    adapted: Tensor | None
    """(K, out, in): g (W + B A); None where W's product and the adapter's are kept apart."""
    gain: Tensor | None
    """g (K, out): magnitude over row norm where a slot is DoRA, else 1; None without any."""
    norm: Tensor | None
    """(K, out): of the rows of W + B A. DoRA treats it as a constant (Liu et al. 2024, section 4.3;
    PEFT does the same)."""

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        """Whose gradients `of_trained` takes."""
        return (self.A, self.B) if self.gain is None else (self.A, self.B, self.gain)

    def of_trained(self, gradients: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The gradients of A, B and, where there is one, the magnitude, from those of `leaves`."""
        rank = self.state.A.shape[1]
        dA, dB = gradients[0][:, :rank], gradients[1][..., :rank] * self.state.scaling
        if self.norm is None or self.state.dora is None:
            return dA, dB
        return dA, dB, torch.where(self.state.dora, gradients[2] / self.norm, 0.0)


class PackedLinear(FrozenLinear):
    """Stands in the place of a frozen `nn.Linear`, with the very same parameters.

    Unbound it computes what the linear computed; bound to a pack's `slots` it computes all K
    adapters; bound to `merged` weights (K, out, in) it computes K merged models, for decoding.
    """

    def __init__(self, linear: nn.Linear, products: Products = ATEN) -> None:
        super().__init__(linear, products)
        self.slots: StepSlots | None = None
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

    def _forward_packed(self, x: Tensor, slots: StepSlots) -> Tensor:
        rows = x.reshape(len(slots.A), -1, x.shape[-1])
        dropout = slots.state.dropout
        y = (
            self._forward_adapted(rows, slots)
            if dropout is None
            else self._forward_dropped(rows, slots, dropout)
        )
        y = y if self.bias is None else y + self.bias
        return y.view(*x.shape[:-1], -1)

    def _forward_adapted(self, x: Tensor, slots: StepSlots) -> Tensor:
        """x (K, L, in) -> (K, L, out) without bias."""
        A, B, gain = slots.A, slots.B, slots.gain
        if slots.adapted is not None:
            out: Tensor = _LowRank.apply(x, slots.adapted, A, B, gain, self.products)  # type: ignore[no-untyped-call]
            return out
        # a change of bfloat16 weights below their resolution would be lost if it were added to them
        y = torch.baddbmm(self.products.linear(x, self.weight), torch.bmm(x, A.mT), B.mT)
        return y if gain is None else gain[:, None] * y

    def _forward_dropped(self, x: Tensor, slots: StepSlots, dropout: Dropout) -> Tensor:
        """The same with dropout; PEFT's DoRA: the base keeps the whole input, only what is added
        sees the dropped.
        """
        base, rows = self.products.linear(x, self.weight), dropout(x)
        y = torch.baddbmm(base, torch.bmm(rows, slots.A.mT), slots.B.mT)
        dora = slots.state.dora
        if slots.gain is None or dora is None:
            return y
        gain = slots.gain[:, None]
        through = self.products.linear(rows, self.weight)
        return torch.where(dora[:, None], base + (gain - 1) * through + gain * (y - base), y)


class _LowRank(torch.autograd.Function):
    """x (K, L, in), adapted g (W + B A) (K, out, in), A (K, R, in), B (K, out, R), g (K, out) or
    None -> x adapted^T (K, L, out).

    Forward and the gradient of x are one product each with the adapted weight; the gradients of A and
    B go through the R columns alone: 2 + 4 R / in products of the size of W in all, where W's own is
    never computed. The small side R stands in rows, never in columns: CPU libraries multiply by 4 or
    8 columns several times slower.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        adapted: Tensor,
        A: Tensor,
        B: Tensor,
        gain: Tensor | None,
        products: Products,
    ) -> Tensor:
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
    """||W + B A|| per row, (K, out), without materialising the sum: ||W||^2 + 2 (W A^T . B) 1 + (B A A^T . B) 1."""
    with without_autocast(weight):
        cross = (torch.matmul(weight, A.mT) * B).sum(-1)
        square = (torch.bmm(B, torch.bmm(A, A.mT)) * B).sum(-1)
        return (weight.square().sum(1) + 2 * cross + square).clamp_min(0).sqrt()


def without_autocast(like: Tensor) -> torch.autocast:
    """No autocast within the block: what describes weights is computed in their own type."""
    return torch.autocast(like.device.type, enabled=False)


@contextmanager
def bind_slots(
    linears: Mapping[str, PackedLinear], layers: Mapping[str, StepSlots]
) -> Iterator[None]:
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
