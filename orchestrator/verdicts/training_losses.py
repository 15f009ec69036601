"""The training losses of a trial, for sweeps that limit them."""

from __future__ import annotations

import math

from orchestrator.records.results import TrialResult
from orchestrator.records.store import StudyFolder
from orchestrator.sweepfile.limits import TRAIN_LOSS
from orchestrator.sweepfile.sweep import SweepSpec

Losses = tuple[float, ...]
"""Mean training losses in nats per token, one for each rung, in order."""


def all_losses(spec: SweepSpec, folder: StudyFolder, result: TrialResult) -> tuple[Losses, Losses]:
    """Return the losses of a trial at its rungs up to its best one, by which it kept its guardrails,
    and those at the later ones: acceptance is judged by the whole course.
    """
    before = trial_losses(spec, folder, result.trained, result.step or 0)
    return before, trial_losses(spec, folder, result.trained)[len(before) :]


def trial_losses(
    spec: SweepSpec, folder: StudyFolder, number: int, step: float = math.inf
) -> Losses:
    """Return the mean loss in nats per token at each rung of a trial up to `step`, in order; empty
    where the sweep has no limit on the loss.
    """
    if TRAIN_LOSS not in (*spec.guardrails, *spec.acceptance):
        return ()
    by_step = {
        row.step: row.train_loss for row in folder.read_measurements(number) if row.step <= step
    }
    return tuple(loss for _, loss in sorted(by_step.items()) if loss is not None)
