"""Records whose text belongs to another part of the recording than the one that would be taken."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.corpus.manifests.manifest import load_manifest
from orchestrator.errors import ManifestError
from tests.test_cli_manifest import tone


def manifest(folder: Path, record: dict[str, Any], seconds: float = 20.0) -> Path:
    tone(folder / "x.wav", seconds)
    path = folder / "m.jsonl"
    path.write_text(json.dumps({"audio": "x.wav", "text": "hello there"} | record) + "\n")
    return path


@pytest.mark.parametrize(
    "told",
    [
        {"segment": {"start": 1.0, "end": 3.0}},
        {"timestamp": {"start": 1.0, "end": 3.0}},
        {"time": [1.0, 3.0]},
        {"timestamp": "00:00:01.000 --> 00:00:03.000"},
        {"timestamp": "[ 1.0 , 3.0 ]"},
        {"beg": 1.0, "end": 3.0},
        {"turn_start": 1.0, "turn_end": 3.0},
        {"chunk_start": 1.0, "chunk_end": 3.0},
        {"segment_offset": 1.0, "segment_duration": 2.0},
        {"t0": 1.0, "t1": 3.0},
        {"x0": 1.0, "x1": 3.0},
        {"in": 1.0, "out": 3.0},
        {"TC In": "00:00:01:00", "TC Out": "00:00:03:00"},
        {"in_time_ms": 1000, "out_time_ms": 3000},
        {"Source In Point": "00:00:01.000", "Source Out Point": "00:00:03.000"},
        {"start_timecode": "00:00:01:00", "end_timecode": "00:00:03:00"},
        {"Start TC": "00:00:01.0", "End TC": "00:00:03.0"},
        {"STime": 1.0, "ETime": 3.0},
        {"file_start": 1.0, "file_end": 3.0},
        {"Temps de début": 1.0, "Temps de fin": 3.0},
        {"Tiempo inicial": "1,0", "Tiempo final": "3,0"},
        {"开始时间": 1.0, "结束时间": 3.0},
        {"開始": "0:01", "終了": "0:03"},
        {"시작 시간": 1.0, "종료 시간": 3.0},
        {"end": 3.0},
        {"label": [{"start": 1.0, "end": 3.0, "channel": 0}]},
    ],
)
def test_times_of_a_part_are_refused_under_every_name(tmp_path: Path, told: dict[str, Any]) -> None:
    with pytest.raises(ManifestError, match=r"not read, .*x\.wav.* would be taken whole, 20\.00 s"):
        load_manifest(manifest(tmp_path, told))


@pytest.mark.parametrize(
    "told",
    [
        {"end": 20.0},
        {"segment": {"start": 0.0, "end": 20.0}},
        {"segment": {"name": "a"}, "time": "12:30"},
        {"words": [{"word": "hello", "start": 1.0, "end": 1.5}]},
        {"label": "question", "turn": 3},
        {"in": "english", "out": "german"},
        {"in": 3, "out": 250, "final": True},
        {"plug_in": 1.0, "fade_out": 3.0},
        {"time_in_seconds": 20.0, "offset_in_frames": 3},
        {"label": [{"start": 1.0, "end": 3.0}, {"start": 4.0, "end": 19.0}]},
        {"time": 1700000000.0, "t1": "x"},
        {"start": 5000 * "9" + ":00", "end": 5000 * "9" + "h1s", "time": 5000 * "9" + ":00:00:00"},
        {
            "time": "[" + 20_000 * " ",
            "span": "1.5" + 20_000 * " " + "x",
        },  # took hours, as each run of spaces could belong to three parts
    ],
)
def test_what_is_no_part_is_left_alone(tmp_path: Path, told: dict[str, Any]) -> None:
    assert len(load_manifest(manifest(tmp_path, told)).utterances) == 1


def cut(start: float, duration: float, whole: float) -> dict[str, Any]:
    recording = {
        "id": "x",
        "sources": [{"type": "file", "channels": [0], "source": "x.wav"}],
        **{"sampling_rate": 16_000, "num_samples": 320_000, "duration": 20.0},
    }
    supervision = {"id": "s", "recording_id": "x", "start": start, "duration": duration}
    return {
        **{"id": "c", "start": 2.0, "duration": whole, "channel": 0, "type": "MonoCut"},
        "recording": recording,
        "supervisions": [supervision | {"channel": 0, "text": "hello there"}],
    }


@pytest.mark.parametrize(
    ("start", "duration", "whole", "fits"),
    [
        (0.0, 5.0, 5.0, True),
        (0.5, 4.0, 5.0, True),  # a margin around what is said
        (-0.1, 5.2, 5.0, True),
        (-4.0, 4.5, 5.0, False),
        (1.5, 8.0, 2.0, False),
        (12.0, 2.0, 18.0, False),
    ],
)
def test_a_cut_holds_what_its_supervision_says(
    tmp_path: Path, start: float, duration: float, whole: float, fits: bool
) -> None:
    tone(tmp_path / "x.wav", 20.0)
    path = tmp_path / "cuts.jsonl"
    path.write_text(json.dumps(cut(start, duration, whole)) + "\n")
    if fits:
        [utterance] = load_manifest(path).utterances
        assert (utterance.offset, utterance.duration) == (2.0, whole)
    else:
        with pytest.raises(ManifestError, match=r"of its cut, which lasts .*trim_to_supervisions"):
            load_manifest(path)


def test_a_list_of_texts_is_no_text(tmp_path: Path) -> None:
    tone(tmp_path / "x.wav")
    path = tmp_path / "m.csv"
    path.write_text('audio,transcription\nx.wav,"[""first part"",""second part""]"\n')
    with pytest.raises(ManifestError, match="is a list of texts"):
        load_manifest(path)
    path.write_text('audio,transcription\nx.wav,"[laughter] well, [""so""]"\n')
    assert len(load_manifest(path).utterances) == 1


def test_a_translation_is_no_transcript(tmp_path: Path) -> None:
    languages = {"source_lang": "en", "target_lang": "de", "taskname": "s2t_translation"}
    with pytest.raises(ManifestError, match="is a translation from 'en' to 'de'"):
        load_manifest(manifest(tmp_path, languages))
    same = languages | {"target_lang": "en", "taskname": "asr"}
    assert len(load_manifest(manifest(tmp_path, same)).utterances) == 1


def test_the_command_for_label_studio_makes_a_record_of_each_region(tmp_path: Path) -> None:
    for name in ("long", "short", "a b"):
        tone(tmp_path / f"{name}.wav", 20.0 if name == "long" else 2.0)

    def region(start: float, end: float, text: str) -> dict[str, Any]:
        value = {"start": start, "end": end, "channel": 0, "text": [text]}
        return {"value": value, "from_name": "tr", "to_name": "audio", "type": "textarea"}

    def task(audio: str, *annotations: dict[str, Any]) -> dict[str, Any]:
        return {"id": 1, "annotations": list(annotations), "data": {"audio": audio}}

    whole = {"value": {"text": ["the good one"]}, "type": "textarea"}
    skipped = {"was_cancelled": True, "result": [{"value": {"text": ["garbage"]}}]}
    path = tmp_path / "export.json"
    tasks = [
        task(
            "/data/upload/1/long.wav", {"result": [region(5, 7, "second"), region(1, 3, "first")]}
        ),
        task("/data/upload/1/short.wav", skipped, {"was_cancelled": False, "result": [whole]}),
        task("/data/local-files/?d=sub/a%20b.wav", {"result": [whole]}),
        task("/data/upload/1/none.wav"),
    ]
    path.write_text(json.dumps(tasks))
    with pytest.raises(ManifestError) as caught:
        load_manifest(path)
    begin = f"{shlex.quote(sys.executable)} -c"
    command = str(caught.value)[str(caught.value).index(begin) :].split("\n")[0]
    subprocess.run(["sh", "-c", command], check=True, cwd=tmp_path)
    found = load_manifest(tmp_path / "manifest.jsonl").utterances
    assert [(each.audio and each.audio.stem, each.offset, each.text) for each in found] == [
        ("long", 5.0, "second"),
        ("long", 1.0, "first"),
        ("short", 0.0, "the good one"),
        ("a b", 0.0, "the good one"),
    ]
