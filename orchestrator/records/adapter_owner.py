"""Which study an adapter folder belongs to."""

from __future__ import annotations

from pathlib import Path

from orchestrator.records.journal.journal import NAME
from orchestrator.records.store import StudyFolder


def study_of_adapter(folder: Path) -> StudyFolder | None:
    """Return the study that `folder` is the adapter folder of, such as trials/0003/adapter; None
    for any other folder.
    """
    above = folder.resolve().parents
    if len(above) < 4 or not (above[2] / NAME).is_file():
        return None
    return StudyFolder(above[3], above[2].name)
