"""Wording of limits and of the numbers that they are compared with."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.scoring.limits import Criterion, LimitVerdict
from orchestrator.set_names import is_wer, search_name

_RATES = {"wer": "WER", "cer": "CER", "recall": "recall", "precision": "precision"}
_DECIMALS = 8
"""Numbers that differ from a limit in the eighth decimal are at the limit, as far as one can see."""
_SETS = {"any_also": "some further set", "terms": "domain terms"}


def metric_text(metric: str) -> str:
    """A metric as a person would say it: heldout_cer is heldout CER, noisy_wer is noisy WER."""
    if metric == "train_loss":
        return "training loss"
    name, _, rate = metric.rpartition("_")
    return f"{_SETS.get(name, name.replace('_', ' '))} {_RATES[rate]}"


def rate_text(rate: str) -> str:
    """A rate, by the name that measurements use, as a person would say it: domain is domain WER."""
    rate = search_name(rate)
    if is_share_found(rate):
        return metric_text(f"terms_{rate.rpartition('_')[2]}")
    return metric_text(f"{rate}_wer" if is_wer(rate) else rate)


def is_share_found(name: str) -> bool:
    """Whether a metric or rate is recall or precision of terms. Those are counted as shares that
    are missed, like errors, but shown as shares that are found, so signs and directions are
    reversed.
    """
    return f"_{name}".endswith(("_terms_recall", "_terms_precision"))


def shown_rate(rate: str, value: float) -> float:
    """Return a rate in percent as it is shown: of recall and precision, the share that is found."""
    return 100 - value if is_share_found(rate) else value


def shown_change(rate: str, value: float) -> float:
    """Return a change of a rate in points as it is shown: of recall and precision, a rise is
    positive and better.
    """
    return 0.0 - value if is_share_found(rate) else value  # never -0.0


def shown_bounds(rate: str, lower: float, upper: float) -> tuple[float, float]:
    """Return the bounds of a change as they are shown, the lower one first."""
    return (0.0 - upper, 0.0 - lower) if is_share_found(rate) else (lower, upper)


def asked_text(criterion: Criterion) -> str:
    """A limit as a person would say it."""
    name, amount = metric_text(criterion.metric), _amount_text(criterion)
    up, down = ("falls", "rises") if is_share_found(criterion.metric) else ("rises", "falls")
    return {
        "max_regression": f"{name} {up} by less than {amount}",
        "min_gain": f"{name} {down} by at least {amount}",
        "not_worse": f"{name} does not {up.removesuffix('s')}",
        "max_rate": f"{name} is at most {amount}",
        "falls": f"{name} falls from rung to rung, by and large",
        "falls_monotonically": f"{name} falls at every rung",
    }[criterion.kind]


def allowed_text(criterion: Criterion) -> str:
    """What a limit allows, in the words that follow the measured number: `allowed is ...`."""
    unit = {"points": "", "percent": " %", "times": " times"}[criterion.unit]
    if is_share_found(criterion.metric) and criterion.kind != "max_rate":
        return {
            "max_regression": f"allowed is more than {-criterion.limit:+zg}{unit}",
            "min_gain": f"asked for is {criterion.limit:+g}{unit} or higher",
            "not_worse": "allowed is +0 or higher",
        }[criterion.kind]
    return {
        "max_regression": f"allowed is less than {criterion.limit:+g}{unit}",
        "min_gain": f"asked for is {-criterion.limit:+zg}{unit} or lower",
        "not_worse": "allowed is +0 or lower",
        "max_rate": f"allowed is at most {criterion.limit:g}{' %' if criterion.unit == 'points' else unit}",
        "falls": "it must fall",
        "falls_monotonically": "it must fall each time",
    }[criterion.kind]


def value_text(limit: LimitVerdict) -> str:
    """The number that a limit is compared with, with its unit."""
    criterion, value = limit.criterion, limit.value
    if value is None:
        return "-"
    if criterion.metric == "train_loss":
        return f"{limit.baseline:.3f} to {limit.tuned:.3f} nats{_course_text(limit)}"
    decimals = decimals_of(limit)
    if criterion.kind == "max_rate":
        unit = "%" if criterion.unit == "points" else "times the baseline"
        return f"{value:.{decimals}f} {unit}"
    change = f"{shown_change(criterion.metric, value):+z.{decimals}f}"
    return f"{change} points" if criterion.unit == "points" else f"{change} % of the baseline"


def _course_text(limit: LimitVerdict) -> str:
    """Say how a training loss does not fall although its last rung's is below its first; else empty."""
    first, last, value = limit.baseline, limit.tuned, limit.value
    if first is None or last is None or value is None or last >= first or value < 0:
        return ""
    if limit.criterion.kind == "falls_monotonically":
        decimals = enough_decimals(3, (value, lambda rise: rise > 0))
        return f", rising by {value:.{decimals}f} in between"
    return f", Kendall's tau {value:+z.2f}"


def decimals_of(limit: LimitVerdict) -> int:
    """Return with how many decimals `limit.value` is shown: two, or one of percent of the
    baseline, and more where the rounded number would keep a limit that the measured one breaks, or
    break one that it keeps.
    """
    criterion, value = limit.criterion, limit.value
    usual = 1 if criterion.unit == "percent" else 2
    return usual if value is None else enough_decimals(usual, (value, criterion.keeps))


def decimals_of_bounds(limit: LimitVerdict) -> int:
    """Return with how many decimals the bounds of `limit.value` are shown: two, and more where
    rounded ones would say something else about the limit, or about a gain that was asked for.
    """
    criterion = limit.criterion
    answers: list[Answer] = [
        (limit.upper, criterion.keeps),
        (limit.lower, lambda lower: lower > criterion.threshold),
    ]
    if criterion.kind == "min_gain":
        answers.append((limit.upper, lambda upper: upper < 0))
    return enough_decimals(2, *answers)


Answer = tuple[float, Callable[[float], bool]]
"""A number, and a question about it whose answer stands beside it."""


def enough_decimals(usual: int, *answers: Answer) -> int:
    """Return the fewest decimals from `usual` on with which every rounded number gives the answer
    of the number itself.
    """
    enough = (
        n
        for n in range(usual, _DECIMALS)
        if all(asked(round(number, n)) == asked(number) for number, asked in answers)
    )
    return next(enough, usual)


def _amount_text(criterion: Criterion) -> str:
    if criterion.kind == "max_rate":
        return (
            f"{criterion.limit:g} %"
            if criterion.unit == "points"
            else f"{criterion.limit:g} times the baseline's"
        )
    return (
        f"{criterion.limit:g} points"
        if criterion.unit == "points"
        else f"{criterion.limit:g} % of the baseline's"
    )
