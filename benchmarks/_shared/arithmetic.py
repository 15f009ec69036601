"""Estimate the arithmetic that a workload cannot do without, from the shapes of the modules and the
counts of frames and tokens.

Counted are the multiply-adds of matrix products, convolutions and attention, two operations each.
Not counted are padding, element-wise work, the optimizer, and ranks that a pack pads to a common
size, so a share of the machine's ceiling is of useful work alone. Frozen weights have no weight
gradients: a backward pass costs what the forward pass cost, from the output down to the lowest
adapted layer. An adapter of rank r costs r (in + out) multiply-adds per row forward and twice that
backward. What the packed engine computes once for a whole sweep (the front end's output, and the
encoder's where the decoder alone is adapted) is counted once for it. A decoded token is counted
once, whether a draft proposed it or not, and as many are assumed as the reference has.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer

from _shared.workload import Point, Workload


@dataclass(frozen=True)
class Clip:
    """The size of one utterance as the model sees it."""

    frames: float
    """Frames of the encoder."""
    tokens: int
    """Tokens of the reference, EOS included."""


class Shape(ABC):
    """The multiply-adds of each part of a model. The subclasses are the two model families; names
    that end in `_e` are of the encoder, the others of the decoder.
    """

    frames_per_second: float
    """Rate of the encoder's frames."""

    def __init__(self, config: dict[str, Any], encoder: dict[str, Any], layers: int) -> None:
        self.width_e: int = encoder["hidden_size"]
        self.inner_e: int = encoder["intermediate_size"]
        self.layers_e, self.layers = layers, int(config.get("num_hidden_layers", layers))
        self.width: int = config["hidden_size"]
        self.inner: int = config["intermediate_size"]
        self.vocabulary: int = config["vocab_size"]

    @abstractmethod
    def front_end(self, clip: Clip) -> float:
        """Forward cost of what comes before the encoder's layers."""

    @abstractmethod
    def attended(self, clip: Clip) -> list[float]:
        """How many frames each frame attends to, one number per layer of the encoder."""

    def encoder(self, clip: Clip) -> float:
        """Forward cost of the encoder's layers: all frames through all layers."""
        # four projections of the attention, two of the MLP
        layer = 4 * self.width_e**2 + 2 * self.width_e * self.inner_e
        return clip.frames * sum(layer + 2 * self.width_e * many for many in self.attended(clip))

    def decoder(self, clip: Clip) -> float:
        """Forward cost of the decoder on all tokens: projections, gated MLP, both attentions, and
        the output head.
        """
        # 4 projections of self-attention and 2 of cross-attention, whose keys and values are in
        # `cross_keys`; a token sees half of the tokens on average, and all frames
        layer = (
            6 * self.width**2
            + 3 * self.width * self.inner
            + 2 * self.width * (clip.tokens / 2 + clip.frames)
        )
        return clip.tokens * (self.layers * layer + self.width * self.vocabulary)

    def cross_keys(self, clip: Clip) -> float:
        """Forward cost of the cross-attention's keys and values in every decoder layer, and of the
        projection between encoder and decoder where their widths differ.
        """
        projection = 0 if self.width == self.width_e else self.width * self.width_e
        return clip.frames * (projection + 2 * self.layers * self.width**2)

    def forward(self, clip: Clip) -> float:
        """Forward cost of the whole model on one utterance. It is the same for teacher forcing and
        for decoding with a key-value cache.
        """
        below = self.front_end(clip) + self.encoder(clip)
        return below + self.cross_keys(clip) + self.decoder(clip)

    def adapter(self, point: Point, clip: Clip) -> float:
        """Forward cost of an adapter's low-rank products on one utterance."""
        # the sum of (in + out) * rows over all adapted modules; times the rank at the end
        sides = self.layers * (6 * 2 * self.width * clip.tokens + 2 * 2 * self.width * clip.frames)
        if point["target_modules"] != "decoder-attention":
            sides += self.layers_e * 4 * 2 * self.width_e * clip.frames
        if point["target_modules"] == "all-linear":
            sides += self.layers_e * 2 * (self.width_e + self.inner_e) * clip.frames
            sides += self.layers * (2 * self.width + 3 * self.inner) * clip.tokens
        return float(point["rank"] * sides)

    def backward(self, point: Point, clip: Clip) -> float:
        """Cost of the activation gradients down to the lowest adapted layer."""
        if point["target_modules"] == "decoder-attention":
            return self.decoder(clip)
        return self.encoder(clip) + self.cross_keys(clip) + self.decoder(clip)

    def below(self, point: Point | None, clip: Clip) -> float:
        """Forward cost of what no adapter of the point changes, and which can thus be computed once
        for all trials: the front end, and the encoder where the decoder alone is adapted. None is
        the untuned model.
        """
        frozen = point is None or point["target_modules"] == "decoder-attention"
        return self.front_end(clip) + (self.encoder(clip) if frozen else 0)


class Streaming(Shape):
    """Streaming Moonshine: frames of 5 ms, strided by 2 twice, and attention within windows."""

    frames_per_second = 50

    def __init__(self, config: dict[str, Any]) -> None:
        encoder = config["encoder_config"]
        self.windows: list[tuple[int, int]] = encoder["sliding_windows"]
        super().__init__(config, encoder, len(self.windows))

    def front_end(self, clip: Clip) -> float:
        """Forward cost, per frame of the encoder: a linear layer 80 -> D on four raw frames, and
        convolutions of 5 taps, D -> 2D on two frames and 2D -> D on one.
        """
        width = self.width_e
        return clip.frames * (4 * 80 * width + 2 * 5 * width * 2 * width + 5 * 2 * width * width)

    def attended(self, clip: Clip) -> list[float]:
        """The widths of the layers' windows."""
        return [left + right for left, right in self.windows]


class Version1(Shape):
    """Moonshine v1: convolutions strided by 64, 3 and 2 over the samples, and attention over all
    frames."""

    frames_per_second = 16000 / (64 * 3 * 2)

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config, config, config["encoder_num_hidden_layers"])
        self.layers = config["decoder_num_hidden_layers"]

    def front_end(self, clip: Clip) -> float:
        """Forward cost, per frame of the encoder: convolutions of 127 taps, 1 -> D, on six frames,
        of 7 taps, D -> 2D, on two, and of 3 taps, 2D -> D, on one.
        """
        width = self.width_e
        return clip.frames * (6 * 127 * width + 2 * 7 * width * 2 * width + 3 * 2 * width * width)

    def attended(self, clip: Clip) -> list[float]:
        """All frames, in every layer."""
        return [clip.frames] * self.layers_e


def shape_of(config: dict[str, Any]) -> Shape:
    """Return the shape of the model's family, told by its config.json."""
    return Streaming(config) if "encoder_config" in config else Version1(config)


def operations(work: Workload, trials: int, reuse: bool) -> float:
    """Count the floating-point operations of measuring the baseline and of training and evaluating
    the first `trials` points. With `reuse`, what no adapter changes is counted once for all.
    """
    shape = shape_of(json.loads((work.model / "config.json").read_text()))
    clips = {
        name: _clips(work, name, shape.frames_per_second)
        for name in ("train", "replay", "domain", "heldout")
    }
    pool, evaluated = [*clips["train"], *clips["replay"]], [*clips["domain"], *clips["heldout"]]
    trained = [pool[row] for row in work.order]
    points = work.points[:trials]
    total = sum(map(shape.forward, evaluated))
    for point in points:
        # an adapter's backward pass costs twice its forward pass, so three times with that
        total += sum(
            shape.forward(c) + shape.backward(point, c) + 3 * shape.adapter(point, c)
            for c in trained
        )
        total += work.rungs * sum(map(shape.forward, evaluated))
    if reuse:
        for point in points:
            total -= sum(shape.below(point, clip) for clip in trained)
            total -= work.rungs * sum(shape.below(point, clip) for clip in evaluated)
        once = (
            None
            if any(point["target_modules"] == "decoder-attention" for point in points)
            else points[0]
        )
        total += sum(shape.below(once, clip) for clip in pool)
    return 2 * total  # a multiply-add is two operations


def _clips(work: Workload, name: str, frames_per_second: float) -> list[Clip]:
    tokenizer = Tokenizer.from_file(str(work.model / "tokenizer.json"))
    return [
        Clip(
            row["duration"] * frames_per_second,
            len(tokenizer.encode(row["text"], add_special_tokens=False)) + 1,
        )
        for row in work.rows(name)
    ]
