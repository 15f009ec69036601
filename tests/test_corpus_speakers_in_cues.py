"""Names and dashes before the words of cues: what is no word is taken out and said, what may be one
stays.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.corpus.label_files.segments import Segment
from orchestrator.corpus.label_files.speakers_in_cues import begin_with_names, with_speakers
from orchestrator.corpus.manifests.manifest import load_manifest
from tests.cli_project import orchestrate
from tests.test_cli_manifest import tone
from tests.test_corpus_subtitles import cues


def told(*texts: str) -> list[tuple[str, str]]:
    found = with_speakers([Segment(n, n, n + 1, text) for n, text in enumerate(texts)])
    return [(cue.speaker, cue.text) for cue in found]


def test_names_in_capitals_that_return_are_speakers() -> None:
    assert told("MAN: Well, hello.", "and on", "WOMAN: Yes.", "no", "MAN (laughs):\nNote: you") == [
        ("MAN", "Well, hello."),
        ("", "and on"),
        ("WOMAN", "Yes."),
        ("", "no"),
        ("MAN", "Note: you"),
    ]
    two = told("MAN: Hi.\nWOMAN: Yes.", "WOMAN: no", "and on\nMAN: no")
    assert two == [("", "Hi. Yes."), ("WOMAN", "no"), ("", "and on no")]


def test_names_that_begin_half_of_the_cues_are_speakers() -> None:
    texts = ["Anna: hello", "Dr. Smith: hi"] * 3 + ["and so on", "Note: this is all"]
    assert told(*texts)[:2] == [("Anna", "hello"), ("Dr. Smith", "hi")]
    assert told(*texts)[7] == ("", "Note: this is all")


def test_names_that_begin_nearly_every_cue_are_speakers() -> None:
    """Of meetings, as Zoom writes them: also of who speaks once."""
    assert told("Anna Smith: Hi.", "Bert: Good morning.", "Anna Smith: So.") == [
        ("Anna Smith", "Hi."),
        ("Bert", "Good morning."),
        ("Anna Smith", "So."),
    ]
    assert told("Anna : salut", "Bert\u00a0: oui", "Anna : bien")[:2] == [
        ("Anna", "salut"),
        ("Bert", "oui"),
    ]


@pytest.mark.parametrize(
    "texts",
    [
        ["MAN: hello", "and on", "WOMAN: hi"],  # twice
        ["ONE MORE THING: GO", "TWO: STAY", "THREE: LEAVE"],  # all in capitals
        ["Anna: hello"] * 3 + ["and on"] * 5,
        ["Anna: hello", "Bert: hi", "Carl: no"],
        ["Anna: hello", "Anna: hi"],
        ["note: one", "note: two", "note: three"],
        ["at 10:30", "5: five", "-5 degrees", "well - no"],
        ["Matthew 5:3 Blessed are the poor", "Matthew 5:4 Blessed are those"] * 2,
        ["At 10:30 we left", "At 10:45 it rained", "At 10:50 we came", "and went"],
        ["AT 10:30 we left", "AT 10:45 it rained", "AT 10:50 we came", "and went"],
        ["USA: the land", "NASA: we have a problem", "FBI: open up"],  # none returns
        ["WARNING: keep back", "WARNING: it is hot", "NOTE: open the lid", "He left."],
        ["Note: use gloves", "Note: it is hot"] * 2 + ["Mix.", "Serve."],
        ["Question: what is one", "Answer: one", "Question: what is two", "Answer: two"],
        ["Step: add flour", "Step two: add eggs", "Step: mix"],
        ["Achtung: Zug fährt ein", "Achtung: Türen schließen", "Achtung: es geht los", "Ja."],
        ["First: mix", "Second: stir", "First: again"],
        ["Question : une", "Réponse : deux", "Question : trois"],
    ],
)
def test_what_may_be_said_stays(texts: list[str]) -> None:
    assert told(*texts) == [("", text) for text in texts]


def test_where_cues_tell_their_speakers_what_begins_them_is_said() -> None:
    named = [Segment(n, n, n + 1, "Tower: roger", speaker="Anna") for n in range(4)]
    assert with_speakers(named) == named
    assert told("FIRST MAN: Hi.", "SECOND MAN: No.", "FIRST MAN: Yes.")[0] == ("FIRST MAN", "Hi.")


def test_dashes_of_two_people_are_no_words() -> None:
    assert told("- Hi.\n- Hello.", "-Hi,\nyou", "–Oui.") == [
        ("", "Hi. Hello."),
        ("", "Hi, you"),
        ("", "Oui."),
    ]
    assert told(*["- ANNA: hi\n- BERT: no"] * 3)[0] == ("", "hi no")
    assert told(*["- ANNA: hi"] * 3)[0] == ("ANNA", "hi")
    assert begin_with_names(["MAN: hello", "Man: hello"]) == [True, False]


def test_what_was_done_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "d"
    tone(folder / "a.wav", 9.0)
    texts = ("- Hi.\n- Hello.", "[MUSIC]", "♪ la la ♪", "♪")
    named = ("MAN: Well.", "MAN: Yes.", "MAN: No.")
    (folder / "a.vtt").write_text(cues(*texts, *named))
    assert orchestrate("manifest", "from-folder", folder, tmp_path / "m.jsonl") == 0
    assert {each.text for each in load_manifest(tmp_path / "m.jsonl").utterances} == {
        *("Hi. Hello.", "[MUSIC]", "la la", "Well.", "Yes.", "No.")
    }
    assert capsys.readouterr().out.splitlines()[1:] == [
        "of 3 parts the text began with who speaks, such as 'MAN:', which is no word",
        "of 1 parts a dash before the words is left out",
        "of 1 parts the text has something in brackets, such as '[MUSIC]', and it is learnt as words; --brackets strip "
        "or drop leaves it out",
    ]
    (folder / "a.vtt").write_text(cues(*texts, *named[:2]))
    options = ("--brackets", "strip")
    assert orchestrate("manifest", "from-folder", folder, tmp_path / "n.jsonl", *options) == 0
    assert capsys.readouterr().out.splitlines()[2:] == [
        "of 1 parts a dash before the words is left out",
        f"of 2 parts the words begin with what may be who speaks, 'MAN: Well.' in {folder}/a.vtt:16, and it is learnt "
        "as words; in WebVTT a speaker is <v NAME>",
    ]


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("a.vtt", "00:0{0}.000 --> 00:0{0}.900\n{1}\n"),
        ("a.txt", "{0}.0\t{0}.9\t{1}"),
    ],
)
def test_a_name_that_returns_and_is_left_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, row: str
) -> None:
    """It was learnt as a word in silence, unless it stood in capitals."""
    folder = tmp_path / "d"
    tone(folder / "a.wav", 6.0)
    said = ("Anna: hi there", "Bob: yes", "Anna: fine", "so we go on", "Tip: wait", "Tip: go")
    rows = [row.format(place, text) for place, text in enumerate(said)]
    head = "WEBVTT\n\n" if name == "a.vtt" else ""
    (folder / name).write_text(head + "\n".join(rows) + "\n")
    assert orchestrate("manifest", "from-folder", folder, tmp_path / "m.jsonl") == 0
    out = capsys.readouterr().out
    assert "of 2 parts the words begin with what may be who speaks, 'Anna: hi there' in " in out
