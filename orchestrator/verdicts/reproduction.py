"""A trial that was run again, beside what the study recorded of it: is it the same?"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from orchestrator.records.results import Measurement, TrialResult, TrialState


class Reproduction(Enum):
    """How a rerun stands to the record; the value is the exit code of `orchestrate trial`, by the
    table of the README.
    """

    SAME = 0
    OTHER = 4
    NOT_COMPARABLE = 2


@dataclass(frozen=True)
class Rerun:
    """What a trial gave again, beside what stands on file."""

    again: Measurement | None
    """At the recorded step and adapter scale, or where the rerun ended without reaching them."""
    recorded: Measurement | None
    failure: str | None
    """Why the rerun failed."""
    result: TrialResult | None
    """How the trial ended in the study; None while it has not."""

    @property
    def recorded_failure(self) -> str | None:
        """Why the trial failed in the study."""
        if self.result is None or self.result.state is not TrialState.FAIL:
            return None
        return self.result.reason

    @property
    def reproduction(self) -> Reproduction | None:
        """None where there is nothing on file to compare with."""
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
