"""The events of a run as they are written for programs: one JSON object per line. Their names and
fields are a stable interface.

`docs/terminal.md` describes them; `docs/events.schema.json` is their JSON schema.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")

    time: str = Field(description="When, in UTC: 2026-11-28T07:30:25Z.")
    study: str = Field(description="The name of the study.")


class _OfTrial(_Event):
    kind: Literal["trial", "confirmation"] = Field(
        description="A trial of the search, or a confirmation run."
    )
    number: int = Field(
        description="Trials from 0, confirmation runs from 1, as the folders of the study."
    )


Rates = dict[str, float]


class StudyEvent(_Event):
    """The first event of a run: what is to be done, and what was done before."""

    event: Literal["study"] = "study"
    path: str = Field(description="The folder of the study.")
    trials: int = Field(description="The budget: trials of all runs together.")
    confirmations: int = Field(description="Confirmation runs at most.")
    wall_clock: float | None = Field(
        description="Seconds that the search may take in all runs together."
    )
    objective: str = Field(description="The rate that the search minimises.")
    ended: int = Field(
        description="Trials and confirmation runs that ended in earlier runs; a `trial_ended` of "
        "each follows."
    )
    seconds: float = Field(description="Seconds that the search took in earlier runs.")


class BaselineEvent(_Event):
    """The untuned model is measured, now or by an earlier run."""

    event: Literal["baseline"] = "baseline"
    wer: Rates = Field(description="WER in percent by set.")


class TrialStartedEvent(_OfTrial):
    """A trial took a slot."""

    event: Literal["trial_started"] = "trial_started"
    parameters: dict[str, Any] = Field(description="All parameters that it trains with.")
    step: int = Field(description="Above 0 where it continues from a checkpoint.")
    max_steps: int = Field(description="The step of its last evaluation.")


class ProgressEvent(_OfTrial):
    """A trial trains on."""

    event: Literal["progress"] = "progress"
    step: int = Field(description="Optimizer steps done.")
    loss: float | None = Field(description="Mean per token since the last report.")
    pack: int | None = Field(description="The pack it trains in, where there are several.")


class MeasuredEvent(_OfTrial):
    """A trial was evaluated; its best adapter scale there."""

    event: Literal["measured"] = "measured"
    step: int = Field(description="Optimizer steps done.")
    adapter_scale: float = Field(description="The adapter scale that was best.")
    feasible: bool = Field(description="Every guardrail was measured and holds.")
    rates: Rates = Field(description="Percent, by the names that measurements use.")
    changes: Rates = Field(description="Points against the untuned model; negative is better.")


class TrialEndedEvent(_OfTrial):
    """A trial ended; its best measurement."""

    event: Literal["trial_ended"] = "trial_ended"
    state: Literal["COMPLETE", "PRUNED", "FAIL", "RUNNING"] = Field(description="Optuna's state.")
    reason: str = Field(description="Why, for a person.")
    pruned_by: str | None = Field(description="The rule that ended it early.")
    feasible: bool = Field(description="Every guardrail was measured and holds.")
    parameters: dict[str, Any] = Field(
        description="The searched values; of a confirmation run its trial and seed."
    )
    step: int | None = Field(description="The step of its best measurement.")
    adapter_scale: float | None = Field(description="The adapter scale of its best measurement.")
    rates: Rates = Field(description="Percent; empty where nothing was measured.")
    changes: Rates = Field(description="Points against the untuned model; negative is better.")
    steps_trained: int = Field(description="Optimizer steps in all.")
    duplicate_of: int | None = Field(
        description="The trial of the same parameters whose result it took over."
    )
    earlier: bool = Field(description="It ended in an earlier run.")


class WorkEvent(_Event):
    """A long piece of work goes on: said once a second at most, only of what lasts longer."""

    event: Literal["work"] = "work"
    what: str = Field(description="In words, for a person.")
    done: int = Field(description="Parts that are done.")
    total: int = Field(description="Parts there are.")


class NoteEvent(_Event):
    """A sentence for a person."""

    event: Literal["note"] = "note"
    text: str = Field(description="One line.")


class FinishedEvent(_Event):
    """The last event of a run that came to its end."""

    event: Literal["finished"] = "finished"
    decision: Literal["ACCEPT", "REJECT", "INCONCLUSIVE"] | None = Field(
        description="The verdict; none without acceptance criteria, or without a feasible trial."
    )
    trial: int | None = Field(description="The best feasible trial.")
    headline: str = Field(description="The first line of the report.")
    report: str = Field(description="The path of report.html.")
    exit_code: int = Field(description="Of the command.")


class StoppedEvent(_Event):
    """The last event of a run that was interrupted, or that an error ended."""

    event: Literal["stopped"] = "stopped"
    message: str = Field(description="As on stderr; may have several lines.")
    exit_code: int = Field(description="Of the command.")


Event = Annotated[
    StudyEvent
    | BaselineEvent
    | TrialStartedEvent
    | ProgressEvent
    | MeasuredEvent
    | TrialEndedEvent
    | WorkEvent
    | NoteEvent
    | FinishedEvent
    | StoppedEvent,
    Field(discriminator="event"),
]

EVENTS: TypeAdapter[Event] = TypeAdapter(Event)
"""Parses one line of output, and gives the JSON schema."""
