"""Greedy decoding of K adapters together: exactly the words of stock greedy `generate` on each
alone.

Cross-attention keys and values are computed once, self-attention lives in a static cache, finished
rows are dropped, and each row is truncated by its own audio. A draft, what the same trial or the
untuned model said before, is verified in one teacher-forced pass; after the first token that
differs, the draft's tail is proposed again from where it lines up. Every token that is kept is the
argmax given the tokens before it, so a draft changes the time and never the words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, islice

import torch
from torch import Tensor

from orchestrator.progress import Counter
from orchestrator.tuning.adapters.pack import Adapter, stack_merged
from orchestrator.tuning.adapters.packed_linear import bound_merged
from orchestrator.tuning.decoding.drafts import LOOKAHEAD, Draft
from orchestrator.tuning.model.base_model import BaseModel
from orchestrator.tuning.model.decoder import Decoder, KeyValue, SelfCache
from orchestrator.tuning.model.encoder_cache import EncoderCache, batches_by_length
from orchestrator.tuning.model.layout import RaggedLayout

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

    def decode_together(clips: list[int]) -> list[tuple[list[int], bool]]:
        frames, layout = store(name, torch.tensor(clips, device=base.device), depth)
        layout = layout.repeated(count)
        encoded = base.encode(frames.expand(count, -1, -1), layout, depth)
        cross = base.decoder.cross_keys(base.family.memory(encoded, layout), layout)
        row_drafts = [draft[clip] for draft in drafts for clip in clips]
        return _decode_greedily(
            base,
            cross,
            layout.mask,
            [max_new_tokens[clip] for clip in clips] * count,
            count,
            row_drafts,
        )

    # the longest first: threads that run out of work have less to wait for
    batches = batches_by_length(
        lengths, _frames_a_batch(base.device) / division / count * base.family.stride, order
    )[::-1]
    counter = Counter(f"hearing {name}", len(lengths))
    with bound_merged(base.linears, weights):
        results = base.cores.map(decode_together, batches, lambda clips: counter.add(len(clips)))
    for clips, rows in zip(batches, results, strict=True):
        for row, (tokens, truncated) in enumerate(rows):
            own, clip = decoded[row // len(clips)], clips[row % len(clips)]
            own.tokens[clip], own.truncated[clip] = tokens, truncated
    return decoded


def _frames_a_batch(device: torch.device) -> int:
    """Encoder frames decoded together, all adapters counted; a matter of memory and speed only. On
    a CPU what one layer hands to the next should still be in the cache."""
    return 8_000 if device.type == "cpu" else 10_000


def _decode_greedily(
    base: BaseModel,
    cross: list[KeyValue],
    mask: Tensor,
    max_new_tokens: list[int],
    scaled_adapters: int,
    drafts: Sequence[Sequence[int]],
) -> list[tuple[list[int], bool]]:
    """Greedy tokens and cap flags of all rows, adapter after adapter; `cross` and `mask` hold the
    same rows.
    """
    decoder, device = base.decoder, base.device
    drafts = drafts or [()] * len(max_new_tokens)
    expected = [Draft(draft[: cap - 1]) for draft, cap in zip(drafts, max_new_tokens, strict=True)]
    out: list[list[int]] = [[] for _ in max_new_tokens]
    done = [False] * len(max_new_tokens)
    here = list(range(len(max_new_tokens)))
    cache = decoder.empty_cache(len(max_new_tokens), max(max_new_tokens) + LOOKAHEAD + 1)
    while not all(done):
        if 2 * sum(not done[row] for row in here) <= len(here):
            here, index = _drop_finished_rows(here, done, scaled_adapters, device)
            cache, mask = cache.rows(index), mask[index]
            cross = [(keys[index], values[index]) for keys, values in cross]
        # speculative decoding (Leviathan et al. 2023), greedy: the last token and what the draft
        # says comes next go through the decoder in one pass
        fed = [
            [
                out[row][-1] if out[row] else decoder.start,
                *(() if done[row] else expected[row].propose(out[row])),
            ]
            for row in here
        ]
        start = [0 if done[row] else len(out[row]) for row in here]
        live = [at for at, row in enumerate(here) if not done[row]]
        said = _next_tokens(decoder, cross, mask, cache, fed, start, live, scaled_adapters)
        for at, argmax in zip(live, said, strict=True):
            row = here[at]
            done[row] = _accept_tokens(
                out[row], fed[at][1:], argmax, max_new_tokens[row], decoder.ends
            )
            expected[row].judge(argmax)
    return [(_without_end(tokens, decoder.ends), tokens[-1] not in decoder.ends) for tokens in out]


def _next_tokens(
    decoder: Decoder,
    cross: list[KeyValue],
    mask: Tensor,
    cache: SelfCache,
    fed: list[list[int]],
    start: list[int],
    live: list[int],
    scaled_adapters: int,
) -> list[list[int]]:
    """The token that the model says after each one that is fed, of each row in `live`.

    `fed` holds the tokens of all rows, `start` the place of the first of them in its sequence. On a
    CPU rows stand end to end, and the head, half of a small model's work, sees the tokens of `live`
    alone.
    """
    lengths, device = list(map(len, fed)), mask.device
    width = max(lengths)
    # (rows, width), filled up with end tokens that nothing reads
    tokens = torch.tensor(
        [[*row, *[decoder.eos] * (width - len(row))] for row in fed], device=device
    )
    text, first = None, list(range(0, len(fed) * width, width))
    if min(lengths) < width and _stand_end_to_end(device):
        text = RaggedLayout(torch.tensor(lengths), scaled_adapters, known=lengths)
        first = _first_places(lengths, scaled_adapters)
    states = decoder(tokens, cross, mask, cache, torch.tensor(start, device=device), text)
    later = [first[at] + step for at in live for step in range(1, lengths[at])]
    index = torch.tensor([first[at] for at in live] + later, device=device)
    argmax = decoder.head(states.flatten(0, 1)[index]).argmax(-1).tolist()
    rest = iter(argmax[len(live) :])
    return [
        [token, *islice(rest, lengths[at] - 1)]
        for at, token in zip(live, argmax[: len(live)], strict=True)
    ]


def _stand_end_to_end(device: torch.device) -> bool:
    """A GPU computes padding in less time than it takes to begin what would spare it."""
    return device.type == "cpu"


def _first_places(lengths: Sequence[int], slots: int) -> list[int]:
    """Where each row begins in (slots * F), the rows of a slot end to end, F the most of any."""
    count = len(lengths) // slots
    of_slots = [lengths[slot * count : (slot + 1) * count] for slot in range(slots)]
    most = max(map(sum, of_slots))
    return [
        slot * most + before
        for slot, own in enumerate(of_slots)
        for before in accumulate(own[:-1], initial=0)
    ]


def _accept_tokens(
    out: list[int],
    draft_tokens: list[int],
    argmax_tokens: list[int],
    cap: int,
    ends: frozenset[int],
) -> bool:
    """Append to `out` the argmax tokens that hold: the first, and each next one while the draft
    before it was right.
    """
    for index, token in enumerate(argmax_tokens):
        if index and draft_tokens[index - 1] != argmax_tokens[index - 1]:
            break
        out.append(token)
        if token in ends or len(out) == cap:
            return True
    return False


def _drop_finished_rows(
    here: list[int], done: list[bool], scaled_adapters: int, device: torch.device
) -> tuple[list[int], Tensor]:
    """Drop finished rows; every adapter keeps equally many, so one with fewer live rows carries
    finished ones along.
    """
    rows = len(here) // scaled_adapters
    ranked = [
        sorted(range(v * rows, (v + 1) * rows), key=lambda at: done[here[at]])
        for v in range(scaled_adapters)
    ]
    most = max(sum(not done[here[at]] for at in own) for own in ranked)
    kept = [at for own in ranked for at in own[:most]]
    return [here[at] for at in kept], torch.tensor(kept, device=device)


def _without_end(tokens: list[int], ends: frozenset[int]) -> list[int]:
    return tokens[:-1] if tokens[-1] in ends else tokens
