"""The files of a base model that an adapter needs beside it: those of the feature extractor, which
turns sound into numbers, and of the tokenizer, which turns tokens into words.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from orchestrator.errors import ModelError
from orchestrator.sweepfile.cached_model import download_command, model_file
from orchestrator.sweepfile.model_folder import TOKENIZERS
from orchestrator.sweepfile.sweep import ModelSpec

FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "spiece.model",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "preprocessor_config.json",
    "processor_config.json",
)


def copy_processor_files(model: ModelSpec, folder: Path) -> None:
    """Copy those of `FILES` that the base model has, from its folder or from the hub's cache on
    this machine. Raises ModelError for a folder that is not there.
    """
    if model.is_folder and not os.path.isdir(model.id):
        raise ModelError(
            f"the base model {model.id} is not there, and an adapter needs its tokenizer and feature extractor beside "
            "it\n  Put the folder back, then export again."
        )
    for name in FILES:
        place = model_file(model, name)
        if place is not None:
            shutil.copyfile(place, folder / name)


def missing_tokenizer(model: ModelSpec) -> str:
    """Say what an adapter lacks that was exported where the hub's cache does not hold the tokenizer
    of its base model, with the next step; empty where it lacks nothing.
    """
    if any(model_file(model, name) for name in TOKENIZERS):
        return ""
    return (
        f"no tokenizer lies beside the adapter, which load.py reads: this machine's cache has none of {model.id}. "
        f"Download it, then export again: {download_command(model)}"
    )
