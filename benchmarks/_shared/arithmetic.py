"""An estimate of the arithmetic that a workload cannot do without, from module shapes, frame and
token counts.

Counted are the multiply-adds of matrix products, convolutions and attention, two operations each.
Not counted are padding, element-wise work, the optimizer and ranks padded in a pack, so a share of
the ceiling is of useful work alone. Frozen weights have no weight gradients: a backward pass costs
what the forward pass cost, from the output down to the lowest adapted layer. An adapter costs r (in
+ out) a row forward and twice that backward. What the packed engine computes once for a whole sweep
(the front end's output, and the encoder's where the decoder alone is adapted) is counted once for
it. A decoded token is counted once, proposed and verified or generated alone, and there are as many
as the reference has.
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
    """One utterance as the model sees it."""

    frames: float
    tokens: int
    """EOS included."""


class Shape(ABC):
    """Multiply-adds of a model's parts, forward; what the two families share."""

    frames_per_second: float
    """Of the encoder."""

    def __init__(self, config: dict[str, Any], encoder: dict[str, Any], layers: int) -> None:
        self.width_e: int = encoder["hidden_size"]
        self.inner_e: int = encoder["intermediate_size"]
        self.layers_e, self.layers = layers, int(config.get("num_hidden_layers", layers))
        self.width: int = config["hidden_size"]
        self.inner: int = config["intermediate_size"]
        self.vocabulary: int = config["vocab_size"]

    @abstractmethod
    def front_end(self, clip: Clip) -> float:
        """What stands before the encoder's layers."""

    @abstractmethod
    def attended(self, clip: Clip) -> list[float]:
        """Frames that a frame attends to, by layer of the encoder."""

    def encoder(self, clip: Clip) -> float:
        """All frames through all layers."""
        layer = 4 * self.width_e**2 + 2 * self.width_e * self.inner_e
        return clip.frames * sum(layer + 2 * self.width_e * many for many in self.attended(clip))

    def decoder(self, clip: Clip) -> float:
        """All tokens: projections, gated MLP, both attentions, the head."""
        layer = (
            6 * self.width**2
            + 3 * self.width * self.inner
            + 2 * self.width * (clip.tokens / 2 + clip.frames)
        )
        return clip.tokens * (self.layers * layer + self.width * self.vocabulary)

    def cross_keys(self, clip: Clip) -> float:
        """Keys and values of every decoder layer, after the projection where the widths differ."""
        projection = 0 if self.width == self.width_e else self.width * self.width_e
        return clip.frames * (projection + 2 * self.layers * self.width**2)

    def forward(self, clip: Clip) -> float:
        """The whole model on one utterance; the same for teacher forcing and for decoding with a
        cache.
        """
        below = self.front_end(clip) + self.encoder(clip)
        return below + self.cross_keys(clip) + self.decoder(clip)

    def adapter(self, point: Point, clip: Clip) -> float:
        """The low-rank products of one utterance."""
        sides = self.layers * (6 * 2 * self.width * clip.tokens + 2 * 2 * self.width * clip.frames)
        if point["target_modules"] != "decoder-attention":
            sides += self.layers_e * 4 * 2 * self.width_e * clip.frames
        if point["target_modules"] == "all-linear":
            sides += self.layers_e * 2 * (self.width_e + self.inner_e) * clip.frames
            sides += self.layers * (2 * self.width + 3 * self.inner) * clip.tokens
        return float(point["rank"] * sides)

    def backward(self, point: Point, clip: Clip) -> float:
        """Activation gradients down to the lowest adapted layer."""
        if point["target_modules"] == "decoder-attention":
            return self.decoder(clip)
        return self.encoder(clip) + self.cross_keys(clip) + self.decoder(clip)

    def below(self, point: Point | None, clip: Clip) -> float:
        """What lies under the adapters of a point, or of the untuned model."""
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
        """Linear 80 -> D on four raw frames, convolutions of 5 taps D -> 2D on two and 2D -> D on
        one.
        """
        width = self.width_e
        return clip.frames * (4 * 80 * width + 2 * 5 * width * 2 * width + 5 * 2 * width * width)

    def attended(self, clip: Clip) -> list[float]:
        """The windows' widths."""
        return [left + right for left, right in self.windows]


class Version1(Shape):
    """Moonshine v1: convolutions strided by 64, 3 and 2 over the samples, and attention over all
    frames."""

    frames_per_second = 16000 / (64 * 3 * 2)

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config, config, config["encoder_num_hidden_layers"])
        self.layers = config["decoder_num_hidden_layers"]

    def front_end(self, clip: Clip) -> float:
        """127 taps 1 -> D on six, 7 taps D -> 2D on two, 3 taps 2D -> D on one."""
        width = self.width_e
        return clip.frames * (6 * 127 * width + 2 * 7 * width * 2 * width + 3 * 2 * width * width)

    def attended(self, clip: Clip) -> list[float]:
        """All frames, in every layer."""
        return [clip.frames] * self.layers_e


def shape_of(config: dict[str, Any]) -> Shape:
    """By what a model's config.json says."""
    return Streaming(config) if "encoder_config" in config else Version1(config)


def operations(work: Workload, trials: int, reuse: bool) -> float:
    """Floating-point operations of one baseline and so many trials; with `reuse`, what is frozen is
    computed once.
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
    return 2 * total


def _clips(work: Workload, name: str, frames_per_second: float) -> list[Clip]:
    tokenizer = Tokenizer.from_file(str(work.model / "tokenizer.json"))
    return [
        Clip(
            row["duration"] * frames_per_second,
            len(tokenizer.encode(row["text"], add_special_tokens=False)) + 1,
        )
        for row in work.rows(name)
    ]
