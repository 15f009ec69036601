"""Decoding, scaling and the cache of decoded clips."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile

from orchestrator.corpus import audio
from orchestrator.corpus.audio import AudioNotes, load_audio, prepare, scale_to_rms
from orchestrator.corpus.manifest import Manifest, Utterance, load_manifest
from orchestrator.errors import ManifestError

RATE = 16_000


def tone(rate: int, seconds: float = 0.5, frequency: float = 440.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * frequency * np.arange(int(rate * seconds)) / rate)).astype(
        np.float32
    )


def manifest_of(folder: Path, *names: str, for_training: bool = False) -> Manifest:
    path = folder / "set.jsonl"
    rows = [{"audio": name, "text": f"text {name}", "speaker": name[0]} for name in names]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_manifest(path, for_training=for_training)


def rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A plain clip, a stereo one, one at 48 kHz, one with a peak, one silent, one lossy."""
    soundfile.write(tmp_path / "mono.wav", tone(RATE), RATE)
    left, right = tone(RATE), tone(RATE, frequency=300.0)
    soundfile.write(tmp_path / "stereo.wav", np.stack([left, right], axis=1), RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "wide.flac", tone(48_000), 48_000)
    peak = 0.001 * tone(RATE)
    peak[1000] = 0.9
    soundfile.write(tmp_path / "peak.wav", peak, RATE)
    soundfile.write(tmp_path / "quiet.wav", np.zeros(RATE, np.float32), RATE)
    soundfile.write(tmp_path / "mono.opus", tone(RATE), RATE, format="OGG", subtype="OPUS")
    return tmp_path


def test_stereo_is_the_mean_of_its_channels(folder: Path) -> None:
    found = load_audio(manifest_of(folder, "stereo.wav").utterances[0])
    np.testing.assert_array_equal(found.samples, (tone(RATE) + tone(RATE, frequency=300.0)) / 2)
    assert (found.mixed_down, found.resampled) == (True, False)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_other_rates_are_resampled(folder: Path, rate: int) -> None:
    soundfile.write(folder / "other.wav", tone(rate), rate)
    found = load_audio(manifest_of(folder, "other.wav").utterances[0])
    oracle = scipy.signal.resample_poly(tone(rate), RATE, rate)
    assert len(found.samples) == len(oracle) == RATE // 2
    assert np.abs(found.samples - oracle)[800:-800].max() < 2e-3
    assert (found.mixed_down, found.resampled) == (False, True)


def test_a_segment_is_what_lies_between_its_ends(folder: Path) -> None:
    (folder / "part.jsonl").write_text(
        '{"audio": "wide.flac", "text": "x", "offset": 0.1, "duration": 0.2}\n'
        '{"audio": "mono.wav", "text": "x", "offset": 0.33333}\n'
    )
    first, second = load_manifest(folder / "part.jsonl").utterances
    assert len(load_audio(first).samples) == 3200
    np.testing.assert_array_equal(
        load_audio(second).samples, soundfile.read(folder / "mono.wav", dtype="float32")[0][5333:]
    )


def test_a_file_that_shrank_after_it_was_checked(folder: Path) -> None:
    manifest = manifest_of(folder, "mono.wav")
    soundfile.write(folder / "mono.wav", tone(RATE, 0.25), RATE)
    with pytest.raises(ManifestError, match="is cut off: 4000 of 8000 frames could be decoded"):
        load_audio(manifest.utterances[0])


@pytest.mark.parametrize("target", [0.01, 0.075, 0.2])
def test_scaling_reaches_the_root_mean_square(target: float) -> None:
    scaled, clipped = scale_to_rms(tone(RATE), target)
    assert rms(scaled) == pytest.approx(target, rel=1e-6)
    assert scaled.dtype == np.float32 and not clipped


def test_scaling_clips_and_leaves_silence() -> None:
    spike = np.full(1000, 1e-3, np.float32)
    spike[0] = 0.9
    scaled, clipped = scale_to_rms(spike, 0.075)
    assert (scaled.max(), clipped) == (1.0, True)
    hiss = np.full(1000, 5e-5, np.float32)
    np.testing.assert_array_equal(scale_to_rms(hiss, 0.075)[0], hiss)


def test_clips_of_a_manifest(folder: Path) -> None:
    names = ("mono.wav", "stereo.wav", "wide.flac", "peak.wav", "quiet.wav")
    manifest = manifest_of(folder, *names, for_training=True)
    clips = prepare(manifest, rms=0.075, cache=folder / "cache")
    assert clips.notes == AudioNotes(resampled=(3,), mixed_down=(2,), silent=(5,), clipped=(4,))
    assert len(clips) == 5
    assert clips.ids == tuple(each.id for each in manifest.utterances)
    assert clips.texts == tuple(f"text {name}" for name in names)
    assert clips.speakers == ("m", "s", "w", "p", "q")
    assert clips.seconds == (0.5, 0.5, 0.5, 0.5, 1.0)
    for index, (clip, utterance) in enumerate(zip(clips, manifest.utterances, strict=True)):
        expected = scale_to_rms(load_audio(utterance).samples, 0.075)[0]
        np.testing.assert_array_equal(clip, expected)
        assert clip.dtype == np.float32 and not clip.flags.writeable
        np.testing.assert_array_equal(clips[index - 5], expected)
    with pytest.raises(IndexError):
        clips[5]


def test_without_rms_samples_stay_as_they_are(folder: Path) -> None:
    clips = prepare(manifest_of(folder, "mono.wav", "peak.wav"), rms=None, cache=folder / "cache")
    np.testing.assert_array_equal(clips[1], soundfile.read(folder / "peak.wav", dtype="float32")[0])
    assert clips.notes == AudioNotes()


def test_equal_sound_has_equal_hashes_whatever_holds_it(folder: Path) -> None:
    soundfile.write(
        folder / "mono.flac", soundfile.read(folder / "mono.wav", dtype="int16")[0], RATE
    )
    clips = prepare(
        manifest_of(folder, "mono.wav", "mono.flac", "mono.opus"), rms=0.075, cache=folder / "cache"
    )
    wav, flac, opus = clips.pcm_sha256
    assert wav == flac != opus
    loud = prepare(
        manifest_of(folder, "mono.wav", "mono.flac", "mono.opus"), rms=0.2, cache=folder / "cache"
    )
    assert loud.pcm_sha256 == clips.pcm_sha256
    assert loud.content_sha256 == clips.content_sha256


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the utterances that were decoded, in any order."""
    calls: list[str] = []
    real = audio.load_audio

    def counted(utterance: Utterance) -> audio.Audio:
        calls.append(utterance.id)
        return real(utterance)

    monkeypatch.setattr(audio, "load_audio", counted)
    return calls


def test_the_cache_is_used_until_something_changes(folder: Path, decoded: list[str]) -> None:
    manifest = manifest_of(folder, "mono.wav", "wide.flac")
    cache = folder / "cache"
    first = prepare(manifest, rms=0.075, cache=cache)
    assert len(decoded) == 2
    again = prepare(load_manifest(manifest.path), rms=0.075, cache=cache)
    assert len(decoded) == 2
    assert again == first
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    prepare(manifest, rms=0.1, cache=cache)
    assert len(decoded) == 4
    prepare(replace(manifest, utterances=manifest.utterances[:1]), rms=0.075, cache=cache)
    assert len(decoded) == 5
    os.utime(folder / "mono.wav", ns=(1, 1))
    prepare(manifest, rms=0.075, cache=cache)
    assert len(decoded) == 7


@pytest.mark.parametrize(
    "damage", ["flip samples", "cut samples", "no samples", "flip index", "cut index", "no index"]
)
def test_a_damaged_cache_is_built_again(folder: Path, decoded: list[str], damage: str) -> None:
    manifest = manifest_of(folder, "mono.wav", "wide.flac")
    cache = folder / "cache"
    whole = [np.array(clip) for clip in prepare(manifest, rms=0.075, cache=cache)]
    action, what = damage.split()
    path = next(cache.glob("*.f32" if what == "samples" else "*.index"))
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    if action == "no":
        path.unlink()
    else:
        path.write_bytes(raw if action == "flip" else raw[: len(raw) // 2])
    again = prepare(manifest, rms=0.075, cache=cache)
    assert len(decoded) == 4
    for a, b in zip(whole, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(list(cache.iterdir())) == 2


def test_an_interrupted_build_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = manifest_of(folder, "mono.wav", "wide.flac")

    def killed(utterance: Utterance) -> audio.Audio:
        raise KeyboardInterrupt

    monkeypatch.setattr(audio, "load_audio", killed)
    with pytest.raises(KeyboardInterrupt):
        prepare(manifest, rms=0.075, cache=folder / "cache")
    assert list((folder / "cache").iterdir()) == []
