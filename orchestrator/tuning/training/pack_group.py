"""The trials that train together: slots that have the same entry depth, packed anew whenever a
trial joins or leaves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import torch
from torch import Tensor

from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.tuning.adapters.pack import TRAINED, Adapter, Pack
from orchestrator.tuning.model.base_model import BaseModel
from orchestrator.tuning.model.encoder_cache import EncoderCache
from orchestrator.tuning.training.optimizer import PackedAdamW
from orchestrator.tuning.training.step import pack_step
from orchestrator.tuning.training.training_set import TrainingSet

Moments = dict[tuple[str, str], Tensor]
"""(module, part) -> a tensor for each trained one, such as an optimizer moment, in the trial's own
shapes."""


@dataclass
class Slot:
    """One trial in training. While it is in a pack, its adapter and moments here are those from
    before the pack was made; `PackGroup.unpack` brings them up to date.
    """

    plan: TrialPlan
    targets: tuple[str, ...]
    """The modules that the trial adapts."""
    adapter: Adapter
    step: int = 0
    """The number of optimizer steps made."""
    exp_avg: Moments = field(default_factory=dict)
    exp_avg_sq: Moments = field(default_factory=dict)
    loss_sum: float = 0.0
    """The sum of the losses of `loss_steps` steps, those since the last measurement."""
    loss_steps: int = 0
    ended: bool = False
    """Whether it was measured at its last step, or failed: it trains no further and waits to be
    released.
    """
    summed: Moments = field(default_factory=dict)
    """The sum of the trained tensors over the steps of `averaged_steps` so far."""
    said: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Its hypotheses by set when it was last measured. They are drafts that make the next
    measurement faster and change no result, so they are not kept in a checkpoint.
    """
    initial: Adapter | None = None
    """The adapter before the first step; None in a slot that was restored, until it is made
    again.
    """

    @property
    def is_final(self) -> bool:
        """Whether the trial has made its last step."""
        return self.step == self.plan.params.max_steps

    @property
    def loss(self) -> float:
        """The mean loss per token since the last measurement, in nats."""
        return self.loss_sum / max(1, self.loss_steps)

    def add_to_average(self) -> None:
        """Add the adapter as it is now to the sum of which `averaged` is the mean."""
        for name, parts in self.adapter.modules.items():
            for part in TRAINED:
                if part in parts:
                    before = self.summed.get((name, part))
                    self.summed[name, part] = (
                        parts[part].clone() if before is None else before + parts[part]
                    )

    def averaged(self) -> Adapter:
        """Return the mean of the trial's adapters over `averaged_steps`. It is the mean of each
        factor and not of the products B A, so that every variant keeps its form.
        """
        count = len(self.plan.params.averaged_steps)
        modules = {
            name: parts
            | {part: self.summed[name, part] / count for part in TRAINED if part in parts}
            for name, parts in self.adapter.modules.items()
        }
        return replace(self.adapter, modules=modules)


@dataclass(frozen=True)
class Packed:
    """Slots that make a step together, and their pack and optimizer."""

    slots: tuple[Slot, ...]
    pack: Pack
    optimizer: PackedAdamW

    def write_back(self) -> None:
        """Copy the pack's state back into its slots."""
        for row, slot in enumerate(self.slots):
            slot.adapter = self.pack.adapter(row)
            slot.exp_avg = self.pack.read(self.optimizer.exp_avg, row)
            slot.exp_avg_sq = self.pack.read(self.optimizer.exp_avg_sq, row)


class PackGroup:
    """The slots of one entry depth and the packs that they are in: one, unless memory is short."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.slots: list[Slot] = []
        self.division = 1
        """How many times smaller micro-batches are, for less memory."""
        self.parts = 1
        """The number of packs, which are stepped one after the other."""
        self._packs: dict[tuple[int, ...], Packed] = {}
        """The packs by the `id` of each of their slots."""

    def join(self, slot: Slot) -> None:
        """Add a trial, which the next step packs with the others."""
        self.unpack()
        self.slots.append(slot)

    def leave(self, slot: Slot) -> None:
        """Take a trial out, with its state as it is. `division` and `parts` start over at 1,
        because the others may fit into memory without it.
        """
        self.unpack()
        self.slots.remove(slot)
        self.division = self.parts = 1

    def unpack(self) -> None:
        """Copy the packs' state back into their slots. The next step packs them again, bit for bit
        the same.
        """
        for packed in self._packs.values():
            packed.write_back()
        self._packs = {}

    def _unpack_others_of(self, slots: set[int]) -> None:
        """Copy back and give up the packs that hold any of these slots: they were packed otherwise
        before, as where memory ran out in one half of a pack alone, and a pack that is made of a
        slot begins at the slot's own state.
        """
        for key in [key for key in self._packs if slots.intersection(key)]:
            self._packs.pop(key).write_back()

    def groups(self) -> list[tuple[Slot, ...]]:
        """Return the slots in `parts` groups of similar size, in order."""
        count, total = min(self.parts, len(self.slots)), len(self.slots)
        edges = [total * part // count for part in range(count + 1)] if count else [0]
        return [tuple(self.slots[first:last]) for first, last in pairwise(edges)]

    def step(self, base: BaseModel, store: EncoderCache, data: TrainingSet) -> list[str | None]:
        """Make one optimizer step of every slot; return for each what went wrong, or None. Raises
        what the computation raises.
        """
        return [
            fault for group in self.groups() for fault in self.step_group(group, base, store, data)
        ]

    def step_group(
        self, group: tuple[Slot, ...], base: BaseModel, store: EncoderCache, data: TrainingSet
    ) -> list[str | None]:
        """Make one optimizer step of some of the slots, as one pack; return for each what went
        wrong, or None. Where it raises, none of them has made the step.
        """
        key = tuple(map(id, group))
        if key not in self._packs:
            self._unpack_others_of(set(key))
            self._packs[key] = packed_of(group)
        packed = self._packs[key]
        losses, norms = pack_step(
            base, store, data, packed.pack, packed.optimizer, self.depth, self.division
        )
        return [
            _count_step(slot, loss, norm)
            for slot, loss, norm in zip(group, losses.tolist(), norms.tolist(), strict=True)
        ]


def packed_of(slots: tuple[Slot, ...]) -> Packed:
    """Pack slots. The pack holds copies of their state."""
    pack = Pack(tuple(slot.adapter for slot in slots))
    params = [slot.plan.params for slot in slots]
    optimizer = PackedAdamW(pack.flat, pack.is_B, params, [slot.step for slot in slots])
    for row, slot in enumerate(slots):
        pack.write(optimizer.exp_avg, row, slot.exp_avg)
        pack.write(optimizer.exp_avg_sq, row, slot.exp_avg_sq)
    return Packed(slots, pack, optimizer)


def _count_step(slot: Slot, loss: float, norm: float) -> str | None:
    """Count a step that a slot has made; return what is wrong where its numbers are not finite."""
    slot.step += 1
    slot.loss_sum += loss
    slot.loss_steps += 1
    finite = math.isfinite(loss) and math.isfinite(norm)
    return None if finite else f"loss {loss:g}, gradient norm {norm:g}: not finite"


def why_unmoved(slot: Slot, initial: Adapter) -> str:
    """Say why training has not changed a slot's adapter; empty where it has, and where it may yet:
    a warm-up begins at a learning rate of 0.

    A alone does not count: where B is still zero, as a plain LoRA begins, it changes no weight.
    Whether a gradient arrived is read off the second moments of AdamW, because weight decay moves
    what does not begin at zero, DoRA's magnitude and PiSSA's B, without any gradient.
    """
    learnt = [key for key in slot.exp_avg_sq if key[1] != "A"]
    if not any(bool(slot.exp_avg_sq[key].any()) for key in learnt):
        return "no gradient reaches its target modules"
    if all(
        torch.equal(slot.adapter.modules[name][part], initial.modules[name][part])
        for name, part in learnt
    ):
        if slot.step <= slot.plan.params.warmup_steps:
            return (
                "its learning rate is still near 0 at its last step; keep warmup_steps below max_steps"
                if slot.is_final
                else ""
            )
        return f"its learning rate of {slot.plan.params.learning_rate:g} is too small to change a number"
    return ""
