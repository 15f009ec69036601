"""Normalising the cells of a table: the names of its columns to the known keys, and values without
a CSV writer's quotes. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from orchestrator.corpus.manifests.missing_values import without_fraction
from orchestrator.corpus.manifests.record_fields import (
    AUDIO_KEYS,
    DURATION_KEYS,
    ID_KEYS,
    SPEAKER_KEYS,
    TEXT_KEYS,
)

KNOWN = {*AUDIO_KEYS, *TEXT_KEYS, *DURATION_KEYS, *SPEAKER_KEYS, *ID_KEYS, "offset"}
"""The names of columns by which a first row is recognised as a header."""
_VOXPOPULI = {"normed_text": "normalized_text", "original_text": "raw_text"}
"""Names of columns in VoxPopuli's tables, and the keys that they stand for."""


_DIALOGUE = "Dialogue_ID"
"""The column by which the tables of MELD are recognised."""


def column_name(cell: str) -> str:
    """Return the known key that the name of a column stands for: `File Name` and `fileName` are
    file_name. Other names are returned as they are.
    """
    written = re.sub(r"[\s-]+", "_", cell.strip().strip('"')).strip("_")
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", written).lower()
    forms = (_VOXPOPULI.get(plain, plain) for plain in (written.lower(), apart))
    return next((plain for plain in forms if plain in KNOWN), cell.strip())


def column_names(cells: Iterable[str]) -> tuple[str, ...]:
    """Return the names of a header's columns. In MELD, "Utterance" is the text; elsewhere it may be
    an id.
    """
    names = tuple(map(column_name, cells))
    return (
        tuple("text" if name == "Utterance" else name for name in names)
        if _DIALOGUE in names
        else names
    )


def without_quotes(cell: str) -> str:
    """Unquote a cell that a CSV writer quoted: it begins and ends with a quote, and all inside are
    doubled. Other quotes in a table between tabs are a part of the text.
    """
    inside = cell[1:-1]
    quoted = len(cell) > 3 and cell[0] == cell[-1] == '"' and '""' in inside
    if not quoted or '"' in inside.replace('""', ""):
        return cell
    return inside.replace('""', '"')


def cell_value(column: str, cell: str) -> Any:
    """Return a cell as a value: a time is parsed as a JSON number where it is one, the 12.0 of a speaker is 12,
    and any other cell stays text, in one line.
    """
    if column in SPEAKER_KEYS:
        cell = str(without_fraction(cell))
    if column not in (*DURATION_KEYS, "offset"):
        return " ".join(cell.split("\n")) if "\n" in cell else cell
    try:
        return json.loads(cell, parse_constant=str)
    except ValueError:
        return cell
