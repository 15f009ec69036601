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
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer

from _shared.workload import Point, Workload

FRAMES_PER_SECOND = 50
"""Of the encoder: frames of 5 ms, strided by 2 twice."""


@dataclass(frozen=True)
class Clip:
    """One utterance as the model sees it."""

    frames: float
    tokens: int
    """EOS included."""


class Shape:
    """Multiply-adds of streaming Moonshine's parts, forward."""

    def __init__(self, config: dict[str, Any]) -> None:
        encoder = config["encoder_config"]
        self.width_e: int = encoder["hidden_size"]
        self.inner_e: int = encoder["intermediate_size"]
        self.windows: list[tuple[int, int]] = encoder["sliding_windows"]
        self.width: int = config["hidden_size"]
        self.inner: int = config["intermediate_size"]
        self.layers: int = config["num_hidden_layers"]
        self.vocabulary: int = config["vocab_size"]

    @property
    def front_end(self) -> float:
        """A frame: linear 80 -> D on four raw frames, convolutions of 5 taps D -> 2D on two and 2D
        -> D on one.
        """
        return (
            4 * 80 * self.width_e
            + 2 * 5 * self.width_e * 2 * self.width_e
            + 5 * 2 * self.width_e * self.width_e
        )

    @property
    def encoder(self) -> float:
        """A frame through all layers, attention within its window."""
        layer = 4 * self.width_e**2 + 2 * self.width_e * self.inner_e
        return sum(layer + 2 * self.width_e * (left + right) for left, right in self.windows)

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
        below = clip.frames * (self.front_end + self.encoder)
        return below + self.cross_keys(clip) + self.decoder(clip)

    def adapter(self, point: Point, clip: Clip) -> float:
        """The low-rank products of one utterance."""
        sides = self.layers * (6 * 2 * self.width * clip.tokens + 2 * 2 * self.width * clip.frames)
        if point["target_modules"] != "decoder-attention":
            sides += len(self.windows) * 4 * 2 * self.width_e * clip.frames
        if point["target_modules"] == "all-linear":
            sides += len(self.windows) * 2 * (self.width_e + self.inner_e) * clip.frames
            sides += self.layers * (2 * self.width + 3 * self.inner) * clip.tokens
        return float(point["rank"] * sides)

    def backward(self, point: Point, clip: Clip) -> float:
        """Activation gradients down to the lowest adapted layer."""
        if point["target_modules"] == "decoder-attention":
            return self.decoder(clip)
        return clip.frames * self.encoder + self.cross_keys(clip) + self.decoder(clip)

    def below(self, point: Point | None) -> float:
        """A frame: what lies under the adapters of a point, or of the untuned model."""
        frozen = point is None or point["target_modules"] == "decoder-attention"
        return self.front_end + (self.encoder if frozen else 0)


def operations(work: Workload, trials: int, reuse: bool) -> float:
    """Floating-point operations of one baseline and so many trials; with `reuse`, what is frozen is
    computed once.
    """
    shape = Shape(json.loads((work.model / "config.json").read_text()))
    clips = {name: _clips(work, name) for name in ("train", "replay", "domain", "heldout")}
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
        frames_trained, frames_evaluated = (
            sum(clip.frames for clip in own) for own in (trained, evaluated)
        )
        for point in points:
            total -= shape.below(point) * (frames_trained + work.rungs * frames_evaluated)
        once = (
            None
            if any(point["target_modules"] == "decoder-attention" for point in points)
            else points[0]
        )
        total += shape.below(once) * sum(clip.frames for clip in pool)
    return 2 * total


def _clips(work: Workload, name: str) -> list[Clip]:
    tokenizer = Tokenizer.from_file(str(work.model / "tokenizer.json"))
    return [
        Clip(
            row["duration"] * FRAMES_PER_SECOND,
            len(tokenizer.encode(row["text"], add_special_tokens=False)) + 1,
        )
        for row in work.rows(name)
    ]
