"""The short run, which shows whether training has any effect: the sweep's first point for 50 steps,
and how far weights, loss and transcripts changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch

from orchestrator.checks import Finding, finding
from orchestrator.planning.trial_plan import TrialPlan, first_plan
from orchestrator.records.results import SetMeasurement
from orchestrator.records.short_run import (
    SHOWN,
    STEPS,
    SetComparison,
    ShortRun,
    Transcribed,
    spread_rows,
)
from orchestrator.records.worker_protocol import Failed, Hypotheses, Measured
from orchestrator.scoring.edit_counts import edit_counts
from orchestrator.scoring.normalizers import normalizer
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.tuning.adapters.pack import Adapter, merged_weight
from orchestrator.tuning.adapters.packed_linear import PackedLinear
from orchestrator.tuning.adapters.peft_adapter import initial_adapter
from orchestrator.tuning.prepared_sweep import prepare
from orchestrator.tuning.training.pack_group import PackGroup, Slot
from orchestrator.tuning.training.step_recovery import Stepper
from orchestrator.tuning.window_readings import compare_windows
from orchestrator.tuning.worker import PackWorker
from orchestrator.verdicts.headroom import headroom, high_rates

WARM_UP = 5
"""The most warm-up steps; a longer warm-up would fill a short run."""


def train_shortly(
    spec: SweepSpec, cache: Path, sample: int, say: Callable[[str], None]
) -> ShortRun:
    """Load the model, check it, measure the baseline on `sample` utterances of each set, train 50
    steps, and measure again.

    Raises ObjectiveError, ModelError, DataError or ManifestError where a sweep would stop at its
    start.
    """
    say("loading and checking the base model")
    worker, plan = PackWorker(prepare(spec, cache, sample), 1), short_plan(spec)
    say("measuring the baseline")
    baseline = worker.measure_baseline()
    say(f"training {STEPS} steps")
    worker.admit(plan)
    targets = worker.base.targets(plan.params.target_patterns, plan.params.layers)
    start = initial_adapter(worker.base.linears, targets, plan.params)
    tuned, failure = _train_to_end(worker)
    adapter = worker.adapter(plan.number)
    moved = {
        name: _weight_change(worker.base.linears[name], name, start, adapter)
        for name in adapter.modules
    }
    sets = _compare_sets(spec, baseline, tuned)
    with worker.autocast():  # as the baseline that it is compared with
        windows = compare_windows(worker.evaluator, spec.evaluation.encoder_windows)
    findings = (
        *worker.findings,
        *headroom(spec, baseline.measurements[0].sets["domain"], _sample_text(worker)),
        *high_rates(spec, baseline.measurements[0], "the untuned model"),
        *_efficacy_findings(sets, moved, failure),
    )
    return ShortRun(
        params=plan.params,
        failure=failure,
        relative_delta=(
            sum(change for change, _ in moved.values()) / sum(size for _, size in moved.values())
        )
        ** 0.5,
        modules=len(moved),
        still=tuple(name for name, (change, _) in moved.items() if change == 0),
        loss_before=_first_batch_loss(worker, plan, start),
        loss_after=_first_batch_loss(worker, plan, adapter),
        sets=sets,
        windows=windows,
        transcripts=_sample_transcripts(worker, baseline, tuned),
        findings=findings,
    )


def _sample_text(worker: PackWorker) -> str:
    """Say how many utterances of the domain set were heard; empty where all were."""
    domain = worker.evaluator.sets["domain"]
    decoded, total = len(domain.clips), len(domain.manifest.utterances)
    return f"on {decoded} of {total} utterances" if decoded < total else ""


def short_plan(spec: SweepSpec) -> TrialPlan:
    """Return the sweep's first point, cut to STEPS steps and evaluated once, at adapter scale 1."""
    plan = first_plan(spec)
    changes = {
        "max_steps": STEPS,
        "warmup_steps": min(plan.params.warmup_steps, WARM_UP),
        "adapter_scales": (1.0,),
        # the adapter at its last step: the rungs that would be averaged are not those of a short run
        "average_rungs": 1,
        "averaged_steps": (),
    }
    evaluation = plan.evaluation.model_copy(update={"every": STEPS})
    return plan.model_copy(
        update={"params": plan.params.model_copy(update=changes), "evaluation": evaluation}
    )


def _train_to_end(worker: PackWorker) -> tuple[Measured | None, str | None]:
    """Train the worker's one trial; return its measurement, or else the reason why it failed."""
    while True:
        for event in worker.advance():
            if isinstance(event, Measured):
                return event, None
            if isinstance(event, Failed):
                return None, event.reason


@torch.no_grad()
def _weight_change(
    linear: PackedLinear, name: str, start: Adapter, adapter: Adapter
) -> tuple[float, float]:
    """Return the squared Frobenius norms of a weight's change from one adapter to the other, and of
    the weight.
    """
    weight = linear.weight.double()
    # not from the weight itself: DoRA's magnitude is a norm that was rounded to float32
    before, after = (
        merged_weight(
            weight,
            {part: tensor.double() for part, tensor in each.modules[name].items()},
            each.scaling,
            1.0,
        )
        for each in (start, adapter)
    )
    return float((after - before).square().sum()), float(weight.square().sum())


def _first_batch_loss(worker: PackWorker, plan: TrialPlan, adapter: Adapter) -> float:
    """Return an adapter's cross-entropy per token, in nats, on the batch of the first step; NaN
    where that step cannot be made.
    """
    targets = tuple(adapter.modules)
    group, slot = PackGroup(worker.base.first_adapted_layer(targets)), Slot(plan, targets, adapter)
    group.join(slot)
    with worker.training_autocast():
        Stepper(worker.base, worker.store, worker.data).step(group)
    return slot.loss if slot.loss_steps else math.nan


def _compare_sets(
    spec: SweepSpec, baseline: Measured, tuned: Measured | None
) -> dict[str, SetComparison]:
    """Compare every set before and after; without the numbers after where training failed."""
    untuned: dict[str, SetMeasurement] = baseline.measurements[0].sets
    return {
        name: SetComparison(
            utterances=len(score.utterance_ids),
            words=sum(score.reference_words),
            baseline_wer=score.wer,
            wer=tuned.measurements[0].sets[name].wer if tuned else None,
            changed_words=_count_changed(spec, baseline.hypotheses[0], tuned.hypotheses[0], name)
            if tuned
            else None,
        )
        for name, score in untuned.items()
    }


def _sample_transcripts(
    worker: PackWorker, baseline: Measured, tuned: Measured | None
) -> tuple[Transcribed, ...]:
    """Return ten utterances, spread over the domain set, as they were heard before and after."""
    clips = worker.evaluator.sets["domain"].clips
    untuned = baseline.hypotheses[0]["domain"]
    after = tuned.hypotheses[0]["domain"] if tuned else None
    return tuple(
        Transcribed(clips.ids[row], clips.texts[row], untuned[row], after[row] if after else None)
        for row in spread_rows(len(clips), SHOWN)
    )


def _count_changed(spec: SweepSpec, before: Hypotheses, after: Hypotheses, name: str) -> int:
    """Return by how many word edits the hypotheses of a set differ, after normalisation."""
    clean = normalizer(spec.evaluation.normalizer)
    counts = edit_counts(
        [clean(text) for text in before[name]], [clean(text) for text in after[name]]
    )
    return sum(map(sum, (counts.substitutions, counts.deletions, counts.insertions)))


def _efficacy_findings(
    sets: dict[str, SetComparison], moved: dict[str, tuple[float, float]], failure: str | None
) -> list[Finding]:
    """Return a finding where training has changed no weight, or no word that is heard."""
    if not any(change for change, _ in moved.values()):
        return [
            finding(
                "zero-delta", f"{STEPS} steps of training leave every weight as it was: {failure}."
            )
        ]
    if not failure and not any(comparison.changed_words for comparison in sets.values()):
        message = f"{STEPS} steps of training change no word of any set: the learning rate may be far too low."
        return [finding("no-effect", message)]
    return []
