"""Words in the keys of records that mean times of a segment, in several languages."""

from __future__ import annotations

from typing import Literal

Role = Literal["start", "end", "length"]

_TRANSLATED: dict[Role, str] = {
    "start": "beginn anfang startzeit anfangszeit beginnzeit von début debut inicio início comienzo desde inizio "
    "begintijd starttijd alku början początek začátek начало inicial "
    "开始 开始时间 起始 起始时间 開始 開始時間 開始時刻 시작 시작시간",
    "end": "ende endzeit bis fin hasta fim até fine einde eindtijd loppu slut koniec konec конец final "
    "结束 结束时间 终止 终止时间 終了 終了時間 終了時刻 종료 종료시간",
    "length": "dauer länge laenge durée duree longueur duración duracion longitud duração duracao durata lunghezza "
    "duur lengte kesto pituus längd längde długość délka длительность продолжительность 时长 長さ 길이",
}

TRANSLATED: dict[str, Role] = {
    word: role for role, words in _TRANSLATED.items() for word in words.split()
}
"""Those words of `ROLES` that are of other languages than English: read only where a duration agrees with them."""

ROLES: dict[str, Role] = {
    **dict.fromkeys(("start", "begin", "beg", "from", "onset", "tmin", "xmin", "first"), "start"),
    **dict.fromkeys(("starts", "begins", "beginning", "starttime", "begintime", "tstart"), "start"),
    **dict.fromkeys(("timestart", "stime", "timebegin"), "start"),
    **dict.fromkeys(
        ("end", "ends", "ending", "stop", "to", "tmax", "xmax", "endtime", "tend", "last"), "end"
    ),
    **dict.fromkeys(("timeend", "etime"), "end"),
    **dict.fromkeys(("length", "len", "dur", "duration"), "length"),
    **TRANSLATED,
}
"""Words in a key that say whether it is the start, the end or the length of a segment."""

EDGES: dict[str, Role] = {"in": "start", "out": "end"}
"""What editors of video and subtitles call the start and the end; beside a word of `ROLES` they say nothing."""

SHORT = {
    **{"t0": "start", "t1": "end", "x0": "from", "x1": "to"},
    **{"s_time": "start", "e_time": "end", "st_time": "start", "en_time": "end"},
}
"""Keys in lower case, with underscores between their words, that mean a time although they have no such word."""

AMBIGUOUS = frozenset("from to in out von bis desde hasta até fin fine final slut longitud".split())
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

WHOLES = {"source", "original", "orig", "recording", "reco", "file", "wav", "video"}
"""Those of `PARTS` whose length may be that of all that the audio was cut from."""

PARTS = {
    *("segment", "seg", "clip", "audio", "utterance", "utt", "turn", "chunk", "sentence", "phrase"),
    *("cue", "subtitle", "caption", "region", "part", "excerpt"),
    *("cut", "crop"),
    *WHOLES,
}
"""Words in a key that say what the times are of; two keys of one segment have the same."""

SAY_NOTHING = set(
    "t time timestamp ts timecode tc code offset at in of point mark marker abs absolute rel relative "
    "zeit temps de tiempo tempo di".split()
)
"""Words in a key that add nothing to its meaning."""
