"""Start-up checks of what is done with an adapter: dtypes, evaluation, and one training step."""

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
from orchestrator.tuning.training.pack_group import PackGroup, Slot, why_unmoved

LOSS_ALIKE = 1e-3
"""The largest difference between two equal losses, as a share of the loss, or of 1 nat where the
loss is below.
"""

LOSS_NEAR = 0.05
"""The same where a trial trains in bfloat16, which keeps eight bits of a number."""

Logits = list[Tensor]
"""The logits of each call of the decoder, (tokens, vocabulary)."""


@torch.no_grad()
def check_dtypes(
    probe: Probe, autocast: Callable[[], AbstractContextManager[object]]
) -> Iterator[Finding]:
    """Check that the weights have one dtype, and that the linear layers give the same dtypes for
    the baseline as for a trial.
    """
    base = probe.base
    weights = {parameter.dtype for parameter in base.model.parameters()}
    if len(weights) > 1:
        yield finding(
            "dtype",
            f"the model's weights are of several types ({_type_names(weights)}); load it in one.",
        )
        return
    # in a cache of its own, because a cache keeps frames in the dtype in which they were computed
    clips = {"domain": probe.store.clips["domain"]}
    store = EncoderCache(base.family, clips, MEMORY, base.device)
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
    """Check the sweep's evaluation on two clips: a random adapter must change the logits, and at
    scale 0 it must give those of the baseline. Both are drafted by the references, as the baseline
    is, so that all first rounds are fed the same tokens, also where it hears nothing.
    """
    base, evaluator = probe.base, probe.evaluator
    untuned: Logits = []
    adapted: Logits = []
    with _capture_logits(base, untuned, set()):
        _, hypotheses = evaluator.measure_baseline()
    with _capture_logits(base, adapted, set()):
        references = {"domain": evaluator.sets["domain"].clips.texts}
        _, (_, again) = evaluator.measure(
            [(probe.random, 1.0), (probe.random, 0.0)], None, [references] * 2
        )
    clips = len(probe.max_new_tokens)
    # logits of the first token of every clip, by the baseline and by the adapter at scale 0
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
    elif hypotheses != again:
        first, second = next(
            pair
            for pair in zip(hypotheses["domain"], again["domain"], strict=True)
            if pair[0] != pair[1]
        )
        yield finding(
            "decode",
            f"the untuned weights say {first!r} as baseline and {second!r} as a trial: they are decoded with "
            "different settings.",
        )


def _of_each(logits: Tensor, clips: int) -> list[Tensor]:
    """Split the logits of one round, of which the first 2 * clips are those of each row's first
    token, between two adapters.

    All tokens are needed: at the first one alone, the queries and keys of the decoder's
    self-attention would change nothing.
    """
    firsts, others = logits[: 2 * clips].chunk(2), logits[2 * clips :].chunk(2)
    return [torch.cat(parts) for parts in zip(firsts, others, strict=True)]


def check_training(
    probe: Probe, training_autocast: Callable[[], AbstractContextManager[object]] | None
) -> Iterator[Finding]:
    """Check one training step of a new adapter. It changes nothing yet, so its loss must be that of
    the stock model; the step must move the adapter and leave the cached frames as they are.

    `training_autocast` makes the context in which trials train; None where that is the weights' own
    dtype.
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
    if why := why_unmoved(slot, start):
        yield finding("zero-delta", f"a training step does not move the adapter: {why}.")
    if training_autocast is not None:
        yield from _check_training_types(probe, training_autocast, ours)


def _check_training_types(
    probe: Probe, autocast: Callable[[], AbstractContextManager[object]], exact: float
) -> Iterator[Finding]:
    """Check the same step in bfloat16; `exact` is its loss in the weights' own dtype."""
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
    elif why := why_unmoved(slot, probe.start):
        message = f"a training step in bfloat16 does not move the adapter: {why}."
        yield finding("zero-delta", message)


@contextmanager
def _capture_logits(base: BaseModel, logits: Logits, types: set[torch.dtype]) -> Iterator[None]:
    """A context that adds to `logits` those of each call of the decoder, at the first token of
    every row and then at the others, and to `types` the dtypes of all linear layers' outputs.
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
