"""Says what a file is that cannot be read as sound, and what to do about it."""

from __future__ import annotations

import codecs
import re
from pathlib import PurePath

from orchestrator.corpus.manifest_errors import show
from orchestrator.corpus.recordings.audio_containers import wave_coding
from orchestrator.corpus.recordings.locating import (
    AUDIO_SUFFIXES,
    SOUND_SUFFIXES,
)
from orchestrator.typed_words import quoted_path

_CONVERT = "convert it: ffmpeg -i {file} {file}.flac"

_ITSELF = "name the recording itself"
_UNPACK = "unpack it and name the recordings in it"
_BEGINNINGS: dict[bytes, str] = {
    b"version https://git-lfs": "it is a pointer of Git LFS; fetch the recording: git lfs pull",
    b"\x1aE\xdf\xa3": f"it is Matroska or WebM, which is not read; {_CONVERT}",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": f"it is Windows Media, which is not read; {_CONVERT}",
    b"OggS": f"it is an Ogg stream of a kind that is not read; {_CONVERT}",
    b"caff": f"it is CAF of a coding that is not read, such as ALAC; {_CONVERT}",
    b"TTA1": f"it is True Audio, which is not read; {_CONVERT}",
    b"#!AMR": f"it is AMR, which is not read; {_CONVERT}",
    b"#!SILK": "it is SILK, which is not read; decode it and name what comes out",
    b"FLV\x01": f"it is Flash video, which is not read; {_CONVERT}",
    b"wvpk": f"it is WavPack, which is not read; {_CONVERT}",
    b"MAC ": f"it is Monkey's Audio, which is not read; {_CONVERT}",
    b"PK\x03\x04": f"it is a ZIP archive; {_UNPACK}",
    b"\x1f\x8b": "it is compressed (gzip); decompress it: gunzip -c {file} > {file}.wav",
    b"BZh": "it is compressed (bzip2); decompress it: bunzip2 -c {file} > {file}.wav",
    b"\xfd7zXZ": "it is compressed (xz); decompress it: unxz -c {file} > {file}.wav",
    b"\x28\xb5\x2f\xfd": "it is compressed (zstd); decompress it: unzstd {file} -o {file}.wav",
    b"7z\xbc\xaf": f"it is a 7z archive; {_UNPACK}",
    b"Rar!": f"it is a RAR archive; {_UNPACK}",
    b"%PDF": f"it is a PDF; {_ITSELF}",
    b"\x89PNG": f"it is a picture (PNG); {_ITSELF}",
    b"\xff\xd8\xff": f"it is a picture (JPEG); {_ITSELF}",
    b"GIF8": f"it is a picture (GIF); {_ITSELF}",
    b"\x7fELF": f"it is a program; {_ITSELF}",
    b"SQLite format": f"it is a database; {_ITSELF}",
    **dict.fromkeys(
        (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"), f"it is a pickle; {_ITSELF}"
    ),
    b"MThd": "it is MIDI, which holds notes and no sound",
    b"PAR1": "it is a Parquet file; make a manifest of the data set: orchestrate manifest from-dataset",
    b"\x93NUMPY": "it is a NumPy array; write it with its rate: soundfile.write(FILE, array, rate)",
    b"\x00\x05\x16\x07": "it is what macOS keeps beside a file (._); name the one without ._",
}
"""What a file is, by the bytes that it begins with; {file} stands for its quoted path."""
_ADTS = (b"\xff\xf1", b"\xff\xf9")
"""AAC without a container: twelve set bits, layer 0."""
_MADE = re.compile(r"\{file\}\.(wav|flac)$")
"""The file that a command makes, at its end."""
_SOX = "sox -t {kind} -c 1 {{file}} {{file}}.wav"
_16_BIT = "-e signed -b 16"
_HEADERLESS = {
    **dict.fromkeys((".raw", ".pcm"), _SOX.format(kind=f"raw -r 16000 {_16_BIT}")),
    ".sln": _SOX.format(kind=f"raw -r 8000 {_16_BIT}"),
    **dict.fromkeys((".ulaw", ".ul"), _SOX.format(kind="raw -r 8000 -e mu-law -b 8")),
    **dict.fromkeys((".alaw", ".al"), _SOX.format(kind="raw -r 8000 -e a-law -b 8")),
    ".vox": _SOX.format(kind="vox -r 8000"),
    ".gsm": _SOX.format(kind="gsm -r 8000"),
    ".g722": "ffmpeg -f g722 -i {file} {file}.flac",
}
"""The command that converts samples without a header, by the ending of the file's name: for the
rate and coding that such files mostly have.
"""
_WAVE_READ = (0x01, 0x02, 0x03, 0x06, 0x07, 0x11, 0x31, 0x55)
"""The WAV format tags that can be read: PCM, float, A-law, mu-law, ADPCM, GSM and MP3."""
_CAF_CODING = slice(28, 32)
"""The bytes of a CAF file in which its description, the first chunk, names the coding."""
_CAF_READ = (b"lpcm", b"ulaw", b"alaw")
_CUT_CAF = f"it is CAF that is cut off, or tells no length; copy it again, or where that is all there is, {_CONVERT}"
_WAVE_CODINGS = {
    0x22: "TrueSpeech", 0x45: "G.726", 0x50: "MPEG layer 2", 0x64: "G.726", 0xFF: "AAC",
    0x161: "Windows Media", 0x28F: "G.722", 0x566F: "Vorbis", 0x674F: "Vorbis", 0x2000: "AC-3",
}  # fmt: skip
_CONTAINERS = (
    *(b"RIFF", b"RIFX", b"RF64", b"BW64", b"riff", b"FORM"),
    *(b"fLaC", b"OggS", b"ID3", b"caff", b".snd", b"NIST_1A"),
)
"""The first bytes of containers that are read."""
_SHORTEN = (
    "it is NIST SPHERE compressed with shorten, which is not read; decompress it: "
    "sph2pipe -f wav {file} {file}.wav"
)
_FALLBACK = "where ffmpeg reads it, convert it: ffmpeg -i {file} {file}.flac"
_RAW = (
    "it has no header, so nothing says its rate and coding; where those are {guess}, and listen to "
    "what comes out"
)
_USUAL = "those that its name usually means: "
_16_KHZ = "16 kHz and 16 bit: "


def what_it_is(start: bytes, path: str) -> str | None:
    """Say what a file is that cannot be read as sound, and what to do, without its name; None where
    it looks like nothing known. `start` is its first 1024 bytes, or all of it.
    """
    ending = PurePath(path).suffix.lower()
    words = _told_by_content(start, ending)
    if words is None and ending in _HEADERLESS:
        guess = _16_KHZ if ending in (".raw", ".pcm") else _USUAL
        words = _RAW.replace("{guess}", guess + _HEADERLESS[ending])
    if words is None and ending in (".wav", ".wave") and not _is_known(start):
        words = f"it is named WAV and is none: {_RAW}".replace(
            "{guess}", _16_KHZ + _HEADERLESS[".raw"]
        )
    return words and _with_file(words, path)


def what_to_try(reason: str, path: str) -> str:
    """Say for which `reason` a file is not read, and what may help where nothing else is known of
    it.
    """
    return f"{reason.rstrip('.')}; {_with_file(_FALLBACK, path)}"


def _is_known(start: bytes) -> bool:
    """Whether a file that begins with `start` is sound in a container that says its coding."""
    return start.startswith(_CONTAINERS)


def is_text(start: bytes) -> bool:
    """Whether the bytes are text in UTF-8, in any language; a character may be cut off at
    the end.
    """
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(start)  # its end may be cut off
    except UnicodeDecodeError:
        return False
    return bool(text) and all(each.isprintable() or each in "\t\n\r\ufeff" for each in text)


def _with_file(words: str, path: str) -> str:
    ending = PurePath(path).suffix.lower()
    if ending in (".wav", ".wave"):
        words = words.replace("{file}.flac", "{file}.wav")
    if ending in AUDIO_SUFFIXES and (made := _MADE.search(words)):
        # beside what was made of it, it would be met again
        words += f" && mv {made[0]} {{file}}"
    return words.replace("{file}", quoted_path(path))


def _told_by_text(start: bytes, ending: str) -> str:
    """Say what a text is: a web page or the answer of a server, saved in the place of the sound; or
    by the `ending` of its name a file that was never meant to be sound, such as a list.
    """
    is_sound = ending in ("", *SOUND_SUFFIXES)
    cure = "download the recording itself" if is_sound else _ITSELF
    begun = start.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").strip()
    tag = begun[:9].lower()
    if tag.startswith(("<!doctype", "<html", "<head", "<!--")):
        return f"it is a web page; {cure}"
    what = "an XML document" if tag.startswith("<?xml") else f"text, {show(begun[:40])}"
    return f"it is {what}; {cure}"


def _told_by_content(start: bytes, ending: str) -> str | None:
    """Say what a file is by its first bytes, and what to do; None where they look like nothing
    known.
    """
    if not start:
        return "it is empty; copy it again"
    if start[4:8] == b"ftyp":
        return f"it is MPEG-4 (M4A, MP4, 3GP), which is not read; {_CONVERT}"
    if start.startswith(_ADTS):
        return f"it is AAC, which is not read; {_CONVERT}"
    if start.startswith(b"caff") and start[_CAF_CODING] in _CAF_READ:
        return _CUT_CAF
    for beginning, words in _BEGINNINGS.items():
        if start.lstrip(b" \r\n\t\xef\xbb\xbf").startswith(beginning) or start.startswith(
            beginning
        ):
            return words
    if start[257:262] == b"ustar":
        return f"it is a tar archive; {_UNPACK}"
    if start.startswith(b"NIST_1A") and b"shorten" in start:
        return _SHORTEN
    if (tag := wave_coding(start)) is not None and tag not in _WAVE_READ:
        coding = _WAVE_CODINGS.get(tag, "another coding")
        return f"it is a WAV of {coding} (format tag 0x{tag:04X}), which is not read; {_CONVERT}"
    if is_text(start) and not _is_known(start):
        return _told_by_text(start, ending)
    if not start[:64].strip(b"\0"):
        return "it begins with nothing but zeros, as a copy that was broken off; copy it again"
    return None
