"""Before the base model is loaded: the sets are read, decoded and compared, and what is wrong stops the sweep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from orchestrator.checks import Finding, finding, stop
from orchestrator.corpus.audio import prepare, prepare_training
from orchestrator.corpus.clips import Clips
from orchestrator.corpus.diagnosis import CONFIRM, TRAINING_SETS, check_sets
from orchestrator.corpus.manifest import Manifest, load_manifest
from orchestrator.corpus.splitting import load_evaluation_manifest
from orchestrator.errors import DataError, StudyError
from orchestrator.records.results import SetRecord
from orchestrator.records.store import StudyFolder
from orchestrator.running.observer import Observer
from orchestrator.running.settling import settle
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


def find_all(spec: SweepSpec, ready: Mapping[str, tuple[Manifest, Clips]], folder: StudyFolder) -> list[Finding]:
    """What is doubtful or wrong about decoded sets, what stops a sweep first."""
    findings = check_sets(
        {name: manifest for name, (manifest, _) in ready.items()},
        max_seconds=spec.data.max_seconds,
        longest_seconds=None,
        pcm={name: clips.pcm_sha256 for name, (_, clips) in ready.items()},
    )
    return [*findings, *_used_before(ready, folder)]


def _used_before(ready: Mapping[str, tuple[Manifest, Clips]], folder: StudyFolder) -> Iterator[Finding]:
    """Confirm utterances on which the search of another study of the same root was measured."""
    confirming = {name: each for name, each in ready.items() if name.startswith(CONFIRM)}
    if not confirming:
        return
    for study in folder.neighbours():
        sets = study.sets() if study.measured else {}
        heard = {sound for name, each in sets.items() if not name.startswith(CONFIRM) for sound in each.audio_sha256}
        for name, (manifest, clips) in confirming.items():
            if count := sum(sound in heard for sound in clips.pcm_sha256):
                yield finding(
                    "confirm-used",
                    f"{count} of {len(clips)} utterances of {name} ({manifest.path}) were measured by the search of "
                    f"study {study.name}: what was chosen by it knows them, and a confirmation on them is optimistic. "
                    "Confirm on speech that no search has measured.",
                )


def check_data(spec: SweepSpec, folder: StudyFolder, observer: Observer) -> None:
    """Say and note what is doubtful about the sets, and keep which utterances the evaluation sets are.

    Raises DataError, all reasons at once, when they would make every number worthless; ManifestError, and StudyError
    where the split of a study would become another.
    """
    ready = decode_sets(spec, load_sets(spec), folder.audio)
    findings = find_all(spec, ready, folder)
    settle("data", findings, spec, folder, observer)
    stop(findings, spec.checks.ignore, "The data cannot answer the sweep's question", DataError)
    _keep_sets(ready, folder)


def _keep_sets(ready: Mapping[str, tuple[Manifest, Clips]], folder: StudyFolder) -> None:
    """Write sets.json; once trials are measured, what the search reads stays as it was.

    Raises StudyError where a manifest has changed so that its split would be another: speakers whom the search has
    measured might then confirm it. Other changes are refused by the evaluation's fingerprint.
    """
    now = {
        name: SetRecord(
            manifest=str(manifest.path),
            sha256=manifest.sha256,
            part=manifest.part,
            lines=clips.lines,
            audio_sha256=clips.pcm_sha256,
        )
        for name, (manifest, clips) in ready.items()
        if name not in TRAINING_SETS
    }
    kept = folder.sets() if folder.results() else {}
    searched = {name: each for name, each in kept.items() if not name.startswith(CONFIRM)}
    for name, before in searched.items():
        if before.part and name in now and set(before.audio_sha256) != set(now[name].audio_sha256):
            raise StudyError(
                f"{before.manifest} has changed since the trials of study {folder.name} were measured on its search "
                f"part (SHA-256 was {before.sha256}, is {now[name].sha256}), and its split by speaker with it\n"
                "  Put the file back, or begin a new study with --fork NAME."
            )
    folder.write_sets(now | searched)
