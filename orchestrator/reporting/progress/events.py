"""The events of a run as they are written for programs: one JSON object per line. Their names and
fields are a stable interface.

`docs/terminal.md` describes them; `docs/events.schema.json` is their JSON schema.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")

    time: str = Field(description="Time of the event in UTC, such as 2026-11-28T07:30:25Z.")
    study: str = Field(description="Name of the study.")


class _OfTrial(_Event):
    kind: Literal["trial", "confirmation"] = Field(
        description="Whether it is a trial of the search or a confirmation run."
    )
    number: int = Field(
        description="Its number, as in its folder's name: trials count from 0, confirmation runs "
        "from 1."
    )


Rates = dict[str, float]


class StudyEvent(_Event):
    """What is to be done, and what was done in earlier runs. Only `work` and `note` come before it."""

    event: Literal["study"] = "study"
    path: str = Field(description="Path of the study's folder.")
    trials: int = Field(description="The budget: number of trials in all runs together.")
    confirmations: int = Field(description="Largest number of confirmation runs.")
    wall_clock: float | None = Field(
        description="Seconds that the search may take in all runs together; null: no limit."
    )
    objective: str = Field(description="Name of the rate that the search minimises.")
    ended: int = Field(
        description="Number of trials and confirmation runs that ended in earlier runs; a "
        "`trial_ended` of each follows. While the search goes on, confirmation runs are not among "
        "them; those that count follow when it has ended."
    )
    seconds: float = Field(description="Seconds that the search took in earlier runs.")


class BaselineEvent(_Event):
    """The untuned model has been measured, in this run or an earlier one."""

    event: Literal["baseline"] = "baseline"
    wer: Rates = Field(description="WER of the untuned model in percent, by set.")
    rates: Rates = Field(
        description="All rates of the untuned model in percent, by the names that measurements use; "
        "recall and precision are shares that are found."
    )


class TrialStartedEvent(_OfTrial):
    """A trial took a slot of a pack: it begins to train, or continues."""

    event: Literal["trial_started"] = "trial_started"
    parameters: dict[str, Any] = Field(
        description="All parameters that it trains with, searched or not."
    )
    step: int = Field(
        description="Optimizer steps done before: above 0 if it continues from a checkpoint."
    )
    max_steps: int = Field(description="Step of its last evaluation.")


class ProgressEvent(_OfTrial):
    """A trial has trained on."""

    event: Literal["progress"] = "progress"
    step: int = Field(description="Number of optimizer steps that are done.")
    loss: float | None = Field(
        description="Mean loss per token since the trial's last measurement; null if it is not finite."
    )
    pack: int | None = Field(
        description="Number of the pack that it trains in; null if there is only one."
    )


class MeasuredEvent(_OfTrial):
    """A trial of the search was evaluated. The rates are those at the adapter scale that is best at
    this step. A confirmation run is measured at its end, which `trial_ended` tells.
    """

    event: Literal["measured"] = "measured"
    step: int = Field(description="Number of optimizer steps that are done.")
    adapter_scale: float = Field(description="The adapter scale that is best at this step.")
    feasible: bool = Field(description="Whether every guardrail was measured and holds.")
    rates: Rates = Field(
        description="Rates in percent, by the names that measurements use; recall and precision "
        "are shares that are found."
    )
    changes: Rates = Field(
        description="Changes in points against the untuned model, by the same names; negative is "
        "better, but of recall and precision positive."
    )


class TrialEndedEvent(_OfTrial):
    """A trial ended. The rates are those of its best measurement."""

    event: Literal["trial_ended"] = "trial_ended"
    state: Literal["COMPLETE", "PRUNED", "FAIL", "RUNNING"] = Field(
        description="Its state, in Optuna's words."
    )
    reason: str = Field(description="Why it ended so, in words for a person.")
    pruned_by: str | None = Field(
        description="Name of the rule that ended it early; null if none did."
    )
    feasible: bool = Field(description="Whether every guardrail was measured and holds.")
    parameters: dict[str, Any] = Field(
        description="Values of the searched parameters; for a confirmation run its trial and its "
        "seed."
    )
    step: int | None = Field(
        description="Step of its best measurement; null if nothing was measured."
    )
    adapter_scale: float | None = Field(
        description="Adapter scale of its best measurement; null if nothing was measured."
    )
    rates: Rates = Field(
        description="Rates in percent, by the names that measurements use; recall and precision "
        "are shares that are found; empty if nothing was measured."
    )
    changes: Rates = Field(
        description="Changes in points against the untuned model, by the same names; negative is "
        "better, but of recall and precision positive."
    )
    steps_trained: int = Field(description="Number of optimizer steps that it trained.")
    duplicate_of: int | None = Field(
        description="Number of the trial of the same parameters whose result it took over; else "
        "null."
    )
    earlier: bool = Field(description="Whether it ended in an earlier run.")


class WorkEvent(_Event):
    """A long piece of work goes on. It comes at most once a second, for what lasts longer."""

    event: Literal["work"] = "work"
    what: str = Field(description="What is done, in words for a person.")
    done: int = Field(description="Number of parts that are done.")
    total: int = Field(description="Number of all parts.")


class NoteEvent(_Event):
    """A sentence for a person."""

    event: Literal["note"] = "note"
    text: str = Field(description="The sentence, in one line.")


class FinishedEvent(_Event):
    """The last event of a run that came to its end."""

    event: Literal["finished"] = "finished"
    decision: Literal["ACCEPT", "REJECT", "INCONCLUSIVE"] | None = Field(
        description="The verdict, INCONCLUSIVE where no trial is feasible; null where one is and there are no "
        "acceptance criteria."
    )
    trial: int | None = Field(
        description="Number of the best feasible trial; null if there is none."
    )
    headline: str = Field(description="First line of the report.")
    report: str = Field(description="Path of report.html.")
    exit_code: int = Field(description="Exit code of the command.")


class StoppedEvent(_Event):
    """The last event of a run that was interrupted, or that an error ended."""

    event: Literal["stopped"] = "stopped"
    message: str = Field(description="The message, as on stderr; it may have several lines.")
    exit_code: int = Field(description="Exit code of the command.")


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
