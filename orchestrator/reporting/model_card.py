"""README.md of an exported adapter: where it comes from and what was measured of it."""

from __future__ import annotations

import json

from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.results import TrialResult
from orchestrator.reporting.conclusion import Conclusion
from orchestrator.reporting.document import Block, Document, Heading, Paragraph, Table
from orchestrator.reporting.markdown import render
from orchestrator.reporting.wording import LIMIT_COLUMNS, limit_row, limits_of, percent, points, value_text


def model_card(plan: TrialPlan, result: TrialResult, conclusion: Conclusion) -> str:
    """Markdown with the metadata the Hugging Face hub reads."""
    front = {"base_model": plan.model.id, "library_name": "peft", "pipeline_tag": "automatic-speech-recognition"}
    # JSON strings are YAML strings, whatever they hold.
    header = "\n".join(f"{name}: {json.dumps(value)}" for name, value in front.items())
    return f"---\n{header}\ntags: [lora]\n---\n\n" + render(_document(plan, result, conclusion))


def _document(plan: TrialPlan, result: TrialResult, conclusion: Conclusion) -> Document:
    chosen = conclusion.best is not None and conclusion.best.number == result.number
    verdict = conclusion.deciding if chosen else None
    blocks: list[Block] = [Heading("Measured")]
    if verdict:
        where = (
            "confirm sets, fresh seeds pooled" if verdict.confirmed else "sets that also chose the trial (optimistic)"
        )
        blocks += [Paragraph(f"On {where}; WER in percent, changes in WER points.")]
        blocks += [Table(LIMIT_COLUMNS, tuple(limit_row(limit) for limit in limits_of(verdict)))]
    else:
        rows = tuple((name, percent(wer), points(result.delta.get(name))) for name, wer in result.wer.items())
        blocks += [
            Paragraph("On sets that also chose the trial (optimistic)."),
            Table(("set", "WER %", "change"), rows),
        ]
    values = plan.params.model_dump(exclude={"adapter_scales"}) | {
        "trained to step": result.step,
        "adapter scale (in the weights)": result.adapter_scale,
    }
    blocks += [Heading("Trained"), Table(("parameter", "value"), tuple((n, value_text(v)) for n, v in values.items()))]
    blocks += [
        Paragraph(f"Base model {plan.model.id}, revision {plan.model.revision}. Trial recipe {plan.recipe[:16]}.")
    ]
    decision = f"{conclusion.decision}" if chosen and conclusion.decision else "no verdict on this trial alone"
    headline = f"Trial {result.number} of sweep {plan.sweep}: {decision}. {result.reason}"
    return Document(f"{plan.sweep}, trial {result.number}", headline, tuple(blocks))
