"""docs/read_manifest.py, which knows nothing of this project, reads the same texts at the same
lines.
"""

from __future__ import annotations

import gzip
import importlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from orchestrator.corpus.manifests.manifest import load_manifest
from tests.cli_project import ROOT
from tests.test_corpus_formats import FORMATS, ROWS, folder
from tests.test_corpus_manifest import FORMATS as SHAPES
from tests.test_corpus_manifest import waves

Read = Callable[[Path], dict[int, str]]
Shape = Callable[[int, np.ndarray, Path], dict[str, Any]]
__all__ = ["folder", "waves"]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Read:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    monkeypatch.delitem(sys.modules, "read_manifest", raising=False)
    return cast(Read, importlib.import_module("read_manifest").texts)


def expected(path: Path) -> dict[int, str]:
    return {each.line: each.text for each in load_manifest(path).utterances}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("compressed", [False, True])
def test_every_format(folder: Path, name: str, compressed: bool, read: Read) -> None:
    content = b"\xef\xbb\xbf\r\n" + FORMATS[name]().encode().replace(b"\n", b"\r\n")
    path = folder / "set.csv"
    path.write_bytes(gzip.compress(content) if compressed else content)
    assert read(path) == expected(path)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_every_shape_of_a_record(
    tmp_path: Path, waves: list[np.ndarray], shape: Shape, read: Read
) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text(
        "".join(json.dumps(shape(index, wave, tmp_path)) + "\n" for index, wave in enumerate(waves))
    )
    assert read(path) == expected(path)


def test_quotes_and_rows_over_several_lines(folder: Path, read: Read) -> None:
    path = folder / "a.csv"
    path.write_text(
        'path,sentence\none.wav,"alpha, ""bravo"""\n\ntwo.wav,"char\nlie"\nthree.wav,echo\n'
    )
    assert {line: " ".join(text.split()) for line, text in read(path).items()} == expected(path)
    path.write_text(
        'path\tsentence\none.wav\t"alpha\ntwo.wav\tchar ""lie""\nthree.wav\techo, "fox"\n'
    )
    assert read(path) == expected(path)


@pytest.mark.parametrize(
    "form",
    ["{0}.wav {1}, please", "{0}.wav: {1}, please: now", "{0}.wav,{1} | please", "{0} {1}; go"],
)
def test_separators_inside_of_texts(folder: Path, form: str, read: Read) -> None:
    path = folder / "list.txt"
    path.write_text("".join(form.format(*row) + "\n" for row in ROWS))
    assert read(path) == expected(path)


def test_it_knows_nothing_of_this_project() -> None:
    code = (ROOT / "docs" / "read_manifest.py").read_text()
    assert not re.search(r"^\s*(import|from) orchestrator", code, re.M) and len(ROWS) == 3
