"""`orchestrate manifest`: make, copy and split manifests. Every one is shuffled and says how it was made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.errors import SpecError
from orchestrator.reporting.escape import plain

app = typer.Typer(
    help="Make, copy and split manifests; each is shuffled and says in FILE.source.json how it was made.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Out = Annotated[Path, typer.Argument(metavar="OUT", help="The manifest to write; must not exist.", show_default=False)]
Source = Annotated[Path, typer.Argument(metavar="MANIFEST", help="Any manifest a sweep takes.", show_default=False)]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of order, choice and noise.")]
Samples = Annotated[int | None, typer.Option("--samples", min=1, help="Take so many, drawn evenly; by default all.")]


@app.command("from-folder")
def from_folder(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Recordings, in folders below too.")],
    out: Out,
    transcripts: Annotated[
        Path | None, typer.Option("--transcripts", metavar="TSV", help="Lines of name<TAB>text for all recordings.")
    ] = None,
    speaker: Annotated[
        str, typer.Option("--speaker", help="none, folder (first below DIR) or prefix (file name up to - or _).")
    ] = "none",
    samples: Samples = None,
    seed: Seed = 0,
) -> None:
    """From recordings with .txt files of the same names, LibriSpeech *.trans.txt files, or one TSV."""
    from orchestrator.corpus.building import refuse_existing, shuffled, write_manifest
    from orchestrator.corpus.folder import lines_of_folder

    if speaker not in ("none", "folder", "prefix"):
        raise SpecError(f"--speaker {speaker} is not known\n  Allowed: none, folder, prefix.")
    refuse_existing(out)
    lines = shuffled(lines_of_folder(folder, out, transcripts, speaker), seed, samples)  # type: ignore[arg-type]
    arguments = {"folder": folder, "transcripts": transcripts, "speaker": speaker, "samples": samples, "seed": seed}
    _said(write_manifest(out, lines, "orchestrate manifest from-folder", arguments))


@app.command("from-dataset")
def from_dataset(
    name: Annotated[str, typer.Argument(metavar="NAME_OR_FOLDER", help="A hub id, or a local data set.")],
    out: Out,
    config: Annotated[str | None, typer.Option("--config", help="Such as clean.")] = None,
    split: Annotated[str, typer.Option("--split")] = "test",
    samples: Samples = None,
    seed: Seed = 0,
    text_column: Annotated[str | None, typer.Option("--text-column")] = None,
    speaker_column: Annotated[str | None, typer.Option("--speaker-column")] = None,
    audio_column: Annotated[str | None, typer.Option("--audio-column")] = None,
) -> None:
    """From a Hugging Face data set; needs `pip install 'orchestrator[hub]'`."""
    from orchestrator.corpus.building import refuse_existing, write_manifest
    from orchestrator.corpus.hub import Wanted, lines_of_dataset

    refuse_existing(out)
    wanted = Wanted(name, config, split, samples, seed, text_column, speaker_column, audio_column)
    lines, origin = lines_of_dataset(wanted, out)
    _said(write_manifest(out, lines, "orchestrate manifest from-dataset", vars(wanted) | {"dataset": origin}))


@app.command()
def noisy(
    manifest: Source,
    out: Out,
    snr: Annotated[str | None, typer.Option("--snr", metavar="LO:HI", help="Signal to noise, dB.")] = None,
    band: Annotated[str | None, typer.Option("--band", metavar="LO:HI", help="Band kept, Hz.")] = None,
    speed: Annotated[str | None, typer.Option("--speed", metavar="LO:HI", help="Factor of speed.")] = None,
    seed: Seed = 0,
) -> None:
    """A copy of a manifest with its audio made faster or slower, narrower and noisier."""
    from orchestrator.corpus.building import refuse_existing, source_of, write_manifest
    from orchestrator.corpus.manifest import load_manifest

    drawn = {
        "snr": _range("--snr", snr, -20, 60),
        "band": _range("--band", band, 20, 7900),
        "speed": _range("--speed", speed, 0.5, 2),
    }
    if not any(drawn.values()):
        raise SpecError("noisy needs at least one of --snr, --band and --speed\n  Such as --snr 0:15 --band 300:3400.")
    if drawn["band"] and drawn["band"][0] == drawn["band"][1]:
        raise SpecError(f"--band {band} is empty\n  Write two frequencies, such as --band 300:3400.")
    refuse_existing(out)
    source = load_manifest(manifest)
    from orchestrator.tuning.noise import Channel, noisy_lines

    lines = noisy_lines(source, out, Channel(**drawn), seed)
    _said(write_manifest(out, lines, "orchestrate manifest noisy", drawn | {"seed": seed, "source": source_of(source)}))


@app.command()
def split(
    manifest: Source,
    out: Annotated[tuple[Path, Path], typer.Option("--out", metavar="A B", help="The two parts.", show_default=False)],
    by: Annotated[str, typer.Option("--by", help="speaker: nobody speaks in both parts.")] = "speaker",
    share: Annotated[float, typer.Option("--share", help="Of the utterances that go to A, about.")] = 0.5,
    seed: Seed = 0,
) -> None:
    """Two parts without a common speaker, such as a domain and a confirm set."""
    from orchestrator.corpus.building import line_of, refuse_existing, source_of, split_by_speaker, write_manifest
    from orchestrator.corpus.manifest import load_manifest

    if by != "speaker":
        raise SpecError(f"--by {by} is not known\n  Allowed: speaker.")
    if not 0 < share < 1:
        raise SpecError(f"--share {share:g} leaves a part empty\n  Allowed: above 0 and below 1.")
    if out[0].absolute() == out[1].absolute():
        raise SpecError(f"--out names {out[0]} twice\n  The two parts are two files.")
    refuse_existing(*out)
    source = load_manifest(manifest)
    arguments = {"by": by, "share": share, "seed": seed, "source": source_of(source)}
    for path, part in zip(out, split_by_speaker(source, share, seed), strict=True):
        lines = [line_of(each, path.parent) for each in part]
        _said(write_manifest(path, lines, "orchestrate manifest split", arguments))


def _range(option: str, text: str | None, low: float, high: float) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        first, second = (float(part) for part in text.split(":"))
    except ValueError:
        first, second = 1.0, 0.0
    if not low <= first <= second <= high:
        raise SpecError(f"{option} {text} is no range\n  Write LO:HI, two numbers from {low:g} to {high:g}, LO first.")
    return first, second


def _said(manifest: Any) -> None:
    hours = sum(each.duration or 0.0 for each in manifest.utterances) / 3600
    speakers = len({each.speaker for each in manifest.utterances} - {""})
    people = f", {speakers} speakers" if speakers else ""
    typer.echo(plain(f"{manifest.path}: {len(manifest.utterances)} utterances, {hours:.2f} h{people}"))
