"""The kinds of trials that a sweep trains, and the work of each, as an estimate of its time counts
them.

Trials that adapt other modules or take larger batches cost another time a step, and one that
adapts the encoder is heard at another pace than one that adapts the decoder alone. Points that are
known count as they are; those that the search has yet to draw count as a balanced sample of the
space, which is what it draws before it has learnt anything.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from orchestrator.planning.cost import step_cost
from orchestrator.planning.points import Point, active_part, known_points, sobol_point
from orchestrator.planning.sweep_plan import SetSize
from orchestrator.planning.trial_plan import TrialPlan, trial_plan
from orchestrator.sweepfile.data import DataSpec
from orchestrator.sweepfile.sweep import SweepSpec

SAMPLE = 64
"""Points that stand for those yet to be drawn."""
MOST_KINDS = 6
"""A rarer kind counts as the one whose step is most like its own: each that is told apart has to be
measured."""


class KindOfTrial(BaseModel):
    """Trials of a sweep whose steps cost the same."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    name: str
    """What tells it from the other kinds of the sweep, in words."""
    plan: TrialPlan
    """One of them."""
    trials: float
    """How many; not whole where points are yet to be drawn."""
    steps: float
    """Optimizer steps of all of them, each trained to its end."""
    utterances: float
    """Decoded for all of them, once per adapter scale."""


def kinds_of_trials(
    spec: SweepSpec, sets: Mapping[str, SetSize], trained: int
) -> tuple[KindOfTrial, ...]:
    """The kinds among the `trained` trials of a sweep, the most frequent first; at most MOST_KINDS.

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
    """Plans and how many trials each stands for."""
    known = list(itertools.islice(known_points(spec), trained))
    for number, (_, point) in enumerate(known):
        yield trial_plan(spec, number, _completed(spec, point, number)), 1.0
    left = trained - len(known)
    for index in range(SAMPLE if left else 0):
        yield trial_plan(spec, index, _completed(spec, {}, index)), left / SAMPLE


def _completed(spec: SweepSpec, point: Point, index: int) -> Point:
    """A point with values of the balanced sample for all that it leaves open."""
    if not spec.parameters.searched:
        return {}
    return active_part(spec, {**sobol_point(spec, index), **point})


def _key(plan: TrialPlan) -> tuple[str, str, int]:
    """What the cost of a step depends on most: target modules, layers, utterances of a step."""
    params = plan.params
    rows = params.batch_size * params.gradient_accumulation_steps
    return params.target_modules, params.layers, rows


def _name(key: tuple[str, str, int], among: Sequence[tuple[str, str, int]]) -> str:
    """The target modules, and what else differs among the kinds."""
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
        utterances=sum(trials * _utterances_heard(plan, data, sets) for plan, trials in group),
    )


def _utterances_heard(plan: TrialPlan, data: DataSpec, sets: Mapping[str, SetSize]) -> int:
    """Of one trial: at every rung but the last at one scale, at the last at all of them."""
    scales = len(plan.params.adapter_scales)
    heard = {
        name: scales + (len(plan.rungs) - 1 if name in data.at_every_rung else 0)
        for name in data.evaluated
    }
    return sum(times * sets[name].utterances for name, times in heard.items() if name in sets)
