"""Start-up check of spelling: whether the untuned model's transcripts of training utterances have
capitals, digits and punctuation as the training texts have.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np

from orchestrator.checks import Finding, finding
from orchestrator.corpus.manifest_errors import show
from orchestrator.tuning.decoding.audio_files import decode_clips
from orchestrator.tuning.model.base_model import BaseModel
from orchestrator.tuning.selfcheck.base_loss import place_of_row, spread_domain_rows
from orchestrator.tuning.training.training_set import TrainingSet

FEW = 3
"""From this many utterances on, a difference in a kind of character counts; fewer may be names, or
numbers that are spelled either way.
"""

_IN_WORDS = "'’-"


def check_spelling(
    base: BaseModel, data: TrainingSet, clips: Sequence[np.ndarray], max_tokens_per_second: float
) -> Iterator[Finding]:
    """Yield a finding for each of capitals, digits and punctuation that the texts have and the
    model does not write, or the other way round.
    """
    rows = spread_domain_rows(data)
    written = [base.text(data.labels[row]) for row in rows]
    hypotheses = [
        base.text(tokens)
        for tokens in decode_clips(base, [clips[row] for row in rows], max_tokens_per_second).tokens
    ]
    if 2 * sum(len(text.split()) for text in hypotheses) < sum(
        len(text.split()) for text in written
    ):
        return  # the model transcribes too few words to show how it writes
    for kind, holds in _KINDS.items():
        ours, theirs = [list(map(holds, texts)) for texts in (written, hypotheses)]
        counts = sum(ours), sum(theirs)
        if abs(counts[0] - counts[1]) < FEW or min(counts) > max(counts) / 4:
            continue
        at = next(
            row for row, (mine, its) in enumerate(zip(ours, theirs, strict=True)) if mine != its
        )
        yield finding(
            "spelling",
            f"{counts[0]} of {len(rows)} training texts have {kind}, and {counts[1]} of {len(rows)} transcripts of the "
            f"untuned model: {show(written[at])}{place_of_row(data, rows[at])} is {show(hypotheses[at])} to it. "
            "Adapters spend their training on spelling; write the texts as the model writes.",
        )


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
