"""Reading of `parameters:` of the sweep file as a search space."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as MappingABC
from typing import Any

from orchestrator.sweepfile.conditions import read_conditions
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
    nearest,
    plain_value,
)
from orchestrator.sweepfile.parameters import ADAPTER_SCALE, NAMES, TABLE, Parameter, ParameterValue
from orchestrator.sweepfile.presets import PRESETS
from orchestrator.sweepfile.search_space import Dimension, SearchSpace

FOREIGN = {
    "distribution": "a range is continuous or whole by its ends; write log: true for a logarithmic one",
    "q": "write step",
    "low": "write min",
    "high": "write max",
    "choices": "write values",
}
"""Keys that other tools have -> a hint at what is written here instead."""
MAX_VALUES = 1000
CUSTOM = "custom"
"""The preset name of the patterns in `target_modules: {patterns: [...]}`."""


class SpaceReader:
    """Reads `parameters:`. After `read`, `space()` returns the result, and `broken` names the
    parameters that could not be read.
    """

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.fixed: dict[str, ParameterValue] = {}
        self.searched: dict[str, Dimension] = {}
        self.whens: dict[str, Entry] = {}
        self.scales: tuple[float, ...] = (1.0,)
        self.presets: dict[str, tuple[str, ...]] = dict(PRESETS)
        self.broken: set[str] = set()

    def read(self, node: Node) -> None:
        """Read the section, and record every parameter and every problem."""
        if not isinstance(node, Mapping):
            self.problems.add(
                node.mark,
                f"parameters must be a mapping of names to values, not {describe_node(node)}",
            )
            self.broken |= set(TABLE)
            return
        for name, entry in node.entries.items():
            self._read_parameter(name, entry)
        meant = {nearest(name, NAMES) for name in node.entries if name not in NAMES}
        self.broken |= meant - set(node.entries)  # a misspelt one is no missing one as well
        self._read_alpha(node)
        for name in (name for name, row in TABLE.items() if row.required):
            if not {name} & {*self.fixed, *self.searched, *self.broken}:
                self.problems.add(
                    node.mark,
                    f"parameters lacks {in_backticks(name)}; add a value ({TABLE[name].allowed}) or a range",
                )
                self.broken.add(name)
        self._add_defaults()
        self._check_conditions()

    def space(self) -> SearchSpace:
        """Return the search space that was read."""
        return SearchSpace(
            fixed=self.fixed,
            searched=tuple(self.searched.values()),
            adapter_scales=self.scales,
            presets=self.presets,
        )

    def _read_parameter(self, name: str, entry: Entry) -> None:
        before = len(self.problems.found)
        if name == ADAPTER_SCALE.name:
            self._adapter_scale(entry.node)
        elif name in TABLE:
            self._read_known(TABLE[name], entry.node)
        else:
            self.problems.add(
                entry.mark,
                f"unknown parameter {in_backticks(name)}{did_you_mean(name, NAMES) or ';'} allowed: {', '.join(NAMES)}",
            )
        if len(self.problems.found) > before or (
            name in TABLE and not {name} & {*self.fixed, *self.searched}
        ):
            self.broken.add(name)

    def _read_known(self, row: Parameter, node: Node) -> None:
        if isinstance(node, Sequence):
            self.problems.add(
                node.mark,
                f"{row.name} is a bare list; to search it write {row.name}: {{values: [...]}}",
            )
        elif isinstance(node, Scalar):
            self._fix_parameter(row, node)
        elif row.kind == "preset" and "patterns" in node.entries:
            if self._check_keys(row.name, node, ("patterns",)):
                self.presets[CUSTOM] = self._read_patterns(CUSTOM, node.entries["patterns"].node)
                self.fixed[row.name] = CUSTOM
        else:
            self._read_mapping(row, node)

    def _read_mapping(self, row: Parameter, node: Mapping) -> None:
        extra = ("presets",) if row.kind == "preset" else ()
        if "presets" in node.entries and extra:
            self._own_presets(node.entries["presets"].node)
        entries = node.entries
        if "value" in entries:
            if self._check_keys(row.name, node, ("value", *extra)):
                self._fix_parameter(row, entries["value"].node)
        elif "values" in entries:
            if self._check_keys(row.name, node, ("values", "when", *extra)):
                self._read_choices(row, entries["values"].node, entries)
        elif self._check_keys(
            row.name,
            node,
            ("min", "max", "log", "step", "when")
            if row.is_number
            else ("value", "values", "when", *extra),
            ("value", "values"),
        ):
            self._read_range(row, node)

    def _check_keys(
        self, name: str, node: Mapping, allowed: tuple[str, ...], others: tuple[str, ...] = ()
    ) -> bool:
        unknown = [key for key in node.entries if key not in allowed]
        for key in unknown:
            hint = f"; {FOREIGN[key]}" if key in FOREIGN else did_you_mean(key, (*allowed, *others))
            self.problems.add(
                node.entries[key].mark,
                f"unknown key {in_backticks(key)} in {name}{hint or ';'}"
                f"{';' if key in FOREIGN else ''} allowed here: {', '.join(allowed)}",
            )
        return not unknown

    def _read_value(self, row: Parameter, node: Node) -> ParameterValue | None:
        try:
            value = row.read(node)
        except ValueError as error:
            self.problems.add(node.mark, str(error))
            return None
        if row.kind == "preset" and value not in self.presets:
            names = ", ".join(self.presets)
            self.problems.add(
                node.mark,
                f"unknown preset {in_backticks(value)}{did_you_mean(str(value), self.presets) or ';'} allowed: "
                f"{names}, "
                "or one of your own under presets",
            )
            return None
        return value

    def _fix_parameter(self, row: Parameter, node: Node) -> None:
        if (value := self._read_value(row, node)) is not None:
            self.fixed[row.name] = value

    def _read_list(
        self, name: str, node: Node, read: Callable[[Node], ParameterValue | None]
    ) -> tuple[Any, ...] | None:
        if not isinstance(node, Sequence) or not node.items:
            self.problems.add(
                node.mark,
                f"{name}: values must be a list with at least one value, not "
                f"{'an empty list' if isinstance(node, Sequence) else describe_node(node)}",
            )
            return None
        if len(node.items) > MAX_VALUES:
            self.problems.add(
                node.mark,
                f"{name}: {len(node.items)} values, at most {MAX_VALUES}; a range {{min, max}} may say it",
            )
            return None
        found: list[ParameterValue] = []
        for item in node.items:
            if isinstance(item, Sequence):
                self.problems.add(
                    item.mark,
                    f"{name}: a value cannot be a list; to choose between sets of modules "
                    "name each under presets and list the names",
                )
            elif (value := read(item)) is not None:
                if value in found:
                    self.problems.add(
                        item.mark, f"{name}: {describe_node(item)} is listed twice; keep one"
                    )
                found.append(value)
        return tuple(found) if len(found) == len(node.items) else None

    def _read_choices(self, row: Parameter, node: Node, entries: MappingABC[str, Entry]) -> None:
        values = self._read_list(row.name, node, lambda item: self._read_value(row, item))
        if values is not None:
            self._add_dimension(Dimension(name=row.name, choices=values), entries)

    def _add_dimension(self, dimension: Dimension, entries: MappingABC[str, Entry]) -> None:
        self.searched[dimension.name] = dimension
        if "when" in entries:
            self.whens[dimension.name] = entries["when"]

    def _read_range(self, row: Parameter, node: Mapping) -> None:
        entries = node.entries
        if not row.is_number or not {"min", "max"} <= set(entries):
            forms = "{values: [...]}" + (" or {min: ..., max: ...}" if row.is_number else "")
            self.problems.add(
                node.mark, f"{row.name} says neither a value nor what to search; write {forms}"
            )
            return
        low, high = (self._read_value(row, entries[key].node) for key in ("min", "max"))
        log = plain_value(entries["log"].node) if "log" in entries else False
        step = self._read_step(row, entries["step"].node) if "step" in entries else None
        if not isinstance(log, bool):
            self.problems.add(
                entries["log"].node.mark,
                f"{row.name}: log must be true or false, not {describe_node(entries['log'].node)}",
            )
        elif low is not None and high is not None and (step is not None or "step" not in entries):
            message = _why_impossible(low, high, log, step)
            if message:
                self.problems.add(node.mark, f"{row.name}: {message}")
            else:
                self._add_dimension(
                    Dimension.model_validate(
                        {"name": row.name, "low": low, "high": high, "log": log, "step": step}
                    ),
                    entries,
                )

    def _read_step(self, row: Parameter, node: Node) -> int | float | None:
        value = plain_value(node)
        whole = isinstance(value, int) and not isinstance(value, bool)
        if (whole or (isinstance(value, float) and row.kind == "float")) and value > 0:
            return int(value) if row.kind == "int" else float(value)
        kind = "a whole number" if row.kind == "int" else "a number"
        self.problems.add(
            node.mark, f"{row.name}: step must be {kind} above 0, not {describe_node(node)}"
        )
        return None

    def _adapter_scale(self, node: Node) -> None:
        name = ADAPTER_SCALE.name
        if isinstance(node, Scalar):
            value = self._read_value(ADAPTER_SCALE, node)
            self.scales = (float(value),) if value is not None else self.scales
        elif not isinstance(node, Mapping) or "values" not in node.entries:
            self.problems.add(
                node.mark,
                f"{name} must be a number or {{values: [...], after_training: true}}; one training is "
                "evaluated at every scale, so it is never searched as a range",
            )
        elif self._check_keys(name, node, ("values", "after_training")):
            asked = node.entries.get("after_training")
            if asked is None or plain_value(asked.node) is not True:
                self.problems.add(
                    asked.node.mark if asked else node.mark,
                    f"{name}: values needs after_training: true; a scale costs no training, so it is a grid "
                    "evaluated after training and not a dimension of the search",
                )
            values = self._read_list(
                name,
                node.entries["values"].node,
                lambda item: self._read_value(ADAPTER_SCALE, item),
            )
            self.scales = values if values is not None else self.scales

    def _own_presets(self, node: Node) -> None:
        if not isinstance(node, Mapping):
            self.problems.add(
                node.mark, f"presets must map names to lists of patterns, not {describe_node(node)}"
            )
            return
        for name, entry in node.entries.items():
            self.presets[name] = self._read_patterns(name, entry.node)

    def _read_patterns(self, name: str, node: Node) -> tuple[str, ...]:
        values = plain_value(node)
        if (
            isinstance(node, Sequence)
            and values
            and all(isinstance(v, str) and v and v == v.strip() for v in values)
        ):
            return tuple(values)
        self.problems.add(
            node.mark,
            f"preset {in_backticks(name)} must be a list of module patterns such as [decoder.*.q_proj, fc1], not "
            f"{describe_node(node) if values else 'an empty list'}",
        )
        return ()

    def _read_alpha(self, node: Mapping) -> None:
        """Refuse alpha and alpha_ratio together, where the later one stands."""
        both = [name for name in ("alpha", "alpha_ratio") if name in node.entries]
        if len(both) == 2:
            first, last = sorted(both, key=lambda name: node.entries[name].mark.order)
            mark = node.entries[last].mark
            how = "" if mark.line else f": `parameters.{first}=` removes the other"
            text = f"{last} beside {first}; alpha = alpha_ratio * rank, so keep one of the two{how}"
            self.problems.add(mark, text)

    def _add_defaults(self) -> None:
        """Fix every parameter that the file does not name at its default."""
        said = {*self.fixed, *self.searched, *self.broken}
        for name, row in TABLE.items():
            if (
                row.default is not None
                and name not in said
                and not (name == "alpha_ratio" and "alpha" in said)
            ):
                self.fixed[name] = row.default

    def _check_conditions(self) -> None:
        for name, entry in self.whens.items():
            conditions = read_conditions(
                name, entry, self.fixed, self.searched, self.broken, self.problems
            )
            self.searched[name] = self.searched[name].model_copy(update={"when": conditions})


def _why_impossible(
    low: ParameterValue, high: ParameterValue, log: bool, step: int | float | None
) -> str:
    assert not isinstance(low, str) and not isinstance(high, str), "only numbers have a range"
    if low >= high:
        return (
            f"min {low:.12g} is not below max {high:.12g}; swap them, or write one value to fix it"
        )
    if log and low <= 0:
        return f"log: true needs min above 0, not {low:.12g}; zero has no logarithm"
    if log and step is not None:
        return "log: true and step cannot be together; list the values instead"
    if step is not None and abs((high - low) / step - round((high - low) / step)) > 1e-9:
        below = low + (high - low) // step * step
        advice = f"end at {below:.12g} or change step" if below > low else "take a smaller step"
        return f"step {step:.12g} does not divide max - min = {high - low:.12g}; {advice}"
    return ""
