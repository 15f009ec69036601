"""The start-up checks: whether training and evaluation are correct, measured on a few utterances
when the model has been loaded.

Each check compares what this package computes with the stock model, with itself in another batch,
or with what must change and what must not. Most of them run in the weights' own dtype; the dtypes
that the evaluation and training compute in are checks of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import chain

import numpy as np
import torch

from orchestrator.checks import Finding, finding
from orchestrator.corpus.recordings.loudness import level
from orchestrator.errors import ModelError
from orchestrator.planning.target_choices import drawn_targets
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.tuning.decoding.evaluation_set import EvaluationSet
from orchestrator.tuning.model.base_model import BaseModel
from orchestrator.tuning.selfcheck.base_loss import base_loss
from orchestrator.tuning.selfcheck.encoder import (
    attention_mask,
    check_padding,
    encoder_reuse,
    frame_counts,
)
from orchestrator.tuning.selfcheck.probe import make_probe, possible_targets
from orchestrator.tuning.selfcheck.spelling import check_spelling
from orchestrator.tuning.selfcheck.trial import check_dtypes, check_evaluation, check_training
from orchestrator.tuning.training.training_set import TrainingSet

LEVEL = 0.02
"""The share by which the level of a set may differ from the one asked for."""
CLIPS_MEASURED = 32
"""About how many clips of a set have their level measured."""
QUIET_PEAK = 1e-3
"""Clips up to this peak have no level to measure."""


def check_model(
    base: BaseModel,
    spec: SweepSpec,
    sets: dict[str, EvaluationSet],
    data: TrainingSet,
    clips: dict[str, Sequence[np.ndarray]],
    autocast: Callable[[], AbstractContextManager[object]],
    training_autocast: Callable[[], AbstractContextManager[object]] | None = None,
) -> list[Finding]:
    """Return all findings about the model as this sweep would use it.

    `clips` are those of every set by its name, "train" in the order of `data`. `autocast` makes the
    context in which the sweep measures, `training_autocast` the one in which trials train, None
    where that is the weights' own dtype.
    """
    findings = [*_check_targets(base, spec), *_label_ends(base, data), *_check_gain(spec, clips)]
    probe = make_probe(base, spec, sets, data, clips)
    if probe is None:
        return findings
    with torch.no_grad(), autocast():
        counts = list(frame_counts(probe))
    if counts:
        return [*findings, *counts]  # the other checks rely on the numbers of frames
    findings += check_dtypes(probe, autocast)
    if any(finding.name == "dtype" for finding in findings):
        return findings  # with mixed dtypes the other checks could not be computed
    with torch.no_grad():
        findings += chain(
            attention_mask(probe),
            check_padding(probe),
            encoder_reuse(probe),
            check_evaluation(probe),
        )
    rate = spec.evaluation.max_tokens_per_second
    speech = chain(
        base_loss(base, data, clips["train"]), check_spelling(base, data, clips["train"], rate)
    )
    return [*findings, *check_training(probe, training_autocast), *speech]


def _check_targets(base: BaseModel, spec: SweepSpec) -> Iterator[Finding]:
    """Yield a finding for each target preset that fits the model with none of the `layers` that a
    trial may have, for `layers` with which no preset fits, and for each pair of both that the
    search would draw and that the model does not have.
    """
    faults: dict[tuple[str, str], str] = {}
    choices = possible_targets(spec)
    for preset, patterns, layers in choices:
        try:
            base.targets(patterns, layers)
        except ModelError as error:
            faults[preset, layers] = f"preset {preset}: {error}"
    said: dict[str, None] = {}
    for place in range(2):  # by preset, then by layers
        for value in dict.fromkeys((preset, layers)[place] for preset, _, layers in choices):
            own = [
                (preset, layers)
                for preset, _, layers in choices
                if (preset, layers)[place] == value
            ]
            if all(row in faults for row in own):
                said.setdefault(faults[own[0]])
    for pair in drawn_targets(spec):
        if pair in faults:
            said.setdefault(faults[pair])
    yield from (finding("targets", fault) for fault in said)


def _label_ends(base: BaseModel, data: TrainingSet) -> Iterator[Finding]:
    """Yield a finding where labels have start or end tokens in the wrong places."""
    start, ends = base.decoder.start, base.decoder.ends
    faults: dict[str, Callable[[list[int]], bool]] = {
        "do not end with the end token, so an adapter learns never to stop": lambda row: (
            not (row and row[-1] in ends)
        ),
        "hold the end token before their end": lambda row: not ends.isdisjoint(row[:-1]),
        "begin with the start token, which the decoder puts there itself": lambda row: (
            row[:1] == [start] and start not in ends
        ),
    }
    for fault, holds in faults.items():
        bad = [row for row in data.labels if holds(row)]
        if bad:
            yield finding(
                "label-ends", f"{len(bad)} of {len(data.labels)} label rows {fault}, e.g. {bad[0]}."
            )


def _check_gain(spec: SweepSpec, clips: dict[str, Sequence[np.ndarray]]) -> Iterator[Finding]:
    """Yield a finding for each set whose level is not the one asked for: by the median of clips
    spread over it, without silent ones and those that were clipped at full scale.
    """
    rms = spec.evaluation.rms
    if rms is None:
        return
    for name, of_set in clips.items():
        rows = range(0, len(of_set), max(1, len(of_set) // CLIPS_MEASURED))
        levels = [level(of_set[row]) for row in rows if QUIET_PEAK < np.abs(of_set[row]).max() < 1]
        median = float(np.median(levels)) if levels else rms
        if abs(median / rms - 1) > LEVEL:
            yield finding(
                "gain",
                f"the clips of {spec.measured_name(name)} have an rms of {median:.4f} (median of {len(levels)}) where "
                f"evaluation.rms is {rms:g}: sets of different loudness are not heard alike.",
            )
