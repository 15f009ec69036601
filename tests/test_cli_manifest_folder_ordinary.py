"""`manifest from-folder` on ordinary recordings and texts, which the rules for published corpora leave as they are."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from orchestrator.corpus.importing.no_speech import what_is_no_speech
from orchestrator.corpus.label_files.label_file import kind_of_labels
from orchestrator.corpus.label_files.times_in_text import times_or_turns
from tests.test_cli_manifest_folder_corpora import made, put, refused, tones


def texts_beside(folder: Path, texts: dict[str, str], seconds: float = 3.0) -> Path:
    for name, text in texts.items():
        put(folder / f"{name}.txt", text)
    tones(folder, *(f"{name}.wav" for name in texts), seconds=seconds)
    return folder


def notes(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()[1:]


@pytest.mark.parametrize(
    "texts",
    [
        {"A380": "A380 takes off", "KLM-1023": "KLM-1023 climb", "x": "so it is"},
        {f"bb_{n}": "bb_1 and bb_2 are files" for n in range(1, 5)},
        {"0612345678": "0612345678 is my number"},
    ],
)
def test_a_name_that_few_texts_begin_with_may_be_said(
    tmp_path: Path, texts: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Names of planes and rooms, and telephone numbers, were taken out of the texts of files named by them."""
    assert made(texts_beside(tmp_path / "d", texts)) == texts
    (note,) = notes(capsys)
    assert "the text begins or ends with the name of its recording, such as " in note
    assert note.endswith("and the name is learnt as a word")


def test_a_name_before_every_text_is_no_word(tmp_path: Path) -> None:
    texts = {f"utt{n:04}": f"utt{n:04} yes it is" for n in range(5)}
    folder = texts_beside(tmp_path / "d", texts)
    assert made(folder) == dict.fromkeys(texts, "yes it is")


def test_signs_in_korean_texts_without_the_notation_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`디즈니+` and a choice of two forms were changed."""
    texts = {
        "a": "디즈니+ 봤어",
        "b": "이 (가)/(이) 조사",
        "c": "n/ 그래",
        "d": "(he)/(she) b/ and/or",
    }
    texts |= {f"e{n}": "오늘은 24/7 영업" for n in range(8)}
    assert made(texts_beside(tmp_path / "d", texts)) == texts
    assert notes(capsys)[0] == (
        "of 3 recordings the text has what may be marks of noise and hesitation, such as '디즈니+ 봤어', and they are "
        "learnt as words"
    )


def test_korean_marks_alone_are_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = {"a": "b/ 그래 (2차)/(이차)", "b": "뭐+ n/", "c": "아/ n/"}
    folder = texts_beside(tmp_path / "d", texts | {"d": "네"})
    assert made(folder) == {"a": "그래 이차", "b": "뭐", "c": "아", "d": "네"}


@pytest.mark.parametrize("word", ["aB1/", "1234567890", "1:", "x.jpg", "你好12", "[1.5, ", "A: "])
def test_long_lines_are_looked_through_at_once(word: str) -> None:
    """A line of 20,000 letters and digits without a space took minutes."""
    begun = time.process_time()
    for reads in (times_or_turns, kind_of_labels, what_is_no_speech):
        reads(word * (20_000 // len(word)))
    assert time.process_time() - begun < 5


def test_a_list_of_prices_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It was refused as a list of times; one of lengths or times still is."""
    folder = tmp_path / "d"
    tones(folder, "a.wav", "b.wav", "c.wav", seconds=3.0)
    put(folder / "transcripts.txt", "a 3.50\nb 12.99\nc 1.5 0.75\n")
    assert made(folder) == {"a": "3.50", "b": "12.99", "c": "1.5 0.75"}
    assert notes(capsys) == [
        "of 3 recordings the text is nothing but numbers, such as '3.50', which are taken for what is said"
    ]
    for text in ("a 3.0\nb 2.9\nc 3.01\n", "a 0.5 1.5\nb 1.0 3.1\nc 0.0 0.75\n"):
        put(folder / "transcripts.txt", text)
        assert "transcripts.txt has numbers in the place of texts" in refused(folder, capsys)


@pytest.mark.parametrize(
    "text",
    [
        "1 2 buckle my shoe\n3 4 knock at the door\n5 6 pick up sticks",
        "2 4 eggs\n5 6 apples\n7 8 pears",
        "10 20 thirty\n30 40 fifty\n50 60 seventy",
        "1990 2000 the nineties\n2000 2010 the noughties\n2010 2020 the tens",
        "500 1500 grams\n2000 9000 more\n9000 12000 most",
    ],
)
def test_two_numbers_before_each_line_may_be_said(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A nursery rhyme was refused as a table of times."""
    rows = "500 1500 hello\n1600 2500 yes\n2700 3000 no"
    folder = texts_beside(tmp_path / "d", {"a": text})
    if text.startswith("500"):  # milliseconds, in a recording that is longer
        assert "is a row of a table with times" in refused(
            texts_beside(tmp_path / "e", {"a": text}, seconds=12.0), capsys
        )
        text = put(folder / "a.txt", text.replace("12000", "912000")).read_text()
    assert made(folder) == {"a": " ".join(text.split())}
    assert notes(capsys) == [
        "of 1 recordings every line of the text begins with two numbers, which may be times, and they are learnt as "
        "words"
    ]
    put(folder / "a.txt", rows)
    assert "is a row of a table with times" in refused(folder, capsys)
