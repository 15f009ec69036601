"""Label files whose rows are single words with their times are refused, as words are no utterances;
keywords that were recorded one by one are read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from orchestrator.corpus.label_files.label_file import kind_of_labels, segments_of
from orchestrator.corpus.label_files.whisper_json import parts_of_whisper
from orchestrator.corpus.manifest_errors import UnusableError
from tests.cli_project import orchestrate
from tests.test_cli_manifest import tone

WORDS = "she had your dark suit in greasy wash water".split()
Times = Sequence[tuple[float, float]]


def times(length: float, gap: float, count: int = 9) -> Times:
    return [(n * (length + gap), n * (length + gap) + length) for n in range(count)]


def stamp(seconds: float) -> str:
    return f"00:00:{seconds:06.3f}"


def subrip(words: Sequence[str], spans: Times) -> str:
    rows = zip(words, spans, strict=False)
    return "".join(f"{stamp(a)} --> {stamp(b)}\n{word}\n\n" for word, (a, b) in rows)


def grid(*tiers: tuple[str, Sequence[str], Times]) -> str:
    head = ['File type = "ooTextFile"\n"TextGrid"\n0\n9\n<exists>', len(tiers)]
    for name, words, spans in tiers:
        rows = list(zip(words, spans, strict=False))
        head += ['"IntervalTier"', f'"{name}"', 0, 9, len(rows)]
        head += [f'{a}\n{b}\n"{word}"' for word, (a, b) in rows]
    return "\n".join(map(str, head))


def chunks(words: Sequence[str], spans: Times) -> str:
    rows = zip(words, spans, strict=False)
    return json.dumps(
        {"chunks": [{"text": f" {word}", "timestamp": [a, b]} for word, (a, b) in rows]}
    )


def stm(words: Sequence[str], spans: Times) -> str:
    rows = zip(words, spans, strict=False)
    return "".join(f"a 1 anna {a:.2f} {b:.2f} <o> {word}\n" for word, (a, b) in rows)


CURE = (
    "from 'she' at 0 s on, and nothing says where a sentence ends; write it again with a part for each sentence "
    "(transformers: return_timestamps=True, whisper.cpp: without -ml 1), or write what is said as text"
)
FORMS: dict[str, tuple[str, Callable[[Sequence[str], Times], str]]] = {
    "a.srt": ("SubRip", subrip),
    "a.json": ("JSON", chunks),
    "a.txt": (
        "Audacity labels",
        lambda words, spans: "".join(
            f"{a:.6f}\t{b:.6f}\t{word}\n" for word, (a, b) in zip(words, spans, strict=False)
        ),
    ),
}


def heard(form: str, words: Sequence[str], spans: Times) -> int:
    """How many parts are read."""
    text = FORMS[form][1](words, spans)
    if form == "a.json":
        return len(parts_of_whisper(text) or ())
    return len(segments_of(text, kind_of_labels(text)))


@pytest.mark.parametrize("form", FORMS)
def test_words_that_follow_one_another_are_refused(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tone(tmp_path / "d" / "a.wav", 4.0)
    kind, write = FORMS[form]
    spans = [*times(0.3, 0.02, 5), *((2 + a, 2 + b) for a, b in times(0.4, 0.05, 4))]
    (tmp_path / "d" / form).write_text(write(WORDS, spans))
    assert orchestrate("manifest", "from-folder", tmp_path / "d", tmp_path / "m.jsonl") == 2
    told = f"{tmp_path / 'd' / form} is {kind} whose 9 parts are single words, {CURE}"
    assert told in capsys.readouterr().err
    assert not (tmp_path / "m.jsonl").exists()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("words", "spans"),
    [
        (WORDS, times(0.4, 0.5)),  # keywords with pauses
        (WORDS, times(1.0, 0.0)),  # keywords, cut without pauses
        (WORDS[:4], times(0.3, 0.0, 4)),  # few
        (["go on", "stop it", *WORDS[:7]], times(0.4, 0.0)),  # more than words
    ],
    ids=["pauses", "long", "few", "phrases"],
)
def test_keywords_are_utterances(form: str, words: Sequence[str], spans: Times) -> None:
    assert heard(form, words, spans) == len(spans)


def test_words_of_one_of_the_recordings_of_a_list_are_seen() -> None:
    text = stm(WORDS, times(0.3, 0.0)) + "b 1 bert 0.00 2.00 <o> a whole sentence\n"
    with pytest.raises(UnusableError, match="is STM whose 9 parts are single words"):
        segments_of(text, "STM")


@pytest.mark.parametrize(
    "tiers",
    [
        [("words", WORDS[:3], times(0.3, 0.0, 3))],
        [
            ("anna - words", WORDS[:3], times(0.5, 0.0, 3)),
            ("anna - phones", "SIY", times(0.1, 0, 3)),
        ],
        [("phones", "S IY HH".split(), times(0.1, 0.5, 3))],
    ],
)
def test_tiers_of_an_aligner_are_refused(tiers: list[tuple[str, Sequence[str], Times]]) -> None:
    with pytest.raises(UnusableError) as caught:
        segments_of(grid(*tiers), "Praat TextGrid")
    names = ", ".join(repr(name) for name, *_ in tiers)
    assert str(caught.value) == (
        f"is Praat TextGrid with words or sounds alone, {names}, and nothing says where a sentence ends; "
        "save a tier of sentences, or write what is said as text"
    )


@pytest.mark.parametrize(
    "tier",
    [
        ("words", WORDS[:3], times(0.4, 0.5, 3)),
        ("word", ["stop"], times(0.4, 0.0, 1)),
        ("words", ["she had", "your dark suit"], times(0.4, 0.0, 2)),
        ("said", WORDS[:3], times(0.3, 0.0, 3)),
        ("phones", ["they rang twice"], times(1.0, 0.0, 1)),
    ],
)
def test_a_tier_of_that_name_with_utterances_is_read(
    tier: tuple[str, Sequence[str], Times],
) -> None:
    assert len(segments_of(grid(tier), "Praat TextGrid")) == len(tier[1])


def test_two_tiers_of_one_name_are_two() -> None:
    tier = ("said", ["hello there"], times(1.0, 0.0, 1))
    with pytest.raises(UnusableError, match="several tiers, 'said', 'said'; save the one with"):
        segments_of(grid(tier, tier), "Praat TextGrid")
