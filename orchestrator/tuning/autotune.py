"""The choice of `execution.pack: auto`: how many adapters to train at once. On a GPU it is measured
with the sweep's own data; on a CPU it follows from the cores and the trials, as far as the memory
allows.

It is decided once for a study, which keeps the answer: which points a search asks for depends on
how many trials are in flight, so a sweep continues with the pack it began with. It changes no
trial's result.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from orchestrator.host.machine import (
    forget_peak_memory,
    machine_cores,
    machine_memory,
    own_memory,
    peak_memory,
    return_freed_memory,
    used_memory,
)
from orchestrator.planning.shares import share_of, slots_of_each
from orchestrator.planning.trial_plan import TrialPlan, first_plan
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.tuning.adapters.peft_adapter import initial_adapter
from orchestrator.tuning.model.base_model import BaseModel
from orchestrator.tuning.model.core_threads import on_all_cores
from orchestrator.tuning.model.encoder_cache import EncoderCache
from orchestrator.tuning.training.pack_group import PackGroup, Slot
from orchestrator.tuning.training.step_recovery import probe_step
from orchestrator.tuning.training.training_set import TrainingSet
from orchestrator.tuning.trial_faults import is_out_of_memory

SIZES = {"cuda": (1, 4, 8, 16, 32), "mps": (1, 2, 4, 8)}
"""The numbers of slots that are measured on each kind of device."""
STEPS = 2
"""The steps that are timed for each size; the fastest counts."""
WORTH = 1.05
"""A smaller pack is chosen although it takes up to so many times as long per trial as the fastest,
because the search learns more with fewer trials in flight."""
PATIENCE_SECONDS = 4.0
"""No larger pack is tried once a step takes this long."""
MEMORY_SHARE = 0.5
"""The share of the device's memory that packs may take in training, all together that compute on it
at the same time; decoding and the frames need the rest.
"""


def found_packs(
    spec: SweepSpec,
    base: BaseModel,
    store: EncoderCache,
    data: TrainingSet,
    fewer: bool = True,
) -> tuple[int, int, str]:
    """Return the slots of each pack for `pack: auto`, the number of packs, and one line that says
    why.

    All trials are taken to be like the first of the sweep. The number of packs is the one already
    decided (1 where it is still `auto`); with `fewer`, there are fewer where the memory holds no
    more.
    """
    plan, packs = first_plan(spec), spec.execution.packs
    packs = 1 if packs == "auto" else packs
    if base.device.type != "cpu":
        share = share_of(spec.execution, base.device.type, machine_cores())
        # one of the processes on a device is this one, which trains nothing later
        most = MEMORY_SHARE / max(1, share.holders_a_device - 1)
        slots, why = choose_pack_size(measure_pack_sizes(plan, base, store, data, most), most)
        return slots, packs, why
    wanted = slots_of_each(spec, machine_cores())
    on_this_machine = packs if spec.execution.launcher == "local" else 1
    with on_all_cores(base.device):
        slots, fitting = _fitting(plan, base, store, data, wanted, on_this_machine)
    # these states would be kept for all steps, and were computed on more cores than a pack's
    data.untuned.clear()
    memory = ""
    if fitting < on_this_machine and not fewer:
        memory = "; that may take over half of the memory"
    elif (slots, fitting) != (wanted, on_this_machine):
        memory = "; more would take over half of the memory"
    packs = fitting if on_this_machine == packs and fewer else packs
    where = "" if packs == 1 else f", in {packs} packs of {slots}"
    return slots, packs, f"trials at once: {packs * slots}{where}{memory}"


def _fitting(
    plan: TrialPlan,
    base: BaseModel,
    store: EncoderCache,
    data: TrainingSet,
    slots: int,
    packs: int,
) -> tuple[int, int]:
    """Return the largest number of slots per pack, `slots` halved as often as needed, and of packs,
    up to `packs`, that can make a step at the same time in half of the memory.

    All packs fit at fewer slots before there are fewer packs. One slot makes its step in smaller
    micro-batches where it must. Raises ModelError where it does not fit even so.
    """
    # frames are computed once and kept, so they are no part of a step; the untuned model, to which
    # a KL term compares, needs those of the whole encoder
    store.keep("train", group_of(plan, base, 1).depth)
    if plan.params.kl_weight > 0:
        store.keep("train", base.encoder_depth)
    return_freed_memory()
    room = MEMORY_SHARE * machine_memory() - own_memory()
    while True:
        try:
            taken = _memory_of_step(group_of(plan, base, slots), base, store, data)
        except (MemoryError, RuntimeError) as error:
            if slots == 1 or not is_out_of_memory(error):
                raise
        else:
            fitting = int(room // taken)
            if fitting >= packs or slots == 1:
                return slots, max(1, min(packs, fitting))
        slots //= 2


def _memory_of_step(
    group: PackGroup, base: BaseModel, store: EncoderCache, data: TrainingSet
) -> int:
    """Return how many bytes more than before this process occupies during a step, at least 1."""
    return_freed_memory()  # a step that reuses it would seem to take none
    held = used_memory()
    forget_peak_memory()
    _step(group, base, store, data)
    return max(1, peak_memory() - held)


def choose_pack_size(
    measured: Sequence[tuple[int, float, float]], most: float = MEMORY_SHARE
) -> tuple[int, str]:
    """Return the pack's slots, and a line that says why, from rows (slots, seconds of a step, share
    of the memory): the smallest pack that is about as fast per trial as the fastest that fits into
    the share `most`.
    """
    smallest, *larger = measured
    fitting = [smallest, *(row for row in larger if row[2] <= most)]
    best = min(seconds / size for size, seconds, _ in fitting)
    slots = next(size for size, seconds, _ in fitting if seconds / size <= WORTH * best)
    rows = ", ".join(f"{size}: {1000 * seconds / size:.0f} ms" for size, seconds, _ in measured)
    return slots, f"pack of {slots}; one step of one trial took, by slots trained at once, {rows}"


def group_of(plan: TrialPlan, base: BaseModel, slots: int) -> PackGroup:
    """Return a group of `slots` equal trials of one plan, ready for their first step."""
    targets = base.targets(plan.params.target_patterns, plan.params.layers)
    adapter = initial_adapter(base.linears, targets, plan.params)
    group = PackGroup(base.first_adapted_layer(targets))
    for _ in range(slots):
        group.join(Slot(plan, targets, adapter))
    return group


def measure_pack_sizes(
    plan: TrialPlan,
    base: BaseModel,
    store: EncoderCache,
    data: TrainingSet,
    most: float = MEMORY_SHARE,
) -> list[tuple[int, float, float]]:
    """Return rows (slots, seconds of one step, share of the memory) for each of SIZES, until a
    larger one would take too long or more of the memory than the share `most`.
    """
    rows: list[tuple[int, float, float]] = []
    # not timed: the first step also computes the frames that are kept
    _step_seconds(group_of(plan, base, 1), base, store, data)
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
        # the next size has at least twice the slots, and may take twice as much of both
        if 2 * rows[-1][1] > PATIENCE_SECONDS or 2 * rows[-1][2] > most:
            break
    return rows


def _step_seconds(
    group: PackGroup, base: BaseModel, store: EncoderCache, data: TrainingSet
) -> float:
    """Return the seconds that one step takes. It ends by reading the losses from the device, so a
    GPU has finished then.
    """
    started = time.perf_counter()
    _step(group, base, store, data)
    return time.perf_counter() - started


def _step(group: PackGroup, base: BaseModel, store: EncoderCache, data: TrainingSet) -> None:
    """Make one step: of several slots all at once, or as what the computation raises; of one slot
    as a sweep makes it.
    """
    if len(group.slots) == 1:
        probe_step(group, base, store, data)
    else:
        group.step(base, store, data)


def _memory_share(device: torch.device) -> float:
    """Return the share of memory in use: on CUDA the most that torch has allocated, of the GPU's;
    else what this process has of the machine's, which MPS shares.
    """
    if device.type == "cuda":
        return (
            torch.cuda.max_memory_allocated()
            / torch.cuda.get_device_properties(device).total_memory
        )
    return used_memory() / machine_memory()
