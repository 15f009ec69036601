"""Files that people have: each is one corpus, or one sentence that says what it is and which
command helps.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from orchestrator.corpus.manifest_errors import SAVE_AS_UTF8
from orchestrator.corpus.manifests.manifest import load_manifest
from orchestrator.errors import ManifestError
from tests.cli_project import orchestrate

RATE = 16_000
ROWS = [
    ("one", "alpha bravo", "ann"),
    ("two", "charlie delta", "bob"),
    ("three", "echo foxtrot", "ann"),
]
TEXTS = [text for _, text, _ in ROWS]
FORMATS: dict[str, Callable[[], str]] = {
    "ljspeech": lambda: lines("{0}|{1}|{1}"),
    "ljspeech of two columns": lambda: lines("{0}|{1}"),
    "vits with speakers": lambda: lines("{0}.wav|{2}|{1}"),
    "styletts with speakers last": lambda: lines("{0}.wav|{1}|{2}"),
    "cells with spaces": lambda: " path \t sentence \n" + lines(" {0}.wav \t {1} "),
    "paths of windows": lambda: "path,sentence\n" + lines(".\\{0}.wav,{1}"),
    "coqui": lambda: "audio_file|text|speaker_name\n" + lines("{0}.wav|{1}|{2}"),
    "csv": lambda: "path,sentence,client_id\n" + lines('{0}.wav,"{1}",{2}'),
    "csv of capitals": lambda: '"Path","Sentence"\n' + lines('{0}.wav,"{1}"'),
    "csv of spaces": lambda: "File Name;Transcription\n" + lines("{0}.wav;{1}"),
    "deepspeech": lambda: "wav_filename,wav_filesize,transcript\n" + lines("{0}.wav,16044,{1}"),
    "csv without a first row": lambda: lines("{0}.wav,{1}"),
    "audiofolder": lambda: "file_name,transcription\n" + lines("{0}.wav,{1}"),
    "audiofolder in json": lambda: records("file_name", "transcription"),
    "audio_filepath": lambda: "audio_filepath\ttranscript\n" + lines("{0}.wav\t{1}"),
    "tabs of capitals": lambda: "Path\tSentence\n" + lines("{0}.wav\t{1}"),
    "tabs without endings": lambda: "path\tsentence\n" + lines("{0}\t{1}"),
    "name: text": lambda: lines("{0}.wav: {1}"),
    "stem : text": lambda: lines("{0} : {1}"),
    "name text": lambda: lines("{0}.wav {1}"),
    "stem text": lambda: lines("{0} {1}"),
    "pretty": lambda: "\n".join(json.dumps(each, indent=2) for each in objects()),
    "pretty with commas": lambda: ",\n".join(json.dumps(each, indent=2) for each in objects()),
    "pretty list": lambda: json.dumps(objects(), indent=4),
    "data": lambda: json.dumps({"version": 1, "data": objects()}, indent=1),
    "data in one line": lambda: json.dumps({"data": objects()}),
    "by id": lambda: json.dumps(
        {name: each for (name, _, _), each in zip(ROWS, objects(), strict=True)}, indent=1
    ),
    "texts by name": lambda: json.dumps({f"{name}.wav": text for name, text, _ in ROWS}, indent=1),
    "an array without brackets": lambda: records("audio", "text").replace("}\n", "},\n"),
}


def lines(form: str) -> str:
    return "".join(form.format(*row) + "\n" for row in ROWS)


def objects(audio: str = "audio_filepath", text: str = "text") -> list[dict[str, Any]]:
    return [{audio: f"{name}.wav", text: said} for name, said, _ in ROWS]


def records(audio: str, text: str) -> str:
    return "".join(json.dumps(each) + "\n" for each in objects(audio, text))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, (name, _, _) in enumerate(ROWS):
        soundfile.write(
            tmp_path / f"{name}.wav", np.random.default_rng(number).normal(0, 0.1, RATE // 2), RATE
        )
    return tmp_path


def read(path: Path) -> list[str]:
    return [each.text for each in load_manifest(path).utterances]


def refusal(path: Path) -> str:
    with pytest.raises(ManifestError) as caught:
        load_manifest(path)
    return str(caught.value)


def test_a_speaker_of_a_table_is_a_whole_number_where_pandas_wrote_a_fraction(
    tmp_path: Path,
) -> None:
    names = {"12.0": "12", "7": "7", "12.5": "12.5", "v1.0": "v1.0", "": ""}
    rows = []
    for number, name in enumerate(names):
        soundfile.write(tmp_path / f"{number}.wav", np.full(1600 + number, 0.1), RATE)
        rows.append(f"{number}.wav,text {number},{name}\n")
    (tmp_path / "set.csv").write_text("path,sentence,speaker_id\n" + "".join(rows))
    found = load_manifest(tmp_path / "set.csv").utterances
    assert [each.speaker for each in found] == list(names.values())


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("wrapped", ["plain", "windows", "gzip"])
def test_a_format_is_read_as_it_is(folder: Path, name: str, wrapped: str) -> None:
    content = FORMATS[name]().encode()
    if wrapped == "windows":
        content = b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n")
    path = folder / "set.csv"
    path.write_bytes(gzip.compress(content) if wrapped == "gzip" else content)
    found = load_manifest(path)
    assert [each.text for each in found.utterances] == TEXTS
    assert [each.audio for each in found.utterances] == [folder / f"{row[0]}.wav" for row in ROWS]
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    if "{2}" in name or "speaker" in name or name == "coqui":
        assert [each.speaker for each in found.utterances] == [row[2] for row in ROWS]


def test_a_wave_is_a_wav(folder: Path) -> None:
    (folder / "one.wav").rename(folder / "one.wave")
    (folder / "two.wav").rename(folder / "two.WAVE")
    rows = "one.wave|alpha bravo\ntwo.WAVE|charlie delta\n"
    (folder / "set.txt").write_text(rows)
    assert read(folder / "set.txt") == TEXTS[:2]
    (folder / "set.txt").write_text("one|alpha bravo\nthree|echo\n")
    assert read(folder / "set.txt") == [TEXTS[0], "echo"]


@pytest.mark.parametrize("place", ["clips", "wavs"])
def test_clips_lie_in_the_folder_of_their_corpus(folder: Path, place: str) -> None:
    (folder / place).mkdir()
    for name, _, _ in ROWS:
        (folder / f"{name}.wav").rename(folder / place / f"{name}.wav")
    path = folder / "train.tsv"
    for form in ("{0}.wav\t{1}", "{0}\t{1}", place + "/{0}\t{1}"):
        path.write_text("path\tsentence\n" + lines(form))
        assert [each.audio for each in load_manifest(path).utterances] == [
            folder / place / f"{name}.wav" for name, _, _ in ROWS
        ]


def test_a_quote_between_tabs_is_a_quote_and_between_commas_it_quotes(folder: Path) -> None:
    said = ['"alpha', 'charlie ""delta""', "echo, foxtrot"]
    (folder / "a.tsv").write_text(
        "path\tsentence\n" + "".join(f"{r[0]}.wav\t{t}\n" for r, t in zip(ROWS, said, strict=True))
    )
    assert read(folder / "a.tsv") == said
    (folder / "a.csv").write_text(
        'path,sentence\none.wav,"alpha, ""bravo"""\ntwo.wav,"char\nlie"\nthree.wav,echo\n'
    )
    found = load_manifest(folder / "a.csv").utterances
    assert [each.text for each in found] == ['alpha, "bravo"', "char lie", "echo"]
    assert [each.line for each in found] == [2, 3, 5]


SWALLOWED = (
    "a quote that opens here takes in the row of 'two.wav'; where it is a part of the text, write the text in quotes "
    "and each quote in it twice"
)
"""Of a quotation that goes on in the next row, which was lost with its text in that of the row before."""


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (
            "path,sentence\none.wav,alpha, bravo\ngone.wav,x\n",
            [
                "2: 3 comma-separated columns where 2 are expected (path,sentence); "
                'a text with a comma in it stands in "quotes"',
                "3: audio file 'gone.wav' does not exist, neither in {} nor in the current folder",
            ],
        ),
        (
            'path,sentence\none.wav,alpha\ntwo.wav,"bravo\n',
            ["3: a quote that opens here is never closed"],
        ),
        (
            'path;sentence\none.wav;"alpha.\ntwo.wav;Bravo."\n',
            [f"2: {SWALLOWED}"],
        ),
        (
            'sentence,path\n"alpha,one.wav\nbravo,two.wav\ncharlie",three.wav\n',
            [f"2: {SWALLOWED}"],
        ),
        (
            "one|alpha\ntwo\n",
            ["2: 1 |-separated columns where 2 are expected (audio_filepath|text)"],
        ),
        ("one.wav: alpha\nbravo\n", ["2: 'bravo' is no name: text, as the lines before it are"]),
        (
            '{\n "audio_filepath": "one.wav",\n "text": "alpha"\n}\n{\n "audio_filepath": oops\n}\n',
            ["6: not valid JSON: Expecting value"],
        ),
        (
            '{"data": [\n{"audio_filepath": "one.wav", "text": "a"},\n7]}',
            ["3: item 2: expected a JSON object, found 7"],
        ),
    ],
)
def test_faults_stand_at_their_lines(folder: Path, content: str, found: list[str]) -> None:
    path = folder / "set.csv"
    path.write_text(content)
    expected = [f"  {path}:{each.format(folder)}" for each in found]
    assert refusal(path).splitlines()[1:-1] == expected


READ = "JSON lines, JSON, tables with tabs, commas, semicolons or |, and lists of name: text"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "notes.txt",
            b"Dear all,\nplease listen.\n",
            f"is no manifest: its first line is 'Dear all,'; read are {READ};",
        ),
        (
            "a.csv",
            b"clip,words,who\na,b,c\n",
            "is a comma-separated table whose columns nothing names: 'clip,words,who'",
        ),
        (
            "a.tsv",
            b"clip\twords\twho\na\tb\tc\n",
            "is a tab-separated table whose columns nothing names",
        ),
        (
            "a.csv",
            b"path,duration\none.wav,1\n",
            "is a table without a column of text; it has path, duration: name one",
        ),
        (
            "a.csv",
            b"id,sentence\none,hello\n",
            "is a table without a column of audio; it has id, sentence: name one",
        ),
        (
            "a.csv",
            b"path,path,sentence\n",
            "is a table with two columns 'path'; name each column once in its first",
        ),
        (
            "a.json",
            b"{'audio': 'one.wav'}\n{'audio': 'two.wav'}\n",
            "is not JSON: none of its 2 lines can be read",
        ),
        (
            "a.json",
            b'{"train": [{"path": "one.wav"}], "test": [{"path": "two.wav"}]}',
            "is one JSON object of 'train', 'tes",
        ),
        (
            "a.json",
            b'{"data": {"rows": [{"path": "one.wav"}]}}\n',
            "is one JSON object of 'data', none of which is the one",
        ),
        (
            "a.yaml",
            b"- path: one.wav\n  text: x\n",
            "is no manifest: its first line is '- path: one.wav'; read are JSON",
        ),
        (
            "a.csv",
            b"path,sentence\n",
            "is a table of a first line alone; add a row for each utterance",
        ),
        (
            "a.jsonl",
            b"version https://git-lfs.github.com/spec/v1\n",
            "is a pointer of Git LFS, not the file; fetch",
        ),
        (
            "a.tsv",
            b"<!DOCTYPE html>\n<html>",
            "is a web page, not the file; download the file itself",
        ),
        (
            "a.parquet",
            b"PAR1\x00\x00",
            "is a Parquet file, a part of a data set: orchestrate manifest from-dataset ",
        ),
        (
            "a.xlsx",
            b"PK\x03\x04\x00",
            "is a ZIP archive or a workbook (.xlsx); unpack it, or save the sheet as CSV",
        ),
        (
            "._a.jsonl",
            b"\x00\x05\x16\x07\x00",
            "is what macOS keeps beside a file (._), not the file; name the one",
        ),
        (
            "a.csv",
            b"path,sentence\rone.wav,a\rtwo.wav,b\r",
            "has the line ends of old Macs (CR); write new ones: tr",
        ),
        ("a.bin", b"abc\x00def", f"is a binary file; read are {READ}, as UTF-8 text"),
        ("a.jsonl.bz2", b"BZh91AY", "is compressed (bzip2); decompress it: bunzip2 -k "),
        (
            "a.csv",
            "path,sentence\n".encode("utf-16"),
            "is UTF-16; write it as UTF-8: iconv -f UTF-16 -t UTF-8 ",
        ),
        (
            "a.csv",
            b"caf\xe9\n",
            "cannot be read: in line 1, byte 4 of the line (0xe9) is not UTF-8; " + SAVE_AS_UTF8,
        ),
    ],
)
def test_what_is_no_manifest_is_said_in_one_line(
    folder: Path, name: str, content: bytes, said: str
) -> None:
    path = folder / name
    path.write_bytes(content)
    assert refusal(path).startswith(f"{path} {said}") and "\n" not in refusal(path)


def test_a_recording_is_answered_with_a_command_that_works(folder: Path) -> None:
    for name, text, _ in ROWS:
        (folder / f"{name}.txt").write_text(text)
    for path in (folder / "one.wav", folder / "one.txt", folder):
        message = refusal(path)
        program, *words = shlex.split(message[message.index("orchestrate") :])
        assert program == "orchestrate" and "\n" not in message
        assert orchestrate(*words) == 0
        made = Path(words[-1])
        assert sorted(read(made)) == sorted(TEXTS)
        made.unlink()
