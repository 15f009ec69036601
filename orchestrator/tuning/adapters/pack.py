"""The trainable state of K adapters on one frozen base model, and adapters merged into its weights.

How the layers compute with this state is in `packed_linear`.
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
"""The parts of an adapted module that the optimizer changes; A0 and B0 are frozen."""


@dataclass(frozen=True)
class Adapter:
    """One trial's adapter: the tensors of each adapted module, in PEFT's shapes, on the device and
    in the dtype of the base model.
    """

    scaling: float
    """s in W + s B A."""
    dropout: float
    """The probability that an entry of the adapter's input is dropped."""
    seed: int
    """The trial's seed, which dropout is drawn from."""
    modules: dict[str, dict[str, Tensor]]
    """Module path -> A (r, in) and B (out, r); for DoRA also magnitude (out,); for PiSSA also the
    frozen A0 and B0, shaped like A and B.
    """


@dataclass
class Pack:
    """The trainable state of K adapters. Slot k is row k of one buffer, `flat` (K, P), so that
    clipping is a row norm and AdamW is element-wise; what is trained in `layers` are views into it.
    """

    adapters: tuple[Adapter, ...]
    """The adapters as they were when the pack was made: shapes, constants and frozen parts."""
    layers: dict[str, Slots] = field(init=False)
    """Module path -> what that module holds for all K slots."""
    flat: Tensor = field(init=False)
    """(K, P): everything that is trained; P counts each module at the pack's largest rank there."""
    grad: Tensor = field(init=False)
    """(K, P): the gradients of `flat`, summed over the micro-batches of a step."""
    is_B: Tensor = field(init=False)
    """(P,) boolean: the entries that LoRA+ trains at a higher rate (B and the magnitude)."""
    step: Tensor = field(init=False)
    """(K, 1, 1) int64: each trial's optimizer step, from which its dropout is drawn."""

    def __post_init__(self) -> None:
        like = next(iter(self.adapters[0].modules.values()))["A"]
        count = len(self.adapters)
        self.step = torch.zeros(count, 1, 1, dtype=torch.int64, device=like.device)
        self._positions = DropoutPositions()
        # (module, part) -> the first of its entries in a row, and its shape without the leading K
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
        """Set the row and frame of every position that this thread sends through the model next,
        from which dropout is drawn; shapes as in `DropoutPositions`.
        """
        self._positions.row, self._positions.frame = row, frame

    def of_step(self, linears: Mapping[str, PackedLinear]) -> StepPack:
        """Return the tensors that every micro-batch of the next optimizer step uses."""
        return StepPack(
            {name: slots.of_step(linears[name].weight) for name, slots in self.layers.items()}
        )

    def add(self, step: StepPack, gradients: Sequence[Tensor]) -> None:
        """Add to `grad` what `step.gradients` returned, summed over the micro-batches."""
        # one tensor per leaf, module after module, in the order of `StepPack.gradients`
        rest = iter(gradients)
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
        """Return part -> shape, without the leading K, of what is trained in one module.

        The rank is the largest of any adapter there; smaller ones are padded with zeros.
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
            # The index counts the trial's own modules alone, so that its dropout does not depend on
            # which modules the other trials of the pack adapt.
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
        """Return the view (K, *shape) of one part of one module in a (K, P) buffer."""
        start, shape = self._views[name, part]
        return (
            buffer[:, start : start + torch.Size(shape).numel()].view(len(buffer), *shape).detach()
        )

    def write(self, buffer: Tensor, slot: int, tensors: Mapping[tuple[str, str], Tensor]) -> None:
        """Copy the (module, part) tensors of one trial into row `slot` of a (K, P) buffer. Entries
        beyond the trial's rank and modules are left as they are, which is zero.
        """
        with torch.no_grad():
            for (name, part), tensor in tensors.items():
                if part in TRAINED:
                    target = self._view_of_part(buffer, name, part)[slot]
                    target[tuple(slice(n) for n in tensor.shape)].copy_(tensor)

    def read(self, buffer: Tensor, slot: int) -> dict[tuple[str, str], Tensor]:
        """Return copies of one trial's tensors, at its own rank, from row `slot` of a (K, P)
        buffer: the inverse of `write`.
        """
        taken = {}
        for name, parts in self.adapters[slot].modules.items():
            for part in TRAINED:
                if part in parts:
                    view = self._view_of_part(buffer, name, part)[slot]
                    taken[name, part] = view[tuple(slice(n) for n in parts[part].shape)].clone()
        return taken

    def adapter(self, slot: int) -> Adapter:
        """Return a copy of the slot's adapter as it is now."""
        before = self.adapters[slot]
        modules = {name: dict(parts) for name, parts in before.modules.items()}
        for (name, part), tensor in self.read(self.flat, slot).items():
            modules[name][part] = tensor
        return Adapter(before.scaling, before.dropout, before.seed, modules)


@dataclass(frozen=True)
class StepPack:
    """A pack during one optimizer step: the tensors that all of its micro-batches use."""

    layers: Mapping[str, StepSlots]

    def gradients(self, loss: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of `loss`, a sum over trials, by the leaves of all modules in order.

        Several threads may call it at once: nothing is accumulated in the leaves themselves.
        """
        leaves = [leaf for slots in self.layers.values() for leaf in slots.leaves]
        return torch.autograd.grad(loss, leaves)


def merged_weight(
    weight: Tensor, parts: Mapping[str, Tensor], scaling: float, adapter_scale: float
) -> Tensor:
    """Return W + adapter_scale * (W' - W) (out, in), where W' is W with the adapter merged in.

    `parts` are the tensors of one module of an `Adapter`. It is exact for LoRA, DoRA and PiSSA
    alike.
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
    """Return the merged weights (K, out, in) of every module that any of the K (adapter, scale)
    pairs adapts; a pair that does not adapt a module gets the base weight there.
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
