"""Traces of other programs in texts, such as HTML entities, soft hyphens or a wrong encoding: found
where the normaliser makes other words of them, and nowhere else.
"""

from __future__ import annotations

import json
from pathlib import Path

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.scoring.artifacts import find_artifacts, without_artifacts
from orchestrator.scoring.normalizers import normalizer
from tests.cli_project import make_project, orchestrate

ENGLISH = normalizer("whisper-en")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("it\u00b4s here", "it's here"),
        ("don\u2032t", "don't"),
        ("tur\u00adning le\u200bft", "turning left"),
        ("\ufeffturn\u200e left", "turn left"),
        ("don&#39;t go", "don't go"),
        ("turn left\\nnow", "turn left now"),
        ("caf&eacute; now", "caf\u00e9 now"),
        ("don\u00e2\u20ac\u2122t", "don\u2019t"),
        ("caf\u00c3\u00a9 noir", "caf\u00e9 noir"),
        ("don\u00e2\x80\x99t", "don\u2019t"),
        ("it\x92s here", "it\u2019s here"),
        ("caf\u00e9\x92s", "caf\u00e9\u2019s"),
        ("tu\x00rn \x07left", "turn left"),
        ("don''t", "don't"),
        ("turn left\\Nnow", "turn left now"),
        ("turn left\\hnow", "turn left now"),
        ("don\\u2019t", "don\u2019t"),
        ("caf\\xc3\\xa9 noir", "caf\u00e9 noir"),
    ],
)
def test_what_counts_as_an_error_is_found(text: str, meant: str) -> None:
    assert without_artifacts(text) == meant
    assert jiwer.wer(ENGLISH(meant), ENGLISH(text)) > 0, "whatever is heard"
    found = find_artifacts(["turn left", text], ENGLISH)
    assert found.rows == (1,) and found.traces[0][1] == 1


@pytest.mark.parametrize(
    "text",
    [
        *(
            "it\u2019s here",
            "na\u00efve caf\u00e9s",
            "\ufb01nal \ufb02ight",
            "hello \U0001f600 there",
        ),
        *(
            "\uff21\uff22\uff23",
            "ma\u00f1ana",
            "\u00e5\u00e4\u00f6 \u00c4rger",
            "AT&T; more",
            "rock & roll",
        ),
        *("`quoted`", "\u05e9\u05dc\u05d5\u05dd", "5\u2032 7", "stra\u00dfe", "\u201equoted\u201c"),
    ],
)
def test_what_costs_nothing_is_left_alone(text: str) -> None:
    assert find_artifacts([text], ENGLISH).rows == ()


@pytest.mark.parametrize(
    "text",
    [
        *(
            "\u201eSo ein Spa\u00df\u201c, sagt er",
            "der Fu\u00df\u00a0ist kalt",
            "im MEN\u00dc\u2026",
        ),
        *(
            "\u00ab\u00a0du caf\u00e9\u00a0\u00bb",
            "voil\u00e0\u00a0\u00bb",
            "d\u00e9j\u00e0\u00a0\u2014 dit-il",
        ),
        *(
            "\u201cqu\u00e9\u2026\u201d",
            "\u00abs\u00ed\u2026\u00bb",
            "voc\u00ea\u2026\u201d",
            "jos\u00e9\u201d\u2026",
        ),
        *(
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
            "\u0915\u094d\u200d\u0937",
            "\u05e6\u05d4''\u05dc",
        ),
    ],
)
def test_the_spelling_of_other_languages_is_no_trace(text: str) -> None:
    assert without_artifacts(text) == text
    assert find_artifacts([text], normalizer("none")).rows == ()


def test_an_end_of_a_word_that_was_read_as_latin_is_a_trace() -> None:
    for text in (
        "voil\u00e0",
        "S\u00d3",
        "caf\u00e9 \u2013 bar",
        "\u0414\u0430",
        "\u05e9\u05dc\u05d5\u05dd",
    ):
        garbled = text.encode().decode("latin-1")
        assert without_artifacts(garbled) == text


def test_a_backslash_before_an_apostrophe_counts_where_the_normaliser_parts_words_at_it() -> None:
    assert find_artifacts(["it\\'s"], normalizer("basic")).rows == (0,)
    assert find_artifacts(["it\\'s"], ENGLISH).rows == ()


@given(st.text("ab &;#n\\u0'`\t\x07\u00b4"))
def test_a_text_with_a_trace_is_found_whatever_it_begins_with(text: str) -> None:
    rows = find_artifacts([text], normalizer("none")).rows
    same = normalizer("none")(text) == normalizer("none")(without_artifacts(text))
    assert rows == (() if same else (0,))


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    find_artifacts([text], normalizer("basic"))
    find_artifacts([text.encode("utf-8", "replace").decode("latin-1")], normalizer("none"))


def test_they_are_said_with_count_line_and_example(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, path = make_project(tmp_path), tmp_path / "data" / "domain.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[1]["text"] = "now it\u00b4s here"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = (
        f"1 of {len(rows)} texts of {{}} hold traces of the programs that wrote them ('\\xb4' 1), e.g. {path}:2, "
        "where 'it\u00b4s' is the words 'it s' and not 'it is': they count as errors. Replace them"
    )
    name = "text-artifacts"
    orchestrate("validate", spec)
    said = " ".join(capsys.readouterr().out.split())
    assert f"warn ({name}): {words.format('domain')}" in said
    assert orchestrate("diagnose", path) == 0
    assert words.format(path) in " ".join(capsys.readouterr().out.split())
