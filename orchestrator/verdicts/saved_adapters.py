"""Which adapters of a trial a study keeps, and what was measured of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import StudyError
from orchestrator.records.adapter_owner import study_of_adapter
from orchestrator.records.results import TrialResult
from orchestrator.records.store import StudyFolder
from orchestrator.scoring.judge import Verdict
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.judging import best_verdict, judge_scores, scores
from orchestrator.verdicts.training_losses import trial_losses


@dataclass(frozen=True)
class SavedAdapter:
    """An adapter that a study keeps, and what was measured of it."""

    result: TrialResult
    """How its trial ended."""
    number: int
    """The trial that trained it: another one where `result` is that of a duplicate."""
    folder: Path
    step: int | None
    """The optimizer step of its measurement; None where the trial kept no numbers."""
    adapter_scale: float | None
    """The scale that is applied to the saved weights already."""
    wer: dict[str, float]
    """Rates in percent, by the names that measurements use."""
    delta: dict[str, float]
    """Changes against the baseline in points, with the same keys."""

    @property
    def gave_the_result(self) -> bool:
        """Whether it is the adapter of the measurement that gave the trial its result."""
        return (self.step, self.adapter_scale) == (self.result.step, self.result.adapter_scale)


def best_adapter(folder: StudyFolder, result: TrialResult) -> SavedAdapter:
    """Return the adapter of the measurement that gave the trial its result. Raises StudyError when
    none was kept.
    """
    number = result.trained
    kept = SavedAdapter(
        result,
        number,
        folder.adapter_folder(number),
        result.step,
        result.adapter_scale,
        result.wer,
        result.delta,
    )
    return _if_there(folder, kept)


def final_adapter(spec: SweepSpec, folder: StudyFolder, result: TrialResult) -> SavedAdapter:
    """Return the adapter of the trial's last measured step, at the scale that was best there.

    Raises StudyError when nothing was measured, or when the adapter is missing or not as it was
    written.
    """
    number = result.trained
    rows = folder.read_measurements(number)
    baseline = folder.read_baseline(rows[0].fingerprint) if rows else None
    if baseline is None:
        raise StudyError(
            f"trial {result.number} has no last measurement: {result.reason}\n  Name another trial."
        )
    step = rows[-1].step
    losses = trial_losses(spec, folder, number, step)
    # which measurement is best depends on the measured numbers alone and not on the bounds, so few
    # resamples are enough
    last = best_verdict(
        [
            judge_scores(spec, scores(row, losses), scores(baseline), resamples=100)
            for row in rows
            if row.step == step
        ]
    )
    assert last is not None
    # an adapter that is both the last and the best of its trial is saved once, as the best
    kept = folder.adapter_folder if step == result.step else folder.final_folder
    return _if_there(folder, _as_measured(result, number, kept(number), last))


def check_if_kept(folder: Path) -> None:
    """Raise StudyError where `folder` is the adapter folder of a study and not as it was written;
    any other folder passes.
    """
    if study := study_of_adapter(folder):
        study.has_adapter(folder.resolve())


def _as_measured(result: TrialResult, number: int, folder: Path, verdict: Verdict) -> SavedAdapter:
    return SavedAdapter(
        result, number, folder, verdict.step, verdict.adapter_scale, verdict.rates, verdict.delta
    )


def _if_there(folder: StudyFolder, kept: SavedAdapter) -> SavedAdapter:
    if not folder.has_adapter(kept.folder):
        raise StudyError(
            f"trial {kept.result.number} kept no adapter: {kept.result.reason}\n"
            f"  Name another one: `orchestrate status {folder.named}` lists them."
        )
    return kept
