"""Trials that train together: slots with one entry depth, packed anew whenever a trial joins or leaves."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.tuning.adapters.pack import TRAINED, Adapter, Pack
from orchestrator.tuning.model.base_model import BaseModel
from orchestrator.tuning.model.encoder_cache import EncoderCache
from orchestrator.tuning.training.optimizer import PackedAdamW
from orchestrator.tuning.training.step import TrainingSet, pack_step

Moments = dict[tuple[str, str], Tensor]
"""(module, part) -> optimizer moment in the trial's own shapes."""


@dataclass
class Slot:
    """One trial in training, while it is in no pack."""

    plan: TrialPlan
    targets: tuple[str, ...]
    adapter: Adapter
    step: int = 0
    exp_avg: Moments = field(default_factory=dict)
    exp_avg_sq: Moments = field(default_factory=dict)
    loss_sum: float = 0.0
    """Of the steps since the last measurement."""
    loss_steps: int = 0
    ended: bool = False
    """Measured at its last step, or failed: trains no further and waits for release."""
    summed: Moments = field(default_factory=dict)
    """Sum of the trained tensors over the steps of `averaged_steps` so far."""
    initial: Adapter | None = None
    """The adapter before the first step; None in a slot that was restored, until it is made again."""

    @property
    def is_final(self) -> bool:
        """Whether it stands at its last step."""
        return self.step == self.plan.params.max_steps

    @property
    def loss(self) -> float:
        """Mean loss per token since the last measurement, in nats."""
        return self.loss_sum / max(1, self.loss_steps)

    def add_to_average(self) -> None:
        """Take the adapter as it stands into the mean that the trial ends with."""
        for name, parts in self.adapter.modules.items():
            for part in TRAINED:
                if part in parts:
                    before = self.summed.get((name, part))
                    self.summed[name, part] = parts[part].clone() if before is None else before + parts[part]

    def averaged(self) -> Adapter:
        """The mean of what was trained, factor by factor and not of the products B A: any variant keeps its form."""
        count = len(self.plan.params.averaged_steps)
        modules = {
            name: parts | {part: self.summed[name, part] / count for part in TRAINED if part in parts}
            for name, parts in self.adapter.modules.items()
        }
        return replace(self.adapter, modules=modules)


class PackGroup:
    """The slots of one entry depth and the pack they are in."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.slots: list[Slot] = []
        self._pack: Pack | None = None
        self._optimizer: PackedAdamW | None = None

    def join(self, slot: Slot) -> None:
        """Add a trial; the next step packs it."""
        self.unpack()
        self.slots.append(slot)

    def leave(self, slot: Slot) -> None:
        """Take a trial out, with its state as it stands."""
        self.unpack()
        self.slots.remove(slot)

    def unpack(self) -> None:
        """Write the pack's state back into its slots; the next step packs them again, bit for bit the same."""
        if self._pack is None or self._optimizer is None:
            return
        for row, slot in enumerate(self.slots):
            slot.adapter = self._pack.adapter(row)
            slot.exp_avg = self._pack.read(self._optimizer.exp_avg, row)
            slot.exp_avg_sq = self._pack.read(self._optimizer.exp_avg_sq, row)
        self._pack = self._optimizer = None

    def step(self, base: BaseModel, store: EncoderCache, data: TrainingSet) -> list[str | None]:
        """One optimizer step of every slot; per slot what went wrong, or None."""
        if self._pack is None or self._optimizer is None:
            self._pack, self._optimizer = self._packed()
        losses, norms = pack_step(base, store, data, self._pack, self._optimizer, self.depth)
        faults: list[str | None] = []
        for slot, loss, norm in zip(self.slots, losses.tolist(), norms.tolist(), strict=True):
            slot.step += 1
            slot.loss_sum += loss
            slot.loss_steps += 1
            finite = torch.isfinite(torch.tensor([loss, norm])).all()
            faults.append(None if finite else f"loss {loss:g}, gradient norm {norm:g}: not finite")
        return faults

    def _packed(self) -> tuple[Pack, PackedAdamW]:
        pack = Pack(tuple(slot.adapter for slot in self.slots))
        params = [slot.plan.params for slot in self.slots]
        optimizer = PackedAdamW(pack.flat, pack.is_B, params, [slot.step for slot in self.slots])
        for row, slot in enumerate(self.slots):
            pack.write(optimizer.exp_avg, row, slot.exp_avg)
            pack.write(optimizer.exp_avg_sq, row, slot.exp_avg_sq)
        return pack, optimizer


def has_moved(adapter: Adapter, initial: Adapter) -> bool:
    """Does any trained tensor differ from the start? An adapter that did not move was trained on nothing."""
    return any(
        not torch.equal(parts[part], initial.modules[name][part])
        for name, parts in adapter.modules.items()
        for part in TRAINED
        if part in parts and part != "A"
    )
