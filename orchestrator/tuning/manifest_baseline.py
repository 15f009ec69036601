"""The WER of a model on a single manifest, decoded as an evaluation decodes it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from orchestrator.corpus.cache.preparing import prepare
from orchestrator.corpus.manifests.manifest import Manifest
from orchestrator.corpus.sets.manifest_diagnosis import ManifestBaseline
from orchestrator.errors import DataError
from orchestrator.records.short_run import spread_rows
from orchestrator.records.transcription_settings import Transcription
from orchestrator.scoring.edit_counts import edit_counts
from orchestrator.scoring.normalizers import normalizer
from orchestrator.tuning.decoding.audio_files import TOGETHER, decode_clips
from orchestrator.tuning.model.base_model import BaseModel


def measure_manifest_baseline(
    base: BaseModel,
    manifest: Manifest,
    measured: Transcription,
    normalizer_name: str,
    sample: int | None,
) -> ManifestBaseline:
    """Measure the WER on all utterances that the model can take, or on `sample` of them, spread
    over the manifest.

    Raises ManifestError where audio cannot be decoded, DataError where no utterance is left.
    """
    fits = [
        utterance
        for utterance in manifest.utterances
        if utterance.seconds <= base.family.longest_seconds
    ]
    count = len(fits) if sample is None else sample
    heard = [fits[row] for row in spread_rows(len(fits), count)]
    if not heard:
        raise DataError(
            f"{manifest.path}: every utterance is longer than the {base.family.longest_seconds:g} s the model can take"
            "\n  Cut them into shorter ones, or diagnose it without --model."
        )
    with TemporaryDirectory() as cache:
        part = replace(manifest, utterances=tuple(heard))
        clips = prepare(part, rms=measured.rms, cache=Path(cache), shortest=base.family.shortest)
        said: list[str] = []
        cut_off = 0
        for start in range(0, len(clips), TOGETHER):
            here = [clips[row] for row in range(start, min(start + TOGETHER, len(clips)))]
            decoded = decode_clips(base, here, measured.max_tokens_per_second)
            said += map(base.text, decoded.tokens)
            cut_off += sum(decoded.truncated)
    normalize = normalizer(normalizer_name)
    counts = edit_counts(
        [normalize(utterance.text) for utterance in heard], [normalize(text) for text in said]
    )
    too_long = len(manifest.utterances) - len(fits)
    return ManifestBaseline(
        counts.wer, len(heard), too_long, cut_off, measured.max_tokens_per_second
    )
