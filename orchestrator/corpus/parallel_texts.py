"""Texts in a folder of their own beside that of the recordings, with the same folders and names in it,
as VCTK and L2-ARCTIC have them: `wav/p225/p225_001.wav` and `txt/p225/p225_001.txt`.

A text is taken so only from a folder that is called after texts and holds no recordings: elsewhere a
file of the same name belongs to another recording. The folder may lie beside the one that was named.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from orchestrator.corpus.headers import AUDIO_SUFFIXES, UNREAD_SUFFIXES

_SOUND = (*AUDIO_SUFFIXES, *UNREAD_SUFFIXES)
_OF_TEXTS = re.compile(
    r"txt|(?<!con)text|transcri|^trans$|^(?:labs?|stm|srt|vtt)$|prompt|sentence|(?<!de)script|subtitle|caption",
    re.IGNORECASE,
)
"""What the names of folders of texts have in them."""
_MICROPHONE = re.compile(r"[_.-]mic\d+$")
"""Behind the name of what several microphones heard at once, which has one text."""


def names_of(path: Path) -> list[str]:
    """The names that the text of a recording may have: its own, and that without its microphone."""
    return list(dict.fromkeys((path.stem, _MICROPHONE.sub("", path.stem))))


class ParallelTexts:
    """The folders of texts beside `top` and those of the recordings below it."""

    def __init__(self, recordings: Iterable[Path], top: Path) -> None:
        every = list(recordings)
        self._top = top.parent if top.name.strip(".") else top
        self._of_recordings = {parent for path in every for parent in path.parents}
        self._stems = Counter(path.stem for path in every)
        self._folders_of_texts = cache(self._find_folders)
        self._names = cache(_names_in)

    def find(self, path: Path, endings: Sequence[str]) -> list[Path]:
        """The texts of a recording, by the order of `endings`."""
        places = [
            place
            for place in dict.fromkeys(self._places(path))
            if not any(f"{path.stem}{ending}" in self._names(place) for ending in _SOUND)
        ]
        return [
            text
            for name in names_of(path)
            for ending in endings
            for place in places
            if f"{name}{ending}" in self._names(place)
            and (text := place / f"{name}{ending}").is_file()
        ]

    def _places(self, path: Path) -> Iterator[Path]:
        """Folders that may hold the text of a recording: the path of its own, with one folder in the
        place of another, or one more; or one for all, where its name is the only one.
        """
        parts = path.parent.relative_to(self._top).parts
        for depth in range(len(parts), -1, -1):
            for folder in self._folders_of_texts(self._top.joinpath(*parts[:depth])):
                yield folder.joinpath(*parts[depth + 1 :])
                yield folder.joinpath(*parts[depth:])
                if self._stems[path.stem] == 1:
                    yield folder

    def _find_folders(self, place: Path) -> list[Path]:
        found = (place / name for name in sorted(self._names(place)) if _OF_TEXTS.search(name))
        return [path for path in found if path not in self._of_recordings and path.is_dir()]


def _names_in(folder: Path) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))
    except OSError:
        return frozenset()
