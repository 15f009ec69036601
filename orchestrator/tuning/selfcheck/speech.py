"""Start-up checks of training speech beside its texts, on utterances spread over the training set:
does the untuned model know it, and does it write as the texts are written?"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from orchestrator.checks import Finding, finding
from orchestrator.corpus.faults import show
from orchestrator.tuning.decoding.audio_files import decode_clips
from orchestrator.tuning.model.base_model import BaseModel, padded_labels
from orchestrator.tuning.selfcheck.probe import stock_input
from orchestrator.tuning.training.training_set import TrainingSet

HEARD = 16
"""Utterances."""

HIGH_LOSS = 5.0
"""Nats a token; a model that knows its language and hears its speech stays near 2, a wrong
alignment gives 9.
"""

FEW = 3
"""Utterances in which a kind of character may be on one side alone: a name, a number that is
spelled either way.
"""

_IN_WORDS = "'’-"


def base_loss(base: BaseModel, data: TrainingSet, clips: Sequence[np.ndarray]) -> Iterator[Finding]:
    """The untuned model's loss on training utterances: high on all of them, or on more than a
    quarter.
    """
    rows = spread_domain_rows(data)
    sums = [stock_loss(base, clips[row], data.labels[row]) for row in rows]
    losses = [total / len(data.labels[row]) for row, total in zip(rows, sums, strict=True)]
    mean = sum(sums) / sum(len(data.labels[row]) for row in rows)
    high = [loss for loss in losses if not loss <= HIGH_LOSS]
    if mean <= HIGH_LOSS and len(high) <= len(rows) / 4:
        return
    worst = max(range(len(rows)), key=losses.__getitem__)
    yield finding(
        "base-loss",
        f"the untuned model's loss is {mean:.2f} nats a token on {len(rows)} training utterances, above {HIGH_LOSS:g} "
        f"on {len(high)} of them, and a model that knows its language stays below: do texts, audio and model belong "
        f"together? The highest is {losses[worst]:.2f}{_place_of_row(data, rows[worst])}: "
        f"{show(base.text(data.labels[rows[worst]]))}.",
    )


def check_spelling(
    base: BaseModel, data: TrainingSet, clips: Sequence[np.ndarray], max_tokens_per_second: float
) -> Iterator[Finding]:
    """Capitals, digits or punctuation that the texts have and the model does not write, or the
    other way round.
    """
    rows = spread_domain_rows(data)
    written = [base.text(data.labels[row]) for row in rows]
    heard = [
        base.text(tokens)
        for tokens in decode_clips(base, [clips[row] for row in rows], max_tokens_per_second).tokens
    ]
    if 2 * sum(len(text.split()) for text in heard) < sum(len(text.split()) for text in written):
        return  # it says too little to show how it writes
    for kind, holds in _KINDS.items():
        ours, theirs = [list(map(holds, texts)) for texts in (written, heard)]
        counts = sum(ours), sum(theirs)
        if abs(counts[0] - counts[1]) < FEW or min(counts) > max(counts) / 4:
            continue
        at = next(
            row for row, (mine, its) in enumerate(zip(ours, theirs, strict=True)) if mine != its
        )
        yield finding(
            "spelling",
            f"{counts[0]} of {len(rows)} training texts have {kind}, and {counts[1]} of {len(rows)} transcripts of the "
            f"untuned model: {show(written[at])}{_place_of_row(data, rows[at])} is {show(heard[at])} to it. Adapters "
            "spend "
            "their training on spelling; write the texts as the model writes.",
        )


@torch.no_grad()
def stock_loss(base: BaseModel, clip: np.ndarray, row: list[int]) -> float:
    """The stock model's loss, summed over the tokens of one utterance alone, with its attention
    mask.
    """
    samples, labels = stock_input(base, clip), torch.tensor([row], device=base.device)
    mask = torch.ones_like(samples, dtype=torch.long)
    # without them the stock model shifts by itself, for which some configurations lack a token
    shifted, _ = padded_labels([row], base.decoder.start)
    inputs = dict(
        input_values=samples, attention_mask=mask, decoder_input_ids=shifted.to(base.device)
    )
    loss: float = base.model(**inputs, labels=labels, use_cache=False).loss.item()
    return loss * len(row)


def spread_domain_rows(data: TrainingSet) -> list[int]:
    """Rows of domain utterances, from the first to near the last."""
    count = min(HEARD, data.domain)
    return [row * data.domain // count for row in range(count)]


def _place_of_row(data: TrainingSet, row: int) -> str:
    return f" ({data.places[row]})" if data.places else ""


def _has_punctuation(text: str) -> bool:
    return any(
        unicodedata.category(character)[0] == "P" and character not in _IN_WORDS
        for character in text
    )


_KINDS = {
    "capitals": lambda text: text != text.lower(),
    "digits": lambda text: any(character.isdigit() for character in text),
    "punctuation": _has_punctuation,
}
