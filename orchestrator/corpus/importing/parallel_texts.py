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

from orchestrator.corpus.recordings.locating import AUDIO_SUFFIXES, UNREAD_SUFFIXES

_SOUND = (*AUDIO_SUFFIXES, *UNREAD_SUFFIXES)
_OF_TEXTS = re.compile(
    r"txt|(?<!con)text|transcri|^trans$|^(?:labs?|stm|srt|vtt)$|prompt|sentence|(?<!de)script|subtitle|caption",
    re.IGNORECASE,
)
"""What the names of folders of texts have in them."""
_PLAIN = re.compile(
    r"te?xts?|trans|transcri(?:p|pt|pts|ption|ptions|bed)|stm|srt|vtt", re.IGNORECASE
)
"""Names that say nothing else; a prompt may be a question, a label a class, `text_de` a translation."""
_OF_OTHERS = re.compile(
    r"(?:^|[\W_])(?:old|bak|backups?|copy|copies|archived?|tmp|ipa)(?:$|[\W_\d])|transl|phon[eo](?:t|m)|summar"
    r"|texture|pretext|subtext",
    re.IGNORECASE,
)
"""What the names of those have in them that hold other texts: former ones, translations, sounds."""
_MICROPHONE = re.compile(r"[_.-]mic\d+$")
"""Behind the name of what several microphones heard at once, which has one text."""


def names_of(path: Path) -> list[str]:
    """The names that the text of a recording may have: its own, and that without its microphone."""
    return list(dict.fromkeys((path.stem, _MICROPHONE.sub("", path.stem))))


def doubtful_folder(text: Path, recording: Path) -> str:
    """The name of the folder of texts that a text lies in, where it may hold something else, or others
    than those of the recording's folder; empty where it does not, and for a text beside its recording.
    """
    apart = [place for place in text.parents if place not in recording.parents]
    if not apart:
        return ""
    folder = apart[-1]
    inside = text.parent.relative_to(folder).parts
    parts = recording.parent.relative_to(folder.parent).parts
    alike = inside in (parts, parts[1:]) and _PLAIN.fullmatch(folder.name) is not None
    return "" if alike else folder.name


class ParallelTexts:
    """The folders of texts beside `top` and those of the recordings below it."""

    def __init__(self, recordings: Iterable[Path], top: Path) -> None:
        every = list(recordings)
        self._top = top.parent if top.name.strip(".") else top
        self._of_recordings = {parent for path in every for parent in path.parents}
        self._stems = Counter(path.stem for path in every)
        self._folders_of_texts = cache(self._find_folders)
        self._names = cache(names_in)

    def find(self, path: Path, endings: Sequence[str], names: Sequence[str] = ()) -> list[Path]:
        """The texts of a recording, by the order of `endings`; of other `names` than its own, where they
        are given.
        """
        places = [
            place
            for place in dict.fromkeys(self._places(path))
            if not any(f"{path.stem}{ending}" in self._names(place) for ending in _SOUND)
        ]
        for name in names or names_of(path):
            found = [
                text
                for ending in endings
                for place in places
                if f"{name}{ending}" in self._names(place)
                and (text := place / f"{name}{ending}").is_file()
            ]
            if found:
                return found
        return []

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
        found = (place / name for name in sorted(self._names(place)) if _is_of_texts(name))
        return [path for path in found if path not in self._of_recordings and path.is_dir()]


def _is_of_texts(name: str) -> bool:
    return _OF_TEXTS.search(name) is not None and _OF_OTHERS.search(name) is None


def names_in(folder: Path) -> frozenset[str]:
    """What a folder holds; nothing where it cannot be read."""
    try:
        return frozenset(os.listdir(folder))
    except OSError:
        return frozenset()
