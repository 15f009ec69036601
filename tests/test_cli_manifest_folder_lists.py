"""`manifest from-folder` with one list for all recordings: its rows say what lines of a manifest say,
and are refused for the same.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from orchestrator.corpus.manifests.manifest import load_manifest
from tests.cli_project import orchestrate
from tests.test_cli_manifest import tone

CUT = {
    "id": "c",
    "type": "MonoCut",
    "start": 1.0,
    "duration": 1.0,
    "recording": {"sources": [{"type": "file", "source": "two.wav"}]},
    "supervisions": [{"text": "zwei", "speaker": "bert"}],
}
PARTS = {
    "records": "\n".join(
        json.dumps(row)
        for row in (
            {"audio": "one.wav", "offset": 0, "duration": 1.5, "text": "eins", "spk": 7},
            {"audio": "one.wav", "offset": 1.5, "text": "drei", "speaker": "anna"},
            {"audio": "one.wav", "text": "not read", "_skipme": True},
            CUT,
        )
    ),
    "table": "file_name,offset,duration,text,speaker\none.wav,0,1.5,eins,7\none.wav,1.5,,drei,anna\n"
    "two.wav,1,1,zwei,bert\n",
    "ids": "utt_id\toffset\tduration\ttext\tspeaker_id\none\t0\t1.5\teins\t7\none\t1.5\t\tdrei\tanna\n"
    "two\t1\t1\tzwei\tbert\n",
}


def folder_of(tmp_path: Path) -> Path:
    for number, name in enumerate(("one", "two")):
        tone(tmp_path / "rec" / f"{name}.wav", 3.0, 500 + 100 * number)
    return tmp_path / "rec"


@pytest.mark.parametrize("form", PARTS)
@pytest.mark.parametrize("found", [True, False])
def test_times_and_speakers_of_a_list_are_those_of_a_manifest(
    tmp_path: Path, form: str, found: bool
) -> None:
    folder = folder_of(tmp_path)
    table = folder / ("metadata.csv" if found else "list.txt")
    table.write_text(PARTS[form])
    options = () if found else ("--transcripts", table)
    out = tmp_path / "m.jsonl"
    assert orchestrate("manifest", "from-folder", folder, out, *options) == 0
    assert {
        (each.id, each.offset, each.duration, each.text, each.speaker)
        for each in load_manifest(out).utterances
    } == {
        ("one-0001", 0.0, 1.5, "eins", "7"),
        ("one-0002", 1.5, 1.5, "drei", "anna"),
        ("two-0001", 1.0, 1.0, "zwei", "bert"),
    }


def test_a_speaker_that_is_asked_for_is_taken_before_that_of_the_list(tmp_path: Path) -> None:
    folder, out = folder_of(tmp_path), tmp_path / "m.jsonl"
    (folder / "metadata.csv").write_text("path,sentence,client_id\none.wav,eins,x1\n")
    assert orchestrate("manifest", "from-folder", folder, out) == 0
    assert [each.speaker for each in load_manifest(out).utterances] == ["x1"]
    again = tmp_path / "n.jsonl"
    assert orchestrate("manifest", "from-folder", folder, again, "--speaker", "one=anna") == 0
    assert [each.speaker for each in load_manifest(again).utterances] == ["anna"]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (
            {"start_time": 0.5, "end_time": 1.5},
            '"start_time" is 0.5 and "end_time" is 1.5, which are not read, and audio file '
            "'{folder}/one.wav' would be taken whole, 3.00 s; a segment is written in seconds as "
            '"offset" and "duration": the start and the length',
        ),
        (
            {"offset": 0, "stop": 1.5},
            "\"stop\" is 1.5, which is not read, and audio file '{folder}/one.wav' would be taken "
            'from 0 s to its end at 3.00 s; write the length in seconds as "duration"',
        ),
        ({"offset": -1}, '"offset" is -1, must be a number of seconds of 0 or more'),
        (
            {"offset": 2, "duration": 2},
            "the segment from 2 s to 4 s reaches past audio file 'rec/one.wav', which lasts 3.00 s",
        ),
        (
            {"duration": 5.0},
            "the duration is 5 s but audio file 'rec/one.wav' lasts 3.00 s; correct it, or add an offset "
            "to mean a part of the file",
        ),
        ({"speaker": ["a"]}, '"speaker" is a list, must be a non-empty string or an integer'),
        (
            {"text": "[006.2901-008.2357]: Excuse me."},
            "has a time beside what is said, '[006.2901-008.2357]: Excuse me.', which would be learnt as words",
        ),
        ({"audio": "pipe:x"}, "\"audio\" is the command 'pipe:x'; commands are never run"),
        (
            {"audio": {"bytes": "UklGRg==", "path": "one.wav"}},
            "holds its sound itself and names no recording; as a manifest it is read as it is",
        ),
    ],
)
def test_what_a_manifest_refuses_a_list_is_refused_for(
    tmp_path: Path, row: dict[str, object], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = folder_of(tmp_path), tmp_path / "m.jsonl"
    table = folder / "metadata.jsonl"
    rows = ({"audio": "two.wav", "text": "zwei"}, {"audio": "one.wav", "text": "eins"} | row)
    table.write_text("\n".join(map(json.dumps, rows)))
    assert orchestrate("manifest", "from-folder", folder, out) == 2
    assert f"{table}:2: {why.format(folder=folder)}" in capsys.readouterr().err
    assert not out.exists()


def test_every_part_whose_times_are_not_read_is_told_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(tmp_path)
    table = folder / "metadata.csv"
    table.write_text("path,start,end,text\none.wav,0,1,eins\none.wav,1,2,zwei\none.wav,2,3,drei\n")
    assert orchestrate("manifest", "from-folder", folder, tmp_path / "m.jsonl") == 2
    said = capsys.readouterr().err.splitlines()[1:]
    assert sorted(line.split(": ")[0] for line in said) == [f"  {table}:{row}" for row in (2, 3, 4)]
    assert all("which are not read, and audio file" in line for line in said)


def test_one_channel_of_several_and_a_part_of_what_is_taken_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import numpy as np
    import soundfile

    folder = folder_of(tmp_path)
    soundfile.write(folder / "both.wav", np.zeros((16_000, 2)), 16_000)
    table = folder / "metadata.jsonl"
    rows = (
        {"audio": "both.wav", "text": "eins", "channel": 1},
        {"audio": "one.wav", "text": "whole"},
        {"audio": "one.wav", "text": "part", "offset": 0.5, "duration": 1},
    )
    table.write_text("\n".join(map(json.dumps, rows)))
    assert orchestrate("manifest", "from-folder", folder, tmp_path / "m.jsonl") == 2
    assert capsys.readouterr().err.splitlines()[1:] == [
        f"  {table}:3: 'one.wav' has a transcript already, {table}:2",
        f"  {table}:1: audio file '{folder}/both.wav' has 2 channels and the record means one, "
        'for "channel" is 1; save that one as mono audio, for the texts of that channel alone: '
        "sox IN.wav OUT.wav remix 1 saves the first, "
        "remix 2 the second",
    ]
    table.write_text(json.dumps({"data": {"audio": "one.wav"}, "annotations": []}))
    assert orchestrate("manifest", "from-folder", folder, tmp_path / "m.jsonl") == 2
    assert f"{table} is an export of Label Studio (JSON)" in capsys.readouterr().err


def test_parts_without_a_start_that_is_read_are_not_called_second_transcripts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A start and a length, of which the length alone has a name that is read."""
    folder = tmp_path / "rec"
    sound = tone(folder / "one.wav", 5.0)
    table = folder / "metadata.csv"
    table.write_text(
        "file_name,start_time,duration,text\none.wav,0.5,1.5,hi\none.wav,2.0,3.0,yes\n"
    )
    assert orchestrate("manifest", "from-folder", folder, tmp_path / "m.jsonl") == 2
    assert (
        f"{table}:3: the duration is 3 s but audio file '{sound}' lasts 5.00 s; correct it, or add an offset to mean a "
        "part of the file"
    ) in capsys.readouterr().err


def test_start_end_and_duration_of_a_list_that_agree_are_a_part(tmp_path: Path) -> None:
    folder, out = folder_of(tmp_path), tmp_path / "m.jsonl"
    parts = ((0.5, 1.5, 1.0, "eins"), (1.5, 3.0, 1.5, "zwei"))
    keys = ("start", "end", "duration", "text")
    rows = [{"audio": "one.wav"} | dict(zip(keys, part, strict=True)) for part in parts]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert orchestrate("manifest", "from-folder", folder, out) == 0
    assert {(each.offset, each.duration, each.text) for each in load_manifest(out).utterances} == {
        (0.5, 1.0, "eins"),
        (1.5, 1.5, "zwei"),
    }


WITHOUT_TEXT = {
    "metadata.tsv": "path\tsentence\none.wav\teins\ntwo.wav\t\nthree.wav\tdrei\n",
    "metadata.csv": "file_name,text\none.wav,eins\ntwo.wav,nan\nthree.wav,drei\n",
    "transcripts.tsv": "\none.wav\teins\ntwo.wav\t  \nthree.wav\tdrei\n",
    "metadata.txt stripped": "path|text\none.wav|eins\ntwo.wav\nthree.wav|drei\n",
    "transcripts.tsv stripped": "\none.wav\teins\ntwo.wav\nthree.wav\tdrei\n",
    "transcripts.txt": "\none eins\ntwo\nthree drei\n",
    "metadata.txt": "\none.wav: eins\ntwo.wav:\nthree.wav: drei\n",
    "metadata.jsonl": "\n"
    + "\n".join(
        json.dumps({"audio": f"{name}.wav", "text": text})
        for name, text in (("one", "eins"), ("two", None), ("three", "drei"))
    ),
    "txt.done.data": '\n( one "eins" )\n( two "" )\n( three "drei" )\n',
    "TRANS.txt": "\n<s> eins </s> (one)\n<s> </s> (two)\n<s> drei </s> (three)\n",
}


@pytest.mark.parametrize("name", WITHOUT_TEXT)
def test_a_few_rows_without_a_text_are_left_out_and_counted(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = folder_of(tmp_path), tmp_path / "m.jsonl"
    tone(folder / "three.wav", 3.0, 700)
    table = folder / name.split()[0]
    table.write_text(WITHOUT_TEXT[name])
    assert orchestrate("manifest", "from-folder", folder, out) == 0
    assert {each.text for each in load_manifest(out).utterances} == {"eins", "drei"}
    named = "two.wav" if ".wav" in WITHOUT_TEXT[name] else "two"
    why = f"1 listed without a text (the first is {table}:3: '{named}')"
    assert capsys.readouterr().out.splitlines()[1:] == [f"left out 1 of 3: {why}"]


def test_rows_of_which_most_have_no_text_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The texts stand elsewhere."""
    folder = folder_of(tmp_path)
    tone(folder / "three.wav", 3.0, 700)
    table = folder / "metadata.csv"
    table.write_text("file_name,text,words\none.wav,,eins\ntwo.wav,,zwei\nthree.wav,drei,drei\n")
    assert orchestrate("manifest", "from-folder", folder, tmp_path / "m.jsonl") == 2
    assert capsys.readouterr().err.splitlines() == [
        f"{folder} has 1 fault:",
        f"  {table}:2: has no text, as 2 of 3 rows; write what is said (in a table or in JSON as text, transcript, "
        "transcription, sentence), or delete these rows to go without",
    ]


def test_a_part_without_a_text_leaves_the_others_of_its_recording(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And a row without one whose recording is not there is counted once."""
    folder, out = folder_of(tmp_path), tmp_path / "m.jsonl"
    table = folder / "metadata.csv"
    table.write_text(
        "path,offset,duration,text\none.wav,0,1,eins\none.wav,1,1,\none.wav,2,1,drei\ngone.wav,,,\n"
    )
    assert orchestrate("manifest", "from-folder", folder, out) == 0
    assert {each.text for each in load_manifest(out).utterances} == {"eins", "drei"}
    why = f"1 without a transcript, 2 listed without a text (the first is {table}:3: 'one.wav')"
    assert capsys.readouterr().out.splitlines()[1:] == [f"left out 3 of 5: {why}"]


def test_a_line_that_names_no_recording_is_no_row_without_a_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The text before it goes on there."""
    folder = folder_of(tmp_path)
    table = folder / "transcripts.txt"
    table.write_text("one eins\nzwei\ntwo drei\n")
    assert orchestrate("manifest", "from-folder", folder, tmp_path / "m.jsonl") == 2
    told = f"{table}:2: 'zwei' is no name text, as the lines before it are"
    assert told in capsys.readouterr().err


def test_another_column_of_words_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "rec", tmp_path / "m.jsonl"
    for name in ("one", "two", "three"):
        tone(folder / f"{name}.wav")
    table = tmp_path / "list.csv"
    table.write_text(
        "file,text,transcription,raw_text\n"
        "one.wav,one two,One two!,1 2\ntwo.wav,three,tree,3\nthree.wav,four,,4\n"
    )
    assert orchestrate("manifest", "from-folder", folder, out, "--transcripts", table) == 0
    assert {each.id: each.text for each in load_manifest(out).utterances} == {
        "one": "one two",
        "two": "three",
        "three": "four",
    }
    assert (
        'in 1 of 3 rows "transcription" says something else than the text that is taken, '
        f"e.g. {table}:3: 'three' is taken, and not 'tree'; where \"transcription\" is what is said"
    ) in capsys.readouterr().out


@pytest.mark.parametrize("name", ["metadata.csv", "my list.txt"])
@pytest.mark.parametrize(("coding", "ends"), [("utf-16", "\r\n"), ("utf-8", "\r")])
def test_a_list_that_is_written_anew_is_named_in_the_next_command(
    tmp_path: Path, name: str, coding: str, ends: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command that was advised writes a file that no folder is searched for."""
    folder, out = folder_of(tmp_path), tmp_path / "m.jsonl"
    rows = ("file_name,text", "one.wav,eins", "two.wav,zwei")
    (folder / name).write_bytes("".join(f"{row}{ends}" for row in rows).encode(coding))
    options = () if name == "metadata.csv" else ("--transcripts", folder / name)
    assert orchestrate("manifest", "from-folder", folder, out, *options) == 2
    [advice] = re.findall(
        r": ((?:iconv|tr) .*), and name that: (--transcripts .*)\n", capsys.readouterr().err
    )
    subprocess.run(advice[0], shell=True, check=True)
    assert orchestrate("manifest", "from-folder", folder, out, *shlex.split(advice[1])) == 0
    assert {each.text for each in load_manifest(out).utterances} == {"eins", "zwei"}


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("SPEAKER_00", "SPEAKER_00"), True),
        (("Agent", "Agent"), True),
        (("B", "B"), True),
        (("Agent", "Customer"), False),
        (("7", "7"), False),
        (("SPEAKER_00", "SPEAKER_01"), False),
        (("p225", "p225"), False),
    ],
)
def test_speakers_that_a_program_numbered_are_told_where_a_list_has_them_in_several_recordings(
    tmp_path: Path, names: tuple[str, str], said: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever spoke first in any recording was one person, unsaid."""
    folder = folder_of(tmp_path)
    rows = [
        f"{name}.wav,0.5,1.0,hello {name},{speaker}\n"
        for name, speaker in zip(("one", "two"), names, strict=True)
    ]
    (folder / "metadata.csv").write_text("file_name,offset,duration,text,speaker\n" + "".join(rows))
    assert orchestrate("manifest", "from-folder", folder, tmp_path / "m.jsonl") == 0
    note = (
        f"speakers such as '{names[0]}', of 2 recordings, are one person each, as their list has them; where they are "
        "other people in each recording, put its name before theirs"
    )
    assert capsys.readouterr().out.splitlines()[1:] == [note] * said


def test_names_without_endings_of_recordings_in_a_linked_folder(tmp_path: Path) -> None:
    for number, name in enumerate(("one", "two")):
        tone(tmp_path / "disk" / f"{name}.wav", pitch=500 + 100 * number)
    (tmp_path / "rec").mkdir()
    (tmp_path / "rec" / "wav").symlink_to(tmp_path / "disk", target_is_directory=True)
    table, out = tmp_path / "rec" / "prompts.list", tmp_path / "m.jsonl"
    table.write_text("one first of all\ntwo and then another\n")
    assert (
        orchestrate("manifest", "from-folder", tmp_path / "rec", out, "--transcripts", table) == 0
    )
    said = {utterance.id: utterance.text for utterance in load_manifest(out).utterances}
    assert said == {"wav/one": "first of all", "wav/two": "and then another"}
