"""The sets of a sweep as they are read and decoded: the one way from a sweep file to sound and text.

Preflight, diagnosis and the worker come through here, so what one of them saw is what the others use.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from orchestrator.corpus.audio import prepare, prepare_training
from orchestrator.corpus.clips import Clips
from orchestrator.corpus.diagnosis import CONFIRM, TRAINING_SETS
from orchestrator.corpus.manifest import Manifest, load_manifest
from orchestrator.corpus.splitting import load_evaluation_manifest
from orchestrator.sweepfile.data import SetSource
from orchestrator.sweepfile.sweep import SweepSpec


def read_training_sets(spec: SweepSpec) -> dict[str, Manifest]:
    """The manifests of train and, where there is one, replay. Raises ManifestError."""
    data = spec.data
    return {
        name: load_manifest(
            path,
            for_training=True,
            max_bad_fraction=data.max_bad_fraction,
            needs_text=name != "replay" or spec.replay_needs_text,
        )
        for name, path in (("train", data.train), ("replay", data.replay))
        if path is not None
    }


def read_sets(spec: SweepSpec) -> dict[str, Manifest]:
    """All manifests of a sweep by the names of the report.

    Raises ManifestError with all faults of the first damaged manifest.
    """
    sources = dict(spec.data.evaluated)
    if spec.data.confirming is not None:
        sources |= {f"{CONFIRM}{name}": source for name, source in spec.data.confirming.evaluated.items()}
    return read_training_sets(spec) | {name: read_evaluation_set(spec, source) for name, source in sources.items()}


def read_evaluation_set(spec: SweepSpec, source: SetSource) -> Manifest:
    """The utterances of an evaluation set, less those longer than `evaluation.max_seconds`. Raises ManifestError."""
    manifest, longest = load_evaluation_manifest(*source), spec.evaluation.max_seconds
    if longest is None:
        return manifest
    kept = tuple(each for each in manifest.utterances if (each.duration or 0.0) <= longest)
    return replace(manifest, utterances=kept, left_out=len(manifest.utterances) - len(kept))


def decode_set(
    spec: SweepSpec, name: str, manifest: Manifest, cache: Path, shortest: int = 1
) -> tuple[Manifest, Clips]:
    """The decoded clips of a set, kept in `cache`, and what is left of its manifest.

    A clip of fewer than `shortest` samples is bad. Bad lines of training sets are dropped as `read_sets` drops them; in
    an evaluation set each is an error. Raises
    ManifestError with all faults of the set.
    """
    rms = spec.evaluation.rms
    if name in TRAINING_SETS:
        bad = spec.data.max_bad_fraction
        return prepare_training(manifest, rms=rms, cache=cache, multiple=shortest, max_bad_fraction=bad)
    return manifest, prepare(manifest, rms=rms, cache=cache, multiple=shortest)


def decode_sets(spec: SweepSpec, cache: Path) -> dict[str, tuple[Manifest, Clips]]:
    """All sets of a sweep, read and decoded. A clip too short for the model is found once the model is loaded.

    Raises ManifestError with all faults of the first set that cannot be read or decoded.
    """
    return {name: decode_set(spec, name, manifest, cache) for name, manifest in read_sets(spec).items()}
