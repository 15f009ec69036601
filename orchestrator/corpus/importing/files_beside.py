"""Finding the files that lie beside a recording under its name, and saying what those are that
cannot be read.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from orchestrator.corpus.importing.parallel_texts import ParallelTexts, names_of
from orchestrator.corpus.importing.transcript_files import read_text
from orchestrator.corpus.label_files.label_file import WITHOUT_SENTENCES, has_sentences
from orchestrator.corpus.manifests.unicode_forms import composed, unique_folds

EXPORT = "export it as Praat TextGrid or as subtitles beside its recording"
"""What to do with a file of another program that tells times."""
_STM = ".stm"
_LAB = ".lab"
LABELS = (".srt", ".vtt", ".TextGrid", ".textgrid", ".SRT", ".VTT", _STM)
"""Endings of label files that are read."""
_TEXTS = (".txt", ".TXT", ".lab", ".trn", ".normalized.txt", ".original.txt")
_AFTER = (".txt", ".srt", ".vtt", ".trn")
"""Endings that may also follow the whole name of a recording, as whisper.cpp and THCHS-30 write
them: `a.wav.srt`.
"""
_LANGUAGE = re.compile(
    r"(?P<name>.+)\.(?!old|bak|tmp|raw|new)[a-z]{2,3}(?:-[A-Za-z0-9]+)*\.(?:srt|vtt)"
)
"""Captions as yt-dlp names them, by their language: `talk.en.vtt`, `talk.zh-Hans.srt`."""
_NO_TEXT = re.compile(
    r"\.|readme|licen[cs]e|copying|change|(?:metadata|transcripts)\.txt|.*\.trans\.txt",
    re.IGNORECASE,
)
"""Names of files among texts that are the text of no recording, or a list of texts."""
_XML = f"is XML, as ELAN and Transcriber write; {EXPORT}"
_WORDS = "; write what is said as text"
_TABLE = (
    "is a table that is not read as the parts of its recording; name its columns in the first row: start, end, "
    "text"
)
_UNREAD = {
    ".eaf": _XML,
    ".trs": _XML,
    ".xml": _XML,
    ".exb": _XML,
    ".mrt": _XML,
    ".ttml": f"is subtitles (TTML); {EXPORT}",
    ".dfxp": f"is subtitles (TTML); {EXPORT}",
    ".ass": f"is subtitles (ASS); {EXPORT}",
    ".ssa": f"is subtitles (ASS); {EXPORT}",
    ".sbv": f"is subtitles (SBV); {EXPORT}",
    ".cha": f"is CHAT; {EXPORT}",
    ".ctm": f"is CTM, {WITHOUT_SENTENCES['CTM']}{_WORDS}",
    ".rttm": f"is RTTM, {WITHOUT_SENTENCES['RTTM']}{_WORDS}",
    ".lrc": f"is LRC, {WITHOUT_SENTENCES['LRC']}{_WORDS}",
    ".stm": "is STM; name it: --transcripts FILE",
    ".docx": "is a document; save it as plain text (.txt)",
    ".odt": "is a document; save it as plain text (.txt)",
    ".pdf": "is a document; save it as plain text (.txt)",
    ".rtf": "is a document; save it as plain text (.txt)",
    **dict.fromkeys((".csv", ".tsv", ".tdf"), _TABLE),
    ".json": f"is JSON of a form that is not read; {EXPORT}",
}
"""What a file beside a recording is that cannot be read, by its ending, and what to do."""
_OF_PROGRAMS = (".tsv", ".csv", ".tdf", ".json", ".trs", ".eaf", ".xml")
"""Endings of what recognisers and annotation programs write."""
_LOOKED_AT = 65_536
"""The number of bytes at the beginning of a JSON file that are searched."""
_TELLS_WORDS = re.compile(
    rb'"(?:text|words?|transcripts?|utterances|alternatives|monologues|recognizedPhrases|body)"\s*:'
)
"""Keys in the JSON that Deepgram, AssemblyAI, AWS and Google write, and that no description of a
recording has.
"""

_ROW_OF_WORDS = re.compile(rb"\n.*[A-Za-z\x80-\xff]{2}")
"""A row below the first one of a table in which there is a word, in UTF-8; features and levels have numbers alone."""


def names_language(name: str) -> bool:
    """Whether the name of a captions file ends with a language."""
    return _LANGUAGE.fullmatch(name) is not None


class FilesBeside:
    """The files in the folders of recordings, and in the folders of texts beside those. Each folder
    is listed once.
    """

    def __init__(self, recordings: Sequence[Path], top: Path) -> None:
        self._own = {path.with_suffix("") for path in recordings}
        self._folders: dict[Path, _Listing] = {}
        self._parallel = ParallelTexts(recordings, top)

    def texts(self, path: Path) -> list[Path]:
        """Return the files that may hold the text of a recording, in the order of preference.
        Captions named by their language are among them only where there is one such file. Where no
        file of the recording's name lies beside it, those in a folder of texts are returned.
        """
        endings = (*_TEXTS, *LABELS)
        own, *shared = [[f"{name}{ending}" for ending in endings] for name in names_of(path)]
        own += [f"{path.name}{ending}" for ending in _AFTER]
        captions = self._captions(path)
        beside = self._named(path, own) + captions * (len(captions) == 1)
        # a text under a microphone's own name comes before the one that several microphones share
        for names in shared:
            beside = beside or self._named(path, names)
        found = list(dict.fromkeys(beside)) or self._elsewhere(path)
        return [text for text in found if text.suffix.lower() != _STM or text.stat().st_size]

    def _elsewhere(self, path: Path) -> list[Path]:
        """Return the texts in a separate folder. A `.lab` there may hold sounds alone, as CMU
        ARCTIC's do; then it is left out.
        """
        found = self._parallel.find(path, (*_TEXTS, *LABELS))
        return [
            text
            for text in found
            if text.suffix.lower() != _LAB or has_sentences(read_text(text, []) or "")
        ]

    def program_output(self, path: Path) -> list[Path]:
        """Return the files under a recording's name that may be tables or JSON of recognisers, or
        XML of annotation programs, beside it or else in a folder of texts; what they hold is not
        checked here.
        """
        names = [f"{path.stem}{ending}" for ending in _OF_PROGRAMS]
        beside = self._named(path, [*names, f"{path.name}.json"])
        return beside or self._parallel.find(path, _OF_PROGRAMS)

    def unread(self, path: Path) -> tuple[Path, str] | None:
        """Return a file beside a recording without a transcript that seems to hold one but cannot
        be read, and what it is, with what to do; None where there is none.
        """
        captions = self._captions(path)
        if len(captions) > 1:
            wanted = f"NAME{captions[0].suffix}"
            return captions[0], f"is one of several of its recording; name the one to read {wanted}"
        for ending, what in _UNREAD.items():
            found = self._named(path, [f"{path.stem}{ending}", f"{path.name}{ending}"])
            if found and _may_tell_words(found[0], what):
                return found[0], what
        return None

    def without_recording(self, texts: Iterable[Path], recordings: Sequence[Path]) -> list[Path]:
        """Return the `.txt` that have the name of no recording nor of any other file, in the folders of those of
        `texts`, the texts of recordings, that are such files beside theirs.
        """
        taken = set(texts)
        beside = {path.parent for path in recordings}
        own = {(path.parent, composed(name)) for path in recordings for name in names_of(path)}
        found = []
        for folder in sorted({text.parent for text in taken if _is_txt(text.name)} & beside):
            names = self._listing(folder).names
            others = {Path(name).stem for name in names if not _is_txt(name)}
            plain = (name for name in names if _is_txt(name) and not _NO_TEXT.match(name))
            alone = (name for name in plain if Path(name).stem not in others)
            found += [
                path
                for name in alone
                if own.isdisjoint((folder, before) for before in _before_its_dots(name))
                if (path := folder / names[name]).is_file() and path not in taken
            ]
        return found

    def _captions(self, path: Path) -> list[Path]:
        """Return the captions of a recording that are named by their language."""
        listed = self._listing(path.parent).captions.get(path.stem, ())
        files = (path.with_name(name) for name in listed)
        return [file for file in files if file.with_suffix("") not in self._own and file.is_file()]

    def _named(self, recording: Path, names: Iterable[str]) -> list[Path]:
        """Return the files beside a recording that have one of `names`, in their order; where there is none, those
        that differ from them in capitals alone, which are the same names on Windows and macOS.
        """
        folder, own = recording.parent, recording.with_suffix("")
        listing, wanted = self._listing(folder), [composed(name) for name in names]
        written = [listing.names[name] for name in wanted if name in listing.names]
        written = written or [
            other
            for name in wanted
            if (other := listing.in_other_capitals(name))
            and self._own.isdisjoint(
                {folder / before for before in _before_its_dots(other)} - {own}
            )
        ]
        return [path for name in dict.fromkeys(written) if (path := folder / name).is_file()]

    def _listing(self, folder: Path) -> _Listing:
        if folder not in self._folders:
            self._folders[folder] = _Listing(folder)
        return self._folders[folder]


class _Listing:
    """The names in one folder."""

    def __init__(self, folder: Path) -> None:
        self.names = {composed(name): name for name in sorted(os.listdir(folder))}
        """Each name by its composed form."""
        self._folded = unique_folds(self.names)

    def in_other_capitals(self, name: str) -> str:
        """Return the only name that differs from `name` in capitals alone; empty where there is none."""
        return self.names.get(self._folded.get(name.casefold(), ""), "")

    @cached_property
    def captions(self) -> dict[str, list[str]]:
        """The names of captions, by what stands before their language."""
        found: dict[str, list[str]] = defaultdict(list)
        for name in self.names.values():
            if named := _LANGUAGE.fullmatch(name):
                found[named["name"]].append(name)
        return found


def _before_its_dots(name: str) -> Iterator[str]:
    """Yield what stands before each dot of a name: `a.normalized.txt` is a text of `a`."""
    return (name[: dot.start()] for dot in re.finditer(r"\.", name))


def _is_txt(name: str) -> bool:
    return name.lower().endswith(".txt")


def _may_tell_words(path: Path, what: str) -> bool:
    """Whether a file may hold what is said: JSON that has keys of words, a table with words below its first row, or
    any other kind of file.
    """
    form = (
        _TELLS_WORDS
        if path.suffix.lower() == ".json"
        else _ROW_OF_WORDS
        if what == _TABLE
        else None
    )
    try:
        with path.open("rb") as stream:
            return form is None or form.search(stream.read(_LOOKED_AT)) is not None
    except OSError:
        return False
