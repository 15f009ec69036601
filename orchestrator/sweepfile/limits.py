"""The limits of the sweep file, under `guardrails:` and `acceptance:`: which metrics there are, and
what may be asked of each.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from orchestrator.sweepfile.frozen import Frozen

Rule = Literal["point", "proven"]
Question = Literal["falls", "falls_monotonically", "not_worse", "kept"]

ANY, EVERY = "any_also", "every_also"
"""Used in the place of a set's name in a metric: at least one of the sets of `data.also`, or each
of them.
"""

TERMS = ("terms_recall", "terms_precision")
TRAIN_LOSS = "train_loss"

SHIPPED = "shipped"
"""Key of acceptance alone. It asks that the limits that hold as measured hold in the exported form,
too.
"""

PERCENT = r"[0-9]+(\.[0-9]+)?%"
_TIMES = r"[0-9]+(\.[0-9]+)?x"


def _parse_amount(value: object, pattern: str, allowed: str) -> object:
    """Return a number of at least 0, or text that matches `pattern`; ValueError says what is
    allowed.
    """
    if isinstance(value, str) and re.fullmatch(pattern, value):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf:
        return float(value)
    raise ValueError(allowed)


def _parse_change(value: object) -> object:
    """Check a change: a number of points, or percent of the baseline as text such as 5%."""
    return _parse_amount(
        value, PERCENT, "points, at least 0, such as 0.2, or percent of the baseline such as 5%"
    )


def _parse_rate(value: object) -> object:
    """Check a rate: percent as a number, or a multiple of the baseline's rate as text
    such as 2x.
    """
    return _parse_amount(
        value, _TIMES, "percent, at least 0, such as 40, or times the baseline such as 2x"
    )


Change = Annotated[float | str, BeforeValidator(_parse_change)]
Rate = Annotated[float | str, BeforeValidator(_parse_rate)]


class Limit(Frozen):
    """What is asked of one rate, compared with the baseline's. Null asks nothing.

    A change is a number of points, or text such as 5% for percent of the baseline's rate.
    """

    max_regression: Change | None = None
    """The rate must rise by strictly less than this; recall and precision must fall by less."""
    min_gain: Change | None = None
    """The rate must fall by at least this; recall and precision must rise by it."""
    max_wer: Rate | None = None
    """The WER itself must be at most this: percent, or text such as 2x for a multiple of the
    baseline's.
    """
    max_cer: Rate | None = None
    """The same for a CER."""
    asks: str | None = None
    """What needs no number; `train_loss: falls` is short for `train_loss: {asks: falls}`."""
    rule: Rule | None = None
    """How the limit is decided, by the measured number (point) or by what the data prove (proven).

    A guardrail prunes at a rung where the measured number breaks it, or where the data prove that
    it is broken. For acceptance the measured number suffices, or its bound must keep the limit too.
    Null until the limit is part of a sweep, which fills it in: proven for guardrails and for gains,
    point for everything else. It stays null where a limit of acceptance asks for a gain and for
    something else, of which each has its own rule.
    """

    def ruled(self, default: Rule) -> Limit:
        """Return this limit with the default rule where it has none."""
        return self.model_copy(update={"rule": self.rule or default})

    def rule_of(self, question: str) -> Rule:
        """Return the rule of one of `questions` of acceptance."""
        return self.rule or default_rule(question)

    @property
    def questions(self) -> dict[str, float | str]:
        """The keys that have a value, without `rule`."""
        given = {
            key: getattr(self, key)
            for key in ("max_regression", "min_gain", "max_wer", "max_cer", "asks")
        }
        return {key: value for key, value in given.items() if value is not None}


def default_rule(question: str) -> Rule:
    """The rule by which acceptance decides a question, a key of a limit, unless the file says."""
    return "proven" if question == "min_gain" else "point"


def limit_keys(metric: str) -> tuple[str, ...]:
    """The keys that a limit on this metric may have, beside `rule`."""
    if metric in (TRAIN_LOSS, SHIPPED):
        return ("asks",)
    if metric in TERMS:
        return ("max_regression", "min_gain", "asks")
    return "max_regression", "min_gain", f"max_{metric.rpartition('_')[2]}", "asks"


def questions_of(metric: str) -> tuple[Question, ...]:
    """The values that `asks` may have for this metric."""
    if metric == SHIPPED:
        return ("kept",)
    return ("falls", "falls_monotonically") if metric == TRAIN_LOSS else ("not_worse",)


def metrics(sets: Iterable[str], also: Iterable[str], terms: bool) -> tuple[str, ...]:
    """All metrics that a sweep with these sets may limit."""
    also = tuple(also)
    names = [*sets, *also, *((ANY, EVERY) if also else ())]
    rates = [f"{name}_{rate}" for name in names for rate in ("wer", "cer")]
    return (*rates, *(TERMS if terms else ()), TRAIN_LOSS)


def set_of(metric: str) -> str:
    """The set that a metric is measured on; train_loss and shipped have none."""
    if metric in (TRAIN_LOSS, SHIPPED):
        return ""
    return "domain" if metric in TERMS else metric.rpartition("_")[0]


def short_form(value: Any) -> Any:
    """Expand a limit's short form: `falls` to `{asks: falls}`, and true, which `shipped` alone has,
    to `{asks: kept}`. A number alone is refused by `check_limits`, which knows what the metric may
    be asked.
    """
    if value is True:
        return {"asks": "kept"}
    return {"asks": str(value)} if isinstance(value, (str, int, float)) else value
