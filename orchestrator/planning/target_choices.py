"""Which layers trials adapt together with which target modules."""

from __future__ import annotations

from itertools import cycle
from random import Random

from orchestrator.planning.points import active_part, start_points, value_at
from orchestrator.sweepfile.parameters import TABLE
from orchestrator.sweepfile.sweep import SweepSpec

_DRAWS = 1000
"""Number of points that are drawn. A pair that none of them has is rare in the search, too."""
_BOTH = ("target_modules", "layers")


def drawn_targets(spec: SweepSpec) -> tuple[tuple[str, str], ...]:
    """Return pairs of `target_modules` and `layers` that trials may have, those of rare points
    perhaps not. What `when` excludes is not among them, nor what `start_with` does not say where
    its points are all trials.

    Raises StudyError for a point of `start_with` outside the space.
    """
    searched = spec.parameters.searched
    starts = start_points(spec)
    given = starts if len(starts) >= spec.budget.trials else ({},)
    drawn = _DRAWS if any(dimension.name in _BOTH for dimension in searched) else 1
    random, pairs = Random(0), dict[tuple[str, str], None]()
    for start, _ in zip(cycle(given), range(drawn), strict=False):
        point = {dimension.name: value_at(dimension, random.random()) for dimension in searched}
        values = {**spec.parameters.fixed, **active_part(spec, point | start)}
        modules, layers = (str(values.get(name, TABLE[name].default)) for name in _BOTH)
        pairs[modules, layers] = None
    return tuple(pairs)
