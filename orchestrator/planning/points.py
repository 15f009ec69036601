"""The points of the search space that are known before anything is measured: those of `start_with`,
the cells of a grid, a Sobol sequence.

`orchestrate plan` shows these and the search tries them, in the same order, because both call this
module. It imports neither optuna nor torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.errors import StudyError
from orchestrator.sweepfile.digest import derived_seed
from orchestrator.sweepfile.parameters import ParameterValue
from orchestrator.sweepfile.search_space import Dimension, SearchSpace
from orchestrator.sweepfile.sweep import SweepSpec

Point = dict[str, Any]
"""Searched parameter -> value; inactive parameters are absent."""


def is_active(dimension: Dimension, values: Mapping[str, Any]) -> bool:
    """Whether a dimension is active, given the values decided so far. A condition on a parameter
    without a value is false.
    """
    return all(c.parameter in values and c.holds(values[c.parameter]) for c in dimension.when)


def start_points(spec: SweepSpec) -> tuple[Point, ...]:
    """Return the points of `start_with` without repetitions, reduced to the searched parameters;
    trial n tries point n.

    Raises StudyError for a value outside the space, because Optuna cannot store it.
    """
    searched = {dimension.name: dimension for dimension in spec.parameters.searched}
    points: list[Point] = []
    for given in spec.start_with:
        point = {name: value for name, value in given.items() if name in searched}
        for name, value in point.items():
            if not searched[name].contains(value):
                raise StudyError(
                    f"start_with: {name} = {value!r} is not in the search space\n"
                    f"  Allowed: {_allowed_values(searched[name])}. Change the point or the range."
                )
        point = _taking_part(
            spec, {name: searched[name].snapped(value) for name, value in point.items()}
        )
        if point not in points:
            points.append(point)
    return tuple(points)


def _taking_part(spec: SweepSpec, point: Point) -> Point:
    """Remove from a partial point the parameters that are inactive in it. Those whose conditions
    depend on a value that is still to be drawn stay.
    """
    known, inactive = {**spec.parameters.fixed, **point}, set[str]()
    for dimension in spec.parameters.searched:
        if any(
            c.parameter in inactive or (c.parameter in known and not c.holds(known[c.parameter]))
            for c in dimension.when
        ):
            inactive.add(dimension.name)
    return {name: value for name, value in point.items() if name not in inactive}


def _allowed_values(dimension: Dimension) -> str:
    if dimension.choices is not None:
        return ", ".join(map(str, dimension.choices))
    return f"{dimension.low} to {dimension.high}" + (
        f" in steps of {dimension.step}" if dimension.step else ""
    )


def grid_cells(space: SearchSpace, starts: tuple[Point, ...]) -> tuple[Point, ...]:
    """Return every cell of the grid once: first those that agree with `starts`, then the others in
    file order, the last parameter varying fastest.

    Inactive parameters do not multiply cells. Raises StudyError for a range without steps.
    """
    first, others = _started_and_other_cells(space, starts)
    return (*first, *others)


def _started_and_other_cells(
    space: SearchSpace, starts: tuple[Point, ...]
) -> tuple[list[Point], list[Point]]:
    """Return the first cell that agrees with each of `starts`, rather one that has all of its
    parameters, and all other cells.
    """
    cells = list(_walk_grid(space, 0, {}))
    first: list[Point] = []
    for start in starts:
        agreeing = [cell for cell in cells if _agrees_with(cell, start)]
        # before one in which a parameter that the point names is inactive
        matching = min(agreeing, key=lambda cell: not start.keys() <= cell.keys(), default=None)
        if matching is not None and matching not in first:
            first.append(matching)
    return first, [cell for cell in cells if cell not in first]


def _agrees_with(cell: Point, start: Point) -> bool:
    """Whether the parameters that both points have are equal."""
    return all(cell.get(name, value) == value for name, value in start.items())


def _walk_grid(space: SearchSpace, index: int, point: Point) -> Iterator[Point]:
    """Yield all cells that extend `point`, which has the values of the dimensions before
    `index`.
    """
    if index == len(space.searched):
        yield point
        return
    dimension = space.searched[index]
    if not is_active(dimension, {**space.fixed, **point}):
        yield from _walk_grid(space, index + 1, point)
        return
    if dimension.values is None:
        raise StudyError(
            f"method grid: {dimension.name} is a range without steps, {_allowed_values(dimension)}\n"
            "  Write its values, give it a step, or choose method qmc, random or tpe."
        )
    for value in dimension.values:
        yield from _walk_grid(space, index + 1, {**point, dimension.name: value})


def sobol_point(spec: SweepSpec, index: int) -> Point:
    """Return point `index` of `sobol_points`."""
    return next(sobol_points(spec, index))


def sobol_points(spec: SweepSpec, start: int = 0) -> Iterator[Point]:
    """Yield the points of the scrambled Sobol sequence of the sweep's seed from index `start` on,
    each with a value for every searched parameter, active or not. They never end.

    For a given space a point depends on (seed, index) alone: conditional parameters have an axis of
    their own, used or not. The first 2^k points are balanced (Sobol 1967; scrambling by Owen, as
    scipy does it).
    """
    from scipy.stats import qmc  # half a second, which the other methods need not wait for

    searched = spec.parameters.searched
    engine = qmc.Sobol(len(searched), scramble=True, rng=derived_seed(spec.seed, "sobol"))
    if start:
        engine.fast_forward(start)
    while True:
        row = engine.random(1)[0]
        yield {
            dimension.name: value_at(dimension, float(share))
            for dimension, share in zip(searched, row, strict=True)
        }


def value_at(dimension: Dimension, share: float) -> Any:
    """Return the value at position `share`, in [0, 1), of a dimension's axis; each choice, step or
    whole number owns a part of the axis.
    """
    size = None if dimension.log else dimension.size
    if size is not None:
        return dimension.value_of(min(int(share * size), size - 1))
    assert dimension.low is not None and dimension.high is not None, (
        "a dimension has choices or a range"
    )
    # As Optuna does: a whole number on a logarithmic axis owns the interval half a unit to both
    # sides.
    half = 0.5 if dimension.is_integer else 0.0
    low, high = dimension.low - half, dimension.high + half
    if dimension.log:
        value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    else:
        value = low + share * (high - low)
    value = min(max(value, dimension.low), dimension.high)
    return round(value) if dimension.is_integer else value


def known_points(spec: SweepSpec) -> Iterator[tuple[str, Point]]:
    """Yield the points that the search will try, in its order, as far as they are known, each with
    its origin: `start_with`, `grid` or `qmc`. For qmc they never end.

    A partial point of `start_with` is completed by the method: by a cell of the grid here, by the
    sampler elsewhere.
    """
    starts = start_points(spec)
    if spec.method == "grid":
        first, others = _started_and_other_cells(spec.parameters, starts)
        yield from (("start_with", cell) for cell in first)
        yield from (("grid", cell) for cell in others)
        return
    yield from (("start_with", start) for start in starts)
    if spec.method == "qmc":
        yield from (("qmc", active_part(spec, point)) for point in sobol_points(spec))


def active_part(spec: SweepSpec, point: Point) -> Point:
    """Reduce a point that has a value for every searched parameter to its active parameters."""
    kept: Point = {}
    for dimension in spec.parameters.searched:
        if is_active(dimension, {**spec.parameters.fixed, **kept}):
            kept[dimension.name] = point[dimension.name]
    return kept


def count_points(space: SearchSpace) -> int | None:
    """Count the distinct points of a space, respecting conditions; None for a continuous range, or
    where they are too many to count.
    """
    return _count_points(space.searched, dict(space.fixed))


_COUNTABLE = 100_000
"""Most values of a parameter that others depend on; with more the points are not counted."""


def _count_points(dimensions: tuple[Dimension, ...], decided: Point) -> int | None:
    """Count the points of `dimensions`, given the values `decided` for earlier ones.

    Values that later conditions cannot tell apart have equally many points below them, so one is
    counted for all.
    """
    if not dimensions:
        return 1
    head, rest = dimensions[0], dimensions[1:]
    if not is_active(head, decided):
        return _count_points(rest, decided)
    conditions = [
        condition for later in rest for condition in later.when if condition.parameter == head.name
    ]
    if head.size is None or (conditions and head.size > _COUNTABLE):
        return None
    if not conditions:
        below = _count_points(rest, decided)
        return None if below is None else head.size * below
    alike: dict[tuple[bool, ...], list[ParameterValue]] = {}
    for value in head.values or ():
        alike.setdefault(tuple(condition.holds(value) for condition in conditions), []).append(
            value
        )
    total = 0
    for values in alike.values():
        below = _count_points(rest, decided | {head.name: values[0]})
        if below is None:
            return None
        total += len(values) * below
    return total
