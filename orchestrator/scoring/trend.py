"""The course of a trial's training loss over its rungs: does it fall?

`falls`: more pairs of rungs fall than rise (Kendall's tau below 0). The data prove it where the
one-sided Mann-Kendall test (exact without ties) gives p < 1 - confidence; at 95 % that takes four
rungs.
`falls_monotonically`: the mean loss between two rungs is lower each time. That is a fact about one
training and needs no test.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from orchestrator.scoring.limits import Criterion, Evidence, LimitVerdict

LEAST_RUNGS = 2
"""Fewer rungs than this have no trend."""


def judge_trend(
    criterion: Criterion,
    losses: Sequence[float],
    confidence: float,
    violation_confidence: float | None = None,
) -> LimitVerdict:
    """Judge a limit on the training loss. `losses` has, for each rung, the mean loss in nats per
    token since the rung before. `violation_confidence` is that of calling it violated, by default
    the same.

    The verdict's `value` is Kendall's tau of the losses over time, or for `falls_monotonically` the
    largest rise from one rung to the next, in nats. The limit counts as not measured where there
    are fewer than two rungs or a loss is not finite.
    """
    measured = len(losses) >= LEAST_RUNGS and all(map(math.isfinite, losses))
    value, evidence = None, Evidence.UNDECIDED
    if measured and criterion.kind == "falls_monotonically":
        value = max(after - before for before, after in itertools.pairwise(losses))
        evidence = Evidence.PROVEN if value < 0 else Evidence.VIOLATED
    elif measured:
        violated = confidence if violation_confidence is None else violation_confidence
        value, evidence = _kendall_test(losses, confidence, violated)
    return LimitVerdict(
        criterion=criterion,
        baseline=losses[0] if losses else None,
        tuned=losses[-1] if losses else None,
        delta=None,
        holds=None if value is None else value < 0,
        evidence=evidence,
        lower=-math.inf,
        upper=math.inf,
        utterances_needed=None,
        estimate=None,
        value=value,
    )


def _kendall_test(
    losses: Sequence[float], confidence: float, violation_confidence: float
) -> tuple[float, Evidence]:
    """Return Kendall's tau of the losses over time, and what its two one-sided tests say, each at a
    confidence of its own; tau is 0 where all losses are equal.
    """
    from scipy.stats import kendalltau  # a third of a second to import, for the few sweeps that ask

    if len(set(losses)) == 1:
        return 0.0, Evidence.UNDECIDED
    tests = {
        side: kendalltau(range(len(losses)), losses, alternative=side)
        for side in ("less", "greater")
    }
    tau = float(tests["less"].statistic)
    if tests["less"].pvalue < 1 - confidence:
        return tau, Evidence.PROVEN
    rises = tests["greater"].pvalue < 1 - violation_confidence
    return tau, Evidence.VIOLATED if rises else Evidence.UNDECIDED
