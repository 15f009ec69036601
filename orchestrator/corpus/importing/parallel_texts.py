"""Finding texts in a separate folder beside that of the recordings, with the same folders and names
in it, as in VCTK and L2-ARCTIC: `wav/p225/p225_001.wav` and `txt/p225/p225_001.txt`.

A folder is used in this way only if its name says that it holds texts and it holds no recordings:
elsewhere a file of the same name belongs to another recording. The folder may lie beside the one
that the user named.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import product
from pathlib import Path

from orchestrator.corpus.manifests.unicode_forms import composed, unique_folds
from orchestrator.corpus.recordings.locating import AUDIO_SUFFIXES, UNREAD_SUFFIXES

_SOUND = (*AUDIO_SUFFIXES, *UNREAD_SUFFIXES)
_OF_TEXTS = re.compile(
    r"txt|(?<!con)text|transcri|^trans$|^(?:labs?|stm|srt|vtt)$|prompt|sentence|(?<!de)script|subtitle|caption",
    re.IGNORECASE,
)
"""A pattern found in the names of folders of texts."""
_PLAIN = re.compile(
    r"te?xts?|trans|transcri(?:p|pt|pts|ption|ptions|bed)|stm|srt|vtt", re.IGNORECASE
)
"""Names that say nothing but that texts are inside; in others, a prompt may be a question, a label
a class, and `text_de` a translation.
"""
_OF_OTHERS = re.compile(
    r"(?:^|[\W_])(?:old|bak|backups?|copy|copies|archived?|tmp|ipa)(?:$|[\W_\d])|transl|phon[eo](?:t|m)|summar"
    r"|texture|pretext|subtext",
    re.IGNORECASE,
)
"""A pattern found in the names of folders that hold other texts: former ones,
translations, sounds.
"""
_MICROPHONE = re.compile(r"[_.-]mic\d+$")
"""The ending of a recording's name where several microphones heard the same, which has one text."""


def names_of(path: Path) -> list[str]:
    """Return the names that the text of a recording may have: the recording's own, that which it
    had before `x.m4a` was converted to `x.m4a.wav`, and that without the microphone.
    """
    names = (path.stem, name_before_conversion(path), _MICROPHONE.sub("", path.stem))
    return list(dict.fromkeys(names))


def name_before_conversion(path: Path) -> str:
    """Return the name without ending that a recording had before it was converted."""
    own = Path(path.stem)
    return own.stem if own.suffix.lower() in UNREAD_SUFFIXES else path.stem


def doubtful_folder(text: Path, recording: Path) -> str:
    """Return the name of the folder of texts in which a text lies, where it may hold something
    else, or texts of other recordings; empty where there is no such doubt, and for a text beside
    its recording.
    """
    if text.parent == recording.parent:
        return ""
    apart = [place for place in text.parents if place not in recording.parents]
    if not apart:
        return ""
    folder = apart[-1]
    inside = text.parent.relative_to(folder).parts
    parts = recording.parent.relative_to(folder.parent).parts
    alike = inside in (parts, parts[1:]) and _PLAIN.fullmatch(folder.name) is not None
    return "" if alike else folder.name


class ParallelTexts:
    """The folders of texts beside the folder `top` and beside those of the recordings below it."""

    def __init__(self, recordings: Iterable[Path], top: Path) -> None:
        every = list(recordings)
        # one folder up, since the folder of texts may lie beside `top`
        self._top = top.parent if top.name.strip(".") else top
        folders = {path.parent for path in every}
        self._of_recordings = {place for folder in folders for place in (folder, *folder.parents)}
        self._stems = Counter(path.stem for path in every)
        self._folders_of_texts = cache(self._find_folders)
        self._names = cache(spellings_in)
        self._folds = cache(lambda place: unique_folds(self._names(place)))

    def find(self, path: Path, endings: Sequence[str], names: Sequence[str] = ()) -> list[Path]:
        """Return the texts of a recording, in the order of `endings`. `names` are looked for
        instead of its own, where they are given.
        """
        places = [
            place
            for place in dict.fromkeys(self._places(path))
            if not any(composed(f"{path.stem}{ending}") in self._names(place) for ending in _SOUND)
        ]
        forms = [composed(name) for name in names or names_of(path)]
        for spelled, name in product((self._as_written, self._in_other_capitals), forms):
            found = [
                text
                for ending in endings
                for place in places
                if (written := spelled(place, f"{name}{ending}"))
                and (text := place / written).is_file()
            ]
            if found:
                return list(dict.fromkeys(found))
        return []

    def _as_written(self, place: Path, name: str) -> str:
        return self._names(place).get(name, "")

    def _in_other_capitals(self, place: Path, name: str) -> str:
        """Return the only name in a folder that differs from `name` in capitals alone, unless it is that of another
        recording.
        """
        found = self._folds(place).get(name.casefold(), "")
        is_own = Path(found).stem == Path(name).stem or Path(found).stem not in self._stems
        return self._as_written(place, found) if is_own else ""

    def _places(self, path: Path) -> Iterator[Path]:
        """Yield the folders that may hold the text of a recording: its own path with one folder
        replaced by a folder of texts, or with such a folder inserted; or the folder of texts
        itself, where no other recording has the same name.
        """
        parts = path.parent.relative_to(self._top).parts
        for depth in range(len(parts), -1, -1):
            for folder in self._folders_of_texts(self._top.joinpath(*parts[:depth])):
                yield folder.joinpath(*parts[depth + 1 :])
                yield folder.joinpath(*parts[depth:])
                if self._stems[path.stem] == 1:
                    yield folder

    def _find_folders(self, place: Path) -> list[Path]:
        names = sorted(self._names(place).values())
        found = (place / name for name in names if _is_of_texts(name))
        return [path for path in found if path not in self._of_recordings and path.is_dir()]


def _is_of_texts(name: str) -> bool:
    return _OF_TEXTS.search(name) is not None and _OF_OTHERS.search(name) is None


def spellings_in(folder: Path) -> dict[str, str]:
    """Return the names in a folder by their `composed` form."""
    return {composed(name): name for name in sorted(names_in(folder))}


def names_in(folder: Path) -> frozenset[str]:
    """Return the names in a folder; none where it cannot be read."""
    try:
        return frozenset(os.listdir(folder))
    except OSError:
        return frozenset()
