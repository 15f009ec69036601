"""`orchestrate transcribe`: what a model hears in audio files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.choices import choice_of
from orchestrator.commands.output import warn
from orchestrator.errors import ManifestError
from orchestrator.reporting.rendering.escape import plain

if TYPE_CHECKING:
    from orchestrator.tuning.decoding.audio_files import Transcript
    from orchestrator.tuning.model.base_model import BaseModel

_HELP = "as the model was measured, else the default of a sweep file"


_Model = Annotated[
    str,
    typer.Argument(
        metavar="FOLDER_OR_ADAPTER",
        help="The model: a folder or hub id, an exported adapter, or a merged model.",
        show_default=False,
    ),
]
_Files = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE...",
        help="Audio files, or folders: all audio files in them and below.",
        show_default=False,
    ),
]
_Rms = Annotated[
    float | None,
    typer.Option(
        "--rms",
        min=0,
        max=0.999,
        help="Root mean square to which each file's sound is scaled; 0 leaves it as it is.",
        show_default=_HELP,
    ),
]
_MaxTokensPerSecond = Annotated[
    float | None,
    typer.Option(
        "--max-tokens-per-second",
        min=0.1,
        max=1000,
        help="Most tokens for a second of audio; a longer text is cut off.",
        show_default=_HELP,
    ),
]
_Base = Annotated[
    str | None,
    typer.Option(
        "--base",
        metavar="MODEL",
        help="Base model of an adapter, a folder or hub id. Default: the one that the "
        "adapter's folder names.",
    ),
]
_Device = Annotated[
    str,
    typer.Option(
        "--device",
        help="Where to compute: cpu, cuda, mps or auto, the first there is of cuda, mps, cpu.",
    ),
]


def transcribe(
    model: _Model,
    files: _Files,
    rms: _Rms = None,
    max_tokens_per_second: _MaxTokensPerSecond = None,
    base: _Base = None,
    device: _Device = "auto",
) -> None:
    """Print what a model hears in audio files: for each its path, a tab and the text.

    Recordings longer than 30 s are cut where they are quietest.
    Exit code 1: some of the files could not be heard, the others were.
    """
    choice_of("--device", device, ("auto", "cpu", "cuda", "mps"))
    paths = list(_audio_files(files))
    loaded = _load_model(model, device, base)
    from orchestrator.tuning.decoding.audio_files import settings_of, transcribe_files

    measured = settings_of(model)
    level = measured.rms if rms is None else rms or None
    rate = max_tokens_per_second or measured.max_tokens_per_second
    heard = transcribe_files(loaded, paths, rms=level, max_tokens_per_second=rate)
    if unheard := _print_all(heard, rate):
        if unheard == len(paths):
            raise ManifestError("none of the files could be heard")
        warn(f"{unheard} of {len(paths)} files could not be heard")
        raise typer.Exit(1)


def _load_model(model: str, device: str, base: str | None) -> BaseModel:
    """Load the model on its device, and print notes about it on stderr."""
    from orchestrator.tuning.decoding.audio_files import open_model
    from orchestrator.tuning.model.device import choose_device

    loaded = open_model(model, choose_device(device, "--device")[0], base)
    for note in loaded.notes:
        warn(note)
    return loaded


def _print_all(transcripts: Iterable[Transcript], rate: float) -> int:
    """Print a line for each transcript, and return how many files could not be transcribed. `rate`
    is the cap in tokens per second, for the warning about a text that was cut off.
    """
    unheard = 0
    for heard in transcripts:
        if heard.fault:
            unheard += 1
            warn(plain(heard.fault))
            continue
        typer.echo(f"{plain(heard.path)}\t{plain(heard.text)}")
        if heard.truncated:
            warn(
                f"{plain(heard.path)}: cut off at {rate:g} tokens a second; "
                "speech this dense needs a larger --max-tokens-per-second"
            )
    return unheard


def _audio_files(named: Sequence[str]) -> Iterator[str]:
    """Yield files as they are named, and for a folder all audio files in it and below, sorted, as
    `manifest from-folder` finds them. Warns of sound that is not read. Raises
    ManifestError for a folder without audio, or of which a part cannot be listed.
    """
    from orchestrator.corpus.importing.finding_recordings import find_recordings

    for name in named:
        folder = Path(name)
        if not folder.is_dir():
            yield name
            continue
        recordings, unread = find_recordings(folder)
        if counted := unread.counted(folder):
            left = ", ".join(f"{count} {what}" for what, count in counted.items())
            warn("; ".join((f"{name}: left out: {left}", *unread.notes(folder))))
        yield from map(str, recordings)
