"""Where a model is loaded from: its folder, the hub, or the hub's local cache where the hub does
not answer.
"""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

from orchestrator.errors import ModelError
from orchestrator.host.hub_access import HubProblem, hub_problem
from orchestrator.sweepfile.model_folder import fault_of
from orchestrator.sweepfile.sweep import ModelSpec


def place_of(model: ModelSpec) -> tuple[str, dict[str, str]]:
    """Return the name and further keywords for `from_pretrained`. Raises ModelError for what is
    neither a whole folder nor a hub id, and where the hub does not answer and the cache has no such
    model.
    """
    if fault := fault_of(model.id):
        raise ModelError(f"model {model.id!r} cannot be loaded: it {fault}.")
    if Path(model.id).is_dir():
        return model.id, {}
    if problem := hub_problem(model.id, model.revision):
        return _cached_folder(model, problem), {}
    return model.id, {"revision": model.revision}


def _cached_folder(model: ModelSpec, problem: HubProblem) -> str:
    """Return the folder of a model in the hub's local cache. Raises ModelError, which names the
    problem with the hub, where it is not there as a whole.
    """
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
            f"model {model.id!r} cannot be loaded: no folder has this name, {problem.what}, and the cache, {cache}, "
            f"{missing}. "
            f"Next: {problem.cure}, or download the model where that works and give `model.id` the folder."
        )
    return folder
