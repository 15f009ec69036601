"""The output of `orchestrate trial`: the numbers of a rerun compared with the recorded ones."""

from __future__ import annotations

from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.reporting.rendering.report_blocks import Block, Document, Paragraph, Table
from orchestrator.reporting.wording import all_rates, percent, points, rates_of
from orchestrator.scoring.limit_text import rate_text
from orchestrator.set_names import search_name
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.reproduction import Reproduction, Rerun


def build(spec: SweepSpec, plan: TrialPlan, rerun: Rerun) -> Document:
    """Build the document, with a row for each rate that the sweep's tables show. It says that the
    trial was reproduced only where every utterance has the same edit counts.
    """
    recorded, again = rerun.recorded, rerun.again
    blocks: list[Block] = []
    if rerun.reproduction is Reproduction.NOT_COMPARABLE:
        blocks.append(
            Paragraph(
                "The two evaluations differ (data, model, device or versions): not comparable."
            )
        )
    before, now = (all_rates(each) if each else {} for each in (recorded, again))
    asked = rates_of(spec)
    shown = [rate for rate in {**before, **now} if search_name(rate) in asked]
    rows = tuple((rate_text(rate), *_cells(before.get(rate), now.get(rate))) for rate in shown)
    blocks.append(Table(("rate", "recorded %", "again %", "difference"), rows))
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


def _cells(before: float | None, now: float | None) -> tuple[str, str, str]:
    difference = None if before is None or now is None else now - before
    return percent(before), percent(now), points(difference)
