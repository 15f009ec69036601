"""How much of what trials differ by goes with each parameter."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

FEWEST = 4
"""Trials: of fewer nothing can be said."""
_GROUPS = 3


def importances(params: Sequence[Mapping[str, Any]], values: Sequence[float]) -> dict[str, float]:
    """Share of the spread of the values' ranks that each parameter explains alone, 0 to 1, largest
    first.

    The eta squared of Kruskal and Wallis' H, (H - k + 1) / (n - k) for k groups of n values
    (Tomczak and Tomczak 2014), which takes off what as many groups explain by chance; not below 0.
    Numbers of more than three values form three groups of equal size; trials without the parameter
    do not count. Parameters that have one value, or fewer than `FEWEST` trials, are left out.
    """
    shares = {}
    for name in dict.fromkeys(name for trial_params in params for name in trial_params):
        pairs = [
            (settings[name], value)
            for settings, value in zip(params, values, strict=True)
            if name in settings
        ]
        groups = _group_settings([setting for setting, _ in pairs])
        if len(pairs) >= FEWEST and 1 < len(set(groups)) < len(pairs):
            shares[name] = _explained_share(groups, [value for _, value in pairs])
    return dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))


def _group_settings(settings: Sequence[Any]) -> list[Hashable]:
    """The group of each setting: itself, or of many different numbers its third."""
    numbers = all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in settings
    )
    if not numbers or len(set(settings)) <= _GROUPS:
        return [str(value) for value in settings]
    cuts = np.quantile(settings, [cut / _GROUPS for cut in range(1, _GROUPS)])
    return [int(group) for group in np.searchsorted(cuts, settings)]


def _explained_share(groups: Sequence[Hashable], values: Sequence[float]) -> float:
    ranks = _mean_ranks(np.asarray(values, dtype=float))
    total = float(np.sum((ranks - ranks.mean()) ** 2))
    if not total:
        return 0.0
    rows = {
        name: [row for row, group in enumerate(groups) if group == name] for name in set(groups)
    }
    within = sum(float(np.sum((ranks[own] - ranks[own].mean()) ** 2)) for own in rows.values())
    spare = len(values) - len(rows)
    return max(0.0, 1 - (within / spare) / (total / (len(values) - 1)))


def _mean_ranks(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Ranks from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse])
