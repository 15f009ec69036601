"""The manifests that a sweep reads, all of them, by the names of its report."""

from __future__ import annotations

from orchestrator.corpus.diagnosis import CONFIRM
from orchestrator.corpus.manifest import Manifest, load_manifest
from orchestrator.corpus.splitting import load_evaluation_manifest
from orchestrator.spec.sweep import SweepSpec


def load_sets(spec: SweepSpec) -> dict[str, Manifest]:
    """All manifests of a sweep by the names of the report.

    Raises ManifestError with all faults of the first damaged manifest.
    """
    data, confirming = spec.data, spec.data.confirming
    sets = {
        name: load_manifest(
            path,
            for_training=True,
            max_bad_fraction=data.max_bad_fraction,
            needs_text=name != "replay" or spec.replay_needs_text,
        )
        for name, path in (("train", data.train), ("replay", data.replay))
        if path is not None
    }
    sources = dict(data.evaluated)
    sources |= {f"{CONFIRM}{name}": each for name, each in confirming.evaluated.items()} if confirming else {}
    return sets | {name: load_evaluation_manifest(*source) for name, source in sources.items()}
