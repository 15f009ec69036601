"""docs/read_manifest.py, which knows nothing of this project, reads the same texts at the same
lines, and finds those of a set by them or says that it cannot.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
import pytest

from orchestrator.corpus.manifests.manifest import load_manifest
from tests.cli_project import ROOT
from tests.test_corpus_formats import FORMATS, ROWS, folder
from tests.test_corpus_manifest import FORMATS as SHAPES
from tests.test_corpus_manifest import waves

Texts = list[tuple[int, str]]
Read = Callable[[Path], Texts]
Shape = Callable[[int, np.ndarray, Path], dict[str, Any]]
__all__ = ["folder", "waves"]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    monkeypatch.delitem(sys.modules, "read_manifest", raising=False)
    return importlib.import_module("read_manifest")


@pytest.fixture
def read(script: ModuleType) -> Read:
    return cast(Read, script.texts)


def expected(path: Path) -> Texts:
    return [(each.line, each.text) for each in load_manifest(path).utterances]


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
    assert read(path) == expected(path)
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


@pytest.mark.parametrize(
    "form",
    [
        "{0}:{1}",
        "{0}.wav :: {1}",
        '( {0} "{1}" )',
        "{1} ({0})",
        "<s> {1} </s> ({0})",
        "; a note\n# another\n{0}: {1}",
    ],
)
def test_lists_of_toolkits(folder: Path, form: str, read: Read) -> None:
    path = folder / "list.txt"
    path.write_text("".join(form.format(*row) + "\n" for row in ROWS))
    assert read(path) == expected(path)
    path.write_text(f"# a note\n\n{path.read_text()}")
    assert read(path) == expected(path)


def test_records_on_one_line_and_records_that_are_skipped(folder: Path, read: Read) -> None:
    path = folder / "set.json"
    said = [{"audio": f"{name}.wav", "text": text} for name, text, _ in ROWS]
    by_id = {str(number): record for number, record in enumerate(said)}
    by_name = {f"{name}.wav": text for name, text, _ in ROWS}
    for value in (said, {"data": said}, by_id, by_name):
        path.write_text(json.dumps(value))
        assert read(path) == expected(path) == [(1, text) for _, text, _ in ROWS]
    said[1]["_skipme"] = "1"
    path.write_text("\n".join(map(json.dumps, said)))
    assert read(path) == expected(path) and len(read(path)) == 2


def test_the_texts_of_a_set_are_found_or_the_program_ends(folder: Path, script: ModuleType) -> None:
    path = folder / "set.json"
    path.write_text(json.dumps([{"audio": f"{name}.wav", "text": text} for name, text, _ in ROWS]))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    kept = {"sha256": sha256, "lines": [1, 1, 1]}
    assert script.references(path, kept) == [text for _, text, _ in ROWS]
    with pytest.raises(SystemExit, match=r"does not say which texts of .*set\.json:1 are meant"):
        script.references(path, kept | {"lines": [1, 1]})
    path.write_text(path.read_text() + "\n")
    with pytest.raises(SystemExit, match="not the file that the study was measured with"):
        script.references(path, kept)
    with pytest.raises(SystemExit, match=r"there is no file .*moved, with which the study was"):
        script.references(path.with_name("moved"), kept)
    path.write_text("".join(f"{name}.wav|{text}\n" for name, text, _ in ROWS))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert script.references(path, {"sha256": sha256, "lines": [1, 3]}) == [
        ROWS[0][1],
        ROWS[2][1],
    ]


def test_it_knows_nothing_of_this_project() -> None:
    code = (ROOT / "docs" / "read_manifest.py").read_text()
    assert not re.search(r"^\s*(import|from) orchestrator", code, re.M) and len(ROWS) == 3
