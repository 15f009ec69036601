"""On which base model an adapter was measured: what a study's evaluations say of it, and
`base_weights.json` beside an exported adapter, the digest of its weights. The base model's folder
name alone would not tell, as its content may have changed.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from orchestrator.errors import ModelError
from orchestrator.records.adapter_owner import study_of_adapter
from orchestrator.records.store import StudyFolder

NAME = "base_weights.json"
_OF_MODEL = ("config", "tokenizer", "transformers")
"""Parts of an evaluation's fingerprint that tell a base model beside its weights, and the version of
transformers, which fills in what its files leave out.
"""


class BaseWeights(BaseModel):
    """The digest of a base model's weights, as in the evaluation's fingerprint."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    sha256: str


def measured_model(study: StudyFolder) -> dict[str, str]:
    """Return the parts of an evaluation's fingerprint that tell the base model of a study: its
    weights, and the others where all evaluations agree.
    """
    evaluations = study.evaluations().values()
    found = {name: {parts.get(name) for parts in evaluations} for name in _OF_MODEL}
    said = {name: values.pop() for name, values in found.items() if len(values) == 1}
    said["weights"] = study.measured_weights()
    return {name: value for name, value in said.items() if value is not None}


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
