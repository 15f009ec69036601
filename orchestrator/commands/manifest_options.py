"""Options that the commands of `orchestrate manifest` share, their checks, and the line that is
printed about a manifest.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.choices import choice_of
from orchestrator.errors import SpecError
from orchestrator.reporting.rendering.escape import plain

if TYPE_CHECKING:
    from orchestrator.corpus.manifests.manifest import Manifest

Out = Annotated[
    Path,
    typer.Argument(
        metavar="OUT", help="Manifest to write, which must not exist yet.", show_default=False
    ),
]
Source = Annotated[
    Path,
    typer.Argument(
        metavar="MANIFEST",
        help="Manifest to read, in any form that a sweep takes.",
        show_default=False,
    ),
]
Seed = Annotated[
    int,
    typer.Option("--seed", min=0, help="Seed of the random draws: order, samples, parts, noise."),
]
Samples = Annotated[
    int | None,
    typer.Option(
        "--samples", min=1, help="Number of utterances to take, drawn at random. Default: all."
    ),
]
MinSeconds = Annotated[
    float | None,
    typer.Option(
        "--min-seconds", min=0, help="Leave out utterances shorter than this many seconds."
    ),
]
MaxSeconds = Annotated[
    float | None,
    typer.Option(
        "--max-seconds", min=0, help="Leave out utterances longer than this many seconds."
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        "--name",
        metavar="GLOB",
        help="Take only utterances whose path, file name or id matches, such as '*/close/*.wav'.",
    ),
]
Bracketed = Annotated[
    str,
    typer.Option(
        "--brackets",
        help="What to do with texts that have a part in brackets, such as (noise): keep them, "
        "drop the utterance, or strip the part.",
    ),
]


def require_brackets(value: str) -> None:
    """Raise SpecError for an unknown value of --brackets."""
    from orchestrator.corpus.importing.selecting import BRACKETS

    choice_of("--brackets", value, BRACKETS)


def require_regex(**patterns: str | None) -> None:
    """Raise SpecError for a pattern, by its option's name, that is no regular expression."""
    for name, pattern in patterns.items():
        try:
            re.compile(pattern or "")
        except re.error as error:
            option = f"--{name.replace('_', '-')}"
            raise SpecError(
                f"{option} {pattern} is no regular expression: {error}\n  Such as '\\bword\\b'."
            ) from None


def print_totals(manifest: Manifest, left: str = "") -> None:
    """Print the utterances, hours and speakers of a manifest, and what was left out of it."""
    hours = sum(utterance.seconds for utterance in manifest.utterances) / 3600
    speakers = len({utterance.speaker for utterance in manifest.utterances} - {""})
    people = f", {speakers} speakers" if speakers else ""
    typer.echo(
        plain(f"{manifest.path}: {len(manifest.utterances)} utterances, {hours:.2f} h{people}")
    )
    if left:
        typer.echo(plain(left))
