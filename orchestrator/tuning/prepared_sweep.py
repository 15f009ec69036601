"""What every trial of a sweep shares: the frozen base model, decoded sets and labels, checked
before the first step.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from orchestrator.machine import machine_cores
from orchestrator.planning.shares import Share, cores_of_all, share_of
from orchestrator.records.reading_sets import read_sets
from orchestrator.refused_findings import stop
from orchestrator.sweepfile.sweep import Execution, KernelName, SweepSpec
from orchestrator.tuning.decoding.evaluation import Evaluator
from orchestrator.tuning.decoding.evaluation_set import load_evaluation_set
from orchestrator.tuning.model.base_model import BaseModel, load_base_model
from orchestrator.tuning.model.core_threads import FOUND_THREADS, on_all_cores, use_cores
from orchestrator.tuning.model.device import choose_device, memory_of
from orchestrator.tuning.model.encoder_cache import EncoderCache
from orchestrator.tuning.selfcheck.checks import check_model
from orchestrator.tuning.selfcheck.model_limits import check_model_limits
from orchestrator.tuning.selfcheck.probe import possible_targets
from orchestrator.tuning.training.training_data import load_training_data
from orchestrator.tuning.training.training_set import TrainingSet

CPU_FRAMES_BYTES = 1_500_000_000
"""Unless the sweep file says another: with what training itself takes, a large corpus stays below
2.5 GB.
"""


@dataclass(frozen=True)
class PreparedSweep:
    """A sweep with its model and data at hand; trials come later."""

    spec: SweepSpec
    base: BaseModel
    data: TrainingSet
    store: EncoderCache
    evaluator: Evaluator
    findings: tuple[Finding, ...]
    """Of the start-up checks; none of them stops the sweep."""
    notes: tuple[str, ...]

    def executed(self, **changes: object) -> PreparedSweep:
        """With other values of `execution`, before anything has trained; this process takes the
        cores that they say.
        """
        execution = self.spec.execution.model_copy(update=changes)
        spec = self.spec.model_copy(update={"execution": execution})
        _take_cores(spec)
        return replace(self, spec=spec)

    def autocast(self) -> torch.autocast:
        """The context in which everything but training is computed: bfloat16 products where the
        sweep asks for them.
        """
        return _autocast_for(self.spec, self.base.device)

    def training_autocast(self) -> torch.autocast:
        """The context in which trials train."""
        return _autocast_for(self.spec, self.base.device, training=True)


def prepare(spec: SweepSpec, cache: Path, sample: int | None = None) -> PreparedSweep:
    """Load the model, decode and label the sets, run the start-up checks.

    `sample`: hear only so many utterances of each evaluation set, spread over it. Raises
    ModelError, ManifestError, DataError or ObjectiveError when the model or the data cannot be
    used.
    """
    execution = spec.execution
    _take_cores(spec)
    asked_by = "execution.devices" if execution.devices else "execution.device"
    device, notes = choose_device(execution.first_device, asked_by)
    base, said = _base_model(spec, device)
    manifests = read_sets(spec, cache)
    lengths = check_model_limits(spec, base, manifests)
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
        ("training data", id(base), *_training_part(spec)),
        lambda: load_training_data(spec, base, manifests, cache, _autocast_for(spec, device)),
    )
    clips["train"] = training.clips
    share = share_of(execution, device.type, machine_cores())
    memory = frames_budget(execution, device.type, memory_of(device), share)
    depths = _first_adapted_layers(spec, base)
    store = EncoderCache(base.family, clips, memory, device, depths, {"train": training.frames})
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


def _take_cores(spec: SweepSpec) -> None:
    """This process computes on the cores of one pack; whole things, on those of all packs that are
    made of it, for it has them to itself until then. In bfloat16 words may depend on what is decoded
    beside them, so there the cores of one pack decide that, too.
    """
    execution, cores = spec.execution, machine_cores()
    if execution.cores == "auto":
        use_cores(min(FOUND_THREADS, cores))
        return
    exact = _precision(spec, training=False) == "fp32"
    use_cores(execution.cores, cores_of_all(execution, cores) if exact else execution.cores)


def _base_model(spec: SweepSpec, device: torch.device) -> tuple[BaseModel, tuple[str, ...]]:
    """The model, and what is to be said of it: nothing where this run has loaded it before."""
    kernel, windows = _kernel_of(spec), spec.evaluation.encoder_windows
    said: list[str] = []

    def load() -> BaseModel:
        base = load_base_model(spec.model, device, encoder_windows=windows, kernel=kernel)
        said.extend(base.notes)
        return base

    base = once(("model", spec.model, device, windows), load)
    if kernel not in ("auto", base.products.name):
        base = load()
    return base, tuple(said)


def _training_part(spec: SweepSpec) -> tuple[object, ...]:
    """All that the training data of a model depend on, of the sweep."""
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
    """Products in bfloat16 are torch's own, whose CPU form is oneDNN already."""
    asked = spec.execution.kernel
    if spec.evaluation.precision == "fp32":
        return asked
    if asked == "onednn":
        raise ModelError(
            "execution.kernel: onednn is for float32, and evaluation.precision is bf16; allowed with it: auto, aten"
        )
    return "aten"


def frames_budget(execution: Execution, device: str, total: int, share: Share) -> int:
    """Bytes that the frames of one process may take: its part of `execution.memory_gb`, which is for
    all of a machine; else on a CPU its part of an eighth of the memory and at most 1.5 GB,
    elsewhere of a quarter of the device's. `total` is the device's memory in bytes.
    """
    if execution.memory_gb != "auto":
        return round(execution.memory_gb * 1e9) // share.holders
    if device == "cpu":
        return min(total // 8, CPU_FRAMES_BYTES) // share.holders
    return total // 4 // share.holders_a_device


def _autocast_for(spec: SweepSpec, device: torch.device, training: bool = False) -> torch.autocast:
    enabled = _precision(spec, training) == "bf16"
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def _precision_notes(spec: SweepSpec) -> tuple[str, ...]:
    """That trials do not train in what they are measured in, where they do not."""
    training, measuring = _precision(spec, training=True), _precision(spec, training=False)
    if training == measuring:
        return ()
    return (f"trials train in {training} (evaluation.training_precision), measured in {measuring}",)


def _precision(spec: SweepSpec, training: bool) -> str:
    asked = spec.evaluation.training_precision if training else None
    return asked or spec.evaluation.precision


def _first_adapted_layers(spec: SweepSpec, base: BaseModel) -> set[int]:
    """The lowest encoder layers that trials of the sweep may adapt, and where one may be held to
    the untuned model, all of its encoder; what does not fit the model is a finding later.
    """
    held = any(float(weight) > 0 for weight in spec.parameters.possible("kl_weight"))
    depths = {base.encoder_depth} if held else set()
    for _, patterns, layers in possible_targets(spec):
        with suppress(ModelError):
            depths.add(base.first_adapted_layer(base.targets(patterns, layers)))
    return depths
