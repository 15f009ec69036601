"""The trainable state of K adapters on one frozen base model, and adapters merged into its weights.

What the layers compute with it stands in `packed_linear`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from orchestrator.tuning.adapters.dropout import Dropout, DropoutPositions
from orchestrator.tuning.adapters.packed_linear import (
    PackedLinear,
    Slots,
    StepSlots,
    without_autocast,
)

TRAINED = ("A", "B", "magnitude")


@dataclass(frozen=True)
class Adapter:
    """One trial's adapter: tensors per module, in PEFT's shapes, on the device and in the type of
    the base model.
    """

    scaling: float
    """s in W + s B A."""
    dropout: float
    seed: int
    modules: dict[str, dict[str, Tensor]]
    """Module path -> A (r, in), B (out, r), and where the variant has them magnitude (out,), A0 and
    B0 as A and B.
    """


@dataclass
class Pack:
    """The trainable state of K adapters: every trained tensor is a view into one row of `flat` (K,
    P).
    """

    adapters: tuple[Adapter, ...]
    layers: dict[str, Slots] = field(init=False)
    flat: Tensor = field(init=False)
    grad: Tensor = field(init=False)
    is_B: Tensor = field(init=False)
    """(P,) boolean: the entries that LoRA+ trains at a higher rate (B and the magnitude)."""
    step: Tensor = field(init=False)

    def __post_init__(self) -> None:
        like = next(iter(self.adapters[0].modules.values()))["A"]
        count = len(self.adapters)
        self.step = torch.zeros(count, 1, 1, dtype=torch.int64, device=like.device)
        self._positions = DropoutPositions()
        self._views: dict[tuple[str, str], tuple[int, tuple[int, ...]]] = {}
        size = 0
        for name in sorted({name for adapter in self.adapters for name in adapter.modules}):
            for part, shape in self._part_shapes(name).items():
                self._views[name, part] = (size, shape)
                size += int(torch.Size(shape).numel())
        self.flat, self.grad = like.new_zeros(count, size), like.new_zeros(count, size)
        self.is_B = torch.zeros(size, dtype=torch.bool, device=like.device)
        for (_, part), (start, shape) in self._views.items():
            self.is_B[start : start + torch.Size(shape).numel()] = part != "A"
        for slot, adapter in enumerate(self.adapters):
            self.write(
                self.flat,
                slot,
                {(n, p): t for n, m in adapter.modules.items() for p, t in m.items()},
            )
        self.layers = {name: self._slots_of_module(name) for name in self._adapted_modules()}

    def set_positions(self, row: Tensor, frame: Tensor) -> None:
        """Say where what this thread sends through the model next stands: see
        `DropoutPositions`.
        """
        self._positions.row, self._positions.frame = row, frame

    def of_step(self, linears: Mapping[str, PackedLinear]) -> StepPack:
        """What all micro-batches of the next step compute with."""
        return StepPack(
            {name: slots.of_step(linears[name].weight) for name, slots in self.layers.items()}
        )

    def add(self, step: StepPack, gradients: Sequence[Sequence[Tensor]]) -> None:
        """Add to `grad` what `step.gradients` gave of each micro-batch."""
        total = tuple(gradients[0])
        for more in gradients[1:]:
            total = torch._foreach_add(total, tuple(more))
        rest = iter(total)
        views: list[Tensor] = []
        added: list[Tensor] = []
        for name, slots in step.layers.items():
            own = slots.of_trained([next(rest) for _ in slots.leaves])
            views += [
                self._view_of_part(self.grad, name, part)
                for part in TRAINED
                if (name, part) in self._views
            ]
            added += own
        torch._foreach_add_(views, added)

    def _adapted_modules(self) -> list[str]:
        return list(dict.fromkeys(name for name, _ in self._views))

    def _part_shapes(self, name: str) -> dict[str, tuple[int, ...]]:
        """Shapes without the leading K of what is trained in one module; R is the largest rank
        there.
        """
        parts = [adapter.modules[name] for adapter in self.adapters if name in adapter.modules]
        rank = max(len(part["A"]) for part in parts)
        shapes: dict[str, tuple[int, ...]] = {
            "A": (rank, parts[0]["A"].shape[1]),
            "B": (parts[0]["B"].shape[0], rank),
        }
        if any("magnitude" in part for part in parts):
            shapes["magnitude"] = (parts[0]["B"].shape[0],)
        return shapes

    def _slots_of_module(self, name: str) -> Slots:
        views = {}
        for part in TRAINED:
            if (name, part) in self._views:
                views[part] = self._view_of_part(self.flat, name, part)
        like = self.flat
        scaling = like.new_tensor([adapter.scaling for adapter in self.adapters])[:, None, None]
        slots = Slots(views["A"], views["B"], scaling, views.get("magnitude"))
        modules = [adapter.modules.get(name, {}) for adapter in self.adapters]
        if slots.magnitude is not None:
            slots.dora = torch.tensor(
                [["magnitude" in module] for module in modules], device=like.device
            )
        if any("A0" in module for module in modules):
            slots.A0, slots.B0 = torch.zeros_like(slots.A), torch.zeros_like(slots.B)
            for slot, module in enumerate(modules):
                if "A0" in module:
                    slots.A0[slot, : len(module["A0"])] = module["A0"]
                    slots.B0[slot, :, : len(module["A0"])] = module["B0"]
        if any(adapter.dropout for adapter in self.adapters):
            probability = like.new_tensor([adapter.dropout for adapter in self.adapters])
            seeds = torch.tensor([adapter.seed for adapter in self.adapters], device=like.device)
            # counted among the trial's own modules: those of its company are none of its business
            places = [sum(own < name for own in adapter.modules) for adapter in self.adapters]
            modules_at = torch.tensor(places, device=like.device)
            shape = (-1, 1, 1)
            slots.dropout = Dropout(
                probability.view(shape),
                seeds.view(shape),
                modules_at.view(shape),
                self.step,
                self._positions,
            )
        return slots

    def _view_of_part(self, buffer: Tensor, name: str, part: str) -> Tensor:
        start, shape = self._views[name, part]
        return (
            buffer[:, start : start + torch.Size(shape).numel()].view(len(buffer), *shape).detach()
        )

    def write(self, buffer: Tensor, slot: int, tensors: Mapping[tuple[str, str], Tensor]) -> None:
        """Put (module, part) tensors of a trial's own rank into row `slot` of a (K, P) buffer; the
        rest stays zero.
        """
        with torch.no_grad():
            for (name, part), tensor in tensors.items():
                if part in TRAINED:
                    target = self._view_of_part(buffer, name, part)[slot]
                    target[tuple(slice(n) for n in tensor.shape)].copy_(tensor)

    def read(self, buffer: Tensor, slot: int) -> dict[tuple[str, str], Tensor]:
        """The inverse of `write`: copies of a trial's own tensors out of row `slot` of a (K, P)
        buffer.
        """
        taken = {}
        for name, parts in self.adapters[slot].modules.items():
            for part in TRAINED:
                if part in parts:
                    view = self._view_of_part(buffer, name, part)[slot]
                    taken[name, part] = view[tuple(slice(n) for n in parts[part].shape)].clone()
        return taken

    def adapter(self, slot: int) -> Adapter:
        """The slot's adapter as it stands now."""
        before = self.adapters[slot]
        modules = {name: dict(parts) for name, parts in before.modules.items()}
        for (name, part), tensor in self.read(self.flat, slot).items():
            modules[name][part] = tensor
        return Adapter(before.scaling, before.dropout, before.seed, modules)


@dataclass(frozen=True)
class StepPack:
    """A pack during one step: what is the same in all of its micro-batches is computed once."""

    layers: Mapping[str, StepSlots]

    def gradients(self, loss: Tensor) -> list[Tensor]:
        """Those of `loss`, the sum over trials, by all leaves; safe in several threads at once."""
        leaves = [leaf for slots in self.layers.values() for leaf in slots.leaves]
        return list(torch.autograd.grad(loss, leaves))


def merged_weight(
    weight: Tensor, parts: Mapping[str, Tensor], scaling: float, adapter_scale: float
) -> Tensor:
    """W + adapter_scale * (W' - W), W' the adapter merged into W (out, in): exact for every
    variant.
    """
    with without_autocast(weight):
        delta = scaling * (parts["B"] @ parts["A"])
        if "A0" in parts:
            delta = delta - scaling * (parts["B0"] @ parts["A0"])
        if "magnitude" in parts:
            moved = weight + delta
            delta = (parts["magnitude"] / moved.norm(dim=1))[:, None] * moved - weight
        return weight + adapter_scale * delta


@torch.no_grad()
def stack_merged(
    linears: Mapping[str, PackedLinear], scaled_adapters: Sequence[tuple[Adapter, float]]
) -> dict[str, Tensor]:
    """Merged weights (K, out, in) of every module that any of the (adapter, scale) pairs
    touches.
    """
    names = sorted({name for adapter, _ in scaled_adapters for name in adapter.modules})
    stacked = {}
    for name in names:
        base, weights = linears[name].weight, []
        for adapter, scale in scaled_adapters:
            parts = adapter.modules.get(name)
            weights.append(
                base if parts is None else merged_weight(base, parts, adapter.scaling, scale)
            )
        stacked[name] = torch.stack(weights)
    return stacked
