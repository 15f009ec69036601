"""What a study trains on and is measured with, as digests of the content. They are part of every
recipe, since a path does not tell what it holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from orchestrator.records.results import SetRecord
from orchestrator.records.store import StudyFolder
from orchestrator.set_names import is_confirm, search_name
from orchestrator.sweepfile.loading import load_spec
from orchestrator.sweepfile.sweep import SweepSpec


def search_contents(sets: Mapping[str, SetRecord], weights: str | None) -> dict[str, str]:
    """Return the `TrialPlan.contents` of the search: the digests of its sets, and of the model's
    weights where they are known.
    """
    own = {name: record.content for name, record in sets.items() if not is_confirm(name)}
    return own | ({"model": weights} if weights else {})


def confirm_contents(sets: Mapping[str, SetRecord], searched: Mapping[str, str]) -> dict[str, str]:
    """Return the `TrialPlan.contents` of a confirmation run: those of its finalist, with the
    confirm sets in the place of the search's evaluation sets.
    """
    confirming = {
        search_name(name): record.content for name, record in sets.items() if is_confirm(name)
    }
    kept = {
        name: content for name, content in searched.items() if name in ("train", "replay", "model")
    }
    return kept | confirming


def stored_spec(folder: StudyFolder, project: Path) -> SweepSpec:
    """Return the sweep as the study keeps it in spec.yaml, with paths that start at the project's
    present folder.

    Raises StudyError for a study of another format, SpecError where spec.yaml is damaged.
    """
    folder.check_format()
    folder.journal.check(folder.spec)
    return load_spec(folder.spec, root=project)
