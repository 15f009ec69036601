"""What only decoding finds is found before anything trains: with file and line, all at once, and
nothing is cached.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from orchestrator.corpus.cache import preparing
from orchestrator.corpus.cache.preparing import prepare
from orchestrator.corpus.manifests.manifest import Manifest, load_manifest
from orchestrator.corpus.recordings import audio
from orchestrator.corpus.utterance import Utterance
from orchestrator.errors import ManifestError

RATE = 16_000


def noise(seconds: float = 1.0) -> np.ndarray:
    return np.random.default_rng(5).normal(0, 0.05, int(seconds * RATE)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "a.wav", noise(), RATE)
    soundfile.write(tmp_path / "b.flac", noise(), RATE)
    return tmp_path


def manifest_of(folder: Path, *names: str) -> Manifest:
    path = folder / "set.jsonl"
    path.write_text(
        "".join(json.dumps({"audio": name, "text": "one two"}) + "\n" for name in names)
    )
    return load_manifest(path)


def flipped(folder: Path) -> str:
    raw = bytearray((folder / "b.flac").read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    (folder / "bad.flac").write_bytes(raw)
    return "audio file 'FOLDER/bad.flac' cannot be decoded: "


def halved(folder: Path) -> str:
    raw = (folder / "b.flac").read_bytes()
    (folder / "bad.flac").write_bytes(raw[: len(raw) // 2])
    return "audio file 'FOLDER/bad.flac' cannot be decoded: "


def floats(value: float) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        samples = noise()
        samples[100] = value
        soundfile.write(folder / "bad.wav", samples, RATE, subtype="FLOAT")
        name = "audio file 'FOLDER/bad.wav'"
        if np.isfinite(value):
            return f"{name} reaches {value:g}; float samples must lie within -1 and 1"
        return f"{name} holds NaN or infinite samples"

    return make


def silent(folder: Path) -> str:
    soundfile.write(folder / "bad.wav", np.zeros(RATE, np.float32), RATE)
    return "the clip is silent (rms below 1e-4) but its text is not empty"


def short(folder: Path) -> str:
    soundfile.write(folder / "bad.wav", noise()[:79], RATE)
    return "the clip has 79 samples; the model needs at least 80"


def padded_header(folder: Path) -> str:
    """MP3 frames lost at the end, which the Xing header still promises."""
    soundfile.write(folder / "whole.mp3", noise(2.0), RATE, format="MP3", subtype="MPEG_LAYER_III")
    raw = (folder / "whole.mp3").read_bytes()
    (folder / "bad.mp3").write_bytes(raw[: len(raw) // 2])
    return "audio file 'FOLDER/bad.mp3' is cut off: "


HIDDEN = {
    "flipped": flipped,
    "halved": halved,
    "nan": floats(float("nan")),
    "infinite": floats(float("inf")),
    "loud": floats(40.0),
    "silent": silent,
    "short": short,
    "mp3 cut off": padded_header,
}


@pytest.mark.parametrize("kind", HIDDEN)
def test_what_only_decoding_finds(folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    message = HIDDEN[kind](folder).replace("FOLDER", str(folder))
    bad = next(folder.glob("bad.*")).name
    manifest = manifest_of(folder, "a.wav", bad)
    with pytest.raises(ManifestError) as caught:
        prepare(manifest, rms=0.075, cache=folder / "cache")
    assert str(caught.value).startswith(
        f"{manifest.path} has 1 fault:\n  {manifest.path}:2: {message}"
    )
    real = audio.load_audio

    def of_the_bad_one(utterance: Utterance) -> audio.Audio:
        assert utterance.line == 2, "the good clip is on file"
        return real(utterance)

    monkeypatch.setattr(preparing, "load_audio", of_the_bad_one)
    with pytest.raises(ManifestError) as again:
        prepare(manifest, rms=0.075, cache=folder / "cache")
    assert str(again.value) == str(caught.value)


def test_decoding_reports_all_faults_at_once(folder: Path) -> None:
    names = ["a.wav"]
    for number, make in enumerate((flipped, silent, floats(float("nan")))):
        make(folder)
        bad = next(folder.glob("bad.*"))
        bad.rename(folder / f"{number}{bad.suffix}")
        names.append(f"{number}{bad.suffix}")
    manifest = manifest_of(folder, *names)
    with pytest.raises(ManifestError) as caught:
        prepare(manifest, rms=None, cache=folder / "cache")
    assert re.findall(r"set\.jsonl:(\d+): ", str(caught.value)) == ["2", "3", "4"]
