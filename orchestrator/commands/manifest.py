"""`orchestrate manifest`: make, copy, choose from and split manifests. Every one says how it was
made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.commands.choices import choice_of
from orchestrator.commands.manifest_options import (
    Bracketed,
    MaxSeconds,
    MinSeconds,
    Name,
    Out,
    Samples,
    Seed,
    Source,
    print_totals,
    require_brackets,
)
from orchestrator.commands.manifest_parts import choose, split
from orchestrator.corpus.samples import FASTEST, SLOWEST
from orchestrator.errors import SpecError
from orchestrator.reporting.rendering.escape import plain

if TYPE_CHECKING:
    from orchestrator.corpus.manifests.manifest_writing import Made

app = typer.Typer(
    help="Make, copy, filter and split manifests, which are lists of utterances. FILE.source.json "
    "says how FILE was made.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command("from-folder")
def from_folder(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="Folder of recordings, also in folders below it."),
    ],
    out: Out,
    transcripts: Annotated[
        Path | None,
        typer.Option(
            "--transcripts",
            metavar="FILE",
            help="One list with the name and the text of every recording. Default: the "
            "transcripts that are found beside the recordings.",
        ),
    ] = None,
    speaker: Annotated[
        str,
        typer.Option(
            "--speaker",
            help="Who speaks: none (not known), folder (the first folder below DIR), prefix (the "
            "file name up to its first - or _) or one=NAME (NAME says everything).",
        ),
    ] = "none",
    min_seconds: MinSeconds = None,
    max_seconds: MaxSeconds = None,
    name: Name = None,
    brackets: Bracketed = "keep",
    samples: Samples = None,
    seed: Seed = 0,
) -> None:
    """Make a manifest of recordings in a folder and their transcripts.

    Transcripts are .txt files of the recordings' names, LibriSpeech's
    *.trans.txt files, or one list for all. Subtitles and others are read too.
    """
    from orchestrator.corpus.importing.folder import lines_of_folder
    from orchestrator.corpus.importing.selecting import Selection
    from orchestrator.corpus.importing.speakers_by_rule import ONE
    from orchestrator.corpus.manifests.manifest_writing import refuse_existing

    if not re.fullmatch(rf"{ONE}\S.*", speaker):
        choice_of("--speaker", speaker, ("none", "folder", "prefix", f"{ONE}NAME"))
    require_brackets(brackets)
    refuse_existing(out)
    wanted = Selection(min_seconds, max_seconds, name, brackets=brackets)  # type: ignore[arg-type]
    lines, reasons, notes = lines_of_folder(folder, out, transcripts, speaker, wanted)
    arguments = {"folder": folder, "transcripts": transcripts, "speaker": speaker} | vars(wanted)
    _write_shuffled(
        out, lines, reasons, folder, "from-folder", arguments | {"samples": samples, "seed": seed}
    )
    for note in notes:
        typer.echo(plain(note))


@app.command("from-kaldi")
def from_kaldi(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="Data directory with at least wav.scp and text."),
    ],
    out: Out,
    samples: Samples = None,
    seed: Seed = 0,
) -> None:
    """Make a manifest of a Kaldi data directory.

    It needs wav.scp and text. Others, such as segments and utt2spk, are read if
    they are there.
    """
    from orchestrator.corpus.importing.kaldi import lines_of_kaldi
    from orchestrator.corpus.importing.selecting import bracket_note, filter_command
    from orchestrator.corpus.manifests.manifest_writing import refuse_existing

    refuse_existing(out)
    lines, reasons, notes = lines_of_kaldi(folder, out)
    _write_shuffled(
        out,
        lines,
        reasons,
        folder,
        "from-kaldi",
        {"folder": folder, "samples": samples, "seed": seed},
    )
    brackets = bracket_note((made.line for made in lines), "utterances", filter_command(out))
    for note in filter(None, (*notes, brackets)):
        typer.echo(plain(note))


@app.command("from-dataset")
def from_dataset(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME_OR_FOLDER", help="Data set: a hub id or a local folder."),
    ],
    out: Out,
    config: Annotated[
        str | None, typer.Option("--config", help="Configuration of the data set, such as clean.")
    ] = None,
    split: Annotated[
        str, typer.Option("--split", help="Split of the data set, such as train or test.")
    ] = "test",
    samples: Samples = None,
    seed: Seed = 0,
    text_column: Annotated[
        str | None,
        typer.Option(
            "--text-column", help="Column of the texts. Default: the first with a usual name."
        ),
    ] = None,
    speaker_column: Annotated[
        str | None,
        typer.Option(
            "--speaker-column", help="Column of the speakers. Default: the first with a usual name."
        ),
    ] = None,
    audio_column: Annotated[
        str | None,
        typer.Option(
            "--audio-column", help="Column of the sound. Default: the first with a usual name."
        ),
    ] = None,
) -> None:
    """Make a manifest of a Hugging Face data set; needs `pip install 'orchestrator\\[hub]'`."""
    from orchestrator.corpus.importing.hub import lines_of_dataset
    from orchestrator.corpus.importing.hub_rows import Wanted
    from orchestrator.corpus.importing.selecting import (
        bracket_note,
        filter_command,
        left_out,
        require_any,
    )
    from orchestrator.corpus.manifests.manifest_writing import (
        audio_or_nothing,
        refuse_existing,
        write_manifest,
    )

    refuse_existing(out)
    wanted = Wanted(name, config, split, samples, seed, text_column, speaker_column, audio_column)
    with audio_or_nothing(out):
        rows, origin = lines_of_dataset(wanted, out)
        require_any(name, rows.usable, rows.left_out)
        arguments = vars(wanted) | {"left_out": dict(rows.left_out), "dataset": origin}
        made = write_manifest(out, rows.lines, "orchestrate manifest from-dataset", arguments)
    print_totals(made, left_out(rows.left_out, rows.usable))
    brackets = bracket_note((each.line for each in rows.lines), "rows", filter_command(out))
    for note in filter(None, (*rows.notes, brackets)):
        typer.echo(plain(note))


_Snr = Annotated[
    str | None,
    typer.Option(
        "--snr",
        metavar="LO:HI",
        help="Add white noise at a signal-to-noise ratio drawn from this range, in dB.",
    ),
]
_Band = Annotated[
    str | None,
    typer.Option("--band", metavar="LO:HI", help="Keep only the frequencies from LO to HI, in Hz."),
]
_Speed = Annotated[
    str | None,
    typer.Option(
        "--speed",
        metavar="LO:HI",
        help="Change the speed, and with it the pitch, by a factor drawn from this range.",
    ),
]


@app.command()
def noisy(
    manifest: Source,
    out: Out,
    snr: _Snr = None,
    band: _Band = None,
    speed: _Speed = None,
    seed: Seed = 0,
) -> None:
    """Copy a manifest and its sound, at another speed, in a narrower band or with noise.

    At least one of --snr, --band and --speed is needed, such as
    --snr 0:15 --band 300:3400 --speed 0.9:1.1.
    """
    from orchestrator.corpus.manifests.manifest import load_manifest
    from orchestrator.corpus.manifests.manifest_writing import (
        audio_or_nothing,
        refuse_existing,
        source_of,
        write_manifest,
    )

    drawn = {
        "snr": _parse_range("--snr", snr, -20, 60),
        "band": _parse_range("--band", band, 20, 7900),
        "speed": _parse_range("--speed", speed, SLOWEST, FASTEST),
    }
    if not any(drawn.values()):
        raise SpecError(
            "noisy needs at least one of --snr, --band and --speed\n  Such as --snr 0:15 --band 300:3400."
        )
    if drawn["band"] and drawn["band"][0] == drawn["band"][1]:
        raise SpecError(
            f"--band {band} is empty\n  Write two frequencies, such as --band 300:3400."
        )
    refuse_existing(out)
    source = load_manifest(manifest)
    from orchestrator.tuning.noisy_copies import Channel, noisy_lines

    arguments = drawn | {"seed": seed, "source": source_of(source)}
    with audio_or_nothing(out):
        lines = noisy_lines(source, out, Channel(**drawn), seed)
        made = write_manifest(out, lines, "orchestrate manifest noisy", arguments)
    print_totals(made)


def _write_shuffled(
    out: Path,
    lines: Sequence[Made],
    reasons: Mapping[str, int],
    place: Path,
    command: str,
    arguments: dict[str, Any],
) -> None:
    """Write a new manifest with shuffled lines, and print its totals and what was left out."""
    from orchestrator.corpus.importing.selecting import left_out, require_any
    from orchestrator.corpus.manifests.manifest_writing import shuffled, write_manifest

    require_any(place, len(lines), reasons)
    chosen = shuffled(lines, arguments["seed"], arguments["samples"])
    arguments = arguments | {"left_out": dict(reasons)}
    made = write_manifest(out, chosen, f"orchestrate manifest {command}", arguments)
    print_totals(made, left_out(reasons, len(lines)))


app.command("filter")(choose)
app.command()(split)


def _parse_range(
    option: str, text: str | None, low: float, high: float
) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        first, second = (float(part) for part in text.split(":"))
    except ValueError:
        first, second = 1.0, 0.0
    if not low <= first <= second <= high:
        raise SpecError(
            f"{option} {text} is no range\n  Write LO:HI, two numbers from {low:g} to {high:g}, LO first."
        )
    return first, second
