"""On which base model an adapter was measured: what a study's evaluations say of it, and
`base_weights.json` beside an exported adapter, with the digests of its weights, its configuration
and its tokenizer. The base model's folder name alone would not tell, as its content may have changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
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


class BaseModelParts(BaseModel):
    """Parts of an evaluation's fingerprint that tell a base model, as `measured_model` returns them."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    sha256: str
    """Of the weights."""
    config: str | None = None
    tokenizer: str | None = None
    transformers: str | None = None


def measured_model(study: StudyFolder) -> dict[str, str]:
    """Return the parts of an evaluation's fingerprint that tell the base model of a study: its
    weights, and the others where all evaluations agree.
    """
    evaluations = study.evaluations().values()
    found = {name: {parts.get(name) for parts in evaluations} for name in _OF_MODEL}
    said = {name: values.pop() for name, values in found.items() if len(values) == 1}
    said["weights"] = study.measured_weights()
    return {name: value for name, value in said.items() if value is not None}


def write_base_model(measured: Mapping[str, str], folder: Path) -> None:
    """Write these parts beside an adapter; the weights must be among them."""
    parts = {name: measured[name] for name in _OF_MODEL if name in measured}
    said = {"sha256": measured["weights"]} | parts
    (folder / NAME).write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")


def read_base_model(folder: Path) -> dict[str, str]:
    """Return the parts that are written beside an adapter: for the adapter folder of a study, those
    with which it was measured; none where nothing tells. Raises ModelError for a damaged file,
    StudyError for a damaged study.
    """
    place = folder / NAME
    if not place.is_file():
        study = study_of_adapter(folder)
        return {} if study is None else measured_model(study)
    try:
        found = BaseModelParts.model_validate_json(place.read_bytes())
    except ValidationError as error:
        raise ModelError(
            f"{place} is damaged: it must hold the sha256 of the base model's weights\n"
            "  Export the adapter again, or delete the file."
        ) from error
    return {"weights": found.sha256} | found.model_dump(exclude={"sha256"}, exclude_none=True)
