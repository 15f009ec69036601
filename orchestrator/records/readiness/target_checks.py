"""Checks that the layers that a sweep may adapt are in its model, by the names of the model's
weights. Without the weights themselves and without torch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from orchestrator.checks import Finding, finding
from orchestrator.planning.target_choices import drawn_targets
from orchestrator.sweepfile.cached_model import model_file
from orchestrator.sweepfile.layer_ranges import fault_of_layers
from orchestrator.sweepfile.model_folder import weights_header
from orchestrator.sweepfile.presets import matches
from orchestrator.sweepfile.sweep import ModelSpec, SweepSpec


def find_missing_layers(spec: SweepSpec) -> Iterator[Finding]:
    """Yield a finding for each pair of target modules and `layers` that trials may have, and of
    which a stack of the model has no module. None where the names of its weights are not known.
    """
    if spec.parameters.possible("layers") == ("all",):
        return
    modules = _module_names(spec.model)
    said: dict[str, None] = {}
    for preset, layers in drawn_targets(spec):
        patterns = spec.parameters.presets[preset]
        for stack in ("encoder", "decoder"):
            inside = [name for name in modules if re.match(rf"{stack}\.layers\.[0-9]+\.", name)]
            numbers = {
                int(name.split(".")[2])
                for name in inside
                if any(matches(pattern, name) for pattern in patterns)
            }
            count = len({name.split(".")[2] for name in inside})
            if fault := fault_of_layers(layers, stack, count, numbers):
                said.setdefault(f"preset {preset}: {fault}")
    yield from (finding("targets", fault) for fault in said)


def _module_names(model: ModelSpec) -> tuple[str, ...]:
    """Return the paths below `model.` of the modules that have weights; none where the files of the
    weights are not on this machine, or not as expected, which others say.
    """
    whole = model_file(model, "model.safetensors")
    index = model_file(model, "model.safetensors.index.json")
    try:
        if whole is not None:
            names = [*weights_header(whole)[0]]
        elif index is not None:
            names = [*json.loads(index.read_bytes())["weight_map"]]
        else:
            return ()
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ()
    return tuple(str(name).removeprefix("model.").rpartition(".")[0] for name in names)
