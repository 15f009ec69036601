"""Greedy decoding of K adapters together: exactly the words of stock greedy `generate` on each
alone.

Cross-attention keys and values are computed once, self-attention lives in a static cache, finished
rows are dropped, and each row is truncated by its own audio. A draft, what the same trial or the
untuned model said before, is verified in one teacher-forced pass; after the first token that
differs, the draft's tail is proposed again from where it lines up. Every token that is kept is the
argmax given the tokens before it, so a draft changes the time and never the words; in bfloat16 two
tokens may be as good as equal, and there what is decoded beside them may decide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import torch
from torch import Tensor

from orchestrator.progress import Counter
from orchestrator.tuning.adapters.pack import Adapter, stack_merged
from orchestrator.tuning.adapters.packed_linear import bound_merged
from orchestrator.tuning.decoding.decoding_rows import (
    Row,
    RowGroup,
    begin_rows,
    decode_round,
    join_live_rows,
)
from orchestrator.tuning.decoding.drafts import Draft
from orchestrator.tuning.model.base_model import BaseModel
from orchestrator.tuning.model.decoder import Decoder, KeyValue
from orchestrator.tuning.model.encoder_cache import EncoderCache, batches_by_length
from orchestrator.tuning.model.layout import RaggedLayout

RUN = 16
"""So many batches at most are decoded one after the other, and what is left of them together."""

COMPACT = 1.1
"""Frames padded to rectangles may be so many times as many before their keys and values are computed
without the padding: to pad those costs a copy each."""

ScaledAdapter = tuple[Adapter, float]
"""An adapter and the scale it is evaluated at."""


@dataclass(frozen=True)
class Decoded:
    """Tokens without the end token of every clip, and whether the clip's cap cut it off."""

    tokens: list[list[int]]
    truncated: list[bool]


@torch.no_grad()
def transcribe(
    base: BaseModel,
    store: EncoderCache,
    name: str,
    max_new_tokens: Sequence[int],
    scaled_adapters: Sequence[ScaledAdapter],
    drafts: Sequence[Sequence[Sequence[int]]] = (),
    division: int = 1,
) -> list[Decoded]:
    """Decode every clip of set `name` once per adapter; none means the untuned base model, alone.

    All adapters enter at the lowest encoder layer that any of them adapts. `drafts`: per adapter,
    the tokens that each clip is expected to give. `division`: so many times smaller batches, for
    less memory.
    """
    weights = stack_merged(base.linears, scaled_adapters) if scaled_adapters else {}
    count = max(1, len(scaled_adapters))
    depth = base.first_adapted_layer(tuple(weights))
    lengths = store.lengths(name)
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    decoded = [Decoded([[]] * len(lengths), [False] * len(lengths)) for _ in range(count)]
    store.keep(name, depth)
    # of adapters in the decoder's layers alone the memory is the same: it is computed once
    same_memory = all(module.startswith("decoder.layers.") for module in weights)

    def begin(clips: list[int]) -> RowGroup:
        frames, layout = store(name, torch.tensor(clips, device=base.device), depth)
        if not same_memory:
            frames, layout = frames.expand(count, -1, -1), layout.repeated(count)
        memory = base.family.memory(base.encode(frames, layout, depth), layout)
        if same_memory:
            memory, layout = memory.expand(count, -1, -1), layout.repeated(count)
        cross = _cross_keys(base, memory, layout)
        expected = [draft[clip] for draft in drafts for clip in clips] or [()] * count * len(clips)
        caps = [max_new_tokens[clip] for clip in clips] * count
        rows = [
            Row(cap, Draft(draft[: cap - 1])) for cap, draft in zip(caps, expected, strict=True)
        ]
        return begin_rows(base.decoder, rows, count, cross, layout.mask)

    budget = _frames_a_batch(base.device) / division
    # the longest first: threads that run out of work have less to wait for
    batches = batches_by_length(lengths, budget / count * base.family.stride, order)[::-1]
    runs = _in_runs(batches, base.cores.at_once)
    counter = Counter(f"hearing {name}", len(lengths))
    with bound_merged(base.linears, weights):
        results = base.cores.map_whole(
            lambda run: _decode_batches(base.decoder, begin, run, budget / 2),
            runs,
            lambda run: counter.add(sum(map(len, run))),
        )
    ends = base.decoder.ends
    for clips, rows in zip(batches, chain.from_iterable(results), strict=True):
        for place, row in enumerate(rows):
            own, clip = decoded[place // len(clips)], clips[place % len(clips)]
            own.tokens[clip] = _without_end(row.out, ends)
            own.truncated[clip] = row.out[-1] not in ends
    return decoded


def _cross_keys(base: BaseModel, memory: Tensor, layout: RaggedLayout) -> list[KeyValue]:
    """Of every layer, padded to rows."""
    padded = len(layout.lengths) * layout.longest
    if padded <= COMPACT * layout.slots * layout.places:
        return base.decoder.cross_keys(layout.pad(memory))
    return base.decoder.cross_keys(memory, layout)


def _frames_a_batch(device: torch.device) -> int:
    """Encoder frames decoded together, all adapters counted; a matter of memory and speed only. On
    a CPU what one layer hands to the next should still be in the cache."""
    return 8_000 if device.type == "cpu" else 10_000


def _decode_batches(
    decoder: Decoder, begin: Callable[[list[int]], RowGroup], batches: list[list[int]], most: float
) -> list[list[Row]]:
    """The rows of every batch, decoded to their end.

    Nearly all of a batch is decoded in the first round, in which its drafts are verified. What is left
    waits for that of the next batches, until it has `most` frames: a round of few rows takes hardly
    less time than one of many. A batch whose drafts were wrong is decoded by itself. No group is held
    on to here, for one is most of what decoding takes of the memory.
    """
    heard: list[list[Row]] = []
    waiting: list[RowGroup] = []
    for clips in batches:
        rows, left = _decode_drafts(decoder, begin(clips))
        heard.append(rows)
        waiting += left
        if sum(group.frames for group in waiting) > most:
            _decode_to_end(decoder, waiting)
    if waiting:
        _decode_to_end(decoder, waiting)
    return heard


def _decode_drafts(decoder: Decoder, group: RowGroup) -> tuple[list[Row], list[RowGroup]]:
    """The rows of a batch, and what is left of them after the first round; nothing where it was
    decoded to the end.
    """
    decode_round(decoder, group)
    rows, live = group.rows, len(group.live)
    if 2 * live > len(rows):
        groups = [group]
        del group
        _decode_to_end(decoder, groups)
        return rows, []
    return rows, [join_live_rows([group])] if live else []


def _decode_to_end(decoder: Decoder, groups: list[RowGroup]) -> None:
    """Decode what is live of `groups`, which are taken out of the list."""
    group = groups[0] if len(groups) == 1 else join_live_rows(groups)
    groups.clear()
    while live := group.live:
        if 2 * len(live) <= len(group.rows):
            group = join_live_rows([group])
        decode_round(decoder, group)


def _in_runs(batches: list[list[int]], cores: int) -> list[list[list[int]]]:
    """Batches that are decoded one after the other: at most `RUN`, and as many runs for each core, of
    equal length but for one.
    """
    least = -(-len(batches) // RUN)
    if cores > 1:
        least = cores * -(-max(2 * cores, least) // cores)
    count = min(least, len(batches))
    ends = [len(batches) * run // count for run in range(count + 1)]
    return [batches[first:last] for first, last in pairwise(ends)]


def _without_end(tokens: list[int], ends: frozenset[int]) -> list[int]:
    return tokens[:-1] if tokens[-1] in ends else tokens
