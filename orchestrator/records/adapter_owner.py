"""Which study an adapter folder belongs to."""

from __future__ import annotations

import re
from pathlib import Path

from orchestrator.records.journal.journal import NAME
from orchestrator.records.store import StudyFolder

_ADAPTER = re.compile(r"(trials|confirm)/[0-9]{4,}/(adapter|final)")
"""The folder of an adapter within its study, as `TrialFiles` names it."""


def study_of_adapter(folder: Path) -> StudyFolder | None:
    """Return the study that `folder` is the adapter folder of, such as trials/0003/adapter; None
    for any other folder, also for an export within a study.
    """
    place = folder.resolve()
    above = place.parents
    if len(above) < 4 or not (above[2] / NAME).is_file():
        return None
    if not _ADAPTER.fullmatch(place.relative_to(above[2]).as_posix()):
        return None
    return StudyFolder(above[3], above[2].name)
