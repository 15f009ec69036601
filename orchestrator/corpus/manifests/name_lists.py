"""Reading lists that give, on each line, the name of a recording and what is said in it.

    name: text         name:text    as JSUT has them    name :: text    as KsponSpeech has them
    name text
    ( name "text" )    as Festival and CMU ARCTIC have them
    text (name)        as CMU Sphinx and NIST's sclite have them

Lines that begin with `; ` or `# ` are comments.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path, PurePosixPath

from orchestrator.corpus.manifest_errors import Fault, show
from orchestrator.corpus.manifests.lines import Lines, Record, decoded_line
from orchestrator.corpus.manifests.not_a_manifest import is_kaldi_row, kaldi_error
from orchestrator.corpus.recordings.folders_below import folders_below
from orchestrator.corpus.recordings.locating import (
    AUDIO_SUFFIXES,
    HEADLESS_SUFFIXES,
    UNREAD_SUFFIXES,
    is_there,
)

_NAMED = re.compile(r"(?P<name>[^:\t]*[^:\s])[ \t]*::?[ \t]+(?P<text>\S.*)")
_CLOSE = re.compile(r"(?P<name>[^:\s]+):(?P<text>\S.*)")
_SPACED = re.compile(r"(?P<name>\S+)[ \t]+(?P<text>\S.*)")
FESTIVAL = re.compile(r'\(\s*(?P<name>\S+)\s+"(?P<text>.*)"\s*\)')
BEHIND = re.compile(r"(?:<s>\s*)?(?P<text>\S.*?)\s*(?:</s>)?\s*\((?P<name>[^\s()]+)\)")
_FORMS = {
    _NAMED: "name: text",
    _CLOSE: "name:text",
    _SPACED: "name text",
    FESTIVAL: '( name "text" )',
    BEHIND: "text (name)",
}
_WITHOUT_TEXT = {
    _NAMED: re.compile(r"(?P<name>[^:\t]*[^:\s])[ \t]*::?"),
    _CLOSE: re.compile(r"(?P<name>[^:\s]+):"),
    _SPACED: re.compile(r"(?P<name>\S+)"),
    BEHIND: re.compile(r"(?:<s>\s*)?(?:</s>\s*)?\((?P<name>[^\s()]+)\)"),
}
"""Rows of a name without a text, by the form of the list; Festival has empty quotes there."""
_COMMENT = re.compile(rb"[;#]+(\s.*)?", re.DOTALL)


def is_comment(line: bytes) -> bool:
    """Whether a line is a comment, such as `; a note` or `# a note`. `;one;two` is none, but a row
    whose first column is empty, and `#1: one` names a recording.
    """
    return _COMMENT.fullmatch(line.strip()) is not None


def list_pattern(line: str, path: Path, is_audio: Callable[[str], bool]) -> re.Pattern[str] | None:
    """Return the form of a list whose first row is `line`; None where it is none of these.
    `is_audio` says whether a name is that of a recording. Raises UnusableError for Kaldi's files.
    """
    text = line.strip()
    if FESTIVAL.fullmatch(text):
        return FESTIVAL
    spaced, named, behind = (form.fullmatch(text) for form in (_SPACED, _NAMED, BEHIND))
    if (
        spaced
        and not spaced["name"].lower().endswith(AUDIO_SUFFIXES)
        and is_kaldi_row(spaced, path)
    ):
        raise kaldi_error(path)
    if named and is_audio(named["name"]):
        return _NAMED
    if "\t" in text or "|" in text:
        return None
    if spaced and is_audio(spaced["name"]):
        return _SPACED
    if (close := _CLOSE.fullmatch(text)) and is_audio(close["name"]):
        return _CLOSE
    return BEHIND if behind and is_audio(behind["name"]) else None


def listed_rows(
    lines: Lines, pattern: re.Pattern[str], is_audio: Callable[[str], bool]
) -> Iterator[Record]:
    """Yield the records of a list of the form `pattern`; a line with only the name of a recording
    becomes a record without a text.
    """
    alone = _WITHOUT_TEXT.get(pattern)
    for number, line in lines:
        if not line.strip() or is_comment(line):
            continue
        text = decoded_line(number, line)
        if isinstance(text, Fault):
            yield number, text
        elif alone and (named := alone.fullmatch(text.strip())) and is_audio(named["name"]):
            yield number, {"audio_filepath": named["name"]}
        elif found := pattern.fullmatch(text.strip()):
            yield number, {"audio_filepath": found["name"], "text": text_of_row(found)}
        else:
            form = _FORMS[pattern]
            yield (
                number,
                Fault(
                    number, f"{show(text.strip()[:60])} is no {form}, as the lines before it are"
                ),
            )


def text_of_row(found: re.Match[str]) -> str:
    """Return what is said by a row of a list; Festival writes a quote in it as `\\"`."""
    return found["text"].replace('\\"', '"') if found.re is FESTIVAL else found["text"]


def audio_names(folder: Path, with_below: bool) -> Callable[[str], bool]:
    """Return a function that tells whether a cell names a recording: by its ending, or because a
    recording of that name lies in `folder`. With `with_below` the folders below count too, such as
    those of speakers, whatever folder the cell names.
    """
    below = cache(lambda: _stems_below(folder) if with_below else frozenset[str]())

    def is_audio(cell: str) -> bool:
        name = cell.strip()
        if name.lower().endswith(AUDIO_SUFFIXES) or is_there(name, folder):
            return True
        named = PurePosixPath(name)
        was_converted = named.suffix.lower() in (*UNREAD_SUFFIXES, *HEADLESS_SUFFIXES)
        return named.name in below() or (was_converted and named.stem in below())

    return is_audio


def _stems_below(folder: Path) -> frozenset[str]:
    files = (os.path.splitext(file) for _, names in folders_below(folder) for file in names)
    return frozenset(stem for stem, ending in files if ending.lower() in AUDIO_SUFFIXES)
