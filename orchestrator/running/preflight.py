"""Before the base model is loaded: the sets are read and compared, and what is wrong stops the sweep."""

from __future__ import annotations

from orchestrator.checks import stop
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


def check_data(spec: SweepSpec, folder: StudyFolder, observer: Observer) -> None:
    """Say and note what is doubtful about the sets.

    Raises DataError, all reasons at once, when they would make every number worthless, and ManifestError.
    """
    findings = check_sets(load_sets(spec), max_seconds=spec.data.max_seconds, longest_seconds=None)
    settle("data", findings, spec, folder, observer)
    stop(findings, spec.checks.ignore, "The data cannot answer the sweep's question", DataError)
