"""One corpus in every accepted format is one corpus; what is read is what the file says."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from orchestrator.corpus.manifests import json_text
from orchestrator.corpus.manifests.manifest import load_manifest
from orchestrator.corpus.manifests.strict_json import StrictDecoder
from orchestrator.corpus.recordings.audio import load_audio

RATE = 16_000
TEXTS = ("alpha one", "bravo\u2028two", "naïve café")
IN_ONE_LINE = ("alpha one", "bravo two", "naïve café")
SPEAKERS = ("1272", "84", "84")


@pytest.fixture
def waves(tmp_path: Path) -> list[np.ndarray]:
    """Three clips, also as 16-bit WAV files, so that float and integer sources agree exactly."""
    made = []
    for index in range(3):
        steps = np.random.default_rng(index).integers(
            -3000, 3000, RATE // 2 + 37 * index, dtype=np.int16
        )
        soundfile.write(tmp_path / f"{index}.wav", steps, RATE)
        made.append(steps.astype(np.float32) / 32768)
    return made


def nemo(index: int, wave: np.ndarray, folder: Path) -> dict[str, Any]:
    return {
        "audio_filepath": f"{index}.wav",
        "duration": len(wave) / RATE,
        "text": TEXTS[index],
        "speaker": int(SPEAKERS[index]),
        "lang": "en",
    }


def absolute(index: int, wave: np.ndarray, folder: Path) -> dict[str, Any]:
    return {
        "wav": str(folder / f"{index}.wav"),
        "sentence": TEXTS[index],
        "client_id": SPEAKERS[index],
        "seconds": None,
    }


def hugging_face_path(index: int, wave: np.ndarray, folder: Path) -> dict[str, Any]:
    audio = {"path": f"{index}.wav", "bytes": None}
    return {"audio": audio, "transcription": TEXTS[index], "speaker_id": SPEAKERS[index]}


def hugging_face_array(index: int, wave: np.ndarray, folder: Path) -> dict[str, Any]:
    audio = {"path": "elsewhere.wav", "array": wave.tolist(), "sampling_rate": RATE}
    return {"audio": audio, "text": TEXTS[index], "speaker_id": SPEAKERS[index]}


def hugging_face_bytes(index: int, wave: np.ndarray, folder: Path) -> dict[str, Any]:
    content = base64.b64encode((folder / f"{index}.wav").read_bytes()).decode()
    return {"audio": {"path": None, "bytes": content}, "text": TEXTS[index], "spk": SPEAKERS[index]}


def inline_floats(index: int, wave: np.ndarray, folder: Path) -> dict[str, Any]:
    return {"audio": wave.tolist(), "text": TEXTS[index], "speaker_id": SPEAKERS[index]}


def segment(index: int, wave: np.ndarray, folder: Path) -> dict[str, Any]:
    """Each clip is cut out of a longer FLAC file."""
    path = folder / f"long{index}.flac"
    before = np.random.default_rng(9).normal(0, 0.1, RATE // 4).astype(np.float32)
    soundfile.write(path, np.concatenate([before, wave, before]), RATE, subtype="PCM_16")
    where = {"offset": 0.25, "duration": len(wave) / RATE}
    return {"audio": path.name, "text": TEXTS[index], "group": SPEAKERS[index]} | where


def lhotse(index: int, wave: np.ndarray, folder: Path) -> dict[str, Any]:
    source = {"type": "file", "channels": [0], "source": str(folder / f"{index}.wav")}
    seconds = len(wave) / RATE
    supervision = {
        "id": f"s{index}",
        "start": 0.0,
        "duration": seconds,
        "text": TEXTS[index],
        "language": "en",
    }
    return {
        "id": f"cut{index}",
        "start": 0.0,
        "duration": seconds,
        "channel": 0,
        "supervisions": [supervision | {"speaker": SPEAKERS[index]}],
        "recording": {
            "id": f"r{index}",
            "sources": [source],
            "sampling_rate": RATE,
            "duration": seconds,
        },
        "type": "MonoCut",
    }


FORMATS: list[Callable[[int, np.ndarray, Path], dict[str, Any]]] = [
    nemo,
    absolute,
    hugging_face_path,
    hugging_face_array,
    hugging_face_bytes,
    inline_floats,
    segment,
    lhotse,
]


def lines(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.__name__)
def test_every_format_of_one_corpus_is_the_same_corpus(
    tmp_path: Path, waves: list[np.ndarray], form: Any
) -> None:
    path = tmp_path / "set.json"
    path.write_bytes(lines([form(index, wave, tmp_path) for index, wave in enumerate(waves)]))
    manifest = load_manifest(path)
    assert manifest.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert tuple(each.text for each in manifest.utterances) == IN_ONE_LINE
    assert tuple(each.speaker for each in manifest.utterances) == SPEAKERS
    assert [each.line for each in manifest.utterances] == [1, 2, 3]
    assert len({each.id for each in manifest.utterances}) == 3
    for utterance, wave in zip(manifest.utterances, waves, strict=True):
        audio = load_audio(utterance)
        assert utterance.duration == pytest.approx(len(wave) / RATE, abs=1e-9)
        assert audio.samples.dtype == np.float32
        np.testing.assert_array_equal(audio.samples, wave)
        assert (audio.resampled, audio.mixed_down) == (False, False)


WRAPPINGS: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    "plain": lines,
    "byte order mark": lambda rows: b"\xef\xbb\xbf" + lines(rows),
    "windows": lambda rows: lines(rows).replace(b"\n", b"\r\n"),
    "blank lines": lambda rows: b"\n \n" + lines(rows).replace(b"\n", b"\n\n"),
    "no last newline": lambda rows: lines(rows)[:-1],
    "array": lambda rows: json.dumps(rows).encode(),
    "pretty array": lambda rows: json.dumps(rows, indent=2).encode(),
    "table": lambda rows: "".join(
        f"{row['audio_filepath']}\t{row['text']}\n" for row in rows
    ).encode(),
    "table with names": lambda rows: (
        b"speaker\tpath\tduration\tsentence\n"
        + "".join(
            f"{row['speaker']}\t{row['audio_filepath']}\t{row['duration']}\t{row['text']}\n"
            for row in rows
        ).encode()
    ),
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_wrappings_do_not_change_what_is_read(
    tmp_path: Path, waves: list[np.ndarray], wrapping: str
) -> None:
    path = tmp_path / "set"
    path.write_bytes(
        WRAPPINGS[wrapping]([nemo(index, wave, tmp_path) for index, wave in enumerate(waves)])
    )
    found = load_manifest(path).utterances
    assert tuple(each.text for each in found) == IN_ONE_LINE
    assert [each.audio for each in found] == [tmp_path / f"{index}.wav" for index in range(3)]
    if wrapping == "pretty array":
        assert [each.line for each in found] == [2, 9, 16]


def test_unknown_keys_are_kept_and_skipped_lines_dropped(
    tmp_path: Path, waves: list[np.ndarray]
) -> None:
    row = nemo(0, waves[0], tmp_path) | {"session": "m1", "nested": {"a": [1]}}
    skipped = {"_skipme": True, "audio_filepath": "gone.wav"}
    path = tmp_path / "set.jsonl"
    path.write_bytes(lines([skipped, row]))
    (found,) = load_manifest(path).utterances
    assert found.extra == {"lang": "en", "session": "m1", "nested": {"a": [1]}}
    assert found.line == 2


@pytest.mark.parametrize(
    "value",
    [
        "nan",
        "NaN",
        "None",
        "null",
        "N/A",
        "NA",
        "<NA>",
        "unknown",
        "Unknown Speaker",
        "no speaker",
        "-",
        "",
        " ",
        None,
        *("unbekannt", "Inconnu", "неизвестно", "#NV", "#BEZUG!"),
    ],
)
def test_what_stands_for_nobody_is_not_one_person(
    tmp_path: Path, waves: list[np.ndarray], value: str | None
) -> None:
    rows = [nemo(0, waves[0], tmp_path) | {"speaker": value}]
    rows += [rows[0] | {"audio_filepath": "1.wav", "spk_id": "ann"}]
    (tmp_path / "m.jsonl").write_bytes(lines(rows))
    assert [each.speaker for each in load_manifest(tmp_path / "m.jsonl").utterances] == ["", "ann"]


@pytest.mark.parametrize(
    "key", ["spk_id", "spkid", "spk", "speaker_name", "talker", "client_id", "Speaker ID"]
)
def test_speakers_under_the_names_of_other_corpora_are_read(
    tmp_path: Path, waves: list[np.ndarray], key: str
) -> None:
    table = f"ID,wav,{key},wrd\nu0,0.wav,ann,one two\nu1,1.wav,17,three\n"
    (tmp_path / "m.csv").write_text(table)
    assert [each.speaker for each in load_manifest(tmp_path / "m.csv").utterances] == ["ann", "17"]


def test_a_relative_path_means_the_manifests_folder_first(
    tmp_path: Path, waves: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sets").mkdir()
    path = tmp_path / "sets" / "set.jsonl"
    path.write_bytes(lines([{"audio": "0.wav", "text": "x"}]))
    monkeypatch.chdir(tmp_path)
    assert load_manifest(path).utterances[0].audio == tmp_path / "0.wav"
    (tmp_path / "sets" / "0.wav").write_bytes((tmp_path / "1.wav").read_bytes())
    assert load_manifest(path).utterances[0].audio == tmp_path / "sets" / "0.wav"
    assert load_manifest(Path("sets/set.jsonl")).utterances[0].audio == tmp_path / "sets" / "0.wav"


def test_made_ids_do_not_depend_on_the_machine(tmp_path: Path, waves: list[np.ndarray]) -> None:
    rows: list[dict[str, Any]] = [
        {"audio": "0.wav", "text": "x"},
        {"audio": "1.wav", "text": "x", "offset": 0.0, "duration": 0.2},
        {"audio": "1.wav", "text": "y", "offset": 0.2, "duration": 0.2},
        {"audio": [0.5, -0.5], "text": "z"},
        {"audio": "2.wav", "text": "w", "utt_id": 17},
    ]
    path = tmp_path / "set.jsonl"
    path.write_bytes(lines(rows))
    found = load_manifest(path).utterances
    # sha256sum of "0.wav\n0.0" and so on, and of the two floats
    assert [each.id for each in found] == [
        "0-ea4cc1e5",
        "1-608a9ace",
        "1-8bf7e309",
        "inline-deea3b24add6",
        "17",
    ]
    assert [each.explicit_id for each in found] == [False, False, False, False, True]


def test_a_document_is_looked_through_once_for_all_of_its_records(
    tmp_path: Path, waves: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [nemo(index, wave, tmp_path) for index, wave in enumerate(waves)]
    looked: list[int] = []

    class Counting(StrictDecoder):
        def __init__(self, raw: bytes) -> None:
            looked.append(len(raw))
            super().__init__(raw)

    monkeypatch.setattr(json_text, "StrictDecoder", Counting)
    for text in (
        json.dumps(rows, indent=1),
        json.dumps({"clips": rows}, indent=1),
        "\n".join(json.dumps(row, indent=1) for row in rows),
    ):
        looked.clear()
        (tmp_path / "a.json").write_text(text)
        assert len(load_manifest(tmp_path / "a.json").utterances) == len(rows)
        # beside it the first line is looked at, which tells that the text is a document
        assert looked.count(len(text)) == 1 and sum(looked) < 1.2 * len(text)


def test_utterances_are_values(tmp_path: Path, waves: list[np.ndarray]) -> None:
    path = tmp_path / "set.jsonl"
    path.write_bytes(
        lines([inline_floats(index, wave, tmp_path) for index, wave in enumerate(waves)])
    )
    first, again = load_manifest(path), load_manifest(path)
    assert first == again
    assert len(set(first.utterances)) == 3
    samples = first.utterances[0].samples
    assert samples is not None and not samples.flags.writeable


@pytest.mark.parametrize("module", ["manifests.manifest", "sets.diagnosis", "cache.clips"])
def test_the_room_is_free_of_torch(module: str) -> None:
    code = f"import sys, orchestrator.corpus.{module}; sys.exit('torch' in sys.modules or 'optuna' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
