"""The plan of a sweep: all that it would run, computed without torch or optuna."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from pydantic import BaseModel, ConfigDict

from orchestrator.planning.cost import Work
from orchestrator.planning.points import count_points, known_points
from orchestrator.planning.power import (
    CHURN,
    provable_gain,
    smallest_detectable,
    standard_error,
    utterances_needed,
)
from orchestrator.planning.shares import GENERATIONS, learns
from orchestrator.planning.trial_plan import rungs_of
from orchestrator.planning.warm_up import warm_up_text
from orchestrator.set_names import confirm_name, is_confirm, search_name
from orchestrator.sweepfile.conditions import space_of
from orchestrator.sweepfile.limits import EVERY, Limit
from orchestrator.sweepfile.parameters import TABLE, ParameterValue
from orchestrator.sweepfile.presets import PRESETS
from orchestrator.sweepfile.search_space import Condition
from orchestrator.sweepfile.sweep import SweepSpec

Point = dict[str, ParameterValue]


class Plain(BaseModel):
    """Base of the plan's values: immutable, convertible to and from JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class SetSize(Plain):
    """The size of a manifest."""

    utterances: int
    words: int
    """Reference words as the corpus WER counts them."""


class PlannedParameter(Plain):
    """One row of the plan's table of parameters."""

    name: str
    role: str
    """fixed, searched, after training, or taken: fixed by a trial of another study (`taken,
    infeasible` where that trial broke a guardrail).
    """
    values: str
    when: str = ""


class PlannedPoint(Plain):
    """A point that is known before the first trial; the sampler chooses the parameters it lacks."""

    origin: str
    """Where the point comes from: start_with, grid, or qmc."""
    searched: Point


class Resolution(Plain):
    """The statistical power of one evaluation set, by the model of `planning.power`."""

    set: str
    utterances: int
    words: int
    churn: float
    standard_error: float
    """Standard error of the paired WER difference, in WER points."""
    smallest_detectable: float
    """Smallest true difference that a one-sided 5 % test finds with 80 % power, in WER points."""
    limit: float | None
    """The smallest regression or gain that a limit on this set asks about, in WER points."""
    utterances_needed: int | None
    """Utterances needed to tell `limit` from 0; None without a limit above 0."""
    resolved: bool | None
    """Whether the set is large enough for the limit."""
    gain_asked: float | None
    """The gain that an ACCEPT must prove on this set, in WER points; None where there is none."""
    provable_gain: float | None
    """The true gain, in WER points, with which `gain_asked` is proven with 80 % power; None where
    that is None.
    """


class SweepPlan(Plain):
    """All that `orchestrate plan` says, apart from memory and time, which need a measurement."""

    name: str
    method: str
    parameters: tuple[PlannedParameter, ...]
    points: int | None
    """Distinct points of the space; None when it is continuous or too large to count."""
    trials: int
    """The budget of trials; for a grid at most its points."""
    trained: int
    """Most trials that are trained: a point that is drawn again is not trained again."""
    first: tuple[PlannedPoint, ...]
    rungs: tuple[int, ...]
    """The optimizer steps at which the longest trial is evaluated."""
    evaluations: int
    """Most evaluations there can be, with every trial trained to its end: at its last rung one for
    each adapter scale, at earlier ones one. Baselines and confirmation runs are included."""
    optimizer_steps: int
    """Most optimizer steps there can be: every trial to its end, the confirmation included."""
    confirmation_trials: int
    work: Work
    """The most work there can be, for an estimate of time. Utterances of manifests that do not
    exist count as none.
    """
    sets: dict[str, SetSize]
    resolution: tuple[Resolution, ...]
    conditions: tuple[str, ...] = ()
    """What else influences the numbers, in words: the file's own presets, limits of length, early
    stopping.
    """
    taken: str = ""
    """The parameters taken from another study, in words."""
    split: str = ""
    """How the confirm sets are split off, in words."""
    warm_up: str = ""
    """The warning of `warm_up_text`; empty without one."""
    in_flight: str = ""
    """The sentence of `in_flight_text`; empty without one."""


def sweep_plan(
    spec: SweepSpec, sets: Mapping[str, SetSize] | None = None, show: int = 8
) -> SweepPlan:
    """Make the plan of a sweep.

    Args:
        sets: sizes of the manifests that exist, under train, replay, domain, heldout, the names of
            `data.also`, and confirm_domain and so on.
        show: the most points that are listed in `first`.
    """
    sets = dict(sets or {})
    points = count_points(spec.parameters)
    trials = (
        min(spec.budget.trials, points)
        if spec.method == "grid" and points is not None
        else spec.budget.trials
    )
    trained = trials if points is None else min(trials, points)
    steps = _most_steps(spec)
    rungs = rungs_of(steps, spec.evaluation.every)
    finalists = min(spec.confirm.top, trained) if spec.confirm else 0
    confirming = finalists * len(spec.confirm.seeds) if spec.confirm else 0
    searching = 1 + trained * (len(rungs) - 1 + len(spec.parameters.adapter_scales))
    confirmations = 1 + confirming if confirming else 0
    confirmed = _count_utterances(sets, *map(confirm_name, spec.data.evaluated))
    return SweepPlan(
        name=spec.name,
        method=spec.method,
        parameters=tuple(_planned_parameters(spec)),
        points=points,
        trials=trials,
        trained=trained,
        first=tuple(itertools.islice(_first_points(spec), min(show, trials))),
        rungs=rungs,
        evaluations=searching + confirmations,
        optimizer_steps=(trained + confirming) * steps,
        confirmation_trials=confirming,
        work=Work(
            search_steps=trained * steps,
            confirm_steps=confirming * steps,
            confirm_utterances=confirming * confirmed,
            baseline_utterances=_count_utterances(sets, *spec.data.evaluated)
            + (confirmed if confirming else 0),
        ),
        sets=sets,
        resolution=tuple(_set_resolutions(spec, sets, finalists or trained)),
        conditions=tuple(_condition_lines(spec)),
        taken=spec.taken,
        split=spec.data.split_text,
        warm_up=warm_up_text(spec),
        in_flight=in_flight_text(spec, trials),
    )


def _condition_lines(spec: SweepSpec) -> Iterator[str]:
    for name in spec.parameters.possible("target_modules"):
        patterns = spec.parameters.presets[str(name)]
        if PRESETS.get(str(name)) != patterns:
            yield f"target_modules {name}: {', '.join(patterns)}"
    longest = spec.evaluation.max_seconds
    measured = (
        "evaluation speech of any length"
        if longest is None
        else f"evaluation speech up to {longest:g} s"
    )
    yield f"training speech up to {spec.data.max_seconds:g} s, {measured}"
    precision = spec.evaluation.precision
    if precision.search != precision.verdict:
        yield (
            f"the search is in {precision.search}, the confirmation in {precision.verdict}; an estimate of the time "
            "takes the confirmation to be as fast as the search"
        )
    stop = spec.early_stop
    if stop.method == "ratio":
        rate = spec.metric.name.removeprefix("domain_").upper()
        yield f"a trial stops above {stop.ratio:g} times the baseline's domain {rate}"
    elif stop.method != "none":
        yield f"early stop: {stop.method}"


def _count_utterances(sets: Mapping[str, SetSize], *names: str) -> int:
    return sum(sets[name].utterances for name in names if name in sets)


def _first_points(spec: SweepSpec) -> Iterator[PlannedPoint]:
    yield from (PlannedPoint(origin=origin, searched=point) for origin, point in known_points(spec))


def _most_steps(spec: SweepSpec) -> int:
    """Return the max_steps of the longest trial that the space allows."""
    return int(max(map(float, spec.parameters.possible("max_steps"))))


def in_flight_text(spec: SweepSpec, trials: int) -> str:
    """Say in words how many trials are drawn before the first result, because they train at the
    same time, and warn where the search then learns from few. `trials` is the budget.

    Empty where there is one pack, or where the number of packs is not known yet.
    """
    at_once = spec.execution.in_flight
    if spec.execution.packs == 1 or at_once is None:
        return ""
    text = f"{at_once} trials in flight: {trials} trials, {min(trials, at_once)} drawn before any result"
    if not learns(spec) or trials >= GENERATIONS * at_once:
        return text
    return (
        f"{text}; {spec.method} learns from few of them: give budget.trials at least {GENERATIONS * at_once}, or fewer "
        "packs or a smaller pack"
    )


def _planned_parameters(spec: SweepSpec) -> Iterator[PlannedParameter]:
    searched = {dimension.name: dimension for dimension in spec.parameters.searched}
    taken = spec.take.parameters if spec.take else ()
    by_take = "taken, infeasible" if spec.take and spec.take.infeasible else "taken"
    for name in TABLE:
        if name in searched:
            when = " and ".join(map(_condition_text, searched[name].when))
            yield PlannedParameter(
                name=name, role="searched", values=space_of(searched[name]), when=when
            )
        elif name in spec.parameters.fixed:
            role = by_take if name in taken else "fixed"
            yield PlannedParameter(
                name=name, role=role, values=_written_value(spec.parameters.fixed[name])
            )
    scales = ", ".join(f"{scale:g}" for scale in spec.parameters.adapter_scales)
    yield PlannedParameter(name="adapter_scale", role="after training", values=scales)


def _written_value(value: ParameterValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _condition_text(condition: Condition) -> str:
    words = {"equals": "is", "in": "is one of", "above": "above", "below": "below"}
    value = (
        ", ".join(map(str, condition.value)) if condition.operator == "in" else str(condition.value)
    )
    return f"{condition.parameter} {words[condition.operator]} {value}"


def _set_resolutions(
    spec: SweepSpec, sets: Mapping[str, SetSize], competing: int
) -> Iterator[Resolution]:
    """Yield what each set can resolve; `competing` trials compete on the sets that decide."""
    for name in (*spec.data.evaluated, *map(confirm_name, spec.data.evaluated)):
        if name not in sets or not sets[name].words:
            continue
        size, kind = sets[name], search_name(name)
        churn, limit = CHURN.get(kind, CHURN["heldout"]), _strictest_limit(spec, kind)
        needed = (
            utterances_needed(size.utterances, size.words, churn, limit)
            if limit is not None
            else None
        )
        yield Resolution(
            set=name,
            utterances=size.utterances,
            words=size.words,
            churn=churn,
            standard_error=standard_error(size.words, churn),
            smallest_detectable=smallest_detectable(size.words, churn),
            limit=limit,
            utterances_needed=needed,
            resolved=None if needed is None else size.utterances >= needed,
            gain_asked=(gain := _gain_to_prove(spec, name)),
            provable_gain=None
            if gain is None
            else provable_gain(size.words, churn, gain, competing),
        )


def _gain_to_prove(spec: SweepSpec, name: str) -> float | None:
    """Return the gain in points that the verdict must prove on this set; None where there is none.
    With a confirmation the confirm sets decide, and not the search's.
    """
    if is_confirm(name) != (spec.confirm is not None):
        return None
    limits = _limits_on(spec, spec.acceptance, search_name(name))
    gains = [limit.min_gain for limit in limits if limit.rule_of("min_gain") == "proven"]
    return max((gain for gain in gains if isinstance(gain, float)), default=None)


def _strictest_limit(spec: SweepSpec, name: str) -> float | None:
    """Return the smallest change in points that a limit on the WER of this set asks about. Limits
    in percent of the baseline are left out, as the baseline is not known yet.
    """
    sections = (spec.guardrails, spec.acceptance)
    limits = [limit for section in sections for limit in _limits_on(spec, section, name)]
    changes = [change for limit in limits for change in (limit.max_regression, limit.min_gain)]
    return min((change for change in changes if isinstance(change, float)), default=None)


def _limits_on(spec: SweepSpec, section: Mapping[str, Limit], name: str) -> list[Limit]:
    """Return the limits of a section on the WER of one set, that on every further set included."""
    metrics = [f"{name}_wer", *([f"{EVERY}_wer"] if name in spec.data.also else ())]
    return [section[metric] for metric in metrics if metric in section]
