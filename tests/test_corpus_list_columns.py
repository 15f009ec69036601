"""Lists of three columns between | without a first row: which is the speaker and which the text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from orchestrator.corpus.manifests.manifest import load_manifest
from tests.test_corpus_formats import read, refusal

RATE = 16_000
NAMES = ("one", "two", "three")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(NAMES):
        record(tmp_path / f"{name}.wav", number)
    return tmp_path


def record(path: Path, number: int) -> None:
    soundfile.write(path, np.random.default_rng(number).normal(0, 0.1, RATE // 2), RATE)


@pytest.mark.parametrize(
    ("rows", "speakers", "texts"),
    [
        ("spk0|yes spk1|no spk0|stop", ["spk0", "spk1", "spk0"], ["yes", "no", "stop"]),
        ("p225|yes p226|no p227|yes", ["p225", "p226", "p227"], ["yes", "no", "yes"]),
        ("84|yes 85|no 84|no", ["84", "85", "84"], ["yes", "no", "no"]),
        ("yes|spk_0 no|spk_1 no|spk_0", ["spk_0", "spk_1", "spk_0"], ["yes", "no", "no"]),
        ("yes|84 no|85 no|84", ["84", "85", "84"], ["yes", "no", "no"]),
        ("|yes s1|no s2|stop", ["", "s1", "s2"], ["yes", "no", "stop"]),
        ("Yes.|yes No.|no Dr.|doctor", ["", "", ""], ["Yes.", "No.", "Dr."]),
        ("yes|yes no|no stop|stop", ["", "", ""], ["yes", "no", "stop"]),
        ("no|no no|no no|no", ["", "", ""], ["no", "no", "no"]),
    ],
)
def test_a_speaker_beside_texts_of_one_word_is_known_by_its_digits(
    folder: Path, rows: str, speakers: list[str], texts: list[str]
) -> None:
    named = zip(NAMES, rows.split(" "), strict=True)
    (folder / "set.txt").write_text("".join(f"{name}.wav|{row}\n" for name, row in named))
    found = load_manifest(folder / "set.txt").utterances
    assert [each.speaker for each in found] == speakers
    assert [each.text for each in found] == texts


@pytest.mark.parametrize("columns", ["path|duration|text", "path|text|duration"])
def test_lengths_beside_texts_are_no_speakers(folder: Path, columns: str) -> None:
    """Each recording had a speaker of its own, named 0.50, by whom bounds are drawn."""
    order = [columns.split("|").index(name) for name in ("path", "duration", "text")]
    cells = [(f"{name}.wav", "0.50", f"say {name}") for name in NAMES]
    rows = ["|".join(row[order.index(place)] for place in range(3)) for row in cells]
    listed = "".join(f"{row}\n" for row in rows)
    (folder / "set.txt").write_text(listed)
    assert refusal(folder / "set.txt") == (
        f"{folder}/set.txt is a list with numbers beside the texts, as in line 1 '0.50', which name no speaker; write "
        "a first line that names the columns, such as path|duration|text or path|text|duration"
    )
    (folder / "set.txt").write_text(f"{columns}\n{listed}")
    found = load_manifest(folder / "set.txt").utterances
    assert [(each.text, each.speaker) for each in found] == [(f"say {name}", "") for name in NAMES]


@pytest.mark.parametrize("form", ["path|{}|text", "path|text|{}"])
@pytest.mark.parametrize(
    ("words", "column", "what"),
    [
        ("en en en", "language", "languages"),
        ("ZH pt_br ZH", "language", "languages"),
        ("English german English", "language", "languages"),
        ("F M F", "gender", "genders or ages"),
        ("female male female", "gender", "genders or ages"),
        ("train dev test", "split", "the parts of a corpus"),
    ],
)
def test_languages_genders_and_parts_beside_texts_are_no_speakers(
    folder: Path, form: str, words: str, column: str, what: str
) -> None:
    """All recordings of a language were said by one person of that name."""
    columns, told = form.format(column), words.split()
    order = [columns.split("|").index(name) for name in ("path", column, "text")]
    cells = [(f"{name}.wav", word, f"say {name}") for name, word in zip(NAMES, told, strict=True)]
    rows = ["|".join(row[order.index(place)] for place in range(3)) for row in cells]
    listed = "".join(f"{row}\n" for row in rows)
    (folder / "set.txt").write_text(listed)
    assert refusal(folder / "set.txt") == (
        f"{folder}/set.txt is a list with {what} beside the texts, as in line 1 {told[0]!r}, which name no speaker; "
        f"write a first line that names the columns, such as path|{column}|text or path|text|{column}, or "
        "path|speaker|text where they are people"
    )
    (folder / "set.txt").write_text(f"{columns}\n{listed}")
    found = load_manifest(folder / "set.txt").utterances
    assert [(each.text, each.speaker) for each in found] == [(f"say {name}", "") for name in NAMES]


@pytest.mark.parametrize(("cell", "what"), [("en", "languages"), ("0.50", "numbers")])
def test_an_empty_cell_makes_no_speakers_of_the_others(folder: Path, cell: str, what: str) -> None:
    rows = (f"one.wav|say one|{cell}", "two.wav|say two|", f"three.wav|say three|{cell}")
    (folder / "set.txt").write_text("".join(f"{row}\n" for row in rows))
    assert f"is a list with {what} beside the texts" in refusal(folder / "set.txt")


@pytest.mark.parametrize(
    "rows", ["ann|yes bob|no ann|stop", "7|seven 8|eight 7|seven", "s1|a1 s2|b2 s1|c3"]
)
def test_what_may_be_a_speaker_or_a_text_is_refused(folder: Path, rows: str) -> None:
    named = list(zip(NAMES, rows.split(" "), strict=True))
    listed = "".join(f"{name}.wav|{row}\n" for name, row in named)
    (folder / "set.txt").write_text(listed)
    assert refusal(folder / "set.txt") == (
        f"{folder}/set.txt is a list of which nothing tells speakers from texts, as in line 1 'one.wav|{named[0][1]}'; "
        "write a first line that names the columns, such as path|speaker|text, path|text|speaker or "
        "path|text|normalized_text"
    )
    (folder / "set.txt").write_text(f"path|speaker|text\n{listed}")
    assert read(folder / "set.txt") == [row.split("|")[1] for _, row in named]


def test_speakers_of_two_names_are_no_texts(folder: Path) -> None:
    said = {"one": "Ann Smith", "two": "Bob Lee", "three": "Ann Smith"}
    rows = [
        (f"{name}{n}", who, f"say it {name} {n}") for name, who in said.items() for n in range(3)
    ]
    for number, (name, _, _) in enumerate(rows):
        record(folder / f"{name}.wav", number)
    (folder / "set.txt").write_text("".join(f"{a}.wav|{b}|{c}\n" for a, b, c in rows))
    found = load_manifest(folder / "set.txt").utterances
    assert [(each.speaker, each.text) for each in found] == [row[1:] for row in rows]
    phonemes = "one.wav|hello there|hɛˈloʊ ðɛɚ\ntwo.wav|good bye|ɡʊd baɪ\n"
    (folder / "set.txt").write_text(phonemes)
    assert read(folder / "set.txt") == ["hello there", "good bye"], "as before"
