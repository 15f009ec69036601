"""Finding who speaks in the cues of subtitles, where their words begin with that: `SPEAKER_01:`,
`>> ANNA:`, `MAN:`, or a dash or >> for a change of speaker. Pure.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from orchestrator.corpus.label_files.segments import COLON, COUNTED, NAME, Segment

_PROGRAM = re.compile(
    rf"(?:(?:>>+ ?)?\[?(?P<program>(?i:{COUNTED}))\]?|>>+ ?(?P<name>{NAME})){COLON} ?(?P<said>\S.*)"
)
"""A speaker as programs write it, `SPEAKER_01:`, `Sprecher 1:` or `>> ANNA:`, and what is said."""
_ASIDE = r"(?: ?\([^()]*\))?"
_PERSON = re.compile(
    rf"(?:>>+ ?)?(?P<name>{NAME}){_ASIDE}(?!(?<=\d):\d){COLON}(?: ?(?P<said>\S.*)|)"
)
"""A name before a colon, maybe with an aside in brackets, and what is said. `At 10:30` and `Matthew 5:3` are said."""
_DASH = re.compile(r"[-–—]+ ?(?=[^\W\d_]|[\[(¿¡\"'>])")
_CHANGE = re.compile(rf"(?<!\S)>>++(?!\s*+{NAME}{_ASIDE}{COLON}(?!\d))\s*+")
"""What captions of television put before the words of another speaker whom they do not name."""
_READ_ALOUD = frozenset(
    (
        "warning danger caution attention important notice note remember tip hint example question answer "
        "step part chapter section verse lesson exercise ingredients update breaking summary conclusion result "
        "finally also however because option definition monday tuesday wednesday thursday "
        "friday saturday sunday today tomorrow achtung warnung hinweis wichtig frage antwort beispiel montag "
        "dienstag mittwoch donnerstag freitag samstag sonntag heute morgen schritt teil kapitel lektion abschnitt "
        "remarque exemple réponse étape chapitre partie leçon "
        "advertencia atención nota importante pregunta respuesta ejemplo paso capítulo parte lección "
        "attenzione domanda risposta esempio passo capitolo lezione atenção aviso pergunta resposta "
        "waarschuwing vraag antwoord stap deel hoofdstuk внимание вопрос ответ пример шаг часть глава урок"
    ).split()
)
"""Words that, before a colon, begin something that is said and name no person: `Step two: add the
eggs`.
"""
_ALONE = frozenset(("first", "second", "third", "let op"))
"""Further such words, but only where they stand alone before the colon; FIRST MAN is a person."""
_NEARLY_ALL = 0.9
"""The share of cues that counts as nearly all of them."""
_OFTEN = 3
"""The number of lines that must begin with a name before it is taken for a speaker."""

_Find = Callable[[str], tuple[str, str] | None]
"""A function that returns the speaker with which a line begins and the rest of the line,
or None.
"""


def with_speakers(cues: Sequence[Segment]) -> list[Segment]:
    """Split the speakers off the texts of cues, and join the lines of each text into one.

    A name is a speaker where nearly every cue begins with one as programs write it, where three
    begin with one in capitals and go on with other letters and some return, where nearly every cue
    begins with a name and some return, or where half begin with names that return so often.
    Elsewhere it may be said, and stays; so it does where the cues tell their speakers by
    themselves, as `<v Anna>` does.
    """
    lines = [cue.text.split("\n") for cue in cues]
    # a dash in a later line means another speaker only where the first line has one too
    plain = [[_DASH.sub("", row, count=1) for row in rows] for rows in lines]
    plain = [
        rows if _DASH.match(said[0]) else said for said, rows in zip(lines, plain, strict=True)
    ]
    told = any(cue.speaker for cue in cues)
    find = _nobody if told else _how_to_find([rows for rows in plain if rows[0]])
    return [
        _told(cue, said, rows, find) for cue, said, rows in zip(cues, lines, plain, strict=True)
    ]


def begin_with_names(texts: Sequence[str]) -> list[bool]:
    """Whether each text of a recording begins with what may be who speaks, and a colon: a name in capitals, as captions
    have them, or one with which another text begins, too.
    """
    names = [named[0] if (named := _capitalised(text)) else "" for text in texts]
    count = Counter(names)
    return [
        _in_capitals(text) is not None or (name != "" and count[name] > 1)
        for text, name in zip(texts, names, strict=True)
    ]


def _told(cue: Segment, lines: Sequence[str], rows: Sequence[str], find: _Find) -> Segment:
    """Return a cue with its text in one line and its speaker, where all its names are the same.
    `rows` are its `lines` without their dashes.
    """
    found = [find(row) for row in rows]
    names = {each[0] for each in found if each}
    dashes = sum(line != row for line, row in zip(lines, rows, strict=True))
    said = (each[1] if each else row for each, row in zip(found, rows, strict=True))
    text, changes = _CHANGE.subn("", " ".join(filter(None, said)))
    speaker = names.pop() if len(names) == 1 and found[0] and dashes < 2 and not changes else ""
    first = next((each[0] for each in found if each), "")
    return replace(
        cue,
        text=text.rstrip(),
        speaker=cue.speaker or speaker,
        before=f"{first}:" if first else "-" * bool(dashes) or ">>" * bool(changes),
    )


def _how_to_find(cues: Sequence[Sequence[str]]) -> _Find:
    """Choose the function that finds the speakers of the cues, given as lines each, by how most of
    them begin.
    """
    if sum(_by_program(rows[0]) is not None for rows in cues) >= _NEARLY_ALL * max(len(cues), 1):
        return _by_program
    capitals = [named[0] for rows in cues for row in rows if (named := _in_capitals(row))]
    if len(set(capitals)) < len(capitals) >= _OFTEN:
        return _in_capitals
    begun = [named[0] for rows in cues if (named := _capitalised(rows[0]))]
    if len(set(begun)) < len(begun) >= max(_OFTEN, _NEARLY_ALL * len(cues)):
        return _capitalised
    often = {name for name, count in Counter(begun).items() if count >= _OFTEN}
    if often and 2 * sum(name in often for name in begun) >= len(cues):
        return lambda row: named if (named := _capitalised(row)) and named[0] in often else None
    return _nobody


def _nobody(_: str) -> None:
    return None


def _by_program(row: str) -> tuple[str, str] | None:
    """Find a speaker that is written as programs do."""
    found = _PROGRAM.fullmatch(row)
    return (found["program"] or found["name"], found["said"]) if found else None


def _person(row: str) -> tuple[str, str] | None:
    """Find a name before a colon, unless it is a word that is read aloud."""
    found = _PERSON.fullmatch(row)
    if found is None or is_read_aloud(found["name"].casefold()):
        return None
    return found["name"], found["said"] or ""


def is_read_aloud(name: str) -> bool:
    """Whether a name in small letters begins what is read aloud, and is nobody's."""
    return name in _ALONE or name.split()[0] in _READ_ALOUD


def _capitalised(row: str) -> tuple[str, str] | None:
    """Find a name of which each word begins with a capital, or is a number: `Person 1`."""
    found = _person(row)
    words = found[0].split() if found else ()
    return found if all(word[0].isupper() or word.isdecimal() for word in words) else None


def _in_capitals(row: str) -> tuple[str, str] | None:
    """Find a name that is all capitals before a text that is not."""
    found = _person(row)
    return found if found and found[0].isupper() and not found[1].isupper() else None
