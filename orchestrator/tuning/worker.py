"""The worker: one frozen base model, `capacity` adapter slots, one clock.

Every tick is one optimizer step of every slot. Slots whose trials adapt the same depth of the model form a group and
train as one pack; trials that adapt the decoder alone do not wait for those that run the encoder. What happens depends
on the plans and their order of admission only, so a run restored from a checkpoint repeats what it would have done.
"""

from __future__ import annotations

from pathlib import Path

from orchestrator.planning.sweep_plan import first_plan
from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.results import Measurement
from orchestrator.records.worker import Event, Failed, Measured, Progress
from orchestrator.sweepfile.identity import digest
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.tuning.adapters.pack import Adapter
from orchestrator.tuning.adapters.peft_adapter import export, initial_adapter
from orchestrator.tuning.autotune import pack_size
from orchestrator.tuning.prepared import PreparedSweep, prepare
from orchestrator.tuning.training.checkpoint import load_slots, save_slots
from orchestrator.tuning.training.pack_group import PackGroup, Slot, has_moved

PROGRESS_TICKS = 10
"""Ticks between progress events."""


def start_worker(spec: SweepSpec, cache: Path) -> PackWorker:
    """Prepare a sweep and decide how many adapters train at once.

    Raises ModelError, ManifestError, DataError or ObjectiveError when the model or the data cannot be used.
    """
    prepared = prepare(spec, cache)
    if spec.execution.pack != "auto":
        return PackWorker(prepared, spec.execution.pack)
    with prepared.autocast():
        slots, why = pack_size(first_plan(spec), prepared.base, prepared.store, prepared.data)
    return PackWorker(prepared, slots, why)


class PackWorker:
    """Implements `records.worker.Worker` on one device, with `capacity` slots on a prepared sweep."""

    def __init__(self, prepared: PreparedSweep, capacity: int, pack_reason: str = "") -> None:
        """`pack_reason`: why `auto` chose this capacity; empty where the sweep says it."""
        self.capacity, self.pack_reason = capacity, pack_reason
        self.base, self.data, self.store = prepared.base, prepared.data, prepared.store
        self.evaluator, self.findings, self.autocast = prepared.evaluator, prepared.findings, prepared.autocast
        self._at_every_rung = prepared.spec.data.at_every_rung
        self.notes = (*prepared.notes, *filter(None, (pack_reason,)))
        self._slots: dict[int, Slot] = {}
        self._groups: dict[int, PackGroup] = {}
        self._tick = 0

    @property
    def evaluation(self) -> dict[str, str]:
        """The parts of the evaluation fingerprint."""
        return self.evaluator.evaluation

    @property
    def active(self) -> tuple[int, ...]:
        """Numbers of the trials that hold a slot, in order of admission."""
        return tuple(self._slots)

    def measure_baseline(self) -> Measured:
        """Decode the sets with the untuned base model."""
        with self.autocast():
            sets, heard = self.evaluator.measure_baseline()
        baseline = Measurement(trial=None, step=0, adapter_scale=1.0, fingerprint=digest(self.evaluation), sets=sets)
        return Measured(-1, 0, (baseline,), (heard,), final=True)

    def admit(self, plan: TrialPlan) -> None:
        """Give the plan a slot; raises ModelError when its targets or rank do not fit the model."""
        targets = self.base.targets(plan.params.target_patterns, plan.params.layers)
        initial = initial_adapter(self.base.linears, targets, plan.params)
        self._place(Slot(plan, targets, initial, initial=initial))

    def _place(self, slot: Slot) -> None:
        self._slots[slot.plan.number] = slot
        if not slot.ended:
            depth = self.base.first_adapted_layer(slot.targets)
            self._groups.setdefault(depth, PackGroup(depth)).join(slot)

    def advance(self) -> tuple[Event, ...]:
        """Train all slots up to the next tick at which one is measured or fails, or that reports progress."""
        with self.autocast():
            return self._advance()

    def _advance(self) -> tuple[Event, ...]:
        while True:
            self._tick += 1
            failed = self._train_one_tick()
            self._add_to_averages()
            due = [slot for slot in self._slots.values() if not slot.ended and slot.step in slot.plan.rungs]
            if failed or due or self._tick % PROGRESS_TICKS == 0:
                trained = [slot for slot in self._slots.values() if not slot.ended]
                progress = [Progress(slot.plan.number, slot.step, slot.loss) for slot in trained]
                return (*progress, *failed, *self._measure(due))

    def _train_one_tick(self) -> list[Event]:
        failed: list[Event] = []
        for depth in sorted(self._groups):
            group = self._groups[depth]
            if group.slots:
                for slot, fault in zip(list(group.slots), group.step(self.base, self.store, self.data), strict=True):
                    if fault:
                        failed.append(self._fail(slot, fault))
        return failed

    def _add_to_averages(self) -> None:
        for slot in self._slots.values():
            if not slot.ended and slot.step in slot.plan.params.averaged_steps:
                self._groups[self.base.first_adapted_layer(slot.targets)].unpack()
                slot.add_to_average()

    def _fail(self, slot: Slot, reason: str) -> Failed:
        self._end(slot)
        return Failed(slot.plan.number, slot.step, reason)

    def _end(self, slot: Slot) -> None:
        slot.ended = True
        self._groups[self.base.first_adapted_layer(slot.targets)].leave(slot)

    def _measure(self, due: list[Slot]) -> list[Event]:
        """Measure the slots, those of one group together; a trial whose adapter did not move fails here."""
        for group in self._groups.values():
            group.unpack()
        events: list[Event] = []
        for depth in sorted({self.base.first_adapted_layer(slot.targets) for slot in due}):
            moved = []
            for slot in (slot for slot in due if self.base.first_adapted_layer(slot.targets) == depth):
                if slot.summed and slot.is_final:
                    slot.adapter = slot.averaged()
                if has_moved(slot.adapter, self._initial(slot)):
                    moved.append(slot)
                else:
                    events.append(self._fail(slot, "the adapter did not move: no gradient reaches its target modules"))
            # a set of `rungs: last` waits for the last step, so trials that are there are decoded apart
            for final in (False, True):
                events += self._measure_together([slot for slot in moved if slot.is_final is final])
        return events

    def _initial(self, slot: Slot) -> Adapter:
        if slot.initial is None:
            slot.initial = initial_adapter(self.base.linears, slot.targets, slot.plan.params)
        return slot.initial

    def _measure_together(self, slots: list[Slot]) -> list[Event]:
        scaled_adapters = [(slot, scale) for slot in slots for scale in _scales(slot)]
        if not scaled_adapters:
            return []
        names = None if slots[0].is_final else self._at_every_rung
        results = iter(self.evaluator.measure([(slot.adapter, scale) for slot, scale in scaled_adapters], names))
        fingerprint = digest(self.evaluation)
        events: list[Event] = []
        for slot in slots:
            number, final = slot.plan.number, slot.is_final
            measurements, hypotheses = [], []
            for scale in _scales(slot):
                sets, heard = next(results)
                measurements.append(
                    Measurement(
                        trial=number,
                        step=slot.step,
                        adapter_scale=scale,
                        fingerprint=fingerprint,
                        train_loss=slot.loss,
                        sets=sets,
                    )
                )
                hypotheses.append(heard)
            slot.loss_sum, slot.loss_steps = 0.0, 0
            events.append(Measured(number, slot.step, tuple(measurements), tuple(hypotheses), final))
            if final:
                self._end(slot)
        return events

    def adapter(self, number: int) -> Adapter:
        """The trial's present adapter."""
        slot = self._slots[number]
        if not slot.ended:
            self._groups[self.base.first_adapted_layer(slot.targets)].unpack()
        return slot.adapter

    def export(self, number: int, adapter_scale: float, folder: Path) -> None:
        """Write the trial's present adapter as a folder that stock PEFT loads, at the given scale, atomically."""
        export(self.base.linears, self.adapter(number), adapter_scale, self._slots[number].plan.model, folder)

    def release(self, number: int) -> None:
        """Free the trial's slot."""
        slot = self._slots.pop(number)
        if not slot.ended:
            self._end(slot)

    def save(self, folder: Path) -> None:
        """Checkpoint all slots of this tick, atomically."""
        for group in self._groups.values():
            group.unpack()
        save_slots(list(self._slots.values()), folder)

    def restore(self, folder: Path, plans: dict[int, TrialPlan]) -> None:
        """Continue from a checkpoint; raises StudyError when it is damaged or belongs to other plans."""
        for slot in load_slots(folder, plans, self.base.device):
            self._place(slot)


def _scales(slot: Slot) -> tuple[float, ...]:
    """The whole grid at the last step; before it only the smallest scale, which is the last hope of the guardrail."""
    scales = slot.plan.params.adapter_scales
    return scales if slot.is_final else (min(scales),)
