"""Finding recordings that a list names without their folders and that lie in folders below it, as
those of MLS, VoxPopuli and FLEURS; and finding such lists in a folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath

from orchestrator.corpus.recordings.folders_below import folders_below
from orchestrator.corpus.recordings.locating import AUDIO_SUFFIXES, SOUND_SUFFIXES
from orchestrator.typed_words import quoted_path

_FOLDERS = 2000
"""The number of folders that are looked into, at most."""
_LISTS = (
    ".tsv",
    ".csv",
    ".txt",
    ".json",
    ".jsonl",
    ".stm",
    ".lst",
    ".list",
    ".data",
    ".transcription",
    ".trn",
    "",
)
"""Endings of files that may be lists."""
_LOOKED_AT = 16_384
"""The number of bytes of a list that are searched for names."""
_BETWEEN = r"\s,;|\"/\\()"
"""Signs between names, within a regular expression's brackets."""
_FILES, _OF_A_FOLDER = 200, 20
"""The most files of text that are searched, in all and in one folder."""
_NAMES = 1000
"""The most names of several words that are looked for."""
_FEW = 2
"""The number of names without their endings from which on a text may be a list."""


def names_below(written: str, path: Path) -> str:
    """Return the command that finds recordings by name, where one of the name `written` lies in a
    folder below that of the list `path`, or beside that folder; empty where none does.
    """
    name = PurePosixPath(written).name
    wanted = {name, *(f"{name}{ending}" for ending in AUDIO_SUFFIXES)}
    places = (path.parent, path.parent.parent) if name.strip(".") else ()
    top = next((place for place in places if _is_below(wanted, place)), None)
    if top is None:
        return ""
    ending = "-manifest.jsonl" if path.suffix == ".jsonl" else ".jsonl"
    out = path.with_name(f"{path.stem}{ending}")
    folder, table, to = map(quoted_path, (top, path, out))
    return (
        "; recordings of these names lie in folders below, and are found by: "
        f"orchestrate manifest from-folder {folder} {to} --transcripts {table}"
    )


def _is_below(names: set[str], folder: Path) -> bool:
    return any(names & set(files) for _, files in islice(folders_below(folder), _FOLDERS))


def lists_that_name(recordings: Sequence[Path], folder: Path) -> list[Path]:
    """Return the text files of a folder and of those below it whose beginning contains names of its
    recordings, those near the top first: one with its ending, or two without, since one alone may
    be a word. A file that has the name of one recording belongs to that one.
    """
    stems = {path.stem for path in recordings}
    enough = min(_FEW, len(stems))
    # "Clip 01" is no word of a text
    of_words = list(
        islice((stem for stem in sorted(stems) if re.search(f"[{_BETWEEN}]", stem)), _NAMES)
    )
    files = (path for path in islice(_files_of_text(folder), _FILES) if path.stem not in stems)
    found = []
    for path in files:
        text = _beginning_of(path)
        words, sounds = _words_of(text)
        named = [stem for stem in of_words if stem in text]
        with_ending = not stems.isdisjoint(sounds) or any(
            f"{stem}{ending}" in text for stem in named for ending in SOUND_SUFFIXES
        )
        if with_ending or len(stems & words) + len(named) >= enough:
            found.append(path)
    return sorted(found, key=lambda path: (len(path.parts), path))


def _files_of_text(folder: Path) -> Iterator[Path]:
    for place, names in islice(folders_below(folder), _FOLDERS):
        paths = (Path(place, name) for name in sorted(names))
        texts = (path for path in paths if path.suffix.lower() in _LISTS)
        yield from islice((path for path in texts if path.is_file()), _OF_A_FOLDER)


def _beginning_of(path: Path) -> str:
    """Return the first lines of a text; empty for a file that is no text or cannot be read."""
    try:
        with path.open("rb") as stream:
            text = stream.read(_LOOKED_AT).decode("utf-8", "replace")
    except OSError:
        return ""
    return "" if "\0" in text else text


def _words_of(text: str) -> tuple[set[str], set[str]]:
    """Return the words of a text, and the names of recordings among them without their ending."""
    words = {word for signs in (_BETWEEN, f"{_BETWEEN}:") for word in re.split(f"[{signs}]+", text)}
    sounds = map(PurePosixPath, (word for word in words if word.lower().endswith(SOUND_SUFFIXES)))
    return words, {sound.stem for sound in sounds}
