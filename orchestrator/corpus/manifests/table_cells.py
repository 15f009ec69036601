"""The cells of a table: a column's name as the keys are written, and a value without a CSV writer's
quotes. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from orchestrator.corpus.manifests.record_fields import (
    AUDIO_KEYS,
    DURATION_KEYS,
    ID_KEYS,
    SPEAKER_KEYS,
    TEXT_KEYS,
)

KNOWN = {*AUDIO_KEYS, *TEXT_KEYS, *DURATION_KEYS, *SPEAKER_KEYS, *ID_KEYS, "offset"}
"""Columns that a first row is known by."""
_VOXPOPULI = {"normed_text": "normalized_text", "original_text": "raw_text"}
"""What its tables call them."""


_DIALOGUE = "Dialogue_ID"
"""By which MELD is known."""


def column_name(cell: str) -> str:
    """A column's name as the keys are written: `File Name` and `fileName` are file_name."""
    written = re.sub(r"[\s-]+", "_", cell.strip().strip('"')).strip("_")
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", written).lower()
    forms = (_VOXPOPULI.get(plain, plain) for plain in (written.lower(), apart))
    return next((plain for plain in forms if plain in KNOWN), cell.strip())


def column_names(cells: Iterable[str]) -> tuple[str, ...]:
    """Those of a first row. The utterance of a dialogue is its text; elsewhere it may be an id."""
    names = tuple(map(column_name, cells))
    return (
        tuple("text" if name == "Utterance" else name for name in names)
        if _DIALOGUE in names
        else names
    )


def without_quotes(cell: str) -> str:
    """A cell that a CSV writer quoted: it begins and ends with a quote, and all inside are doubled.
    Other quotes between tabs are a part of the text.
    """
    inside = cell[1:-1]
    quoted = len(cell) > 3 and cell[0] == cell[-1] == '"' and '""' in inside
    if not quoted or '"' in inside.replace('""', ""):
        return cell
    return inside.replace('""', '"')


def cell_value(column: str, cell: str) -> Any:
    if column not in (*DURATION_KEYS, "offset"):
        return " ".join(cell.split("\n")) if "\n" in cell else cell
    try:
        return json.loads(cell, parse_constant=str)
    except ValueError:
        return cell
