"""Long lists and label files are read in one pass: no part of them makes the whole text be searched
or copied again.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.corpus.label_files.label_file import kind_of_labels, segments_of
from orchestrator.corpus.manifests import strict_json
from orchestrator.corpus.manifests.format_detection import read_records

PARTS = 200
MOST = 30
"""How many times as many signs as a text has its reading may handle; with one search of the whole
text for each part, it is a hundred times or more.
"""


def signs_handled(work: Callable[[], Any]) -> int:
    """Return the total length of the texts and bytes whose methods are called in `work`."""
    handled = 0

    def counting(_frame: object, event: str, function: object) -> None:
        nonlocal handled
        of = getattr(function, "__self__", None) if event == "c_call" else None
        handled += len(of) if isinstance(of, str | bytes) else 0

    sys.setprofile(counting)
    try:
        work()
    finally:
        sys.setprofile(None)
    return handled


class CountedPattern:
    """A pattern that counts how many bytes it is asked to search."""

    def __init__(self, pattern: Any) -> None:
        self.pattern = pattern
        self.searched = 0

    def search(self, raw: bytes) -> Any:
        """Search, and count."""
        self.searched += len(raw)
        return self.pattern.search(raw)


ROWS = [
    {"audio_filepath": f"{row}.wav", "text": f"sentence {row}", "duration": 1.5}
    for row in range(PARTS)
]
LISTS = {
    "an array": json.dumps(ROWS, indent=1),
    "objects that follow one another": "\n".join(json.dumps(row, indent=1) for row in ROWS),
    "an object with a list": json.dumps({"data": ROWS}, indent=1),
    "records by id": json.dumps({str(row["text"]): row for row in ROWS}, indent=1),
    "texts": json.dumps({str(row["audio_filepath"]): row["text"] for row in ROWS}, indent=1),
}


@pytest.mark.parametrize("wrapped", LISTS)
def test_json_is_searched_once_and_not_for_every_record(
    wrapped: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patterns = {name: CountedPattern(getattr(strict_json, name)) for name in
                ("_MAY_OVERFLOW", "_SURROGATE")}  # fmt: skip
    for name, pattern in patterns.items():
        monkeypatch.setattr(strict_json, name, pattern)
    path = tmp_path / "list.json"
    path.write_text(LISTS[wrapped])
    records: list[object] = []
    handled = signs_handled(lambda: records.extend(read_records(path, hashlib.sha256())))
    assert len(records) == PARTS
    size = len(LISTS[wrapped])
    assert handled < MOST * size
    # once to see whether its first line is a record, and once as a whole
    assert {name for name, pattern in patterns.items() if pattern.searched > 2 * size} == set()


def _textgrid() -> Iterable[str]:
    yield 'File type = "ooTextFile"\nObject class = "TextGrid"\n'
    yield f"xmin = 0\nxmax = {PARTS}\ntiers? <exists>\nsize = 1\nitem []:\n    item [1]:\n"
    yield f'class = "IntervalTier"\nname = "said"\nxmin = 0\nxmax = {PARTS}\n'
    yield f"intervals: size = {PARTS}\n"
    for part in range(PARTS):
        yield f"intervals [{part + 1}]:\nxmin = {part}\nxmax = {part + 1}\n"
        yield f'text = "sentence {part} of all"\n'


LABELS = {
    "Praat TextGrid": "".join(_textgrid()),
    "SubRip": "\n".join(
        f"{cue + 1}\n0:{cue // 60:02}:{cue % 60:02},000 --> 0:{cue // 60:02}:{cue % 60:02},900\n"
        f"sentence {cue} of all\n"
        for cue in range(PARTS)
    ),
    "a transcript of air traffic control of the LDC": "\n".join(
        f"((FROM A)\n (TEXT SENTENCE {turn} OF ALL)\n (TIMES {turn}.10 {turn}.90))"
        for turn in range(PARTS)
    ),
    "a transcript of Babel": "\n".join(
        f"[{part}.0]\nsentence {part} of all" for part in range(PARTS)
    )
    + f"\n[{PARTS}.0]\n",
    "Audacity labels": "".join(
        f"{part}.0\t{part}.9\tsentence {part} of all\n" for part in range(PARTS)
    ),
}


@pytest.mark.parametrize("kind", LABELS)
def test_a_label_file_is_read_in_one_pass(kind: str) -> None:
    text = LABELS[kind]
    assert kind_of_labels(text) == kind
    parts: list[object] = []
    assert signs_handled(lambda: parts.extend(segments_of(text, kind))) < MOST * len(text)
    assert len(parts) == PARTS
