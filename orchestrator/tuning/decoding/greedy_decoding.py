"""Greedy decoding of K adapters together, which gives exactly the words of stock greedy `generate`
on each alone.

Cross-attention keys and values are computed once, self-attention uses a static cache, finished rows
are dropped, and each row has a token cap by the length of its own audio. A draft, what the same
trial or the untuned model said before, is verified in one teacher-forced pass; after the first
token that differs, the rest of the draft is aligned and proposed again. Every token that is kept is
the argmax given the tokens before it, so a draft changes the time and never the words. In bfloat16
two logits may be as good as equal, and then rounding, which depends on the batch, may decide
between them.
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
"""The most batches of a run: they begin one after the other, and the rows that are left of each
after its first round are decoded together.
"""

COMPACT = 1.1
"""Cross-attention keys and values are computed on padded frames as long as these are at most so
many times the frames laid end to end. Beyond it they are computed without the padding and padded
after, which costs a copy of each.
"""

ScaledAdapter = tuple[Adapter, float]
"""An adapter and the adapter scale that it is evaluated at."""


@dataclass(frozen=True)
class Decoded:
    """What one adapter hears in every clip of a set."""

    tokens: list[list[int]]
    """The tokens of each clip, without the end token."""
    truncated: list[bool]
    """Whether a clip's token cap cut its text off."""


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
    """Decode every clip of set `name` with each adapter, in order; with none, by the untuned model.

    All adapters enter the encoder at the lowest layer that any of them adapts. `max_new_tokens` is
    the token cap of each clip, its end token included. `drafts` holds for each adapter the tokens
    that each clip is expected to give. `division` makes batches so many times smaller, for less
    memory.
    """
    weights = stack_merged(base.linears, scaled_adapters) if scaled_adapters else {}
    count = max(1, len(scaled_adapters))
    depth = base.first_adapted_layer(tuple(weights))
    lengths = store.lengths(name)
    decoded = [Decoded([[]] * len(lengths), [False] * len(lengths)) for _ in range(count)]
    store.keep(name, depth)
    # adapters of decoder layers alone have the same encoder output and memory: computed once
    same_memory = all(module.startswith("decoder.layers.") for module in weights)

    def begin(clips: list[int]) -> RowGroup:
        """Encode a batch of clips and make its rows, those of one adapter after another."""
        # (1, F, width), expanded to the K adapters (K, F, width) as soon as they differ
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
    # the longest clips first: a thread without further work then waits for shorter ones
    batches = _batches(base, lengths, budget / count)[::-1]
    runs = _in_runs(batches, base.cores.at_once)
    counter = Counter(f"hearing {store.said_name(name)}", len(lengths))
    with bound_merged(base.linears, weights):
        results = base.cores.map_whole(
            lambda run: _decode_batches(base.decoder, begin, run, budget),
            runs,
            lambda run: counter.add(sum(map(len, run))),
        )
    ends = base.decoder.ends
    for clips, rows in zip(batches, chain.from_iterable(results), strict=True):
        for place, row in enumerate(rows):  # adapter after adapter, clip after clip
            own, clip = decoded[place // len(clips)], clips[place % len(clips)]
            own.tokens[clip] = _without_end(row.out, ends)
            own.truncated[clip] = row.out[-1] not in ends
    return decoded


def are_decoded_together(base: BaseModel, lengths: Sequence[int], adapters: int) -> bool:
    """Return whether clips of these lengths in samples make one batch, by so many adapters."""
    return len(_batches(base, lengths, _frames_a_batch(base.device) / adapters)) == 1


def _batches(base: BaseModel, lengths: Sequence[int], frames: float) -> list[list[int]]:
    """Return batches of clips of similar lengths, each of at most so many encoder frames or of one
    clip, the shortest clips first.
    """
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    return batches_by_length(lengths, frames * base.family.stride, order)


def _cross_keys(base: BaseModel, memory: Tensor, layout: RaggedLayout) -> list[KeyValue]:
    """Return the cross-attention keys and values of every layer, padded to rows, from a memory
    (slots, F, width).
    """
    padded = len(layout.lengths) * layout.longest
    if padded <= COMPACT * layout.slots * layout.places:
        return base.decoder.cross_keys(layout.pad(memory))
    return base.decoder.cross_keys(memory, layout)


def _frames_a_batch(device: torch.device) -> int:
    """Return how many encoder frames, of all adapters, are decoded together. It is a matter of
    memory and speed only: on a CPU a layer's output should still be in the cache when the next
    reads it.
    """
    return 8_000 if device.type == "cpu" else 10_000


def _decode_batches(
    decoder: Decoder, begin: Callable[[list[int]], RowGroup], batches: list[list[int]], most: float
) -> list[list[Row]]:
    """Decode the batches of a run to their end, and return the rows of each.

    The first round of a batch verifies its drafts, after which nearly all of its rows may be done.
    The others wait for those of the next batches, until they have more than `most` frames together,
    because a round of few rows takes hardly less time than one of many.

    No variable here keeps a group alive: one group is most of the memory that decoding takes.
    """
    rows_of_batches: list[list[Row]] = []
    waiting: list[RowGroup] = []
    for clips in batches:
        rows_of_batches.append(_decode_drafts(decoder, begin(clips), waiting))
        if sum(group.frames for group in waiting) > most:
            _decode_to_end(decoder, waiting)
    if waiting:
        _decode_to_end(decoder, waiting)
    return rows_of_batches


def _decode_drafts(decoder: Decoder, group: RowGroup, waiting: list[RowGroup]) -> list[Row]:
    """Make the first round of a batch and return its rows. Those that are not done are added to
    `waiting`, as a group.
    """
    decode_round(decoder, group)
    if group.live:
        waiting.append(_without_done(group))
    return group.rows


def _decode_to_end(decoder: Decoder, groups: list[RowGroup]) -> None:
    """Decode the live rows of `groups` to their end. The list is emptied, to free the groups."""
    group = groups[0] if len(groups) == 1 else join_live_rows(groups)
    groups.clear()
    while group.live:
        group = _without_done(group)
        decode_round(decoder, group)


def _without_done(group: RowGroup) -> RowGroup:
    """Return the group without rows that are done, where that halves it, since it is a copy; else
    the group itself.
    """
    return join_live_rows([group]) if 2 * len(group.live) <= len(group.rows) else group


def _in_runs(batches: list[list[int]], cores: int) -> list[list[list[int]]]:
    """Divide the batches into runs of at most `RUN`, whose lengths differ by one at most. With
    several cores each has equally many runs, and at least two, where there are as many batches.
    """
    least = -(-len(batches) // RUN)
    if cores > 1:
        least = cores * -(-max(2 * cores, least) // cores)
    count = min(least, len(batches))
    ends = [len(batches) * run // count for run in range(count + 1)]
    return [batches[first:last] for first, last in pairwise(ends)]


def _without_end(tokens: list[int], ends: frozenset[int]) -> list[int]:
    return tokens[:-1] if tokens[-1] in ends else tokens
