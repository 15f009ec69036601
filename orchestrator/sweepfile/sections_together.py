"""Checks of what one section of a sweep file requires of another."""

from __future__ import annotations

import math
from typing import get_args

from orchestrator.sweepfile.evaluation import EvaluationSpec, Precision, Precisions
from orchestrator.sweepfile.launching import check_devices, check_launcher
from orchestrator.sweepfile.limit_checks import mapping_at
from orchestrator.sweepfile.limits import TRAIN_LOSS
from orchestrator.sweepfile.located_nodes import Mapping, Problems, has_value, plain_value
from orchestrator.sweepfile.search_space import SearchSpace

EVERY_STEPS: int = EvaluationSpec.model_fields["every"].default

MAX_GRID = 100_000
"""Most points of a grid, counted without conditions."""
MOST_VALUES_OF_GP = 1_000_000
"""The most values of one parameter for method gp: its sampler holds all of them in memory."""


_RULE_OF = {"ratio": "ratio", "reduction_factor": "asha", "startup_trials": "median"}
"""Keys of `early_stop` -> the method that each belongs to."""


def check_together(space: SearchSpace, tree: Mapping, problems: Problems) -> None:
    """Check what one section of the file requires of another."""
    parameters = tree.entries.get("parameters")
    entries = parameters.node.entries if parameters and isinstance(parameters.node, Mapping) else {}
    on_replay = [name for name in ("replay_ratio", "kl_weight") if _largest_value(space, name) > 0]
    on_replay += ["replay_labels"] if "model" in space.possible("replay_labels") else []
    has_data = mapping_at(tree, "data") is not None  # if not, that is the problem
    if has_data and not has_value(tree, "data", "replay"):
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
            if dimension.size is None or dimension.log:
                # log and step exclude each other
                step = "" if dimension.log else "give it a step, or "
                problems.add(
                    entries[dimension.name].mark,
                    f"method: grid needs the values of {dimension.name}; {step}write {{values: [...]}}",
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
    if has_data and has_value(tree, "confirm") and not has_value(tree, "data", "confirm"):
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
    if not has_value(tree, "evaluation", "precision"):
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
    if search != verdict and not has_value(tree, "confirm"):
        problems.add(
            entry.mark,
            "evaluation.precision differs between search and verdict, so the verdict needs numbers of its own; add "
            "confirm: {top: 2, seeds: [101, 102, 103]} and data.confirm, or write one precision for both",
        )
    if has_value(tree, "execution", "kernel"):
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
        if has_value(tree, "evaluation", "every")
        else EVERY_STEPS
    )
    shortest = min(map(float, space.possible("max_steps")), default=math.inf)
    readable = not has_value(tree, "evaluation") or mapping_at(tree, "evaluation") is not None
    if not readable or not isinstance(every, int) or shortest > every:
        return
    for section in ("guardrails", "acceptance"):
        if has_value(tree, section, TRAIN_LOSS):
            node = tree.entries[section].node
            assert isinstance(node, Mapping)
            problems.add(
                node.entries[TRAIN_LOSS].mark,
                f"{section}.train_loss needs two rungs, and a trial of {shortest:.12g} steps evaluated every {every} "
                "has one; lower evaluation.every",
            )


def _check_early_stop(tree: Mapping, problems: Problems) -> None:
    """Check that a rule's own key has a rule beside it. One of another rule may stay: a file that
    is extended, or an override, chooses another method.
    """
    if not has_value(tree, "early_stop") or has_value(tree, "early_stop", "method"):
        return
    section = tree.entries["early_stop"].node
    if not isinstance(section, Mapping):
        return
    for key, entry in section.entries.items():
        if key in _RULE_OF and plain_value(entry.node) is not None:
            problems.add(
                entry.mark,
                f"early_stop.{key} stops no trial without its rule; add method: {_RULE_OF[key]}, or remove it",
            )


def _largest_value(space: SearchSpace, name: str) -> float:
    return max(map(float, space.possible(name)), default=0.0)
