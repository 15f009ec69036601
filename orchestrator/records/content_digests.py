"""What a study trains on and measures with, by content: the part of every recipe that no path can
say.
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
    """`TrialPlan.contents` of the search: its sets, and the digest of the model's weights where it
    is known.
    """
    own = {name: record.content for name, record in sets.items() if not is_confirm(name)}
    return own | ({"model": weights} if weights else {})


def confirm_contents(sets: Mapping[str, SetRecord], searched: Mapping[str, str]) -> dict[str, str]:
    """`TrialPlan.contents` of a confirmation: as the finalist's, with the confirm sets in the place
    of the search's.
    """
    confirming = {
        search_name(name): record.content for name, record in sets.items() if is_confirm(name)
    }
    kept = {
        name: content for name, content in searched.items() if name in ("train", "replay", "model")
    }
    return kept | confirming


def stored_spec(folder: StudyFolder, project: Path) -> SweepSpec:
    """The sweep as the study keeps it, its paths starting at the project's folder, wherever that is
    by now.

    Raises StudyError for a study of another format, SpecError where spec.yaml is damaged.
    """
    folder.check_format()
    folder.journal.check(folder.spec)
    return load_spec(folder.spec, root=project)
