"""`manifest from-folder` with files of other programs beside the recordings: none goes unnoticed."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from orchestrator.corpus.manifest_errors import SAVE_AS_UTF8
from orchestrator.corpus.manifests.manifest import load_manifest
from tests.cli_project import orchestrate
from tests.test_cli_manifest import tone
from tests.test_cli_manifest_folder_corpora import refused, tones

CUES = "00:00:00,000 --> 00:00:01,000\nhello there\n\n00:00:01,000 --> 00:00:02,000\ngood bye\n"
PARTS = {"segments": [{"start": n, "end": n + 1, "text": "hello there"} for n in range(2)]}
EXPORT = "export it as Praat TextGrid or as subtitles beside its recording"
XML = f"is XML, as ELAN and Transcriber write; {EXPORT}"
TABLE = "is a table that is not read as the parts of its recording; name its columns in the first row: start, end, text"
OTHER_JSON = f"is JSON of a form that is not read; {EXPORT}"
DEEPGRAM = {"results": {"channels": [{"alternatives": [{"transcript": "hello"}]}]}}
AWS = {"jobName": "x", "results": {"transcripts": [{"transcript": "hello"}]}}
ASSEMBLY = {"id": "x", "status": "completed", "text": "hello", "words": []}
GOOGLE = {"results": [{"alternatives": [{"transcript": "hello"}]}]}


def read(folder: Path, out: Path) -> list[tuple[str, float, str]]:
    assert orchestrate("manifest", "from-folder", folder, out) == 0
    return sorted((each.id, each.offset, each.text) for each in load_manifest(out).utterances)


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.eaf", "<x/>", XML),
        ("a.xml", "<x/>", XML),
        ("a.ttml", "<tt/>", f"is subtitles (TTML); {EXPORT}"),
        ("a.cha", "@UTF8\n", f"is CHAT; {EXPORT}"),
        (
            "a.ctm",
            "a 1 0.1 0.2 hello\n",
            "is CTM, which has words with their times, and nothing says where a sentence ends; "
            "write what is said as text",
        ),
        ("a.stm", "", "is STM; name it: --transcripts FILE"),
        ("a.docx", "PK", "is a document; save it as plain text (.txt)"),
        ("a.json", json.dumps(DEEPGRAM), OTHER_JSON),
        ("a.json", json.dumps(AWS, indent=1), OTHER_JSON),
        ("a.wav.json", json.dumps(ASSEMBLY), OTHER_JSON),
        ("a.json", json.dumps(GOOGLE), OTHER_JSON),
        ("a.csv", "Start;Ende;Text\n0,5;2,0;guten Tag\n", TABLE),
        ("a.tsv", "Begin Time\tEnd Time\tanna\n0.5\t2.0\thello there\n", TABLE),
        ("a.rtf", "{\\rtf1 hello}", "is a document; save it as plain text (.txt)"),
    ],
)
def test_what_is_not_read_is_named_with_what_to_do(
    tmp_path: Path, name: str, content: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "d"
    tone(folder / "sub" / "a.wav")
    (folder / "sub" / name).write_text(content)
    assert orchestrate("manifest", "from-folder", folder, tmp_path / "m.jsonl") == 2
    assert capsys.readouterr().err.splitlines() == [
        f"none of the 1 recordings in {folder} has a transcript",
        f"  {folder}/sub/{name} {what}.",
        "  Write NAME.txt beside NAME.wav, or name a list of them: --transcripts FILE.",
    ]
    tone(folder / "b.wav", pitch=600).with_suffix(".txt").write_text("hello")
    tone(folder / "c.wav", pitch=700)
    assert read(folder, tmp_path / "m.jsonl") == [("b", 0.0, "hello")]
    assert capsys.readouterr().out.splitlines()[1] == (
        f"left out 2 of 3: 1 without a transcript, 1 without a transcript that is read (sub/{name} {what})"
    )


def test_a_description_of_a_recording_is_no_transcript(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tone(tmp_path / "d" / "a.wav")
    (tmp_path / "d" / "a.json").write_text('{"device": "phone", "rate": 16000}')
    assert orchestrate("manifest", "from-folder", tmp_path / "d", tmp_path / "m.jsonl") == 2
    assert "a.json" not in capsys.readouterr().err


def test_a_table_of_numbers_is_no_transcript(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tone(tmp_path / "d" / "a.wav")
    (tmp_path / "d" / "a.csv").write_text("time,pitch\n0.00,110.5\n0.01,1.1e2\n")
    assert orchestrate("manifest", "from-folder", tmp_path / "d", tmp_path / "m.jsonl") == 2
    assert "a.csv" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["a.en.srt", "a.zh-Hans.vtt", "a.en-orig.vtt", "a.wav.srt", "a.SRT", "a.wav.vtt"]
)
def test_captions_under_other_names_are_found(tmp_path: Path, name: str) -> None:
    tone(tmp_path / "d" / "a.wav", 2.0)
    (tmp_path / "d" / name).write_text(CUES)
    assert read(tmp_path / "d", tmp_path / "m.jsonl") == [
        ("a-0001", 0.0, "hello there"),
        ("a-0002", 1.0, "good bye"),
    ]


def test_parts_in_json_behind_the_whole_name_are_found(tmp_path: Path) -> None:
    tone(tmp_path / "d" / "a.wav", 2.0)
    (tmp_path / "d" / "a.wav.json").write_text(json.dumps(PARTS))
    assert len(read(tmp_path / "d", tmp_path / "m.jsonl")) == 2


def test_captions_of_several_languages_are_not_chosen_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "d", tmp_path / "m.jsonl"
    tone(folder / "a.wav", 2.0)
    for language in ("de", "en"):
        (folder / f"a.{language}.srt").write_text(CUES)
    assert orchestrate("manifest", "from-folder", folder, out) == 2
    told = f"  {folder}/a.de.srt is one of several of its recording; name the one to read NAME.srt."
    assert capsys.readouterr().err.splitlines()[1] == told
    (folder / "a.en.srt").rename(folder / "a.srt")
    assert len(read(folder, out)) == 2


def test_captions_of_another_recording_are_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "d"
    tone(folder / "a.wav", 2.0)
    tone(folder / "a.en.wav", 2.0, 600)
    (folder / "a.en.srt").write_text(CUES)
    assert [each[0] for each in read(folder, tmp_path / "m.jsonl")] == ["a.en-0001", "a.en-0002"]
    assert capsys.readouterr().out.splitlines()[1] == "left out 1 of 3: 1 without a transcript"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.srt", CUES),
        ("a.json", json.dumps(PARTS)),
        ("a.tsv", "start\tend\ttext\n0\t900\thi\n900\t1900\tyou\n"),
    ],
)
def test_a_long_text_in_one_piece_beside_its_parts_is_refused(
    tmp_path: Path, name: str, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "d", tmp_path / "m.jsonl"
    tone(folder / "a.wav", 31.0).with_suffix(".txt").write_text("\nhello there\ngood bye\n")
    (folder / name).write_text(content)
    assert orchestrate("manifest", "from-folder", folder, out) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"{folder} has 1 fault:",
        f"  {folder}/a.txt:2: is what is said in 31 s in one piece, and {name} beside it tells its 2 parts with "
        "their times; take a.txt away, and they are read",
    ]
    (folder / "a.txt").unlink()
    assert len(read(folder, out)) == 2


@pytest.mark.parametrize(
    ("seconds", "name", "content"),
    [
        (2.0, "a.srt", CUES),  # a short one
        (31.0, "a.srt", "1\n00:00:00,000 --> 00:00:09,000\nhello there\n"),  # one part
        (31.0, "a.json", '{"device": "phone"}'),
        (31.0, "a.vtt", "no cue"),
    ],
)
def test_a_text_in_one_piece_is_taken_as_it_is(
    tmp_path: Path, seconds: float, name: str, content: str
) -> None:
    folder = tmp_path / "d"
    tone(folder / "a.wav", seconds).with_suffix(".txt").write_text("hello there")
    (folder / name).write_text(content)
    assert read(folder, tmp_path / "m.jsonl") == [("a", 0.0, "hello there")]


def test_the_last_cue_may_end_a_little_after_its_recording(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Recognisers and subtitles round up; one that ends long after it is of another recording."""
    folder, out = tmp_path / "d", tmp_path / "m.jsonl"
    tone(folder / "a.wav", seconds=1.7)
    (folder / "a.srt").write_text(CUES)
    assert orchestrate("manifest", "from-folder", folder, out) == 0
    last = load_manifest(out).utterances[-1]
    assert last.offset == 1.0 and last.duration == pytest.approx(0.7)
    (folder / "a.srt").write_text(CUES.replace("00:00:02,000", "00:00:09,000"))
    out.unlink()
    assert orchestrate("manifest", "from-folder", folder, out) == 2
    assert "lasts 1.70 s" in capsys.readouterr().err


@pytest.mark.parametrize("row", ["S1W1 hello there", "S1W1: hello there", "S1W1,hello there"])
def test_a_list_of_names_means_recordings_in_folders_of_speakers(tmp_path: Path, row: str) -> None:
    """As of AISHELL, whose list has a name and a text in each line."""
    folder, out, table = tmp_path / "d", tmp_path / "m.jsonl", tmp_path / "list.txt"
    tone(folder / "S1" / "S1W1.wav")
    table.write_text(f"{row}\n")
    assert orchestrate("manifest", "from-folder", folder, out, "--transcripts", table) == 0
    assert [each.text for each in load_manifest(out).utterances] == ["hello there"]


def test_a_list_may_name_recordings_by_any_usual_name_of_an_id(tmp_path: Path) -> None:
    folder, out, table = tmp_path / "d", tmp_path / "m.jsonl", tmp_path / "list.tsv"
    tone(folder / "a.wav")
    table.write_text("utterance_id\ttext\na\thello there\n")
    assert orchestrate("manifest", "from-folder", folder, out, "--transcripts", table) == 0
    assert [each.text for each in load_manifest(out).utterances] == ["hello there"]


def test_what_may_not_be_opened_is_named_with_what_helps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever runs the tests may open everything, so the system's answer is given here."""
    folder, opened = tmp_path / "d", Path.open
    for name in ("a", "b", "below/c"):
        tone(folder / f"{name}.wav").with_suffix(".txt").write_text("hello")
    shut = {folder / "a.wav", folder / "b.txt"}

    def open_most(path: Path, *options: Any, **more: Any) -> Any:
        if path in shut:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *options, **more)

    monkeypatch.setattr(Path, "open", open_most)
    monkeypatch.setattr(Path, "read_bytes", lambda path: open_most(path, "rb").read())
    assert orchestrate("manifest", "from-folder", folder, tmp_path / "m.jsonl") == 2
    cure = "Permission denied; fix its permissions, or those of a folder above it"
    assert capsys.readouterr().err.splitlines() == [
        f"{folder} has 2 faults:",
        f"  {folder}/b.txt cannot be read: {cure}",
        f"  audio file '{folder}/a.wav' cannot be read as audio: {cure}",
    ]
    listed = os.scandir

    def list_most(place: Any) -> Any:
        if place == str(folder / "below"):
            raise PermissionError(errno.EACCES, "Permission denied", place)
        return listed(place)

    monkeypatch.setattr(os, "scandir", list_most)
    assert orchestrate("manifest", "from-folder", folder, tmp_path / "m.jsonl") == 2
    assert capsys.readouterr().err == f"{folder}/below cannot be read: {cure}\n"


@pytest.mark.parametrize("place", ["de", "."])
def test_a_file_beside_one_recording_hides_no_list_of_the_others(
    tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "corpus"
    for name in ("de/a", "de/b", "en/c"):
        tone(folder / f"{name}.wav")
    (folder / place).mkdir(exist_ok=True)
    inside = "de/" if place == "." else ""
    rows = f"file_name,text\n{inside}a.wav,guten tag\n{inside}b.wav,bis morgen\n"
    (folder / place / "metadata.csv").write_text(rows)
    (folder / "en" / "c.txt").write_text("good day")
    assert read(folder, tmp_path / "m.jsonl") == [
        ("de/a", 0.0, "guten tag"),
        ("de/b", 0.0, "bis morgen"),
        ("en/c", 0.0, "good day"),
    ]
    said = " ".join(capsys.readouterr().out.split())
    assert "of 2 recordings the text is a row of metadata.csv, as there is no file of its" in said
    assert "without a transcript" not in said
    (folder / "en" / "d.wav").write_bytes((folder / "en" / "c.wav").read_bytes())
    (folder / place / "metadata.csv").write_text("")
    assert read(folder, tmp_path / "again.jsonl") == [("en/c", 0.0, "good day")]
    said = " ".join(capsys.readouterr().out.split())
    count = 3 if place == "." else 2  # en has no list
    assert f"of {count} recordings neither a file of its name nor " in said
    assert f"{(folder / place / 'metadata.csv')} gives a text" in said
    assert "3 without a transcript" in said


def test_a_binary_file_of_praat_is_named_and_not_converted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """To write it as UTF-8 was advised, which leaves a file that nothing reads."""
    folder = tmp_path / "d"
    tones(folder, "a.wav")
    (folder / "a.TextGrid").write_bytes(b"ooBinaryFile\x08TextGrid" + bytes(8) + b"\x40\x25\xf4")
    assert refused(folder, capsys).splitlines() == [
        f"{folder} has 1 fault:",
        f"  {folder}/a.TextGrid is a binary file of Praat; save it as text (Praat: Save as text file)",
    ]


def test_a_list_that_cannot_be_read_is_one_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was said, too, that nothing is said in it, and that it may be deleted."""
    folder = tmp_path / "d"
    tones(folder, "a.wav")
    (folder / "x.stm").write_bytes(b"a 1 ann 0.0 0.5 caf\xe9\n")
    assert refused(folder, capsys, "--transcripts", folder / "x.stm").splitlines() == [
        f"{folder} has 1 fault:",
        f"  {folder}/x.stm:1: byte 0xe9 is not UTF-8; {SAVE_AS_UTF8}",
    ]


def test_a_recording_with_the_id_of_a_part_of_another_is_renamed_and_not_deleted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both were said to be one recording, of which one is to be kept."""
    folder = tmp_path / "d"
    tones(folder, "call.wav", "call-0001.wav", seconds=3.0)
    (folder / "call.srt").write_text(CUES)
    (folder / "call-0001.txt").write_text("hello there")
    assert refused(folder, capsys).splitlines() == [
        f"{folder} has 1 fault:",
        f"  {folder}/call.srt:1: call-0001.wav and call.wav both have the id 'call-0001', as a recording and as a "
        "part; rename one of them",
    ]
