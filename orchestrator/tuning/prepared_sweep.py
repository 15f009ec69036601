"""Preparing a sweep: the frozen base model, the decoded sets and the labels, which all trials share
and which are checked before the first step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from orchestrator.checks import Finding
from orchestrator.corpus.cache.reading_once import once
from orchestrator.errors import ModelError, ObjectiveError
from orchestrator.host.machine import keep_freed_memory, machine_cores, usable_cores
from orchestrator.planning.shares import Share, cores_of_all, share_of
from orchestrator.records.readiness.reading_sets import read_sets
from orchestrator.refused_findings import stop
from orchestrator.sweepfile.evaluation import Precision
from orchestrator.sweepfile.execution import Execution, KernelName
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.tuning.decoding.evaluation import Evaluator
from orchestrator.tuning.decoding.evaluation_set import load_evaluation_set
from orchestrator.tuning.model.base_model import BaseModel, load_base_model
from orchestrator.tuning.model.core_threads import FOUND_THREADS, on_all_cores, use_cores
from orchestrator.tuning.model.device import autocast_to, choose_device, memory_of
from orchestrator.tuning.model.encoder_cache import EncoderCache, Frames
from orchestrator.tuning.selfcheck.checks import check_model
from orchestrator.tuning.selfcheck.model_limits import check_model_limits
from orchestrator.tuning.selfcheck.probe import possible_targets
from orchestrator.tuning.training.training_data import load_training_data
from orchestrator.tuning.training.training_set import TrainingSet

CPU_FRAMES_BYTES = 1_500_000_000
"""The most bytes of frames that are kept on a CPU, unless the sweep file says another: with what
training itself takes, the process then stays below 2.5 GB on a large corpus.
"""


@dataclass(frozen=True)
class PreparedSweep:
    """A sweep with its model and data loaded and checked, before any trial."""

    spec: SweepSpec
    base: BaseModel
    data: TrainingSet
    store: EncoderCache
    evaluator: Evaluator
    findings: tuple[Finding, ...]
    """The findings of the start-up checks, none of which stops the sweep."""
    notes: tuple[str, ...]
    """Sentences for the study: on device, model, precision and data."""

    def executed(self, **changes: object) -> PreparedSweep:
        """Return the sweep with other values of `execution`, and let this process use the cores
        that they say. It must be called before anything has trained.
        """
        execution = self.spec.execution.model_copy(update=changes)
        spec = self.spec.model_copy(update={"execution": execution})
        _take_cores(spec)
        return replace(self, spec=spec)

    @property
    def hears_exactly(self) -> bool:
        """Whether what a clip is heard to say depends on nothing that is decoded beside it."""
        return _hears_exactly(self.spec)

    def autocast(self) -> torch.autocast:
        """Return the context in which everything but training is computed: with bfloat16 products
        where the sweep asks for them.
        """
        return _autocast_for(self.spec, self.base.device)

    def training_autocast(self) -> torch.autocast:
        """Return the context in which trials train."""
        return _autocast_for(self.spec, self.base.device, training=True)


def prepare(spec: SweepSpec, cache: Path, sample: int | None = None) -> PreparedSweep:
    """Load the model, decode and label the sets, and run the start-up checks.

    With `sample`, only so many utterances of each evaluation set, spread over it, are used. Raises
    ModelError, ManifestError, DataError or ObjectiveError when the model or the data cannot be
    used.
    """
    execution = spec.execution
    _take_cores(spec)
    keep_freed_memory()
    asked_by = "execution.devices" if execution.devices else "execution.device"
    device, notes = choose_device(execution.first_device, asked_by)
    base, said = _base_model(spec, device)
    manifests = read_sets(spec, cache)
    named = {spec.measured_name(name): manifest for name, manifest in manifests.items()}
    lengths = check_model_limits(spec, base, named)
    sets = {
        name: load_evaluation_set(spec, name, manifests[name], base, cache)
        for name in spec.data.evaluated
    }
    if sample is not None:
        sets = {name: evaluation_set.spread(sample) for name, evaluation_set in sets.items()}
    clips: dict[str, Sequence[np.ndarray]] = {
        name: evaluation_set.clips.sounds for name, evaluation_set in sets.items()
    }
    training = once(
        ("training data", *_model_part(spec, device), base.products.name, *_training_part(spec)),
        lambda: load_training_data(spec, base, manifests, cache, _autocast_for(spec, device)),
    )
    clips["train"] = training.clips
    store = _encoder_cache(spec, base, clips, {"train": training.frames})
    measuring, trained = (
        partial(_autocast_for, spec, device, training=each) for each in (False, True)
    )
    other = trained if _precision(spec, training=True) == "bf16" else None
    with on_all_cores(device):
        model_findings = check_model(base, spec, sets, training.labels, clips, measuring, other)
    findings = (*lengths, *model_findings)
    stop(
        findings,
        spec.checks.ignore,
        "The model cannot be trained and measured as it is",
        ObjectiveError,
    )
    evaluator = Evaluator(base, store, sets, spec.evaluation)
    return PreparedSweep(
        spec,
        base,
        training.labels,
        store,
        evaluator,
        findings,
        (*notes, *said, *_precision_notes(spec), *training.notes),
    )


def _encoder_cache(
    spec: SweepSpec,
    base: BaseModel,
    clips: dict[str, Sequence[np.ndarray]],
    kept: Mapping[str, dict[int, Frames | None]],
) -> EncoderCache:
    """Return the cache of the frames of these sets; `kept` are frames that are there already."""
    execution, device = spec.execution, base.device
    # OMP_NUM_THREADS, which Ray sets for a pack to its own cores, says nothing of the packs beside it
    share = share_of(execution, device.type, usable_cores())
    memory = frames_budget(execution, device.type, memory_of(device), share)
    depths = _first_adapted_layers(spec, base)
    # every step needs frames of the training set, so they come first where not all fit
    ordered = {"train": clips["train"], **clips}
    return EncoderCache(
        base.family,
        ordered,
        memory,
        device,
        depths,
        kept,
        spec.measured_name,
        lambda name: _autocast_for(spec, device, training=name == "train"),
    )


def _take_cores(spec: SweepSpec) -> None:
    """Let this process compute on the cores of one pack, as packs that are forked from it will.

    Work that is not divided, such as frames and the baseline, may use the cores of all packs, for
    the process has them to itself until then. Not in bfloat16, where words may depend on what is
    decoded beside them: there it, too, uses the cores of one pack.
    """
    execution, cores = spec.execution, machine_cores()
    if execution.cores == "auto":
        use_cores(min(FOUND_THREADS, cores))
        return
    use_cores(execution.cores, cores_of_all(execution, cores) if _hears_exactly(spec) else 1)


def _hears_exactly(spec: SweepSpec) -> bool:
    return _precision(spec, training=False) == "fp32"


def _base_model(spec: SweepSpec, device: torch.device) -> tuple[BaseModel, tuple[str, ...]]:
    """Return the model, and notes on it; none where this run had loaded it before."""
    kernel, windows = _kernel_of(spec), spec.evaluation.encoder_windows
    said: list[str] = []

    def load() -> BaseModel:
        base = load_base_model(spec.model, device, encoder_windows=windows, kernel=kernel)
        said.extend(base.notes)
        return base

    base = once(("model", *_model_part(spec, device)), load)
    # the kernel is not part of the key, so that `auto` takes a model loaded before with any kernel
    if kernel not in ("auto", base.products.name):
        base = load()
    return base, tuple(said)


def _model_part(spec: SweepSpec, device: torch.device) -> tuple[object, ...]:
    """Return everything in a sweep that the model depends on, but its matrix kernel, as a cache key."""
    return spec.model, device, spec.evaluation.encoder_windows


def _training_part(spec: SweepSpec) -> tuple[object, ...]:
    """Return everything in a sweep that the training data of a model depend on, as a cache key."""
    data = spec.data
    return (
        data.train,
        data.replay,
        data.max_seconds,
        data.max_bad_fraction,
        spec.replay_needs_text,
        spec.parameters.possible("replay_labels"),
        spec.evaluation,
    )


def _kernel_of(spec: SweepSpec) -> KernelName | Literal["auto"]:
    """Return the kernel to use. In bfloat16 it is `aten`, whose CPU form is oneDNN already: also in
    a confirmation whose search was in float32, and kept the kernel that was the fastest there.
    """
    return spec.execution.kernel if spec.evaluation.precision.search == "fp32" else "aten"


def frames_budget(execution: Execution, device: str, total: int, share: Share) -> int:
    """Return the bytes that the frames of one process may take: its share of `execution.memory_gb`,
    which is for a whole machine. With `auto`, its share of an eighth of the memory on a CPU, of 1.5
    GB at most; on other devices its share of a quarter of the device's. `total` is the device's
    memory in bytes.
    """
    if execution.memory_gb != "auto":
        return round(execution.memory_gb * 1e9) // share.holders
    if device == "cpu":
        return min(total // 8, CPU_FRAMES_BYTES) // share.holders
    return total // 4 // share.holders_a_device


def _autocast_for(spec: SweepSpec, device: torch.device, training: bool = False) -> torch.autocast:
    return autocast_to(_precision(spec, training), device)


def _precision_notes(spec: SweepSpec) -> tuple[str, ...]:
    """Return notes where trials train in another precision than they are measured in, and where
    the search is in another precision than the confirmation.
    """
    training, measuring = _precision(spec, training=True), _precision(spec, training=False)
    notes = []
    if training != measuring:
        notes.append(
            f"trials train in {training} (evaluation.training_precision), measured in {measuring}"
        )
    precision = spec.evaluation.precision
    if precision.search != precision.verdict:
        notes.append(
            f"the search is in {precision.search}, the confirmation in {precision.verdict} "
            "(evaluation.precision)"
        )
    return tuple(notes)


def _precision(spec: SweepSpec, training: bool) -> Precision:
    asked = spec.evaluation.training_precision if training else None
    return asked or spec.evaluation.precision.search


def _first_adapted_layers(spec: SweepSpec, base: BaseModel) -> set[int]:
    """Return the entry depths that trials of the sweep may have. Where a trial may have a KL term,
    the full depth is one of them, because the untuned model runs its whole encoder. Targets that do
    not fit the model are left out here; a start-up check reports them.
    """
    held = any(float(weight) > 0 for weight in spec.parameters.possible("kl_weight"))
    depths = {base.encoder_depth} if held else set()
    for _, patterns, layers in possible_targets(spec):
        with suppress(ModelError):
            depths.add(base.first_adapted_layer(base.targets(patterns, layers)))
    return depths
