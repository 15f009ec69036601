"""Comparing an export with the model that was measured, on one clip: how far apart their numbers
are, and which other model's numbers the export's are.

The engine is the code of this package, with which sweeps train and measure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from orchestrator.tuning.deploying.runtime import Array, Runtime, cut, empty_cache
from orchestrator.tuning.model.base_model import BaseModel
from orchestrator.tuning.model.layout import RaggedLayout, laid_out
from orchestrator.tuning.model.windows import EncoderWindow, windows_text
from orchestrator.tuning.window_readings import with_windows

ALIKE = 1e-3
"""The largest difference, as a share of the largest value, at which two float32 computations count
as the same. Measured: 1e-6 for the same model; above 1e-2 for another window, tokenizer or adapter
scale.
"""


@dataclass(frozen=True)
class Numbers:
    """The numbers that a model computes of one clip."""

    encoded: Array
    """(T, width): the encoder's output."""
    logits: Array
    """(vocabulary,): the logits of the first token."""


def engine_numbers(base: BaseModel, clip: Array) -> Numbers:
    """Return the numbers of a model as the engine runs it."""
    encoded, layout = _encoded(base, clip)
    return Numbers(
        encoded[0, : int(layout.lengths[0])].numpy(), _next(base, encoded, layout, ()).numpy()
    )


def runtime_numbers(runtime: Runtime, clip: Array) -> Numbers:
    """Return the numbers of an export."""
    encoded_clip = runtime.encode(cut(clip, runtime.manifest))
    logits, _ = runtime.step([runtime.manifest.start], empty_cache(runtime.manifest), encoded_clip)
    return Numbers(encoded_clip.encoded[0], logits[-1])


@torch.no_grad()
def margin(base: BaseModel, clip: Array, tokens: Sequence[int]) -> float:
    """Return the difference between the two largest logits for the token that follows `tokens`."""
    best = _next(base, *_encoded(base, clip), tokens).topk(2).values
    return float(best[0] - best[1])


@torch.no_grad()
def _encoded(base: BaseModel, clip: Array) -> tuple[Tensor, RaggedLayout]:
    frames, layout = laid_out(*base.family.front_end([clip]), base.family.block)
    return base.family.encoder_layers(frames, layout, 0, base.encoder_depth), layout


@torch.no_grad()
def _next(base: BaseModel, encoded: Tensor, layout: RaggedLayout, tokens: Sequence[int]) -> Tensor:
    """Return the logits (vocabulary,) of the token that follows `tokens`."""
    cross = base.decoder.cross_keys(base.family.memory(encoded, layout), layout)
    fed = torch.tensor([[base.decoder.start, *tokens]])
    logits: Tensor = base.decoder.head(base.decoder(fed, cross, layout.mask))[0, -1]
    return logits


def apart(found: Array, expected: Array) -> float:
    """Return the largest difference as a share of the largest expected value; infinity where the
    shapes differ.
    """
    if found.shape != expected.shape:
        return float("inf")
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def name_cause(
    found: Numbers,
    tuned: BaseModel,
    untuned: BaseModel,
    clip: Array,
    windows: Sequence[Sequence[EncoderWindow]],
    shares: Mapping[float, float],
) -> Iterator[str]:
    """Yield a sentence that says why an export's numbers are not those of `tuned`, by finding
    another model that has them; nothing where they agree.

    The other models are `tuned` with each of `windows`, and with the adapter at each scale of
    `shares`, which maps an adapter scale to its ratio to the scale in `tuned`.
    """
    ours = engine_numbers(tuned, clip)
    gaps = apart(found.encoded, ours.encoded), apart(found.logits, ours.logits)
    if max(gaps) <= ALIKE:
        return
    for other in windows:
        if _same(found, engine_numbers(with_windows(tuned, other), clip)):
            yield (
                f"encoder windows: the graphs compute {windows_text(other)}, whatever export.json says, and the "
                f"study measured {windows_text(tuned.family.windows)}"
            )
            return
    for scale, share in shares.items():
        with scaled(tuned, untuned, share):
            if _same(found, engine_numbers(tuned, clip)):
                what = f"the adapter at scale {scale:g}" if scale else "the untuned model"
                yield f"adapter: the graphs compute {what}, whatever export.json says"
                return
    yield (
        f"numbers: on one clip the encoder's output is {100 * gaps[0]:.2g} % and the first token's logits "
        f"{100 * gaps[1]:.2g} % of their largest values away from those of the study's model; other windows and other "
        "adapter scales do not explain it"
    )


def _same(found: Numbers, other: Numbers) -> bool:
    return max(apart(found.encoded, other.encoded), apart(found.logits, other.logits)) <= ALIKE


@contextmanager
def scaled(tuned: BaseModel, untuned: BaseModel, share: float) -> Iterator[None]:
    """A context within which `tuned` has the weights at `share` of the way from the untuned ones to
    its own.
    """
    kept = {name: linear.weight.data for name, linear in tuned.linears.items()}
    try:
        for name, linear in tuned.linears.items():
            before = untuned.linears[name].weight.data
            linear.weight.data = before + share * (kept[name] - before)
        yield
    finally:
        for name, linear in tuned.linears.items():
            linear.weight.data = kept[name]
