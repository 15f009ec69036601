"""Finding the recordings in a folder, and what converts those that are not read. Nothing but names
is looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
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
_MU_LAW, _A_LAW = "mulaw -ar 8000", "alaw -ar 8000"
_CODINGS = {".ulaw": _MU_LAW, ".ul": _MU_LAW, ".alaw": _A_LAW, ".al": _A_LAW}
"""What ffmpeg must be told of sound without a header, by the ending of its name: that of telephones, G.711."""


@dataclass(frozen=True)
class UnreadSound:
    """Files of a folder that contain sound, or may, and are not read; without those that were converted."""

    others: list[Path]
    """Those with an ending of `UNREAD_SUFFIXES`, sorted by path."""
    headless: list[Path]
    """Those with an ending of `HEADLESS_SUFFIXES`, sorted by path."""

    def counted(self, folder: Path) -> Counter[str]:
        """Return how many there are of each kind, with the first."""
        kinds = ("not read as sound", self.others), ("without a header", self.headless)
        return Counter(
            {
                f"{kind}, such as {paths[0].relative_to(folder).as_posix()}": len(paths)
                for kind, paths in kinds
                if paths
            }
        )

    def notes(self, folder: Path) -> list[str]:
        """Return what converts each kind, in sentences."""
        notes = [self._headless_hint()] if self.headless else []
        if self.others:
            command = self._conversion(folder)
            notes.insert(0, f"this converts what is not read as sound: {command}")
        return notes

    def hint(self, folder: Path) -> str:
        """Return what helps where there is no other sound, as a line of a message; empty where nothing does."""
        if self.others:
            what = f"{self.others[0]} is not read; convert it and its like"
            return f"\n  {what}: {self._conversion(folder)}"
        return f"\n  {self._headless_hint()}" if self.headless else ""

    def _headless_hint(self) -> str:
        coding = _CODINGS.get(self.headless[0].suffix.lower(), "s16le -ar 16000")
        return (
            f"{self.headless[0]} may be sound without a header; where it is, convert it and its like, with the rate "
            f"that its corpus tells: ffmpeg -f {coding} -ac 1 -i IN OUT{_READ_SOUND}"
        )

    def _conversion(self, folder: Path) -> str:
        """Return the command that converts each file to one of its own name, behind links too."""
        endings = sorted({path.suffix.lower() for path in self.others})
        names = " -o ".join(f"-iname '*{ending}'" for ending in endings)
        names = names if len(endings) == 1 else f"\\( {names} \\)"
        convert = f'ffmpeg -n -i "$1" "${{1%.*}}{_READ_SOUND}"'
        return f"find -L {quoted_path(folder)} {names} -exec sh -c '{convert}' - {{}} \\;"


def find_recordings(folder: Path) -> tuple[list[Path], UnreadSound]:
    """Return the files that are read as sound, sorted by path, and those with sound that are not. Raises ManifestError
    where there is nothing to read.
    """
    files = sorted(_walk_files(folder))
    recordings = [path for path in files if path.suffix.lower() in AUDIO_SUFFIXES]
    converted = {path.with_suffix("") for path in recordings}  # to x.wav, or to x.m4a.wav
    left = [path for path in files if converted.isdisjoint((path, path.with_suffix("")))]
    unread = UnreadSound(
        [path for path in left if path.suffix.lower() in UNREAD_SUFFIXES],
        [path for path in left if path.suffix.lower() in HEADLESS_SUFFIXES],
    )
    if recordings:
        return recordings, unread
    raise ManifestError(
        f"{folder} holds no recordings\n  Looked for {', '.join(AUDIO_SUFFIXES)}, in all folders below."
        f"{unread.hint(folder)}"
    )


def _walk_files(folder: Path) -> Iterator[Path]:
    """Yield the regular files below a folder. Raises ManifestError where one cannot be listed."""
    for place, names in folders_below(folder, _refuse_folder):
        yield from (path for name in names if (path := Path(place, name)).is_file())


def _refuse_folder(error: OSError) -> None:
    """Raise ManifestError for a folder that cannot be listed, because its recordings would be left
    out without a word.
    """
    raise ManifestError(f"{error.filename} cannot be read: {why_unopened(error)}") from error
