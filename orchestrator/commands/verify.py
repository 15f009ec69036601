"""`orchestrate verify`."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.commands.choices import choice_of
from orchestrator.commands.export import trial_numbers
from orchestrator.commands.opening_study import open_study
from orchestrator.commands.output import say, show, told
from orchestrator.commands.study_arguments import Studies, Study
from orchestrator.errors import SpecError

_Rest = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[N] [KEY=VALUE]...",
        help="Number of the trial. Default: the best trial that keeps the guardrails. "
        "name=NAME for a study that was begun with --fork NAME.",
    ),
]
_Runtime = Annotated[
    str,
    typer.Option(
        "--runtime",
        metavar="onnx|moonshine|DIR",
        help="onnx or moonshine: make that form, and check it. DIR: check a folder that "
        "`orchestrate export` wrote.",
    ),
]
_Quantize = Annotated[
    str,
    typer.Option(
        "--quantize",
        help="With --runtime onnx or moonshine: none for float32 weights, int8 for dynamic "
        "quantisation.",
    ),
]
_Sets = Annotated[
    str | None,
    typer.Option(
        "--sets",
        metavar="NAME,...",
        help="Sets to transcribe, such as domain,confirm_domain. Default: all of the sweep's "
        "evaluation and confirm sets.",
    ),
]


def verify(
    spec: Study,
    rest: _Rest = None,
    runtime: _Runtime = "onnx",
    quantize: _Quantize = "none",
    sets: _Sets = None,
    studies: Studies = None,
) -> None:
    """Transcribe the study's sets with an exported form, and check that it does what was measured.

    Exit code 0: it is the study's model, and each limit that held still holds.
    4: it is not, or a limit does not hold any more.
    """
    from orchestrator.records.shipping import QUANTIZED
    from orchestrator.reporting.documents import verification_report
    from orchestrator.running.verifying import verify_study
    from orchestrator.verdicts.shipping import judge_again

    words = rest or []
    numbers = trial_numbers(words)
    if len(numbers) > 1:
        raise SpecError(
            f"verify hears one trial, and {', '.join(map(str, numbers))} were named\n  Verify each by itself."
        )
    quantized = choice_of("--quantize", quantize, QUANTIZED)
    sweep, folder = told(open_study(spec, words, studies))
    names = (
        None if sets is None else tuple(name.strip() for name in sets.split(",") if name.strip())
    )
    with folder.lock():
        result, found = verify_study(
            sweep, folder, next(iter(numbers), None), runtime, quantized, names, say
        )
    show(verification_report.build(sweep, folder, result, found))
    lost = any(judged.lost for judged in judge_again(sweep, folder, result, found))
    raise typer.Exit(4 if found.differences or lost else 0)
