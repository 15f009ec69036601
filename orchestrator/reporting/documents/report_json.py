"""The report of a study as JSON, for programs."""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

from orchestrator.reporting.wording import all_rates, limits_of, shown_result
from orchestrator.scoring.judge import Verdict
from orchestrator.scoring.limit_text import shown_bounds, shown_change, shown_rate
from orchestrator.scoring.limits import LimitVerdict
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.conclusion import Conclusion


def render(spec: SweepSpec, conclusion: Conclusion, done: bool, other_limits: bool) -> str:
    """Return the report as one JSON object: WER in percent, deltas in WER points, infinite bounds
    as null. `other_limits`: the acceptance criteria of `spec` are not the study's own.
    """
    best = conclusion.best
    value = {
        "sweep": spec.name,
        "finished": done,
        "decision": conclusion.shown_decision(done),
        "other_limits": other_limits,
        "best_trial": best.number if best else None,
        "search": _verdict_fields(conclusion.verdict),
        "confirmation": [
            {
                "trial": finalist.trial,
                "optimism": finalist.optimism,
                "pooled": _verdict_fields(finalist.verdict),
                "seeds": [
                    {
                        "seed": seed.run.seed,
                        "run": seed.run.number,
                        "reproduces": seed.reproduces,
                        "verdict": _verdict_fields(seed.verdict),
                    }
                    for seed in finalist.seeds
                ],
            }
            for finalist in conclusion.confirmed
        ],
        "baseline": all_rates(conclusion.baseline) if conclusion.baseline else {},
        "trials": [shown_result(result) for result in conclusion.results],
    }
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _verdict_fields(verdict: Verdict | None) -> dict[str, Any] | None:
    if verdict is None:
        return None
    return {
        "decision": verdict.decision,
        "feasible": verdict.feasible,
        "step": verdict.step,
        "adapter_scale": verdict.adapter_scale,
        "wer": {rate: shown_rate(rate, value) for rate, value in verdict.rates.items()},
        "delta": {rate: shown_change(rate, value) for rate, value in verdict.delta.items()},
        "limits": [_limit_fields(limit) for limit in limits_of(verdict)],
    }


def _limit_fields(limit: LimitVerdict) -> dict[str, Any]:
    metric = limit.criterion.metric
    lower, upper = shown_bounds(metric, limit.lower, limit.upper)
    return {
        "metric": metric,
        "kind": limit.criterion.kind,
        "limit": limit.criterion.limit,
        "unit": limit.criterion.unit,
        "value": None if limit.value is None else shown_change(metric, limit.value),
        "delta": None if limit.delta is None else shown_change(metric, limit.delta),
        "holds": limit.holds,
        "evidence": limit.evidence,
        "lower": lower if isfinite(lower) else None,
        "upper": upper if isfinite(upper) else None,
        "utterances_needed": limit.utterances_needed,
    }
