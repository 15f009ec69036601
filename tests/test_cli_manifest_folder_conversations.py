"""`manifest from-folder` on public corpora of conversations: their turns are parts, and neither times nor names
nor marks of theirs are words.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from orchestrator.corpus.importing.no_speech import what_is_no_speech
from orchestrator.corpus.label_files.label_file import kind_of_labels
from orchestrator.corpus.label_files.times_in_text import times_or_turns
from orchestrator.corpus.manifests.missing_values import is_missing_text
from tests.test_cli_manifest_folder_corpora import made, put, refused, told, tones

EDACC = (
    "C06 1 C06-A 0.00 0.5 <o,F,English> IGNORE_TIME_SEGMENT_IN_SCORING\n"
    "C06 1 C06-B 0.5 2.0 <o,M,French> C ELEVEN\n"
)


def test_a_part_that_is_not_scored_is_none_in_capitals_too(tmp_path: Path) -> None:
    """EdAcc; and tables that were made of an STM."""
    tones(tmp_path / "d", "data/C06.wav", "x/a.wav", "x/b.wav", seconds=3.0)
    made(tmp_path / "d", "--transcripts", put(tmp_path / "d/dev/stm", EDACC))
    assert told(tmp_path / "out.jsonl") == {("C ELEVEN", 0.5, 1.5, "C06-B")}
    rows = "path,text\nx/a.wav,hello\nx/b.wav,ignore_time_segment_in_scoring\n"
    assert made(tmp_path / "d", "--transcripts", put(tmp_path / "l.csv", rows)) == {"x/a": "hello"}
    assert is_missing_text(" inter_segment_gap ") and not is_missing_text("ignore time segments")


MAGIC = (
    "[0.000,1.730]\tG00000125\t女,普通话\t嗯，你好\n"
    "[1.730,2.5]\tG00000126\t男,普通话\t你好啊\n"
    "[2.5,2.9]\t0\tNone,None\t[*]\n\n"
)


def test_turns_of_magic_hub_are_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """MagicData-RAMC."""
    folder = tmp_path / "RAMC"
    tones(folder, "WAV/CTS-1.wav", seconds=3.0)
    place = put(folder / "TXT/CTS-1.txt", MAGIC)
    made(folder, "--brackets", "strip")
    turns = {("嗯，你好", 0.0, 1.73, "G00000125"), ("你好啊", 1.73, 0.77, "G00000126")}
    assert told(tmp_path / "out.jsonl") == turns
    place.write_text(MAGIC + "你好\n")
    assert (
        f"{place} is a transcript of MagicHub, and line 5 is none of its rows: '你好'; a row has [begin,end]"
        in refused(folder, capsys)
    )


ATC = (
    "; Boston\n"
    '((TAPE-HEADER "BOSTON FINAL"))\n'
    "((FROM F1-1)\n (NUM BOS-0001)\n (TO AAL551)\n (TEXT AMERICAN FIVE (UNINTELLIGIBLE) BOSTON)\n"
    ' (TIMES 0.50 1.75)\n (COMMENT "(sic"))\n'
    "((FROM AAL551)(NUM BOS-0002)(TO F1-1)(TEXT ROGER)(TIMES 2.0 2.5))\n"
)


def test_lists_of_air_traffic_control_are_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """ATC0 of the LDC, whose transcripts are lists of Lisp."""
    folder = tmp_path / "atc0"
    tones(folder, "audio/bos.wav", seconds=3.0)
    place = put(folder / "transcripts/bos.txt", ATC)
    made(folder)
    assert told(tmp_path / "out.jsonl") == {
        ("AMERICAN FIVE (UNINTELLIGIBLE) BOSTON", 0.5, 1.25, "F1-1"),
        ("ROGER", 2.0, 0.5, "AAL551"),
    }
    what = f"{place} is a transcript of air traffic control of the LDC, and"
    for text, why in (
        (ATC[:-2], "the list that begins in line 9 is never closed"),
        (ATC.replace("2.0 2.5", "2.0"), "the list that begins in line 9 has no (TIMES begin end)"),
        (f"{ATC}ROGER\n", "'ROGER' in line 10 stands outside of a list"),
    ):
        place.write_text(text)
        assert f"{what} {why}" in refused(folder, capsys)


BABEL = "[0.0]\n<no-speech>\n[0.5]\n喂 <laugh> 你 好\n[1.75]\n係 ~\n[2.5]\n"


def test_what_stands_between_times_of_babel_is_a_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "BABEL_101/dev"
    tones(folder, "audio/B_1.wav", seconds=3.0)
    place = put(folder / "transcription/B_1.txt", BABEL)
    made(folder, "--brackets", "strip")
    assert told(tmp_path / "BABEL_101/out.jsonl") == {
        ("喂 你 好", 0.5, 1.25, ""),
        ("係 ~", 1.75, 0.75, ""),
    }
    place.write_text(f"{BABEL}嗯\n")
    assert f"{place} is a transcript of Babel, and no time stands behind line 8" in refused(
        folder, capsys
    )


TDF = (
    "file;unicode\tchannel;int\tstart;float\tend;float\tspeaker;unicode\ttranscript;unicode\tturn;int\n"
    ";;MM sectionTypes\t[None, None]\n"
    'fsp_1.sph\t0\t0.5\t1.5\tSpeaker1\tAló\t0\nfsp_1.sph\t1\t2.0\t2.5\tSpeaker2\tbueno; "sí"\t0\n'
)


@pytest.mark.parametrize("name", ["speech/fsp_1.tdf", "transcripts/fsp_1.tdf", "speech/fsp_1.txt"])
def test_tables_of_the_ldc_are_parts(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fisher Spanish, whose calls have two channels as published."""
    folder = tmp_path / "d"
    tones(folder, "speech/fsp_1.wav", seconds=3.0)
    put(folder / name, TDF)
    made(folder)
    assert told(tmp_path / "out.jsonl") == {
        ("Aló", 0.5, 1.0, "fsp_1-Speaker1"),
        ('bueno; "sí"', 2.0, 0.5, "fsp_1-Speaker2"),
    }
    soundfile.write(folder / "speech/fsp_1.wav", np.zeros((48_000, 2)), 16_000)
    assert "has 2 channels and the record means one, for \"channel\" is '0'" in refused(
        folder, capsys
    )
    put(folder / name, TDF.replace("fsp_1", "fsp_2"))
    is_text = name.endswith(".txt")
    why = "is a table of other recordings, such as 'fsp_2.sph'" if is_text else "none of the 1"
    assert why in refused(folder, capsys)


def test_speakers_before_the_texts_of_a_label_track(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The speaker was learnt as a word."""
    folder = tmp_path / "d"
    tones(folder, "a.wav", seconds=3.0)
    place = put(
        folder / "a.txt", "0.5\t1.0\tAnna\thello\n1.0\t2.0\tBert\tyes\n2.0\t2.5\tAnna\tso\n"
    )
    made(folder)
    assert told(tmp_path / "out.jsonl") == {
        ("hello", 0.5, 0.5, "Anna"),
        ("yes", 1.0, 1.0, "Bert"),
        ("so", 2.0, 0.5, "Anna"),
    }
    place.write_text("0.5\t1.0\tAnna\thello\n1.0\t2.0\tyes\n2.0\t2.5\tAnna\tso\n")
    assert (
        f"{place} is rows of begin, end and text, and line 1 has a tab within its text; name the columns"
        in refused(folder, capsys)
    )


def test_numbers_in_the_place_of_texts_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Europarl-ST's segments, and lengths; numbers may be said."""
    folder = tmp_path / "d"
    tones(folder, "a.wav", "b.wav", seconds=4.0)
    table = put(tmp_path / "segments.lst", "a 1.0 3.5\n")
    told_so = f"{table} has numbers in the place of texts, such as '1.0 3.5' in line 1; name the list of what is said"
    assert told_so in refused(folder, capsys, "--transcripts", table)
    table.write_text("a 4.0\nb 4.0\n")
    assert "in the place of texts, such as '4.0'" in refused(folder, capsys, "--transcripts", table)
    table.write_text("a 4.0\nb four\n")
    assert made(folder, "--transcripts", table) == {"a": "4.0", "b": "four"}
    table.write_text("a 4.0\n")
    assert made(folder, "--transcripts", table) == {"a": "4.0"}


@pytest.mark.parametrize(
    "text", ["((laughs)) so (TEXT me)", "(( no ))", "[1,2] is a pair", "[1]\nnote\n[2]\n"]
)
def test_brackets_that_are_said_are_no_turns(text: str) -> None:
    assert kind_of_labels(text) == ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (  # Switchboard
            "sw2001A-ms98-a-0001 0.000000 0.977625 [silence]\nsw2001A-ms98-a-0002 0.977625 1.5 hi um\n",
            "is a row of a table with times",
        ),
        ("Speaker 0    00:00:00    Hello there.\n", "has a time beside what is said"),  # Rev
        ("Anna\t0:02\tHello there.\nBert\t0:05\tHi.\n", "has a time beside what is said"),
        ("[0.5, 1.25] hello there", "has a time beside what is said"),
        ("Ses01F_F000 [006.2901-008.2357]: Excuse me.", "has a time beside what is said"),
        ("0.5-1.5 A hello there\n1.5-2.5 B yes\n", "is a row of a table with times"),
        ("500 1500 hello there\n1500 2500 yes it is\n", "is a row of a table with times"),
        ("500 1500 hello\n1600 2500 yes\n2700 3000 no\n", "is a row of a table with times"),
        ("0.50 --> 1.50\nhello there\n", "has a time beside what is said"),
        ("D: When? P: Last night. D: OK.", "begins with a speaker"),
        ("Doctor: What brings you in? Patient: My chest. Doctor: OK.", "begins with a speaker"),
    ],
)
def test_times_and_names_of_turns_are_refused(text: str, why: str) -> None:
    found = times_or_turns(text)
    assert found is not None and found[0] == 1 and why in found[1]


@pytest.mark.parametrize(
    "text",
    [
        "Question: who is it? Answer: me. Question: why?",
        "It is A: one, B: two, A: three",
        "Plan: go. Time: now.",
        "one 1.5 2.5 percent\ntwo 3.5 2.5 percent",
        "Anna  10:30  lunch",
        "20 30 or more\n10 20 or less",
        "3 3 and 4\n4 4 and 5",
        "1914 1918 a war\n1939 1945 another",
        "5 -> 10 is more",
        "Doctor: come in. Doctor: sit. Doctor: talk.",
    ],
)
def test_what_may_be_said_is_no_turn(text: str) -> None:
    assert times_or_turns(text) is None


def test_markup_with_times_is_no_text() -> None:
    """HUB4."""
    segment = "<Segment S_time=0.5 E_time=3.0 Speaker=Ann>\ngood evening\n</Segment>"
    assert what_is_no_speech(segment) == "markup with times (SGML)"
    assert what_is_no_speech("good evening <laughs> any time = 5") == ""
