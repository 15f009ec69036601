"""Start-up checks of what is done with an adapter: types, evaluation, and one step of training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
import transformers
from torch import Tensor

from orchestrator.checks import Finding, finding
from orchestrator.tuning.decoding.greedy_decoding import transcribe
from orchestrator.tuning.model.base_model import BaseModel
from orchestrator.tuning.model.encoder_cache import EncoderCache
from orchestrator.tuning.selfcheck.base_loss import stock_loss
from orchestrator.tuning.selfcheck.probe import (
    ALIKE,
    DIFFERENT,
    MEMORY,
    Probe,
    difference_text,
    relative_difference,
)
from orchestrator.tuning.training.pack_group import PackGroup, Slot, has_moved

LOSS_ALIKE = 1e-3
"""Of the loss, or of 1 nat where it is below."""

LOSS_NEAR = 0.05
"""Likewise, where a trial trains in bfloat16, which has eight bits of a number."""

Logits = list[Tensor]


@torch.no_grad()
def check_dtypes(
    probe: Probe, autocast: Callable[[], AbstractContextManager[object]]
) -> Iterator[Finding]:
    """The types of the weights, and of what the linear layers give for the baseline and for a
    trial.
    """
    base = probe.base
    weights = {parameter.dtype for parameter in base.model.parameters()}
    if len(weights) > 1:
        yield finding(
            "dtype",
            f"the model's weights are of several types ({_type_names(weights)}); load it in one.",
        )
        return
    # in a store of its own: it keeps frames in the type they came in
    heard = {"domain": probe.store.clips["domain"]}
    store = EncoderCache(base.family, heard, MEMORY, base.device)
    seen: list[set[torch.dtype]] = []
    for scaled_adapters in ((), [(probe.random, 1.0)]):
        seen.append(set())
        try:
            with autocast(), _capture_logits(base, [], seen[-1]):
                transcribe(base, store, "domain", [1] * len(probe.max_new_tokens), scaled_adapters)
        except RuntimeError as error:
            first = str(error).partition("\n")[0]
            yield finding(
                "dtype",
                f"{'a trial' if scaled_adapters else 'the baseline'} cannot be decoded: {first}",
            )
            return
    if seen[0] != seen[1]:
        yield finding(
            "dtype",
            f"the baseline is computed in {_type_names(seen[0])} and a trial in {_type_names(seen[1])}; use one for "
            "both.",
        )


def check_evaluation(probe: Probe) -> Iterator[Finding]:
    """The evaluation of a sweep, on two clips: baseline, a random adapter, and the same adapter at
    scale 0. The last two are drafted by the baseline, so that their first passes are fed the same
    tokens.
    """
    base, evaluator = probe.base, probe.evaluator
    untuned: Logits = []
    adapted: Logits = []
    with _capture_logits(base, untuned, set()):
        _, heard = evaluator.measure_baseline()
    with _capture_logits(base, adapted, set()):
        _, (_, again) = evaluator.measure([(probe.random, 1.0), (probe.random, 0.0)])
    clips = len(probe.max_new_tokens)
    before, zero = untuned[0][:clips], adapted[0][clips : 2 * clips]
    if not relative_difference(*_of_each(adapted[0], clips)) > DIFFERENT:
        yield finding(
            "adapter-reach",
            "an adapter as large as the weights changes nothing that an evaluation computes: it would measure the "
            "untuned model, whatever was trained.",
        )
    if not relative_difference(zero, before) <= ALIKE:
        yield finding(
            "adapter-reach",
            f"at adapter scale 0 the logits differ from the untuned model's by {difference_text(zero, before)} of the "
            "largest value: baseline and trials are not computed alike.",
        )
    elif heard != again:
        first, second = next(
            pair
            for pair in zip(heard["domain"], again["domain"], strict=True)
            if pair[0] != pair[1]
        )
        yield finding(
            "decode",
            f"the untuned weights say {first!r} as baseline and {second!r} as a trial: they are decoded with "
            "different settings.",
        )


def _of_each(logits: Tensor, clips: int) -> list[Tensor]:
    """Those of two adapters: at the first token of every clip, and then at the others. At the first
    one alone, queries and keys of the decoder's self-attention would change nothing.
    """
    firsts, others = logits[: 2 * clips].chunk(2), logits[2 * clips :].chunk(2)
    return [torch.cat(parts) for parts in zip(firsts, others, strict=True)]


def check_training(
    probe: Probe, training_autocast: Callable[[], AbstractContextManager[object]] | None
) -> Iterator[Finding]:
    """One step from the adapter's start, where it changes nothing yet: its loss is the untuned
    model's. `training_autocast` makes the context in which trials train, where that is not the
    weights' own type.
    """
    base, start = probe.base, probe.start
    rows = torch.arange(len(probe.data.labels), device=base.device)
    before = probe.store("train", rows, probe.depth)[0].clone()
    group, slot = PackGroup(probe.depth), Slot(probe.plan, probe.targets, start)
    group.join(slot)
    group.step(base, probe.store, probe.data)
    group.unpack()
    if not torch.equal(probe.store("train", rows, probe.depth)[0], before):
        yield finding(
            "encoder-reuse", "a training step changes the frames that later steps use again."
        )
    tokens = sum(map(len, probe.data.labels))
    pairs = zip(probe.store.clips["train"], probe.data.labels, strict=True)
    stock, ours = sum(stock_loss(base, clip, row) for clip, row in pairs) / tokens, slot.loss_sum
    if not abs(ours - stock) <= LOSS_ALIKE * max(1.0, abs(stock)):
        yield finding(
            "label-alignment",
            f"a training step has the loss {ours:.4f} where transformers {transformers.__version__} gives "
            f"{stock:.4f} on the same utterances, so training would learn something else. Labels that are shifted once "
            "too often do that; transformers did it before 5.15.",
        )
    if not has_moved(slot.adapter, start):
        yield finding(
            "zero-delta",
            "a training step does not move the adapter: no gradient reaches its target modules.",
        )
    if training_autocast is not None:
        yield from _check_training_types(probe, training_autocast, ours)


def _check_training_types(
    probe: Probe, autocast: Callable[[], AbstractContextManager[object]], exact: float
) -> Iterator[Finding]:
    """The same step in the types that trials train in; `exact` is its loss in the weights' own."""
    group, slot = PackGroup(probe.depth), Slot(probe.plan, probe.targets, probe.start)
    group.join(slot)
    try:
        with autocast():
            group.step(probe.base, probe.store, probe.data)
    except RuntimeError as error:
        first = str(error).partition("\n")[0]
        yield finding("dtype", f"a trial cannot be trained in bfloat16: {first}")
        return
    group.unpack()
    if not abs(slot.loss_sum - exact) <= LOSS_NEAR * max(1.0, abs(exact)):
        yield finding(
            "dtype",
            f"a training step in bfloat16 has the loss {slot.loss_sum:.4f}, the same step in the weights' own type "
            f"{exact:.4f}: train this model in fp32.",
        )
    elif not has_moved(slot.adapter, probe.start):
        yield finding("zero-delta", "a training step in bfloat16 does not move the adapter.")


@contextmanager
def _capture_logits(base: BaseModel, logits: Logits, types: set[torch.dtype]) -> Iterator[None]:
    """Within the block, the logits of each decoder call, at the first token of every row and then at
    the others, and the types of all linear layers' outputs.
    """
    modules = [*base.linears.values(), base.decoder.head]
    hooks = [
        m.register_forward_hook(lambda _, __, output: types.add(output.dtype)) for m in modules
    ]
    hooks.append(
        base.decoder.head.register_forward_hook(lambda _, __, output: logits.append(output.float()))
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _type_names(types: set[torch.dtype]) -> str:
    return " and ".join(sorted(str(dtype).removeprefix("torch.") for dtype in types))
