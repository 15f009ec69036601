"""The files of a base model that an adapter needs beside it: those of the feature extractor, which
turns sound into numbers, and of the tokenizer, which turns tokens into words.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from orchestrator.sweepfile.sweep import ModelSpec

FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "preprocessor_config.json",
    "processor_config.json",
)


def copy_processor_files(model: ModelSpec, folder: Path) -> None:
    """Copy those of `FILES` that the base model has, from its folder or from the hub's cache on
    this machine.
    """
    for name in FILES:
        place = _file_of_model(model, name)
        if place is not None and place.is_file():
            shutil.copyfile(place, folder / name)


def _file_of_model(model: ModelSpec, name: str) -> Path | None:
    """Return where a file of the base model is; None where the hub's cache does not have it."""
    if model.is_folder:
        return Path(model.id) / name
    try:
        found = try_to_load_from_cache(model.id, name, revision=model.revision)
    except HFValidationError:  # no name that a hub could know
        return None
    return Path(found) if isinstance(found, str) else None
