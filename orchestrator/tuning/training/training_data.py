"""Loading the training set of a sweep: the clips and labels of its domain utterances first, then of
its replay utterances.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

from orchestrator.corpus.cache.clips import Sounds
from orchestrator.corpus.manifest_errors import bad_records, place_text
from orchestrator.corpus.manifests.manifest import Manifest
from orchestrator.corpus.sets.diagnosis import (
    TRAINING_SETS,
    is_upper_case,
    kept_for_training,
    skipped_lines,
)
from orchestrator.errors import DataError
from orchestrator.records.readiness.reading_sets import decode_set
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.tuning.decoding.evaluation_fingerprint import precision_text
from orchestrator.tuning.decoding.pseudo_labels import pseudo_labels
from orchestrator.tuning.model.base_model import BaseModel
from orchestrator.tuning.model.encoder_cache import Frames
from orchestrator.tuning.training.training_set import TrainingSet


@dataclass(frozen=True)
class TrainingData:
    """The labels and clips that trials are trained on."""

    labels: TrainingSet
    clips: Sounds
    """The clips of set "train", float32 at 16 kHz: domain, then replay."""
    notes: tuple[str, ...]
    """Sentences about what was left out or labelled here."""
    frames: dict[int, Frames | None] = field(default_factory=dict, repr=False)
    """Entry depth -> the frames of the clips there, as far as they were computed; None where they
    take too much memory. An `EncoderCache` fills it.
    """


def load_training_data(
    spec: SweepSpec,
    base: BaseModel,
    sets: Mapping[str, Manifest],
    cache: Path,
    autocast: AbstractContextManager[object],
) -> TrainingData:
    """Decode the audio of the training sets among `sets` and make their labels.

    `autocast` is the context in which the untuned model labels the replay utterances, where a trial
    may want such labels. Raises ManifestError, or DataError where nothing is left of a set.
    """
    texts: list[str] = []
    clips = Sounds((), spec.evaluation.rms)
    notes: list[str] = []
    domain = 0
    speakers: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    training = {name: sets[name] for name in TRAINING_SETS if name in sets}
    for name, read in training.items():
        manifest, ready = decode_set(spec, name, read, cache, base.family.shortest)
        # the user was told of what decoding found before the model was loaded: here only of more
        if bad_records(manifest.bad) > bad_records((*read.bad, *ready.faults)):
            notes.append(f"data: {skipped_lines(read.path.name, manifest)}")
        limit = min(spec.data.max_seconds, base.family.longest_seconds)
        silent = ready.silent_rows
        kept = tuple(row for row in kept_for_training(manifest, limit) if row not in silent)
        if not kept:
            raise DataError(
                f"{read.path}: no utterance of at most {limit:g} s is more than silence; take other sound"
            )
        own = [ready.texts[row] for row in kept]
        # an adapter must not spend its training on upper case, which the scorer would remove again
        texts += [text.lower() for text in own] if is_upper_case(own) else own
        clips += ready.sounds.take(kept)
        if name == "train":
            domain, speakers = len(kept), tuple(ready.speakers[row] for row in kept)
            places = tuple(place_text(read.path, ready.places[row]) for row in kept)
    labels = TrainingSet(
        base.labels(texts), domain, speakers=speakers, places=places, rms=spec.evaluation.rms
    )
    if "model" in spec.parameters.possible("replay_labels"):
        with autocast:
            labels, note = _labelled_by_the_model(spec, base, labels, clips, cache)
        notes.append(note)
    return TrainingData(labels, clips, tuple(notes))


def _labelled_by_the_model(
    spec: SweepSpec, base: BaseModel, data: TrainingSet, clips: Sounds, cache: Path
) -> tuple[TrainingSet, str]:
    """Return the training set with rows added for the replay clips as the untuned model hears them,
    and a sentence that counts them. Raises DataError where it gives none of them a label.
    """
    evaluation = spec.evaluation
    precision = precision_text(evaluation.precision.search, base.device.type)
    rows = pseudo_labels(
        base, clips[data.domain :], evaluation.max_tokens_per_second, precision, cache
    )
    labelled = {data.domain + row: label for row, label in enumerate(rows) if label is not None}
    if not labelled:
        raise DataError(
            f"{spec.data.replay}: the model hears nothing there, or evaluation.max_tokens_per_second = "
            f"{evaluation.max_tokens_per_second:g} cuts off all that it hears; raise it, or use replay_labels: manifest"
        )
    note = f"data: {len(labelled)} of {len(rows)} replay utterances labelled by the model itself"
    return replace(
        data, labels=[*data.labels, *labelled.values()], pseudo_labelled=tuple(labelled)
    ), note
