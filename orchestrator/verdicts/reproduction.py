"""Comparison of a trial that was run again with what the study recorded of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from orchestrator.records.results import Measurement, TrialResult, TrialState


class Reproduction(Enum):
    """Whether a rerun reproduces the record; the value is the exit code of `orchestrate trial`, by
    the table of the README.
    """

    SAME = 0
    OTHER = 4
    NOT_COMPARABLE = 2


@dataclass(frozen=True)
class Rerun:
    """The outcome of running a trial again, and the record of the first time."""

    again: Measurement | None
    """The rerun's measurement at the recorded step and adapter scale, or its last one where it
    ended without reaching them; None where it failed.
    """
    recorded: Measurement | None
    """The measurement in the study; None where there is none."""
    failure: str | None
    """Why the rerun failed; None where it did not."""
    result: TrialResult | None
    """How the trial ended in the study; None while it has not."""

    @property
    def recorded_failure(self) -> str | None:
        """Why the trial failed in the study; None where it did not."""
        if self.result is None or self.result.state is not TrialState.FAIL:
            return None
        return self.result.reason

    @property
    def reproduction(self) -> Reproduction | None:
        """Whether the rerun reproduces the record; None where there is nothing to compare with.

        A failure reproduces a failure, whatever the reasons.
        """
        if self.recorded_failure is not None:
            return Reproduction.SAME if self.again is None else Reproduction.OTHER
        if self.recorded is None:
            return None
        if self.again is None:
            return Reproduction.OTHER
        if self.again.fingerprint != self.recorded.fingerprint:
            return Reproduction.NOT_COMPARABLE
        same = (self.again.step, self.again.adapter_scale, self.again.sets) == (
            self.recorded.step,
            self.recorded.adapter_scale,
            self.recorded.sets,
        )
        return Reproduction.SAME if same else Reproduction.OTHER
