"""Decoding, scaling and the cache of decoded clips."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.signal
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from orchestrator.corpus.cache import clip_cache, preparing
from orchestrator.corpus.cache.clips import AudioNotes
from orchestrator.corpus.cache.preparing import prepare
from orchestrator.corpus.manifests.manifest import Manifest, load_manifest
from orchestrator.corpus.recordings import audio
from orchestrator.corpus.recordings.audio import load_audio
from orchestrator.corpus.recordings.loudness import scale_to_rms
from orchestrator.corpus.utterance import Utterance
from orchestrator.errors import ManifestError
from orchestrator.progress import listening
from tests.stored_sounds import stored_sounds

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
    with torch.autocast("cpu", torch.bfloat16):  # as in a sweep in bfloat16
        again = load_audio(manifest_of(folder, "other.wav").utterances[0])
    assert np.array_equal(again.samples, found.samples)


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
    with pytest.raises(ManifestError, match=r"is cut off: 4000 of 8000 .* convert it \(ffmpeg"):
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

    monkeypatch.setattr(preparing, "load_audio", counted)
    return calls


def test_sound_is_decoded_once_whatever_level_and_manifest_it_is_asked_for(
    folder: Path, decoded: list[str]
) -> None:
    manifest = manifest_of(folder, "mono.wav", "wide.flac")
    cache = folder / "cache"
    first = prepare(manifest, rms=0.075, cache=cache)
    assert len(decoded) == 2
    again = prepare(load_manifest(manifest.path), rms=0.075, cache=cache)
    assert again == first
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    louder = prepare(manifest, rms=0.1, cache=cache)
    np.testing.assert_array_equal(
        louder[0], scale_to_rms(load_audio(manifest.utterances[0]).samples, 0.1)[0]
    )
    decoded.clear()
    prepare(replace(manifest, utterances=manifest.utterances[:1]), rms=0.075, cache=cache)
    os.utime(folder / "mono.wav", ns=(1, 1))
    shutil.copy(folder / "wide.flac", folder / "copy.flac")
    prepare(manifest_of(folder, "copy.flac", "mono.wav"), rms=0.075, cache=cache)
    assert decoded == []


def test_a_file_of_other_bytes_is_decoded_anew(folder: Path, decoded: list[str]) -> None:
    manifest, cache = manifest_of(folder, "mono.wav", "wide.flac"), folder / "cache"
    before = prepare(manifest, rms=0.075, cache=cache)
    decoded.clear()
    times = (folder / "mono.wav").stat()
    soundfile.write(folder / "mono.wav", tone(RATE, frequency=200.0), RATE)
    os.utime(folder / "mono.wav", ns=(times.st_atime_ns, times.st_mtime_ns))  # as rsync may
    after = prepare(manifest, rms=0.075, cache=cache)
    assert decoded == [manifest.utterances[0].id]
    assert after.pcm_sha256[0] != before.pcm_sha256[0]
    assert after.pcm_sha256[1] == before.pcm_sha256[1]


def test_sound_of_a_file_that_changes_while_it_is_read_is_not_kept_as_what_it_was(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, cache = manifest_of(folder, "mono.wav", "wide.flac"), folder / "cache"
    content, real = (folder / "mono.wav").read_bytes(), audio.load_audio

    def rewritten(utterance: Utterance) -> audio.Audio:
        if utterance.audio == folder / "mono.wav":
            soundfile.write(folder / "mono.wav", tone(RATE, frequency=200.0), RATE)
        else:
            (folder / "wide.flac").chmod(0o600)  # changes its times, not its content
        return real(utterance)

    with monkeypatch.context() as patch:
        patch.setattr(preparing, "load_audio", rewritten)
        with pytest.raises(ManifestError, match=r"has 1 fault:\n.*mono\.wav' changed while"):
            prepare(manifest, rms=None, cache=cache)
    (folder / "mono.wav").write_bytes(content)
    clips = prepare(manifest, rms=None, cache=cache)
    np.testing.assert_array_equal(clips[0], real(manifest.utterances[0]).samples)


def damaged(cache: Path, damage: str) -> None:
    action, what = damage.split()
    path = next(cache.glob("clips/*.pcm" if what == "samples" else "clips/*.index"))
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    if action == "no":
        path.unlink()
    else:
        path.write_bytes(raw if action == "flip" else raw[: len(raw) // 2])


DAMAGES = [f"{action} {what}" for action in ("flip", "cut", "no") for what in ("samples", "index")]


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_made_again(folder: Path, decoded: list[str], damage: str) -> None:
    manifest = manifest_of(folder, "mono.wav", "wide.flac")
    cache = folder / "cache"
    whole = [np.array(clip) for clip in prepare(manifest, rms=0.075, cache=cache)]
    damaged(cache, damage)
    again = prepare(manifest, rms=0.075, cache=cache)
    for a, b in zip(whole, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(decoded) in (3, 4)


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_while_it_is_in_use_is_made_again(folder: Path, damage: str) -> None:
    manifest = manifest_of(folder, "mono.wav", "wide.flac")
    clips = prepare(manifest, rms=0.075, cache=folder / "cache")
    whole = [np.array(clip) for clip in clips]
    damaged(folder / "cache", damage)
    for a, b in zip(whole, clips, strict=True):
        np.testing.assert_array_equal(a, b)


def test_lost_sound_of_a_file_that_has_changed_is_refused(folder: Path) -> None:
    clips = prepare(manifest_of(folder, "mono.wav"), rms=0.075, cache=folder / "cache")
    damaged(folder / "cache", "no samples")
    soundfile.write(folder / "mono.wav", tone(RATE, frequency=200.0), RATE)
    with pytest.raises(ManifestError, match=r"mono\.wav.* has changed since this run began"):
        clips[0]


def test_lost_sound_of_a_file_that_cannot_be_read_says_how_to_go_on(folder: Path) -> None:
    clips = prepare(manifest_of(folder, "mono.wav"), rms=0.075, cache=folder / "cache")
    damaged(folder / "cache", "no samples")
    (folder / "mono.wav").rename(folder / "away.wav")
    with pytest.raises(ManifestError, match=r"(?s)mono\.wav.*Put the file back.*same command"):
        clips[0]


def test_sound_that_cannot_be_read_for_a_moment_stays_in_the_cache(
    folder: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[str]
) -> None:
    cache = folder / "cache"
    clips = prepare(manifest_of(folder, "mono.wav"), rms=0.075, cache=cache)
    whole, before = np.array(clips[0]), sorted(cache.glob("clips/*"))

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(np, "fromfile", refused)
        np.testing.assert_array_equal(clips[0], whole)
    assert sorted(cache.glob("clips/*")) == before


def test_damaged_sound_goes_with_the_run_that_finds_it(folder: Path, decoded: list[str]) -> None:
    manifest, cache = manifest_of(folder, "mono.wav", "wide.flac"), folder / "cache"
    damage = prepare(manifest, rms=0.075, cache=cache)
    damaged(cache, "flip samples")
    list(damage)
    decoded.clear()
    list(prepare(manifest, rms=0.075, cache=cache))
    assert len(decoded) == 2, "the whole segment is written anew"
    list(prepare(manifest, rms=0.075, cache=cache))
    assert len(decoded) == 2


def test_sound_that_cannot_be_read_now_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, cache = manifest_of(folder, "mono.wav"), folder / "cache"
    prepare(manifest, rms=0.075, cache=cache)
    before = sorted(cache.glob("clips/*"))

    def refused(self: Path) -> bytes:
        raise OSError(errno.EMFILE, "too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refused)
        assert clip_cache.find_clips(cache / "clips") == {}
    assert sorted(cache.glob("clips/*")) == before


def test_sound_that_another_process_removes_meanwhile_is_decoded_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = folder / "cache"
    whole = prepare(manifest_of(folder, "mono.wav"), rms=0.075, cache=cache)
    expected = np.array(whole[0])
    write = clip_cache.write_clips

    def removed_first(*given: Any) -> None:
        for path in cache.glob("clips/*"):
            path.unlink()
        write(*given)

    monkeypatch.setattr(clip_cache, "write_clips", removed_first)
    both = prepare(manifest_of(folder, "mono.wav", "wide.flac"), rms=0.075, cache=cache)
    np.testing.assert_array_equal(both[0], expected)


def test_samples_that_a_killed_writer_left_without_an_index_go(folder: Path) -> None:
    clips = folder / "cache" / "clips"
    clips.mkdir(parents=True)
    for name in ("old.pcm", "new.pcm"):
        (clips / name).write_bytes(b"half")
    os.utime(clips / "old.pcm", (1, 1))
    prepare(manifest_of(folder, "mono.wav"), rms=0.075, cache=folder / "cache")
    assert not (clips / "old.pcm").exists() and (clips / "new.pcm").exists()


def test_integers_are_kept_where_they_lose_no_bit(folder: Path) -> None:
    soundfile.write(folder / "half.flac", tone(RATE), RATE, subtype="PCM_24")
    names = ("mono.wav", "half.flac", "wide.flac", "stereo.wav", "peak.wav")
    for number, name in enumerate(names):
        cache = folder / f"cache-{number}"
        (clip,) = prepare(manifest_of(folder, name), rms=None, cache=cache)
        (file,) = cache.glob("clips/*.pcm")
        expected = load_audio(manifest_of(folder, name).utterances[0]).samples
        assert clip.tobytes() == expected.tobytes()
        width = 2 if name in ("mono.wav", "peak.wav") else 4
        assert file.stat().st_size == width * len(expected)


@settings(max_examples=50, deadline=None)
@given(
    arrays(
        np.float32,
        st.integers(1, 40),
        elements=st.one_of(
            st.integers(-32768, 32768).map(lambda value: np.float32(value / 32768)),
            st.sampled_from([-0.0, 1e-30, -1.5, 2.0]),
            st.floats(-1, 1, width=32),
        ),
    ),
    st.sampled_from([None, 0.075]),
)
def test_whatever_is_decoded_comes_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, samples: np.ndarray, rms: float | None
) -> None:
    sounds = stored_sounds([samples], tmp_path_factory.mktemp("clips"))
    scaled, clipped = (samples, False) if rms is None else scale_to_rms(samples, rms)
    (stored,) = sounds.stored
    assert stored.samples(rms).tobytes() == scaled.tobytes()
    assert stored.clipped(rms) == clipped


def test_an_interrupted_build_is_continued(
    folder: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was decoded before goes into the cache with the segment that it is in."""
    manifest = manifest_of(folder, "mono.wav", "wide.flac", "stereo.wav")
    monkeypatch.setattr(clip_cache, "SEGMENT_BYTES", 1)
    real = preparing._decode_utterance

    def killed(utterance: Utterance) -> clip_cache.Decoded:
        if utterance is manifest.utterances[2]:
            raise KeyboardInterrupt
        return real(utterance)

    with monkeypatch.context() as patch:
        patch.setattr(preparing, "_decode_utterance", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare(manifest, rms=0.075, cache=folder / "cache")
    assert not list(folder.glob("cache/clips/*.tmp-*"))
    assert len(list(folder.glob("cache/clips/*.index"))) == 2
    decoded.clear()
    prepare(manifest, rms=0.075, cache=folder / "cache")
    assert decoded == [manifest.utterances[2].id]


def test_two_processes_that_decode_the_same_keep_it_once(folder: Path) -> None:
    manifest = manifest_of(folder, "mono.wav", "peak.wav", "stereo.wav")
    code = (
        "import sys; from pathlib import Path; from orchestrator.corpus.cache.preparing import prepare;"
        "from orchestrator.corpus.manifests.manifest import load_manifest;"
        "print(prepare(load_manifest(Path(sys.argv[1])), rms=0.075, cache=Path(sys.argv[2])"
        ").content_sha256)"
    )
    command = [sys.executable, "-c", code, str(manifest.path), str(folder / "cache")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = {process.communicate()[0] for process in both}
    assert [process.returncode for process in both] == [0, 0] and len(said) == 1
    assert len(list(folder.glob("cache/clips/*"))) == 2


def test_of_a_cache_that_is_too_large_what_was_used_longest_ago_goes(folder: Path) -> None:
    cache, names = folder / "cache", ("mono.wav", "wide.flac", "stereo.wav")
    for name in names:
        prepare(manifest_of(folder, name), rms=0.075, cache=cache)
    segments = {segment.name: segment for segment in clip_cache.kept_segments(cache / "clips")}
    for age, name in enumerate(segments):
        os.utime(cache / "clips" / f"{name}.index", (1000 - age, 1000 - age))
    newest, middle, oldest = segments
    assert clip_cache.evict_segments(cache / "clips", 10**9, ()) == 0
    limit = segments[newest].size
    freed = clip_cache.evict_segments(cache / "clips", limit, (oldest,))
    left = [segment.name for segment in clip_cache.kept_segments(cache / "clips")]
    assert left == [oldest] and freed == segments[newest].size + segments[middle].size


def test_the_cache_says_how_far_it_is(folder: Path) -> None:
    told: list[tuple[int, int]] = []

    def note(what: str, done: int, total: int) -> None:
        told.append((done, total))

    manifest = manifest_of(folder, "mono.wav", "wide.flac")
    with listening(note):
        prepare(manifest, rms=0.075, cache=folder / "cache")
        assert told == [(0, 2), (1, 2), (2, 2)]
        prepare(manifest, rms=0.075, cache=folder / "cache")
    assert len(told) == 3


@pytest.mark.parametrize("damage", ["flip index", "cut samples"])
def test_a_damaged_segment_that_may_not_be_removed_is_passed_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    cache = folder / "cache"
    prepare(manifest_of(folder, "mono.wav"), rms=0.075, cache=cache)
    damaged(cache, damage)

    def refused(self: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "unlink", refused)
    assert clip_cache.find_clips(cache / "clips") == {}
