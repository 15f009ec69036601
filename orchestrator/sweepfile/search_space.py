"""The search space of a sweep: parameters with ranges or values, and the conditions under which
they are active.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import field_validator

from orchestrator.sweepfile.frozen import Frozen
from orchestrator.sweepfile.parameters import TABLE


class Metric(Frozen):
    """The rate that the search minimises."""

    name: Literal["domain_wer", "domain_cer"] = "domain_wer"
    goal: Literal["minimize"] = "minimize"


class Condition(Frozen):
    """One condition of a `when`: a parameter is active only while an earlier one meets it."""

    parameter: str
    """Name of the earlier parameter."""
    operator: Literal["equals", "in", "above", "below"]
    """How its value is compared."""
    value: Any
    """What it is compared with: for `in` a tuple of values, else one value."""

    @field_validator("value")
    @classmethod
    def _immutable(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    def holds(self, value: bool | int | float | str) -> bool:
        """Whether the condition is satisfied when the named parameter has `value`."""
        if self.operator == "in":
            return value in self.value
        if self.operator == "equals":
            return bool(value == self.value)
        return bool(value > self.value if self.operator == "above" else value < self.value)


class Dimension(Frozen):
    """A searched parameter: either choices, or a range from `low` to `high`."""

    name: str
    choices: tuple[bool | int | float | str, ...] | None = None
    """The values to choose from; None for a range."""
    low: float | int | None = None
    """Lower end of the range, part of it; None for choices."""
    high: float | int | None = None
    """Upper end of the range; None for choices."""
    log: bool = False
    """Whether the logarithm of the range is searched."""
    step: float | int | None = None
    """Distance between the values of the range; None: any number, or every integer where both ends
    are integers.
    """
    when: tuple[Condition, ...] = ()
    """Conditions that must all hold for the parameter to be active; else it has its default."""

    @property
    def is_integer(self) -> bool:
        """Whether both ends of the range were written as integers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def size(self) -> int | None:
        """The number of values; None for a continuous range."""
        if self.choices is not None:
            return len(self.choices)
        step = self.step or (1 if self.is_integer else None)
        return (
            None if step is None else round((self._highest_value - self._lowest_value) / step) + 1
        )

    @property
    def values(self) -> Sequence[bool | int | float | str] | None:
        """All values in order; None for a continuous range. Floats of a range with a step are
        rounded to 12 significant digits.

        Integers are given as a `range` object, because a seed may have 2**32 values.
        """
        if self.choices is not None or self.size is None:
            return self.choices
        return self._whole_numbers or tuple(map(self.value_of, range(self.size)))

    def value_of(self, index: int) -> bool | int | float | str:
        """The value at an index of `values`, without making all of them: a range of small steps may
        have millions.
        """
        if self.choices is not None:
            return self.choices[index]
        if (whole := self._whole_numbers) is not None:
            return whole[index]
        return float(f"{self._lowest_value + index * (self.step or 1):.12g}")

    @property
    def _whole_numbers(self) -> range | None:
        """The values of a range of whole numbers; None for any other."""
        low, high, step = self.low, self.high, self.step or 1
        if isinstance(low, int) and isinstance(high, int) and isinstance(step, int):
            return range(low, high + 1, step)
        return None

    def contains(self, value: bool | int | float | str) -> bool:
        """Whether `value`, of the parameter's own type, lies in this dimension and on its steps; of
        numbers that are no whole ones with a tolerance for rounding.
        """
        if self.choices is not None:
            return value in self.choices
        if isinstance(value, str):
            return False
        if (whole := self._whole_numbers) is not None:
            return value in whole
        low, high = self._lowest_value, self._highest_value
        slack = 0.0 if self.log else 1e-9 * (self.step or high - low)
        if not low <= value <= high and not any(
            math.isclose(value, end, abs_tol=slack) for end in (low, high)
        ):
            return False
        steps = (value - low) / self.step if self.step else 0.0
        return math.isclose(steps, round(steps), abs_tol=1e-9)

    def snapped(self, value: Any) -> Any:
        """Round `value` as `values` does: a step of 0.1 gives 0.3 and not 0.30000000000000004."""
        return (
            float(f"{value:.12g}") if self.step is not None and isinstance(value, float) else value
        )

    @property
    def _lowest_value(self) -> float | int:
        assert self.low is not None, "a dimension has choices or a range"
        return self.low

    @property
    def _highest_value(self) -> float | int:
        assert self.high is not None, "a dimension has choices or a range"
        return self.high


class SearchSpace(Frozen):
    """`parameters:` of the file: what is fixed, what is searched, and what is evaluated after
    training.
    """

    fixed: dict[str, bool | int | float | str]
    """Parameters with one value, by name."""
    searched: tuple[Dimension, ...]
    """The searched parameters in file order; a condition refers to an earlier one."""
    adapter_scales: tuple[float, ...] = (1.0,)
    """The scales at which every trained adapter is evaluated."""
    presets: dict[str, tuple[str, ...]]
    """Name of each preset of target modules -> its patterns: the built-in ones and the file's
    own.
    """

    def possible(self, name: str) -> tuple[bool | int | float | str, ...]:
        """Return the values that trials may have for a parameter: for a range its two ends only,
        for a conditional parameter also its default. Empty where it has none.
        """
        values = [self.fixed[name]] if name in self.fixed else []
        for dimension in self.searched:
            if dimension.name == name:
                values += dimension.choices or [dimension._lowest_value, dimension._highest_value]
                default = TABLE[name].default
                values += [default] if dimension.when and default is not None else []
        return tuple(values)
