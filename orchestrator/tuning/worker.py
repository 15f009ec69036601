"""The worker: one frozen base model, and `capacity` adapter slots that train tick by tick.

A tick is one optimizer step of every slot. Slots whose trials enter the encoder at the same layer
form a group and train as one pack; trials that adapt the decoder alone do not run the encoder with
those that adapt it. What happens depends on the plans and their order of admission alone, so a run
that is restored from a checkpoint does what the uninterrupted run would have done.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from orchestrator.errors import ModelError, OrchestrateError
from orchestrator.host.machine import return_freed_memory, this_machine
from orchestrator.planning.shares import decided
from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.results import Measurement
from orchestrator.records.worker_protocol import Event, Failed, Measured, Noticed, Progress
from orchestrator.sweepfile.digest import digest
from orchestrator.sweepfile.execution import Execution
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.tuning.adapters.pack import Adapter
from orchestrator.tuning.adapters.peft_adapter import export, initial_adapter
from orchestrator.tuning.autotune import found_packs
from orchestrator.tuning.decoding.measuring import DueTrial, MeasuredSets, measure_apart
from orchestrator.tuning.model.core_threads import use_cores
from orchestrator.tuning.model.device import hardware
from orchestrator.tuning.prepared_sweep import PreparedSweep, prepare
from orchestrator.tuning.slowness import Usual
from orchestrator.tuning.training.checkpoint import load_slots, save_slots
from orchestrator.tuning.training.pack_group import PackGroup, Slot, why_unmoved
from orchestrator.tuning.training.step_recovery import Stepper
from orchestrator.tuning.trial_faults import Fault, enough_memory, fault_of

PROGRESS_TICKS = 10
"""The number of ticks after which progress is told where there is no other event."""


def start_worker(spec: SweepSpec, cache: Path) -> PackWorker:
    """Prepare a sweep and decide how many adapters train at once.

    Raises ModelError, ManifestError, DataError or ObjectiveError when the model or the data cannot
    be used.
    """
    left_open, machine = spec.execution.packs == "auto", this_machine()
    spec = spec.model_copy(update={"execution": decided(spec, machine)})
    with enough_memory("the model and the data cannot be made ready"):
        prepared = prepare(spec, cache)
    # only now is it known that the device is no CPU: there one pack uses all cores
    if left_open and prepared.base.device.type != "cpu" and not spec.execution.devices:
        prepared = prepared.executed(packs=1, cores="auto")
        spec = prepared.spec
    if spec.execution.pack != "auto":
        return PackWorker(prepared, spec.execution.pack)
    with prepared.training_autocast(), enough_memory("one step of one trial"):
        slots, packs, why = found_packs(
            spec, prepared.base, prepared.store, prepared.data, fewer=left_open
        )
    if packs != spec.execution.packs:
        cores = "auto" if packs == 1 else machine.cores // packs
        prepared = prepared.executed(packs=packs, cores=cores)
    return PackWorker(prepared, slots, why)


class PackWorker:
    """Implements `records.worker_protocol.Worker` on one device, with `capacity` slots on a prepared
    sweep.
    """

    overdue = False

    def __init__(self, prepared: PreparedSweep, capacity: int, pack_reason: str = "") -> None:
        """`pack_reason` says why `auto` chose this capacity; empty where the file names it."""
        self.capacity, self.pack_reason = capacity, pack_reason
        self.base, self.data, self.store = prepared.base, prepared.data, prepared.store
        self.evaluator, self.findings = prepared.evaluator, prepared.findings
        self.autocast, self.training_autocast = prepared.autocast, prepared.training_autocast
        self.prepared = prepared
        self._at_every_rung = prepared.spec.data.at_every_rung
        self.notes = (*prepared.notes, *filter(None, (pack_reason,)))
        self._slots: dict[int, Slot] = {}
        self._groups: dict[int, PackGroup] = {}
        self._stepper, self._usual = Stepper(self.base, self.store, self.data), Usual()
        self._noticed: list[Event] = []

    def share(self) -> None:
        """Compute the encoder frames and the baseline's words, which all trials use, before packs
        are forked from this process; frames are kept as far as they fit the memory.
        """
        with enough_memory("the frames of the sets"):
            for name in self.store.clips:
                with self.training_autocast() if name == "train" else self.autocast():
                    for depth in self.store.depths:
                        self.store.keep(name, depth)
            with self.autocast():
                self.evaluator.measure_baseline()
        return_freed_memory()  # this process computes no more; the packs have memory of their own

    def sibling(self, cores_now: Callable[[], int] | None = None) -> PackWorker:
        """Return another worker on the same model and data, of the same capacity and without a
        trial. It is called in the thread and process that the new worker will run in.

        `cores_now` returns how many cores it may use at the moment to hear with.
        """
        if self.execution.cores != "auto":
            lent = cores_now if cores_now and self.prepared.hears_exactly else 1
            use_cores(self.execution.cores, lent)  # for this thread and process alone
        return PackWorker(self.prepared, self.capacity)

    @property
    def execution(self) -> Execution:
        """The sweep's `execution`, with what was `auto` as it was decided for this machine."""
        return self.prepared.spec.execution

    @property
    def evaluation(self) -> dict[str, str]:
        """The parts of the evaluation fingerprint."""
        return self.evaluator.evaluation

    @property
    def hardware(self) -> dict[str, str]:
        """The kind of the device, as far as rounding depends on it."""
        return hardware(self.base.device)

    @property
    def active(self) -> tuple[int, ...]:
        """Numbers of the trials that hold a slot, in order of admission."""
        return tuple(self._slots)

    def measure_baseline(self) -> Measured:
        """Decode the sets with the untuned base model."""
        with self.autocast(), enough_memory("the untuned model cannot hear the sets"):
            sets, hypotheses = self.evaluator.measure_baseline()
        baseline = Measurement(
            trial=None, step=0, adapter_scale=1.0, fingerprint=digest(self.evaluation), sets=sets
        )
        return Measured(-1, 0, (baseline,), (hypotheses,), final=True)

    def admit(self, plan: TrialPlan) -> None:
        """Give the plan a slot. Raises ModelError when its adapter cannot be made, because targets
        or rank do not fit the model, or for any other cause, which it names.
        """
        targets = self.base.targets(plan.params.target_patterns, plan.params.layers)
        try:
            initial = initial_adapter(self.base.linears, targets, plan.params)
        except OrchestrateError:
            raise
        except Exception as error:
            raise ModelError(f"the adapter cannot be made: {fault_of(error).reason}") from error
        self._place_slot(Slot(plan, targets, initial, initial=initial))

    def _place_slot(self, slot: Slot) -> None:
        self._slots[slot.plan.number] = slot
        if not slot.ended:
            depth = self.base.first_adapted_layer(slot.targets)
            self._groups.setdefault(depth, PackGroup(depth)).join(slot)

    def advance(self) -> tuple[Event, ...]:
        """Train all slots up to the next tick at which one is measured or fails or progress is due;
        return the events of that tick.
        """
        with self.autocast():
            return self._advance_to_event()

    def _advance_to_event(self) -> tuple[Event, ...]:
        # counted from the last event, so that a pack that is made again tells the same steps, by
        # which it is known whether it is lost at one step again
        ticks = 0
        while True:
            ticks += 1
            with self.training_autocast():
                failed = self._train_one_tick()
            self._add_to_averages()
            due = [
                slot
                for slot in self._slots.values()
                if not slot.ended and slot.step in slot.plan.rungs
            ]
            if failed or due or ticks == PROGRESS_TICKS:
                trained = [slot for slot in self._slots.values() if not slot.ended]
                progress = [Progress(slot.plan.number, slot.step, slot.loss) for slot in trained]
                measured = self._measure_slots(due)
                noticed, self._noticed = self._noticed, []
                return (*noticed, *progress, *failed, *measured)

    def _train_one_tick(self) -> list[Event]:
        failed: list[Event] = []
        for depth in sorted(self._groups):
            group = self._groups[depth]
            if group.slots:
                count, started = len(group.slots), time.perf_counter()
                failed += [
                    self._fail_slot(slot, fault) for slot, fault in self._stepper.step(group)
                ]
                self._notice_slowness("a training step", started, count)
        return failed

    def _notice_slowness(self, kind: str, started: float, trials: int) -> None:
        if said := self._usual.judge(kind, time.perf_counter() - started, trials):
            self._noticed.append(Noticed(said))

    def _add_to_averages(self) -> None:
        """Add the adapters of slots at one of their `averaged_steps` to their averages."""
        for slot in self._slots.values():
            if not slot.ended and slot.step in slot.plan.params.averaged_steps:
                self._groups[self.base.first_adapted_layer(slot.targets)].unpack()
                slot.add_to_average()

    def _fail_slot(self, slot: Slot, fault: Fault) -> Failed:
        self._end_slot(slot)
        return Failed(slot.plan.number, slot.step, fault.reason, fault.traceback)

    def _end_slot(self, slot: Slot) -> None:
        slot.ended = True
        self._groups[self.base.first_adapted_layer(slot.targets)].leave(slot)

    def _measure_slots(self, due: list[Slot]) -> list[Event]:
        """Measure slots, those of one group together. A trial whose adapter did not move fails."""
        for group in self._groups.values():
            group.unpack()
        events: list[Event] = []
        for depth in sorted({self.base.first_adapted_layer(slot.targets) for slot in due}):
            moved = []
            for slot in (
                slot for slot in due if self.base.first_adapted_layer(slot.targets) == depth
            ):
                if slot.summed and slot.is_final:
                    slot.adapter = slot.averaged()
                if why := why_unmoved(slot, self._initial_adapter(slot)):
                    events.append(self._fail_slot(slot, Fault(f"the adapter did not move: {why}")))
                else:
                    moved.append(slot)
            # Apart, because sets of `rungs: last` are measured only for trials at their last step.
            for final in (False, True):
                events += self._measure_together([slot for slot in moved if slot.is_final is final])
        return events

    def _initial_adapter(self, slot: Slot) -> Adapter:
        if slot.initial is None:
            slot.initial = initial_adapter(self.base.linears, slot.targets, slot.plan.params)
        return slot.initial

    def _measure_together(self, slots: list[Slot]) -> list[Event]:
        if not slots:
            return []
        final, started = slots[0].is_final, time.perf_counter()
        names = None if final else self._at_every_rung
        due = [
            DueTrial([(slot.adapter, scale) for scale in _scales_to_measure(slot)], slot.said)
            for slot in slots
        ]
        events: list[Event] = []
        for slot, measured in zip(slots, measure_apart(self.evaluator, due, names), strict=True):
            events.append(
                self._fail_slot(slot, measured)
                if isinstance(measured, Fault)
                else self._measured_event(slot, measured)
            )
        self._notice_slowness(
            "the evaluation at the last step" if final else "an evaluation", started, len(slots)
        )
        return events

    def _measured_event(self, slot: Slot, measured: list[MeasuredSets]) -> Measured:
        measurements = tuple(
            Measurement(
                trial=slot.plan.number,
                step=slot.step,
                adapter_scale=scale,
                fingerprint=digest(self.evaluation),
                train_loss=slot.loss,
                sets=sets,
            )
            for scale, (sets, _) in zip(_scales_to_measure(slot), measured, strict=True)
        )
        slot.loss_sum, slot.loss_steps, slot.said = 0.0, 0, measured[0][1]
        if slot.is_final:
            self._end_slot(slot)
        return Measured(
            slot.plan.number,
            slot.step,
            measurements,
            tuple(said for _, said in measured),
            slot.is_final,
        )

    def adapter(self, number: int) -> Adapter:
        """Return the trial's present adapter."""
        slot = self._slots[number]
        if not slot.ended:
            self._groups[self.base.first_adapted_layer(slot.targets)].unpack()
        return slot.adapter

    def export(self, number: int, adapter_scale: float, folder: Path) -> None:
        """Write the trial's present adapter at `adapter_scale`, as stock PEFT loads it, to
        `folder`, which is empty or made. Moving it to its final place is left to the caller.
        """
        export(
            self.base.linears,
            self.adapter(number),
            adapter_scale,
            self._slots[number].plan.model,
            folder,
        )

    def release(self, number: int) -> None:
        """Free the trial's slot, whether it has ended or not."""
        slot = self._slots.pop(number)
        if not slot.ended:
            self._end_slot(slot)

    def save(self, folder: Path) -> None:
        """Checkpoint all slots of this tick, atomically."""
        for group in self._groups.values():
            group.unpack()
        save_slots(
            list(self._slots.values()),
            folder,
            {d: (pack_group.division, pack_group.parts) for d, pack_group in self._groups.items()},
        )

    def restore(self, folder: Path, plans: dict[int, TrialPlan]) -> None:
        """Take over the slots of a checkpoint. Raises StudyError when it is damaged or belongs to
        other plans.
        """
        slots, shortage = load_slots(folder, plans, self.base.device)
        for slot in slots:
            self._place_slot(slot)
        for depth, group in self._groups.items():
            group.division, group.parts = shortage.get(depth, (1, 1))


def _scales_to_measure(slot: Slot) -> tuple[float, ...]:
    """Return all adapter scales at the last step. Before it only the smallest, at which the adapter
    is most likely to keep the guardrail.
    """
    scales = slot.plan.params.adapter_scales
    return scales if slot.is_final else (min(scales),)
