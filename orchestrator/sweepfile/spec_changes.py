"""Differences between the spec that a study was begun with and the sweep file as it is now, and
which of them are allowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from orchestrator.sweepfile.search_space import Dimension, SearchSpace
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.sweepfile.writing import file_dimension

FREE = ("name", "budget", "execution", "description", "checks", "record")
"""Sections that are no part of a study's identity: they may change between its runs."""


@dataclass(frozen=True)
class FieldChange:
    """One field that differs; `old` and `new` are plain values as in the file, None where
    absent.
    """

    path: str
    old: Any
    new: Any
    allowed: bool
    """Whether a study that was begun with the old value may continue with the new one."""


def changed_fields(stored: SweepSpec, new: SweepSpec) -> list[FieldChange]:
    """Return every field that differs, in file order. Sections in FREE may change, and ranges may
    widen.

    Paths are compared relative to the project's folder, so a project may be moved. One model folder
    may be replaced by another: whether the weights are equal is decided by the evaluation's
    fingerprint. A grid's range may not widen, because its numbered points would change numbers.
    """
    before, after = (_leaf_values(each, "") for each in _both_without_space(stored, new))
    free = {"model.id"} if stored.model.is_folder and new.model.is_folder else set()
    changes = [
        FieldChange(
            path, before.get(path), after.get(path), path.split(".")[0] in FREE or path in free
        )
        for path in dict.fromkeys((*before, *after))
        if before.get(path) != after.get(path)
    ]
    return changes + _space_changes(
        stored.parameters, new.parameters, widening=stored.method != "grid"
    )


def _both_without_space(*specs: SweepSpec) -> tuple[dict[str, Any], ...]:
    """Return both as JSON values without their parameters. The precision is a word in both, or in
    neither: of a word and a mapping, every part would seem to differ.
    """
    trees = tuple(spec.portable.model_dump(mode="json", exclude={"parameters"}) for spec in specs)
    if any(isinstance(tree["evaluation"]["precision"], dict) for tree in trees):
        for spec, tree in zip(specs, trees, strict=True):
            tree["evaluation"]["precision"] = dict(spec.evaluation.precision)
    return trees


def _leaf_values(value: Any, path: str) -> dict[str, Any]:
    """Flatten nested mappings to {"section.key": value}; an empty mapping counts as None."""
    if not isinstance(value, dict) or (not value and path):
        return {path: value or None} if isinstance(value, dict) else {path: value}
    leaves: dict[str, Any] = {}
    for key, item in value.items():
        leaves |= _leaf_values(item, f"{path}.{key}" if path else key)
    return leaves


def _space_changes(stored: SearchSpace, new: SearchSpace, widening: bool) -> list[FieldChange]:
    """Return the parameters that differ; a wider range is allowed where `widening`. The order of
    the searched parameters counts, too: the points of a sequence are given out by it.
    """
    before, after = _parameter_values(stored), _parameter_values(new)
    old_dimensions = {dimension.name: dimension for dimension in stored.searched}
    new_dimensions = {dimension.name: dimension for dimension in new.searched}
    changes = []
    for name in dict.fromkeys((*before, *after)):
        old, now = before.get(name), after.get(name)
        if old != now or type(old) is not type(now):
            both = old_dimensions.get(name), new_dimensions.get(name)
            allowed = (
                widening
                and both[0] is not None
                and both[1] is not None
                and widens_range(both[0], both[1])
            )
            changes.append(FieldChange(f"parameters.{name}", old, now, allowed))
    orders = (
        [name for name in old_dimensions if name in new_dimensions],
        [name for name in new_dimensions if name in old_dimensions],
    )
    if orders[0] != orders[1]:
        changes.append(FieldChange("parameters (order)", *orders, False))
    return changes


def _parameter_values(space: SearchSpace) -> dict[str, Any]:
    """Map each parameter to its value as in the file, and each preset that a trial can use to its
    patterns.
    """
    written: dict[str, Any] = dict(space.fixed)
    targets = space.possible("target_modules")
    written |= {dimension.name: file_dimension(dimension) for dimension in space.searched}
    written["adapter_scale"] = list(space.adapter_scales)
    written |= {
        f"target_modules.presets.{n}": list(p) for n, p in space.presets.items() if n in targets
    }
    return written


def widens_range(old: Dimension, new: Dimension) -> bool:
    """Whether the new range contains every value of the old one, with the same type, scale, step
    and conditions.
    """
    if old.low is None or old.high is None or new.low is None or new.high is None:
        return False
    same = (old.is_integer, old.log, old.step, old.when) == (
        new.is_integer,
        new.log,
        new.step,
        new.when,
    )
    return same and new.low <= old.low and old.high <= new.high and new.contains(old.low)
