"""`manifest from-folder` on ordinary recordings and texts, which the rules for published corpora leave as they are."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from orchestrator.corpus.importing.no_speech import what_is_no_speech
from orchestrator.corpus.label_files.label_file import kind_of_labels
from orchestrator.corpus.label_files.service_json import parts_of_service
from orchestrator.corpus.label_files.times_in_text import times_or_turns
from tests.test_cli_manifest import rows
from tests.test_cli_manifest_folder_corpora import made, put, refused, tones
from tests.test_cli_manifest_folder_meetings import grid


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
    for count, form in ((5, "utt-{}"), (1, "a{:04}"), (1, "no_{}")):
        names = [form.format(n + 1) for n in range(count)]
        folder = texts_beside(tmp_path / names[0], {name: f"{name} yes it is" for name in names})
        assert made(folder) == dict.fromkeys(names, "yes it is")


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
    folder = texts_beside(tmp_path / "d", texts | {"d": "네", "e": "n/ b/"})
    assert made(folder) == {"a": "그래 이차", "b": "뭐", "c": "아", "d": "네"}
    said = capsys.readouterr().out
    assert f"left out 1 of 5: 1 listed without a text (the first is {folder}/e.txt:1)" in said


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
    (folder / "c.wav").write_bytes(b"RIFF")  # whose length is not known
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


def speakers(folder: Path) -> set[str]:
    made(folder)
    return {row["speaker"] for row in rows(folder.with_name("out.jsonl"))}


@pytest.mark.parametrize(
    ("names", "own", "said"),
    [
        (("101", "S012"), ("101", "S012"), False),
        (("A", "Speaker 2"), ("a-A", "a-Speaker 2"), True),
        (("0.0", "1.0"), ("a-0", "a-1"), True),
        (("Interviewer", "child"), ("a-Interviewer", "a-child"), True),
        (("speaker#1", "Guest-2"), ("a-speaker#1", "a-Guest-2"), True),
        (("Speaker A", "Sprecher 2"), ("a-Speaker A", "a-Sprecher 2"), True),
        (("Agent1", "Customer 2"), ("a-Agent1", "a-Customer 2"), True),
        (("Persona", "P05"), ("Persona", "P05"), False),
    ],
)
def test_numbers_of_three_digits_are_people(
    tmp_path: Path,
    names: tuple[str, str],
    own: tuple[str, str],
    said: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One person was another one in every recording, unsaid."""
    folder = tmp_path / "d"
    tones(folder, "a.wav", "b.wav", seconds=3.0)
    for name in "ab":
        table = f"start,end,speaker,text\n0,1,{names[0]},hello there\n1,2,{names[1]},yes it is\n"
        put(folder / f"{name}.csv", table)
    found = speakers(folder)
    assert found >= set(own) and len(found) == (4 if said else 2)
    told = [note for note in notes(capsys) if note.startswith("speakers such as ")]
    note = (
        f"speakers such as {names[0].removesuffix('.0')!r}, of 2 recordings, are taken for other people in each "
        "recording, whose name is put before theirs; where they are the same, name them by words or give --speaker"
    )
    assert told == [note] * said
    made(folder, "--speaker", "one=anna")
    assert not any("speakers such as" in note for note in notes(capsys))


@pytest.mark.parametrize("names", [("T1", "T2"), ("1", "2"), ("L1", "L2"), ("A", "B")])
def test_tiers_whose_parts_begin_together_are_layers(
    tmp_path: Path, names: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A sentence and its phrases were taken for two people."""
    folder = tmp_path / "d"
    tones(folder, "a.wav", seconds=3.0)
    phrases = [(0.5, 1.0, "hello there"), (1.0, 1.5, "you all")]
    put(
        folder / "a.TextGrid",
        grid((names[0], [(0.5, 1.5, "hello there you all")]), (names[1], phrases)),
    )
    assert f"is Praat TextGrid with several tiers, {names[0]!r}, {names[1]!r}" in refused(
        folder, capsys
    )


def test_a_table_without_times_is_none_of_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A time table beside a recording refused the folder; a text of three words was left out, unsaid."""
    folder = texts_beside(tmp_path / "d", {"b": "start, end, text\nthat is all"})
    tones(folder, "a.wav")
    put(folder / "a.csv", "start,end,content\nMonday,Friday,work\n")
    assert made(folder) == {"b": "start, end, text that is all"}
    put(folder / "b.txt", "start\tend\tspeaker\ttext\n")
    assert "b.txt is a table of parts in which nothing is said" in refused(folder, capsys)


@pytest.mark.parametrize("written", ["rec.1", "REC.1.wav", "C:\\data\\rec.1.wav"])
def test_a_table_names_its_recording_in_any_way(tmp_path: Path, written: str) -> None:
    folder = tmp_path / "d"
    tones(folder, "rec.1.wav", seconds=3.0)
    put(folder / "rec.1.csv", f"file,start,end,text\n{written},0,1,hello there\n")
    assert made(folder) == {"rec.1-0001": "hello there"}


@pytest.mark.parametrize("times", [(0.0, 1.5), (0, 2)])
def test_seconds_are_no_milliseconds_of_a_service(times: tuple[float, float]) -> None:
    """Parts of two thousandths of a second were made of them."""
    said = {"text": "hello there", "start": times[0], "end": times[1]}
    assert parts_of_service(json.dumps({"audio_url": "x", "utterances": [said]})) is None


def test_a_column_before_the_texts_of_labels_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Words of another language were speakers, unsaid, and so was how sure a recogniser is."""
    folder = tmp_path / "d"
    tones(folder, "a.wav", seconds=3.0)
    place = put(folder / "a.txt", "0.5\t1.0\tja\tyes\n1.0\t2.0\tnein\tno\n2.0\t2.5\tja\tso\n")
    assert set(made(folder).values()) == {"yes", "no", "so"}
    assert notes(capsys) == [
        "of 3 parts the text began with who speaks, such as 'ja:', 'nein:', which is no word"
    ]
    place.write_text("0.5\t1.0\t0.98\tyes\n1.0\t2.0\t0.98\tno\n")
    assert "line 1 has a tab within its text" in refused(folder, capsys)


def test_a_text_with_a_word_that_is_a_name_is_no_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "d"
    tones(folder, "hello.wav", "yes.wav")
    place = put(folder / "README.txt", "Say hello to them.\n")
    (folder / "x.list").write_bytes(b"hello yes\0\1\2")
    assert "may be their list" not in refused(folder, capsys)
    for text in ("hello is the first, and yes", "hello.wav is the first"):
        place.write_text(text)
        assert f"may be their list: {place}.\n" in refused(folder, capsys)


def test_a_list_names_recordings_of_several_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "d"
    tones(folder, "Anna K/Take 1.wav", "Anna K/Take 2.wav", "Bo/Take 3.wav")
    table = put(folder / "Liste.csv", "Datei;Text\nAnna K\\Take 1.wav;ja\nBo\\Take 3.wav;nein\n")
    assert f"may be their list: {table}.\n" in refused(folder, capsys)
    table.write_text("Nummer;Text\nTake 1;ja\nTake 3;nein\n")
    assert f"may be their list: {table}.\n" in refused(folder, capsys)
    table.write_text("We heard Take 1.\n")
    assert "may be their list" not in refused(folder, capsys)
