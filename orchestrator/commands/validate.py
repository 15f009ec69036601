"""`orchestrate validate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.commands.opening_study import open_sweep
from orchestrator.commands.output import say
from orchestrator.commands.study_arguments import Overrides, Studies
from orchestrator.errors import DataError, SpecError


def validate(
    spec: Annotated[
        Path | None,
        typer.Argument(
            metavar="SPEC", help="A sweep file, or the name of a study.", show_default=False
        ),
    ] = None,
    overrides: Overrides = None,
    schema: Annotated[
        bool,
        typer.Option(
            "--json-schema",
            help="Print the JSON schema of sweep files, for editors. Needs no SPEC.",
        ),
    ] = False,
    studies: Studies = None,
) -> None:
    """Check a sweep file and all that it names, before anything is trained.

    It checks every field, whether model and manifests are there, and what the
    manifests, the headers of the audio files and the model's files tell.
    """
    if schema:
        from orchestrator.sweepfile.loading import json_schema

        typer.echo(json.dumps(json_schema(), indent=2))
        return
    if spec is None:
        raise SpecError(
            "validate needs a sweep file\n  orchestrate validate SPEC, or orchestrate validate --json-schema"
        )
    from orchestrator.records.readiness.optional_packages import check_can_launch
    from orchestrator.records.readiness.reading_sets import read_sets
    from orchestrator.refused_findings import stop
    from orchestrator.reporting.documents.sweep_diagnosis import findings_text
    from orchestrator.running.preflight import find_before_decoding
    from orchestrator.sweepfile.cached_model import unchecked_text
    from orchestrator.sweepfile.loading import check_inputs
    from orchestrator.tracking.trackers import not_installed
    from orchestrator.verdicts.shipping import check_can_ship

    sweep, folder = open_sweep(spec, overrides or [], studies)
    check_inputs(sweep)
    check_can_ship(sweep)
    check_can_launch(sweep.execution)
    cache = folder.project_cache
    findings = find_before_decoding(sweep, read_sets(sweep, cache), cache)
    stop(findings, sweep.checks.ignore, "The data cannot answer the sweep's question", DataError)
    searched = ", ".join(dimension.name for dimension in sweep.parameters.searched) or "nothing"
    taken = f"; {sweep.taken}" if sweep.taken else ""
    say(
        f"{spec} is valid: sweep {sweep.name}, {sweep.method} over {searched}, {sweep.budget.trials} trials{taken}"
    )
    unchecked = filter(None, [unchecked_text(sweep.model)])
    for line in (*unchecked, *findings_text(sweep, findings), *not_installed(sweep)):
        say(line)
