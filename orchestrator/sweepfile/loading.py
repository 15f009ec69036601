"""Loading of a sweep file into an immutable SweepSpec, or one SpecError that lists everything that
is wrong.

Nothing heavy is imported here: a broken file is refused in well under a second.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from orchestrator.errors import SpecError
from orchestrator.sweepfile.cached_model import cached_problems
from orchestrator.sweepfile.conditions import read_points
from orchestrator.sweepfile.evaluation import EvaluationSpec, Precision, Precisions
from orchestrator.sweepfile.launching import check_devices, check_launcher
from orchestrator.sweepfile.layers import read_layers
from orchestrator.sweepfile.limits import TRAIN_LOSS
from orchestrator.sweepfile.located_nodes import (
    Mapping,
    Node,
    Problems,
    Unreadable,
    in_backticks,
    plain_value,
)
from orchestrator.sweepfile.model_folder import model_problems
from orchestrator.sweepfile.parameters import TABLE
from orchestrator.sweepfile.refusals import FORMER
from orchestrator.sweepfile.schema import json_schema
from orchestrator.sweepfile.search_space import SearchSpace
from orchestrator.sweepfile.search_space_reading import SpaceReader
from orchestrator.sweepfile.spec_building import build_spec
from orchestrator.sweepfile.spec_changes import FieldChange, changed_fields
from orchestrator.sweepfile.storage import storage_problems
from orchestrator.sweepfile.sweep import ModelSpec, SweepSpec
from orchestrator.sweepfile.writing import resolved_yaml

__all__ = [
    "FieldChange",
    "changed_fields",
    "check_inputs",
    "json_schema",
    "load_spec",
    "project_root",
    "resolved_yaml",
    "studies_root",
]


EVERY_STEPS: int = EvaluationSpec.model_fields["every"].default

MAX_GRID = 100_000
"""Most points of a grid, counted without conditions."""
MOST_VALUES_OF_GP = 1_000_000
"""The most values of one parameter for method gp: its sampler holds all of them in memory."""


_RULE_OF = {"ratio": "ratio", "reduction_factor": "asha", "startup_trials": "median"}
"""Keys of `early_stop` -> the method that each belongs to."""


def project_root(path: Path) -> Path:
    """Return the folder that paths in a sweep file start from: the parent of the folder `sweeps`
    that the file is in, else the current folder.

    For a study's own spec.yaml it is the parent of the folder `studies` that the study is in.
    """
    folders = Path(os.path.abspath(path)).parents
    if path.name == "spec.yaml" and len(folders) > 2 and folders[1].name == "studies":
        return folders[2]
    return next((folder.parent for folder in folders if folder.name == "sweeps"), Path.cwd())


def studies_root(path: Path) -> Path:
    """Return the folder of the studies of the project that this sweep file belongs to."""
    return project_root(path) / "studies"


def load_spec(path: Path, overrides: Sequence[str] = (), root: Path | None = None) -> SweepSpec:
    """Read, merge and check one sweep file. Manifests need not exist yet: see `check_inputs`.

    Its paths start at `root`, by default at `project_root(path)`.

    Raises:
        SpecError: all problems at once, a line each: place, offending text, nearest valid word, what is allowed.
    """
    problems = Problems()
    try:
        spec = _load_layers(Path(path), overrides, root or project_root(Path(path)), problems)
    except Unreadable:
        spec = None
    problems.raise_any(path)
    assert spec is not None, "no spec without a problem"
    return spec


def _load_layers(
    path: Path, overrides: Sequence[str], root: Path, problems: Problems
) -> SweepSpec | None:
    tree = read_layers(path, overrides, problems)
    tree = Mapping(
        tree.mark, {key: entry for key, entry in tree.entries.items() if _has_value(tree, key)}
    )
    if path.name == "spec.yaml":  # a study's own file may still hold keys that were removed since
        _forget_former(tree)
    reader = SpaceReader(problems)
    reader.broken |= _taken_parameters(tree, problems)
    if "parameters" in tree.entries:
        reader.read(tree.entries["parameters"].node)
    else:
        reader.broken |= set(TABLE)
    space = reader.space()
    points = tree.entries.get("start_with")
    start_with = read_points(points.node, space, reader.broken, problems) if points else ()
    _check_together(space, tree, problems)
    return build_spec(tree, space, start_with, root, problems)


def _forget_former(tree: Mapping) -> None:
    """Remove the keys that former versions had and that mean nothing any more."""
    for section, key in FORMER:
        node = tree.entries[section].node if section in tree.entries else None
        if isinstance(node, Mapping):
            node.entries.pop(key, None)


def _taken_parameters(tree: Mapping, problems: Problems) -> set[str]:
    """Return the parameters that `take` names and that are still to be filled in from another
    study, so they are neither missing nor at their defaults.
    """
    if not _has_value(tree, "take"):
        return set()
    if _has_value(tree, "take", "recipe"):
        _refuse_overridden(tree, problems)
        return set()
    said = plain_value(tree.entries["take"].node)
    names = said.get("parameters") if isinstance(said, dict) else None
    taken = (
        {name for name in names if isinstance(name, str)}
        if isinstance(names, (list, tuple))
        else set()
    )
    for name in sorted(taken):
        if _has_value(tree, "parameters", name):
            section = tree.entries["parameters"].node
            assert isinstance(section, Mapping)
            problems.add(
                section.entries[name].mark,
                f"{name} is under parameters and under take; remove it from one of the two, or write `{name}:` without "
                "a value where another file is extended",
            )
    return taken


def _refuse_overridden(tree: Mapping, problems: Problems) -> None:
    """Refuse another value on the command line for what a study's own file says was taken: the
    study would go on naming the trial that it was taken from.
    """
    take, section = tree.entries["take"].node, tree.entries.get("parameters")
    said = plain_value(take)
    assert isinstance(take, Mapping) and isinstance(said, dict)
    if take.entries["recipe"].mark.line == 0 or not section:  # it is being taken now
        return
    entries = section.node.entries if isinstance(section.node, Mapping) else {}
    for name in said.get("parameters") or ():
        if name in entries and entries[name].mark.line == 0:
            problems.add(
                entries[name].mark,
                f"{name} was taken from trial {said.get('trial')} of study {said.get('study')}; leave it, or begin a "
                f"study of another sweep file that has {name} under parameters and not under take",
            )


def _check_together(space: SearchSpace, tree: Mapping, problems: Problems) -> None:
    """Check what one section of the file requires of another."""
    parameters = tree.entries.get("parameters")
    entries = parameters.node.entries if parameters and isinstance(parameters.node, Mapping) else {}
    on_replay = [name for name in ("replay_ratio", "kl_weight") if _largest_value(space, name) > 0]
    on_replay += ["replay_labels"] if "model" in space.possible("replay_labels") else []
    if not _has_value(tree, "data", "replay"):
        for name in on_replay:
            what = "replay_labels: model" if name == "replay_labels" else f"{name} above 0"
            problems.add(
                entries[name].mark, f"{what} needs general speech; add data.replay: a manifest"
            )
    elif _largest_value(space, "replay_ratio") == 0 and "replay_ratio" in space.fixed:
        for name in on_replay:
            problems.add(
                entries[name].mark,
                f"{name} acts on replay rows, and replay_ratio is 0; set it above 0 or remove {name}",
            )
    method = tree.entries.get("method")
    if method is not None and plain_value(method.node) == "grid":
        for dimension in space.searched:
            if dimension.choices is None and dimension.step is None:
                problems.add(
                    entries[dimension.name].mark,
                    f"method: grid needs a finite {dimension.name}; give it a step, or write {{values: [...]}}",
                )
        sizes = [dimension.size or 1 for dimension in space.searched]
        if math.prod(sizes) > MAX_GRID:
            problems.add(
                tree.entries["method"].node.mark,
                f"method: grid has {' * '.join(map(str, sizes))} points, at most {MAX_GRID}; use fewer values or "
                "method: random, qmc or tpe",
            )
    if method is not None and plain_value(method.node) == "gp":
        for dimension in space.searched:
            if (dimension.size or 0) > MOST_VALUES_OF_GP:
                problems.add(
                    entries[dimension.name].mark,
                    f"method: gp weighs each value of {dimension.name}, and it has {dimension.size}; at most "
                    f"{MOST_VALUES_OF_GP}: write fewer values or a coarser step, or choose method: tpe or random",
                )
    _check_trend(space, tree, problems)
    _check_early_stop(tree, problems)
    check_devices(tree, problems)
    check_launcher(tree, problems)
    if _has_value(tree, "confirm") and not _has_value(tree, "data", "confirm"):
        problems.add(
            tree.entries["confirm"].mark,
            "confirm needs sets the search never reads; add data.confirm: {domain: ..., heldout: ...}, or "
            "data.confirm: {split: 0.3} to split them off by speaker",
        )
    _check_precisions(tree, problems)


def _check_precisions(tree: Mapping, problems: Problems) -> None:
    """Check that a sweep whose verdict has another precision than its search confirms its
    finalists: without that, the verdict would rest on numbers of the search. And that no kernel is
    asked for that computes in float32 alone.
    """
    if not _has_value(tree, "evaluation", "precision"):
        return
    evaluation = tree.entries["evaluation"].node
    assert isinstance(evaluation, Mapping)
    entry = evaluation.entries["precision"]
    given = plain_value(entry.node)
    whole = given if isinstance(given, dict) else dict.fromkeys(Precisions.model_fields, given)
    default = Precisions.model_construct()
    search, verdict = whole.get("search", default.search), whole.get("verdict", default.verdict)
    words = get_args(Precision)
    if search not in words or verdict not in words:
        return
    if search != verdict and not _has_value(tree, "confirm"):
        problems.add(
            entry.mark,
            "evaluation.precision differs between search and verdict, so the verdict needs numbers of its own; add "
            "confirm: {top: 2, seeds: [101, 102, 103]} and data.confirm, or write one precision for both",
        )
    if _has_value(tree, "execution", "kernel"):
        execution = tree.entries["execution"].node
        assert isinstance(execution, Mapping)
        kernel = execution.entries["kernel"]
        if plain_value(kernel.node) == "onednn" and "bf16" in (search, verdict):
            problems.add(
                kernel.mark,
                "execution.kernel: onednn is for float32, and evaluation.precision has bf16; allowed with it: auto, "
                "aten",
            )


def _check_trend(space: SearchSpace, tree: Mapping, problems: Problems) -> None:
    """Check that every trial has two rungs where a limit is on the course of the training loss."""
    every = (
        plain_value(tree.entries["evaluation"].node).get("every")
        if _has_value(tree, "evaluation", "every")
        else EVERY_STEPS
    )
    shortest = min(map(float, space.possible("max_steps")), default=math.inf)
    if not isinstance(every, int) or shortest > every:
        return
    for section in ("guardrails", "acceptance"):
        if _has_value(tree, section, TRAIN_LOSS):
            node = tree.entries[section].node
            assert isinstance(node, Mapping)
            problems.add(
                node.entries[TRAIN_LOSS].mark,
                f"{section}.train_loss needs two rungs, and a trial of {shortest:g} steps evaluated every {every} has "
                "one; lower evaluation.every",
            )


def _check_early_stop(tree: Mapping, problems: Problems) -> None:
    """Check that a rule's own key has a rule beside it. One of another rule may stay: a file that
    is extended, or an override, chooses another method.
    """
    if not _has_value(tree, "early_stop") or _has_value(tree, "early_stop", "method"):
        return
    section = tree.entries["early_stop"].node
    for key, entry in section.entries.items() if isinstance(section, Mapping) else ():
        if key in _RULE_OF and plain_value(entry.node) is not None:
            problems.add(
                entry.mark,
                f"early_stop.{key} stops no trial without its rule; add method: {_RULE_OF[key]}, or remove it",
            )


def _has_value(tree: Mapping, *keys: str) -> bool:
    """Whether there is a value under this path of keys; a key without a value counts as absent."""
    node: Node = tree
    for key in keys:
        if not isinstance(node, Mapping) or key not in node.entries:
            return False
        node = node.entries[key].node
    return plain_value(node) is not None


def _largest_value(space: SearchSpace, name: str) -> float:
    return max(map(float, space.possible(name)), default=0.0)


def _path_hint(path: Path) -> str:
    """Return a hint at a typical mistake in a path that does not exist; empty where there
    is none.
    """
    text = str(path)
    if "\\" in text:
        return " (write / between folders)"
    if re.search(r"\$\w|\$\{|%\w+%", text):
        return " (variables are not replaced: write it out)"
    return ""


def _hub_problems(model: ModelSpec) -> list[str]:
    return [] if os.path.isdir(model.id) else cached_problems(model)


def check_inputs(spec: SweepSpec) -> None:
    """Check that every manifest is a file, that a local model is complete (of a hub id, what the
    cache shows), and that the study's database is configured.

    Raises:
        SpecError: with one line for each problem.
    """
    data = spec.data
    manifests = {
        f"data.{name}": getattr(data, name) for name in ("train", "replay", "domain", "heldout")
    }
    manifests |= {f"data.also.{name}": also.manifest for name, also in data.also.items()}
    if data.confirm is not None:
        manifests |= {
            "data.confirm.domain": data.confirm.domain,
            "data.confirm.heldout": data.confirm.heldout,
        }
        manifests |= {f"data.confirm.also.{name}": path for name, path in data.confirm.also.items()}
    missing = [
        f"{name}: there is no file {in_backticks(path)}; create the manifest or correct the path{_path_hint(path)}"
        for name, path in manifests.items()
        if path is not None and not os.path.isfile(path)
    ]
    if spec.evaluation.terms is not None and not os.path.isfile(spec.evaluation.terms):
        missing.append(
            f"evaluation.terms: there is no file {in_backticks(spec.evaluation.terms)}; write a word or phrase a line "
            "there"
        )
    missing += model_problems(spec.model) or _hub_problems(spec.model)
    missing += storage_problems(spec.storage)
    if missing:
        raise SpecError("\n".join(missing))
