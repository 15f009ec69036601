"""One step of a pack group in which a trial that fails does not end the others.

A step that runs out of memory is made again in micro-batches of half the size, which is the same
sum in another order, down to one utterance of each slot; then the pack is divided in two, and so
on; a trial that does not fit alone ends. After any other failure each slot makes the step by
itself, on a copy of its state: those that fail there, but not for want of memory, end, and the
others make the step together, as if the failed ones had never joined.
"""

from __future__ import annotations

from functools import partial

from orchestrator.errors import ModelError
from orchestrator.tuning.model.base_model import BaseModel
from orchestrator.tuning.model.encoder_cache import EncoderCache
from orchestrator.tuning.training.micro_batches import most_divided
from orchestrator.tuning.training.pack_group import PackGroup, Slot, packed_of
from orchestrator.tuning.training.step import pack_step
from orchestrator.tuning.training.training_set import TrainingSet
from orchestrator.tuning.trial_faults import Done, Fault, attempt

Faults = list[tuple[Slot, Fault]]
"""The slots that cannot go on, and why."""


class Stepper:
    """Steps pack groups with one model and one training set."""

    def __init__(self, base: BaseModel, store: EncoderCache, data: TrainingSet) -> None:
        self.base, self.store, self.data = base, store, data

    def step(self, pack_group: PackGroup) -> Faults:
        """Make one optimizer step of every slot, except those that cannot go on, which are returned
        with the reason.
        """
        return [
            event for group in pack_group.groups() for event in self._step_group(pack_group, group)
        ]

    def _step_group(self, pack_group: PackGroup, group: tuple[Slot, ...]) -> Faults:
        outcome = attempt(
            lambda: pack_group.step_group(group, self.base, self.store, self.data), self.base.device
        )
        if isinstance(outcome, Done):
            said = zip(group, outcome.value, strict=True)
            return [(slot, Fault(reason)) for slot, reason in said if reason]
        # the failed step has changed nothing: every slot still has its state from before
        pack_group.unpack()
        if not outcome.memory:
            return self._without_culprits(pack_group, group, outcome)
        if pack_group.division < most_divided([slot.plan.params for slot in group], self.base):
            pack_group.division *= 2
            return self._step_group(pack_group, group)
        return self._in_halves(pack_group, group, outcome)

    def _in_halves(self, pack_group: PackGroup, group: tuple[Slot, ...], fault: Fault) -> Faults:
        """Step the halves of a group one after the other; `fault` ends a trial that is alone."""
        if len(group) == 1:
            return [(group[0], fault)]
        # from now on no pack of the group is larger than half of this one (rounded up)
        pack_group.parts = max(pack_group.parts, -(-2 * len(pack_group.slots) // len(group)))
        half = len(group) // 2
        return self._step_group(pack_group, group[:half]) + self._step_group(
            pack_group, group[half:]
        )

    def _without_culprits(
        self, pack_group: PackGroup, group: tuple[Slot, ...], fault: Fault
    ) -> Faults:
        """Try every slot alone, and step those together that do not fail there, or for want of
        memory only, which smaller micro-batches may cure. Where none fails alone, `fault` came of
        the whole group, which is halved.
        """
        if len(group) == 1:
            return [(group[0], fault)]
        alone = {
            id(slot): attempt(partial(self._step_on_copy, pack_group, slot), self.base.device)
            for slot in group
        }
        found = [
            (slot, own)
            for slot in group
            if isinstance(own := alone[id(slot)], Fault) and not own.memory
        ]
        if not found:
            return self._in_halves(pack_group, group, fault)
        culprits = {id(slot) for slot, _ in found}
        left = tuple(slot for slot in group if id(slot) not in culprits)
        return found + (self._step_group(pack_group, left) if left else [])

    def _step_on_copy(self, pack_group: PackGroup, slot: Slot) -> None:
        """Make the step of one slot on a copy of its state."""
        packed = packed_of((slot,))
        pack_step(
            self.base,
            self.store,
            self.data,
            packed.pack,
            packed.optimizer,
            pack_group.depth,
            pack_group.division,
        )


def probe_step(
    pack_group: PackGroup, base: BaseModel, store: EncoderCache, data: TrainingSet
) -> None:
    """Make one optimizer step as a sweep makes it, where something is measured before there is a
    trial that could fail. Raises ModelError where a slot cannot make it. A loss that is not finite
    is no hindrance.
    """
    for _, fault in Stepper(base, store, data).step(pack_group):
        if fault.traceback:
            advice = (
                "  End what else runs on this machine, take another execution.device, a smaller batch_size, or "
                "shorter clips."
            )
            # what is no lack of memory is a fault of the program: where it is stands in the traceback
            rest = advice if fault.memory else fault.traceback.rstrip()
            raise ModelError(f"one step of one trial: {fault.reason}\n{rest}")
