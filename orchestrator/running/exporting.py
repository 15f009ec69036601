"""An adapter, or the model with the adapter merged in, as a folder with its model card."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from orchestrator.atomic import new_folder
from orchestrator.errors import StudyError
from orchestrator.records.results import TrialResult
from orchestrator.records.store import StudyFolder
from orchestrator.records.transcription import write_transcription
from orchestrator.reporting.model_card import model_card
from orchestrator.running.carrying import carry_processor
from orchestrator.running.rerun import stored_plan
from orchestrator.running.session import finished
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.conclusion import Conclusion, conclude
from orchestrator.verdicts.saved_adapters import SavedAdapter, best_adapter, final_adapter


def export(
    spec: SweepSpec, folder: StudyFolder, number: int | None, to: Path, root: Path, *, final: bool, merged: bool
) -> SavedAdapter:
    """Write `to`, which must not exist yet, whole or not at all; returns what was written.

    `number` is a trial, or None for the best feasible one; `final` takes the adapter of its last measurement instead
    of its best one; `root` is the project's folder. Raises StudyError when there is no such trial or adapter, or `to`
    exists.
    """
    conclusion = conclude(spec, folder)
    result = _chosen(conclusion, number, folder.name)
    kept = final_adapter(spec, folder, result) if final else best_adapter(folder, result)
    if to.exists():
        raise StudyError(f"{to} exists\n  Name a folder that does not; nothing is overwritten.")
    plan = stored_plan(folder, kept.number)
    done = finished(spec, folder)
    with new_folder(to) as aside:
        if merged:
            from orchestrator.tuning.adapters.merging import export_merged

            export_merged(spec.model, kept.folder, aside)
        else:
            shutil.copytree(kept.folder, aside, dirs_exist_ok=True)
            _name_base(aside, spec)
            carry_processor(spec.model, aside)
        write_transcription(spec.evaluation, aside)
        card = model_card(plan, kept, spec, folder, conclusion, root, done=done, merged=merged)
        (aside / "README.md").write_text(card, encoding="utf-8")
    return kept


def _name_base(adapter: Path, spec: SweepSpec) -> None:
    """Write where the base model is: inside a study its path starts at the project's folder, outside it cannot."""
    place = adapter / "adapter_config.json"
    config = json.loads(place.read_bytes()) | {"base_model_name_or_path": spec.model.id}
    place.write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")


def _chosen(conclusion: Conclusion, number: int | None, name: str) -> TrialResult:
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
