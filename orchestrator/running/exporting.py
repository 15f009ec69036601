"""An adapter, or the model with the adapter merged in, as a folder with its model card."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from orchestrator.errors import StudyError
from orchestrator.records.results import TrialResult
from orchestrator.records.store import StudyFolder
from orchestrator.records.writing import write_aside
from orchestrator.reporting.conclusion import Conclusion
from orchestrator.reporting.model_card import model_card
from orchestrator.running.rerun import stored_plan


def chosen(conclusion: Conclusion, number: int | None, name: str) -> TrialResult:
    """The trial to export: the one asked for, else the best feasible. Raises StudyError when there is none."""
    if number is None:
        if conclusion.best is None:
            raise StudyError(
                f"study {name} has no feasible trial to export\n  Name one: orchestrate export SPEC N --to DIR"
            )
        return conclusion.best
    found = next((result for result in conclusion.results if result.number == number), None)
    if found is None:
        raise StudyError(f"study {name} has no ended trial {number}\n  `orchestrate status` lists those it has.")
    return found


def export(folder: StudyFolder, conclusion: Conclusion, result: TrialResult, to: Path, merged: bool) -> None:
    """Write `to`, which must not exist yet, whole or not at all.

    Raises StudyError when the trial kept no adapter or `to` exists.
    """
    number = result.number if result.duplicate_of is None else result.duplicate_of
    source = folder.adapter_folder(number)
    if not source.is_dir():
        raise StudyError(
            f"trial {result.number} kept no adapter: {result.reason}\n"
            f"  `orchestrate trial SPEC {result.number}` trains it again."
        )
    if to.exists():
        raise StudyError(f"{to} exists\n  Name a folder that does not; nothing is overwritten.")
    plan = stored_plan(folder, number)
    aside = to.with_name(f"{to.name}.tmp-{os.getpid()}")
    try:
        if merged:
            from orchestrator.tuning.merging import export_merged

            export_merged(plan.model, source, aside)
        else:
            shutil.copytree(source, aside)
        write_aside(aside / "README.md", model_card(plan, result, conclusion).encode())
        os.replace(aside, to)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
