"""Words in the keys of records that mean times of a segment, in several languages."""

from __future__ import annotations

from typing import Literal

Role = Literal["start", "end", "length"]

_TRANSLATED: dict[Role, str] = {
    "start": "beginn anfang startzeit anfangszeit beginnzeit von début debut inicio início comienzo desde inizio "
    "begintijd starttijd alku början początek začátek начало",
    "end": "ende endzeit bis fin hasta fim até fine einde eindtijd loppu slut koniec konec конец",
    "length": "dauer länge laenge durée duree longueur duración duracion longitud duração duracao durata lunghezza "
    "duur lengte kesto pituus längd längde długość délka длительность продолжительность",
}

TRANSLATED: dict[str, Role] = {
    word: role for role, words in _TRANSLATED.items() for word in words.split()
}
"""Those words of `ROLES` that are of other languages than English: read only where a duration agrees with them."""

ROLES: dict[str, Role] = {
    **dict.fromkeys(("start", "begin", "beg", "from", "onset", "tmin", "xmin", "first"), "start"),
    **dict.fromkeys(("starts", "begins", "beginning", "starttime", "begintime", "tstart"), "start"),
    **dict.fromkeys(
        ("end", "ends", "ending", "stop", "to", "tmax", "xmax", "endtime", "tend", "last"), "end"
    ),
    **dict.fromkeys(("length", "len", "dur", "duration"), "length"),
    **TRANSLATED,
}
"""Words in a key that say whether it is the start, the end or the length of a segment."""

AMBIGUOUS = frozenset("from to von bis desde hasta até fin fine slut longitud".split())
"""Those of these words that may also be people, languages, kinds, signs of an end or places on the earth."""

SECOND, FRAMES = 1, 0
UNITS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds", "sek", "sekunden"), SECOND),
    **dict.fromkeys(("secondes", "segundos", "secondi", "seconden", "секунды"), SECOND),
    **dict.fromkeys(("ms", "msec", "millis", "milliseconds", "millisekunden"), 1000),
    **dict.fromkeys(("millisecondes", "milisegundos", "millisecondi", "milliseconden"), 1000),
    **dict.fromkeys(("frame", "frames", "sample", "samples"), FRAMES),
}
"""Words in a key that tell its unit: how many of them make a second."""

WHOLES = {"source", "original", "orig", "recording", "video"}
"""Those of `PARTS` whose length may be that of all that the audio was cut from."""

PARTS = {
    *("segment", "seg", "clip", "audio", "utterance", "utt", "turn", "chunk", "sentence", "phrase"),
    *("cue", "subtitle", "caption", "region", "part", "excerpt"),
    *("cut", "crop"),
    *WHOLES,
}
"""Words in a key that say what the times are of; two keys of one segment have the same."""

SAY_NOTHING = set(
    "t time timestamp ts offset at in abs absolute rel relative zeit temps tiempo tempo".split()
)
"""Words in a key that add nothing to its meaning."""
