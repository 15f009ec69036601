"""The README.md of a folder with several exported adapters of one study: a list of them, and how to
use them all with one base model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import ModelCardData

from orchestrator.reporting.cards.load_script import load_script
from orchestrator.reporting.cards.model_card import LIBRARY, TASK, hub_name
from orchestrator.reporting.rendering.markdown import render
from orchestrator.reporting.rendering.report_blocks import Code, Document, Heading, Paragraph, Table
from orchestrator.reporting.wording import (
    rate_heading,
    rates_of,
    relative_to,
    shown_percent,
    shown_points,
    unit_text,
    value_text,
)
from orchestrator.set_names import is_wer
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.conclusion import Conclusion
from orchestrator.verdicts.saved_adapters import SavedAdapter


def adapter_name(kept: SavedAdapter) -> str:
    """Return the name of an adapter's folder, which is also its name in PEFT: trial-3."""
    return f"trial-{kept.result.number}"


def adapters_card(
    spec: SweepSpec,
    conclusion: Conclusion,
    adapters: Sequence[SavedAdapter],
    root: Path,
    done: bool,
) -> str:
    """Return Markdown with the metadata that the Hugging Face hub reads, and with the script of
    load.py in the same folder. Paths are relative to `root`, the project's folder; `done`: nothing
    is left to train.
    """
    model = relative_to(spec.model.id, root)
    each = [adapter_name(kept) for kept in adapters]
    script = load_script(spec.portable.model, spec.evaluation, each)
    names, units = ", ".join(each), unit_text(all(map(is_wer, rates_of(spec))))
    blocks = (
        Paragraph(
            f"They belong to the base model {model}, revision {spec.model.revision}. Their adapter "
            "scales are in their weights. Each folder can be used alone, and its card has the data, "
            "the limits and what the numbers cannot say."
        ),
        Heading("Adapters"),
        _table(spec, conclusion, adapters, done),
        Paragraph(
            f"{units[0].upper()}{units[1:]} against the untuned model, on sets that also chose the "
            "trials (optimistic)."
        ),
        Heading("Use"),
        Paragraph(
            "load.py loads the base once and prints what each adapter hears in a file of 16 kHz and "
            "one channel, or those adapters whose names follow the file:"
        ),
        Code(tuple(script.splitlines())),
    )
    header = ModelCardData(
        base_model=hub_name(spec.model),
        library_name=LIBRARY["adapter"],
        pipeline_tag=TASK,
        tags=["lora"],
    )
    title = f"{spec.name}, {len(adapters)} adapters"
    headline = (
        f"Adapters of sweep {spec.name} for one base model, each in the folder of its name: {names}"
    )
    return f"---\n{header.to_yaml()}\n---\n\n" + render(Document(title, headline, blocks))


def _table(
    spec: SweepSpec, conclusion: Conclusion, adapters: Sequence[SavedAdapter], done: bool
) -> Table:
    columns = ["folder", "step", "adapter scale"]
    for rate in rates_of(spec):
        columns += [f"{rate_heading(rate)} %", "change"]
    rows = [(*_numbers(spec, kept), _standing(conclusion, kept, done)) for kept in adapters]
    return Table((*columns, "the trial is"), tuple(rows))


def _numbers(spec: SweepSpec, kept: SavedAdapter) -> list[str]:
    cells = [adapter_name(kept), value_text(kept.step), value_text(kept.adapter_scale)]
    for rate in rates_of(spec):
        cells += [
            shown_percent(rate, kept.wer.get(rate)),
            shown_points(rate, kept.delta.get(rate)),
        ]
    return cells


def _standing(conclusion: Conclusion, kept: SavedAdapter, done: bool) -> str:
    """Say how the trial ended, and for the best one the decision, which concerns it alone."""
    state = str(kept.result.state)
    best = conclusion.best is not None and conclusion.best.number == kept.result.number
    if not best or not kept.gave_the_result:
        return state
    decision = conclusion.shown_decision(done)
    best_so_far = "the best" if done else "the best so far"
    return f"{state}, {best_so_far}" + (f", {decision}" if decision else "")
