"""The identity of a model's weights."""

from __future__ import annotations

import hashlib

import torch
from transformers import PreTrainedModel

from orchestrator.errors import ModelError
from orchestrator.sweepfile.sweep import ModelSpec


def weights_sha256(model: PreTrainedModel) -> str:
    """Return the SHA-256 digest of all weights in the order of their names, which `wrap_model` does
    not change."""
    total = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        total.update(name.encode())
        total.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def refuse_other_weights(spec: ModelSpec, found: str, wanted: str) -> None:
    """Raise ModelError where the digest of the model's weights is not the one `wanted`."""
    if found != wanted:
        raise ModelError(
            f"model {spec.id!r} has other weights than the study was measured with: with the adapter they would hear "
            "other words than it recorded. Next: put the weights back that were there, or run the sweep anew with "
            "--fork NAME."
        )
