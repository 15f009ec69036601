"""`orchestrate verify`, and sweeps whose verdict depends on it: an exported form transcribes the
sets of the study.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from orchestrator.errors import SpecError
from orchestrator.records.base_weights import measured_model
from orchestrator.records.readiness.optional_packages import check_installed
from orchestrator.records.results import TrialResult
from orchestrator.records.shipping import GRAPH_FORMS, Model, Quantized, Shipped, read_manifest
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Hypotheses
from orchestrator.reporting.rendering.escape import plain
from orchestrator.running.completion import judged
from orchestrator.running.exporting import requested_trial, source_of
from orchestrator.running.preflight import check_measured_sets
from orchestrator.sweepfile.data import SetSource
from orchestrator.sweepfile.digest import digest
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.concluding import conclude
from orchestrator.verdicts.conclusion import chosen_measurement
from orchestrator.verdicts.saved_adapters import best_adapter
from orchestrator.verdicts.shipping import VERDICT_FORM, shipped_of


def verify_study(
    spec: SweepSpec,
    folder: StudyFolder,
    number: int | None,
    runtime: str,
    quantized: Quantized,
    names: Collection[str] | None,
    say: Callable[[str], None],
) -> tuple[TrialResult, Shipped]:
    """Transcribe sets with an exported form of a trial and keep what it heard; the caller holds the
    folder's lock.

    `number` is None for the best feasible trial; `runtime` is a form, or the path of an exported
    folder; `names` are the sets, None for all of them. Raises SpecError, StudyError, ModelError,
    ManifestError.
    """
    export = None if runtime in GRAPH_FORMS else Path(runtime)
    form: str = runtime if export is None else read_manifest(export).form
    check_installed(form, f"verify --runtime {runtime}")
    result = requested_trial(*judged(spec, folder), number, folder)
    kept = best_adapter(folder, result)
    folder.shipped()  # raises if damaged: better now than after a long transcription
    heard = chosen_sets(spec, names)
    check_measured_sets(spec, heard, folder)
    from orchestrator.tuning.deploying.verification import Verification, verify

    job = Verification(
        spec=spec,
        sets=heard,
        source=source_of(spec, kept),
        form="moonshine" if form == "moonshine" else "onnx",
        quantized=quantized,
        export=export,
        cache=folder.cache,
        project_cache=folder.project_cache,
        recorded=_recorded_hypotheses(folder, result),
        measured=measured_model(folder),
    )
    parts = (
        None if export is None else name_of_export(export),
        None if names is None else f"sets {','.join(names)}",
    )
    found = verify(job, say).model_copy(update={"part": ", ".join(filter(None, parts))})
    folder.write_shipped(found)
    return result, found


def name_of_export(folder: Path) -> str:
    """Return what tells an exported folder from others of its name and from the study's own form,
    whatever path names it: its name and a digest of what it declares.
    """
    declared = digest(read_manifest(folder).model_dump(mode="json"))
    return f"{plain(folder.resolve().name)} {declared[:8]}"


def chosen_sets(spec: SweepSpec, names: Collection[str] | None) -> dict[str, SetSource]:
    """Return the evaluation sets, then the confirm sets, or only those that are named. Raises
    SpecError for a name that is no set.
    """
    sets = spec.data.all_evaluated
    unknown = [name for name in names or () if name not in sets]
    if unknown:
        raise SpecError(
            f"--sets {unknown[0]} is no set of the sweep\n  Allowed: {', '.join(sets)}."
        )
    if names is not None and not names:
        raise SpecError(f"--sets names no set\n  Allowed: {', '.join(sets)}.")
    return {name: source for name, source in sets.items() if names is None or name in names}


def _recorded_hypotheses(folder: StudyFolder, result: TrialResult) -> dict[Model, Hypotheses]:
    """Return the transcripts that the search has on file: the untuned model's, and those of the
    measurement that the trial's result stands on. Empty where there are none.
    """
    measurement = chosen_measurement(folder, result)
    baseline = folder.read_baseline(measurement.fingerprint) if measurement else None
    if measurement is None or baseline is None:
        return {}
    return {
        "baseline": folder.read_baseline_hypotheses(baseline),
        "tuned": folder.read_hypotheses(result.number, measurement),
    }


def verify_before_verdict(
    spec: SweepSpec,
    folder: StudyFolder,
    say: Callable[[str], None],
    check_stop: Callable[[], None],
) -> None:
    """Export and verify the winner's graphs, once, as `acceptance: {shipped: true}` asks for.
    `check_stop` is called before that takes its time; it raises where the run is to stop.
    """
    conclusion = conclude(spec, folder)
    best = conclusion.best
    if best is None or shipped_of(folder, conclusion) is not None:
        return
    check_stop()
    verify_study(spec, folder, best.number, VERDICT_FORM, "none", None, say)
