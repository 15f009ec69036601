"""Pseudo labels: the untuned base model's own transcripts as labels of replay speech, which nobody
needs to transcribe then.

An adapter that is trained on them beside the domain is asked to go on transcribing general speech
as the base model does (sequence-level distillation, Kim & Rush 2016).
"""

from __future__ import annotations

from pathlib import Path

import torch
from pydantic import BaseModel as Model
from pydantic import ValidationError

from orchestrator.corpus.cache.clips import Sounds
from orchestrator.corpus.cache.project_cache import ProjectCache
from orchestrator.errors import StudyError
from orchestrator.progress import Counter
from orchestrator.records.json_files import model_line, read_file
from orchestrator.records.writing import write_aside
from orchestrator.sweepfile.digest import digest
from orchestrator.tuning.decoding.audio_files import TOGETHER, decode_clips
from orchestrator.tuning.model.base_model import BaseModel
from orchestrator.tuning.model.windows import windows_text


def pseudo_labels(
    base: BaseModel,
    clips: Sounds,
    max_tokens_per_second: float,
    precision: str,
    cache: Path,
) -> list[list[int] | None]:
    """Return the labels [tokens, EOS] of the untuned model's greedy transcript of every clip; None
    where it hears nothing, or where the token cap cut its transcript off, so that the model itself
    has not ended it.

    They are kept in the project's `cache` for all its studies, under a digest of the model's
    weights and configuration, the sound of the clips and everything that decides how they are decoded.
    """
    how = [
        *(str(base.model.dtype), base.device.type, precision, max_tokens_per_second, clips.rms),
        *(windows_text(base.family.windows), base.products.name, torch.__version__),
    ]
    key = digest([base.weights_sha256, base.config_sha256, clips.content_sha256, *how])[:32]
    path = ProjectCache(cache).labels / f"{key}.json"
    kept = _cached_labels(path)
    if kept is not None and len(kept) == len(clips):
        return kept
    labels: list[list[int] | None] = []
    counter = Counter("labelling the replay speech", len(clips))
    for start in range(0, len(clips), TOGETHER):
        some = clips[start : start + TOGETHER]
        decoded = decode_clips(base, some, max_tokens_per_second)
        for tokens, truncated in zip(decoded.tokens, decoded.truncated, strict=True):
            labels.append([*tokens, base.decoder.eos] if tokens and not truncated else None)
        counter.add(len(some))
    write_aside(path, model_line(_Kept(labels=labels, sha256=digest(labels))))
    return labels


class _Kept(Model):
    """The cache file of labels, with a digest of them: a label that was damaged on disk would be
    trained on unnoticed.
    """

    labels: list[list[int] | None]
    sha256: str


def _cached_labels(path: Path) -> list[list[int] | None] | None:
    """Return the labels in the cache; None where there are none, or they are damaged."""
    try:
        data = read_file(path)
        kept = None if data is None else _Kept.model_validate_json(data)
    except (OSError, StudyError, ValidationError):
        return None
    return kept.labels if kept and kept.sha256 == digest(kept.labels) else None
