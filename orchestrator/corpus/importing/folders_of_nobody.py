"""Recognising folders, and beginnings of names, that stand for parts of a corpus, for languages or for genders, and so
for many people, or for files. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from orchestrator.corpus.language_codes import LANGUAGE_CODE

_PART = re.compile(
    r"(?:train|dev|devel|test|valid|validation|val|eval|evaluation|other|clean|noisy)(?:ing|set|_set)?(?:[-_.].*|\d*)",
    re.IGNORECASE,
)
_NAMES = (
    "arabic chinese czech danish dutch english finnish french german greek hindi hungarian italian japanese korean "
    "mandarin norwegian persian polish portuguese romanian russian spanish swedish turkish ukrainian vietnamese "
    "deutsch englisch französisch italienisch spanisch français anglais allemand español inglés italiano português "
    "nederlands suomi svenska polski русский"
)
_LANGUAGE = re.compile(
    rf"(?:mls_)?(?:{LANGUAGE_CODE}|{_NAMES.replace(' ', '|')})",
    re.IGNORECASE,
)
"""`de`, `en_US`, `cmn_hans_cn` or `german`."""
_GENDER = re.compile(
    r"(?:female|male|women|woman|men|man|boy|girl|child|children|adult)s?|weiblich|männlich|maennlich|frau(?:en)?"
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
    several = len(names) > 1
    found = (what for what, form in _KINDS.items() if all(map(form.fullmatch, names)))
    return next(found, "") if several else ""


def begin_names_of_files(names: Collection[str]) -> str:
    """Return what the beginnings of the names of files are used for, where they are nobody's; empty elsewhere."""
    of_files = bool(names) and all(map(_FILE.fullmatch, names))
    return "files" if of_files else named_as(names)
