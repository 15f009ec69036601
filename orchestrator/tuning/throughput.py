"""`orchestrate plan --probe`: how fast this machine trains and hears, by a few real steps and a
small evaluation.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from orchestrator.planning.cost import Pace
from orchestrator.planning.trial_plan import first_plan
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.tuning.autotune import choose_pack_size, group_of, measure_pack_sizes
from orchestrator.tuning.model.core_threads import use_cores
from orchestrator.tuning.prepared_sweep import prepare

STEPS = 4
SAMPLE = 24
"""Utterances heard of each evaluation set, spread over it."""


def measure_pace(spec: SweepSpec, cache: Path, say: Callable[[str], None]) -> Pace:
    """Load and check the model on the cores of one pack, train the sweep's first point for a few
    steps and decode a sample of its sets.

    The choice of the pack is left to the sweep: what is measured here is not kept. Raises what a
    sweep raises at its start: ObjectiveError, ModelError, DataError or ManifestError.
    """
    say("loading and checking the base model")
    cores = spec.execution.cores
    if cores != "auto":
        use_cores(cores)
    started = time.perf_counter()
    prepared, plan = prepare(spec, cache, SAMPLE), first_plan(spec)
    load = time.perf_counter() - started
    say("measuring a few steps and a small evaluation")
    base, store, data = prepared.base, prepared.store, prepared.data
    with prepared.autocast():
        slots = spec.execution.pack
        if slots == "auto":
            slots, _ = choose_pack_size(measure_pack_sizes(plan, base, store, data))
        group = group_of(plan, base, slots)
        group.step(base, store, data)
        steps = [_time_call(partial(group.step, base, store, data)) / slots for _ in range(STEPS)]
        group.unpack()
        adapters = [slot.adapter for slot in group.slots]
        prepared.evaluator.measure_baseline()  # the drafts that every trial's decode starts from
        # before its last step a trial is heard at one scale, at the last at all of them
        scales = plan.params.adapter_scales
        rounds = [
            [(adapter, scale) for adapter in adapters for scale in chosen]
            for chosen in ((min(scales),), scales)
        ]
        heard = [
            _time_call(partial(prepared.evaluator.measure, scaled_adapters)) / len(scaled_adapters)
            for scaled_adapters in rounds
        ]
    utterances = sum(
        len(evaluation_set.clips) for evaluation_set in prepared.evaluator.sets.values()
    )
    return Pace(
        device=base.device.type,
        slots=slots,
        cores=None if cores == "auto" else cores,
        load=load,
        step=(min(steps), max(steps)),
        decode_seconds=(min(heard) / utterances, max(heard) / utterances),
    )


def _time_call(work: Callable[[], object]) -> float:
    """Seconds; whatever is timed here ends by reading from the device, so nothing is still in
    flight.
    """
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
