"""Values that stand for none: of a text that is missing, and of a speaker who is not known. Pure."""

from __future__ import annotations

import re

from orchestrator.corpus.label_files.segments import is_unspoken

_WITH_FRACTION = re.compile(r"[0-9]+\.0")
_NOBODY = {
    "",
    *"- -- ? nan none null nil n/a #n/a na <na> unk <unk> unknown undefined anonymous unidentified".split(),
    *("no speaker", "(no speaker)", "unknown speaker", "unidentified speaker"),
    *(
        "unbekannt anonym inconnu inconnue anonyme desconocido desconocida desconhecido desconhecida sconosciuto "
        "sconosciuta onbekend tuntematon okänd ukendt ukjent nieznany неизвестно неизвестный неизвестен"
    ).split(),
}
"""What stands in the place of an unknown speaker; utterances with it are not of one person."""
_OF_PANDAS = ("nan", "NaN", "<NA>")
_OF_SPREADSHEETS = re.compile(
    r"#[¿¡]?[^\W\d_]{2}[\w/]*+[!?]|#(?:N/[ABD]|Н/Д|I/T|NV|YOK|NENÍ_K_DISPOZICI)|ERR:5\d\d"
)
"""What Excel and LibreOffice write in capitals for a cell that could not be computed, such as a text that begins with
=, in the language of whoever wrote it: #NAME?, #WERT!, #¡VALOR!, #NOM?, #DIV/0! and #N/D.
"""


def stands_for_missing(text: str) -> bool:
    """Whether a cell holds what pandas and spreadsheets write for one that is empty or could not be computed."""
    written = text.strip()
    is_error = _OF_SPREADSHEETS.fullmatch(written.upper()) is not None
    return written in _OF_PANDAS or (is_error and (written.isupper() or written.startswith("Err")))


def is_missing_text(value: object) -> bool:
    """Whether a value stands for a missing text: null, blank, what tables have for an empty cell, or
    the mark of a part that is not to be scored.
    """
    if not isinstance(value, str):
        return value is None
    return not value.strip() or stands_for_missing(value) or is_unspoken(value)


def without_fraction(value: object) -> object:
    """Return a number that names something, or the text of one, as a whole number where pandas wrote it as 12.0,
    as it does for a column in which another cell is empty; any other value as it is.
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value[:-2] if isinstance(value, str) and _WITH_FRACTION.fullmatch(value) else value


def names_somebody(value: object) -> bool:
    """Whether the value of a speaker key names a speaker."""
    named = str(value).strip()
    return value is not None and named.casefold() not in _NOBODY and not stands_for_missing(named)
