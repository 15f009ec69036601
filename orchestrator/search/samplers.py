"""Samplers without memory: what they draw depends only on (seed, trial number, parameter) and on
the study in its database.

So a run that was killed, even in the middle of an ask, continues with exactly the values that it
would have had.
"""

from __future__ import annotations

import warnings
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, Trial

from orchestrator.planning.points import Point, grid_cells, is_active, sobol_point, start_points
from orchestrator.sweepfile.digest import derived_seed
from orchestrator.sweepfile.search_space import Dimension
from orchestrator.sweepfile.sweep import SweepSpec

Distribution = CategoricalDistribution | IntDistribution | FloatDistribution

STARTUP_TRIALS = 8
"""Trials that must have ended before tpe and gp model anything; until then they draw at random."""


def suggest(trial: Trial, spec: SweepSpec) -> None:
    """Give the trial a value for every active searched parameter, in the sweep file's order."""
    values: Point = dict(spec.parameters.fixed)
    for dimension in spec.parameters.searched:
        if is_active(dimension, values):
            drawn = _suggest(trial, dimension.name, distribution_of(dimension))
            values[dimension.name] = dimension.snapped(drawn)


def _suggest(trial: Trial, name: str, distribution: Distribution) -> Any:
    match distribution:
        case CategoricalDistribution(choices=choices):
            return trial.suggest_categorical(name, choices)
        case IntDistribution(low=low, high=high, step=step, log=log):
            return trial.suggest_int(name, low, high, step=step, log=log)
        case FloatDistribution(low=start, high=end, step=width, log=log):
            return trial.suggest_float(name, start, end, step=width, log=log)


def distribution_of(dimension: Dimension) -> Distribution:
    """Return the dimension as Optuna's distribution; a range of whole numbers stays whole."""
    if dimension.choices is not None:
        return CategoricalDistribution(dimension.choices)
    assert dimension.low is not None and dimension.high is not None
    if dimension.is_integer:
        return IntDistribution(
            int(dimension.low),
            int(dimension.high),
            log=dimension.log,
            step=int(dimension.step or 1),
        )
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)


def present_distributions(spec: SweepSpec) -> dict[str, Distribution]:
    """Return the distribution of each searched range."""
    return {
        dimension.name: distribution_of(dimension)
        for dimension in spec.parameters.searched
        if dimension.choices is None
    }


class StatelessSampler(BaseSampler):
    """The sweep's method, preceded by the fixed points: those of `start_with`, the cells of a grid,
    or the points of a Sobol sequence.

    Each question gets a fresh inner sampler, seeded from (seed, trial number) for all parameters
    together and from (seed, trial number, parameter) for one alone. A seeded sampler that is kept
    would, after a restart, repeat its first points; a pickled one would be a file of code.
    """

    def __init__(self, spec: SweepSpec) -> None:
        self._spec = spec
        self._starts = start_points(spec)
        self._cells = grid_cells(spec.parameters, self._starts) if spec.method == "grid" else ()

    def exhausted(self, number: int) -> bool:
        """Say whether the grid has no cell left for the trial of this number."""
        return self._spec.method == "grid" and number >= len(self._cells)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the parameters that the inner sampler draws together; none for a trial of
        `start_with`.
        """
        if trial.number < len(self._starts):
            return {}
        return self._inner(trial.number).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return values drawn together by a fresh inner sampler; empty for its first trials."""
        if not search_space:
            return {}
        inner = self._inner(trial.number)
        # called for its effect: TPE with group=True stores the groups that its sample_relative uses
        inner.infer_relative_search_space(study, trial)
        return inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return the value of the trial's fixed point, or one drawn for this parameter alone."""
        given = self._given(trial.number)
        if param_name in given:
            return given[param_name]
        drawer = self._inner(trial.number, param_name)
        return drawer.sample_independent(study, trial, param_name, param_distribution)

    def _given(self, number: int) -> Point:
        """Return the fixed point of a trial; empty where it has none."""
        if self._cells:
            return self._cells[number]
        if number < len(self._starts):
            return self._starts[number]
        if self._spec.method == "qmc":
            return sobol_point(self._spec, number - len(self._starts))
        return {}

    def _inner(self, *key: int | str) -> BaseSampler:
        """Return a fresh sampler of the sweep's method, seeded from the sweep's seed and `key`."""
        seed = derived_seed(self._spec.seed, *key)
        with warnings.catch_warnings():
            # group=True of TPE is marked experimental; it is the one that models conditional
            # parameters together.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            match self._spec.method:
                case "tpe":
                    conditional = any(
                        dimension.when for dimension in self._spec.parameters.searched
                    )
                    return TPESampler(
                        seed=seed, multivariate=True, group=conditional, n_startup_trials=STARTUP_TRIALS,
                        constant_liar=True,
                    )  # fmt: skip
                case "gp":
                    return GPSampler(
                        seed=seed, n_startup_trials=STARTUP_TRIALS, warn_independent_sampling=False
                    )
                case _:
                    return RandomSampler(seed=seed)
