"""JSON files as recognisers such as Whisper write them: no segment of them is dropped silently."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from orchestrator.corpus.label_files.whisper_json import parts_of_whisper
from orchestrator.corpus.manifests.manifest import load_manifest
from tests.cli_project import orchestrate
from tests.test_cli_manifest import tone


def part(number: int, **other: Any) -> dict[str, Any]:
    return {"start": number, "end": number + 1, "text": f"part {number} is said"} | other


@pytest.mark.parametrize(
    "damaged",
    [
        {"start": None},
        {"end": "9.0"},
        {"start": float("nan")},
        {"start": True},
        {"text": None},
    ],
)
def test_a_part_that_cannot_be_read_is_a_fault(
    tmp_path: Path, damaged: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "d", tmp_path / "m.jsonl"
    tone(folder / "a.wav", 9.0)
    parts = [part(number) for number in range(6)] + [part(6, **damaged), part(7, **damaged)]
    (folder / "a.json").write_text(json.dumps({"segments": parts}))
    assert orchestrate("manifest", "from-folder", folder, out) == 2
    shown = repr(json.dumps(parts[6])[:80])
    assert capsys.readouterr().err.splitlines()[1] == (
        f"  {folder}/a.json has 2 of 8 parts that cannot be read; part 7 is {shown}, and a part needs a text, "
        "a begin and an end in seconds: write them, or delete it"
    )
    (folder / "a.json").write_text(json.dumps({"segments": parts[:6]}))
    assert orchestrate("manifest", "from-folder", folder, out) == 0
    assert len(load_manifest(out).utterances) == 6


def test_a_part_without_words_is_none() -> None:
    said = parts_of_whisper(json.dumps([part(0), part(1, text="  "), part(2)])) or []
    assert [each.begin for each in said] == [0, 2]


def test_a_speaker_is_a_name_or_a_number() -> None:
    speakers = [0, "SPEAKER_01", None, True, ["a"]]
    parts = [part(number, speaker=speaker) for number, speaker in enumerate(speakers)]
    said = parts_of_whisper(json.dumps(parts)) or []
    assert [each.speaker for each in said] == ["0", "SPEAKER_01", "", "", ""]


@pytest.mark.parametrize(("key", "value"), [("channel", 0), ("channel_id", "right")])
def test_a_part_of_one_channel_is_not_the_mean_of_all(
    tmp_path: Path, key: str, value: int | str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "d", tmp_path / "m.jsonl"
    folder.mkdir()
    soundfile.write(folder / "a.wav", np.full((48_000, 2), 0.1, np.float32), 16_000)
    (folder / "a.json").write_text(json.dumps({"segments": [part(0), part(1, **{key: value})]}))
    assert orchestrate("manifest", "from-folder", folder, out) == 2
    assert f"has 2 channels and the record means one, for \"channel\" is '{value}'" in (
        capsys.readouterr().err
    )
    soundfile.write(folder / "a.wav", np.full(48_000, 0.1, np.float32), 16_000)
    assert orchestrate("manifest", "from-folder", folder, out) == 0


def test_parts_with_the_same_sound_are_told_by_their_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "d"
    tone(folder / "a.wav", 9.0)
    parts = [part(number) for number in range(4)] + [part(2, text="other words")]
    (folder / "a.json").write_text(json.dumps({"segments": parts}))
    assert orchestrate("manifest", "from-folder", folder, tmp_path / "m.jsonl") == 2
    said = (
        f"{folder}/a.json:1: the same audio as {folder}/a.json:1, from 2 s on; keep one of the two"
    )
    assert said in capsys.readouterr().err


def test_who_speaks_stands_in_a_list_of_its_own() -> None:
    chunk = {"text": " hello there you", "timestamp": [0.5, 2.0]}
    value = {"chunks": [chunk], "text": chunk["text"]}
    for turns, speaker in (([chunk | {"speaker": "SPEAKER_00"}], "SPEAKER_00"), ([], "")):
        [said] = parts_of_whisper(json.dumps(value | {"speakers": turns})) or []
        assert (said.text, said.begin, said.speaker) == ("hello there you", 0.5, speaker)
