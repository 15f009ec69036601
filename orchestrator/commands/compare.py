"""`orchestrate compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.choices import choice_of
from orchestrator.commands.opening_study import open_study
from orchestrator.commands.output import print_document, show
from orchestrator.commands.study_arguments import Studies
from orchestrator.errors import SpecError

if TYPE_CHECKING:
    from orchestrator.verdicts.comparability import Side

_FORMATS = ("terminal", "md", "html", "json")


def compare(
    sides: Annotated[
        list[str],
        typer.Argument(
            metavar="A B...",
            help="Two or more sweep files or names of studies. Each means its best trial; with :N, "
            "such as mine:7, its trial N.",
            show_default=False,
        ),
    ],
    form: Annotated[
        str,
        typer.Option("--format", help="Form of the output: terminal, md (Markdown), html or json."),
    ] = "terminal",
    shown: Annotated[
        int,
        typer.Option(
            "--utterances",
            min=0,
            help="Number of utterances to list that got worse, and of those that got better.",
        ),
    ] = 10,
    studies: Studies = None,
) -> None:
    """Compare studies or trials: sweep files, verdicts, paired differences, changed utterances.

    The first one is compared with each of the others.
    """
    from orchestrator.reporting.documents import studies_compared
    from orchestrator.reporting.page import html
    from orchestrator.reporting.rendering import markdown
    from orchestrator.verdicts.comparability import pair_of

    choice_of("--format", form, _FORMATS)
    if len(sides) < 2:
        raise SpecError(
            "compare needs two studies or trials\n  orchestrate compare A B, or A:3 A:7"
        )
    opened = [_open_side(side, studies) for side in sides]
    pairs = [pair_of(opened[0], other, len(opened) - 1) for other in opened[1:]]
    if form == "json":
        print_document(studies_compared.render_json(opened, pairs))
        return
    document = studies_compared.build(opened, pairs, shown)
    if form == "terminal":
        show(document)
    else:
        print_document(markdown.render(document) if form == "md" else html.render(document))


def _open_side(word: str, studies: Path | None) -> Side:
    """Open a side: `phone` is the best trial of that study, `phone:7` its trial 7. The name of an
    existing file may contain a colon.
    """
    from orchestrator.running.completion import judged
    from orchestrator.verdicts.comparability import side_of

    name, colon, number = word.rpartition(":")
    if Path(word).exists() or not colon or not (number.isascii() and number.isdigit()):
        name, number = word, ""
    opened = open_study(Path(name), [], studies)
    sweep, folder = opened.sweep, opened.folder
    conclusion, done = judged(sweep, folder)
    return side_of(word, sweep, folder, conclusion, done, int(number) if number else None)
