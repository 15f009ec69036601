"""The measurement of `orchestrate plan --probe`: how fast this machine trains and evaluates trials
of each kind, by a few real steps and a small evaluation.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from orchestrator.planning.kinds_of_trials import KindOfTrial
from orchestrator.planning.probed_cost import KindPace, Pace
from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.tuning.autotune import found_packs, group_of
from orchestrator.tuning.model.core_threads import use_cores
from orchestrator.tuning.prepared_sweep import PreparedSweep, prepare
from orchestrator.tuning.training.pack_group import PackGroup
from orchestrator.tuning.training.step_recovery import probe_step

STEPS = 4
"""Training steps that are timed for each kind of trial."""
SAMPLE = 24
"""Utterances of each evaluation set that are decoded, spread over it."""


def measure_pace(
    spec: SweepSpec,
    kinds: Sequence[KindOfTrial],
    cache: Path,
    say: Callable[[str], None],
    importing: float = 0.0,
) -> Pace:
    """Load and check the model on the cores of one pack, train trials of each kind for a few steps,
    and decode a sample of the sets with them.

    `importing` is the time in seconds that importing this module, and with it torch, took; a sweep
    takes it, too. The size of the pack that is found here is not kept: the sweep chooses its own.
    Raises what a sweep raises at its start: ObjectiveError, ModelError, DataError or ManifestError.
    """
    say("loading and checking the base model")
    cores = spec.execution.cores
    started = time.perf_counter()
    prepared = prepare(spec, cache, SAMPLE)
    load = importing + time.perf_counter() - started
    say("measuring a few steps and a small evaluation")
    evaluator, slots = prepared.evaluator, spec.execution.pack
    with prepared.autocast():
        if slots == "auto":
            started = time.perf_counter()
            with prepared.training_autocast():
                slots, _, _ = found_packs(spec, prepared.base, prepared.store, prepared.data)
            load += time.perf_counter() - started
        # the baseline's words are also the drafts of every trial's first evaluation
        baseline = _time_call(evaluator.measure_baseline)
        if cores != "auto":
            use_cores(cores)
        paces = _kind_paces(prepared, kinds, slots)
    return Pace(
        device=prepared.base.device.type,
        slots=slots,
        cores=None if cores == "auto" else cores,
        load=load,
        baseline=baseline / sum(len(heard.clips) for heard in evaluator.sets.values()),
        kinds=paces,
    )


def _kind_paces(
    prepared: PreparedSweep, kinds: Sequence[KindOfTrial], slots: int
) -> tuple[KindPace, ...]:
    """Return the pace of each kind of trial, in a group as large as it is likely to be in with a
    capacity of `slots`: trials that enter the encoder at the same layer train together. The pace of
    decoding is measured once for each such layer.
    """
    trials: dict[int, float] = defaultdict(float)
    for kind in kinds:
        trials[_depth(prepared, kind.plan)] += kind.trials
    heard: dict[int, tuple[float, float]] = {}
    paces = []
    for kind in kinds:
        depth = _depth(prepared, kind.plan)
        together = max(1, round(slots * trials[depth] / sum(trials.values())))
        group = group_of(kind.plan, prepared.base, together)
        step = partial(probe_step, group, prepared.base, prepared.store, prepared.data)
        with prepared.training_autocast():
            step()  # not timed: it also computes the frames that are kept
            steps = [_time_call(step) / together for _ in range(STEPS)]
        if depth not in heard:
            heard[depth] = _decode_pace(prepared, group)
        paces.append(KindPace(step=(min(steps), max(steps)), decode=heard[depth]))
    return tuple(paces)


def _depth(prepared: PreparedSweep, plan: TrialPlan) -> int:
    """Return a plan's entry depth: the lowest encoder layer that it adapts."""
    params, base = plan.params, prepared.base
    return base.first_adapted_layer(base.targets(params.target_patterns, params.layers))


def _decode_pace(prepared: PreparedSweep, group: PackGroup) -> tuple[float, float]:
    """Return the least and the most seconds that decoding takes per utterance and scaled adapter,
    of two cases: a trial before its last step is decoded at one scale, at the last step at all of
    them.
    """
    group.unpack()
    scales = group.slots[0].plan.params.adapter_scales
    evaluator = prepared.evaluator
    utterances = sum(len(heard.clips) for heard in evaluator.sets.values())
    heard = []
    for chosen in ((min(scales),), scales):
        adapters = [(slot.adapter, scale) for slot in group.slots for scale in chosen]
        heard.append(_time_call(partial(evaluator.measure, adapters)) / len(adapters))
    return min(heard) / utterances, max(heard) / utterances


def _time_call(work: Callable[[], object]) -> float:
    """Return the seconds that a call takes. All calls timed here end by reading from the device, so
    that no work is still queued there.
    """
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
