"""`orchestrate export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from orchestrator.commands.choices import choice_of
from orchestrator.commands.opening_study import open_study
from orchestrator.commands.output import say, told, warn
from orchestrator.commands.study_arguments import Studies, Study
from orchestrator.errors import SpecError

if TYPE_CHECKING:
    from orchestrator.records.shipping import ExportForm

_Rest = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[N]... [KEY=VALUE]...",
        help="Numbers of trials. Default: the best trial that keeps the guardrails. Several "
        "need --format adapter. name=NAME for a study that was begun with --fork NAME.",
    ),
]
_To = Annotated[
    Path | None,
    typer.Option(
        "--to", metavar="DIR", help="Folder to write, which must not exist yet. Required."
    ),
]
_Form = Annotated[
    str,
    typer.Option(
        "--format",
        help="Form to write: adapter (for PEFT), merged (whole model for transformers), onnx "
        "(graphs for onnxruntime) or moonshine (graphs for the authors' runtime).",
    ),
]
_Final = Annotated[
    bool,
    typer.Option(
        "--final",
        help="Take the adapter of the trial's last measurement instead of its best one.",
    ),
]
_Merged = Annotated[bool, typer.Option("--merged", help="Short for --format merged.")]
_Quantize = Annotated[
    str,
    typer.Option(
        "--quantize",
        help="With --format onnx or moonshine: none for float32 weights, int8 for dynamic "
        "quantisation.",
    ),
]
_Windows = Annotated[
    str | None,
    typer.Option(
        "--encoder-windows",
        help="With --format onnx or moonshine: stock or inclusive, how the widths of the "
        "encoder's windows are read. Default: as in the study.",
    ),
]
_ChangedOnly = Annotated[
    bool,
    typer.Option(
        "--changed-only",
        help="With --format moonshine: write only the graphs that the adapter changes.",
    ),
]


def export(
    spec: Study,
    rest: _Rest = None,
    to: _To = None,
    form: _Form = "adapter",
    final: _Final = False,
    merged: _Merged = False,
    quantize: _Quantize = "none",
    windows: _Windows = None,
    changed_only: _ChangedOnly = False,
    studies: Studies = None,
) -> None:
    """Write a trial's model in the form in which it will be used, with a model card.

    If several trials are named, the adapter of each is written, in a folder of its own.
    """
    from orchestrator.reporting.cards.adapters_card import adapter_name
    from orchestrator.running.exporting import export as write
    from orchestrator.running.processor_files import missing_tokenizer

    words = rest or []
    numbers = trial_numbers(words)
    if to is None:
        raise SpecError("export needs --to DIR, a folder that does not exist yet")
    asked = _asked_form(form, merged, quantize, windows, changed_only)
    opened = open_study(spec, words, studies)
    sweep, folder = told(opened)
    for kept in write(sweep, folder, numbers, to, opened.root, final=final, form=asked):
        scale = ""
        if kept.adapter_scale is not None:
            scale = f", step {kept.step}, adapter scale {kept.adapter_scale:g},"
        place = to / adapter_name(kept) if len(numbers) > 1 else to
        say(f"trial {kept.result.number} of study {folder.name}{scale} is in {place}")
    if asked.form == "adapter" and (lacking := missing_tokenizer(sweep.model)):
        warn(lacking)


def trial_numbers(words: list[str]) -> list[int]:
    """Remove the leading numbers from `words`, in place, and return them."""
    numbers = []
    while words and words[0].isascii() and words[0].isdigit():
        numbers.append(int(words.pop(0)))
    return numbers


def _asked_form(
    form: str, merged: bool, quantize: str, windows: str | None, changed_only: bool
) -> ExportForm:
    """Return the form that the options ask for. Raises SpecError for an unknown value, and for
    options that do not go together.
    """
    from orchestrator.records.shipping import FORMS, QUANTIZED, ExportForm
    from orchestrator.sweepfile.evaluation import EncoderWindows

    shapes: tuple[EncoderWindows, ...] = get_args(EncoderWindows)
    if merged and form not in ("adapter", "merged"):
        raise SpecError(
            f"--merged is short for --format merged, and --format {form} was given\n  Give one of them."
        )
    asked = ExportForm(
        form=choice_of("--format", "merged" if merged else form, FORMS),
        quantized=choice_of("--quantize", quantize, QUANTIZED),
        windows=None if windows is None else choice_of("--encoder-windows", windows, shapes),
        changed_only=changed_only,
    )
    _check_of_graphs(asked)
    return asked


def _check_of_graphs(asked: ExportForm) -> None:
    """Raise SpecError where an option for exported graphs is given with another form."""
    from orchestrator.records.shipping import GRAPH_FORMS

    given = {
        "--quantize": asked.quantized != "none",
        "--encoder-windows": asked.windows is not None,
    }
    for option, is_given in given.items():
        if is_given and asked.form not in GRAPH_FORMS:
            raise SpecError(
                f"{option} is for graphs: give it with --format {' or '.join(GRAPH_FORMS)}"
            )
    if asked.changed_only and asked.form != "moonshine":
        raise SpecError(
            "--changed-only is for the five graphs of the authors' runtime: give it with --format moonshine"
        )
