"""Finding the recordings in a folder, and what converts those that are not read. Nothing but names
is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from orchestrator.corpus.manifest_errors import why_unopened
from orchestrator.corpus.recordings.folders_below import folders_below
from orchestrator.corpus.recordings.locating import (
    AUDIO_SUFFIXES,
    HEADLESS_SUFFIXES,
    UNREAD_SUFFIXES,
)
from orchestrator.errors import ManifestError
from orchestrator.typed_words import quoted_path

_READ_SOUND = ".wav"
"""The format that other formats should be converted to."""


def find_recordings(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the files that are read as sound, and those with sound that cannot be read and was not
    converted, each sorted by path. Raises ManifestError where there is nothing to read.
    """
    files = sorted(_walk_files(folder))
    recordings = [path for path in files if path.suffix.lower() in AUDIO_SUFFIXES]
    converted = {path.with_suffix("") for path in recordings}  # to x.wav, or to x.m4a.wav
    others = [
        path
        for path in files
        if path.suffix.lower() in UNREAD_SUFFIXES
        and converted.isdisjoint((path, path.with_suffix("")))
    ]
    if recordings:
        return recordings, others
    hint = (
        f"\n  {others[0]} is not read; convert it and its like: {conversion(folder, others)}"
        if others
        else ""
    )
    headless = [path for path in files if path.suffix.lower() in HEADLESS_SUFFIXES]
    if headless and not others:
        hint = (
            f"\n  {headless[0]} may be sound without a header; where it is, convert it and its like, with the rate "
            f"that its corpus tells: ffmpeg -f s16le -ar 16000 -ac 1 -i IN OUT{_READ_SOUND}"
        )
    raise ManifestError(
        f"{folder} holds no recordings\n  Looked for {', '.join(AUDIO_SUFFIXES)}, in all folders below.{hint}"
    )


def conversion(folder: Path, others: Sequence[Path]) -> str:
    """Return the command that converts sound that is not read, each file to one of its own name,
    behind links too.
    """
    endings = sorted({path.suffix.lower() for path in others})
    names = " -o ".join(f"-iname '*{ending}'" for ending in endings)
    names = names if len(endings) == 1 else f"\\( {names} \\)"
    convert = f'ffmpeg -n -i "$1" "${{1%.*}}{_READ_SOUND}"'
    return f"find -L {quoted_path(folder)} {names} -exec sh -c '{convert}' - {{}} \\;"


def _walk_files(folder: Path) -> Iterator[Path]:
    """Yield the regular files below a folder. Raises ManifestError where one cannot be listed."""
    for place, names in folders_below(folder, _refuse_folder):
        yield from (path for name in names if (path := Path(place, name)).is_file())


def _refuse_folder(error: OSError) -> None:
    """Raise ManifestError for a folder that cannot be listed, because its recordings would be left
    out without a word.
    """
    raise ManifestError(f"{error.filename} cannot be read: {why_unopened(error)}") from error
