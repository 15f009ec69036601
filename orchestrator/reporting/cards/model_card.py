"""The README.md (model card) of an exported model: what it is, where it comes from, what was
measured of it, and what that leaves open.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData

from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.results import Measurement, TrialResult
from orchestrator.records.shipping import GRAPH_FORMS, ExportForm, Form
from orchestrator.records.store import StudyFolder
from orchestrator.reporting.cards.load_script import load_script
from orchestrator.reporting.documents.caveats import caveats
from orchestrator.reporting.documents.headline import doubt
from orchestrator.reporting.documents.verdict_table import units_of_table, verdict_table
from orchestrator.reporting.rendering.markdown import render
from orchestrator.reporting.rendering.report_blocks import (
    Block,
    Bullets,
    Code,
    Document,
    Heading,
    Paragraph,
    Picture,
    Table,
)
from orchestrator.reporting.rendering.svg import Kind, Point, scatter_plot
from orchestrator.reporting.wording import (
    params_text,
    plotted_limits,
    plotted_rates,
    relative_to,
    shown_percent,
    shown_points,
    unit_text,
    value_text,
)
from orchestrator.scoring.judge import Verdict
from orchestrator.scoring.limit_text import rate_text
from orchestrator.sweepfile.data import SetSource
from orchestrator.sweepfile.sweep import ModelSpec, SweepSpec
from orchestrator.verdicts.conclusion import Conclusion
from orchestrator.verdicts.saved_adapters import SavedAdapter

PLOT = "gain-against-regression.svg"
"""The file of the plot, in the folder of the card."""
_ABOUT_PLOT = "Gain on the domain against regression on held-out speech, of every trial of the search, with the limits"
TASK = "automatic-speech-recognition"
LIBRARY: dict[Form, str] = {
    "adapter": "peft",
    "merged": "transformers",
    "onnx": "onnx",
    "moonshine": "onnx",
}


def hub_name(model: ModelSpec) -> str | None:
    """Return the name of a base model for a card's metadata; None for a folder: the hub refuses a
    card that names a path there.
    """
    return None if model.is_folder else model.id


def model_card(
    plan: TrialPlan,
    kept: SavedAdapter,
    spec: SweepSpec,
    folder: StudyFolder,
    conclusion: Conclusion,
    root: Path,
    *,
    done: bool,
    form: ExportForm,
) -> str:
    """Return Markdown with the metadata that the Hugging Face hub reads. Paths are relative to
    `root`, the project's folder.

    `done`: nothing is left to train; `form`: the form of the model in the folder.
    """
    measured_otherwise = _differs_from_measured(spec, form)
    model = relative_to(plan.model.id, root)
    # the verdict is about the adapter that gave the trial its result, and no other of the trial
    judged = (
        conclusion.best is not None
        and conclusion.best.number == kept.result.number
        and kept.gave_the_result
    )
    verdict = conclusion.deciding if judged else None
    decision = _decision(spec, conclusion, done) if judged else "no verdict on this adapter alone"
    doubts = caveats(spec, folder, conclusion, done) if judged else ()
    ended = f"The trial is {kept.result.state}: {kept.result.reason}"
    which = "" if kept.gave_the_result else ", its last measurement"
    blocks: list[Block] = [
        Paragraph(_identity_sentence(kept, model, plan.model.revision, form.form)),
        *([Paragraph(measured_otherwise)] if measured_otherwise else []),
        *_usage_blocks(plan, form.form),
        *_measured_blocks(kept, verdict),
        *([Picture(PLOT, _ABOUT_PLOT)] if card_plot(spec, kept, conclusion) else []),
        *_limits_blocks([_from_project(text, root) for text in doubts]),
        *_data_blocks(plan, conclusion, root),
        *_training_blocks(plan, kept),
        *_sweep_file(folder, root),
    ]
    title = f"{plan.sweep}, trial {kept.result.number}"
    results = (
        [] if measured_otherwise else list(_eval_results(plan, kept, verdict, conclusion, root))
    )
    header = ModelCardData(
        base_model=hub_name(plan.model),
        library_name=LIBRARY[form.form],
        pipeline_tag=TASK,
        tags=["lora"],
        model_name=title if results else None,
        eval_results=results or None,
    )
    headline = f"Trial {kept.result.number} of sweep {plan.sweep}{which}: {decision}. {ended}"
    return f"---\n{header.to_yaml()}\n---\n\n" + render(Document(title, headline, tuple(blocks)))


def _decision(spec: SweepSpec, conclusion: Conclusion, done: bool) -> str:
    """Say what the sweep decided about its winner; `done` as in `model_card`."""
    if not done:
        return "no verdict yet, the sweep is not finished"
    return (
        f"{conclusion.decision or 'no acceptance criteria were declared'}{doubt(spec, conclusion)}"
    )


def card_plot(spec: SweepSpec, kept: SavedAdapter, conclusion: Conclusion) -> str:
    """Plot gain against regression of all trials of the search as SVG, with this one marked; empty
    where no trial has both.
    """
    rates = gained, risen = plotted_rates(spec)
    measured = [result for result in conclusion.results if set(rates) <= result.delta.keys()]
    labels = (
        f"held-out regression, {rate_text(risen).split()[-1]} points",
        f"domain gain, {rate_text(gained).split()[-1]} points",
    )
    return scatter_plot(
        [_operating_point(result, kept, rates) for result in measured],
        *plotted_limits(spec),
        labels,
    )


def _operating_point(result: TrialResult, kept: SavedAdapter, rates: tuple[str, str]) -> Point:
    kind: Kind = "good" if result.feasible else "broken"
    if result.number == kept.result.number and kept.gave_the_result:
        kind = "this"
    label = f"trial {result.number}: {params_text(result.params)}"
    gained, risen = rates
    return Point(result.delta[risen], -result.delta[gained], label, kind)


def _eval_results(
    plan: TrialPlan, kept: SavedAdapter, verdict: Verdict | None, conclusion: Conclusion, root: Path
) -> Iterator[EvalResult]:
    """Yield the WERs and CERs for the hub's `model-index`: those of this adapter on the search's
    sets, and those of its retrainings on the confirm sets. The hub has no metric for term recall.
    """
    rows = [(rate, value, "on a set that also chose the trial") for rate, value in kept.wer.items()]
    if verdict and verdict.confirmed:
        said = "trained again with fresh seeds, pooled"
        rows += [(rate, value, said) for rate, value in verdict.rates.items()]
    manifests = _manifests_used(plan, conclusion)
    for rate, value, said in rows:
        name, metric = (rate, "wer") if rate in manifests else (rate.removesuffix("_cer"), "cer")
        if name in manifests and math.isfinite(value):
            yield EvalResult(
                task_type=TASK,
                dataset_type=_manifest_text(manifests[name], root),
                dataset_name=f"{plan.sweep} {name}",
                dataset_split=name,
                dataset_revision=_counts_of_set(name, _baselines_of(conclusion))[2],
                metric_type=metric,
                metric_value=round(value, 2),
                metric_name=f"{metric.upper()} (%), {said}",
            )


def _identity_sentence(kept: SavedAdapter, model: str, revision: str, form: Form) -> str:
    place = f"step {kept.step}, adapter scale {value_text(kept.adapter_scale)}"
    if kept.gave_the_result:
        which = f"The adapter of the measurement that gave the trial its result: {place}."
    else:
        result = kept.result
        chosen = f"step {result.step}, adapter scale {value_text(result.adapter_scale)}"
        which = f"The adapter of the trial's last measurement: {place}. The trial's result is that of {chosen}."
    alone = form == "adapter"
    place = (
        "Its adapter scale is in its weights. It belongs to"
        if alone
        else "It is merged into the weights of"
    )
    return f"{which} {place} the base model {model}, revision {revision}."


def _differs_from_measured(spec: SweepSpec, form: ExportForm) -> str:
    """Return a sentence where the folder holds another model than the one that was measured: one
    that is quantized or has other encoder windows; empty where it does not.
    """
    changes = []
    if form.quantized != "none":
        changes.append(f"its weights are quantized ({form.quantized})")
    if form.windows is not None and form.windows != spec.evaluation.encoder_windows:
        changes.append(
            f"its encoder windows are {form.windows}, and {spec.evaluation.encoder_windows} were measured"
        )
    if not changes:
        return ""
    return (
        f"The numbers below are not those of the model in this folder: {' and '.join(changes)}. `orchestrate verify "
        "SPEC N --runtime FOLDER` measures what it hears."
    )


def _usage_blocks(plan: TrialPlan, form: Form) -> Iterator[Block]:
    """Say how to get the transcripts of the evaluation: by a command, and by stock libraries."""
    yield Heading("Use")
    settings = plan.evaluation
    if form in GRAPH_FORMS:
        yield Paragraph(
            f"Graphs for onnxruntime, form {form}. export.json says what they need: the level of the sound, the cap on "
            "new tokens, start and end tokens, and the digest of every file. `orchestrate verify SPEC N --runtime "
            "FOLDER` hears the study's sets with them and says where they differ from what was measured."
        )
        return
    rate = f"--max-tokens-per-second {settings.max_tokens_per_second:g}"
    yield Code((f"orchestrate transcribe FOLDER FILE... --rms {settings.rms or 0:g} {rate}",))
    loaded = (
        "PeftModel.from_pretrained(base, FOLDER)"
        if form == "adapter"
        else "AutoModelForSpeechSeq2Seq.from_pretrained(FOLDER)"
    )
    yield Paragraph(
        f"In Python: {loaded}. Decode greedily, with the sound at that level (root mean square; 0: as it is) and that "
        "cap on new tokens: other settings give other words."
    )
    if form == "adapter":
        yield Paragraph(
            "load.py does so with stock libraries alone, for a file of 16 kHz and one channel:"
        )
        yield Code(tuple(load_script(plan.model, settings).splitlines()))


def _measured_blocks(kept: SavedAdapter, verdict: Verdict | None) -> Iterator[Block]:
    yield Heading("Measured")
    if verdict:
        where = (
            "confirm sets, fresh seeds pooled"
            if verdict.confirmed
            else "sets that also chose the trial (optimistic)"
        )
        yield Paragraph(f"On {where}; {units_of_table(verdict)}.")
        yield verdict_table(verdict)
        return
    rows = tuple(
        (rate_text(rate), shown_percent(rate, value), shown_points(rate, kept.delta.get(rate)))
        for rate, value in kept.wer.items()
    )
    yield Paragraph(f"On sets that also chose the trial (optimistic); {unit_text(only_wer=False)}.")
    yield Table(("rate", "%", "change"), rows)


def _limits_blocks(sentences: list[str]) -> Iterator[Block]:
    yield Heading("What the numbers cannot say")
    elsewhere = "The numbers hold for speech like that of the sets below; they say nothing about another domain."
    yield Bullets((*sentences, elsewhere))


def _data_blocks(plan: TrialPlan, conclusion: Conclusion, root: Path) -> Iterator[Block]:
    yield Heading("Data")
    columns = ("set", "manifest", "utterances", "words", "SHA-256 of the manifest")
    baselines, manifests = _baselines_of(conclusion), _manifests_used(plan, conclusion)
    rows = (
        (name, _manifest_text(source, root), *_counts_of_set(name, baselines))
        for name, source in manifests.items()
    )
    yield Table(columns, tuple(rows))


def _manifests_used(plan: TrialPlan, conclusion: Conclusion) -> dict[str, SetSource]:
    """Return the manifests that the sweep trained and measured on, by the set's name."""
    data, confirming = plan.data, plan.data.confirming
    manifests = {"train": SetSource(data.train), **data.evaluated}
    if data.replay:
        manifests |= {"replay": SetSource(data.replay)}
    if confirming and conclusion.confirm_baseline:
        manifests |= data.all_evaluated
    return manifests


def _baselines_of(conclusion: Conclusion) -> list[Measurement]:
    return [
        measurement
        for measurement in (conclusion.baseline, conclusion.confirm_baseline)
        if measurement
    ]


def _manifest_text(source: SetSource, root: Path) -> str:
    return relative_to(str(source.path), root) + (
        f" ({source.part_text})" if source.part_text else ""
    )


def _counts_of_set(name: str, baselines: list[Measurement]) -> tuple[str, str, str]:
    found = next((baseline.sets[name] for baseline in baselines if name in baseline.sets), None)
    if found is None:
        return "-", "-", "-"
    return str(len(found.errors)), str(sum(found.reference_words)), found.manifest_sha256


def _training_blocks(plan: TrialPlan, kept: SavedAdapter) -> Iterator[Block]:
    values = plan.params.model_dump(exclude={"adapter_scales"}) | {
        "trained to step": kept.step,
        "adapter scale (in the weights)": kept.adapter_scale,
    }
    yield Heading("Trained")
    yield Table(
        ("parameter", "value"), tuple((name, value_text(value)) for name, value in values.items())
    )
    yield Paragraph(f"Trial recipe {plan.recipe[:16]}.")


def _sweep_file(folder: StudyFolder, root: Path) -> Iterator[Block]:
    yield Heading("Sweep file")
    yield Code(tuple(_from_project(folder.read_spec() or "", root).splitlines()))


def _from_project(text: str, root: Path) -> str:
    """Return a text whose paths in the project start at its folder. A path elsewhere may hold that
    of the project, as in a backup, and stays whole.
    """
    inside = re.escape(f"{str(root).rstrip('/')}/")
    return re.sub(rf"(?<![^\s\"'`(\[{{,=]){inside}(?=\S)", "", text)
