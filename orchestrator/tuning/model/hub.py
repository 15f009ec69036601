"""Where a model is loaded from: its folder, the hub, or the cache alone where the hub does not answer.

That is asked once. The hub's own client tries each file six times, half a minute, and a model has
many; without a network that would be minutes of its messages, also where the model lies in the
cache.
"""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import constants, get_session, snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

from orchestrator.errors import ModelError
from orchestrator.sweepfile.model_folder import fault_of
from orchestrator.sweepfile.sweep import ModelSpec

_SECONDS = 10.0
"""For the one answer; a proxy may be slow."""


def place_of(model: ModelSpec) -> tuple[str, dict[str, str]]:
    """The name and further keywords for `from_pretrained`. Raises ModelError for what is neither a
    whole folder nor a hub id, and where the hub does not answer and the cache has no such model.
    """
    if fault := fault_of(model.id):
        raise ModelError(f"model {model.id!r} cannot be loaded: it {fault}.")
    if Path(model.id).is_dir():
        return model.id, {}
    if problem := _hub_problem():
        return _cached_folder(model, problem), {}
    return model.id, {"revision": model.revision}


def _hub_problem() -> str:
    """Why the hub cannot be asked; empty where it answers, whatever it says."""
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        get_session().head(constants.ENDPOINT, timeout=_SECONDS)
    except Exception as error:  # of whichever HTTP library the client was given
        said = " ".join(str(error).split()) or type(error).__name__
        return f"{constants.ENDPOINT} does not answer ({said[:120]})"
    return ""


def _cached_folder(model: ModelSpec, problem: str) -> str:
    cache = Path(constants.HF_HUB_CACHE)
    try:
        folder = snapshot_download(
            model.id, revision=model.revision, cache_dir=cache, local_files_only=True
        )
        missing = fault_of(folder)
    except (LocalEntryNotFoundError, HFValidationError, OSError):
        missing = "does not hold it"
    if missing:
        raise ModelError(
            f"model {model.id!r} cannot be loaded: {problem}, and the cache, {cache}, {missing}. Next: check the "
            "network, or download the model where there is one and give `model.id` the folder."
        )
    return folder
