"""How much of the differences between trials each parameter explains."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

FEWEST = 4
"""Least number of trials of a parameter; fewer say nothing about it."""
_GROUPS = 3


def importances(params: Sequence[Mapping[str, Any]], values: Sequence[float]) -> dict[str, float]:
    """Return the share of the variance of the values' ranks that each parameter explains alone, 0
    to 1, largest first. `params` and `values` have one entry per trial.

    It is the eta squared of Kruskal and Wallis' H, (H - k + 1) / (n - k) for k groups of n values
    (Tomczak and Tomczak 2014), which subtracts what as many groups explain by chance; not below 0.
    A numeric parameter with more than three distinct values forms three groups of equal size.
    Trials without the parameter do not count. Parameters with a single group, with a group for
    every trial, or with fewer than `FEWEST` trials, are left out.
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
    """Return the group of each setting: the setting itself, or, where there are more than three
    different numbers, which third of them it lies in.
    """
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
    # 1 - MS_within / MS_total of the ranks, which equals (H - k + 1) / (n - k)
    return max(0.0, 1 - (within / spare) / (total / (len(values) - 1)))


def _mean_ranks(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return ranks from 1; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse])
