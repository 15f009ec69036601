"""A study as runs of a tracker, made from its files: one for the study, one for each trial and
confirmation run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.results import Measurement, SetMeasurement, TrialResult
from orchestrator.records.store import StudyFolder
from orchestrator.scoring.edit_counts import error_rate
from orchestrator.scoring.limit_text import shown_change, shown_rate
from orchestrator.set_names import is_wer
from orchestrator.sweepfile.digest import digest
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.confirming import confirmation_runs

Param = bool | int | float | str
REPORTED = "REPORTED"
"""The state of the study's own run once its report is written."""


@dataclass(frozen=True)
class Point:
    """One value of a curve."""

    metric: str
    """The curve's name."""
    step: int
    """The optimizer step."""
    value: float


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker shows as one run."""

    name: str
    """Unique within the study, and what a person calls it, such as trial 7."""
    kind: str
    """One of study, trial and confirmation."""
    params: Mapping[str, Param]
    points: tuple[Point, ...]
    texts: Mapping[str, str] = field(default_factory=dict)
    """Other facts in words, such as the reason why it ended."""
    state: str | None = None
    """COMPLETE, PRUNED, FAIL or REPORTED; None while it goes on."""
    files: tuple[Path, ...] = ()
    """Files and folders to store with it."""

    @property
    def digest(self) -> str:
        """Digest of all that is sent: a run with the same one is sent already."""
        points = [(point.metric, point.step, point.value) for point in self.points]
        said = {"params": dict(self.params), "texts": dict(self.texts), "state": self.state}
        return digest({**said, "points": points, "files": [*map(_contents, self.files)]})


def _contents(path: Path) -> str:
    """Return a file's name with its digest. Of a folder (an adapter) the content is left out, as it
    follows from the trial that the run names.
    """
    data = path.read_bytes() if path.is_file() else b""
    return f"{path.name} {hashlib.sha256(data).hexdigest()}"


@dataclass(frozen=True)
class Ending:
    """What is known of the study at the end of a sweep."""

    texts: Mapping[str, str]
    """The verdict, in words."""
    best: int | None
    """The trial whose adapter is the result."""


def tracked_runs(
    spec: SweepSpec, folder: StudyFolder, ending: Ending | None = None
) -> Iterator[TrackedRun]:
    """Yield all runs as they stand. The study's own is the first, as the others stand below it, and
    at the end of a sweep the last as well: with its files, which a server that takes runs may
    refuse. Raises StudyError for damaged files.
    """
    results = {result.number: result for result in folder.results()}
    yield _study_run(spec, folder, list(results.values()), None)
    for number in folder.planned():
        result = results.get(number)
        scales = spec.parameters.adapter_scales
        yield _run(f"trial {number}", "trial", folder, number, result, scales)
    for run in confirmation_runs(spec, folder, list(results.values())):
        result = folder.read_result(run.number)
        name = f"trial {run.trial}, seed {run.seed}"
        if folder.read_plan(run.number) is not None:
            yield _run(name, "confirmation", folder, run.number, result, ())
    if ending is not None:
        yield _study_run(spec, folder, list(results.values()), ending)


def _study_run(
    spec: SweepSpec, folder: StudyFolder, results: Sequence[TrialResult], ending: Ending | None
) -> TrackedRun:
    baseline = _baseline(folder, results)
    params: dict[str, Param] = {
        "method": spec.method,
        "seed": spec.seed,
        "model": spec.portable.model.id,
        "minimised": spec.objective,
    }
    points = tuple(_of_sets(baseline, "")) if baseline else ()
    # a tracker keeps the first value of a parameter, and the budget may be raised
    budget = {"trials": str(spec.budget.trials)}
    if ending is None:
        return TrackedRun("study", "study", params, points, budget)
    files = [folder.report_html, folder.report_markdown]
    if ending.best is not None:
        files.append(folder.adapter_folder(ending.best))
    there = tuple(path for path in files if path.exists())
    texts = {**budget, **ending.texts}
    return TrackedRun("study", "study", params, points, texts, REPORTED, there)


def _baseline(folder: StudyFolder, results: Sequence[TrialResult]) -> Measurement | None:
    """Return the baseline of the evaluation that the first measured trial had."""
    for result in results:
        for measurement in folder.read_measurements(result.number):
            return folder.read_baseline(measurement.fingerprint)
    return None


def _run(
    name: str,
    kind: str,
    folder: StudyFolder,
    number: int,
    result: TrialResult | None,
    scales: Sequence[float],
) -> TrackedRun:
    """Return a run of the study; `scales` are the adapter scales at which it may be measured, none
    where it has one of its own.
    """
    plan = folder.read_plan(number)
    params = _params(plan) if plan else {}
    curves = _curves(folder.read_measurements(number), len(scales) > 1)
    points = [*curves, *(_chosen(result) if result else ())]
    state = str(result.state) if result else None
    return TrackedRun(name, kind, params, tuple(points), _tags(result), state)


def _params(plan: TrialPlan) -> dict[str, Param]:
    """Return every hyperparameter, searched or not, values that are not single ones as text."""
    values: dict[str, Any] = plan.params.model_dump(mode="json")
    return {name: _param(value) for name, value in values.items() if value is not None}


def _param(value: Any) -> Param:
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


def _tags(result: TrialResult | None) -> dict[str, str]:
    if result is None:
        return {}
    feasible = "yes" if result.feasible else "no"
    return {"state": str(result.state), "reason": result.reason, "keeps the guardrails": feasible}


def _curves(measurements: Sequence[Measurement], many_scales: bool) -> Iterator[Point]:
    """Yield the error rates of every set at every rung and adapter scale, and one training loss per
    rung. A curve keeps its name from the first rung on, at which there is one scale in any case.
    """
    losses: dict[int, float] = {}
    for measurement in measurements:
        scale = f"_at_scale_{measurement.adapter_scale:g}" if many_scales else ""
        yield from _of_sets(measurement, scale)
        if measurement.train_loss is not None:
            losses[measurement.step] = measurement.train_loss
    for step, loss in losses.items():
        yield Point("train_loss", step, loss)


def _of_sets(measurement: Measurement, suffix: str) -> Iterator[Point]:
    for name, measured in measurement.sets.items():
        yield Point(f"{name}_wer{suffix}", measurement.step, measured.wer)
        if (cer := _cer(measured)) is not None:
            yield Point(f"{name}_cer{suffix}", measurement.step, cer)


def _cer(measured: SetMeasurement) -> float | None:
    if not measured.characters:
        return None
    return error_rate(measured.character_errors, measured.characters)


def _chosen(result: TrialResult) -> Iterator[Point]:
    """Yield the numbers of a trial's result, at the step at which they were measured."""
    step = result.step or 0
    for rate, value in result.wer.items():
        yield Point(f"chosen_{_metric(rate)}", step, shown_rate(rate, value))
    for rate, value in result.delta.items():
        yield Point(f"chosen_{_metric(rate)}_change", step, shown_change(rate, value))


def _metric(rate: str) -> str:
    """Return the metric's name for a rate: domain becomes domain_wer, domain_cer stays."""
    return f"{rate}_wer" if is_wer(rate) else rate
