"""One trial while it holds a slot, and how it ended: values and pure decisions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.results import TrialResult, TrialState
from orchestrator.scoring.judge import Verdict
from orchestrator.scoring.limit_text import allowed_text, rate_text, value_text
from orchestrator.scoring.limits import UNMEASURED, Rule, constraint
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.judging import best_verdict, guardrails_of

WALL_CLOCK = "wall_clock"
"""The rule under which a result records that the budget's time was spent
(`TrialResult.pruned_by`).
"""


@dataclass
class RunningTrial:
    """A trial in a slot and what has been measured of it so far."""

    plan: TrialPlan
    params: dict[str, Any]
    """The searched values, as the study holds them."""
    started: float
    """Clock reading at its admission, moved back by the time it held a slot in earlier runs."""
    on_file: TrialResult | None = None
    """Its result, if an earlier run had come further than this one has. The trial then trains once
    more only so that the trials beside it go through the same as before.
    """
    step: int = 0
    """Optimizer step of the last event."""
    last_rung: int = 0
    """Step of the last measurement, 0 before the first."""
    verdicts: list[Verdict] = field(default_factory=list)
    """One verdict for each measurement so far."""

    @property
    def number(self) -> int:
        """The trial's number."""
        return self.plan.number

    @property
    def best(self) -> Verdict | None:
        """The best feasible measurement so far, or else the one that breaks its guardrails least;
        None before the first.
        """
        return best_verdict(self.verdicts)


@dataclass(frozen=True)
class Stop:
    """Why a trial trains no further."""

    state: TrialState
    reason: str
    rule: str | None = None
    """What `TrialResult.pruned_by` will say; None unless a rule ended the trial early."""


def why_stop(
    spec: SweepSpec, rung: list[Verdict], baseline_rate: float, behind: bool
) -> Stop | None:
    """Return the first rule that ends a trial at a rung before its last; None where it goes on.
    `rung` holds one verdict per adapter scale, `behind` the answer of the median or asha rule.

    Guardrails end the trial only if every adapter scale breaks one under its rule: what a smaller
    scale cures is no reason to stop. The reason names the first one broken at the first scale.
    """
    broken = rung[0].violated if all(verdict.violated for verdict in rung) else ()
    if broken:
        rule = next(
            limit.criterion.rule
            for limit in rung[0].guardrails
            if limit.criterion.metric == broken[0]
        )
        return Stop(
            TrialState.PRUNED,
            _broken_limits(rung, broken[0], rule),
            f"guardrail:{broken[0]}:{rule}",
        )
    step = rung[0].step
    if spec.early_stop.method == "ratio":
        lowest = min(verdict.wer[spec.objective] for verdict in rung)
        limit = spec.early_stop.ratio * baseline_rate
        if lowest > limit:
            ratio = f"{spec.early_stop.ratio:g} times the baseline"
            reason = f"{rate_text(spec.objective)} {lowest:.2f} % at step {step} is above {ratio}"
            return Stop(TrialState.PRUNED, f"{reason} ({limit:.2f} %)", "ratio")
    if behind:
        reason = f"behind the other trials at step {step} ({spec.early_stop.method} rule)"
        return Stop(TrialState.PRUNED, reason, spec.early_stop.method)
    return None


def at_last_step(trial: RunningTrial) -> Stop:
    """Return the end of a trial that trained to its last step: complete when feasible, else pruned
    by the guardrail that it breaks most.
    """
    chosen = trial.best
    assert chosen is not None
    if chosen.feasible:
        return Stop(
            TrialState.COMPLETE,
            f"best at step {chosen.step}, adapter scale {chosen.adapter_scale:g}",
        )
    metric = max(chosen.constraints, key=lambda name: chosen.constraints[name])
    return Stop(
        TrialState.PRUNED,
        _broken_limits(trial.verdicts, metric, "point"),
        f"guardrail:{metric}:point",
    )


def result_of(spec: SweepSpec, trial: RunningTrial, stop: Stop, seconds: float) -> TrialResult:
    """Return the trial's result, from its best measurement; a trial that failed keeps no
    numbers.
    """
    chosen = None if stop.state is TrialState.FAIL else trial.best
    unmeasured = {criterion.metric: UNMEASURED for criterion in guardrails_of(spec)}
    return TrialResult(
        number=trial.number,
        state=stop.state,
        reason=stop.reason,
        params=trial.params,
        feasible=chosen is not None and chosen.feasible,
        step=chosen.step if chosen else None,
        adapter_scale=chosen.adapter_scale if chosen else None,
        wer=chosen.wer if chosen else {},
        delta=chosen.delta if chosen else {},
        constraints=chosen.constraints if chosen else unmeasured,
        steps_trained=trial.step,
        pruned_by=stop.rule,
        seconds=round(seconds, 3),
    )


def _broken_limits(verdicts: list[Verdict], metric: str, rule: Rule) -> str:
    """Say by how much the guardrail on `metric` is broken in the best of the verdicts."""
    chosen = best_verdict(verdicts)
    assert chosen is not None
    limits = [limit for limit in chosen.guardrails if limit.criterion.metric == metric]
    limit = max(limits, key=lambda measurement: constraint([measurement]))
    if limit.value is None:
        return f"guardrail {metric}: not measured at step {chosen.step}"
    scales = "at every adapter scale, " if len({v.adapter_scale for v in verdicts}) > 1 else ""
    sure = " and the data prove it" if rule == "proven" else ""
    return (
        f"guardrail {metric}: {value_text(limit)} at step {chosen.step} "
        f"({scales}{allowed_text(limit.criterion)}{sure})"
    )
