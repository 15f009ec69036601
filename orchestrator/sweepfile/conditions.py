"""Reading of `when:` of a searched parameter and of the points of `start_with:`. Both refer to the
parameters that were read already.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from collections.abc import Mapping as MappingABC
from typing import Any

from orchestrator.sweepfile.located_nodes import (
    Entry,
    Mapping,
    Node,
    Problems,
    Scalar,
    Sequence,
    describe_node,
    did_you_mean,
    in_backticks,
)
from orchestrator.sweepfile.parameters import ADAPTER_SCALE, TABLE, ParameterValue
from orchestrator.sweepfile.search_space import Condition, Dimension, SearchSpace

MAX_POINTS = 1000
_FORMS = "a value, {in: [...]}, {above: x} or {below: x}"

_FEW_VALUES = 100_000
"""The number of values up to which each is tried; of more, only the ends of conditions count."""


def read_conditions(
    name: str,
    when: Entry,
    fixed: MappingABC[str, ParameterValue],
    searched: MappingABC[str, Dimension],
    broken: Container[str],
    problems: Problems,
) -> tuple[Condition, ...]:
    """Read the conditions under which parameter `name` is active, and record problems. A condition
    that a fixed parameter always satisfies is left out.
    """
    if TABLE[name].required:
        problems.add(
            when.mark,
            f"{name} cannot have when: every trial needs it and it has no default; remove when",
        )
        return ()
    if not isinstance(when.node, Mapping) or not when.node.entries:
        problems.add(
            when.node.mark,
            f"when of {name} must be {{earlier_parameter: {_FORMS}}}, not {describe_node(when.node)}",
        )
        return ()
    earlier = list(searched)[: list(searched).index(name)]
    found: list[Condition] = []
    for other, entry in when.node.entries.items():
        if other in broken:
            continue
        if other not in earlier and other not in fixed:
            problems.add(entry.mark, _not_earlier(name, other, earlier, searched))
            continue
        alone = []
        for condition, node in _read_condition(name, other, entry.node, problems):
            message = _why_never(condition, fixed, searched)
            if message:
                problems.add(node.mark, f"when of {name} can never hold: {message}")
            elif other in searched:
                alone.append(condition)
        if len(alone) > 1 and not _hold_together(alone, searched[other]):
            said = " and ".join(f"{each.operator} {each.value}" for each in alone)
            problems.add(
                entry.mark, f"when of {name} can never hold: no {other} is {said}; widen it"
            )
        found += alone
    return tuple(found)


def _not_earlier(name: str, other: str, earlier: list[str], searched: Container[str]) -> str:
    allowed = f"allowed: {', '.join(earlier)}" if earlier else "no parameter is searched above it"
    if other == ADAPTER_SCALE.name:
        return (
            f"when of {name} names adapter_scale, which is only decided after training; {allowed}"
        )
    if other == name or other in searched:
        return f"when of {name} names {in_backticks(other)}, which is not above it in the file; move it up; {allowed}"
    if other in TABLE:  # alpha or alpha_ratio, of which a file has one
        given = "alpha_ratio" if other == "alpha" else "alpha"
        return f"when of {name} names {other}, which follows from {given} and rank here; {allowed}"
    hint = did_you_mean(other, TABLE) or ";"
    return f"when of {name} names the unknown parameter {in_backticks(other)}{hint} {allowed}"


def _read_condition(
    name: str, other: str, node: Node, problems: Problems
) -> Iterator[tuple[Condition, Node]]:
    if isinstance(node, Scalar):
        yield from _one_condition(name, other, "equals", node, problems)
    elif isinstance(node, Mapping) and node.entries:
        for operator, entry in node.entries.items():
            if operator not in ("in", "above", "below"):
                guess = did_you_mean(operator, ("in", "above", "below")) or ";"
                problems.add(
                    entry.mark,
                    f"when of {name}: unknown test {in_backticks(operator)}{guess} allowed: in, above, below",
                )
            else:
                yield from _one_condition(name, other, operator, entry.node, problems)
    else:
        problems.add(
            node.mark, f"when of {name}: {other} must be {_FORMS}, not {describe_node(node)}"
        )


def _one_condition(
    name: str, other: str, operator: str, node: Node, problems: Problems
) -> Iterator[tuple[Condition, Node]]:
    row = TABLE[other]
    if operator in ("above", "below") and not row.is_number:
        problems.add(
            node.mark,
            f"when of {name}: {other} is {row.allowed}, which has no above or below; use in",
        )
        return
    if (operator == "in") != isinstance(node, Sequence):
        problems.add(
            node.mark,
            f"when of {name}: {operator} needs {'a list' if operator == 'in' else 'one value'}, not "
            f"{describe_node(node)}",
        )
        return
    try:
        value: Any = (
            tuple(map(row.read, node.items)) if isinstance(node, Sequence) else row.read(node)
        )
    except ValueError as error:
        problems.add(node.mark, f"when of {name}: {error}")
        return
    yield Condition.model_validate({"parameter": other, "operator": operator, "value": value}), node


def _why_never(
    condition: Condition,
    fixed: MappingABC[str, ParameterValue],
    searched: MappingABC[str, Dimension],
) -> str:
    """Say why no trial can satisfy the condition; empty where one can."""
    name = condition.parameter
    if name in fixed:
        return (
            ""
            if condition.holds(fixed[name])
            else f"{name} is fixed at {fixed[name]}; search {name} or remove this"
        )
    dimension = searched[name]
    wanted = condition.value if condition.operator == "in" else (condition.value,)
    if dimension.choices is not None:
        hit = any(map(condition.holds, dimension.choices))
        return "" if hit else f"{name} is one of {', '.join(map(str, dimension.choices))}"
    if condition.operator in ("equals", "in"):
        if dimension.size is None:
            return f"{name} is a continuous range, which meets one value with chance 0; use above or below"
        hit = any(map(dimension.contains, wanted))
    else:
        hit = condition.holds(dimension.high if condition.operator == "above" else dimension.low)  # type: ignore[arg-type]
    return "" if hit else f"{name} goes from {dimension.low:.12g} to {dimension.high:.12g}"


def _hold_together(conditions: list[Condition], dimension: Dimension) -> bool:
    """Whether a value of the dimension satisfies all of the conditions, each of which one does."""
    if dimension.size is not None and dimension.size <= _FEW_VALUES:
        values = map(dimension.value_of, range(dimension.size))
        return any(all(each.holds(value) for each in conditions) for value in values)
    lowest = [each.value for each in conditions if each.operator == "above"]
    highest = [each.value for each in conditions if each.operator == "below"]
    return all(low < high for low in lowest for high in highest)


def read_points(
    node: Node, space: SearchSpace, broken: Container[str], problems: Problems
) -> tuple[dict[str, ParameterValue], ...]:
    """Read `start_with:` as points of the space, and record problems. A value that equals that of a
    fixed parameter is accepted and left out, and so is a point of such values alone.
    """
    if not isinstance(node, Sequence):
        problems.add(
            node.mark,
            f"start_with must be a list of points such as [{{rank: 8}}], not {describe_node(node)}",
        )
        return ()
    if len(node.items) > MAX_POINTS:
        problems.add(
            node.mark,
            f"start_with has {len(node.items)} points, at most {MAX_POINTS}; leave the rest to the search",
        )
        return ()
    points: list[dict[str, ParameterValue]] = []
    for item in node.items:
        if not isinstance(item, Mapping) or not item.entries:
            problems.add(
                item.mark,
                f"a point of start_with must be a mapping of searched parameters, not {describe_node(item)}",
            )
            continue
        point = dict(_starting_point(item, space, broken, problems))
        if point and point in points:
            problems.add(
                item.mark,
                f"this point is the same as point {points.index(point) + 1} of start_with; keep one",
            )
        points.append(point)
    return tuple(filter(None, points))


def _starting_point(
    item: Mapping, space: SearchSpace, broken: Container[str], problems: Problems
) -> Iterator[tuple[str, ParameterValue]]:
    dimensions = {dimension.name: dimension for dimension in space.searched}
    for name, entry in item.entries.items():
        if name in broken:
            continue
        if name == ADAPTER_SCALE.name:
            problems.add(
                entry.mark,
                "adapter_scale in start_with: every scale is evaluated after training; remove it",
            )
        elif name not in dimensions and name not in space.fixed:
            allowed = ", ".join(dimensions) or "none, for nothing is searched"
            problems.add(
                entry.mark,
                f"start_with names {in_backticks(name)}, which is not searched"
                f"{did_you_mean(name, dimensions) or ';'} allowed: {allowed}",
            )
        else:
            try:
                value = TABLE[name].read(entry.node)
            except ValueError as error:
                problems.add(entry.node.mark, f"start_with: {error}")
                continue
            if name in space.fixed:
                if value != space.fixed[name]:
                    problems.add(
                        entry.node.mark,
                        f"start_with: {name} is fixed at {space.fixed[name]}; search it, or remove it here",
                    )
            elif not dimensions[name].contains(value):
                problems.add(
                    entry.node.mark,
                    f"start_with: {name} {describe_node(entry.node)} is outside the space; "
                    f"allowed: {space_of(dimensions[name])}",
                )
            else:
                yield name, value


def space_of(dimension: Dimension) -> str:
    """Describe a dimension for a person: its choices, or its range."""
    if dimension.choices is not None:
        return ", ".join(str(choice) for choice in dimension.choices)
    notes = [
        " (log)" if dimension.log else "",
        f" in steps of {dimension.step:.12g}" if dimension.step else "",
    ]
    return f"{dimension.low:.12g} to {dimension.high:.12g}" + "".join(notes)
