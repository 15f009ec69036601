"""Which layers trials adapt together with which target modules."""

from __future__ import annotations

from random import Random

from orchestrator.planning.points import Point, active_part, value_at
from orchestrator.sweepfile.parameters import TABLE
from orchestrator.sweepfile.sweep import SweepSpec

_DRAWS = 1000
"""Number of points that are drawn. A pair that none of them has is rare in the search, too."""
_BOTH = ("target_modules", "layers")


def drawn_targets(spec: SweepSpec) -> tuple[tuple[str, str], ...]:
    """Return pairs of `target_modules` and `layers` that trials may have, those of rare points
    perhaps not. What `when` excludes is not among them.
    """
    searched = {dimension.name for dimension in spec.parameters.searched}
    random, pairs = Random(0), dict[tuple[str, str], None]()
    for _ in range(_DRAWS if searched & set(_BOTH) else 1):
        point: Point = {
            dimension.name: value_at(dimension, random.random())
            for dimension in spec.parameters.searched
        }
        values = {**spec.parameters.fixed, **active_part(spec, point)}
        modules, layers = (str(values.get(name, TABLE[name].default)) for name in _BOTH)
        pairs[modules, layers] = None
    return tuple(pairs)
