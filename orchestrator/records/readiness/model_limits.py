"""What a model can take and say, read from its configuration and its tokenizer, without its weights
and without torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.corpus.samples import SAMPLE_RATE
from orchestrator.sweepfile.cached_model import model_file
from orchestrator.sweepfile.sweep import ModelSpec

VERSION_1_STRIDE, VERSION_1_SHORTEST = 384, 895
"""Samples per encoder frame of Moonshine version 1, and the receptive field of its three
convolutions, in samples.
"""

_POSITIONS = {"moonshine": 512, "moonshine_streaming": 4096}
"""What transformers takes where a configuration names no `max_position_embeddings`, by model type.
"""


@dataclass(frozen=True)
class ModelLimits:
    """Limits of one model. Samples are at 16 kHz."""

    longest_seconds: float
    """Longest clip; infinite where the encoder's positions are computed as needed."""
    shortest: int
    """Fewest samples that a clip may have."""
    stride: int
    """Samples per encoder frame."""
    positions: int
    """Most tokens of a text, its end included."""
    labels: Callable[[list[str]], list[list[int]]]
    """Texts -> token ids of each, with the end token."""
    texts: Callable[[list[list[int]]], list[str]]
    """Token ids -> texts, without special tokens."""


def token_caps(seconds: Sequence[float], tokens_per_second: float) -> list[int]:
    """Return the most tokens that each clip may give: floor(rate * seconds) + 2, as the Open ASR
    Leaderboard caps Moonshine.
    """
    return [int(tokens_per_second * s) + 2 for s in seconds]


def read_limits(model: ModelSpec) -> ModelLimits | None:
    """Read the limits from `config.json` and `tokenizer.json` in a model's folder, or in the hub's
    cache on this machine.

    Returns None where these are missing or not as expected: the error is left to whoever loads the
    model.
    """
    config, tokenizer = (model_file(model, name) for name in ("config.json", "tokenizer.json"))
    if config is None or tokenizer is None:
        return None
    try:
        return _parse_limits(json.loads(config.read_bytes()), tokenizer)
    # the tokenizers library raises bare exceptions for files that it cannot read
    except Exception:
        return None


def _parse_limits(config: dict[str, Any], tokenizer: Path) -> ModelLimits:
    from tokenizers import Tokenizer

    encoder = config.get("encoder_config") or {}
    streams = config["model_type"] == "moonshine_streaming"
    rate = encoder.get("sample_rate", SAMPLE_RATE)
    # as `tuning.model.families` and `windows.samples_per_frame` have it, which import torch
    frame = round(rate * encoder.get("frame_ms", 5.0) / 1000)
    stride, shortest = (4 * frame, frame) if streams else (VERSION_1_STRIDE, VERSION_1_SHORTEST)
    positions = int(config.get("max_position_embeddings", _POSITIONS[config["model_type"]]))
    reader = Tokenizer.from_file(str(tokenizer))
    # a tokenizer keeps these settings from its last use; transformers sets both at every call
    reader.no_padding()
    reader.no_truncation()
    end = config.get("eos_token_id")
    if end is None:
        end = 2
    ends = [end[0] if isinstance(end, list) else int(end)]
    return ModelLimits(
        longest_seconds=positions * stride / rate if streams else math.inf,
        shortest=shortest,
        stride=stride,
        positions=positions,
        labels=lambda texts: [
            [*row.ids, *ends] for row in reader.encode_batch_fast(texts, add_special_tokens=False)
        ],
        texts=reader.decode_batch,
    )
