"""Headers that no sound can have, rates that few recorders have, and files that a transfer took for
text: read as meant, or named in one sentence from the header on.
"""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile
import torch
import torchaudio.functional

from orchestrator.corpus.manifest_errors import UnusableError
from orchestrator.corpus.recordings.audio import load_audio
from orchestrator.corpus.recordings.headers import read_header
from orchestrator.corpus.recordings.transfer_damage import conversion_of
from orchestrator.corpus.utterance import Utterance


def tone(rate: int, seconds: float = 1.0) -> np.ndarray:
    """440 Hz and a little noise."""
    time = np.arange(int(rate * seconds)) / rate
    noise = np.random.default_rng(0).normal(0, 0.01, len(time))
    return 0.3 * np.sin(2 * np.pi * 440 * time) + noise


def wave(rate: int, channels: int = 1, samples: np.ndarray | None = None) -> bytes:
    """A WAV of 16 bits with any header."""
    data = ((tone(16_000) if samples is None else samples) * 32767).astype("<i2").tobytes()
    speed, unsigned = rate * 2 * channels & 0xFFFFFFFF, rate & 0xFFFFFFFF
    form = struct.pack("<IHHIIHH", 16, 1, channels, unsigned, speed, 2 * channels & 0xFFFF, 16)
    size = struct.pack("<I", 36 + len(data))
    return b"RIFF" + size + b"WAVEfmt " + form + b"data" + struct.pack("<I", len(data)) + data


def encoded(form: str) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, tone(16_000), 16_000, format=form)
    return stream.getvalue()


def refusal(content: bytes) -> str:
    with pytest.raises(UnusableError) as caught:
        read_header(content, "it")
    return str(caught.value)


@pytest.mark.parametrize("rate", [0, -1, -16_000])
def test_a_header_without_a_rate_is_damaged(rate: int) -> None:
    assert "no sampling rate or no channels that there are; copy it again" in refusal(wave(rate))


def test_a_header_without_channels_is_damaged() -> None:
    assert "copy it again" in refusal(wave(16_000, channels=0))


@pytest.mark.parametrize("rate", [1, 500, 768_000, 2**31 - 1])
def test_a_rate_of_no_recorder_is_refused_by_the_header(rate: int) -> None:
    assert f"claims {rate} samples a second" in refusal(wave(rate))


@pytest.mark.parametrize(
    "rate", [1000, 8001, 11_025, 11_127, 15_992, 22_254, 44_056, 44_099, 191_999, 384_000]
)
def test_what_the_header_allows_is_resampled(rate: int) -> None:
    content = wave(rate, samples=tone(rate))
    assert read_header(content, "it").rate == rate
    heard = load_audio(Utterance(id="a", text="a", encoded=content)).samples
    assert abs(len(heard) - 16_000) <= 10
    loudest = int(np.abs(np.fft.rfft(heard)).argmax()) * 16_000 / len(heard)
    assert abs(loudest - 440) < 1.5


@pytest.mark.parametrize("rate", [8000, 11_025, 22_050, 44_100, 48_000])
def test_usual_rates_are_resampled_exactly(rate: int) -> None:
    content = wave(rate, samples=tone(rate))
    stock, _ = soundfile.read(io.BytesIO(content), dtype="float32")
    stock = torchaudio.functional.resample(torch.from_numpy(stock), rate, 16_000).numpy()
    heard = load_audio(Utterance(id="a", text="a", encoded=content)).samples
    assert np.array_equal(heard, stock)


@pytest.mark.parametrize("form", ["WAV", "OGG", "MP3"])
def test_a_file_from_ftp_in_text_mode_is_damaged(form: str) -> None:
    whole = encoded(form)
    assert read_header(whole, "it").frames > 0
    assert "two bytes, as FTP does in text mode" in refusal(whole.replace(b"\n", b"\r\n"))


def test_a_flac_from_ftp_in_text_mode_is_damaged_where_it_is_decoded() -> None:
    mangled = encoded("FLAC").replace(b"\n", b"\r\n")
    with pytest.raises(UnusableError, match="two bytes, as FTP does in text mode"):
        load_audio(Utterance(id="a", text="a", encoded=mangled))


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3"])
@pytest.mark.parametrize(("coding", "said"), [("utf-8", "U+FFFD"), ("latin-1", "as UTF-8")])
def test_a_file_that_was_taken_for_letters_is_damaged(form: str, coding: str, said: str) -> None:
    letters = encoded(form).decode(coding, "replace").encode()
    assert f"its bytes were taken for letters and {'many' if said[0] == 'U' else 'w'}" in refusal(
        letters
    )
    assert said in refusal(letters)


def test_a_header_of_plain_bytes_does_not_hide_the_damage() -> None:
    """8 bits, 8 kHz and round lengths: no byte of the header is replaced."""
    data = (128 + 100 * tone(8000, 0.26)[:2048]).astype(np.uint8).tobytes()
    form = struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8)
    sizes = struct.pack("<I", 0x0824), struct.pack("<I", 0x0800)
    whole = b"RIFF" + sizes[0] + b"WAVEfmt " + form + b"data" + sizes[1] + data
    assert read_header(whole, "it").frames == 2048
    assert "U+FFFD" in refusal(whole.decode("utf-8", "replace").encode())


def test_sound_and_what_is_behind_it_is_no_damage() -> None:
    """Tags with lines of Windows behind the samples, and silence."""
    whole = wave(16_000) + b"LIST\x40\0\0\0INFO" + b"a\r\n" * 20
    assert read_header(whole, "it").frames == 16_000
    assert not conversion_of(wave(16_000, samples=np.zeros(16_000)))
