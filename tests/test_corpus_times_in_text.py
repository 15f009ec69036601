"""Times and speakers in a `.txt` beside its recording are never learnt as words, and what people say
is never taken for them.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from orchestrator.corpus.label_files.label_file import (
    kind_of_labels,
    segments_of,
    sentence_of_timit,
)
from orchestrator.corpus.label_files.times_in_text import kind_of_json, times_or_turns
from orchestrator.corpus.manifest_errors import UnusableError
from tests.cli_project import orchestrate
from tests.test_cli_manifest import tone

EXPORT = "export it as SubRip, WebVTT or Praat TextGrid"


@pytest.mark.parametrize(
    ("text", "line", "shown"),
    [
        ("Speaker 1  0:00\nHello there.\n\nSpeaker 2  0:05\nHi.\n", 1, "Speaker 1  0:00"),
        ("Anna Smith  0:00\nHello there.\n", 1, "Anna Smith  0:00"),
        ("Anna 12:04\nHello.\n\nBert 12:09\nHi\nyou.\n", 1, "Anna 12:04"),
        ("0:00\nhello\n0:05\ngood bye\n", 1, "0:00"),
        ("0:00\r\nhello\r\n", 1, "0:00"),
        ("My talk\n0:12\nhello\n0:19\ngood bye\n", 2, "0:12"),
        ("00:00:00 hello", 1, "00:00:00 hello"),
        ("\n00:01:12 hello", 2, "00:01:12 hello"),
        ("Transcript\n00:00:05 Speaker 1\nhello there", 2, "00:00:05 Speaker 1"),
        ("0:05|Anna|hello\n0:09|Bert|hi", 1, "0:05|Anna|hello"),
        ("(00:01) hello\nthere", 1, "(00:01) hello"),
        ("12:01 hello\n12:09 there", 1, "12:01 hello"),
        (
            "[00:00:00.000 - 00:00:02.500] Anna: hello",
            1,
            "[00:00:00.000 - 00:00:02.500] Anna: hello",
        ),
        ("[10:00 - 10:04] hello", 1, "[10:00 - 10:04] hello"),
        ("[0:05 bis 0:07] hallo", 1, "[0:05 bis 0:07] hallo"),
        ("(10:00 à 10:04) bonjour", 1, "(10:00 à 10:04) bonjour"),
        ("Anna (00:03): hello", 1, "Anna (00:03): hello"),
        ("[0.00s -> 2.50s] hello", 1, "[0.00s -> 2.50s] hello"),
        ("[006.2901-008.2357]: hello", 1, "[006.2901-008.2357]: hello"),
        ("0:00:00.500,0:00:02.310\nhello", 1, "0:00:00.500,0:00:02.310"),
        ("Anna\n0:00 - 0:05\nhello", 2, "0:00 - 0:05"),
        ("hello [00:03] there [00:05] you", 1, "hello [00:03] there [00:05] you"),
    ],
)
def test_a_time_beside_what_is_said_is_refused_with_its_line(
    text: str, line: int, shown: str
) -> None:
    why = (
        f"has a time beside what is said, {shown!r}, which would be learnt as words; {EXPORT}, "
        "or write what is said alone, and a time that is said within its line"
    )
    assert times_or_turns(text) == (line, why)


@pytest.mark.parametrize(
    "row",
    [
        "Anna\t\t0.5\t1.25\t0.75\thello",
        "Anna\t0\t2\thello",
        "00:00:00.5\t00:00:02\tAnna\thello",
    ],
)
def test_rows_of_a_table_with_times_are_refused(row: str) -> None:
    named = times_or_turns(f"Tier\tBegin\tEnd\tText\n{row}\n")
    found = times_or_turns(f"{row}\n{row}\n")
    assert found is not None and found[0] == 1 and named == (2, found[1])
    assert found[1] == (
        f"is a row of a table with times, {row!r}; {EXPORT}, or write rows of begin, end and text "
        "in seconds with tabs between them"
    )


@pytest.mark.parametrize(
    "text",
    [
        "Label track\n0.10\t0.40\thello there\n",
        "hello there\nand you\n1e-05\t0.4\tsaid\n",
        "0.5|1.0|hello\n1.0|2.0|bye\n",
        "anna 0.5 1.0 hello\nbob 1.0 2.0 bye",
        "hello 0.5 1.0\ngood bye 1.5 2.0",
        "0.5\thello there\n2.5\tgood bye",
        "0,5 | hallo\n1,5 | auf Wiedersehen",
        "0.5 hello\n1.5 good bye\n2.5 well",
        "0.5s: hello\n1.5s: good bye\n2.5s: well",
    ],
)
def test_times_in_the_form_of_a_table_are_refused(text: str) -> None:
    """A row that was written otherwise than the others made words of all times."""
    for length in (3.0, math.inf):
        found = times_or_turns(text, length)
        assert found is not None and "is a row of a table with times" in found[1]


@pytest.mark.parametrize(
    "text",
    [
        "1.1 Introduction\n1.2 Methods\n1.3 Results",
        "1.5 litres of milk\n2.5 cups of flour",
        "0.5 hello\n2.5 good bye\n1.5 well",
        "it rose from 1.5 2.5 percent\nand 3.5 4.5 later",
        "7.5\tseven\n30.5\tthirty",
        f"1.5{300_000 * ' '}7\nten",  # took half an hour, as a run of spaces was divided in every way
    ],
)
def test_numbers_that_are_no_times_of_the_recording_are_said(text: str) -> None:
    assert times_or_turns(text, 4.0) is None


@pytest.mark.parametrize(
    ("row", "place"), [("0.5\tgood bye", 1), ("and more", 2), ("0.50 0.90 good bye", 3)]
)
def test_a_row_that_is_no_label_is_named(row: str, place: int) -> None:
    """All of the file was taken for one text, with its times."""
    rows = [f"{number}.1\t{number}.9\thello there" for number in range(5)]
    rows[place] = row
    text = "\n".join(rows)
    kind = kind_of_labels(text)
    with pytest.raises(UnusableError, match=rf"is Audacity labels, and line {place + 1} is none"):
        segments_of(text, kind)


def test_a_label_may_begin_at_a_number_as_scripts_write_it() -> None:
    text = "1e-05\t0.9\thello\n1.0\t1.9\tgood bye\n"
    found = segments_of(text, kind_of_labels(text))
    assert [(part.begin, part.text) for part in found] == [(1e-05, "hello"), (1.0, "good bye")]


@pytest.mark.parametrize(
    "text",
    [
        "SPEAKER_01: hello there",
        "[SPEAKER_00]: hello\n[SPEAKER_01]: good bye",
        "Speaker 1: hello\nSpeaker 2: good bye",
        "[Speaker 1] hello",
        "SPEAKER_00\nhello",
        "Anna: hello\nBert: hi\nAnna: how are you\nBert: well",
        "Agent\thello\nCustomer\thi\nAgent\thow are you\nCustomer\twell",
        "SPEAKER_00\thello",
        "Sprecher 1: hallo\nSprecher 2: ja",
        "Speaker #1: hello",
        "Locuteur 1 : bonjour",
        "Anna\u00a0: oui\nBert\u00a0: non\nAnna\u00a0: si\nBert\u00a0: bon",
        "说话人1：你好",
        "speaker#1\nhello",
        "[Speaker #2] hello",
        "Locutrice 2\nbonjour",
        "Ärztin: Wann? Patient: Gestern. Ärztin: Wo?",
        "Врач: Когда? Пациент: Вчера. Врач: Где?",
    ],
)
def test_speakers_before_what_they_say_are_refused(text: str) -> None:
    found = times_or_turns(text)
    assert found is not None and found[0] == 1
    assert "begins with a speaker, '" in found[1] and "write what is said alone" in found[1]


@pytest.mark.parametrize(
    "text",
    [
        "10:30",
        "10:30 is when we meet",
        "we meet\n10:30 sharp\nat the station",
        "10:30\n11:45\n12:00",
        "10:30 – 12:45 lunch",
        "(10:30) the train leaves",
        "the train leaves at 10:30\nand comes at 12:45\nso be there",
        "We leave at 10:30\nfrom the station",
        "Dinner (10:30) was late",
        "the result (0:01) was bad",
        "[laughs] hello (again) {noise} <unk>",
        "[7] things",
        "20 30 forty",
        "3 2 1 go",
        "one\ttwo\tthree",
        "1.5 2.5 percent",
        "Note: this is all",
        "Anna: hello",
        "he said: come here\nand she said: no",
        "Question: who\nReply: me",
        "speaker 1 is broken",
        "at 0:00 the day begins",
        "10:30 - 12:45",
        "10:30 - 12:45\nlunch",
        "0:00 - 0:05",
        "1.5 2.5 percent\nand more",
        "it rose [see 10:30] and fell",
        "speaker 1",
        "speaker 1 is broken\nand speaker 2",
        "one -> two [1 -> 2]",
        "The train leaves at\n10:30 and arrives at\n12:15 in the afternoon.",
        "0 4711 ist die Nummer",
        "0 2000 Euro",
        "",
    ],
)
def test_what_people_say_has_no_times_beside_it(text: str) -> None:
    assert times_or_turns(text) is None and sentence_of_timit(text) is None
    assert kind_of_json(text) == "" and kind_of_labels(text) == ""


def test_rows_of_whole_seconds_are_parts_and_milliseconds_are_refused() -> None:
    text = "0\t2\thello\n2\t3\tgood bye 7\n"
    assert kind_of_labels(text) == "Audacity labels"
    assert [(part.begin, part.end, part.text) for part in segments_of(text, "Audacity labels")] == [
        (0.0, 2.0, "hello"),
        (2.0, 3.0, "good bye 7"),
    ]
    for none in ("1\t2\t3\n", "3\t2\thello\n", "1\t2\tone\ttwo\n"):
        assert kind_of_labels(none) == ""
    with pytest.raises(UnusableError) as caught:
        segments_of("0\t2500\thello\n", "Audacity labels")
    assert str(caught.value) == (
        "is Audacity labels, and line 1 would last 2500 s, from 0 to 2500; write milliseconds as "
        "seconds, 0.000, and seconds with a point, 0.0"
    )
    assert len(segments_of("0.0\t2500.0\thello\n", "Audacity labels")) == 1


@pytest.mark.parametrize("text", ["0.5,1.25,hello\n1.25,3.0,you\n", "0.0 2.5 hello\n2.5 4.0 you\n"])
def test_two_rows_with_other_separators_are_a_table(text: str) -> None:
    found = times_or_turns(text)
    assert found is not None and found[0] == 1
    assert found[1].startswith("is a row of a table with times, ")


WHISPER = json.dumps({"segments": [{"start": 0.0, "end": 0.5, "text": "hello"}]})


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("Speaker 1  0:00\nhello\n", "a.txt:1: has a time beside what is said, 'Speaker 1  0:00'"),
        (
            "@UTF8\n@Begin\n*ANN:\thello .\n@End\n",
            "a.txt is CHAT; export it as Praat TextGrid or as subtitles beside its recording",
        ),
        ("@Begin\n*ANN:\thello .\n", "a.txt is CHAT; export it as"),
        (WHISPER, "a.txt is JSON with times; rename it to a.json, and its parts are read"),
        ('{"text": "hello"}', "a.txt is JSON; write what is said as plain text, or export it as"),
        ('[{"text": "hello"}]', "a.txt is JSON; write what is said as plain text"),
        ('{"text": "a"}\n{"text": "b"}\n', "a.txt is JSON lines; write what is said as plain text"),
        (
            "a 1 0.10 0.20 hello\na 1 0.30 0.20 there\n",
            "a.txt is CTM, which has words with their times, and nothing says where a sentence ends; "
            "write what is said as plain text",
        ),
        ("SPEAKER a 1 0.0 5.4 <NA> <NA> s1 <NA> <NA>\n", "a.txt is RTTM, which says who speaks"),
    ],
)
def test_what_is_no_text_beside_a_recording_is_a_fault(
    tmp_path: Path, content: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tone(tmp_path / "d" / "a.wav")
    (tmp_path / "d" / "a.txt").write_text(content)
    assert orchestrate("manifest", "from-folder", tmp_path / "d", tmp_path / "m.jsonl") == 2
    assert f"{tmp_path / 'd'}/{why}" in capsys.readouterr().err
    if "rename" in why:
        (tmp_path / "d" / "a.txt").rename(tmp_path / "d" / "a.json")
        assert orchestrate("manifest", "from-folder", tmp_path / "d", tmp_path / "m.jsonl") == 0


VERSES = "3:16 For God so loved\n3:17 For God did not\n"


@pytest.mark.parametrize(
    "text",
    [
        "[10:30] bring lunch\n",
        VERSES,
        "8:00 breakfast\n12:00 lunch\n18:30 dinner\n",
        "[10:30] wake up\n[12:00] eat\n",
    ],
)
def test_times_beyond_the_end_of_the_recording_are_said(tmp_path: Path, text: str) -> None:
    out = tmp_path / "m.jsonl"
    tone(tmp_path / "d" / "a.wav", 4.0).with_suffix(".txt").write_text(text)
    assert orchestrate("manifest", "from-folder", tmp_path / "d", out) == 0
    assert json.loads(out.read_text())["text"] == " ".join(text.split())


@pytest.mark.parametrize("text", ["0:01 hello\n0:03 you\n", "[0:01] hello\n[0:03] you\n"])
def test_times_within_the_recording_are_not_said(text: str) -> None:
    assert times_or_turns(text) is not None
    assert times_or_turns(text, 4.0) == times_or_turns(text)
    assert times_or_turns(VERSES, 200.0) == times_or_turns(VERSES)


@pytest.mark.parametrize(
    "text",
    [
        "Hello there, this is what I said. #00:00:03-2#\n\nGood day to you. #00:00:07-8#\n",
        "*INV:\thello .\n*PAR:\tyes .\n",
        "hello there . \x150_1073\x15\n",
        "1 00:00:01:05 00:00:03:10 Hello there\n2 00:00:04:00 00:00:06:10 Yes\n",
        "Speaker 1 | 00:01\nHello there\n\nSpeaker 2 | 00:05\nYes\n",
    ],
)
def test_marks_that_nobody_says_prove_a_transcript_with_times(text: str) -> None:
    assert times_or_turns(text) is not None


@pytest.mark.parametrize(
    "text", ["at 10:15 we met", "number #5 is alive", "a ratio of 3:2", "* INV: note"]
)
def test_what_may_be_said_is_left(text: str) -> None:
    assert times_or_turns(text) is None
