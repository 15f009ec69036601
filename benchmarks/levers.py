"""What a training step or an evaluation of a pack would gain or lose by this or that, in the same
steps or on the same clips by turns.

    python benchmarks/levers.py [--k 4] [--targets decoder-attention] [--rounds 40] [--only odd_keys,gather]
    python benchmarks/levers.py --evaluation --rounds 10 --only odd_keys

Each lever changes one thing about the step as it is. Processor time of one thread is measured, so a
busy machine disturbs it little; every round takes the levers in another order. Compare within one
run. Three of them undo what the step has: above 1.00 they would say that it does not pay.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from _shared import workload
from _shared.packs import filled
from _shared.tables import markdown
from torch import Tensor

from orchestrator.tuning.model import decoder, families, layout, windows
from orchestrator.tuning.model.attention import additive
from orchestrator.tuning.model.core_threads import cores
from orchestrator.tuning.training.pack_group import PackGroup
from orchestrator.tuning.worker import PackWorker

Change = tuple[object, str, Any]
"""One patch: an object or module, the name of its attribute, and the value to put there."""


def padded_text() -> list[Change]:
    """Undo laying the texts of a step end to end: compute them as a padded rectangle."""
    stock = decoder.Decoder.__call__

    def call(self: Any, *given: Any, text: Any = None) -> Tensor:
        states = stock(self, *given)
        return states if text is None else text.flatten(states)

    return [(decoder.Decoder, "__call__", call)]


def explicit_attention() -> list[Change]:
    """Undo torch's fused attention: matrix products and a softmax one after the other."""

    def attend(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        is_causal: bool = False,
        scale: float = 1.0,
    ) -> Tensor:
        if is_causal:
            size = query.shape[2]
            attn_mask = torch.ones(size, size, dtype=torch.bool, device=query.device).tril()
        scores = query @ key.mT * scale
        if attn_mask is not None:
            scores = scores + (additive(attn_mask) if attn_mask.dtype == torch.bool else attn_mask)
        return scores.softmax(-1) @ value

    return [(F, "scaled_dot_product_attention", attend)]


def odd_keys() -> list[Change]:
    """Undo that attention is over whole registers of keys, and that the mask of a window is turned
    into numbers once for all layers.
    """
    return [
        (decoder, "whole_keys", int),
        (windows, "whole_keys", int),
        (windows, "additive", lambda mask: mask),
    ]


def float_masks() -> list[Change]:
    """Turn the decoder's boolean masks into additive float masks once a step, where torch's fused
    attention does it at every layer.
    """
    stock = decoder.Decoder.__call__

    def call(self: Any, tokens: Tensor, cross: Any, mask: Tensor, *given: Any, **named: Any) -> Any:
        return stock(self, tokens, cross, additive(mask), *given, **named)

    return [(decoder.Decoder, "__call__", call)]


class _Turned(torch.autograd.Function):
    """`_turned` with its gradient: the transpose of a rotation turns by the opposite angle."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turned(x, cos, sin)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _turned(gradients[0], cos, -sin), None, None


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the first `cos.shape[-1]` features of x (..., head_dim), which are interleaved pairs."""
    count, out = cos.shape[-1], x.clone()
    even, odd = x[..., 0:count:2], x[..., 1:count:2]
    # the tables hold each angle twice, once for either feature of its pair
    cos, sin = cos[..., ::2], sin[..., ::2]
    torch.mul(even, cos, out=out[..., 0:count:2]).addcmul_(odd, sin, value=-1)
    torch.mul(odd, cos, out=out[..., 1:count:2]).addcmul_(even, sin)
    return out


def rotation() -> list[Change]:
    """Apply rotary positions as one autograd operation that writes in place."""
    return [(decoder, "rotate_features", _Turned.apply)]


def in_place() -> list[Change]:
    """Add the residual of the encoder's MLP into the MLP's output, not into a new tensor."""

    # `families.encoder_layer` but for its last line, and without grouped-query attention
    def layer(layer: Any, frames: Tensor, attend: Callable[..., Tensor]) -> Tensor:
        attention, x = layer.self_attn, layer.input_layernorm(frames)
        heads = (*x.shape[:2], -1, attention.head_dim)
        query, key, value = (
            projection(x).view(heads)
            for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        attended = attend(query, key, value, attention.scaling).flatten(2)
        frames = frames + attention.o_proj(attended)
        widened: Tensor = layer.mlp(layer.post_attention_layernorm(frames))
        return widened.add_(frames)

    return [(families, "encoder_layer", layer)]


class _Gather(torch.autograd.Function):
    """As `layout.GatherRows`, but with the indices of the padding rows in the place of a mask."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, index: Tensor, inverse: Tensor, empty: Tensor) -> Tensor:
        ctx.save_for_backward(inverse, empty)
        return values.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        inverse, empty = ctx.saved_tensors
        return gradients[0].index_select(0, inverse).index_fill_(0, empty, 0.0), None, None, None


def gather() -> list[Change]:
    """Set the gradients of the padding rows to zero by their indices, where the stock operation
    goes over all rows with a mask.
    """

    class Rows:
        @staticmethod
        def apply(values: Tensor, index: Tensor, inverse: Tensor, real: Tensor) -> Any:
            empty = (~real[:, 0]).nonzero()[:, 0]
            return _Gather.apply(values, index, inverse, empty)  # type: ignore[no-untyped-call]

    return [(layout, "GatherRows", Rows)]


def _in_turn(count: int) -> list[Change]:
    """Cut the step into `count` parts, as that many cores would share it, and compute the parts one
    after the other.
    """
    owner = cores(torch.device("cpu"))
    return [
        (owner, "count", count),
        (owner, "map", lambda part, parts: (part(each) for each in parts)),
    ]


def halves() -> list[Change]:
    """Cut the step into two parts, computed one after the other."""
    return _in_turn(2)


def quarters() -> list[Change]:
    """Cut the step into four parts, computed one after the other."""
    return _in_turn(4)


def eighths() -> list[Change]:
    """Cut the step into eight parts, computed one after the other."""
    return _in_turn(8)


LEVERS = (
    padded_text,
    explicit_attention,
    odd_keys,
    float_masks,
    rotation,
    in_place,
    gather,
    halves,
    quarters,
    eighths,
)


def options() -> argparse.Namespace:
    parser = workload.pack_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="steps or evaluations of each lever")
    parser.add_argument(
        "--evaluation", action="store_true", help="measure evaluations on 2 x 60 clips, not steps"
    )
    known = [lever.__name__ for lever in LEVERS]
    parser.add_argument("--only", help=f"comma-separated levers, of {', '.join(known)}")
    chosen = parser.parse_args()
    chosen.levers = chosen.only.split(",") if chosen.only else known
    if unknown := [name for name in chosen.levers if name not in known]:
        parser.error(f"--only {unknown[0]} is no lever: {', '.join(known)}")
    return chosen


def seconds_with(changes: Sequence[Change], work: Callable[[], None]) -> float:
    """Return the processor seconds that `work` takes while the patches are in place."""
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in changes]
    for owner, name, other in changes:
        setattr(owner, name, other)
    try:
        began = time.process_time()
        work()
        return time.process_time() - began
    finally:
        for owner, name, stock in before:
            setattr(owner, name, stock)


def step(worker: PackWorker, groups: Sequence[PackGroup]) -> None:
    """Take the first step of every trial, always on the same utterances."""
    for group in groups:
        for packed in group._packs.values():
            packed.optimizer.steps = [0] * len(packed.slots)
        group.step(worker.base, worker.store, worker.data)


def evaluate(worker: PackWorker, groups: Sequence[PackGroup]) -> None:
    """Evaluate every trial as it begins: it hears what the untuned model hears, whose words are its
    drafts, so that one pass of the decoder decides every row.
    """
    for group in groups:
        worker.evaluator.measure([(slot.adapter, 1.0) for slot in group.slots])


def measured(
    work: Callable[[], None], levers: dict[str, list[Change]], rounds: int
) -> dict[str, list[float]]:
    """Return the processor seconds that `work` takes in every round, by lever."""
    found: dict[str, list[float]] = {name: [] for name in levers}
    for turn in range(rounds + 1):
        for name in random.Random(turn).sample(sorted(levers), len(levers)):
            spent = seconds_with(levers[name], work)
            if turn:  # the first round fills caches
                found[name].append(spent)
    return found


def main() -> None:
    chosen = options()
    with tempfile.TemporaryDirectory(prefix="levers-") as name:
        folder = Path(name).resolve()
        clips = 60 if chosen.evaluation else 12
        work = workload.build(folder, chosen.data, chosen.model, 3 * chosen.k, 20, 1, clips, 13.0)
        worker, groups = filled(work, chosen.k, chosen.targets, "cpu", cores=1)
        levers: dict[str, list[Change]] = {"as it is": []}
        levers |= {lever.__name__: lever() for lever in LEVERS if lever.__name__ in chosen.levers}
        kind = evaluate if chosen.evaluation else step
        found = measured(partial(kind, worker, groups), levers, chosen.rounds)
    what = "evaluation" if chosen.evaluation else "step"
    print(f"K = {chosen.k}, {chosen.targets} targets, {chosen.rounds} {what}s each\n")
    middle = {name: statistics.median(rows) for name, rows in found.items()}
    lines = [
        [
            name.replace("_", " "),
            f"{1000 * middle[name]:.0f}",
            f"{middle['as it is'] / middle[name]:.3f}",
            f"{min(found['as it is']) / min(rows):.3f}",
        ]
        for name, rows in found.items()
    ]
    print(markdown(["", f"one {what}, ms", "times faster, by medians", "by minima"], lines))


if __name__ == "__main__":
    main()
