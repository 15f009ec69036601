"""Measures of a set: how long its utterances are, and how much of it each speaker said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.corpus.manifests.manifest import Manifest

SURVIVAL_LIMITS = (5.0, 8.0, 10.0, 15.0, 20.0)
"""Seconds. The usual choices for max_seconds."""


@dataclass(frozen=True)
class Size:
    """A number of utterances, and their length together."""

    utterances: int
    seconds: float


@dataclass(frozen=True)
class DurationProfile:
    """The distribution of the lengths of a set's utterances, in seconds."""

    total: Size
    shortest: float
    median: float
    percentile_95: float
    longest: float
    survivors: Mapping[float, Size]
    """What is left of the set at each limit of 5, 8, 10, 15 and 20 s."""


def duration_profile(manifest: Manifest) -> DurationProfile:
    """Measure how long the utterances of a set are, and how many each limit would keep."""
    import numpy as np

    seconds = np.array([utterance.seconds for utterance in manifest.utterances])
    kept = {limit: seconds[seconds <= limit] for limit in SURVIVAL_LIMITS}
    return DurationProfile(
        total=Size(len(seconds), float(seconds.sum())),
        shortest=float(seconds.min(initial=np.inf)) if len(seconds) else 0.0,
        median=float(np.median(seconds)) if len(seconds) else 0.0,
        percentile_95=float(np.percentile(seconds, 95)) if len(seconds) else 0.0,
        longest=float(seconds.max(initial=0.0)),
        survivors={
            limit: Size(len(durations), float(durations.sum())) for limit, durations in kept.items()
        },
    )


def speaker_sizes(manifest: Manifest) -> dict[str, Size]:
    """Return the utterances and seconds of each speaker, the one with the most utterances first;
    the empty name holds those without a speaker.
    """
    seconds: dict[str, list[float]] = {}
    for utterance in manifest.utterances:
        seconds.setdefault(utterance.speaker, []).append(utterance.seconds)
    sizes = {
        speaker: Size(len(durations), float(sum(durations)))
        for speaker, durations in seconds.items()
    }
    return dict(sorted(sizes.items(), key=lambda item: (-item[1].utterances, item[0])))
