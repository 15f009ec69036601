"""Reads and decodes the sets of a sweep: the one way from a sweep file to sound and text.

Preflight, diagnosis and the worker all come through here, so what one of them saw is what the
others use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from orchestrator.corpus.cache.project_cache import ProjectCache
from orchestrator.corpus.cache.reading_once import once
from orchestrator.corpus.manifest_errors import joined_errors
from orchestrator.corpus.manifests.manifest import Manifest, load_manifest
from orchestrator.corpus.recordings.known_files import KnownFiles
from orchestrator.corpus.sets.confirm_split import load_evaluation_manifest
from orchestrator.corpus.sets.diagnosis import TRAINING_SETS
from orchestrator.errors import ManifestError
from orchestrator.host.garbage_collection import no_garbage_collection
from orchestrator.records.results import SetRecord
from orchestrator.sweepfile.data import SetSource, relative_to
from orchestrator.sweepfile.sweep import SweepSpec

if TYPE_CHECKING:
    from orchestrator.corpus.cache.clips import Clips

Made = TypeVar("Made")


@contextmanager
def known_files(cache: Path | None) -> Iterator[KnownFiles]:
    """Yield the project cache's record of files whose headers are known, and close it at the end;
    without a cache, a record in memory only.
    """
    known = KnownFiles(None if cache is None else ProjectCache(cache).files)
    try:
        yield known
    finally:
        known.close()


def read_sets(spec: SweepSpec, cache: Path | None = None) -> dict[str, Manifest]:
    """Return all manifests of a sweep, by the names of the report. Raises ManifestError with all
    faults of all of them.

    `cache` is the project's: headers that are known there are not read again.
    """
    with known_files(cache) as known, no_garbage_collection():
        return _make_all(_set_readers(spec, known))


def _set_readers(spec: SweepSpec, known: KnownFiles) -> dict[str, Callable[[], Manifest]]:
    """Return name -> function that reads the set's manifest."""
    data = spec.data
    training: dict[str, Callable[[], Manifest]] = {
        name: partial(_read_training_set, spec, name, path, known)
        for name, path in (("train", data.train), ("replay", data.replay))
        if path is not None
    }
    return training | {
        name: partial(_read_evaluation_set, spec, source, known)
        for name, source in data.all_evaluated.items()
    }


def _read_training_set(spec: SweepSpec, name: str, path: Path, known: KnownFiles) -> Manifest:
    options: dict[str, Any] = {
        "max_bad_fraction": spec.data.max_bad_fraction,
        "needs_text": name != "replay" or spec.replay_needs_text,
    }
    return once(
        ("training set", path, *options.values()),
        lambda: load_manifest(path, for_training=True, known=known, **options),
    )


def _make_all(makers: Mapping[str, Callable[[], Made]]) -> dict[str, Made]:
    """Return what each maker makes. Raises ManifestError with everything that is wrong with any of
    them, not only with the first.
    """
    made: dict[str, Made] = {}
    errors: list[ManifestError] = []
    for name, make in makers.items():
        try:
            made[name] = make()
        except ManifestError as error:
            errors.append(error)
    if errors:
        raise joined_errors(errors)
    return made


def read_evaluation_set(spec: SweepSpec, source: SetSource, cache: Path | None = None) -> Manifest:
    """Return the utterances of an evaluation set, less those longer than `evaluation.max_seconds`.
    Raises ManifestError. `cache` as in `read_sets`.
    """
    with known_files(cache) as known:
        return _read_evaluation_set(spec, source, known)


def _read_evaluation_set(spec: SweepSpec, source: SetSource, known: KnownFiles) -> Manifest:
    manifest = once(
        ("evaluation set", source), lambda: load_evaluation_manifest(*source, known=known)
    )
    longest = spec.evaluation.max_seconds
    if longest is None:
        return manifest
    kept = tuple(utterance for utterance in manifest.utterances if utterance.seconds <= longest)
    return replace(manifest, utterances=kept, left_out=len(manifest.utterances) - len(kept))


def decode_set(
    spec: SweepSpec,
    name: str,
    manifest: Manifest,
    cache: Path,
    shortest: int = 1,
) -> tuple[Manifest, Clips]:
    """Return what is left of a set's manifest, and its decoded clips, which are kept in the
    project's `cache`.

    A clip of fewer than `shortest` samples is bad. Bad lines of training sets are dropped as
    `read_sets` drops them; in an evaluation set each is an error. Raises ManifestError with all
    faults of the set.
    """
    from orchestrator.corpus.cache.preparing import prepare, prepare_training

    rms = spec.evaluation.rms
    if name in TRAINING_SETS:
        bad = spec.data.max_bad_fraction
        return prepare_training(
            manifest,
            rms=rms,
            cache=cache,
            shortest=shortest,
            max_bad_fraction=bad,
        )
    return manifest, prepare(manifest, rms=rms, cache=cache, shortest=shortest)


def decode_sets(spec: SweepSpec, cache: Path) -> dict[str, tuple[Manifest, Clips]]:
    """Return all sets of a sweep, read and decoded. A clip that is too short for the model is found
    only once the model is loaded.

    Raises ManifestError with all faults of all sets that cannot be read or decoded.
    """

    def decode_named(name: str, read: Callable[[], Manifest]) -> tuple[Manifest, Clips]:
        return decode_set(spec, name, read(), cache)

    with known_files(cache) as known:
        readers = _set_readers(spec, known)
        return _make_all(
            {name: partial(decode_named, name, read) for name, read in readers.items()}
        )


def set_records(
    spec: SweepSpec, ready: Mapping[str, tuple[Manifest, Clips]]
) -> dict[str, SetRecord]:
    """Return what a study keeps of its decoded sets."""
    return {
        name: _set_record(name, manifest, clips, spec.project)
        for name, (manifest, clips) in ready.items()
    }


def _set_record(name: str, manifest: Manifest, clips: Clips, root: Path) -> SetRecord:
    return SetRecord(
        manifest=str(relative_to(manifest.path, root)),
        sha256=manifest.sha256,
        part=manifest.part,
        lines=clips.lines,
        audio_sha256=clips.pcm_sha256,
        text_sha256=clips.text_sha256,
        texts=() if name in TRAINING_SETS else clips.texts,
    )
