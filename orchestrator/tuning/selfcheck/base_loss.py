"""Start-up check: does the untuned model know the training speech? Its loss on utterances spread
over the training set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from orchestrator.checks import Finding, finding
from orchestrator.corpus.manifest_errors import show
from orchestrator.tuning.model.base_model import BaseModel, padded_labels
from orchestrator.tuning.selfcheck.probe import stock_input
from orchestrator.tuning.training.training_set import TrainingSet

HEARD = 16
"""Utterances."""

HIGH_LOSS = 5.0
"""Nats a token; a model that knows its language and hears its speech stays near 2, a wrong
alignment gives 9.
"""


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
        f"together? The highest is {losses[worst]:.2f}{place_of_row(data, rows[worst])}: "
        f"{show(base.text(data.labels[rows[worst]]))}.",
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


def place_of_row(data: TrainingSet, row: int) -> str:
    """Where the row stands in its manifest, in brackets; empty where that is not known."""
    return f" ({data.places[row]})" if data.places else ""
