"""`manifest from-dataset` on rows as they come: ids that repeat, texts that are missing, speakers that
nobody knows, and segments and channels of longer recordings.
"""

from __future__ import annotations

import io
import json
import math
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import soundfile

from orchestrator.corpus.manifests.manifest import load_manifest
from orchestrator.corpus.recordings.headers import read_header
from tests.cli_project import orchestrate
from tests.test_cli_manifest import tone
from tests.test_corpus_containers import flac_in_ogg, two_in_one, without_xing

Printed = pytest.CaptureFixture[str]
RATE = 16_000


def sound(number: int, seconds: float = 2.0, channels: int = 1) -> dict[str, Any]:
    """An audio value whose sound no other number has."""
    stream = io.BytesIO()
    noise = np.random.default_rng(number).normal(0, 0.1, (int(seconds * RATE), channels))
    soundfile.write(stream, noise, RATE, format="WAV")
    return {"bytes": stream.getvalue(), "path": f"{number}.wav"}


def bare_flac(folder: Path) -> Path:
    """FLAC whose header does not say how long it is, as encoders write it into a pipe."""
    soundfile.write(folder / "whole.flac", np.random.default_rng(0).normal(0, 0.1, RATE), RATE)
    whole = (folder / "whole.flac").read_bytes()
    (folder / "bare.flac").write_bytes(
        whole[:21] + bytes([whole[21] & 0xF0]) + bytes(4) + whole[26:]
    )
    return folder / "bare.flac"


def saved(folder: Path, rows: list[dict[str, Any]]) -> Path:
    full = [
        {"audio": sound(number), "text": f"text {number}"} | row for number, row in enumerate(rows)
    ]
    data = datasets.Dataset.from_list(full).cast_column("audio", datasets.Audio(decode=False))
    data.save_to_disk(str(folder / "set"))
    return folder / "set"


def made(folder: Path, rows: list[dict[str, Any]], *options: object) -> list[dict[str, Any]]:
    out = folder / "m.jsonl"
    assert orchestrate("manifest", "from-dataset", saved(folder, rows), out, *options) == 0
    return sorted(map(json.loads, out.read_text().splitlines()), key=lambda line: str(line["text"]))


def test_ids_that_repeat_are_those_of_sentences(tmp_path: Path, capsys: Printed) -> None:
    """FLEURS: a sentence is read by several people."""
    lines = made(tmp_path, [{"id": 7}, {"id": 7}, {"id": 8}])
    assert [line["id"] for line in lines] == ["0", "1", "2"]
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path / 'm.jsonl'}: 3 utterances, 0.00 h",
        "2 rows have the id '7', so it names no recording: the ids are the numbers of the rows",
    ]


def test_a_speaker_and_an_id_are_whole_numbers_where_pandas_wrote_a_fraction(
    tmp_path: Path,
) -> None:
    """A column of numbers with an empty cell is one of floats; LibriSpeech has these speakers as integers."""
    rows: list[dict[str, Any]] = [
        {"speaker_id": 1089.0, "id": 3.0},
        {"speaker_id": None, "id": 4.5},
    ]
    lines = made(tmp_path, rows)
    assert [(line.get("speaker"), line["id"]) for line in lines] == [("1089", "3"), (None, "4.5")]


def test_other_words_and_brackets_are_told(tmp_path: Path, capsys: Printed) -> None:
    """A second column of texts was dropped without a word."""
    rows: list[dict[str, Any]] = [
        {"text": "turn left", "sentence": "Turn left!", "wrd": None},
        {"text": "turn [noise] right", "sentence": "turn white", "wrd": "turn noise right"},
    ]
    made(tmp_path, rows)
    out = tmp_path / "m.jsonl"
    assert capsys.readouterr().out.splitlines()[1:] == [
        "in 1 of 2 rows \"sentence\" says something else than the text that is taken, e.g. row 1: 'turn [noise] right' "
        "is taken, and not 'turn white'; where it is what is said: --text-column sentence",
        "of 1 rows the text has something in brackets, such as '[noise]', and it is learnt as words; this leaves it "
        f"out: orchestrate manifest filter {out} {tmp_path / 'm-said.jsonl'} --brackets strip",
    ]
    for place in (out, tmp_path / "m.jsonl.source.json"):
        place.unlink()
    made(tmp_path, rows, "--text-column", "sentence")
    assert len(capsys.readouterr().out.splitlines()) == 1, "it was asked for"


@pytest.mark.parametrize("column", ["audio", "clean"])
def test_of_several_columns_of_sound_one_is_taken_and_told(
    tmp_path: Path, capsys: Printed, column: str
) -> None:
    """The first was taken without a word, also where another one is called audio."""
    data = datasets.Dataset.from_list([{"a": sound(0, 1.0), "z": sound(1, 2.0), "text": "yes"}])
    for name, to in (("a", "mix"), ("z", column)):
        data = data.cast_column(name, datasets.Audio(decode=False)).rename_column(name, to)
    data.save_to_disk(str(tmp_path / "set"))
    out = tmp_path / "m.jsonl"
    assert orchestrate("manifest", "from-dataset", tmp_path / "set", out) == 0
    taken, other = ("audio", "mix") if column == "audio" else ("mix", "clean")
    assert [each.seconds for each in load_manifest(out).utterances] == [2.0 - (taken == "mix")]
    assert capsys.readouterr().out.splitlines()[1:] == [
        f"the sound is that of the column '{taken}', and not '{other}'; where the texts are of that: "
        f"--audio-column {other}"
    ]
    named = tmp_path / "n.jsonl"
    options = ("--audio-column", other)
    assert orchestrate("manifest", "from-dataset", tmp_path / "set", named, *options) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_rows_that_name_files_are_a_manifest_already(tmp_path: Path, capsys: Printed) -> None:
    """It was not said what to do with them."""
    tone(tmp_path / "a.wav", 1.0)
    rows = tmp_path / "set" / "train.jsonl"
    rows.parent.mkdir()
    rows.write_text(json.dumps({"audio": str(tmp_path / "a.wav"), "text": "yes"}) + "\n")
    options = ("--split", "train")
    assert orchestrate("manifest", "from-dataset", rows.parent, tmp_path / "m.jsonl", *options) == 2
    assert (
        f"row 0: its audio is '{tmp_path}/a.wav', must be an audio value; JSON and tables that name files are "
        "manifests as they are: name the file in the sweep file\n"
    ) in capsys.readouterr().err
    assert len(load_manifest(rows).utterances) == 1


def test_rows_without_a_text_are_left_out_and_counted(tmp_path: Path, capsys: Printed) -> None:
    rows: list[dict[str, Any]] = [{}, {"text": None}, {"text": "  "}, {}]
    assert [line["text"] for line in made(tmp_path, rows)] == ["text 0", "text 3"]
    said = "left out 2 of 4: 2 without a text, such as row 1"
    assert capsys.readouterr().out.splitlines()[1:] == [said]
    note = json.loads((tmp_path / "m.jsonl.source.json").read_text())
    assert note["arguments"]["left_out"] == {"without a text, such as row 1": 2}


def test_rows_with_times_or_speakers_among_the_words_are_left_out_and_counted(
    tmp_path: Path, capsys: Printed
) -> None:
    """They were learnt as words."""
    turns = "Doctor: What is it? Patient: My chest. Doctor: OK."
    rows: list[dict[str, Any]] = [
        {},
        {"text": turns},
        {"text": "[00:00:00.000 --> 00:00:01.000] hi"},
        {"text": None},
    ]
    assert [line["text"] for line in made(tmp_path, rows)] == ["text 0"]
    assert capsys.readouterr().out.splitlines()[1:] == [
        "left out 3 of 4: 1 without a text, such as row 3, 2 with times or speakers among the words, such as row 1"
    ]


def test_a_row_that_is_not_to_be_scored_has_no_text(tmp_path: Path, capsys: Printed) -> None:
    """TED-LIUM on the hub."""
    rows: list[dict[str, Any]] = [{"text": "ignore_time_segment_in_scoring"}, {}]
    assert [line["text"] for line in made(tmp_path, rows)] == ["text 1"]
    assert "1 without a text, such as row 0" in capsys.readouterr().out


def test_rows_of_which_none_has_a_text_are_refused_and_leave_nothing(
    tmp_path: Path, capsys: Printed
) -> None:
    folder = saved(tmp_path, [{"text": None}, {"text": ""}])
    assert orchestrate("manifest", "from-dataset", folder, tmp_path / "m.jsonl") == 2
    said = f"nothing of {folder} is left: left out 2 of 2: 2 without a text, such as row 0"
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_rows_that_a_sweep_could_not_read_leave_nothing(tmp_path: Path, capsys: Printed) -> None:
    folder = saved(tmp_path, [{"audio": sound(0, 0.0)}, {}])
    assert orchestrate("manifest", "from-dataset", folder, tmp_path / "m.jsonl") == 2
    assert "  row 0: its audio holds no audio (zero frames)" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize("stored", [without_xing, two_in_one, flac_in_ogg, bare_flac])
def test_sound_is_as_long_as_a_manifest_finds_it(
    tmp_path: Path, stored: Callable[[Path], Path]
) -> None:
    """libsndfile's own length of such files is wrong, and was refused as the data set's."""
    (tmp_path / "stored").mkdir()
    path = stored(tmp_path / "stored")
    [line] = made(tmp_path, [{"audio": {"bytes": path.read_bytes(), "path": path.name}}])
    copy = tmp_path / line["audio_filepath"]
    assert (copy.read_bytes(), copy.suffix) == (path.read_bytes(), path.suffix)
    assert line["duration"] == round(read_header(path, "x").seconds, 4)


def test_samples_that_are_no_sound_are_refused(tmp_path: Path, capsys: Printed) -> None:
    """Integers, as scipy reads a WAV, were cut at full scale: noise, without a word."""
    wave = 0.3 * np.sin(np.arange(8000) / 5)
    arrays = {
        'the samples of "array" reach 9830; they must lie within -1 and 1: where they': (
            (wave * 32768).astype(int).tolist()
        ),
        'the samples of "array" reach nan': [math.nan] * 100,
        '"array" holds no samples': [],
    }
    rows = [{"array": array, "sampling_rate": RATE} for array in arrays.values()]
    for number, (said, row) in enumerate(zip(arrays, rows, strict=True)):
        folder = tmp_path / str(number)
        datasets.Dataset.from_list([{"audio": row, "text": "one"}]).save_to_disk(str(folder))
        assert orchestrate("manifest", "from-dataset", folder, tmp_path / "m.jsonl") == 2
        assert f"  row 0: {said}" in capsys.readouterr().err
    assert not (tmp_path / "m-audio").exists()


@pytest.mark.parametrize(("peak", "ending"), [(0.5, ".flac"), (1.5, ".wav")])
def test_samples_are_written_without_cutting_their_peaks(
    tmp_path: Path, peak: float, ending: str
) -> None:
    wave = peak * np.sin(np.arange(8000) / 5)
    row = {"audio": {"array": wave.tolist(), "sampling_rate": 8000}, "text": "one"}
    datasets.Dataset.from_list([row]).save_to_disk(str(tmp_path / "set"))
    out = tmp_path / "m.jsonl"
    assert orchestrate("manifest", "from-dataset", tmp_path / "set", out) == 0
    [line] = map(json.loads, out.read_text().splitlines())
    samples, rate = soundfile.read(tmp_path / line["audio_filepath"])
    assert (rate, Path(line["audio_filepath"]).suffix) == (8000, ending)
    np.testing.assert_allclose(samples, wave, atol=2**-22)


def test_another_length_than_that_of_the_sound_is_told(tmp_path: Path, capsys: Printed) -> None:
    """Rows of a recording that was never cut were taken whole without a word."""
    rows = [{"duration": length} for length in (2.0, 2000.0, 1.25, None)]
    assert [line["duration"] for line in made(tmp_path, rows)] == [2.0] * 4
    assert capsys.readouterr().out.splitlines()[1:] == [
        'in 1 of 4 rows "duration" is another length than that of the sound, which is taken whole, e.g. row 2: 1.25 is '
        "told, and it lasts 2.00 s"
    ]


@pytest.mark.parametrize("key", ["speaker_id", "spk_id", "speaker_name"])
def test_speakers_that_nobody_knows_are_not_one(tmp_path: Path, key: str, capsys: Printed) -> None:
    """VoxPopuli has "None" in such places."""
    lines = made(tmp_path, [{key: name} for name in ("None", "1204", None, "unknown", "ann")])
    assert [line.get("speaker") for line in lines] == [None, "1204", None, None, "ann"]
    assert ", 2 speakers\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"start": 0.5, "end": 1.5}, '"start" is 0.5 and "end" is 1.5, which are not read'),
        ({"onset": 0.5, "offset": 1.5}, '"onset" is 0.5 and "offset" is 1.5, which are not read'),
        ({"timestamp": [0.5, 1.5]}, '"timestamp" is 0.5 to 1.5, which is not read'),
    ],
)
def test_times_that_are_not_read_are_no_silence(
    tmp_path: Path, more: dict[str, Any], told: str, capsys: Printed
) -> None:
    folder = saved(tmp_path, [{}, {}])
    data = datasets.load_from_disk(str(folder))
    for name, value in more.items():
        data = data.add_column(name, [None, value])
    data.save_to_disk(str(tmp_path / "timed"))
    assert orchestrate("manifest", "from-dataset", tmp_path / "timed", tmp_path / "m.jsonl") == 2
    said = capsys.readouterr().err
    assert (
        f"  row 1: {told}, and its audio would be taken whole, 2.00 s; a segment is written" in said
    )
    assert not (tmp_path / "m-audio").exists()


def test_an_offset_with_a_duration_is_a_segment(tmp_path: Path) -> None:
    """What the refusal of other times asks for."""
    lines = made(tmp_path, [{"offset": 0.5, "duration": 1.0}, {"offset": 0.25, "duration": 1.25}])
    assert [(line["offset"], line["duration"]) for line in lines] == [(0.5, 1.0), (0.25, 1.25)]


def test_times_of_audio_that_is_cut_already_are_passed_over(tmp_path: Path) -> None:
    row = {"begin_time": 60.0, "end_time": 62.0, "offset": 60.0, "duration": 2.0}
    lines = made(tmp_path, [row, row])
    assert [(line.get("offset"), line["duration"]) for line in lines] == [(None, 2.0)] * 2


def test_a_channel_of_several_is_not_their_mean(tmp_path: Path, capsys: Printed) -> None:
    folder = saved(
        tmp_path, [{"channel": "agent"}, {"channel": "agent", "audio": sound(1, 2.0, 2)}]
    )
    assert orchestrate("manifest", "from-dataset", folder, tmp_path / "m.jsonl") == 2
    said = """row 1: its audio has 2 channels and the record means one, for "channel" is 'agent'"""
    assert said in capsys.readouterr().err


def test_the_list_at_the_top_of_an_audio_folder_tells_speakers_and_segments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    place = tmp_path / "set" / "data" / "train"
    for number in range(3):
        tone(place / f"{number}.wav", 2.0, 500 + 100 * number)
    (tmp_path / "set" / "metadata.csv").write_text(
        "file_name,transcription,speaker_id,offset,duration\n"
        "data/train/0.wav,one,ann,,\n"
        "data/train/1.wav,two,bob,0.0,0.75\n"
        "data/train/1.wav,three,ann,0.75,1.0\n"
    )
    out = tmp_path / "m.jsonl"
    words = ("manifest", "from-dataset", tmp_path / "set", out, "--split", "train")
    assert orchestrate(*words) == 0
    assert "left out 1 of 4: 1 without a text, such as row 3" in capsys.readouterr().out
    found = {
        each.text: (each.speaker, each.offset, each.duration)
        for each in load_manifest(out).utterances
    }
    assert found == {"one": ("ann", 0, 2.0), "two": ("bob", 0, 0.75), "three": ("ann", 0.75, 1.0)}


def test_a_column_of_an_audio_folder_may_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    """Its list has none that is known, and a target beside its source is a translation."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for number, columns in enumerate(("src_text,tgt_text\na.wav,hallo,hello", "said\na.wav,hallo")):
        folder, out = tmp_path / f"set{number}", tmp_path / f"{number}.jsonl"
        tone(folder / "a.wav")
        (folder / "metadata.csv").write_text(f"file_name,{columns}\n")
        command = ("manifest", "from-dataset", folder, out, "--split", "train")
        assert orchestrate(*command) == 2
        assert "column" in capsys.readouterr().err
        assert orchestrate(*command, "--text-column", columns.split("\n")[0].split(",")[0]) == 0
        assert [each.text for each in load_manifest(out).utterances] == ["hallo"]


def test_a_few_rows_of_an_audio_folders_list_may_have_no_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder, out = tmp_path / "set", tmp_path / "m.jsonl"
    for number in range(3):
        tone(folder / "data" / "train" / f"{number}.wav", 2.0, 500 + 100 * number)
    rows = "".join(
        f"data/train/{number}.wav,{text}\n" for number, text in enumerate(("a", "", "c"))
    )
    table = folder / "metadata.csv"
    table.write_text(f"file_name,transcription\n{rows}")
    words = ("manifest", "from-dataset", folder, out, "--split", "train")
    assert orchestrate(*words) == 0
    assert "left out 1 of 3: 1 without a text, such as row 1" in capsys.readouterr().out
    out.unlink()
    table.write_text(f"file_name,transcription\n{rows.replace(',a', ',')}")
    assert orchestrate(*words[:3], tmp_path / "n.jsonl", *words[4:]) == 2
    assert f"{table}:2: no text; one of text, transcript" in capsys.readouterr().err


def test_clips_in_lists_are_for_from_folder(tmp_path: Path, capsys: Printed) -> None:
    """The People's Speech beside the hub; on the hub its rows are clips, of a length that is no segment."""
    assert [line["duration"] for line in made(tmp_path, [{"duration_ms": 2000}])] == [2.0]
    row = {"identifier": "x", "training_data": {"name": ["a.flac"], "label": ["hi"]}}
    datasets.Dataset.from_list([row]).save_to_disk(str(tmp_path / "lists"))
    assert orchestrate("manifest", "from-dataset", tmp_path / "lists", tmp_path / "n.jsonl") == 2
    assert capsys.readouterr().err.endswith(
        "  It has identifier, training_data.\n  Lists of clips are for orchestrate manifest from-folder FOLDER OUT "
        "--transcripts FILE: the folder of the clips, and the file of these lists.\n"
    )


def test_shards_of_webdataset_whose_texts_are_in_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Emilia: the object beside each recording says its speaker, and its path before the archive."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    shard, out = tmp_path / "wds" / "EN-B000000.tar", tmp_path / "m.jsonl"
    shard.parent.mkdir()
    with tarfile.open(shard, "w") as archive:
        for number in range(2):
            sound = tone(tmp_path / f"W{number}.wav", pitch=500 + 100 * number)
            told = {"id": f"W{number}", "wav": f"x/W{number}.mp3", "text": f" hello {number}"}
            beside = sound.with_suffix(".json")
            beside.write_text(
                json.dumps(told | {"duration": 1.0, "speaker": "EN_S0", "dnsmos": 3.2})
            )
            for path in (beside, sound):
                archive.add(path, path.name)
    words = ("manifest", "from-dataset", shard.parent, out, "--split", "train")
    assert orchestrate(*words) == 0
    made = load_manifest(out).utterances
    assert {(each.id, each.text, each.speaker) for each in made} == {
        ("W0", "hello 0", "EN_S0"),
        ("W1", "hello 1", "EN_S0"),
    }
