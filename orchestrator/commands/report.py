"""`orchestrate report`."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.commands.choices import choice_of
from orchestrator.commands.opening_study import open_study
from orchestrator.commands.output import naming_words, print_document, show, told
from orchestrator.commands.study_arguments import Studies, Study


def report(
    spec: Study,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="acceptance.METRIC...=VALUE to judge by another limit; name=NAME for a study that "
            "was begun with --fork NAME.",
            show_default=False,
        ),
    ] = None,
    studies: Studies = None,
    form: Annotated[
        str,
        typer.Option("--format", help="Form of the output: terminal, md (Markdown), html or json."),
    ] = "terminal",
) -> None:
    """Show the verdict, tables and plots of a study, judged anew from its files."""
    from orchestrator.reporting.documents import report as reporting
    from orchestrator.reporting.documents import report_json
    from orchestrator.reporting.page import report_page
    from orchestrator.reporting.rendering import markdown
    from orchestrator.running.completion import judged

    choice_of("--format", form, ("terminal", "md", "html", "json"))
    opened = open_study(spec, overrides or [], studies, judging=True)
    sweep, folder = told(opened)
    conclusion, done = judged(sweep, folder)
    if form == "json":
        print_document(report_json.render(sweep, conclusion, done, opened.other_limits))
        return
    words = naming_words(spec, folder.name, studies)
    document = reporting.build(sweep, folder, conclusion, words, done, opened.other_limits)
    if form == "terminal":
        show(document)
    elif form == "md":
        print_document(markdown.render(document))
    else:
        print_document(report_page.render(sweep, folder, conclusion, document, words, done))
