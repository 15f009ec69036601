"""Loading of a sweep file into an immutable SweepSpec, or one SpecError that lists everything that
is wrong.

Nothing heavy is imported here: a broken file is refused in well under a second.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping as MappingABC
from collections.abc import Sequence
from pathlib import Path

from orchestrator.errors import SpecError
from orchestrator.sweepfile.cached_model import cached_problems
from orchestrator.sweepfile.conditions import read_points
from orchestrator.sweepfile.data import relative_to
from orchestrator.sweepfile.layers import is_kept_by_study, overridden, read_layers
from orchestrator.sweepfile.limit_checks import check_verdict_is_asked_for, mapping_at
from orchestrator.sweepfile.limits import default_rule
from orchestrator.sweepfile.located_nodes import (
    Mapping,
    Problems,
    Unreadable,
    has_value,
    in_backticks,
    plain_value,
)
from orchestrator.sweepfile.model_folder import model_problems
from orchestrator.sweepfile.parameters import TABLE
from orchestrator.sweepfile.schema import json_schema
from orchestrator.sweepfile.search_space_reading import SpaceReader
from orchestrator.sweepfile.sections_together import check_together
from orchestrator.sweepfile.spec_building import build_spec
from orchestrator.sweepfile.spec_changes import FieldChange, changed_fields
from orchestrator.sweepfile.storage import storage_problems
from orchestrator.sweepfile.sweep import EarlyStop, ModelSpec, SweepSpec
from orchestrator.sweepfile.unknown_keys import FORMER, with_known_keys
from orchestrator.sweepfile.writing import resolved_yaml
from orchestrator.typed_words import path_word

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


def load_spec(
    path: Path,
    overrides: Sequence[str] = (),
    root: Path | None = None,
    named: Sequence[str] = (),
) -> SweepSpec:
    """Read, merge and check one sweep file. Manifests need not exist yet: see `check_inputs`.

    Its paths start at `root`, by default at `project_root(path)`. `named` are the words that name
    it on the command line, by default its path.

    Raises:
        SpecError: all problems at once, a line each: place, offending text, nearest valid word, what is allowed.
    """
    problems = Problems()
    try:
        spec = _load_layers(Path(path), overrides, root or project_root(Path(path)), problems)
    except Unreadable:
        spec = None
    problems.raise_any(named or [path_word(path)])
    assert spec is not None, "no spec without a problem"
    return spec


def _load_layers(
    path: Path, overrides: Sequence[str], root: Path, problems: Problems
) -> SweepSpec | None:
    tree, of_study = read_layers(path, problems), is_kept_by_study(path)
    if of_study:
        _forget_former(tree)
        _forget_filled_in(tree)
    tree = with_known_keys(overridden(tree, overrides, problems), problems)
    tree = Mapping(
        tree.mark, {key: entry for key, entry in tree.entries.items() if has_value(tree, key)}
    )
    check_verdict_is_asked_for(tree, problems, of_study)
    reader = SpaceReader(problems)
    reader.broken |= _taken_parameters(tree, problems)
    if "parameters" in tree.entries:
        reader.read(tree.entries["parameters"].node)
    else:
        reader.broken |= set(TABLE)
    space = reader.space()
    points = tree.entries.get("start_with")
    start_with = read_points(points.node, space, reader.broken, problems) if points else ()
    check_together(space, tree, problems)
    return build_spec(tree, space, start_with, root, problems)


def _forget_former(tree: Mapping) -> None:
    """Remove the keys that former versions had and that mean nothing any more: a study's own file
    may still hold what was allowed once.
    """
    for section, key in FORMER:
        node = tree.entries[section].node if section in tree.entries else None
        if isinstance(node, Mapping):
            node.entries.pop(key, None)


def _forget_filled_in(tree: Mapping) -> None:
    """Remove what was not asked for and would change what an override means: rules of acceptance
    that are the defaults of what is asked, where something else has the default of that; and an
    early stop that stops nothing, beside which a number without its rule would stop nothing either.
    """
    early_stop = tree.entries.get("early_stop")
    if early_stop and plain_value(early_stop.node) == EarlyStop().model_dump():
        del tree.entries["early_stop"]
    acceptance = mapping_at(tree, "acceptance")
    for metric in acceptance.entries if acceptance else ():
        limit = mapping_at(acceptance, metric)
        rule = (
            plain_value(limit.entries["rule"].node) if limit and "rule" in limit.entries else None
        )
        if limit and [rule] == [*{default_rule(key) for key in limit.entries if key != "rule"}]:
            del limit.entries["rule"]


def _taken_parameters(tree: Mapping, problems: Problems) -> set[str]:
    """Return the parameters that `take` names and that are still to be filled in from another
    study, so they are neither missing nor at their defaults.
    """
    if not has_value(tree, "take"):
        return set()
    if has_value(tree, "take", "recipe"):
        _refuse_overridden(tree, problems)
        return set()
    taken = _named_by_take(tree)
    for name in sorted(taken):
        if has_value(tree, "parameters", name):
            section = tree.entries["parameters"].node
            assert isinstance(section, Mapping)
            problems.add(
                section.entries[name].mark,
                f"{name} is under parameters and under take; remove it from one of the two, or write `{name}:` without "
                "a value where another file is extended",
            )
    return taken


def _named_by_take(tree: Mapping) -> set[str]:
    said = plain_value(tree.entries["take"].node)
    names = said.get("parameters") if isinstance(said, dict) else None
    return (
        {name for name in names if isinstance(name, str)}
        if isinstance(names, (list, tuple))
        else set()
    )


def _refuse_overridden(tree: Mapping, problems: Problems) -> None:
    """Refuse another value, or none, on the command line for what a study's own file says was
    taken, and for where it was taken from: the study would name a trial that its values are not from.
    """
    take, section = tree.entries["take"].node, tree.entries.get("parameters")
    said = plain_value(take)
    assert isinstance(take, Mapping) and isinstance(said, dict)
    if take.entries["recipe"].mark.line == 0 or not section:  # it is being taken now
        return
    for key, entry in take.entries.items():
        if entry.mark.line == 0:
            problems.add(
                entry.mark,
                f"take.{key} was decided when the study began; name its sweep file in the place of the study, or "
                "remove take (`take=`), which keeps the values",
            )
    entries = section.node.entries if isinstance(section.node, Mapping) else {}
    for name in sorted(_named_by_take(tree)):
        value = entries.get(name)
        if value is None or value.mark.line == 0:  # removed, or another one
            problems.add(
                (value or take.entries["parameters"]).mark,
                f"{name} was taken from trial {said.get('trial')} of study {said.get('study')}; leave it, or begin a "
                f"study of another sweep file that has {name} under parameters and not under take",
            )


def _path_hint(path: Path) -> str:
    """Return a hint at a typical mistake in a path as it was written, which does not exist; empty
    where there is none.
    """
    text = str(path)
    if "\\" in text:
        return " (write / between folders)"
    if re.search(r"\$\w|\$\{|%\w+%", text):
        return " (variables are not replaced: write it out)"
    return ""


def _hub_problems(model: ModelSpec) -> list[str]:
    return [] if os.path.isdir(model.id) else cached_problems(model)


def _unwritable(spec: SweepSpec, paths: MappingABC[str, Path | None]) -> list[str]:
    """Return the problems, one line each, of paths that no file of a study can hold: those outside
    of the project whose names are of another encoding than UTF-8.
    """
    return [
        f"{name}: {in_backticks(path)} has bytes in its name that are not UTF-8, and a study keeps the names of what "
        f"lies outside of its project; rename the folder, or put it below {in_backticks(spec.project)}"
        for name, path in paths.items()
        if path is not None and not _is_utf8(relative_to(path, spec.project))
    ]


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def check_inputs(spec: SweepSpec) -> None:
    """Check that every manifest is a file whose name a study can keep, that a local model is
    complete (of a hub id, what the cache shows), and that the study's database is configured.

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
        f"{name}: there is no file {in_backticks(path)}; create the manifest or correct the path"
        f"{_path_hint(relative_to(path, spec.project))}"
        for name, path in manifests.items()
        if path is not None and not os.path.isfile(path)
    ]
    if spec.evaluation.terms is not None and not os.path.isfile(spec.evaluation.terms):
        missing.append(
            f"evaluation.terms: there is no file {in_backticks(spec.evaluation.terms)}; write a word or phrase a line "
            "there"
        )
    missing += _unwritable(spec, manifests | {"evaluation.terms": spec.evaluation.terms})
    missing += model_problems(spec.model) or _hub_problems(spec.model)
    missing += storage_problems(spec.storage)
    if missing:
        raise SpecError("\n".join(missing))
