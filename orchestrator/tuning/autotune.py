"""`execution.pack: auto`: how many adapters to train at once, on a GPU by measuring it with the data
at hand, on a CPU as many as its cores and the trials say, if the memory holds them.

Decided once a study, which keeps the answer: the order in which a search asks depends on how many
trials are in flight, so a sweep continues with the pack it began with. It changes no trial's
result.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from orchestrator.machine import (
    forget_peak_memory,
    machine_cores,
    machine_memory,
    own_memory,
    peak_memory,
    used_memory,
)
from orchestrator.planning.shares import slots_of_each
from orchestrator.planning.trial_plan import TrialPlan, first_plan
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.tuning.adapters.peft_adapter import initial_adapter
from orchestrator.tuning.model.base_model import BaseModel
from orchestrator.tuning.model.core_threads import on_all_cores
from orchestrator.tuning.model.encoder_cache import EncoderCache
from orchestrator.tuning.training.pack_group import PackGroup, Slot
from orchestrator.tuning.training.training_set import TrainingSet
from orchestrator.tuning.trial_faults import is_out_of_memory

SIZES = {"cuda": (1, 4, 8, 16, 32), "mps": (1, 2, 4, 8)}
STEPS = 2
"""Steps of each size, the faster of which counts."""
WORTH = 1.05
"""A smaller pack may be so many times slower per trial than the fastest: the search learns more from
it."""
PATIENCE_SECONDS = 4.0
"""No larger pack is tried once a step takes this long."""
MEMORY_SHARE = 0.5
"""A pack may take this share of the device's memory in training; decoding and the frames need the
rest.
"""


def found_packs(
    spec: SweepSpec, base: BaseModel, store: EncoderCache, data: TrainingSet
) -> tuple[int, int, str]:
    """Slots for `pack: auto` when trials are like the first of the sweep, the packs of those decided
    that the memory holds, and one line of why.
    """
    plan, packs = first_plan(spec), spec.execution.packs
    packs = 1 if packs == "auto" else packs
    if base.device.type != "cpu":
        slots, why = choose_pack_size(measure_pack_sizes(plan, base, store, data))
        return slots, packs, why
    wanted = slots_of_each(spec, machine_cores())
    on_this_machine = packs if spec.execution.launcher == "local" else 1
    with on_all_cores(base.device):
        slots, fitting = _fitting(plan, base, store, data, wanted, on_this_machine)
    data.untuned.clear()  # computed on other cores than those of a pack
    short = (slots, fitting) != (wanted, on_this_machine)
    packs = fitting if on_this_machine == packs else packs
    where = "" if packs == 1 else f", in {packs} packs of {slots}"
    memory = "; more would take over half of the memory" if short else ""
    return slots, packs, f"trials at once: {packs * slots}{where}{memory}"


def _fitting(
    plan: TrialPlan,
    base: BaseModel,
    store: EncoderCache,
    data: TrainingSet,
    slots: int,
    packs: int,
) -> tuple[int, int]:
    """Slots and packs, of so many at the most, that can make a step at the same time."""
    group_of(plan, base, 1).step(base, store, data)  # what is kept from now on is there once
    held, room = used_memory(), MEMORY_SHARE * machine_memory() - own_memory()
    while True:
        forget_peak_memory()
        try:
            group_of(plan, base, slots).step(base, store, data)
        except (MemoryError, RuntimeError) as error:
            if slots == 1 or not is_out_of_memory(error):
                raise
        else:
            fitting = int(room // max(1, peak_memory() - held))
            if fitting >= packs or slots == 1:
                return slots, max(1, min(packs, fitting))
        slots //= 2


def choose_pack_size(measured: Sequence[tuple[int, float, float]]) -> tuple[int, str]:
    """The pack from (slots, seconds a step, share of the memory): the smallest that is about as fast
    as the fastest.
    """
    smallest, *larger = measured
    fitting = [smallest, *(row for row in larger if row[2] <= MEMORY_SHARE)]
    best = min(seconds / size for size, seconds, _ in fitting)
    slots = next(size for size, seconds, _ in fitting if seconds / size <= WORTH * best)
    rows = ", ".join(f"{size}: {1000 * seconds / size:.0f} ms" for size, seconds, _ in measured)
    return slots, f"pack of {slots}; one step of one trial took, by slots trained at once, {rows}"


def group_of(plan: TrialPlan, base: BaseModel, slots: int) -> PackGroup:
    """So many trials of one plan, ready for their first step together."""
    targets = base.targets(plan.params.target_patterns, plan.params.layers)
    adapter = initial_adapter(base.linears, targets, plan.params)
    group = PackGroup(base.first_adapted_layer(targets))
    for _ in range(slots):
        group.join(Slot(plan, targets, adapter))
    return group


def measure_pack_sizes(
    plan: TrialPlan, base: BaseModel, store: EncoderCache, data: TrainingSet
) -> list[tuple[int, float, float]]:
    """Slots, seconds of one step, share of the memory; up to the first size after which a step
    would be too much.
    """
    rows: list[tuple[int, float, float]] = []
    _step_seconds(group_of(plan, base, 1), base, store, data)  # computes the frames that are kept
    for size in SIZES[base.device.type]:
        group = group_of(plan, base, size)
        if base.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        try:
            seconds = min(_step_seconds(group, base, store, data) for _ in range(STEPS))
        except (MemoryError, RuntimeError) as error:
            if not rows or not is_out_of_memory(error):
                raise
            break
        rows.append((size, seconds, _memory_share(base.device)))
        if 2 * rows[-1][1] > PATIENCE_SECONDS or 2 * rows[-1][2] > MEMORY_SHARE:
            break
    return rows


def _step_seconds(
    group: PackGroup, base: BaseModel, store: EncoderCache, data: TrainingSet
) -> float:
    """Of one step: it ends with losses on the host, so a GPU is done by then."""
    started = time.perf_counter()
    group.step(base, store, data)
    return time.perf_counter() - started


def _memory_share(device: torch.device) -> float:
    """On cuda the most that torch had of the GPU's; else what this process has of the machine's,
    which mps shares.
    """
    if device.type == "cuda":
        return (
            torch.cuda.max_memory_allocated()
            / torch.cuda.get_device_properties(device).total_memory
        )
    return used_memory() / machine_memory()
