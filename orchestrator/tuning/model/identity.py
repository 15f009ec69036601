"""The identity of a model: digests of its weights, its configuration and its tokenizer."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from orchestrator.sweepfile.digest import digest

_NOT_COMPUTED = ("architectures", "dtype", "torch_dtype", "transformers_version", "use_cache")
"""Keys of a configuration that no number depends on, or that the fingerprint has by themselves."""

OTHER = {
    "weights": "other weights",
    "config": "another configuration",
    "tokenizer": "another tokenizer",
}
"""Part of an evaluation's fingerprint that tells a base model -> what a model has where it differs."""


def weights_sha256(model: PreTrainedModel) -> str:
    """Return the SHA-256 digest of all weights in the order of their names, which `wrap_model` does
    not change."""
    total = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        total.update(name.encode())
        total.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def config_sha256(config: PreTrainedConfig) -> str:
    """Return the SHA-256 digest of what a configuration says of the computation: not where it lies,
    nor which version wrote it.
    """
    return digest(_computed(config.to_dict()))


def _computed(value: Any) -> Any:
    """Return the plain values of a configuration, in its mappings only the keys that count."""
    if isinstance(value, dict):
        return {
            str(key): _computed(own)
            for key, own in value.items()
            if key not in _NOT_COMPUTED and not str(key).startswith("_")
        }
    if isinstance(value, list | tuple):
        return [_computed(own) for own in value]
    return value if isinstance(value, int | float | str | None) else str(value)


def tokenizer_sha256(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the SHA-256 digest of all that decides which tokens a text becomes, and which text
    tokens become.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        rules: Any = {"vocabulary": tokenizer.get_vocab()}
    else:
        # how rows are cut and filled up is set for each call
        rules = {
            key: value
            for key, value in json.loads(backend.to_str()).items()
            if key not in ("version", "truncation", "padding")
        }
    return digest([rules, sorted(tokenizer.all_special_ids)])
