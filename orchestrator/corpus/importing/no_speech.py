"""Detects texts under a recording's name that are not what is said in it: a description of it, a
checksum, a list of its sounds (phones), or the picture that was shown. Pure.
"""

from __future__ import annotations

import re

from orchestrator.corpus.manifest_errors import show

_SUM = re.compile(r"[0-9a-fA-F]{32,128}(?:\s+\*?\S+)?")
_FILE = re.compile(
    r"\S*[\w-]\.(?:jpe?g|png|gif|bmp|tiff?|webp|svg|mp4|avi|wav|mp3|flac)", re.IGNORECASE
)
_TIMED_TAG = re.compile(r"<\w+\s[^<>]*\b\w*time\s*=\s*\"?\d[^<>]*>", re.IGNORECASE)
"""`<Segment S_time=0.5 E_time=3.0>` of broadcasts."""
_FIELD = re.compile(r"\W*(?P<key>[^\W\d_][\w ()./-]{1,30}?)\s*[:=]\s*\S.*")
_DESCRIBING = frozenset(
    (
        "speaker, speaker id, speakerid, speaker name, speaker age, gender, sex, age, age range, language, "
        "native language, dialect, accent, pronunciation dialect, country, nationality, recorded, recorded by, "
        "recording date, recording id, date, duration, length, sample rate, sampling rate, samplerate, bit rate, "
        "bitrate, channels, format, file, filename, file name, file type, microphone, microphone type, mic, device, "
        "room, environment, license, licence, copyright, source, url, emotion, topic, title, identity, conf, ref, "
        "text, transcript, transcription, "
        "sprecher, sprecherin, sprecher-id, geschlecht, alter, sprache, muttersprache, dialekt, akzent, herkunft, "
        "aufnahme, aufnahmedatum, aufnahmegerät, datum, dauer, länge, abtastrate, datei, dateiname, mikrofon, raum, "
        "thema, titel, quelle, lizenz, locuteur, locutrice, sexe, âge, langue, durée, fichier, lieu, sujet, titre, "
        "hablante, sexo, género, edad, idioma, lengua, fecha, duración, archivo, micrófono, lugar, parlante, sesso, "
        "età, lingua, durata, luogo, falante, idade, duração, arquivo, spreker, geslacht, leeftijd, taal, duur, "
        "говорящий, пол, возраст, язык, дата, длительность, файл"
    ).split(", ")
)
"""Keys of a description of a recording, in several languages."""
_VOWELS = frozenset("aa ae ah ao aw ax ay eh er ey ih ix iy ow oy uh uw".split())
"""Vowels of ARPAbet, as `_CONSONANTS` are its consonants."""
_CONSONANTS = frozenset("b ch d dh f g hh jh k l m n ng p r s sh t th v w y z zh".split())
_PAUSES = frozenset(("sil", "sp", "pau", "spn", "h#"))
"""Labels of pauses."""
_FEW = 2
"""The number of known keys in the first two lines of a description; and of vowels, and of
consonants, in a list of phones: who hesitates says only one or the other.
"""

_BETWEEN, _SHORT = 5, 3
"""The number of labels, at least, of a list of sounds between pauses, and the most letters that
each has: `sil onu sil` is Turkish.
"""


def what_is_no_speech(text: str) -> str:
    """Say what a text is that nobody said; empty where somebody may have said it."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if lines and all(map(_SUM.fullmatch, lines)):
        return "a check sum"
    if len(lines) == 1 and _FILE.fullmatch(lines[0]):
        return f"the name of a file, {show(lines[0])}"
    if _TIMED_TAG.search(text):
        return "markup with times (SGML)"
    fields = [found for line in lines[:2] if (found := _FIELD.fullmatch(line))]
    keys = {" ".join(found["key"].casefold().split()) for found in fields}
    if len(keys & _DESCRIBING) == _FEW:
        return "a description of a recording"
    return "sounds (phones)" if _are_phones(text.casefold().split()) else ""


def _are_phones(tokens: list[str]) -> bool:
    """Whether tokens are phones of ARPAbet, or short labels between two pauses."""
    if len(tokens) >= _BETWEEN and {tokens[0], tokens[-1]} <= _PAUSES:
        return all(len(each) <= _SHORT for each in tokens)
    plain = [token.rstrip("012") for token in tokens]
    counts = [sum(each in kind for each in plain) for kind in (_VOWELS, _CONSONANTS, _PAUSES)]
    return sum(counts) == len(tokens) and min(counts[:2]) >= _FEW
