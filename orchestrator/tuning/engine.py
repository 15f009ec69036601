"""The worker: one frozen base model, `capacity` adapter slots, one clock.

Every tick is one optimizer step of every slot. Slots whose trials adapt the same depth of the model form a lane and
train as one pack; trials that adapt the decoder alone do not wait for those that run the encoder. What happens depends
on the plans and their order of admission only, so a run restored from a checkpoint repeats what it would have done.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import torch

from orchestrator.checks import stop
from orchestrator.corpus.audio import prepare_training
from orchestrator.corpus.diagnosis import is_upper_case, kept_for_training, skipped_lines
from orchestrator.corpus.faults import bad_lines
from orchestrator.corpus.manifest import load_manifest
from orchestrator.errors import DataError, ModelError, ObjectiveError
from orchestrator.planning.sweep_plan import first_plan
from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.results import Measurement
from orchestrator.records.worker import Event, Failed, Measured, Progress
from orchestrator.spec.identity import digest
from orchestrator.spec.sweep import SweepSpec
from orchestrator.tuning.adapters import export, initial_adapter, resolve_targets
from orchestrator.tuning.check_probe import presets
from orchestrator.tuning.checkpoint import load_slots, save_slots
from orchestrator.tuning.checks import check_model
from orchestrator.tuning.device import choose_device
from orchestrator.tuning.evaluation import Evaluator, load_evaluation_set
from orchestrator.tuning.features import FrameStore
from orchestrator.tuning.lane import Lane, Slot, has_moved
from orchestrator.tuning.lengths import check_lengths
from orchestrator.tuning.model import BaseModel, load_base_model
from orchestrator.tuning.pack import Adapter
from orchestrator.tuning.probe import pack_size
from orchestrator.tuning.self_labels import self_labels
from orchestrator.tuning.training import TrainingSet

PROGRESS_TICKS = 10
"""Ticks between progress events."""


class PackWorker:
    """Implements `records.worker.Worker` on one device.

    Raises ModelError, ManifestError, DataError or ObjectiveError when the model or the data cannot be used.
    """

    def __init__(self, spec: SweepSpec, cache: Path, sample: int | None = None) -> None:
        """`sample`: hear only so many utterances of each evaluation set, spread over it."""
        device, self.notes = choose_device(spec.execution.device)
        self.base = load_base_model(spec.model, device)
        self.notes += self.base.notes
        self._spec = spec
        lengths = check_lengths(spec, self.base)
        sets = {
            name: load_evaluation_set(source, spec.evaluation, self.base, cache / "audio")
            for name, source in spec.data.evaluated.items()
        }
        if sample is not None:
            sets = {name: each.spread(sample) for name, each in sets.items()}
        clips: dict[str, Sequence[np.ndarray]] = {name: each.clips for name, each in sets.items()}  # type: ignore[misc]
        self.data, clips["train"] = self._training_set(cache / "audio")
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
        self.store = FrameStore(self.base.family, clips, memory, device, _entry_depths(spec, self.base))
        self.evaluator = Evaluator(self.base, self.store, sets, spec.evaluation)
        self.findings = (*lengths, *check_model(self.base, spec, sets, self.data, clips, self.autocast))
        stop(self.findings, spec.checks.ignore, "The model cannot be trained and measured as it is", ObjectiveError)
        self.pack_reason = ""
        """Why `auto` chose this capacity; empty where the sweep says it."""
        self.capacity = spec.execution.pack if spec.execution.pack != "auto" else self._probed()
        self._slots: dict[int, Slot] = {}
        self._lanes: dict[int, Lane] = {}
        self._tick = 0

    def _probed(self) -> int:
        """The pack for `auto`, with the sweep's first point as the measure of its trials."""
        slots, self.pack_reason = pack_size(first_plan(self._spec), self.base, self.store, self.data)
        self.notes = (*self.notes, self.pack_reason)
        return slots

    def _training_set(self, cache: Path) -> tuple[TrainingSet, list[np.ndarray]]:
        """Labels and clips of the training set, its domain utterances first, then replay."""
        texts: list[str] = []
        clips: list[np.ndarray] = []
        domain = 0
        for path in filter(None, (self._spec.data.train, self._spec.data.replay)):
            bad = self._spec.data.max_bad_fraction
            needs_text = path != self._spec.data.replay or self._spec.replay_needs_text
            read = load_manifest(path, for_training=True, max_bad_fraction=bad, needs_text=needs_text)
            manifest, ready = prepare_training(
                read,
                rms=self._spec.evaluation.rms,
                cache=cache,
                multiple=self.base.family.shortest,
                max_bad_fraction=bad,
            )
            # what decoding found was said before the model was loaded
            if bad_lines(manifest.bad) > bad_lines((*read.bad, *ready.faults)):
                self.notes += (f"data: {skipped_lines(path.name, manifest)}",)
            limit = min(self._spec.data.max_seconds, self.base.family.longest_seconds)
            kept = kept_for_training(manifest, limit)
            if not kept:
                raise DataError(f"{path}: no utterance is within data.max_seconds = {limit:g}; raise it")
            own = [ready.texts[row] for row in kept]
            # an adapter must not learn the typography of upper-case references, which the scorer then removes
            texts += [text.lower() for text in own] if is_upper_case(own) else own
            clips += [ready[row] for row in kept]
            domain = domain or len(kept)
        return self._with_self_labels(
            TrainingSet(self.base.labels(texts), domain, rms=self._spec.evaluation.rms), clips, cache
        ), clips

    def _with_self_labels(self, data: TrainingSet, clips: Sequence[np.ndarray], cache: Path) -> TrainingSet:
        """The training set with the replay rows as the untuned model hears them, where a trial may want them."""
        if "model" not in self._spec.parameters.possible("replay_labels"):
            return data
        evaluation = self._spec.evaluation
        with self.autocast():
            labels = self_labels(
                self.base, clips[data.domain :], evaluation.max_tokens_per_second, evaluation.precision, cache
            )
        heard = {data.domain + row: label for row, label in enumerate(labels) if label is not None}
        if not heard:
            raise DataError(f"{self._spec.data.replay}: the model hears nothing there; use replay_labels: manifest")
        self.notes += (f"data: {len(heard)} of {len(labels)} replay utterances labelled by the model itself",)
        return replace(data, labels=[*data.labels, *heard.values()], heard=tuple(heard))

    @property
    def evaluation(self) -> dict[str, str]:
        """The parts of the evaluation fingerprint."""
        return self.evaluator.evaluation

    @property
    def active(self) -> tuple[int, ...]:
        """Numbers of the trials that hold a slot, in order of admission."""
        return tuple(self._slots)

    def autocast(self) -> torch.autocast:
        """The context in which everything is computed: bfloat16 products where the sweep asks for them."""
        bf16 = self._spec.evaluation.precision == "bf16"
        return torch.autocast(self.base.device.type, torch.bfloat16, enabled=bf16)

    def measure_baseline(self) -> Measured:
        """Decode the sets with the untuned base model."""
        with self.autocast():
            sets, heard = self.evaluator.measure_baseline()
        baseline = Measurement(trial=None, step=0, adapter_scale=1.0, fingerprint=digest(self.evaluation), sets=sets)
        return Measured(-1, 0, (baseline,), (heard,), final=True)

    def admit(self, plan: TrialPlan) -> None:
        """Give the plan a slot; raises ModelError when its targets or rank do not fit the model."""
        targets = resolve_targets(self.base.modules, plan.params.target_patterns, plan.params.layers)
        initial = initial_adapter(self.base.linears, targets, plan.params)
        self._place(Slot(plan, targets, initial, initial=initial))

    def _place(self, slot: Slot) -> None:
        self._slots[slot.plan.number] = slot
        if not slot.ended:
            depth = self.base.entry_depth(slot.targets)
            self._lanes.setdefault(depth, Lane(depth)).join(slot)

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
        for depth in sorted(self._lanes):
            lane = self._lanes[depth]
            if lane.slots:
                for slot, fault in zip(list(lane.slots), lane.step(self.base, self.store, self.data), strict=True):
                    if fault:
                        failed.append(self._fail(slot, fault))
        return failed

    def _add_to_averages(self) -> None:
        for slot in self._slots.values():
            if not slot.ended and slot.step in slot.plan.params.averaged_steps:
                self._lanes[self.base.entry_depth(slot.targets)].unpack()
                slot.add_to_average()

    def _fail(self, slot: Slot, reason: str) -> Failed:
        self._end(slot)
        return Failed(slot.plan.number, slot.step, reason)

    def _end(self, slot: Slot) -> None:
        slot.ended = True
        self._lanes[self.base.entry_depth(slot.targets)].leave(slot)

    def _measure(self, due: list[Slot]) -> list[Event]:
        """Measure the slots, those of one lane together; a trial whose adapter did not move fails here."""
        for lane in self._lanes.values():
            lane.unpack()
        events: list[Event] = []
        for depth in sorted({self.base.entry_depth(slot.targets) for slot in due}):
            moved = []
            for slot in (slot for slot in due if self.base.entry_depth(slot.targets) == depth):
                if slot.summed and slot.step == slot.plan.params.max_steps:
                    slot.adapter = slot.averaged()
                if has_moved(slot.adapter, self._initial(slot)):
                    moved.append(slot)
                else:
                    events.append(self._fail(slot, "the adapter did not move: no gradient reaches its target modules"))
            events += self._measure_together(moved)
        return events

    def _initial(self, slot: Slot) -> Adapter:
        if slot.initial is None:
            slot.initial = initial_adapter(self.base.linears, slot.targets, slot.plan.params)
        return slot.initial

    def _measure_together(self, slots: list[Slot]) -> list[Event]:
        voices = [(slot, scale) for slot in slots for scale in _scales(slot)]
        results = iter(self.evaluator.measure([(slot.adapter, scale) for slot, scale in voices]) if voices else [])
        fingerprint = digest(self.evaluation)
        events: list[Event] = []
        for slot in slots:
            number, final = slot.plan.number, slot.step == slot.plan.params.max_steps
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
            self._lanes[self.base.entry_depth(slot.targets)].unpack()
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
        for lane in self._lanes.values():
            lane.unpack()
        save_slots(list(self._slots.values()), folder)

    def restore(self, folder: Path, plans: dict[int, TrialPlan]) -> None:
        """Continue from a checkpoint; raises StudyError when it is damaged or belongs to other plans."""
        for slot in load_slots(folder, plans, self.base.device):
            self._place(slot)


def _entry_depths(spec: SweepSpec, base: BaseModel) -> set[int]:
    """The lowest encoder layers that trials of the sweep may adapt; what does not fit the model is a finding later."""
    depths = set()
    for patterns, layers in product(presets(spec).values(), spec.parameters.possible("layers")):
        with suppress(ModelError):
            depths.add(base.entry_depth(resolve_targets(base.modules, patterns, str(layers))))
    return depths


def _scales(slot: Slot) -> tuple[float, ...]:
    """The whole grid at the last step; before it only the smallest scale, which is the last hope of the guardrail."""
    scales = slot.plan.params.adapter_scales
    return scales if slot.step == slot.plan.params.max_steps else (min(scales),)
