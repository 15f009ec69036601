"""A worker without torch: measurements are a pure function of a trial's plan, step and adapter
scale.

It keeps the contract of `records/worker_protocol.py` strictly and fails loudly on misuse, so that a sweep
which admits beyond capacity, releases a stranger, or forgets to release a finished trial cannot
pass.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.results import Measurement, SetMeasurement
from orchestrator.records.worker_protocol import Event, Failed, Hypotheses, Measured, Progress
from orchestrator.sweepfile.digest import derived_seed, digest

UTTERANCES = 200
WORDS = 12
SPEAKERS = tuple(f"speaker-{i % 40:02d}" for i in range(UTTERANCES))
BASELINE_RATE = {"domain": 0.30, "heldout": 0.08}


@dataclass
class Slot:
    """One trial in training, and the step it is at."""

    plan: TrialPlan
    step: int = 0
    ended: bool = False


class FakeWorker:
    """A worker of `capacity` slots in which training only counts steps. It reports progress every
    `every_progress` steps; `sets` names the evaluation sets, whose errors are drawn by that name.
    """

    overdue = False

    def __init__(
        self, capacity: int = 2, sets: str = "search", every_progress: int = 50, version: str = "1"
    ) -> None:
        self.capacity = capacity
        self.sets = sets
        self.every_progress = every_progress
        self.version = version
        self.slots: dict[int, Slot] = {}
        self.baselines = 0
        self.admitted: list[int] = []
        self.hardware: dict[str, str] = {}

    @property
    def evaluation(self) -> dict[str, str]:
        """The parts of the evaluation fingerprint."""
        return {"worker": "fake", "version": self.version, "sets": self.sets}

    @property
    def active(self) -> tuple[int, ...]:
        """The numbers of the trials that hold a slot."""
        return tuple(self.slots)

    def share(self) -> None:
        """Do nothing: there is nothing that siblings would compute alike."""

    def sibling(self, cores_now: Callable[[], int] | None = None) -> FakeWorker:
        """Return another worker like this one, without trials."""
        return type(self)(self.capacity, self.sets, self.every_progress, self.version)

    def measure_baseline(self) -> Measured:
        """Measure the untuned model."""
        assert not self.slots, "the baseline is measured before training"
        self.baselines += 1
        sets = {name: self._set(name, rate, 0) for name, rate in BASELINE_RATE.items()}
        measurement = Measurement(
            trial=None, step=0, adapter_scale=1.0, fingerprint=digest(self.evaluation), sets=sets
        )
        return Measured(-1, 0, (measurement,), (_hypotheses(sets),), final=True)

    def admit(self, plan: TrialPlan) -> None:
        """Give the plan a slot."""
        assert len(self.slots) < self.capacity, f"trial {plan.number}: no free slot"
        assert plan.number not in self.slots, f"trial {plan.number} is already in a slot"
        self.admitted.append(plan.number)
        self.slots[plan.number] = Slot(plan)

    def advance(self) -> tuple[Event, ...]:
        """Train to the nearest step at which any trial has something to say."""
        assert self.slots, "nothing to advance"
        for number, slot in self.slots.items():
            assert not slot.ended, f"trial {number} ended and was not released"
        stride = min(self._next(slot) - slot.step for slot in self.slots.values())
        for slot in self.slots.values():
            slot.step += stride
        return tuple(event for slot in self.slots.values() for event in self._events(slot))

    def export(self, number: int, adapter_scale: float, folder: Path) -> None:
        """Write a file that identifies the adapter: number, step and scale."""
        slot = self.slots[number]
        what = {"number": number, "step": slot.step, "scale": adapter_scale}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "adapter_config.json").write_text(json.dumps(what))

    def release(self, number: int) -> None:
        """Free the trial's slot."""
        assert number in self.slots, f"trial {number} holds no slot"
        del self.slots[number]

    def save(self, folder: Path) -> None:
        """Write the steps of all slots, atomically."""
        assert not any(slot.ended for slot in self.slots.values()), (
            "an ended trial must be released before a save"
        )
        assert not folder.exists(), f"{folder} exists"
        aside = folder.with_name(folder.name + ".aside")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        (aside / "slots.json").write_text(
            json.dumps({str(n): slot.step for n, slot in self.slots.items()})
        )
        aside.rename(folder)

    def restore(self, folder: Path, plans: dict[int, TrialPlan]) -> None:
        """Continue from what `save` wrote."""
        assert not self.slots, "restore into a fresh worker"
        steps = {
            int(n): step for n, step in json.loads((folder / "slots.json").read_text()).items()
        }
        assert set(steps) <= set(plans), f"no plan for {set(steps) - set(plans)}"
        self.slots = {number: Slot(plans[number], step) for number, step in steps.items()}

    def _next(self, slot: Slot) -> int:
        rungs = [rung for rung in slot.plan.rungs if rung > slot.step]
        return min(rungs[0], slot.step - slot.step % self.every_progress + self.every_progress)

    def _events(self, slot: Slot) -> list[Event]:
        plan, step = slot.plan, slot.step
        if plan.params.learning_rate >= 0.5 and step >= 100:
            slot.ended = True
            return [Failed(plan.number, step, "loss is not finite at step 100")]
        events: list[Event] = []
        if step % self.every_progress == 0:
            events.append(Progress(plan.number, step, loss_at(plan, step)))
        if step in plan.rungs:
            slot.ended = step == plan.params.max_steps
            events.append(self._measured(plan, step))
        return events

    def _measured(self, plan: TrialPlan, step: int) -> Measured:
        measurements = tuple(
            self._measurement(plan, step, scale) for scale in plan.params.adapter_scales
        )
        hypotheses = tuple(_hypotheses(measurement.sets) for measurement in measurements)
        return Measured(
            plan.number, step, measurements, hypotheses, final=step == plan.params.max_steps
        )

    def _measurement(self, plan: TrialPlan, step: int, scale: float) -> Measurement:
        seed = derived_seed(
            digest(plan.params.model_dump(mode="json", exclude={"adapter_scales"})), step
        )
        rates = rates_at(plan, step, scale)
        return Measurement(
            trial=plan.number,
            step=step,
            adapter_scale=scale,
            fingerprint=digest(self.evaluation),
            train_loss=loss_at(plan, step),
            sets={name: self._set(name, rate, seed) for name, rate in rates.items()},
        )

    def _set(self, name: str, rate: float, seed: int) -> SetMeasurement:
        """Draw the errors of a set at a word error rate. Words are wrong whose draw, which all
        measurements share, is below the rate, so two models differ in few words; a few words are
        flipped by draws of the measurement's own `seed`, none where that is 0 (the baseline).
        """
        shared = _shared_draws(self.sets, name)
        own = np.random.default_rng(derived_seed("own", self.sets, name, seed)).random(
            (UTTERANCES, WORDS)
        )
        jitter = 0.002 if seed else 0.0
        errors = ((shared < rate) ^ (own < jitter)).sum(axis=1)
        return SetMeasurement(
            manifest_sha256=digest([self.sets, name]),
            utterance_ids=_utterance_ids(name),
            speakers=SPEAKERS,
            substitutions=tuple(errors.tolist()),
            deletions=(0,) * UTTERANCES,
            insertions=(0,) * UTTERANCES,
            reference_words=(WORDS,) * UTTERANCES,
        )


@cache
def _shared_draws(sets: str, name: str) -> np.ndarray:
    """Return uniform draws (UTTERANCES, WORDS) that all measurements of a set have in common."""
    generator = np.random.default_rng(derived_seed("words", sets, name))
    return generator.random((UTTERANCES, WORDS))


@cache
def _utterance_ids(name: str) -> tuple[str, ...]:
    return tuple(f"{name}-{i:03d}" for i in range(UTTERANCES))


def rates_at(plan: TrialPlan, step: int, scale: float) -> dict[str, float]:
    """Return the true word error rates. That of the domain falls with learning rate and rank, until
    training diverges above a rate of 0.1; that of the held-out set rises with the learning rate,
    less with replay.
    """
    params = plan.params
    trained = step / (step + 200)
    strength = min(params.learning_rate / 1e-3, 4.0)
    domain = BASELINE_RATE["domain"] - 0.06 * trained * scale * min(strength, 1.5) * (
        1 + params.rank / 64
    )
    heldout = BASELINE_RATE["heldout"] + 0.008 * trained * scale**2 * strength**2 * (
        1 - params.replay_ratio
    )
    if params.learning_rate > 0.1:
        domain = BASELINE_RATE["domain"] + 0.2 * trained
    return {"domain": max(domain, 0.01), "heldout": min(heldout, 0.9)}


def loss_at(plan: TrialPlan, step: int) -> float:
    """Return a training loss that falls with the step."""
    return round(2.0 / (1 + step / 500) + plan.params.learning_rate, 6)


def _hypotheses(sets: dict[str, SetMeasurement]) -> Hypotheses:
    return {
        name: tuple(f"words of {u}" for u in measured.utterance_ids)
        for name, measured in sets.items()
    }
