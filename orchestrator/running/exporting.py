"""Export: adapters, or the model with one adapter merged in, as a folder with its model card."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import SpecError, StudyError
from orchestrator.files.atomic import new_folder
from orchestrator.files.system_files import without_system_files
from orchestrator.records.base_weights import measured_model, write_base_model
from orchestrator.records.readiness.optional_packages import check_installed
from orchestrator.records.results import TrialResult
from orchestrator.records.shipping import ExportForm
from orchestrator.records.store import StudyFolder
from orchestrator.records.transcription_settings import write_transcription
from orchestrator.reporting.cards.adapters_card import adapter_name, adapters_card
from orchestrator.reporting.cards.load_script import load_script
from orchestrator.reporting.cards.model_card import PLOT, card_plot, model_card
from orchestrator.running.completion import judged
from orchestrator.running.processor_files import copy_processor_files
from orchestrator.running.rerun import stored_plan
from orchestrator.sweepfile.evaluation import EncoderWindows
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.conclusion import Conclusion, lacks_trial
from orchestrator.verdicts.saved_adapters import SavedAdapter, best_adapter, final_adapter

if TYPE_CHECKING:
    from orchestrator.tuning.deploying.writing import Source


def export(
    spec: SweepSpec,
    folder: StudyFolder,
    numbers: Sequence[int],
    to: Path,
    root: Path,
    *,
    final: bool,
    form: ExportForm = ExportForm(),
) -> tuple[SavedAdapter, ...]:
    """Write `to`, which must not exist yet, whole or not at all; return the adapters that were
    written.

    `numbers` are trials, or empty for the best feasible one. With several, `to` holds one folder
    each, named as `adapter_name` says. `final` takes the adapter of a trial's last measurement
    instead of its best one; `root` is the project's folder.

    Raises StudyError when there is no such trial or adapter, or `to` exists; SpecError where a
    package is missing, a trial is named twice, or several are named for a form that holds only one;
    ModelError for a model that has no such form or is not the one that was measured.
    """
    _check_holds(form, numbers)
    check_installed(form.form, f"--format {form.form}")
    conclusion, done = judged(spec, folder)
    wanted = numbers or (None,)
    results = [requested_trial(conclusion, done, number, folder) for number in wanted]
    adapters = tuple(
        final_adapter(spec, folder, result) if final else best_adapter(folder, result)
        for result in results
    )
    if to.exists() or to.is_symlink():  # a link may lead to a disk that is not mounted
        raise StudyError(f"{to} exists\n  Name a folder that does not; nothing is overwritten.")
    _check_base(spec, form, measured_model(folder))
    study = _Study(spec, folder, conclusion, root, done)
    with new_folder(to) as aside:
        if len(adapters) == 1:
            _write_with_card(study, adapters[0], aside, form)
        else:
            _write_several(study, adapters, aside)
    return adapters


def _check_holds(form: ExportForm, numbers: Sequence[int]) -> None:
    """Raise SpecError when one folder of this form cannot hold these trials."""
    twice = [number for number, count in Counter(numbers).items() if count > 1]
    if twice:
        raise SpecError(f"trial {twice[0]} is named twice\n  Name each trial once.")
    if len(numbers) > 1 and form.form != "adapter":
        named = ", ".join(map(str, numbers))
        raise SpecError(
            f"--format {form.form} holds one whole model, and trials {named} were named\n"
            "  Export each into a folder of its own, or several as --format adapter, on one base."
        )


def _check_base(spec: SweepSpec, form: ExportForm, measured: Mapping[str, str]) -> None:
    """Raise ModelError where the base model is not the one that was `measured`. Of a hub's model,
    the revision says so, and an adapter alone is written without loading it.
    """
    if (form.form != "adapter" or spec.model.is_folder) and measured:
        from orchestrator.tuning.model.base_model import check_same_model

        check_same_model(spec.model, spec.evaluation.encoder_windows, measured)


@dataclass(frozen=True)
class _Study:
    """What a model card is written from, whichever adapter it describes."""

    spec: SweepSpec
    folder: StudyFolder
    conclusion: Conclusion
    root: Path
    done: bool
    """The study is finished."""


def _write_several(study: _Study, adapters: Sequence[SavedAdapter], aside: Path) -> None:
    """Write each adapter as a complete export in a folder of its own, and above them the script
    that loads them all.
    """
    spec, conclusion = study.spec, study.conclusion
    for kept in adapters:
        inside = aside / adapter_name(kept)
        inside.mkdir()
        _write_with_card(study, kept, inside, ExportForm())
    copy_processor_files(spec.model, aside)
    names = [adapter_name(kept) for kept in adapters]
    script = load_script(spec.model, spec.evaluation, names)
    (aside / "load.py").write_text(script, encoding="utf-8")
    card = adapters_card(spec, conclusion, adapters, study.root, study.done)
    (aside / "README.md").write_text(card, encoding="utf-8")


def _write_with_card(study: _Study, kept: SavedAdapter, aside: Path, form: ExportForm) -> None:
    """Write one adapter in its form, and its model card."""
    spec, folder, conclusion = study.spec, study.folder, study.conclusion
    _write(spec, kept, aside, form, measured_model(folder))
    plan = stored_plan(folder, kept.number)
    card = model_card(plan, kept, spec, folder, conclusion, study.root, done=study.done, form=form)
    (aside / "README.md").write_text(card, encoding="utf-8")
    if plot := card_plot(spec, kept, conclusion):
        (aside / PLOT).write_text(plot, encoding="utf-8")


def _write(
    spec: SweepSpec, kept: SavedAdapter, aside: Path, form: ExportForm, measured: Mapping[str, str]
) -> None:
    """Write everything but the card. `measured` tells the base model, as `measured_model` has it."""
    if form.form == "merged":
        from orchestrator.tuning.adapters.merging import export_merged

        export_merged(spec.model, kept.folder, aside, spec.evaluation.encoder_windows)
    elif form.form == "adapter":
        # their content alone: an archived study is read-only
        for path in without_system_files(kept.folder.iterdir()):
            shutil.copyfile(path, aside / path.name)
        _name_base(aside, spec)
        copy_processor_files(spec.model, aside)
        (aside / "load.py").write_text(load_script(spec.model, spec.evaluation), encoding="utf-8")
    else:
        from orchestrator.tuning.deploying.writing import write_graphs

        source = source_of(spec, kept, form.windows)
        write_graphs(source, form.form, form.quantized, aside, form.changed_only)
        return  # its manifest says what transcription.json would
    write_transcription(spec.evaluation, aside, merged=form.form == "merged")
    if form.form == "adapter" and "weights" in measured:
        write_base_model(measured, aside)


def source_of(spec: SweepSpec, kept: SavedAdapter, windows: EncoderWindows | None = None) -> Source:
    """Return what the graphs of a saved adapter are made from, with the study's encoder windows
    unless `windows` names others.
    """
    from orchestrator.tuning.deploying.writing import Source

    return Source(
        sweep=spec.name,
        model=spec.model,
        evaluation=spec.evaluation,
        windows=windows or spec.evaluation.encoder_windows,
        adapter=kept.folder,
        trial=kept.result.number,
        step=kept.step,
        adapter_scale=kept.adapter_scale,
    )


def _name_base(adapter: Path, spec: SweepSpec) -> None:
    """Write into adapter_config.json where the base model is: the path that it has inside a study
    is relative to the project's folder, and would lead nowhere from the exported folder.
    """
    place = adapter / "adapter_config.json"
    config = json.loads(place.read_bytes()) | {"base_model_name_or_path": spec.model.id}
    place.write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")


def requested_trial(
    conclusion: Conclusion, done: bool, number: int | None, folder: StudyFolder
) -> TrialResult:
    """Return the trial to export: the one asked for, else the best feasible. `done`: nothing is
    left to train. Raises StudyError when there is none.
    """
    if number is None:
        if conclusion.best is None:
            raise lacks_trial(folder, conclusion, done, None, "feasible")
        return conclusion.best
    found = conclusion.ended(number)
    if found is None:
        raise lacks_trial(folder, conclusion, done, number, "feasible")
    return found
