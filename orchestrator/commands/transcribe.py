"""`orchestrate transcribe`: what a model hears in audio files."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.reporting.escape import plain
from orchestrator.sweepfile.sweep import EvaluationSpec

_DEFAULTS = EvaluationSpec()


def transcribe(
    model: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER_OR_ADAPTER",
            help="A model folder or hub id, an exported adapter folder, or a merged model.",
            show_default=False,
        ),
    ],
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Audio files.", show_default=False)],
    rms: Annotated[
        float, typer.Option("--rms", min=0, max=0.999, help="Level each file is scaled to; 0 leaves it.")
    ] = _DEFAULTS.rms or 0,
    max_tokens_per_second: Annotated[
        float, typer.Option("--max-tokens-per-second", min=0.1, help="Caps the length of a text by its file's.")
    ] = _DEFAULTS.max_tokens_per_second,
    base: Annotated[
        str | None, typer.Option("--base", metavar="MODEL", help="An adapter's base, where its folder cannot say.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Print one line per audio file: its path, a tab, and what the model hears."""
    from orchestrator.errors import SpecError

    if device not in ("auto", "cpu", "cuda", "mps"):
        raise SpecError(f"--device {device} is not known\n  Allowed: auto, cpu, cuda, mps.")
    from orchestrator.tuning.decoding.audio_files import open_model, transcribe_files
    from orchestrator.tuning.model.device import choose_device

    loaded = open_model(model, choose_device(device)[0], base)
    for note in loaded.notes:
        typer.echo(plain(note), err=True)
    for heard in transcribe_files(loaded, files, rms=rms or None, max_tokens_per_second=max_tokens_per_second):
        typer.echo(f"{plain(heard.path)}\t{plain(heard.text)}")
        if heard.truncated:
            typer.echo(
                f"{plain(heard.path)}: cut off at {max_tokens_per_second:g} tokens a second; "
                "speech this dense needs a larger --max-tokens-per-second",
                err=True,
            )
