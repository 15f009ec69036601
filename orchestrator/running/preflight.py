"""Before the base model is loaded: the sets are read, decoded and compared, and what is wrong stops the sweep."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from orchestrator.checks import Finding, stop
from orchestrator.corpus.audio import prepare, prepare_training
from orchestrator.corpus.clips import Clips
from orchestrator.corpus.diagnosis import TRAINING_SETS, check_sets
from orchestrator.corpus.manifest import Manifest, load_manifest
from orchestrator.errors import DataError
from orchestrator.records.store import StudyFolder
from orchestrator.running.observer import Observer
from orchestrator.running.settling import settle
from orchestrator.spec.sweep import SweepSpec


def load_sets(spec: SweepSpec) -> dict[str, Manifest]:
    """All manifests of a sweep by the names of the report.

    Raises ManifestError with all faults of the first damaged manifest.
    """
    data = spec.data
    paths = {"train": data.train, "replay": data.replay, "domain": data.domain, "heldout": data.heldout}
    if data.confirm is not None:
        paths |= {"confirm_domain": data.confirm.domain, "confirm_heldout": data.confirm.heldout}
    return {
        name: load_manifest(
            path,
            for_training=name in TRAINING_SETS,
            max_bad_fraction=data.max_bad_fraction,
            needs_text=name != "replay" or spec.replay_needs_text,
        )
        for name, path in paths.items()
        if path is not None
    }


def decode_sets(spec: SweepSpec, sets: Mapping[str, Manifest], cache: Path) -> dict[str, tuple[Manifest, Clips]]:
    """The sets decoded into `cache`, where training and evaluation find them again, and what is left of each.

    Decoding drops bad lines of training sets as `load_sets` does. A clip too short for the model is found once the
    model is loaded. Raises ManifestError with all faults of the first set whose audio cannot be decoded.
    """
    ready = {}
    for name, read in sets.items():
        if name in TRAINING_SETS:
            ready[name] = prepare_training(
                read, rms=spec.evaluation.rms, cache=cache, multiple=1, max_bad_fraction=spec.data.max_bad_fraction
            )
        else:
            ready[name] = read, prepare(read, rms=spec.evaluation.rms, cache=cache, multiple=1)
    return ready


def find_all(spec: SweepSpec, ready: Mapping[str, tuple[Manifest, Clips]]) -> list[Finding]:
    """What is doubtful or wrong about decoded sets, what stops a sweep first."""
    return check_sets(
        {name: manifest for name, (manifest, _) in ready.items()},
        max_seconds=spec.data.max_seconds,
        longest_seconds=None,
        pcm={name: clips.pcm_sha256 for name, (_, clips) in ready.items()},
    )


def check_data(spec: SweepSpec, folder: StudyFolder, observer: Observer) -> None:
    """Say and note what is doubtful about the sets.

    Raises DataError, all reasons at once, when they would make every number worthless, and ManifestError.
    """
    findings = find_all(spec, decode_sets(spec, load_sets(spec), folder.audio))
    settle("data", findings, spec, folder, observer)
    stop(findings, spec.checks.ignore, "The data cannot answer the sweep's question", DataError)
