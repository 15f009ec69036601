"""`base_weights.json` beside an exported adapter: the digest of the base model's weights on which
the adapter was measured. The base model's folder name alone would not tell, as its content may have
changed.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from orchestrator.errors import ModelError
from orchestrator.records.adapter_owner import study_of_adapter

NAME = "base_weights.json"


class BaseWeights(BaseModel):
    """The digest of a base model's weights, as in the evaluation's fingerprint."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    sha256: str


def write_base_weights(sha256: str, folder: Path) -> None:
    """Write the digest beside an adapter."""
    said = BaseWeights(sha256=sha256).model_dump()
    (folder / NAME).write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")


def read_base_weights(folder: Path) -> str | None:
    """Return the digest: for the adapter folder of a study, that with which it was measured; None
    where nothing tells. Raises ModelError for a damaged file, StudyError for a damaged study.
    """
    place = folder / NAME
    if not place.is_file():
        study = study_of_adapter(folder)
        return None if study is None else study.measured_weights()
    try:
        return BaseWeights.model_validate_json(place.read_bytes()).sha256
    except ValidationError as error:
        raise ModelError(
            f"{place} is damaged: it must hold the sha256 of the base model's weights\n"
            "  Export the adapter again, or delete the file."
        ) from error
