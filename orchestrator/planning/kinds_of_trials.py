"""The kinds of trials that a sweep trains, and the work of each, for the estimate of its time.

Trials that adapt different modules or have different batch sizes take different times per step, and
decoding is slower where the encoder is adapted. Points that are known count as they are. For those
that the search has yet to draw, a balanced sample of the space stands in, which is what the search
draws before it has learnt anything.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from orchestrator.planning.cost import step_cost
from orchestrator.planning.points import Point, active_part, known_points, sobol_points
from orchestrator.planning.sweep_plan import SetSize
from orchestrator.planning.trial_plan import TrialPlan, trial_plan
from orchestrator.sweepfile.data import DataSpec
from orchestrator.sweepfile.sweep import SweepSpec

SAMPLE = 64
"""Number of sampled points that stand in for those yet to be drawn."""
MOST_KINDS = 6
"""Most kinds that are told apart, as each has to be measured. A rarer kind is merged into the one
whose step costs most nearly the same."""


class KindOfTrial(BaseModel):
    """Trials of a sweep whose steps cost the same."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    name: str
    """What distinguishes it from the other kinds of the sweep, in words."""
    plan: TrialPlan
    """The plan of one trial of this kind, as an example."""
    trials: float
    """How many trials; not a whole number where points are yet to be drawn."""
    steps: float
    """Optimizer steps of all its trials, each trained to its end."""
    utterances: float
    """Utterances decoded for all its trials, counted once for each adapter scale."""


def kinds_of_trials(
    spec: SweepSpec, sets: Mapping[str, SetSize], trained: int
) -> tuple[KindOfTrial, ...]:
    """Group the trials of a sweep, `trained` in number, into at most MOST_KINDS kinds, the most
    frequent first.

    `sets` are the sizes of its evaluation sets by name. Raises StudyError for a point of
    `start_with` outside the space.
    """
    groups: dict[tuple[str, str, int], list[tuple[TrialPlan, float]]] = {}
    for plan, trials in _typical_trials(spec, trained):
        groups.setdefault(_key(plan), []).append((plan, trials))
    frequent = sorted(groups, key=lambda key: -sum(trials for _, trials in groups[key]))
    kept, rare = frequent[:MOST_KINDS], frequent[MOST_KINDS:]
    costs = {key: math.log(step_cost(group[0][0])) for key, group in groups.items()}
    for key in rare:
        groups[min(kept, key=lambda other: abs(costs[key] - costs[other]))] += groups[key]
    return tuple(_kind(_name(key, kept), groups[key], spec.data, sets) for key in kept)


def _typical_trials(spec: SweepSpec, trained: int) -> Iterator[tuple[TrialPlan, float]]:
    """Yield plans, each with the number of trials that it stands for."""
    known = list(itertools.islice(known_points(spec), trained))
    for number, ((_, point), drawn) in enumerate(zip(known, _drawn_points(spec), strict=False)):
        yield trial_plan(spec, number, active_part(spec, {**drawn, **point})), 1.0
    left = trained - len(known)
    if left:
        for index, drawn in enumerate(itertools.islice(_drawn_points(spec), SAMPLE)):
            yield trial_plan(spec, index, active_part(spec, drawn)), left / SAMPLE


def _drawn_points(spec: SweepSpec) -> Iterator[Point]:
    """Yield the points of the Sobol sequence, which complete the points that lack parameters;
    points without parameters where nothing is searched.
    """
    return sobol_points(spec) if spec.parameters.searched else itertools.repeat({})


def _key(plan: TrialPlan) -> tuple[str, str, int]:
    """Return what the cost of a step depends on most: target modules, layers, utterances a step."""
    params = plan.params
    rows = params.batch_size * params.gradient_accumulation_steps
    return params.target_modules, params.layers, rows


def _name(key: tuple[str, str, int], among: Sequence[tuple[str, str, int]]) -> str:
    """Name a kind by its target modules, and by layers and batch where those differ
    `among` kinds.
    """
    name, layers, rows = key
    if len({other[1] for other in among}) > 1:
        name += f", layers {layers}"
    if len({other[2] for other in among}) > 1:
        name += f", {rows} utterances a step"
    return name


def _kind(
    name: str,
    group: Sequence[tuple[TrialPlan, float]],
    data: DataSpec,
    sets: Mapping[str, SetSize],
) -> KindOfTrial:
    return KindOfTrial(
        name=name,
        plan=group[0][0],
        trials=sum(trials for _, trials in group),
        steps=sum(trials * plan.params.max_steps for plan, trials in group),
        utterances=sum(trials * _utterances_decoded(plan, data, sets) for plan, trials in group),
    )


def _utterances_decoded(plan: TrialPlan, data: DataSpec, sets: Mapping[str, SetSize]) -> int:
    """Count the utterances decoded for one trial: at the last rung with every adapter scale, at the
    others with one.
    """
    scales = len(plan.params.adapter_scales)
    decodings = {
        name: scales + (len(plan.rungs) - 1 if name in data.at_every_rung else 0)
        for name in data.evaluated
    }
    return sum(times * sets[name].utterances for name, times in decodings.items() if name in sets)
