"""Manifests and paths as people have them: read as stock tools read them, or named in one sentence
with what helps. Each was a public bug report.
"""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from orchestrator.corpus.manifests.manifest import Manifest, load_manifest
from orchestrator.corpus.manifests.unread_times import span_keys
from orchestrator.errors import ManifestError

RATE = 16_000
TEXTS = ("one two", "three four", "five six")


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Three recordings of two seconds."""
    for number in range(3):
        noise = np.random.default_rng(number).normal(0, 0.1, 2 * RATE)
        soundfile.write(tmp_path / f"{number}.wav", noise, RATE)
    return tmp_path


def records(**more: Any) -> list[dict[str, Any]]:
    return [
        {"audio_filepath": f"{number}.wav", "text": text} | more
        for number, text in enumerate(TEXTS)
    ]


def lines_of(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def read(folder: Path, content: bytes, name: str = "set.jsonl") -> Manifest:
    (folder / name).write_bytes(content)
    return load_manifest(folder / name)


def refusal(folder: Path, content: bytes, name: str = "set.jsonl") -> str:
    with pytest.raises(ManifestError) as caught:
        read(folder, content, name)
    return str(caught.value)


@pytest.mark.parametrize(
    ("coding", "named"),
    [
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16LE"),
        ("utf-16-be", "UTF-16BE"),
        ("utf-32", "UTF-32"),
    ],
)
def test_other_unicode_is_named_with_a_command_that_rewrites_it(
    clips: Path, coding: str, named: str
) -> None:
    content = lines_of(records()).decode().encode(coding)
    said = refusal(clips, content)
    assert f"iconv -f {named} -t UTF-8 {clips / 'set.jsonl'}" in said
    assert content.decode(named) == lines_of(records()).decode(), "what iconv does"


@pytest.mark.parametrize("keys", [("start", "end"), ("begin_time", "end_time")])
def test_times_that_are_not_read_are_no_silence(clips: Path, keys: tuple[str, str]) -> None:
    """GigaSpeech and Whisper write segments so; the whole recording would be taken."""
    first, last = keys
    said = refusal(clips, lines_of(records(**{first: 0.5, last: 1.5})))
    assert f'set.jsonl:1: "{first}" is 0.5 and "{last}" is 1.5, which are not read' in said
    assert '"offset" and "duration"' in said
    table = f"path,{first},{last},text\n0.wav,0.5,1.5,one two\n".encode()
    assert "would be taken whole, 2.00 s" in refusal(clips, table, "set.csv")


@pytest.mark.parametrize(
    "times",
    [
        {"Start": 0.5, "End": 1.5},
        {"start time": "0:00:00.5", "end time": "0:00:01.5"},
        {"start": "0,5", "end": "1,5"},
        {"Beginn": "0,5 Sek.", "Ende": "1,5 Sekunden"},
        {"start": "500 Millisekunden", "end": "1,5 secondes"},
        {"time": "0:00 bis 0:01"},
        {"start": 0.5, "stop": 1.5},
        {"tmin": 0.5, "tmax": 1.5},
        {"start_ms": 500, "end_ms": 1500},
        {"segment": [0.5, 1.5]},
        {"offset": 0.5, "end": 1.5},
        {"onset": 0.5, "offset": 1.5},
        {"onset_ms": 500, "offset_ms": 1500},
        {"start": 0.5, "length": 1.0},
        {"start": 0.5, "dur": 1.0},
        {"start_ms": 500, "duration_ms": 1000},
        {"start_s": 0.5, "end_s": 1.5},
        {"startTime": 0.5, "endTime": 1.5},
        {"start_offset": 0.5, "end_offset": 1.5},
        {"from": 0.5, "to": 1.5},
        {"t_start": 0.5, "t_end": 1.5},
        {"timestamp_start": 0.5, "timestamp_end": 1.5},
        {"start_frame": 50, "end_frame": 130},
        {"frame_offset": 8000, "num_frames": 16000},
        {"first_frame": 50, "last_frame": 130},
        {"beginning": 0.5, "ending": 1.5},
        {"begins": 0.5, "ends": 1.5},
        {"sentence_start": 0.5, "sentence_end": 1.5},
        {"cueStart": 500, "cueEnd": 1500},
        {"source_start": 0.5, "source_end": 1.5},
        {"recording_begin": 0.5, "recording_end": 1.5},
        {"video_start_ms": 500, "video_end_ms": 1500},
        {"video_start_ms": 500, "video_length_ms": 1000},
        {"source_start": 0.5, "source_duration": 1.0},
        {"from_ms": 500, "to_ms": 1500},
        {"starts_at": 0.5, "ends_at": 1.5},
        {"tstart": 0.5, "tend": 1.5},
        {"start_sample": 8000, "n_samples": 16000},
        {"Beginn": "0,5", "Ende": "1,5"},
        {"Inicio (milisegundos)": 500, "Fin (milisegundos)": 1500},
        {"Inicio": "500 milisegundos", "Fin": "1500 milliseconden"},
        {"Startzeit (ms)": 500, "Endzeit (ms)": 1500},
        {"von": 0.5, "bis": 1.5},
        {"Anfang": 0.5, "Dauer in Sekunden": 1.0},
        {"début": 0.5, "fin": 1.5},
        {"Inicio": 0.5, "Duración": 1.0},
        {"начало": 0.5, "конец": 1.5},
        {"start时间": 0.5, "end时间": 1.5},
        {"Ende": 1.5},
        {"timestamp": [0.5, 1.5]},
        {"timestamp": "(0.5, 1.5)"},
        {"start": "0.5s", "end": "1.5s"},
        {"start_time": "500 ms", "end_time": "1500 ms"},
        {"begin": "PT0.5S", "end": "PT1.5S"},
        {"start": "0h00m00.5s", "duration_s": "1 sec"},
        {"start": "00:00:00:12", "end": "00:00:01;15"},
        {"start": 0, "end": "1.5 seconds"},
        {"end": "1.5s"},
        {"offset": 0.5, "end": "1.5s"},
        {"timestamp": ["0.5s", "1.5s"]},
        {"timestamp": {"from": 0.5, "to": 1.5}},
        {"timestamp": "00:00:00.500 - 00:00:01.500"},
        {"time": "0:00-0:01"},
        {"segment": "0.5–1.5"},
        {"span": "0.5 to 1.5"},
        {"times": "0.5 1.5"},
        {"Offset": 0.5, "Duration": 1.0},
        {"offset": 0.5, "dur": 1.0},
        {"audio": {"path": "0.wav", "start": 0.5, "end": 1.5}},
        {"audio": {"path": "0.wav", "offset": 0.5, "duration": 1.0}},
    ],
    ids=str,
)
def test_times_however_they_are_spelled_are_no_silence(
    clips: Path, times: dict[str, object]
) -> None:
    rows = records()
    if "audio" in times:
        rows = [{"text": row["text"]} for row in rows]
    said = refusal(clips, lines_of([row | times for row in rows]))
    assert "which is not read" in said or "which are not read" in said
    assert '"duration"' in said


@pytest.mark.parametrize(
    "told",
    [
        {"first": 0, "last": 1},
        {"first_frame": 0, "last_frame": 199},
        {"text_start": 0, "text_end": 1},
        {"speech_start": 0.5, "speech_end": 1.5},
        {"sentence_start": 61.0, "sentence_end": 63.0},
        {"source_start": 0.5, "source_end": 2.5},
        {"recording_duration": 90.0, "video_length": 1.0},
        {"recording_offset": 120.5, "recording_length": 1500},
        {"video_start": 12.0, "video_duration": 300},
        {"start": 0.0, "end": 2.0, "sentence_length": 1},
    ],
    ids=str,
)
def test_numbers_of_other_things_and_of_the_whole_file_are_no_fault(
    clips: Path, told: dict[str, object]
) -> None:
    (clips / "set.jsonl").write_bytes(lines_of(records(**told)))
    assert len(load_manifest(clips / "set.jsonl").utterances) == len(records())


def test_the_length_of_a_recording_is_not_that_of_its_parts() -> None:
    """In a table of parts each of them went on to the end of the recording and beyond."""
    assert span_keys(("start", "recording_duration", "text")) is None
    assert span_keys(("start", "recording_duration", "dur")) == ("start", "dur")


def test_times_of_what_a_recording_was_cut_from_hide_none_of_its_parts() -> None:
    """A table that tells both was not read."""
    source = ("source_start", "source_end")
    assert span_keys(("start", "end", *source, "text")) == ("start", "end")
    assert span_keys((*source, "text")) == source


def test_a_time_that_is_none_is_answered_with_what_to_do(clips: Path) -> None:
    """Two callers, such as 0 and 1, look like seconds."""
    said = refusal(clips, lines_of(records(**{"from": 0, "to": 1})))
    assert (
        f'{clips}/set.jsonl:1: "from" is 0 and "to" is 1, which are not read, and audio file \'0.wav\' would be taken '
        'whole, 2.00 s; a segment is written in seconds as "offset" and "duration": the start and the length; '
        "where these are no times of it, take them out\n"
    ) in said


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ("onset,offset", '"onset" is 0.5 and "offset" is 1.1, which are not read'),
        ("Start (s),Length", '"Start (s)" is 0.5 and "Length" is 1.1, which are not read'),
        ("offset,dur", '"dur" is 1.1, which is not read, and audio file'),
    ],
)
def test_times_of_a_table_are_no_silence(clips: Path, columns: str, told: str) -> None:
    """Of an onset the offset is the end, and was taken for the start."""
    table = f"path,{columns},text\n0.wav,0.5,1.1,one two\n"
    assert f"set.csv:2: {told}" in refusal(clips, table.encode(), "set.csv")


@pytest.mark.parametrize(
    "more",
    [
        {"from": 1001, "to": 1002},
        {"von": 1001, "bis": 1002},
        {"desde": 1001, "hasta": 1002},
        {"bis": 1},
        {"inicio": 0, "longitud": 1001},
        {"start": 0.5, "Länge der Füße": 1, "Länge_Füße": 1},
        {"from": "de", "to": "en"},
        {"onset": 30.5, "offset": 32.5},
        {"start_ms": 30_500, "end_ms": 32_500},
        {"startTime": 1_700_000_000_000, "endTime": 1_700_000_002_000},
        {"start": 8000, "end": 40_000},
        {"start_frame": 50, "end_frame": 100},
        {"start": 4.0, "end": 6.0, "start_frame": 400, "end_frame": 600},
        {"segment_start": 4.0, "segment_end": 6.0, "audio_start": 0, "audio_end": 2.0},
        {"speech_start": 0.2, "speech_end": 1.1},
        {"length": 7, "num_samples": 31, "timestamp": "2020-01-01 10:00:00", "segment": 3},
        {"timestamp": [12.0, 14.0]},
        {"start": "10:15:00:00", "end": "10:15:02:00", "time": "10:15:00.5-10:15:01.5"},
        {"start": "2020-01-01T10:00:00", "end": "2020-01-01T10:00:02", "segment": "0-1"},
        {"start": "1st", "end": "2s of it", "span": "0.5-1.5-2.5"},
        {"start": "O", "end": "B-PER"},
        {"recorded_from": 0.1, "to": 0.2},
        {"coarse": 2, "fine": 1},
        {"Dauer": 1.0, "Länge": 7},
    ],
    ids=str,
)
def test_what_only_looks_like_times_is_kept(clips: Path, more: dict[str, object]) -> None:
    """Cut audio with the times of its meeting in any unit, callers, languages, and a count of
    letters.
    """
    assert [each.duration for each in read(clips, lines_of(records(**more))).utterances] == [2] * 3


def test_an_offset_after_which_an_onset_comes_is_a_start(clips: Path) -> None:
    [first, *_] = read(clips, lines_of(records(onset=0.7, offset=0.5, duration=1.0))).utterances
    assert (first.offset, first.duration) == (0.5, 1.0)


def test_a_folder_in_the_place_of_a_recording_is_called_one(clips: Path) -> None:
    (clips / "inside").mkdir()
    rows = records()
    assert "it is a folder" in refusal(clips, lines_of([rows[0] | {"audio_filepath": "inside"}]))


def test_times_of_audio_that_is_cut_already_are_kept(clips: Path) -> None:
    """AMI on the hub keeps the times of the meeting beside the cut clip."""
    rows = records(begin_time=61.2, end_time=63.2)
    assert len(read(clips, lines_of(rows)).utterances) == 3
    rows = records(start=0.5, end=1.5, offset=0.5, duration=1.0)
    assert [each.duration for each in read(clips, lines_of(rows)).utterances] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(("written", "stored"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_name_that_macos_takes_apart_is_found(clips: Path, written: str, stored: str) -> None:
    (clips / "0.wav").rename(clips / unicodedata.normalize(stored, "é ü.wav"))  # type: ignore[arg-type]
    rows = records()
    rows[0]["audio_filepath"] = unicodedata.normalize(written, "é ü.wav")  # type: ignore[arg-type]
    found = read(clips, lines_of(rows)).utterances[0].audio
    assert found is not None and found.is_file()


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("C:\\data\\9.wav", "it is a path of Windows: write it from FOLDER on"),
        (
            "/srv/data/0.wav",
            "there is '0.wav' in FOLDER: take '/srv/data/' away",
        ),
        ("C:\\data\\0.wav", r"there is '0.wav' in FOLDER: take 'C:\\data\\' away"),
        (
            "{data_root}/0.wav",
            "there is '0.wav' in FOLDER: take '{data_root}/' away",
        ),
        ("{data_root}/9.wav", "variables are not replaced: write the path out"),
        ("1.wav/0.wav", "1.wav' is a file and no folder: where it is an archive, unpack it"),
        ("$DATA/9.wav", "variables are not replaced: write the path out"),
        ("0.wav ", "its name begins or ends with a space: take it away"),
        ("0.WAV", "there is '0.wav': upper and lower case are two names"),
        ("file:///data/a%20b.wav", "write the path alone: /data/a b.wav"),
    ],
)
def test_a_path_that_leads_nowhere_is_told_why(clips: Path, path: str, why: str) -> None:
    rows = records()
    rows[1]["audio_filepath"] = path
    assert why.replace("FOLDER", str(clips)) in refusal(clips, lines_of(rows))


def test_records_without_audio_or_text_are_named_once(clips: Path) -> None:
    """SpeechBrain's words, ESPnet's features, and halves of a lhotse manifest."""
    words = [{"wav": row["audio_filepath"], "words": row["text"]} for row in records()]
    assert "has no text in any of its 3 records, whose keys are 'wav', 'words'" in refusal(
        clips, lines_of(words)
    )
    features = [{"feat": "a.ark:12", "text": text} for text in TEXTS]
    assert "has no audio in any of its 3 records" in refusal(clips, lines_of(features))
    half = [
        {"id": text, "recording_id": text, "start": 0, "duration": 1, "text": text}
        for text in TEXTS
    ]
    assert "lhotse cut simple" in refusal(clips, lines_of(half))
    source = {"type": "file", "channels": [0], "source": "0.wav"}
    half = [{"id": text, "sources": [source], "num_samples": 9} for text in TEXTS]
    assert "without their texts" in refusal(clips, lines_of(half))


@pytest.mark.parametrize(
    "text",
    [
        *(
            "nan",
            "NaN",
            "<NA>",
            "#N/A",
            "#NV",
            "#N/D",
            "#NAME?",
            "#WERT!",
            "#DIV/0!",
            "#NUM!",
            "#REF!",
        ),
        *(
            "#NOM?",
            "#¿NOMBRE?",
            "#¡VALOR!",
            "#VALORE!",
            "#NAAM?",
            "#DEEL/0!",
            "#ИМЯ?",
            "#Н/Д",
            "Err:508",
        ),
    ],
)
def test_a_cell_that_was_empty_is_no_word(clips: Path, text: str) -> None:
    table = f"file_name,text\n0.wav,{text}\n1.wav,banana\n".encode()
    assert "which tables have for a text that is missing" in refusal(clips, table, "set.csv")


@pytest.mark.parametrize(
    "text",
    ["#MeToo!", "number one!", "# ONE!", "#1!", "NAME?", "err: 508", "Nan", "#AB" + "_A" * 200],
)
def test_what_looks_like_no_error_of_a_spreadsheet_is_said(clips: Path, text: str) -> None:
    table = f"file_name,text\n0.wav,{text}\n1.wav,banana\n".encode()
    assert read(clips, table, "set.csv").utterances[0].text == text


def test_tables_as_programs_write_them(clips: Path) -> None:
    rows = "".join(f"{number}.wav;{text}\n" for number, text in enumerate(TEXTS))
    excel = f"\ufeffsep=;\r\nfile_name;text\n{rows}".encode()
    assert [each.text for each in read(clips, excel, "set.csv").utterances] == list(TEXTS)
    joined = b"path\tsentence\n0.wav\tone\npath\tsentence\n1.wav\ttwo\n"
    assert "set.tsv:3: the first line again, as where files are joined" in refusal(
        clips, joined, "set.tsv"
    )
    quoted = 'path\tsentence\n0.wav\t"""Good-bye,"" she said."\n1.wav\t"Hello" and "bye"\n'
    found = read(clips, quoted.encode(), "quoted.tsv").utterances
    assert [each.text for each in found] == ['"Good-bye," she said.', '"Hello" and "bye"']


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"# made by me\n" + lines_of(records()), "delete the lines before line 2"),
        (
            "\n".join(map(str, records())).encode(),
            "it is Python's own form: write it with json.dumps",
        ),
        (b"\xff\xff\xff\xff\x10\0\0\0", "is an Arrow file, a part of a data set"),
        (b"\x80\x04\x95abc", "is a pickle, which can run code and is not opened"),
    ],
)
def test_what_is_nearly_a_manifest_is_told_what_it_is(
    clips: Path, content: bytes, said: str
) -> None:
    assert said in refusal(clips, content)


@pytest.mark.parametrize("key", ["txt", "wrd", "tgt_text"])
def test_texts_under_the_names_of_other_toolkits_are_read(clips: Path, key: str) -> None:
    """Of WeNet, SpeechBrain and fairseq."""
    rows = [{"wav": row["audio_filepath"], key: row["text"]} for row in records()]
    assert [each.text for each in read(clips, lines_of(rows)).utterances] == list(TEXTS)
    table = "\n".join([f"ID,wav,{key}", *(f"u{n},{n}.wav,{text}" for n, text in enumerate(TEXTS))])
    assert [each.text for each in read(clips, table.encode(), "t.csv").utterances] == list(TEXTS)


def test_a_target_beside_its_source_is_a_translation(clips: Path) -> None:
    """Of fairseq, whose lists for recognition have no source, or the same."""
    rows = [{"wav": row["audio_filepath"], "tgt_text": row["text"]} for row in records()]
    same = [{**row, "src_text": row["tgt_text"]} for row in rows]
    assert [each.text for each in read(clips, lines_of(same)).utterances] == list(TEXTS)
    other = lines_of([{**row, "src_text": "hallo"} for row in rows])
    assert '"tgt_text" beside "src_text" is a translation' in refusal(clips, other)
    said = lines_of([{**row, "src_text": "hallo", "text": "hallo"} for row in rows])
    assert {each.text for each in read(clips, said).utterances} == {"hallo"}


@pytest.mark.parametrize(
    "more",
    [
        {"start": 100.0, "end": 101.5},  # of what the clip was cut from
        {"start": 3, "end": 7},  # characters
        {"span": [3, 7]},
        {"begin": 100, "length": 8},
        {"start_time": "10:30", "end_time": "11:00"},
    ],
)
def test_times_outside_of_a_clip_are_of_something_else(clips: Path, more: dict[str, Any]) -> None:
    found = read(clips, lines_of(records(**more)))
    assert all(utterance.offset == 0 for utterance in found.utterances)


def test_a_value_that_there_is_not_may_be_nan(clips: Path) -> None:
    """As Python and pandas write it; as a time, a text or a sample it is refused."""
    row = records()[0] | {"speaker": float("nan"), "gender": float("nan")}
    found = read(clips, lines_of([row])).utterances[0]
    assert found.speaker == "" and found.extra["gender"] is None
    for key in ("duration", "offset", "start"):
        assert "NaN is not a JSON number" in refusal(clips, lines_of([row | {key: float("nan")}]))
    assert "NaN is not a JSON number" in refusal(
        clips, lines_of([{"audio": [0.0, float("nan")], "text": "one"}])
    )
    assert "no text" in refusal(clips, lines_of([row | {"text": float("nan")}]))


def test_whole_numbers_that_pandas_wrote_are_names(clips: Path) -> None:
    found = read(clips, lines_of([records()[0] | {"speaker": 12.0, "id": 7.0}])).utterances[0]
    assert (found.speaker, found.id) == ("12", "7")


def test_ids_of_sentences_are_told_their_name(clips: Path) -> None:
    rows = [row | {"id": 9, "text": "one"} for row in records()]
    assert refusal(clips, lines_of(rows)).count("ids are unique; ids of sentences are") == 1
    said = refusal(
        clips, lines_of([row | {"text": text} for row, text in zip(rows, TEXTS, strict=True)])
    )
    assert "ids of sentences" not in said
    rows = [{"sentence_id": 9} | {key: row[key] for key in row if key != "id"} for row in rows]
    assert len(read(clips, lines_of(rows)).utterances) == 3


@pytest.mark.parametrize("keys", [("start", "end"), ("begin_time", "end_time")])
def test_start_end_and_duration_that_agree_are_a_part(clips: Path, keys: tuple[str, str]) -> None:
    """And times of what a clip was cut from are none; a part beside the file's own length is asked
    about. The length of the recording, and other times of it, change nothing.
    """
    row = records()[0] | {"sentence_length": 2, "recording_duration": 90.0}
    row |= {"source_start": 40.0, "source_end": 60.0}

    def timed(start: float, end: float, seconds: float) -> dict[str, object]:
        return row | dict(zip(keys, (start, end), strict=True)) | {"duration": seconds}

    found = read(clips, lines_of([timed(0.25, 1.5, 1.25), timed(1.5, 2.0, 0.5)])).utterances
    assert [(each.offset, each.duration) for each in found] == [(0.25, 1.25), (1.5, 0.5)]
    whole = read(clips, lines_of([timed(100.0, 102.0, 2.0)])).utterances[0]
    assert (whole.offset, whole.duration) == (0.0, 2.0)
    assert "which are not read" in refusal(clips, lines_of([timed(0.25, 1.5, 2.0)]))
    assert "which are not read" in refusal(clips, lines_of([timed(0.25, 1.5, 1.0)]))
