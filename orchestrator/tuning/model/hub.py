"""Where a model is loaded from: its folder, the hub, or the hub's local cache where the hub does
not answer.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from huggingface_hub import constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

from orchestrator.errors import ModelError
from orchestrator.host.hub_access import HubProblem, hub_has, hub_problem
from orchestrator.sweepfile.cached_model import model_file
from orchestrator.sweepfile.model_folder import fault_of
from orchestrator.sweepfile.sweep import ModelSpec

PROCESSOR_CONFIGURATIONS = ("processor_config.json", "preprocessor_config.json")
"""Files of which a model with a processor has at least one."""


def place_of(model: ModelSpec) -> tuple[str, dict[str, str]]:
    """Return the name and further keywords for `from_pretrained`. Raises ModelError for what is
    neither a whole folder nor a hub id, for an adapter, and where the hub does not answer and the
    cache has no such model.

    Of a model of the hub the configuration of its processor is brought into the cache, too: loading
    it does without, and its exports, which may be made without a network, have it beside them.
    """
    if fault := fault_of(model.id):
        raise ModelError(f"model {model.id!r} cannot be loaded: it {fault}.")
    if Path(model.id).is_dir():
        return model.id, {}
    if problem := hub_problem(model.id, model.revision):
        return _cached_folder(model, problem), {}
    if hub_has(model.id, model.revision, "adapter_config.json"):
        raise ModelError(
            f"model {model.id!r} cannot be loaded: it holds an adapter (adapter_config.json), which would be loaded "
            "into its base. Next: name the base; to transcribe with the adapter, download it "
            f"(hf download {model.id} --local-dir DIR) and name its folder."
        )
    # transformers would have a service of the hub convert pickled weights, in a pull request to
    # their authors, and load that instead of the revision that was named
    os.environ["DISABLE_SAFETENSORS_CONVERSION"] = "1"
    for name in PROCESSOR_CONFIGURATIONS:
        with suppress(ModelError):  # of a cache that may only be read, the model can be loaded
            hub_file(model, name)
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
            f"Next: {problem.cure}, or download the model where that works and name the folder in place of the id."
        )
    return folder


def hub_file(model: ModelSpec, name: str) -> Path | None:
    """Return where a file of a model of the hub is, downloaded where the hub has it, else in its
    local cache; None where it is in neither. Raises ModelError where it cannot be downloaded.
    """
    if constants.HF_HUB_OFFLINE or not hub_has(model.id, model.revision, name):
        return model_file(model, name)
    try:
        return Path(hf_hub_download(model.id, name, revision=model.revision))
    except OSError as error:
        said = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{name} of model {model.id!r} cannot be downloaded: {said}. Next: check the network and the cache, "
            f"{constants.HF_HUB_CACHE}."
        ) from error
