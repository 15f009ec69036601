"""One trial while it holds a slot, and how it ended: values and pure decisions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.results import TrialResult, TrialState
from orchestrator.scoring.judge import Verdict
from orchestrator.scoring.limit_text import allowed_text, rate_text, value_text
from orchestrator.scoring.limits import UNMEASURED, LimitVerdict, Rule, constraint
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.headroom import on_its_side
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
    scale cures is no reason to stop. The reason is the first one that the least bad scale breaks.
    """
    if all(verdict.violated for verdict in rung):
        chosen = best_verdict(rung)
        assert chosen is not None
        return _broken_guardrail(
            next(limit for limit in chosen.guardrails if limit.violated),
            chosen,
            {verdict.adapter_scale: verdict.violated for verdict in rung},
        )
    step = rung[0].step
    if spec.early_stop.method == "ratio":
        lowest = min(verdict.rates[spec.objective] for verdict in rung)
        limit = spec.early_stop.ratio * baseline_rate
        if lowest > limit:
            ratio = f"{spec.early_stop.ratio:g} times the baseline"
            highest = on_its_side(limit, lowest, 2)
            shown = on_its_side(lowest, float(highest), 2)
            reason = f"{rate_text(spec.objective)} {shown} % at step {step} is above {ratio}"
            return Stop(TrialState.PRUNED, f"{reason} ({highest} %)", "ratio")
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
    limits = [limit for limit in chosen.guardrails if limit.criterion.metric == metric]
    limit = max(limits, key=lambda measured: constraint([measured]))
    scales = {
        verdict.adapter_scale: _not_kept(verdict)
        for verdict in trial.verdicts
        if verdict.step == chosen.step
    }
    return _broken_guardrail(limit, chosen, scales, rule="point")


def _not_kept(verdict: Verdict) -> tuple[str, ...]:
    """The metrics of the guardrails that do not hold as measured."""
    return tuple(name for name, excess in verdict.constraints.items() if excess > 0)


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
        wer=chosen.rates if chosen else {},
        delta=chosen.delta if chosen else {},
        constraints=chosen.constraints if chosen else unmeasured,
        # a run that was killed may have measured it beyond the checkpoint where it stands
        steps_trained=max([trial.step, *(verdict.step for verdict in trial.verdicts)]),
        pruned_by=stop.rule,
        seconds=round(seconds, 3),
    )


def _broken_guardrail(
    limit: LimitVerdict,
    chosen: Verdict,
    scales: Mapping[float, Collection[str]],
    rule: Rule | None = None,
) -> Stop:
    """Return the end of a trial by a guardrail, and say by how much `chosen` breaks it. `scales` has
    the metrics of the guardrails that each adapter scale breaks at this step; `rule` is the one by
    which this one is broken, by default its own.
    """
    metric, rule = limit.criterion.metric, rule or limit.criterion.rule
    rule_name = f"guardrail:{metric}:{rule}"
    if limit.value is None:
        reason = f"guardrail {metric}: not measured at step {chosen.step}"
        return Stop(TrialState.PRUNED, reason, rule_name)
    where = ""
    if len(scales) > 1 and all(metric in broken for broken in scales.values()):
        where = "at every adapter scale, "
    elif len(scales) > 1:
        where = f"at adapter scale {chosen.adapter_scale:g}, and each other scale breaks a guardrail too, "
    sure = " and the data prove it" if rule == "proven" else ""
    return Stop(
        TrialState.PRUNED,
        f"guardrail {metric}: {value_text(limit)} at step {chosen.step} "
        f"({where}{allowed_text(limit.criterion)}{sure})",
        rule_name,
    )
