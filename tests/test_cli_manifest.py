"""`orchestrate manifest`: what it writes is what a sweep reads, repeatable, and what cannot be used
is said at once.
"""

from __future__ import annotations

import base64
import io
import json
import sys
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import soundfile
import torch
from scipy import signal

from orchestrator.corpus.manifests.manifest import load_manifest
from orchestrator.corpus.recordings.audio import load_audio
from orchestrator.corpus.recordings.locating import AUDIO_SUFFIXES
from orchestrator.tuning.noisy_copies import within_band
from orchestrator.typed_words import install_command
from tests.cli_project import orchestrate

RATE = 16_000


def tone(path: Path, seconds: float = 1.0, pitch: float = 1000.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(
        path, 0.3 * np.sin(2 * np.pi * pitch * np.arange(int(seconds * RATE)) / RATE), RATE
    )
    return path


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def make_manifest(folder: Path, speakers: str = "aaabbc") -> Path:
    lines = []
    for number, speaker in enumerate(speakers):
        audio = tone(folder / "audio" / f"{number}.wav", 1 + number / 10)
        line = {
            "audio_filepath": f"audio/{audio.name}",
            "text": f"text {number}",
            "speaker": speaker,
            "take": number,
        }
        lines.append(json.dumps(line))
    path = folder / "all.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


# from-folder


def test_a_folder_with_texts_becomes_a_shuffled_manifest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(20):
        audio = tone(tmp_path / "rec" / f"s{number % 4}" / f"{number:02d}.wav", 0.5)
        audio.with_suffix(".txt").write_text(f"take\n {number}\n")
    out = tmp_path / "sets" / "domain.jsonl"
    assert (
        orchestrate(
            "manifest", "from-folder", tmp_path / "rec", out, "--speaker", "folder", "--seed", 3
        )
        == 0
    )
    assert capsys.readouterr().out == f"{out}: 20 utterances, 0.00 h, 4 speakers\n"
    order = [each.text for each in load_manifest(out).utterances]
    assert (
        sorted(order, key=lambda text: int(text.split()[1]))
        == [f"take {number}" for number in range(20)]
        != order
    )
    assert rows(out)[0]["audio_filepath"].startswith("../rec/s")
    source = json.loads((tmp_path / "sets" / "domain.jsonl.source.json").read_text())
    assert source["made_by"] == "orchestrate manifest from-folder"
    assert source["arguments"]["seed"] == 3 and source["sha256"] == load_manifest(out).sha256
    again = tmp_path / "sets" / "again.jsonl"
    assert (
        orchestrate(
            "manifest", "from-folder", tmp_path / "rec", again, "--speaker", "folder", "--seed", 3
        )
        == 0
    )
    assert again.read_bytes() == out.read_bytes()
    fewer = tmp_path / "sets" / "fewer.jsonl"
    assert (
        orchestrate("manifest", "from-folder", tmp_path / "rec", fewer, "--samples", 5, "--seed", 3)
        == 0
    )
    assert [row["id"] for row in rows(fewer)] == [row["id"] for row in rows(out)[:5]]


def test_librispeech_folders_are_read(tmp_path: Path) -> None:
    chapter = tmp_path / "test-clean" / "84" / "121123"
    for number in range(2):
        tone(chapter / f"84-121123-000{number}.flac")
    (chapter / "84-121123.trans.txt").write_text(
        "84-121123-0000 GO DO YOU HEAR\n84-121123-0001 BUT IN LESS\n"
    )
    out = tmp_path / "heldout.jsonl"
    assert (
        orchestrate("manifest", "from-folder", tmp_path / "test-clean", out, "--speaker", "prefix")
        == 0
    )
    found = {each.id: (each.text, each.speaker) for each in load_manifest(out).utterances}
    assert found == {
        "84/121123/84-121123-0000": ("GO DO YOU HEAR", "84"),
        "84/121123/84-121123-0001": ("BUT IN LESS", "84"),
    }


def test_a_table_of_transcripts_names_recordings_four_ways(tmp_path: Path) -> None:
    for name in ("x/1", "x/2", "y/3", "y/4"):
        tone(tmp_path / "rec" / f"{name}.wav")
    table = tmp_path / "texts.tsv"
    table.write_text("x/1.wav\tone\nx/2\ttwo\n3.wav\tthree\n4\tfour\n")
    out = tmp_path / "m.jsonl"
    assert (
        orchestrate("manifest", "from-folder", tmp_path / "rec", out, "--transcripts", table) == 0
    )
    assert {each.id: each.text for each in load_manifest(out).utterances} == {
        "x/1": "one",
        "x/2": "two",
        "y/3": "three",
        "y/4": "four",
    }


def test_everything_wrong_with_a_folder_is_said_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "rec"
    for name in ("x/1.wav", "y/1.wav", "2.wav", "3.wav"):
        tone(folder / name)
    (folder / "broken.wav").write_text("no sound")
    table = tmp_path / "texts.tsv"
    table.write_text(
        "1\tone\n2\ttwo\n2.wav\ttwo again\n9\tnine\nno tab\nx/1\tone\ny/1\tone\nbroken\tno\n"
    )
    assert (
        orchestrate("manifest", "from-folder", folder, tmp_path / "m.jsonl", "--transcripts", table)
        == 2
    )
    assert capsys.readouterr().err.splitlines() == [
        f"{folder} has 4 faults:",
        f"  {table}:1: '1' may be any of 2 recordings; write its folder too",
        f"  {table}:3: '2.wav' has a transcript already, {table}:2",
        f"  {table}:5: 1 tab-separated columns where 2 are expected (audio_filepath<TAB>text)",
        f"  audio file '{folder}/broken.wav' cannot be read as audio: it is text, 'no sound'; "
        "download the recording itself",
    ]
    assert not (tmp_path / "m.jsonl").exists()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (False, "there is no folder {0}\n  Name the folder that holds the recordings.\n"),
        (
            True,
            f"{{0}} holds no recordings\n  Looked for {', '.join(AUDIO_SUFFIXES)}, in all folders below.\n",
        ),
    ],
)
def test_no_folder_no_manifest(
    tmp_path: Path, make: bool, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "rec"
    if make:
        folder.mkdir()
    assert orchestrate("manifest", "from-folder", folder, tmp_path / "m.jsonl") == 2
    assert capsys.readouterr().err == message.format(folder)


def test_more_samples_than_there_are_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tone(tmp_path / "rec" / "1.wav").with_suffix(".txt").write_text("one")
    assert (
        orchestrate(
            "manifest", "from-folder", tmp_path / "rec", tmp_path / "m.jsonl", "--samples", 2
        )
        == 2
    )
    assert (
        capsys.readouterr().err
        == "--samples 2 is more than there is: 1 utterances\n  Ask for fewer.\n"
    )


# noisy


def test_noise_has_the_ratio_that_is_written_down(tmp_path: Path) -> None:
    source, out = make_manifest(tmp_path), tmp_path / "noisy" / "all.jsonl"
    assert orchestrate("manifest", "noisy", source, out, "--snr", "-5:15", "--seed", 7) == 0
    clean = {
        each.id: load_audio(each).samples.astype(float) for each in load_manifest(source).utterances
    }
    ratios = []
    for each in load_manifest(out).utterances:
        copy, original = load_audio(each).samples.astype(float), clean[each.id]
        # the copy was scaled down where it would have been cut
        gain = (copy @ original) / (original @ original)
        noise = copy / gain - original
        ratios.append(each.extra["snr_db"])
        measured = 10 * np.log10((original @ original) / (noise @ noise))
        assert measured == pytest.approx(each.extra["snr_db"], abs=0.15)
        assert each.extra["take"] == int(each.text.split()[1]) and np.abs(copy).max() < 1
    assert len(set(ratios)) == 6 and all(-5 <= ratio <= 15 for ratio in ratios)
    source_of = json.loads((out.parent / "all.jsonl.source.json").read_text())["arguments"]
    assert source_of["source"]["sha256"] == load_manifest(source).sha256 and source_of["seed"] == 7


def test_a_copy_is_the_same_every_time_and_alone(tmp_path: Path) -> None:
    source = make_manifest(tmp_path)
    one = tmp_path / "one.jsonl"
    one.write_text(source.read_text().splitlines()[4] + "\n")
    for name, of in (("a", source), ("b", source), ("c", one)):
        options = ("--snr", "0:20", "--band", "300:3400", "--speed", "0.8:1.2", "--seed", 1)
        assert orchestrate("manifest", "noisy", of, tmp_path / name / "m.jsonl", *options) == 0
    first, second, alone = (load_manifest(tmp_path / name / "m.jsonl") for name in "abc")
    assert first.sha256 == second.sha256
    for one_of, other in zip(first.utterances, second.utterances, strict=True):
        np.testing.assert_array_equal(load_audio(one_of).samples, load_audio(other).samples)
    (same,) = (each for each in first.utterances if each.id == alone.utterances[0].id)
    np.testing.assert_array_equal(load_audio(same).samples, load_audio(alone.utterances[0]).samples)


def test_speed_moves_pitch_and_length_together(tmp_path: Path) -> None:
    source, out = make_manifest(tmp_path, "a"), tmp_path / "fast" / "m.jsonl"
    assert orchestrate("manifest", "noisy", source, out, "--speed", "1.25:1.25") == 0
    (copy,) = load_manifest(out).utterances
    samples = load_audio(copy).samples
    assert len(samples) == RATE / 1.25
    frequency, power = signal.periodogram(samples, RATE)
    assert frequency[power.argmax()] == pytest.approx(1250, abs=2)


def test_a_faster_copy_has_not_the_times_of_its_source(tmp_path: Path) -> None:
    """Of a recording that is cut already they tell its length, and no more that of the copy."""
    tone(tmp_path / "a.wav", 8.0)
    line = {"audio_filepath": "a.wav", "text": "one", "begin_time": 61, "end_time": 69, "take": 1}
    (tmp_path / "all.jsonl").write_text(json.dumps(line | {"channel": 1}))
    out = tmp_path / "m.jsonl"
    assert (
        orchestrate("manifest", "noisy", tmp_path / "all.jsonl", out, "--speed", "1.25:1.25") == 0
    )
    [copy] = load_manifest(out).utterances
    assert (copy.duration, dict(copy.extra)) == (6.4, {"take": 1, "speed": 1.25})


def test_a_band_leaves_little_outside(tmp_path: Path) -> None:
    audio = tmp_path / "white.wav"
    soundfile.write(audio, np.random.default_rng(0).normal(0, 0.1, 4 * RATE), RATE)
    source, out = tmp_path / "m.jsonl", tmp_path / "narrow" / "m.jsonl"
    source.write_text(json.dumps({"audio_filepath": "white.wav", "text": "noise"}))
    assert orchestrate("manifest", "noisy", source, out, "--band", "300:3400", "--snr", "0:0") == 0
    frequency, power = signal.welch(
        load_audio(load_manifest(out).utterances[0]).samples, RATE, nperseg=1024
    )
    inside = power[(frequency > 600) & (frequency < 1700)].mean()
    assert (
        power[frequency > 6800].mean() < 0.01 * inside
        and power[frequency < 100].mean() < 0.01 * inside
    )


@pytest.mark.parametrize("loudness", [0.1, 1.0, 3.0])
def test_a_band_cuts_nothing_at_full_scale(loudness: float) -> None:
    wave = loudness * np.random.default_rng(0).standard_normal(RATE)
    expected = wave
    for frequency, kind in 2 * ((300, "highpass"), (3400, "lowpass")):
        expected = signal.sosfilt(
            signal.butter(2, frequency, kind, output="sos", fs=RATE), expected
        )
    found = within_band(torch.from_numpy(wave.astype(np.float32))[None], (300, 3400))
    np.testing.assert_allclose(found[0].numpy(), expected, atol=2e-3 * loudness)


def test_silent_and_broken_clips_are_said_with_their_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make_manifest(tmp_path, "ab")
    soundfile.write(tmp_path / "audio" / "1.wav", np.zeros(RATE), RATE)
    assert orchestrate("manifest", "noisy", source, tmp_path / "n" / "m.jsonl", "--snr", "0:5") == 2
    assert capsys.readouterr().err == (
        f"{source} has 1 fault:\n"
        f"  {source}:2: the clip is silent (rms below 1e-4): noise has no ratio to it\n"
        "Correct or delete these lines, then run the same command again.\n"
    )
    narrow = tmp_path / "narrow" / "m.jsonl"
    options = ("--speed", "0.8:0.8", "--band", "300:3400")
    assert orchestrate("manifest", "noisy", source, narrow, *options) == 0
    copies = {each.id: load_audio(each).samples for each in load_manifest(narrow).utterances}
    assert sorted(bool(copy.any()) for copy in copies.values()) == [False, True]
    assert list((tmp_path / "n").iterdir()) == [], "a refused command leaves nothing"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            (),
            "noisy needs at least one of --snr, --band and --speed\n  Such as --snr 0:15 --band 300:3400.\n",
        ),
        (
            ("--snr", "5"),
            "--snr 5 is no range\n  Write LO:HI, two numbers from -20 to 60, LO first.\n",
        ),
        (
            ("--snr", "nan:5"),
            "--snr nan:5 is no range\n  Write LO:HI, two numbers from -20 to 60, LO first.\n",
        ),
        (
            ("--band", "3400:300"),
            "--band 3400:300 is no range\n  Write LO:HI, two numbers from 20 to 7900, LO first.\n",
        ),
        (
            ("--band", "300:300"),
            "--band 300:300 is empty\n  Write two frequencies, such as --band 300:3400.\n",
        ),
        (
            ("--speed", "0:1"),
            "--speed 0:1 is no range\n  Write LO:HI, two numbers from 0.5 to 2, LO first.\n",
        ),
    ],
)
def test_ranges_that_are_none(
    tmp_path: Path, options: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        orchestrate("manifest", "noisy", tmp_path / "m.jsonl", tmp_path / "n.jsonl", *options) == 2
    )
    assert capsys.readouterr().err == message


# split


def test_the_sound_of_another_copy_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two manifests whose names differ in the ending alone have one folder for their sound."""
    source, first, second = (tmp_path / name for name in ("all.jsonl", "n.jsonl", "n.json"))
    make_manifest(tmp_path)
    assert orchestrate("manifest", "noisy", source, first, "--snr", "0:0") == 0
    sound = {path.name: path.read_bytes() for path in (tmp_path / "n-audio").iterdir()}
    assert orchestrate("manifest", "noisy", source, second, "--snr", "30:30") == 2
    assert capsys.readouterr().err == (
        f"{tmp_path}/n-audio, where the sound of {second} would be written, may be that of {first}\n"
        "  Name another manifest, or delete that folder if no manifest names what it holds; nothing is overwritten.\n"
    )
    assert {path.name: path.read_bytes() for path in (tmp_path / "n-audio").iterdir()} == sound
    assert not second.exists()


def test_nobody_speaks_in_both_parts(tmp_path: Path) -> None:
    source = make_manifest(tmp_path, "abcdefghij" * 4)
    parts = tmp_path / "a" / "domain.jsonl", tmp_path / "b" / "confirm.jsonl"
    assert (
        orchestrate("manifest", "split", source, "--out", *parts, "--share", 0.7, "--seed", 1) == 0
    )
    first, second = (load_manifest(part).utterances for part in parts)
    assert len(first) == 28 and len(second) == 12
    assert not {each.speaker for each in first} & {each.speaker for each in second}
    original = {each.text: each for each in load_manifest(source).utterances}
    for each in (*first, *second):
        was = original.pop(each.text)
        assert (each.audio, each.id, each.duration) == (was.audio, was.id, was.duration)
        assert dict(each.extra) == dict(was.extra)
    assert not original


def test_segments_inline_samples_and_encoded_bytes_survive_a_split(tmp_path: Path) -> None:
    tone(tmp_path / "long.wav", 3.0)
    encoded = io.BytesIO()
    soundfile.write(encoded, np.full(800, 0.25), RATE, format="WAV")
    lines = [
        {
            "audio_filepath": "long.wav",
            "offset": 0.0,
            "duration": 1.0,
            "text": "one",
            "speaker": "a",
        },
        {
            "audio_filepath": "long.wav",
            "offset": 1.5,
            "duration": 1.0,
            "text": "two",
            "speaker": "b",
        },
        {"audio": [0.1, -0.2, 0.3] * 100, "text": "three", "speaker": "c"},
        {
            "audio": {"bytes": base64.b64encode(encoded.getvalue()).decode()},
            "text": "four",
            "speaker": "d",
        },
    ]
    source = tmp_path / "m.jsonl"
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    parts = tmp_path / "x" / "1.jsonl", tmp_path / "x" / "2.jsonl"
    assert orchestrate("manifest", "split", source, "--out", *parts) == 0
    found = {each.text: each for part in parts for each in load_manifest(part).utterances}
    for each in load_manifest(source).utterances:
        np.testing.assert_array_equal(
            load_audio(found[each.text]).samples, load_audio(each).samples
        )


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = make_manifest(tmp_path)
    message = f"{source} exists\n  Name a file that does not; nothing is overwritten.\n"
    for command in (("from-folder", tmp_path), ("noisy", source), ("from-dataset", "x")):
        options = ("--snr", "0:1") if command[0] == "noisy" else ()
        assert orchestrate("manifest", *command, source, *options) == 2
        assert capsys.readouterr().err == message
    assert orchestrate("manifest", "split", source, "--out", tmp_path / "a.jsonl", source) == 2
    assert capsys.readouterr().err == message


# from-dataset


def make_dataset(count: int = 12) -> datasets.Dataset:
    audio = []
    for number in range(count):
        stream = io.BytesIO()
        soundfile.write(
            stream, np.sin(np.arange(RATE // 2) * (number + 1) / 50), RATE, format="FLAC"
        )
        audio.append({"bytes": stream.getvalue(), "path": f"{number}.flac"})
    columns = {
        "audio": audio,
        "text": [f"text {n}" for n in range(count)],
        "speaker_id": [n % 3 for n in range(count)],
    }
    return datasets.Dataset.from_dict(columns).cast_column("audio", datasets.Audio(decode=False))


def test_a_saved_data_set_becomes_a_manifest_with_its_own_bytes(tmp_path: Path) -> None:
    data = make_dataset()
    datasets.DatasetDict({"test": data}).save_to_disk(str(tmp_path / "saved"))
    out = tmp_path / "domain.jsonl"
    options = ("--split", "test", "--samples", 8, "--seed", 5)
    assert orchestrate("manifest", "from-dataset", tmp_path / "saved", out, *options) == 0
    found = load_manifest(out).utterances
    assert len(found) == 8 and len({each.text for each in found}) == 8
    for each in found:
        row = data[int(each.id)]
        assert (each.text, each.speaker) == (row["text"], str(row["speaker_id"]))
        assert (
            each.audio
            and each.audio.read_bytes() == row["audio"]["bytes"]
            and each.audio.suffix == ".flac"
        )
    source = json.loads((tmp_path / "domain.jsonl.source.json").read_text())
    assert source["arguments"]["seed"] == 5 and source["arguments"]["dataset"]["rows"] == 12


def test_a_folder_of_parquet_files_and_columns_of_other_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    data = make_dataset(3).rename_columns({"text": "words", "speaker_id": "who", "audio": "sound"})
    (tmp_path / "set").mkdir()
    data.to_parquet(str(tmp_path / "set" / "train-0.parquet"))
    out = tmp_path / "m.jsonl"
    options = (
        "--split",
        "train",
        "--text-column",
        "words",
        "--speaker-column",
        "who",
        "--audio-column",
        "sound",
    )
    assert orchestrate("manifest", "from-dataset", tmp_path / "set", out, *options) == 0
    assert {(each.text, each.speaker) for each in load_manifest(out).utterances} == {
        (f"text {number}", str(number)) for number in range(3)
    }


def test_data_sets_that_do_not_fit_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_dataset(2).rename_column("text", "words").save_to_disk(str(tmp_path / "saved"))
    out, saved = tmp_path / "m.jsonl", tmp_path / "saved"
    capsys.readouterr()
    assert orchestrate("manifest", "from-dataset", saved, out) == 2
    assert capsys.readouterr().err == (
        f"{saved} has no column that is known to hold text; name it with --text-column\n"
        "  It has audio, words, speaker_id.\n"
    )
    assert orchestrate("manifest", "from-dataset", saved, out, "--speaker-column", "who") == 2
    assert capsys.readouterr().err == (
        f"{saved} has no column 'who' (--speaker-column)\n  It has audio, words, speaker_id.\n"
    )
    (tmp_path / "empty").mkdir()
    assert orchestrate("manifest", "from-dataset", tmp_path / "empty", out) == 2
    assert f"data set '{tmp_path / 'empty'}' cannot be loaded: " in capsys.readouterr().err


def test_without_the_library_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert orchestrate("manifest", "from-dataset", "some/set", tmp_path / "m.jsonl") == 2
    assert capsys.readouterr().err == (
        f"manifest from-dataset needs the datasets library\n  {install_command('hub')}\n"
    )
