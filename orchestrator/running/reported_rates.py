"""What the search was told about a trial while it trained, computed again from the trial's
files.
"""

from __future__ import annotations

from orchestrator.records.results import TrialResult
from orchestrator.records.store import StudyFolder
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.judging import best_verdict, judge_scores, scores
from orchestrator.verdicts.training_losses import trial_losses


def reported_rates(
    spec: SweepSpec, folder: StudyFolder, number: int, result: TrialResult | None
) -> dict[int, float]:
    """Return step -> value that the search was told there: the objective of the rung's best
    measurement. A duplicate reports only once, the value and step of its original's result.
    """
    if result is not None and result.duplicate_of is not None:
        measured = result.step is not None and spec.objective in result.wer
        return (
            {result.step: result.wer[spec.objective]}
            if measured and result.step is not None
            else {}
        )
    found = {}
    rows = folder.read_measurements(number)
    for step in sorted({row.step for row in rows}):
        rung = [row for row in rows if row.step == step]
        baseline = folder.read_baseline(rung[0].fingerprint)
        assert baseline is not None
        losses = trial_losses(spec, folder, number, step)
        # which measurement is best is decided by the measured numbers alone, so few resamples do
        chosen = best_verdict(
            [
                judge_scores(spec, scores(row, losses), scores(baseline), resamples=100)
                for row in rung
            ]
        )
        assert chosen is not None
        found[step] = chosen.rates[spec.objective]
    return found


def measured_beyond(folder: StudyFolder, number: int, rung: int) -> bool:
    """Say whether a trial that has not ended was measured after the step `rung`. A run may have been
    killed between such a measurement and the adapter that belongs to it.
    """
    rows = folder.read_measurements(number)
    return any(row.step > rung for row in rows) and folder.read_result(number) is None
