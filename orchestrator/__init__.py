"""Declarative LoRA sweeps for small speech recognisers, judged against a guardrail."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.reporting.tables.dataframes import StudyTables

__all__ = ["open_study"]


def open_study(path: str | os.PathLike[str]) -> StudyTables:
    """Open the study whose folder is `path`, read only; its tables are pandas data frames.

    Importing `orchestrator` imports nothing heavy. pandas is imported only when a frame is asked
    for; it comes with `pip install 'orchestrator[tables]'`. Raises StudyError where there is no
    study, or its files are not as they were written; SpecError where pandas is missing.
    """
    from orchestrator.reporting.tables.dataframes import StudyTables

    return StudyTables(Path(path))
