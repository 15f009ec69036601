"""Start-up check of the untuned model's loss on training utterances: where it is high, texts, audio
and model do not belong together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from orchestrator.checks import Finding, finding
from orchestrator.corpus.manifest_errors import show
from orchestrator.records.short_run import spread_rows
from orchestrator.tuning.model.base_model import BaseModel, padded_labels
from orchestrator.tuning.selfcheck.probe import stock_input
from orchestrator.tuning.training.training_set import TrainingSet

HEARD = 16
"""The most utterances of which the loss is computed, spread over the training set."""

HIGH_LOSS = 5.0
"""The loss, in nats per token, above which it is high. A model that knows its language and hears
its speech stays near 2, a wrong alignment gives 9.
"""


def base_loss(base: BaseModel, data: TrainingSet, clips: Sequence[np.ndarray]) -> Iterator[Finding]:
    """Yield a finding where the untuned model's loss is high on average, or on more than a quarter
    of the utterances.
    """
    rows = spread_domain_rows(data)
    sums = [stock_loss(base, clips[row], data.labels[row]) for row in rows]
    losses = [total / len(data.labels[row]) for row, total in zip(rows, sums, strict=True)]
    mean = sum(sums) / sum(len(data.labels[row]) for row in rows)
    high = [loss for loss in losses if not loss <= HIGH_LOSS]  # NaN, too
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
    """Return the stock model's loss on one utterance, summed over the tokens of its label row."""
    samples, labels = stock_input(base, clip), torch.tensor([row], device=base.device)
    mask = torch.ones_like(samples, dtype=torch.long)
    # given the inputs, the stock model does not shift the labels itself, for which some
    # configurations lack a token
    shifted, _ = padded_labels([row], base.decoder.start)
    inputs = dict(
        input_values=samples, attention_mask=mask, decoder_input_ids=shifted.to(base.device)
    )
    loss: float = base.model(**inputs, labels=labels, use_cache=False).loss.item()
    return loss * len(row)


def spread_domain_rows(data: TrainingSet) -> list[int]:
    """Return at most HEARD rows of domain utterances, spread from the first to near the last."""
    return spread_rows(data.domain, HEARD)


def place_of_row(data: TrainingSet, row: int) -> str:
    """Return manifest and line of a row in brackets, for a message; empty where not known."""
    return f" ({data.places[row]})" if data.places else ""
