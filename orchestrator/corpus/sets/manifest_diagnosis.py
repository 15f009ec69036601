"""Diagnosis of manifests without a sweep: what each holds, what a limit on length leaves, and how
it would divide. No torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from orchestrator.corpus.manifest_errors import joined_errors
from orchestrator.corpus.manifests.manifest import Manifest, load_manifest
from orchestrator.corpus.sets.disjoint_parts import divide
from orchestrator.corpus.sets.durations_and_speakers import DurationProfile, duration_profile
from orchestrator.errors import ManifestError


@dataclass(frozen=True)
class ManifestDiagnosis:
    """The diagnosis of one manifest."""

    manifest: Manifest
    profile: DurationProfile
    kept: int
    """The number of utterances within the limit on length."""
    train: int
    """The number of utterances in the training part."""
    validation: int
    """The number of utterances in the validation part."""
    by: Literal["speaker", "random"]
    """How these two parts are drawn: without a common speaker, or utterance by utterance where the
    lines do not name two speakers, or some name none.
    """
    nameless: int
    """The number of utterances within the limit on length that name no speaker."""

    @property
    def mean_seconds(self) -> float:
        """The mean length of all utterances."""
        return self.profile.total.seconds / self.profile.total.utterances


@dataclass(frozen=True)
class ManifestBaseline:
    """How well a model transcribes a manifest without being tuned."""

    wer: float
    """WER in percent."""
    heard: int
    """The number of utterances that were decoded."""
    too_long: int
    """The number of utterances that are longer than the model can take."""
    cut_off: int
    """The number of transcripts that the token cap cut off."""
    max_tokens_per_second: float
    """The token cap."""


def diagnose_manifests(
    paths: Sequence[Path], max_seconds: float, validation: float
) -> list[ManifestDiagnosis]:
    """Diagnose every manifest: those utterances that are within `max_seconds` are divided, with
    about `validation` of them set apart. Raises ManifestError with all faults of all manifests.
    """
    manifests: list[Manifest] = []
    errors: list[ManifestError] = []
    for path in dict.fromkeys(paths):
        try:
            manifests.append(load_manifest(path))
        except ManifestError as error:
            errors.append(error)
    if errors:
        raise joined_errors(errors)
    return [_measure_manifest(manifest, max_seconds, validation) for manifest in manifests]


def _measure_manifest(
    manifest: Manifest, max_seconds: float, validation: float
) -> ManifestDiagnosis:
    kept = tuple(utterance for utterance in manifest.utterances if utterance.seconds <= max_seconds)
    speakers = [utterance.speaker for utterance in kept]
    nameless = speakers.count("")
    by: Literal["speaker", "random"] = (
        "speaker" if len(set(speakers)) > 1 and not nameless else "random"
    )
    sizes = (0, len(kept))
    if len(kept) > 1:
        unit: Literal["speaker", "utterance"] = "speaker" if by == "speaker" else "utterance"
        apart, rest = divide(replace(manifest, utterances=kept), unit, (validation,), seed=0)
        sizes = (len(apart), len(rest))
    return ManifestDiagnosis(
        manifest, duration_profile(manifest), len(kept), sizes[1], sizes[0], by, nameless
    )
