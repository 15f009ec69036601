"""Recognising names of folders, beginnings of names and cells of lists that stand for parts of a corpus, for languages
or for genders, and so for many people, or for files. Pure.

Source of the languages: those of Common Voice, FLEURS, MLS and VoxPopuli.
"""

from __future__ import annotations

import re
from collections.abc import Collection

_PART = re.compile(
    r"(?:train|dev|devel|test|valid|validation|val|eval|evaluation|other|clean|noisy)(?:ing|set|_set)?(?:[-_.].*|\d*)",
    re.IGNORECASE,
)
_CODES = (
    "af am ar as az be bg bn bs ca cs cy da de el en es et eu fa fi fr ga gl gu he hi hr hu hy id is it ja jv ka kk km "
    "kn ko ky lb lo lt lv mk ml mn mr ms mt my nb ne nl no or pa pl ps pt ro ru sk sl so sr sv sw ta te th tr uk ur uz "
    "vi zh"
)
_LANGUAGE_CODE = rf"(?:cmn|yue|{_CODES.replace(' ', '|')})(?:[-_](?:[a-z]{{2}}|hans|hant))*"
_NAMES = (
    "arabic chinese czech danish dutch english finnish french german greek hindi hungarian italian japanese korean "
    "mandarin norwegian persian polish portuguese romanian russian spanish swedish turkish ukrainian vietnamese "
    "deutsch englisch französisch italienisch spanisch français anglais allemand español inglés italiano português "
    "nederlands suomi svenska polski русский"
)
_LANGUAGE = re.compile(
    rf"(?:mls_)?(?:{_LANGUAGE_CODE}|{_NAMES.replace(' ', '|')})",
    re.IGNORECASE,
)
"""`de`, `en_US`, `cmn_hans_cn` or `german`."""
_GENDER = re.compile(
    r"[mf]|(?:female|male|women|woman|men|man|boy|girl|child|children|adult)s?|weiblich|männlich|maennlich|frau(?:en)?"
    r"|mann|männer|maenner|mädchen|jungen?|kind(?:er)?|erwachsene|(?:femme|homme|fille|garçon|enfant)s?|mujer(?:es)?"
    r"|hombres?|niñ[ao]s?|donn[ae]|uom(?:o|ini)|bambin[aoi]|mulher(?:es)?|homens?|vrouw(?:en)?|mannen|kinderen",
    re.IGNORECASE,
)
_FILE = re.compile(
    r"(?:audio|recording|rec|file|clip|sample|segment|seg|utterance|utt|track|chunk|part|common|speech|voice|sound"
    r"|wav)s?|aufnahmen?|datei|tonspur|satz|spur|stimme|anruf|gespräch|enregistrement|fichier|appel|grabación|grabacion"
    r"|archivo|llamada|registrazione|chiamata|gravação|gravacao|opname|bestand|запись|файл",
    re.IGNORECASE,
)
"""`common` is that of `common_voice_en_1.mp3`."""
_KINDS = {"the parts of a corpus": _PART, "languages": _LANGUAGE, "genders or ages": _GENDER}


def named_as(names: Collection[str]) -> str:
    """Return what all of several names are used for, none of which is a person's; empty where one may be."""
    return used_for(names) if len(names) > 1 else ""


def used_for(names: Collection[str]) -> str:
    """Return what all of the names are used for where they are nobody's; empty where one may be a person's."""
    found = (what for what, form in _KINDS.items() if all(map(form.fullmatch, names)))
    return next(found, "")


def begin_names_of_files(names: Collection[str]) -> str:
    """Return what the beginnings of the names of files are used for, where they are nobody's; empty elsewhere."""
    of_files = bool(names) and all(map(_FILE.fullmatch, names))
    return "files" if of_files else named_as(names)
