"""The output of `orchestrate trial`: the numbers of a rerun compared with the recorded ones."""

from __future__ import annotations

from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.results import Measurement
from orchestrator.reporting.rendering.report_blocks import Block, Document, Paragraph, Table
from orchestrator.reporting.wording import percent, points
from orchestrator.verdicts.reproduction import Reproduction, Rerun


def build(plan: TrialPlan, rerun: Rerun) -> Document:
    """Build the document, with a row for each set. It says that the trial was reproduced only where
    every utterance has the same edit counts.
    """
    recorded, again = rerun.recorded, rerun.again
    blocks: list[Block] = []
    if rerun.reproduction is Reproduction.NOT_COMPARABLE:
        blocks.append(
            Paragraph(
                "The two evaluations differ (data, model, device or versions): not comparable."
            )
        )
    names = tuple(
        dict.fromkeys((*(recorded.sets if recorded else ()), *(again.sets if again else ())))
    )
    blocks.append(
        Table(
            ("set", "recorded %", "again %", "difference"),
            tuple(_set_row(n, recorded, again) for n in names),
        )
    )
    return Document(
        f"Sweep {plan.sweep}, trial {plan.number}", _again_headline(rerun), tuple(blocks)
    )


def _again_headline(rerun: Rerun) -> str:
    again = rerun.again
    if again is None:
        when = "this time" if rerun.recorded_failure is None else "again"
        return f"Failed {when}: {rerun.failure}"
    place = f"at step {again.step}, adapter scale {again.adapter_scale:g}"
    if rerun.recorded_failure is not None:
        return f"Not the same: measured {place}; in the study it failed: {rerun.recorded_failure}"
    if rerun.reproduction is None:
        return f"Measured at step {again.step}; nothing was recorded to compare with"
    if rerun.reproduction is Reproduction.SAME:
        return f"Reproduced exactly {place}: every utterance has the same edit counts"
    return f"Not the same {place}"


def _set_row(name: str, recorded: Measurement | None, again: Measurement | None) -> tuple[str, ...]:
    before, now = (m.sets[name].wer if m and name in m.sets else None for m in (recorded, again))
    difference = None if before is None or now is None else now - before
    return name, percent(before), percent(now), points(difference)
