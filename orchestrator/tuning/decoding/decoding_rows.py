"""The state of greedy decoding: the tokens that each adapter has given for each clip so far, and
what the decoder needs to continue. One round sends all rows of a group through the decoder once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby, islice
from operator import itemgetter

import torch
from torch import Tensor

from orchestrator.tuning.decoding.drafts import LOOKAHEAD, Draft
from orchestrator.tuning.model.decoder import Decoder, KeyValue, SelfCache
from orchestrator.tuning.model.layout import RaggedLayout


@dataclass
class Row:
    """The decoding of one clip by one adapter."""

    cap: int
    """The most tokens that it may give, the end token included."""
    draft: Draft
    """The tokens that are expected, which the decoder verifies."""
    out: list[int] = field(default_factory=list)
    """The tokens so far, the end token included."""
    done: bool = False
    """Whether it has given an end token or reached its cap."""


@dataclass(frozen=True)
class RowGroup:
    """Rows that are decoded together: those of one adapter after those of another, and equally many
    of each, as `PackedLinear` needs them. An adapter with fewer live rows is padded with finished
    ones.
    """

    rows: list[Row]
    adapters: int
    """The number of adapters."""
    cross: list[KeyValue]
    """The cross-attention keys and values of every layer, over frames padded to T."""
    mask: Tensor
    """(rows, 1, 1, T) boolean: true at the frames that exist."""
    cache: SelfCache

    @property
    def live(self) -> list[int]:
        """The indices of the rows that are not done."""
        return [at for at, row in enumerate(self.rows) if not row.done]

    @property
    def frames(self) -> int:
        """The number of encoder frames of all rows, padding included."""
        return len(self.rows) * self.mask.shape[-1]


def begin_rows(
    decoder: Decoder, rows: list[Row], adapters: int, cross: list[KeyValue], mask: Tensor
) -> RowGroup:
    """Return a group of rows that have no token yet, with an empty cache."""
    # a row just below its cap is still fed a whole proposal
    cache = decoder.empty_cache(len(rows), max(row.cap for row in rows) + LOOKAHEAD + 1)
    return RowGroup(rows, adapters, cross, mask, cache)


def join_live_rows(groups: Sequence[RowGroup]) -> RowGroup:
    """Return one group of the live rows of several groups with the same adapters. Its tensors are
    copies. At least one row must be live.
    """
    adapters = groups[0].adapters
    # for each adapter its live rows, each with its group and its place there
    of_adapter: list[list[tuple[int, int]]] = [[] for _ in range(adapters)]
    for number, group in enumerate(groups):
        for at in group.live:
            of_adapter[at * adapters // len(group.rows)].append((number, at))
    most = max(map(len, of_adapter))
    # nothing reads what the tensors of a padding row hold, so they may be those of any other row
    anywhere = next(place for own in of_adapter for place in own)
    rows: list[Row] = []
    places: list[tuple[int, int]] = []
    for own in of_adapter:
        missing = most - len(own)
        rows += [groups[number].rows[at] for number, at in own]
        rows += [Row(0, Draft(()), done=True) for _ in range(missing)]
        places += own + [own[-1] if own else anywhere] * missing
    runs = _runs_of_one_group(places, groups[0].mask.device)

    def join_layers(layers: Sequence[Sequence[KeyValue]]) -> list[KeyValue]:
        return [
            (
                _join_rows([keys for keys, _ in layer], runs, 2),
                _join_rows([values for _, values in layer], runs, 2),
            )
            for layer in zip(*layers, strict=True)
        ]

    return RowGroup(
        rows,
        adapters,
        join_layers([group.cross for group in groups]),
        _join_rows([group.mask for group in groups], runs, 3),
        SelfCache(join_layers([group.cache.layers for group in groups])),
    )


def _runs_of_one_group(
    places: Sequence[tuple[int, int]], device: torch.device
) -> list[tuple[int, Tensor]]:
    """Return the places (group, row) as runs of one group: its number and its rows, int64."""
    return [
        (number, torch.tensor([at for _, at in own], device=device))
        for number, own in groupby(places, key=itemgetter(0))
    ]


def _join_rows(tensors: Sequence[Tensor], runs: Sequence[tuple[int, Tensor]], axis: int) -> Tensor:
    """Return the rows that `runs` name, of one tensor of each group, as one tensor. `axis` is as
    long as in the longest of these tensors, and what a shorter one lacks is zero.

    Every row is copied once, straight to its place.
    """
    used = [tensors[number] for number, _ in runs]
    shape = [sum(len(rows) for _, rows in runs), *used[0].shape[1:]]
    shape[axis] = max(tensor.shape[axis] for tensor in used)
    joined, begin = used[0].new_empty(shape), 0
    for tensor, (_, rows) in zip(used, runs, strict=True):
        own, length = joined[begin : begin + len(rows)], tensor.shape[axis]
        torch.index_select(tensor, 0, rows, out=own.narrow(axis, 0, length))
        own.narrow(axis, length, shape[axis] - length).zero_()
        begin += len(rows)
    return joined


def decode_round(decoder: Decoder, group: RowGroup) -> None:
    """Send the last token of every live row, and the tokens that its draft proposes next, through
    the decoder in one pass, and keep those that the model itself gives: greedy speculative decoding
    (Leviathan et al. 2023).
    """
    rows, live = group.rows, group.live
    fed = [
        [
            row.out[-1] if row.out else decoder.start,
            *(() if row.done else row.draft.propose(row.out)),
        ]
        for row in rows
    ]
    for at, said in zip(live, _next_tokens(decoder, group, fed, live), strict=True):
        row = rows[at]
        row.done = accept_tokens(row.out, fed[at][1:], said, row.cap, decoder.ends)
        row.draft.judge(said)


def _next_tokens(
    decoder: Decoder, group: RowGroup, fed: list[list[int]], live: list[int]
) -> list[list[int]]:
    """Return the token that the model gives after each token that is fed, for each row in `live`.

    `fed` holds the tokens of all rows. On a CPU they stand end to end without padding. The output
    head, which is half of a small model's work, sees the tokens of `live` alone.
    """
    # the decoder's start token is at position 0, so the last of n tokens is fed at position n
    start = [0 if row.done else len(row.out) for row in group.rows]
    lengths, device = list(map(len, fed)), group.mask.device
    width = max(lengths)
    # (rows, width), filled up with end tokens that nothing reads
    tokens = torch.tensor(
        [[*row, *[decoder.eos] * (width - len(row))] for row in fed], device=device
    )
    # where each row begins among the places of all rows, (rows * width) or (slots * F)
    text, first = None, list(range(0, len(fed) * width, width))
    if min(lengths) < width and _stand_end_to_end(device):
        text = RaggedLayout(torch.tensor(lengths), group.adapters, known=lengths)
        first = _first_places(lengths, group.adapters)
    places = torch.tensor(start, device=device)
    states = decoder(tokens, group.cross, group.mask, group.cache, places, text)
    # the first token of every row, then the others: `selfcheck.trial` relies on this order
    later = [first[at] + step for at in live for step in range(1, lengths[at])]
    index = torch.tensor([first[at] for at in live] + later, device=device)
    argmax = decoder.head(states.flatten(0, 1)[index]).argmax(-1).tolist()
    rest = iter(argmax[len(live) :])
    return [
        [token, *islice(rest, lengths[at] - 1)]
        for at, token in zip(live, argmax[: len(live)], strict=True)
    ]


def _stand_end_to_end(device: torch.device) -> bool:
    """Return whether rows are laid end to end: on a GPU, computing the padding takes less time than
    starting the kernels that would avoid it.
    """
    return device.type == "cpu"


def _first_places(lengths: Sequence[int], slots: int) -> list[int]:
    """Return where each row begins in (slots * F), where the rows of a slot stand end to end and F
    is the most tokens of any slot.
    """
    count = len(lengths) // slots
    of_slots = [lengths[slot * count : (slot + 1) * count] for slot in range(slots)]
    most = max(map(sum, of_slots))
    return [
        slot * most + before
        for slot, own in enumerate(of_slots)
        for before in accumulate(own[:-1], initial=0)
    ]


def accept_tokens(
    out: list[int],
    draft_tokens: list[int],
    argmax_tokens: list[int],
    cap: int,
    ends: frozenset[int],
) -> bool:
    """Append to `out` the tokens that the model gives: the first, and each further one as long as
    all draft tokens before it were right. Return whether the row is done.
    """
    for index, token in enumerate(argmax_tokens):
        if index and draft_tokens[index - 1] != argmax_tokens[index - 1]:
            break
        out.append(token)
        if token in ends or len(out) == cap:
            return True
    return False
