"""`transcription.json` beside an exported model: the level, token cap and encoder windows with
which its numbers were measured.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator.errors import ModelError
from orchestrator.records.adapter_owner import study_of_adapter
from orchestrator.records.content_digests import stored_spec
from orchestrator.sweepfile.evaluation import EncoderWindows, EvaluationSpec

NAME = "transcription.json"
_DEFAULT = EvaluationSpec()


class Transcription(BaseModel):
    """The settings of an evaluation that change which words are heard."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    rms: float | None = Field(default=_DEFAULT.rms, gt=0, lt=1)
    """Level to which each clip is scaled; null leaves it as it is."""
    max_tokens_per_second: float = Field(default=_DEFAULT.max_tokens_per_second, gt=0)
    encoder_windows: EncoderWindows = "stock"
    """The windows that the model in this folder, or the one it names, needs set when it is
    loaded.
    """


def write_transcription(evaluation: EvaluationSpec, folder: Path, *, merged: bool = False) -> None:
    """Write a sweep's level, token cap and encoder windows beside its model. A `merged` model has
    the windows in its config.json, so they are written as stock.
    """
    kept = Transcription(
        rms=evaluation.rms,
        max_tokens_per_second=evaluation.max_tokens_per_second,
        encoder_windows="stock" if merged else evaluation.encoder_windows,
    )
    (folder / NAME).write_text(json.dumps(kept.model_dump(), indent=2) + "\n", encoding="utf-8")


def read_transcription(folder: Path) -> Transcription:
    """Return what a model was measured with: for the adapter folder of a study, what its sweep
    says; a sweep's defaults where nothing tells. Raises ModelError for a damaged file, StudyError
    and SpecError for a damaged study.
    """
    place = folder / NAME
    if not place.is_file():
        study = study_of_adapter(folder)
        if study is None:
            return Transcription()
        evaluation = stored_spec(study, study.path.parent.parent).evaluation
        return Transcription.model_validate(evaluation, from_attributes=True)
    try:
        return Transcription.model_validate_json(place.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ModelError(
            f"{place} is damaged: {where}: {first['msg']}\n  Export the model again, or delete the file."
        ) from error
