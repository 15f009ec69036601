"""The training losses of a trial, for sweeps that limit them."""

from __future__ import annotations

import math

from orchestrator.records.results import TrialResult
from orchestrator.records.store import StudyFolder
from orchestrator.sweepfile.limits import TRAIN_LOSS
from orchestrator.sweepfile.sweep import SweepSpec


def all_losses(spec: SweepSpec, folder: StudyFolder, result: TrialResult) -> tuple[float, ...]:
    """Return the losses of a trial at all its rungs, also those after its best one: limits on the
    loss are judged by the whole course.
    """
    return trial_losses(spec, folder, result.trained)


def trial_losses(
    spec: SweepSpec, folder: StudyFolder, number: int, step: float = math.inf
) -> tuple[float, ...]:
    """Return the mean loss in nats per token at each rung of a trial up to `step`, in order; empty
    where the sweep has no limit on the loss.
    """
    if TRAIN_LOSS not in (*spec.guardrails, *spec.acceptance):
        return ()
    by_step = {
        row.step: row.train_loss for row in folder.read_measurements(number) if row.step <= step
    }
    return tuple(loss for _, loss in sorted(by_step.items()) if loss is not None)
