"""The notes on a manifest that was made of a folder, beside its numbers: what was taken where there
was a choice, and what may be no word. Pure.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence, Set

from orchestrator.corpus.importing.selecting import Selection, bracket_note
from orchestrator.corpus.importing.transcript_files import Transcript
from orchestrator.corpus.importing.transcripts import Transcripts
from orchestrator.corpus.label_files.segments import NUMBERED, ROLES
from orchestrator.corpus.label_files.speakers_in_cues import begin_with_names
from orchestrator.corpus.label_files.times_in_text import may_name_speakers
from orchestrator.corpus.manifest_errors import show
from orchestrator.corpus.manifests.manifest_writing import Made
from orchestrator.corpus.manifests.words_beside import other_text_note, words_beside

_OF_A_PROGRAM = re.compile(rf"{NUMBERED}|[a-z]", re.IGNORECASE)
"""How programs name the speakers of one recording; a bare number may be that of a person in all of a list."""
_MANY = 5
"""The number of texts from which on names before all of them are hardly said."""
_SURENESS = re.compile(r" [01][.,]\d+$")
"""How sure a recogniser is, behind what it heard."""
_SHOWN = 8
"""The number of names that are shown; among them all a person sees one that is none."""


def notes_of_folder(
    choices: Counter[str], texts: Transcripts, kept: Sequence[Made], wanted: Selection
) -> list[str]:
    """Return sentences about the `choices` that were made, about names and dashes in the texts of
    parts, and about brackets in the lines that are `kept`.
    """
    notes = [f"of {count} recordings {what}" for what, count in choices.items()]
    notes += _numbered_speakers(texts, {made.line.get("speaker") for made in kept})
    notes += _numbered_in_lists(texts, {made.line.get("speaker") for made in kept})
    notes += _other_columns(texts)
    whole = [said for own in texts.values() for said in own if said.record or said.span is None]
    lines = [" ".join(said.text.split()) for said in whole]
    notes += _names_before_texts(lines)
    notes += _numbers_around_texts(lines)
    timed = [[part for part in own if part.span and not part.record] for own in texts.values()]
    parts = [part for own in timed for part in own]
    names = [part.before for part in parts if part.before.endswith(":")]
    if names:
        shown = ", ".join(show(name) for name in list(dict.fromkeys(names))[:_SHOWN])
        notes.append(
            f"of {len(names)} parts the text began with who speaks, such as {shown}, which is no word"
        )
    for sign, what in (("-", "a dash"), (">>", ">>")):
        if count := sum(part.before == sign for part in parts):
            notes.append(f"of {count} parts {what} before the words is left out")
    doubted = [part for own in timed for part in _doubted(own)]
    if doubted:
        notes.append(
            f"of {len(doubted)} parts the words begin with what may be who speaks, {show(doubted[0].text[:40])} in "
            f"{doubted[0].origin}, and it is learnt as words; in WebVTT a speaker is <v NAME>"
        )
    if wanted.brackets == "keep":
        notes += _bracket_notes(kept)
    return notes


def _doubted(parts: Sequence[Transcript]) -> list[Transcript]:
    """Return the parts of a recording whose words begin with what may be who speaks."""
    whole = [part for part in parts if not part.before]
    named = begin_with_names([part.text for part in whole])
    return [part for part, is_named in zip(whole, named, strict=True) if is_named]


def _other_columns(texts: Transcripts) -> list[str]:
    """Return a note on each column of lists that holds other words than the one that is taken."""
    rows = [row for own in texts.values() for row in own if row.record]
    found: dict[str, list[tuple[Transcript, str]]] = {}
    for row in rows:
        for key, other in words_beside(row.text, row.record.extra if row.record else {}):
            found.setdefault(key, []).append((row, other))
    return [
        f"{other_text_note(key, len(differing), len(rows), said.text, other, said.origin)}; "
        f'where "{key}" is what is said, call it "text" and the other one otherwise'
        for key, differing in found.items()
        for said, other in differing[:1]
    ]


def _names_before_texts(lines: Sequence[str]) -> list[str]:
    """Return a note where each of many whole texts or rows of lists begins with what may be who speaks, and names
    return: of one alone nothing tells that its name is not said.
    """
    names = {line.partition(":")[0] for line in lines}
    if not _MANY <= len(lines) >= 2 * len(names) or not may_name_speakers("\n".join(lines)):
        return []
    shown = ", ".join(show(f"{name}:") for name in sorted(names)[:_SHOWN])
    return [
        f"all {len(lines)} texts begin with what may be who speaks, {shown}, and it is learnt as words"
    ]


def _numbers_around_texts(lines: Sequence[str]) -> list[str]:
    """Return a note where each of many whole texts or rows of lists begins with times, or ends with how sure a
    recogniser was: of one alone nothing tells that the number is not said.
    """
    worded = len(lines) >= _MANY and all(re.search(r"[^\W\d_]", line) for line in lines)
    found = {
        "begin": worded and all(map(_begins_with_times, lines)),
        "end": worded and all(map(_SURENESS.search, lines)),
    }
    return [
        f"all {len(lines)} texts {place} with numbers, such as {show(lines[0][:40])}, and they are learnt as words"
        for place, is_so in found.items()
        if is_so
    ]


def _begins_with_times(line: str) -> bool:
    """Whether a text begins with a clock, a number with decimals, or two whole numbers that rise."""
    two = re.match(r"(\d{1,9}) (\d{1,9}) ", line)
    rising = two is not None and int(two[1]) < int(two[2])
    return rising or re.match(r"(?:\d+:)*\d+[:.,]\d", line) is not None


def _numbered_speakers(texts: Transcripts, written: Set[object]) -> list[str]:
    """Return a note on speakers who have a number or a role for a name in several recordings, and are taken for
    other people in each, if their names are among those that are `written`.
    """
    named = Counter[str]()
    for own in texts.values():
        labels = [part.label for part in own if part.label and part.speaker in written]
        named.update(list(dict.fromkeys(labels)))
    if not named or (most := named.most_common(1)[0])[1] < 2:
        return []
    return [
        f"speakers such as {show(most[0])}, of {most[1]} recordings, are taken for other people in each recording, "
        "whose name is put before theirs; where they are the same, name them by words or give --speaker"
    ]


def _numbered_in_lists(texts: Transcripts, written: Set[object]) -> list[str]:
    """Return a note on speakers whom a program numbered, or who are named by a role, if rows of a list have them in
    parts of several recordings.
    """
    of = Counter[str]()
    for own in texts.values():
        names = (row.speaker for row in own if row.record and row.span and row.speaker in written)
        of.update(
            {name for name in names if _OF_A_PROGRAM.fullmatch(name) or name.casefold() in ROLES}
        )
    if not of or (most := of.most_common(1)[0])[1] < 2:
        return []
    return [
        f"speakers such as {show(most[0])}, of {most[1]} recordings, are one person each, as their list has them; "
        "where they are other people in each recording, put its name before theirs"
    ]


def _bracket_notes(kept: Sequence[Made]) -> list[str]:
    """Return sentences on brackets in what is said in parts, and in whole recordings."""
    parts = [made.line for made in kept if "offset" in made.line]
    whole = [made.line for made in kept if "offset" not in made.line]
    cure = "--brackets strip or drop leaves it out"
    found = (bracket_note(parts, "parts", cure), bracket_note(whole, "recordings", cure))
    return [note for note in found if note]
