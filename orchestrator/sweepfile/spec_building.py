"""Building of a SweepSpec from the tree of a sweep file, whose search space was read before."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from orchestrator.host.hub_access import names_folder
from orchestrator.set_names import is_ambiguous, is_confirm
from orchestrator.sweepfile.data import ALSO_NAME, RESERVED
from orchestrator.sweepfile.limit_checks import check_limits, mapping_at
from orchestrator.sweepfile.located_nodes import (
    Mapping,
    Problems,
    describe_node,
    has_value,
    in_backticks,
    plain_value,
)
from orchestrator.sweepfile.refusals import explain_refusals
from orchestrator.sweepfile.search_space import SearchSpace
from orchestrator.sweepfile.storage import NAMED, names_variable
from orchestrator.sweepfile.sweep import SweepSpec

_PATHS = (
    ("data", "train"),
    ("data", "replay"),
    ("data", "domain"),
    ("data", "heldout"),
    ("data", "confirm", "domain"),
    ("data", "confirm", "heldout"),
    ("evaluation", "terms"),
    ("tracking", "tensorboard", "folder"),
)
DURATION = r"^([0-9]+(\.[0-9]+)?[dhms])+$"
"""Pattern of a duration such as 2h, 90m, 30s, 1h30m."""
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}


def parse_duration(text: str) -> float:
    """Convert a duration such as 2h, 90m, 30s, 1h30m to seconds; ValueError for anything else."""
    if not re.fullmatch(DURATION, text):
        raise ValueError(text)
    return sum(
        float(number) * _SECONDS[unit] for number, unit in re.findall(r"([0-9.]+)([dhms])", text)
    )


def build_spec(
    tree: Mapping, space: SearchSpace, points: tuple[Any, ...], root: Path, problems: Problems
) -> SweepSpec | None:
    """Build the spec and record problems; None where it cannot be built. A spec may be returned
    although problems were recorded.
    """
    raw = {key: plain_value(entry.node) for key, entry in tree.entries.items()}
    for data in (_section_under(raw, "data"), _section_under(raw, "data", "confirm")):
        if data.get("also") is None:  # written without a value, there are none
            data.pop("also", None)
    _resolve_paths(raw, root)
    _wall_clock(raw, tree, problems)
    _refuse_address(raw, tree, problems)
    _also_names(tree, problems)
    check_limits(tree, problems)
    _confirm_data(tree, problems)
    raw |= {"parameters": space, "start_with": points}
    if "parameters" not in tree.entries:
        problems.add(
            tree.mark, "the sweep file lacks `parameters`; add what to fix and what to search"
        )
    try:
        return SweepSpec.model_validate(raw).located(root)
    except ValidationError as error:
        explain_refusals(error, tree, problems)
        return None


def _resolve_paths(raw: dict[str, Any], root: Path) -> None:
    for *sections, key in _PATHS:
        _make_absolute(_section_under(raw, *sections), key, root)
    for also in (
        _section_under(raw, "data", "also"),
        _section_under(raw, "data", "confirm", "also"),
    ):
        for name, value in also.items():
            _make_absolute(
                value if isinstance(value, dict) else also,
                "manifest" if isinstance(value, dict) else name,
                root,
            )
    model = _section_under(raw, "model")
    if isinstance(model.get("id"), str) and model["id"].strip():
        model["id"] = _model_id(model["id"], root)


def _section_under(raw: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return the mapping under these keys; an empty one where there is none."""
    section: Any = raw
    for name in names:
        section = section.get(name) if isinstance(section, dict) else None
    return section if isinstance(section, dict) else {}


def _make_absolute(section: dict[str, Any], key: str, root: Path) -> None:
    """Make the path under `key`, where there is one, absolute, in place."""
    if isinstance(section.get(key), str) and section[key].strip():
        section[key] = Path(os.path.abspath(root / os.path.expanduser(section[key])))


def _model_id(text: str, root: Path) -> str:
    """Return a local folder as an absolute path, and a hub id unchanged."""
    is_folder = names_folder(text, root)
    return os.path.abspath(root / os.path.expanduser(text)) if is_folder else text


def _wall_clock(raw: dict[str, Any], tree: Mapping, problems: Problems) -> None:
    budget = raw.get("budget")
    if not isinstance(budget, dict) or not isinstance(budget.get("wall_clock"), str):
        return
    try:
        budget["wall_clock"] = parse_duration(budget["wall_clock"])
    except ValueError:
        node = tree.entries["budget"].node
        assert isinstance(node, Mapping)
        place = node.entries["wall_clock"].node
        problems.add(
            place.mark,
            f"budget.wall_clock cannot be {describe_node(place)}; allowed: 2h, 90m, 30s, 1h30m, or a number of seconds",
        )
        budget["wall_clock"] = None


def _refuse_address(raw: dict[str, Any], tree: Mapping, problems: Problems) -> None:
    """Refuse a database's address where the name of its environment variable belongs, without
    showing it, as it may hold a password.
    """
    given = raw.get("storage")
    written = given.get("url_env", "_") if isinstance(given, dict) else given
    if isinstance(written, str) and not names_variable(written):
        path = "storage.url_env" if isinstance(given, dict) else "storage"
        form = NAMED if isinstance(given, dict) else "{url_env: ORCHESTRATE_STORAGE}, " + NAMED
        section = tree.entries["storage"].node
        node = section.entries["url_env"].node if isinstance(section, Mapping) else section
        problems.add(node.mark, f"{path} takes {form}")
        raw["storage"] = None


def _also_names(tree: Mapping, problems: Problems) -> None:
    """Check the names of the sets in `also`: well formed, not reserved, and those with a confirm
    manifest declared in `data.also` too.
    """
    data = mapping_at(tree, "data")
    for owner in (data, mapping_at(data, "confirm")):
        also = mapping_at(owner, "also")
        for name, entry in (also.entries if also else {}).items():
            if name in RESERVED or is_confirm(name) or not re.fullmatch(ALSO_NAME, name):
                problems.add(
                    entry.mark,
                    f"a set cannot be named {in_backticks(name)}; allowed: lower-case letters, digits and "
                    "underscores, but not "
                    f"{', '.join(RESERVED)} or confirm_...",
                )
            elif is_ambiguous(name):
                problems.add(
                    entry.mark,
                    f"a set cannot be named {in_backticks(name)}: terms, and names that begin with terms_ or end in "
                    "_cer, _terms_recall or _terms_precision, are those of rates; choose another",
                )
    declared = mapping_at(data, "also")
    confirmed = mapping_at(mapping_at(data, "confirm"), "also")
    for name, entry in (confirmed.entries if confirmed else {}).items():
        if declared is None or name not in declared.entries:
            problems.add(
                entry.mark,
                f"data.confirm.also has {in_backticks(name)}, which data.also lacks; add it there too",
            )


def _confirm_data(tree: Mapping, problems: Problems) -> None:
    """Check that the confirm sets are either a split, or a manifest for each of domain and heldout;
    not both, and not only some of them.
    """
    data = tree.entries.get("data")
    entry = data.node.entries.get("confirm") if data and isinstance(data.node, Mapping) else None
    if entry is None or not isinstance(entry.node, Mapping):
        return
    given = {
        key: child
        for key, child in entry.node.entries.items()
        if plain_value(child.node) not in (None, {})
    }
    wanted = [
        key
        for key in ("domain", "heldout")
        if key == "domain" or has_value(data.node if data else None, key)
    ]
    manifests = [
        key
        for key in ("domain", "heldout", "also")
        if key in given and plain_value(given[key].node) != {}
    ]
    if "split" in given:
        if manifests:
            without = " and ".join(f"`{key}:`" for key in manifests)
            problems.add(
                given["split"].mark,
                f"data.confirm has split beside {' and '.join(manifests)}; give split alone, or the manifests "
                f"{' and '.join(wanted)}, and write {without} without a value where another file is extended",
            )
        return
    missing = " and ".join(in_backticks(key) for key in wanted if key not in given)
    if missing:
        both = "both manifests" if len(wanted) > 1 else "its manifest"
        problems.add(
            entry.node.mark,
            f"data.confirm lacks {missing}; give {both}, or split: 0.3 to split them off by speaker",
        )
    elif "seed" in given:
        problems.add(
            given["seed"].mark,
            "data.confirm.seed belongs to a split; remove it, the manifests are fixed",
        )
