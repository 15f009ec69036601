"""One linear layer of a frozen base model that computes K adapters in one forward and backward pass.

For each targeted `nn.Linear`: K slots (one per trial), R the largest rank in the pack, and x (K, L,
in) the input, where L counts the positions of all rows of a slot laid end to end:

    y = x (W + s (B A - B0 A0))^T            the frozen A0, B0 exist for PiSSA slots only
    y = g * y                                DoRA: g = magnitude / ||W + s (B A - B0 A0)||_row, detached norm; else 1
    y = y + bias                             bias last, as PEFT does

Ranks below R and modules that a trial does not target are zero rows: their gradients are exactly
zero, and AdamW keeps them zero. So rank, alpha, targets and variant may differ in one pack, and
nothing of one slot enters another: the loss is a sum over trials, clipping is a row norm, the
optimizer is element-wise.

PiSSA is computed as W x + s (B A - B0 A0) x because PEFT's own form changes the base weight, which
the trials share. With dropout the two are not the same: here the adapter's change sees the dropped
input, and in PEFT the whole principal part of W does, from the first step on.
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
    """The adapter tensors of one module for all K slots of a pack: zeros where a slot does not have
    them, None where no slot does.
    """

    A: Tensor
    """(K, R, in), a view into the pack's `flat`, as B and the magnitude are."""
    B: Tensor
    """(K, out, R)."""
    scaling: Tensor
    """(K, 1, 1): s of each slot."""
    magnitude: Tensor | None = None
    """(K, out), for DoRA."""
    dora: Tensor | None = None
    """(K, 1) boolean: which slots are DoRA here."""
    A0: Tensor | None = None
    """(K, R, in): for PiSSA, A as it was initialised."""
    B0: Tensor | None = None
    """(K, out, R): for PiSSA, B as it was initialised."""
    dropout: Dropout | None = None

    @torch.no_grad()
    def of_step(self, weight: Tensor) -> StepSlots:
        """Return the tensors that every micro-batch of one optimizer step uses, computed once from
        the frozen `weight` (out, in).
        """
        A, B = self.A.detach(), self.B * self.scaling
        # s (B A - B0 A0) as one product: (K, out, 2R) (K, 2R, in)
        whole_A = A if self.A0 is None else torch.cat((A, self.A0), 1)
        whole_B = B if self.B0 is None else torch.cat((B, self.B0 * -self.scaling), 2)
        adapted = norm = gain = None
        # With dropout, W and the adapter see different inputs. Under autocast, a small change that
        # is added to large weights would be lost when their sum is rounded to bfloat16.
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
        # leaves of a new graph: the gradient of `adapted` is never computed, see `_LowRank`
        return StepSlots(self, A.requires_grad_(), B.requires_grad_(), adapted, gain, norm)


@dataclass(frozen=True)
class StepSlots:
    """The tensors of one module during one optimizer step, computed from `Slots`. A, B and gain are
    the leaves of the step's autograd graph.
    """

    state: Slots
    A: Tensor
    """(K, R, in): the trained A. Where `adapted` is None and the pack has PiSSA slots, (K, 2R, in):
    the frozen A0 stands below it.
    """
    B: Tensor
    """(K, out, R) or (K, out, 2R), likewise with B0 negated; s is multiplied in."""
    adapted: Tensor | None
    """(K, out, in): g (W + B A), with PiSSA's frozen half subtracted; None where W's product and
    the adapter's are computed apart.
    """
    gain: Tensor | None
    """g (K, out): magnitude over row norm where a slot is DoRA, else 1; None where none is."""
    norm: Tensor | None
    """(K, out): the norms of the rows of W + B A. DoRA treats them as constants (Liu et al. 2024,
    section 4.3; PEFT does the same)."""

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        """The leaf tensors whose gradients `of_trained` expects, in order."""
        return (self.A, self.B) if self.gain is None else (self.A, self.B, self.gain)

    def of_trained(self, gradients: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Convert the gradients of `leaves` to those of the trained A, B and magnitude, if any."""
        rank = self.state.A.shape[1]
        # without PiSSA's frozen half; B holds s B_trained, and gain is magnitude / norm
        dA, dB = gradients[0][:, :rank], gradients[1][..., :rank] * self.state.scaling
        if self.norm is None or self.state.dora is None:
            return dA, dB
        return dA, dB, torch.where(self.state.dora, gradients[2] / self.norm, 0.0)


class PackedLinear(FrozenLinear):
    """Replaces a frozen `nn.Linear`, with the same parameter tensors.

    By itself it computes what the linear layer computed. With `slots` set it computes all K
    adapters of a pack, for training; with `merged` weights (K, out, in), K merged models, for
    decoding. The rows of its input are then K equal runs, slot after slot.
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
        # (K * rows, ..., in) or (K, L, in) -> (K, L, in): one product per slot
        rows = x.reshape(len(weights), -1, x.shape[-1])
        return self.products.linears(rows, weights, self.bias).view(*x.shape[:-1], -1)

    def _forward_packed(self, x: Tensor, slots: StepSlots) -> Tensor:
        # (K * rows, ..., in) or (K, L, in) -> (K, L, in)
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
        # kept apart under autocast: a small change would be lost when added to bfloat16 weights
        y = torch.baddbmm(self.products.linear(x, self.weight), torch.bmm(x, A.mT), B.mT)
        return y if gain is None else gain[:, None] * y

    def _forward_dropped(self, x: Tensor, slots: StepSlots, dropout: Dropout) -> Tensor:
        """x (K, L, in) -> (K, L, out) without bias, with dropout: W sees the whole input, the
        adapter the dropped one.

        For DoRA slots it is PEFT's form, base + (g - 1) W x' + g s B A x', with x' the dropped
        input.
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
    """x (K, L, in), adapted = g (W + B A) (K, out, in), A (K, R, in), B (K, out, R), g (K, out) or
    None -> x adapted^T (K, L, out).

    The forward pass and the gradient of x are one product each with the adapted weight. The
    gradients of A and B go through the R columns alone, and that of the adapted weight itself is
    never computed: in all 2 + 4 R / in products of the size of x W^T, for a square W. The small
    side R stands in rows, never in columns: CPU libraries multiply by 4 or 8 columns several times
    slower.
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
        # dB = dy^T (x A^T), computed transposed: (K, R, L) (K, L, out) -> (K, R, out)
        dB = torch.bmm(torch.bmm(A, x.mT), dy).mT
        if gain is None:
            return dx, None, torch.bmm(torch.bmm(B.mT, dy.mT), x), dB, None, None
        # y = g * (x (W + B A)^T): the products use g B, B's gradient is scaled by g, and the
        # gradient of g is sum(dy * y) / g
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
    """Return the norms of the rows of W + B A (K, out), without materialising the sum.

    Their squares are ||W||^2 + 2 (W A^T . B) 1 + (B A A^T . B) 1, where `.` is the element-wise
    product and `1` sums over the rank.
    """
    with without_autocast(weight):
        cross = (torch.matmul(weight, A.mT) * B).sum(-1)
        square = (torch.bmm(B, torch.bmm(A, A.mT)) * B).sum(-1)
        return (weight.square().sum(1) + 2 * cross + square).clamp_min(0).sqrt()


def without_autocast(like: Tensor) -> torch.autocast:
    """Return a context without autocast: products of weights keep the weights' own dtype."""
    return torch.autocast(like.device.type, enabled=False)


@contextmanager
def bind_slots(
    linears: Mapping[str, PackedLinear], layers: Mapping[str, StepSlots]
) -> Iterator[None]:
    """A context within which the model computes the K adapters of a pack."""
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
    """A context within which the model computes K merged models."""
    try:
        for name, weight in weights.items():
            linears[name].merged = weight
        yield
    finally:
        for name in weights:
            linears[name].merged = None
