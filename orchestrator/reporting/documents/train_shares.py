"""The section of the report on whether more recordings would help: the results of trials by the
share of the training set that they were trained on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from orchestrator.records.results import TrialResult
from orchestrator.reporting.rendering.report_blocks import Block, Heading, Paragraph, Table
from orchestrator.reporting.wording import beside_answer
from orchestrator.scoring.limit_text import rate_text
from orchestrator.sweepfile.parameters import TABLE
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.conclusion import Conclusion
from orchestrator.verdicts.judging import guardrails_of

_SHARE = "train_share"
FLAT = 0.1
"""Points of the objective; a smaller gain from the second largest share to the largest counts as
none.
"""


def blocks(spec: SweepSpec, conclusion: Conclusion) -> Iterator[Block]:
    """Yield a table of the best trial of each share; nothing where the share was not searched."""
    best = best_by_share(spec, conclusion)
    if len(best) < 2:
        return
    rate = spec.objective
    yield Heading("How much data?")
    yield Paragraph(_share_answer(spec, best))
    rows = (
        (
            f"{100 * share:.3g} %",
            str(trial.number),
            *beside_answer(guardrails_of(spec), rate, trial.wer[rate], trial.delta.get(rate)),
            "yes" if trial.feasible else "no",
        )
        for share, trial in best.items()
    )
    yield Table(
        ("share of data.train", "best trial", f"{rate_text(rate)} %", "change", "keeps the limits"),
        tuple(rows),
    )


def best_by_share(spec: SweepSpec, conclusion: Conclusion) -> dict[float, TrialResult]:
    """Map each share, in ascending order, to the best feasible trial that was trained on it, or to
    the best one where none is feasible; empty where the share was not searched, or in a range
    without steps, where each share has one trial and the other parameters decide which is best.
    """
    best: dict[float, TrialResult] = {}
    if not any(each.name == _SHARE and each.size for each in spec.parameters.searched):
        return best
    rate = spec.objective
    for result in conclusion.results:
        # a condition may leave it inactive
        share: Any = result.params.get(_SHARE, TABLE[_SHARE].default)
        if rate in result.wer and result.duplicate_of is None:
            held = best.get(share)
            if held is None or (not result.feasible, result.wer[rate]) < (
                not held.feasible,
                held.wer[rate],
            ):
                best[share] = result
    return dict(sorted(best.items()))


def _share_answer(spec: SweepSpec, best: dict[float, TrialResult]) -> str:
    """Say what the largest share gained over the second largest. Only shares with a feasible trial
    count, because an infeasible one says nothing about the amount of speech.
    """
    unfit = [f"{100 * share:.3g} %" for share, trial in best.items() if not trial.feasible]
    kept = {share: trial for share, trial in best.items() if trial.feasible}
    if len(kept) < 2:
        return (
            f"No trial on {' or '.join(unfit)} of the training utterances keeps the limits, so that there are no two "
            "shares to compare."
        )
    (smaller, before), (share, after) = list(kept.items())[-2:]
    gained = before.wer[spec.objective] - after.wer[spec.objective]
    name = rate_text(spec.objective)
    text = (
        f"From {100 * smaller:.3g} % to {100 * share:.3g} % of the training utterances the best {name} changed by "
        f"{-gained:+z.2f} points."
    )
    if gained > FLAT:
        return f"{text} It still falls: more recordings are likely to help."
    return f"{text} It no longer falls: more of the same recordings are unlikely to help."
