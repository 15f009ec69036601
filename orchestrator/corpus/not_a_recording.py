"""What a file is that cannot be read as sound, in words that end with what to do about it."""

from __future__ import annotations

import shlex

_CONVERT = "convert it: ffmpeg -i {file} {file}.flac"

_BEGINNINGS: dict[bytes, str] = {
    b"version https://git-lfs": "it is a pointer of Git LFS; fetch the recording: git lfs pull",
    b"<!DOCTYPE": "it is a web page; download the recording itself",
    b"<!doctype": "it is a web page; download the recording itself",
    b"<html": "it is a web page; download the recording itself",
    b"<?xml": "it is an XML document; download the recording itself",
    b"\x1aE\xdf\xa3": f"it is Matroska or WebM, which is not read; {_CONVERT}",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": f"it is Windows Media, which is not read; {_CONVERT}",
    b"OggS": f"it is an Ogg stream of a kind that is not read; {_CONVERT}",
    b"#!AMR": f"it is AMR, which is not read; {_CONVERT}",
    b"#!SILK": "it is SILK, which is not read; decode it and name what comes out",
    b"FLV\x01": f"it is Flash video, which is not read; {_CONVERT}",
    b"wvpk": f"it is WavPack, which is not read; {_CONVERT}",
    b"MAC ": f"it is Monkey's Audio, which is not read; {_CONVERT}",
    b"PK\x03\x04": "it is a ZIP archive; unpack it and name the recordings in it",
    b"\x1f\x8b": "it is compressed (gzip); decompress it: gunzip {file}",
    b"PAR1": "it is a Parquet file; make a manifest of the data set: orchestrate manifest from-dataset",
    b"\x93NUMPY": "it is a NumPy array; write it with its rate: soundfile.write(FILE, array, rate)",
    b"\x00\x05\x16\x07": "it is what macOS keeps beside a file (._); name the one without ._",
}
_ADTS = (b"\xff\xf1", b"\xff\xf9")
"""AAC without a container: twelve set bits, layer 0."""
_HEADERLESS = (".raw", ".pcm", ".sln", ".gsm", ".g722", ".vox", ".ulaw", ".alaw")
_RAW = (
    "it has no header, so nothing says its rate and coding; where those are 16 kHz and 16 bit: "
    "sox -t raw -r 16000 -e signed -b 16 -c 1 {file} {file}.wav"
)


def what_it_is(start: bytes, path: str) -> str | None:
    """Of a file that begins with `start` (64 bytes or all) and is not read as sound: what it is and
    what to do, without its name; None where it looks like nothing known.
    """
    words = _told_by_content(start)
    if words is None and path.lower().endswith(_HEADERLESS):
        words = _RAW
    return words and words.replace("{file}", shlex.quote(path))


def _told_by_content(start: bytes) -> str | None:
    if not start:
        return "it is empty; copy it again"
    if start[4:8] == b"ftyp":
        return f"it is MPEG-4 (M4A, MP4, 3GP), which is not read; {_CONVERT}"
    if start.startswith(_ADTS):
        return f"it is AAC, which is not read; {_CONVERT}"
    for beginning, words in _BEGINNINGS.items():
        if start.lstrip(b" \r\n\t\xef\xbb\xbf").startswith(beginning) or start.startswith(
            beginning
        ):
            return words
    if not start.strip(b"\0"):
        return "it begins with nothing but zeros, as a copy that was broken off; copy it again"
    return None
