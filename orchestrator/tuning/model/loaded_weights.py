"""Checks of the weights of a model that transformers has loaded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from transformers import PreTrainedModel

from orchestrator.errors import ModelError
from orchestrator.sweepfile.sweep import ModelSpec


def check_weights(spec: ModelSpec, found: dict[str, Any]) -> None:
    """Raise ModelError where weights are missing or of another shape than the configuration says,
    by the lists `found` in loading: transformers would initialise them at random.
    """
    other = {
        name: f"{name} of shape {list(held)} and config.json asks for {list(asked)}"
        for name, held, asked in found["mismatched_keys"]
    }
    faults = [
        *other.values(),
        *(f"no {name}" for name in sorted(found["missing_keys"]) if name not in other),
    ]
    if faults:
        instead = min(found["unexpected_keys"], default="")
        raise ModelError(
            f"model {spec.id!r} cannot be loaded: model.safetensors has {faults[0]} ({len(faults)} such weights)"
            f"{instead and f', and names such as {instead} instead'}. "
            "Next: take config.json and model.safetensors of one model."
        )


def check_finite(spec: ModelSpec, model: PreTrainedModel) -> None:
    """Raise ModelError where a weight is NaN or infinite, as after a training in float16 that
    diverged: what such a model transcribes is meaningless.
    """
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ModelError(
                f"model {spec.id!r} cannot be loaded: {name} holds NaN or infinity. "
                "Next: take a checkpoint from before its training diverged."
            )


def unused_weights(names: Iterable[str]) -> str:
    """Return a sentence about weights that the model has no place for; empty where there are none."""
    unused = sorted(names)
    if not unused:
        return ""
    return (
        f"the weights hold {len(unused)} that the model has no place for, such as {unused[0]}; "
        "they are left out"
    )
