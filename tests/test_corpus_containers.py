"""Files that libsndfile reads short or calls endless are read to their end; cut-off ones are
refused.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from orchestrator.corpus.cache.preparing import prepare
from orchestrator.corpus.manifests.manifest import Manifest, load_manifest
from orchestrator.corpus.recordings import containers, flac, mpeg
from orchestrator.corpus.recordings.audio import load_audio, load_original
from orchestrator.corpus.recordings.audio_containers import is_chained_ogg
from orchestrator.corpus.recordings.containers import open_audio
from orchestrator.corpus.recordings.headers import read_header
from orchestrator.errors import ManifestError

RATE = 16_000


def speech(seconds: float = 3.0, rate: int = RATE) -> np.ndarray:
    """Noise with a long quiet part, so that a variable rate varies."""
    samples = np.random.default_rng(3).normal(0, 0.05, int(seconds * rate))
    samples[len(samples) // 4 : len(samples) * 3 // 4] *= 1e-3
    return samples


def without_xing(folder: Path) -> Path:
    """Variable bit rate, its first frame taken away."""
    soundfile.write(folder / "vbr.mp3", speech(), RATE, bitrate_mode="VARIABLE")
    whole = (folder / "vbr.mp3").read_bytes()
    (folder / "bare.mp3").write_bytes(whole[whole.find(b"\xff\xf3", 4) :])
    return folder / "bare.mp3"


def two_in_one(folder: Path) -> Path:
    soundfile.write(folder / "part.mp3", speech(1.5), RATE, bitrate_mode="CONSTANT")
    (folder / "joined.mp3").write_bytes(2 * (folder / "part.mp3").read_bytes())
    return folder / "joined.mp3"


def two_of_stereo(folder: Path) -> Path:
    sides = np.stack([speech(1.5, 48_000), speech(1.5, 48_000)[::-1]], axis=1)
    soundfile.write(folder / "part.mp3", sides, 48_000)
    (folder / "joined.mp3").write_bytes(
        b"ID3\x04\x00\x00\x00\x00\x00\x02ab" + 2 * (folder / "part.mp3").read_bytes()
    )
    return folder / "joined.mp3"


@pytest.mark.parametrize("made", [without_xing, two_in_one, two_of_stereo])
def test_an_mp3_is_as_long_as_its_frames(tmp_path: Path, made: Callable[[Path], Path]) -> None:
    path = made(tmp_path)
    short = soundfile.info(path)
    assert short.frames / short.samplerate < 2.1, "what libsndfile makes of it"
    [utterance] = manifest_of(tmp_path, path.name).utterances
    assert utterance.duration == pytest.approx(3.0, abs=0.15)
    audio = load_audio(utterance)
    assert audio.mended and len(audio.samples) / RATE == pytest.approx(3.0, abs=0.15)
    assert np.abs(audio.samples[-8000:]).max() > 0.02, "the sound of its end"
    assert (
        len(soundfile.read(open_audio(path.read_bytes(), "x").source)[0]) > 2.8 * short.samplerate
    )


@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000])
def test_an_mp3_of_constant_bit_rate_without_a_count_is_whole(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "a.mp3", speech(3.0, rate), rate, bitrate_mode="CONSTANT")
    whole = (tmp_path / "a.mp3").read_bytes()
    first, *rest = mpeg._whole_frames(whole)
    assert first.info, "it counts the frames"
    (tmp_path / "bare.mp3").write_bytes(b"".join(frame.data for frame in rest))
    [utterance] = manifest_of(tmp_path, "bare.mp3").utterances
    # a decoder is 529 samples late, and leaves as many out of a file that counts its frames
    samples = len(rest) * (1152 if rate >= 32_000 else 576) - 529
    assert utterance.duration == pytest.approx(samples / rate, abs=1e-3)
    assert len(load_audio(utterance).samples) == pytest.approx(samples / rate * RATE, abs=1)


def test_the_segments_of_a_recording_count_its_frames_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, count = without_xing(tmp_path), mpeg.with_length_header
    counted: list[int] = []

    def counting(data: bytes) -> bytes | None:
        counted.append(len(data))
        return count(data)

    monkeypatch.setattr(mpeg, "with_length_header", counting)
    assert [soundfile.SoundFile(open_audio(path, "x").source).frames for _ in range(3)] == (
        3 * [len(soundfile.read(open_audio(path.read_bytes(), "x").source)[0])]
    )
    assert len(counted) == 2, "once for the file, once for the bytes"


@pytest.mark.parametrize("mode", ["CONSTANT", "AVERAGE", "VARIABLE"])
def test_an_mp3_that_says_its_length_is_left_alone(tmp_path: Path, mode: str) -> None:
    soundfile.write(tmp_path / "a.mp3", speech(), RATE, bitrate_mode=mode)
    assert mpeg.with_length_header((tmp_path / "a.mp3").read_bytes()) is None
    assert mpeg.with_length_header(b"\xff\xfbnot at all") is None
    assert mpeg.with_length_header(b"ID3\x04\x00\x00\x00\x00\x00\x02abfLaC") is None


@pytest.mark.parametrize(
    ("rate", "channels", "subtype"),
    [(16_000, 1, "PCM_16"), (44_100, 2, "PCM_24"), (11_000, 1, "PCM_16")],
)
def test_flac_of_unknown_length_is_read_to_its_end(
    tmp_path: Path, rate: int, channels: int, subtype: str
) -> None:
    sides = np.stack([speech(2.3, rate)] * channels, axis=1)
    soundfile.write(tmp_path / "whole.flac", sides, rate, subtype=subtype)
    whole = (tmp_path / "whole.flac").read_bytes()
    bare = whole[:21] + bytes([whole[21] & 0xF0, 0, 0, 0, 0]) + whole[26:]
    assert not flac.says_length(bare) and flac.says_length(whole)
    assert flac.with_sample_count(bare) == whole
    (tmp_path / "bare.flac").write_bytes(bare)
    [utterance] = manifest_of(tmp_path, "bare.flac").utterances
    [known] = manifest_of(tmp_path, "whole.flac").utterances
    assert utterance.duration == known.duration
    assert load_audio(utterance).mended and not load_audio(known).mended
    np.testing.assert_array_equal(load_audio(utterance).samples, load_audio(known).samples)
    (tmp_path / "bare.flac").write_bytes(bare[: len(bare) * 2 // 3])
    with pytest.raises(ManifestError, match=r"bare.flac' (cannot be decoded|is cut off)"):
        prepare(manifest_of(tmp_path, "bare.flac"), rms=None, cache=tmp_path / "cache")


def test_what_looks_like_a_header_within_the_last_frame_is_none(tmp_path: Path) -> None:
    """The recording was read up to the length that it told, without a word."""
    noise = np.random.default_rng(0).integers(-32768, 32767, 2 * RATE).astype("<i2")
    head = b"\xff\xf8\x19\x08\x05"  # of frame 5, with 192 samples
    noise[-500:-497] = np.frombuffer(head + bytes([flac._crc8(head)]), ">i2")
    soundfile.write(tmp_path / "whole.flac", noise, RATE)
    whole = (tmp_path / "whole.flac").read_bytes()
    assert whole.count(head) == 1 and flac._samples_to_frame_end(whole, whole.find(head)) < 2 * RATE
    bare = whole[:21] + bytes([whole[21] & 0xF0, 0, 0, 0, 0]) + whole[26:]
    assert flac.with_sample_count(bare) == whole


def test_flac_without_a_frame_is_no_audio(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", speech(), RATE)
    whole = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(
        whole[:21] + bytes([whole[21] & 0xF0, 0, 0, 0, 0]) + whole[26:42]
    )
    with pytest.raises(ManifestError, match=r"set\.jsonl has 1 fault"):
        manifest_of(tmp_path, "a.flac")


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_an_ogg_file_that_was_cut_off_is_refused_with_a_cure(
    tmp_path: Path, subtype: str, kept: float
) -> None:
    soundfile.write(tmp_path / "a.ogg", speech(6.0), RATE, format="OGG", subtype=subtype)
    manifest_of(tmp_path, "a.ogg")
    whole = (tmp_path / "a.ogg").read_bytes()
    pages = [at for at in range(len(whole)) if whole.startswith(b"OggS", at)]
    for end in (int(len(whole) * kept), pages[-1]):
        (tmp_path / "a.ogg").write_bytes(whole[:end])
        with pytest.raises(ManifestError) as caught:
            manifest_of(tmp_path, "a.ogg")
        assert (
            "set.jsonl:1: audio file 'a.ogg' is cut off: its last Ogg page is not the end"
            in str(caught.value)
        )
        assert "convert it to FLAC" in str(caught.value)
    (tmp_path / "a.ogg").write_bytes(whole + b"a tag")
    manifest_of(tmp_path, "a.ogg")


def manifest_of(folder: Path, *names: str) -> Manifest:
    path = folder / "set.jsonl"
    lines = [json.dumps({"audio": name, "text": "one two"}) + "\n" for name in names]
    path.write_text("".join(lines))
    return load_manifest(path)


NOT_READ = {
    "m4a": (b"\0\0\0\x1cftypM4A \0\0\2\0", "MPEG-4"),
    "aac": (b"\xff\xf1P\x80\x13\x9f\xfc", "AAC"),
    "webm": (b"\x1aE\xdf\xa3\x9fB\x86\x81", "Matroska or WebM"),
    "wma": (bytes.fromhex("3026b2758e66cf11a6d9"), "Windows Media"),
    "amr": (b"#!AMR\n<", "AMR"),
}


@pytest.mark.parametrize("ending", NOT_READ)
def test_recordings_that_are_not_read_are_named_with_a_command_that_converts(
    tmp_path: Path, ending: str
) -> None:
    start, name = NOT_READ[ending]
    path = tmp_path / f"my recording.{ending}"
    path.write_bytes(start + bytes(range(256)))
    convert = re.escape(f"convert it: ffmpeg -i '{path}' '{path}'.flac")
    with pytest.raises(ManifestError, match=f"it is {name}.*, which is not read; {convert}"):
        read_header(path, "audio file x")


@pytest.mark.parametrize(("ending", "made"), [("wav", "wav"), ("WAV", "wav"), ("mp3", "flac")])
def test_a_recording_under_another_name_is_converted_in_its_place(
    tmp_path: Path, ending: str, made: str
) -> None:
    path = tmp_path / f"my recording.{ending}"
    path.write_bytes(b"\0\0\0\x1cftypM4A " + bytes(range(256)))
    convert = re.escape(f"ffmpeg -i '{path}' '{path}'.{made} && mv '{path}'.{made} '{path}'")
    with pytest.raises(ManifestError, match=f"it is MPEG-4 .*; convert it: {convert}"):
        read_header(path, "audio file x")


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("a.wav", b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        ("a.wav", b"\n<!DOCTYPE html><html>", "it is a web page"),
        ("a.wav", b"", "it is empty"),
        ("a.wav", bytes(5000), "nothing but zeros"),
        ("a.pcm", b"\1\2\3\4" * 50, "sox -t raw -r 16000"),
        ("a.ulaw", b"\1\2\3\4" * 50, "sox -t raw -r 8000 -e mu-law -b 8 -c 1"),
        ("a.g722", b"\1\2\3\4" * 50, "ffmpeg -f g722 -i"),
        ("a.wav", b"\x1f\x8b\x08" + bytes(90), "gunzip -c"),
        ("a.wav", b"no sound at all", "it is text, 'no sound at all'; download the recording"),
        ("a.wav", "Fichier supprimé".encode(), "it is text, 'Fichier supprimé'; download"),
        ("a.mp3", b'{"error": "not found"}', "it is text"),
        ("a.csv", b"path,text", "it is text, 'path,text'; name the recording itself"),
        ("a.html", b"<html>", "it is a web page; name the recording itself"),
        ("a.m4a", b"<html>", "it is a web page; download the recording itself"),
        ("a.wav", b"<?xml version='1.0'?><Error>", "it is an XML document"),
        ("a.wav", b"<HTML><HEAD>", "it is a web page"),
        ("a.wav", b"<!-- 404 --><html>", "it is a web page"),
        ("a.wav", b"7z\xbc\xaf\x27\x1c" + bytes(90), "it is a 7z archive; unpack it"),
        ("a.wav", b"x" * 257 + b"ustar" + bytes(90), "it is a tar archive; unpack it"),
        ("a.wav", b"BZh91AY&SY" + bytes(range(128, 250)), "bunzip2 -c"),
        ("a.wav", b"\x89PNG\r\n\x1a\n" + bytes(90), "it is a picture (PNG); name the recording"),
        ("a.wav", b"\x80\x04\x95abc\xff", "it is a pickle; name the recording"),
    ],
)
def test_what_is_no_recording_is_said_with_what_to_do(
    tmp_path: Path, name: str, data: bytes, told: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ManifestError, match=re.escape(told)):
        read_header(tmp_path / name, "audio file x")


@pytest.mark.parametrize("rate", [100, 2_000_000_000])
def test_a_rate_at_which_nobody_records_is_a_damaged_header(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", speech(), RATE)
    raw = bytearray((tmp_path / "a.wav").read_bytes())
    raw[24:28] = struct.pack("<I", rate)
    (tmp_path / "a.wav").write_bytes(raw)
    with pytest.raises(ManifestError, match=f"x claims {rate} samples a second"):
        read_header(tmp_path / "a.wav", "audio file x")


def test_a_wav_whose_writer_was_ended_is_not_called_empty(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", speech(), RATE)
    raw = bytearray((tmp_path / "a.wav").read_bytes())
    raw[40:44] = bytes(4)
    (tmp_path / "a.wav").write_bytes(raw)
    with pytest.raises(
        ManifestError, match=r"no samples follow, and the file has 96044 bytes.*sox"
    ):
        read_header(tmp_path / "a.wav", "audio file x")


def ogg_pages(packets: list[bytes]) -> bytes:
    """An Ogg stream of these packets, one a page; checksums are not looked at."""
    pages = b""
    for number, packet in enumerate(packets):
        sizes = bytes([255] * (len(packet) // 255) + [len(packet) % 255])
        flags = 2 * (number == 0) | 4 * (number == len(packets) - 1)
        head = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, 0, 7, number, 0, len(sizes))
        pages += head + sizes + packet
    return pages


def flac_in_ogg(folder: Path, total: bool = True) -> Path:
    """As `ffmpeg -c:a flac a.ogg` writes it, but for larger pages."""
    soundfile.write(folder / "a.flac", speech(), RATE)
    native = (folder / "a.flac").read_bytes()
    if not total:
        native = native[:21] + bytes([native[21] & 0xF0]) + bytes(4) + native[26:]
    frames = native.index(b"\xff\xf8", 42)
    sound = [native[place : place + 60_000] for place in range(frames, len(native), 60_000)]
    first = b"\x7fFLAC\x01\x00\x00\x01" + native[:42]
    path = folder / "a.ogg"
    path.write_bytes(ogg_pages([first, native[42:frames], *sound]))
    return path


@pytest.mark.parametrize("total", [True, False])
def test_flac_in_ogg_is_read_as_flac(tmp_path: Path, total: bool) -> None:
    path = flac_in_ogg(tmp_path, total)
    with pytest.raises(soundfile.LibsndfileError):
        soundfile.info(path)
    assert read_header(path, "x").frames == 3 * RATE
    [utterance] = manifest_of(tmp_path, path.name).utterances
    audio = load_audio(utterance)
    expected, _ = soundfile.read(tmp_path / "a.flac", dtype="float32")
    assert np.array_equal(audio.samples, expected) and audio.mended is not total
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ManifestError, match="is cut off: its last Ogg page"):
        read_header(path, "x")


@pytest.mark.parametrize(("kind", "ending"), [("WAV", "wav"), ("WAVEX", "wav"), ("AIFF", "aiff")])
def test_recordings_joined_into_one_file_are_named(tmp_path: Path, kind: str, ending: str) -> None:
    """The command that was advised converts the first of them alone."""
    one, two = tmp_path / f"one.{ending}", tmp_path / f"two.{ending}"
    soundfile.write(one, speech(1.0), RATE, format=kind)
    two.write_bytes(2 * one.read_bytes())
    with pytest.raises(ManifestError) as caught:
        read_header(two, "x")
    assert str(caught.value) == (
        "x cannot be read as audio: it is several files joined into one, of which most programs hear the first alone; "
        "join their sound: sox ONE.wav TWO.wav OUT.wav"
    )
    assert read_header(one, "x").seconds == 1.0


@pytest.mark.parametrize("coding", ["VORBIS", "OPUS"])
def test_ogg_files_joined_into_one_are_refused(tmp_path: Path, coding: str) -> None:
    """libsndfile reads the first of them, without a word of the other."""
    whole = b""
    for seconds in (3.0, 2.0):
        part = tmp_path / "part.ogg"
        soundfile.write(part, speech(seconds), RATE, format="OGG", subtype=coding)
        whole += part.read_bytes()
    path = tmp_path / "a.ogg"
    path.write_bytes(whole)
    assert soundfile.info(path).duration == pytest.approx(3.0, abs=0.01)
    with pytest.raises(ManifestError) as refused:
        read_header(path, "x")
    assert str(refused.value) == (
        "x is several Ogg files joined into one, of which only the first would be heard; join their sound "
        "(ffmpeg -i IN.ogg OUT.flac) and name that"
    )
    films = [(2, b"sound"), (2, b"image"), (0, b"sound"), (0, b"image"), (4, b"image")]
    assert not is_chained_ogg(b"".join(ogg_page(*page) for page in films))
    assert is_chained_ogg(b"".join(ogg_page(*page) for page in [*films, (2, b"other")]))


@pytest.mark.parametrize(
    ("kind", "coding", "cure"),
    [
        ("FLAC", "PCM_16", "sox ONE.flac TWO.flac OUT.flac"),
        ("Ogg", "VORBIS", "ffmpeg -i IN.ogg OUT.flac"),
        ("Ogg", "OPUS", "ffmpeg -i IN.ogg OUT.flac"),
    ],
)
def test_equal_parts_joined_into_one_file_are_refused_once_decoded(
    tmp_path: Path, kind: str, coding: str, cure: str
) -> None:
    """Recorders write parts of one length, and some number every Ogg stream alike: nothing but another beginning tells
    them, and the first alone was heard.
    """
    soundfile.write(tmp_path / "part", speech(1.0), RATE, format=kind.upper(), subtype=coding)
    (tmp_path / "joined").write_bytes(2 * (tmp_path / "part").read_bytes())
    joined, part = (manifest_of(tmp_path, name).utterances[0] for name in ("joined", "part"))
    assert len(load_audio(part).samples) == RATE and joined.duration == 1.0
    named = [
        (joined, f"audio file '{tmp_path}/joined'"),
        (
            replace(joined, audio=None, encoded=(tmp_path / "joined").read_bytes()),
            "the inline audio",
        ),
    ]
    for utterance, name in named:
        with pytest.raises(ManifestError) as refused:
            load_audio(utterance)
        assert str(refused.value) == (
            f"{name} is several {kind} files joined into one, of which only the first would be heard; join their sound "
            f"({cure}) and name that"
        )


def test_an_aiff_that_was_written_into_a_pipe_is_not_called_cut_off(tmp_path: Path) -> None:
    """`sox -t aiff -` tells as many samples as fit."""
    soundfile.write(tmp_path / "a.aiff", speech(1.0), RATE)
    whole = bytearray((tmp_path / "a.aiff").read_bytes())
    sound = whole.index(b"SSND")
    for place, size in ((4, 0x7F000050), (sound + 4, 0x7F000008)):
        whole[place : place + 4] = size.to_bytes(4, "big")
    (tmp_path / "b.aiff").write_bytes(whole)
    assert read_header(tmp_path / "b.aiff", "x").seconds == 1.0
    (tmp_path / "b.aiff").write_bytes(
        whole[:4]
        + (10**6).to_bytes(4, "big")
        + whole[8 : sound + 4]
        + (10**6).to_bytes(4, "big")
        + whole[sound + 8 :]
    )
    with pytest.raises(ManifestError, match="is cut off"):
        read_header(tmp_path / "b.aiff", "x")


def test_a_recording_is_searched_once_for_another_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Segments of long recordings come in turn, in the order of a shuffled manifest."""
    read: list[int] = []
    whole = containers._holds_another

    def counted(data: bytes) -> bool:
        read.append(len(data))
        return whole(data)

    monkeypatch.setattr(containers, "_holds_another", counted)
    lines = []
    for name in "abc":
        soundfile.write(tmp_path / f"{name}.flac", speech(3.0), RATE)
        parts = (
            {"audio": f"{name}.flac", "offset": n, "duration": 1, "text": "one"} for n in range(3)
        )
        lines += [json.dumps(part) for part in parts]
    (tmp_path / "set.jsonl").write_text("\n".join(sorted(lines, key=lambda line: line[24:])))
    for utterance in load_manifest(tmp_path / "set.jsonl").utterances:
        load_audio(utterance)
    assert len(read) == 3


def ogg_page(flags: int, stream: bytes) -> bytes:
    """A page of one empty packet."""
    return b"OggS\0" + bytes([flags]) + bytes(8) + stream[:4] + bytes(8) + b"\x01\0"


def wave_of(tag: int, data: bytes, size: int | None = None, extensible: bool = False) -> bytes:
    """A WAV file of a coding, as ffmpeg writes it."""
    guid = bytes.fromhex("000000001000800000aa00389b71")
    more = struct.pack("<HHIH", 22, 0, 4, tag) + guid if extensible else struct.pack("<H", 0)
    head = struct.pack("<HHIIHH", 0xFFFE if extensible else tag, 1, RATE, 4000, 1, 0) + more
    chunks = b"fmt " + struct.pack("<I", len(head)) + head
    chunks += b"LIST" + struct.pack("<I", 3) + b"abc\0"
    chunks += b"data" + struct.pack("<I", len(data) if size is None else size) + data
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize("size", [None, 0, 0xFFFFFFFF])
def test_mp3_in_a_wav_is_read_as_mp3(tmp_path: Path, size: int | None, extensible: bool) -> None:
    soundfile.write(tmp_path / "a.mp3", speech(), RATE)
    data = (tmp_path / "a.mp3").read_bytes()
    (tmp_path / "a.wav").write_bytes(wave_of(0x55, data, size, extensible))
    wrapped, bare = manifest_of(tmp_path, "a.wav", "a.mp3").utterances
    assert wrapped.duration == bare.duration
    assert np.array_equal(load_audio(wrapped).samples, load_audio(bare).samples)
    (tmp_path / "a.wav").write_bytes(wave_of(0x55, data[:-9], len(data)))
    with pytest.raises(ManifestError, match=rf"is cut off: its header promises {len(data)} bytes"):
        read_header(tmp_path / "a.wav", "x")


def test_a_bw64_is_read_as_rf64(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.rf64", speech(), RATE, format="RF64", subtype="PCM_16")
    data = (tmp_path / "a.rf64").read_bytes()
    (tmp_path / "a.wav").write_bytes(b"BW64" + data[4:])
    assert read_header(tmp_path / "a.wav", "x").frames == 3 * RATE
    [utterance] = manifest_of(tmp_path, "a.wav").utterances
    expected, _ = soundfile.read(tmp_path / "a.rf64", dtype="float32")
    assert np.array_equal(load_audio(utterance).samples, expected)


def test_caf_that_is_cut_off_is_not_said_to_be_of_another_coding(tmp_path: Path) -> None:
    """It was advised to convert it alone, which makes a shorter recording of it."""
    path = tmp_path / "a.caf"
    soundfile.write(path, np.full(16_000, 0.1), 16_000)
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(
        ManifestError, match="it is CAF that is cut off, or tells no length; copy it again"
    ):
        read_header(path, "a.caf")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (wave_of(0xFF, b"x" * 900), "a WAV of AAC (format tag 0x00FF), which is not read; convert"),
        (wave_of(0x1234, b"x" * 900), "a WAV of another coding (format tag 0x1234), which is not"),
        (bytes(range(1, 250)) * 9, "is named WAV and is none: it has no header"),
        (b"caff" + bytes(range(200)), "CAF of a coding that is not read, such as ALAC; convert it"),
        (b"fLaC" + bytes(200), "; where ffmpeg reads it, convert it: ffmpeg -i "),
        (
            b"NIST_1A\n   1024\nsample_coding -s26 pcm,embedded-shorten-v2.00\nend_head\n",
            "NIST SPHERE compressed with shorten, which is not read; decompress it: sph2pipe",
        ),
    ],
)
def test_a_coding_that_is_not_read_is_named(tmp_path: Path, data: bytes, told: str) -> None:
    (tmp_path / "a.wav").write_bytes(data)
    with pytest.raises(ManifestError, match=re.escape(told)):
        read_header(tmp_path / "a.wav", "audio file x")


@pytest.mark.parametrize("subtype", ["GSM610", "IMA_ADPCM", "ULAW"])
def test_codings_of_telephones_are_read_whole_and_in_parts(tmp_path: Path, subtype: str) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, speech(rate=8000), 8000, subtype=subtype)
    whole, _ = soundfile.read(path, dtype="float32")
    (tmp_path / "m.jsonl").write_text(
        json.dumps({"audio_filepath": "a.wav", "text": "a"})
        + "\n"
        + json.dumps({"audio_filepath": "a.wav", "text": "b", "offset": 1.5, "duration": 0.5})
        + "\n"
    )
    all_of_it, part = load_manifest(tmp_path / "m.jsonl").utterances
    assert np.array_equal(load_original(all_of_it)[0], whole)
    assert np.array_equal(load_original(part)[0], whole[12_000:16_000])
    assert len(load_audio(all_of_it).samples) == 2 * len(whole)


def test_floats_may_overshoot_full_scale_but_not_by_much(tmp_path: Path) -> None:
    samples = speech().astype(np.float32)
    samples[7] = 1.3
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    (tmp_path / "m.jsonl").write_text('{"audio_filepath": "a.wav", "text": "a"}\n')
    [utterance] = load_manifest(tmp_path / "m.jsonl").utterances
    assert np.array_equal(load_audio(utterance).samples, samples)


def with_told_size(folder: Path, size: int, *, behind: bytes = b"") -> Path:
    """A WAV of two seconds whose header tells `size` bytes of samples."""
    path = folder / "told.wav"
    soundfile.write(path, speech(2.0), RATE)
    raw = bytearray(path.read_bytes())
    place = raw.find(b"data") + 4
    raw[place : place + 4] = struct.pack("<I", size)
    path.write_bytes(raw + behind)
    return path


@pytest.mark.parametrize("size", [2, 1000, 32_000, 48_001])
def test_a_wav_with_more_samples_than_it_tells_is_refused(tmp_path: Path, size: int) -> None:
    """Of a recorder that was ended, or of more than 4 GB: libsndfile reads as many as are told."""
    path = with_told_size(tmp_path, size)
    assert soundfile.info(path).frames == size // 2
    with pytest.raises(ManifestError, match="is longer than it says") as caught:
        read_header(path, "a.wav")
    assert str(caught.value).endswith("write a new header: sox --ignore-length IN.wav OUT.wav")


def test_more_samples_are_seen_behind_silence(tmp_path: Path) -> None:
    sound = np.concatenate([speech(1.0), np.zeros(RATE // 2), speech(1.0)])
    soundfile.write(tmp_path / "a.wav", sound, RATE)
    raw = bytearray((tmp_path / "a.wav").read_bytes())
    raw[40:44] = struct.pack("<I", 2 * RATE)
    (tmp_path / "a.wav").write_bytes(raw)
    with pytest.raises(ManifestError, match="is longer than it says"):
        read_header(tmp_path / "a.wav", "a.wav")


def test_tags_behind_the_samples_are_no_fault(tmp_path: Path) -> None:
    tag = b"LIST" + struct.pack("<I", 6000) + b"INFO" + bytes(5996)
    for behind in (b"", tag, b"TAG" + b"a" * 125, bytes(8000)):
        path = with_told_size(tmp_path, 64_000, behind=behind)
        assert read_header(path, "a.wav").frames == 32_000
    # room that a recorder keeps before the samples, and a few damaged bytes behind them
    raw = with_told_size(tmp_path, 64_000, behind=b"\x01\x02\x03\x04" * 50).read_bytes()
    (tmp_path / "kept.wav").write_bytes(
        raw[:36] + b"JUNK" + struct.pack("<I", 8000) + bytes(8000) + raw[36:]
    )
    assert read_header(tmp_path / "kept.wav", "a.wav").frames == 32_000


@pytest.mark.parametrize(("mean", "noted"), [(0.0, False), (0.02, False), (0.05, True)])
def test_a_constant_part_is_noted(tmp_path: Path, mean: float, noted: bool) -> None:
    """A DC offset is scaled to the level with the speech, which stays quieter."""
    soundfile.write(tmp_path / "a.wav", speech() + mean, RATE)
    (tmp_path / "m.jsonl").write_text('{"audio_filepath": "a.wav", "text": "one"}\n')
    clips = prepare(load_manifest(tmp_path / "m.jsonl"), rms=0.075, cache=tmp_path / "cache")
    assert clips.notes.offset == ((1,) if noted else ())


@pytest.mark.parametrize(
    ("ending", "form"),
    [
        ("wav", "WAV"),
        ("sph", "NIST"),
        ("au", "AU"),
        ("aiff", "AIFF"),
        ("w64", "W64"),
        ("wav", "RF64"),
    ],
)
def test_a_file_that_is_cut_off_is_refused_in_every_container(
    tmp_path: Path, ending: str, form: str
) -> None:
    path = tmp_path / f"a.{ending}"
    soundfile.write(path, speech(4.0), RATE, format=form, subtype="PCM_16")
    assert read_header(path, "x").frames == 4 * RATE
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(
        ManifestError, match=r"x is cut off: its header promises \d+ \w+.*, \d+ are there"
    ):
        read_header(path, "x")
