"""The files of a model on this machine, in its folder or in the hub's cache, and checks of a model
with a hub id against that cache before anything is downloaded. Makes no request.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from orchestrator.sweepfile.model_folder import fault_of, lasting_fault_of
from orchestrator.sweepfile.sweep import ModelSpec


def cached_problems(model: ModelSpec) -> list[str]:
    """Return the problems, one line each, that keep a run from using a model of the hub, as far as
    the cache shows. Missing files are a problem only where nothing may be downloaded.
    """
    from huggingface_hub import constants

    folder = _cached_folder(model)
    if not constants.HF_HUB_OFFLINE:
        fault = lasting_fault_of(folder) if folder else ""
        return [f"model.id: `{model.id}`, in the cache at {folder}, {fault}"] if fault else []
    if folder is None:
        fault, place = "is not there, and HF_HUB_OFFLINE is set", Path(constants.HF_HUB_CACHE)
    else:
        fault, place = fault_of(str(folder)), folder
    if not fault:
        return []
    return [
        f"model.id: `{model.id}`, in the cache at {place}, {fault}; where there is a network: "
        f"HF_HUB_OFFLINE=0 {download_command(model)}"
    ]


def unchecked_text(model: ModelSpec) -> str:
    """Say that the files of a hub id could not be checked, and how they can be; empty where they
    could, and for a local folder.
    """
    if os.path.isdir(model.id) or ((folder := _cached_folder(model)) and not fault_of(str(folder))):
        return ""
    return (
        f"model.id: `{model.id}` is not in the cache, so neither its files nor what fits the model "
        f"could be checked; a run downloads it. To check before: {download_command(model)}"
    )


def download_command(model: ModelSpec) -> str:
    """Return the command that puts a model of the hub into the cache."""
    revision = f" --revision {shlex.quote(model.revision)}" if model.revision != "main" else ""
    return f"hf download {model.id}{revision}"


def model_file(model: ModelSpec, name: str) -> Path | None:
    """Return where a file of a model is, in its folder or in the hub's cache on this machine; None
    where it is in neither.
    """
    if os.path.isdir(model.id):
        place = Path(model.id) / name
        return place if place.is_file() else None
    return _cached_file(model, name)


def _cached_file(model: ModelSpec, name: str) -> Path | None:
    from huggingface_hub import constants, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(
            model.id, name, cache_dir=constants.HF_HUB_CACHE, revision=model.revision
        )
    except HFValidationError:  # no name that a hub could know
        return None
    return Path(found) if isinstance(found, str) else None


def _cached_folder(model: ModelSpec) -> Path | None:
    config = _cached_file(model, "config.json")
    return None if config is None else config.parent
