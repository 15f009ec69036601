"""Damaged manifest lines, each with the message that a person gets for it."""

from __future__ import annotations

import json
from typing import Any

from orchestrator.corpus.manifest_errors import SAVE_AS_UTF8

RATE = 16_000
GOOD = {"audio_filepath": "a.wav", "text": "one two", "duration": 1.0, "speaker": "s1"}


def line(**changes: Any) -> bytes:
    """Return the record GOOD with changes, as JSON; a value of None takes the key away."""
    return json.dumps(
        {key: value for key, value in (GOOD | changes).items() if value is not None}
    ).encode()


def cut(**changes: Any) -> bytes:
    """Return a lhotse MonoCut of b.flac, with changes, as JSON."""
    source = {"type": "file", "channels": [0], "source": "b.flac"}
    recording = {
        "id": "b",
        "sources": [source],
        "sampling_rate": RATE,
        "num_samples": RATE,
        "duration": 1.0,
    }
    supervision = {
        "id": "b",
        "recording_id": "b",
        "start": 0,
        "duration": 1.0,
        "channel": 0,
        "text": "one two",
    }
    base = {"id": "b", "start": 0, "duration": 1.0, "channel": 0, "type": "MonoCut"}
    return json.dumps(
        base | {"supervisions": [supervision], "recording": recording} | changes
    ).encode()


def recording(**source: Any) -> dict[str, Any]:
    """Return the recording of a cut, with changes to its only source."""
    return {"sources": [{"type": "file", "channels": [0], "source": "b.flac"} | source]}


def transformed(*transforms: Any) -> dict[str, Any]:
    """Return the recording of a cut that lhotse is to transform when it is loaded."""
    return recording() | {"transforms": list(transforms)}


AUDIO_KEYS = (
    "audio_filepath, audio_filename, audio, path, wav, file, audio_path, file_name, filename, audio_file, file_path, "
    "filepath, wav_filename, wav_path"
)
TEXT_KEYS = (
    "text, transcript, transcription, sentence, normalized_text, raw_transcription, raw_text, "
    "txt, wrd, tgt_text"
)
NOT_NUMBERS = "must be a flat list of numbers"

DAMAGE: dict[str, tuple[bytes, str]] = {
    "latin-1": (
        line(text="caf").replace(b"caf", b"caf\xe9"),
        "byte 41 of the line (0xe9) is not UTF-8; " + SAVE_AS_UTF8,
    ),
    "nan": (
        line(duration=float("nan")),
        "NaN is not a JSON number; write null or leave the key out",
    ),
    "infinity": (
        line(duration=float("-inf")),
        "-Infinity is not a JSON number; write null or leave the key out",
    ),
    "overflow": (line(gain="X").replace(b'"X"', b"1e999"), "the number 1e999 is too large"),
    "long overflow": (
        line(gain="X").replace(b'"X"', b"9" * 400 + b".0"),
        f"the number {'9' * 20} is too large",
    ),
    "long integer": (line(gain="X").replace(b'"X"', b"9" * 5000), "a number has too many digits"),
    "duplicate key": (
        line()[:-1] + b', "text": "x"}',
        "the key 'text' appears twice in one object",
    ),
    "nested duplicate": (
        line()[:-1] + b', "k": {"q": 1, "q": 2}}',
        "the key 'q' appears twice in one object",
    ),
    "two objects": (
        line() + line(),
        "a second object follows the first on the same line; one JSON object a line",
    ),
    "two by comma": (
        line() + b"," + line(),
        "a second object follows the first on the same line; one JSON object a line",
    ),
    "trailing text": (
        line() + b" x",
        "more text, 'x', follows the first on the same line; one JSON object a line",
    ),
    "a string": (b'"a.wav"', "expected a JSON object, found 'a.wav'"),
    "a list": (b"[1, 2]", "expected a JSON object, found a list"),
    "null": (b"null", "expected a JSON object, found null"),
    "torn in the middle": (
        line()[:30],
        "not valid JSON at character 29: Unterminated string starting at",
    ),
    "nesting bomb": (b'{"a":' + b"[" * 200_000, "the JSON is nested too deeply"),
    "half surrogate": (
        line(text="X").replace(b"X", b"\\ud800"),
        "a \\u escape is half of a surrogate pair",
    ),
    "duration a string": (
        line(duration="1.0"),
        "\"duration\" is '1.0', must be a number of seconds above 0",
    ),
    "duration a boolean": (
        line(duration=True),
        '"duration" is true, must be a number of seconds above 0',
    ),
    "duration zero": (line(duration=0), '"duration" is 0, must be a number of seconds above 0'),
    "duration negative": (
        line(duration=-1.5),
        '"duration" is -1.5, must be a number of seconds above 0',
    ),
    "duration absurd": (
        line(duration=10**40),
        '"duration" is a huge integer, must be a number of seconds above 0',
    ),
    "offset negative": (
        line(offset=-0.5),
        '"offset" is -0.5, must be a number of seconds of 0 or more',
    ),
    "text missing": (line(text=None), f"no text; one of {TEXT_KEYS} must hold what is said"),
    "text null": (
        line()[:-1].replace(b'"one two"', b"null") + b"}",
        f"no text; one of {TEXT_KEYS} must hold what is said",
    ),
    "text empty": (
        line(text=" \t"),
        '"text" is empty; a reference without words cannot be scored or learned',
    ),
    "text a number": (line(text=5), '"text" is 5, must be a string'),
    "text a list": (line(text=["one"]), '"text" is a list, must be a string'),
    "audio missing": (line(audio_filepath=None), f"no audio; one of {AUDIO_KEYS} must name it"),
    "audio a number": (
        line(audio_filepath=7),
        '"audio_filepath" is 7, must be a path, an audio mapping or a list of samples',
    ),
    "audio empty": (line(audio_filepath=""), '"audio_filepath" is empty, must name an audio file'),
    "id a list": (line(id=[1]), '"id" is a list, must be a non-empty string or an integer'),
    "id empty": (line(id=""), "\"id\" is '', must be a non-empty string or an integer"),
    "speaker a float": (
        line(speaker=1.5),
        '"speaker" is 1.5, must be a non-empty string or an integer',
    ),
    "tarred": (
        line(shard_id=0),
        "a tarred manifest (shard_id) names archives; unpack them and write one audio file a line",
    ),
    "pipe": (
        line(audio_filepath="pipe:touch x"),
        "\"audio_filepath\" is the command 'pipe:touch x'; commands are never run, name an audio file",
    ),
    "kaldi pipe": (
        line(audio_filepath="touch x |"),
        "\"audio_filepath\" is the command 'touch x |'; commands are never run, name an audio file",
    ),
    "address": (
        line(audio_filepath="s3://x/a.wav"),
        "\"audio_filepath\" is the address 's3://x/a.wav'; download it and name the file",
    ),
    "not there": (
        line(audio_filepath="gone.wav"),
        "audio file 'gone.wav' does not exist, neither in FOLDER nor in the current folder",
    ),
    "zero byte in path": (
        line(audio_filepath="a\0.wav"),
        "audio file 'a\\x00.wav' cannot be opened: embedded null byte",
    ),
    "endless path": (
        line(audio_filepath="a" * 5000),
        f"audio file '{'a' * 116}... cannot be opened: File name too long",
    ),
    "directory": (
        line(audio_filepath="folder.wav"),
        "audio file 'folder.wav' is a directory; only regular files are read",
    ),
    "named pipe": (
        line(audio_filepath="pipe.wav"),
        "audio file 'pipe.wav' is a named pipe; only regular files are read",
    ),
    "device": (
        line(audio_filepath="device.wav"),
        "audio file 'device.wav' is a device; only regular files are read",
    ),
    "html": (
        line(audio_filepath="html.wav"),
        "audio file 'html.wav' cannot be read as audio: it is a web page; download the recording itself",
    ),
    "empty file": (
        line(audio_filepath="empty.wav"),
        "audio file 'empty.wav' cannot be read as audio: it is empty; copy it again",
    ),
    "no frames": (
        line(audio_filepath="none.wav"),
        "audio file 'none.wav' holds no audio (zero frames)",
    ),
    "cut off": (
        line(audio_filepath="cut.wav", duration=None),
        "audio file 'cut.wav' is cut off: its header promises 32000 bytes of samples, 19956 are there",
    ),
    "lying header": (
        line(audio_filepath="days.flac"),
        "audio file 'days.flac' claims 1118 hours; the header is damaged",
    ),
    "duration of another file": (
        line(duration=1.2),
        "the duration is 1.2 s but audio file 'a.wav' lasts 1.00 s; correct it, "
        "or add an offset to mean a part of the file",
    ),
    "segment past the end": (
        line(offset=0.5),
        "the segment from 0.5 s to 1.5 s reaches past audio file 'a.wav', which lasts 1.00 s",
    ),
    "offset past the end": (
        line(offset=1.0, duration=None),
        "the segment from 1 s to 1 s reaches past audio file 'a.wav', which lasts 1.00 s",
    ),
    "no samples": (line(audio_filepath=None, audio=[]), '"audio" holds no samples'),
    "null sample": (
        line(audio_filepath=None, audio=[0.1, None]),
        f'"audio" holds null among its samples, {NOT_NUMBERS}',
    ),
    "string sample": (
        line(audio_filepath=None, audio=[0.1, "0.2"]),
        f"\"audio\" holds '0.2' among its samples, {NOT_NUMBERS}",
    ),
    "two channels inline": (
        line(audio_filepath=None, audio=[[0.1], [0.2]]),
        f'"audio" holds a list among its samples, {NOT_NUMBERS}',
    ),
    "integer samples": (
        line(audio_filepath=None, audio=[12, -3000]),
        'the samples of "audio" reach 3000; they must lie within -1 and 1: where they are 16-bit numbers, divide them '
        "by 32768",
    ),
    "huge sample": (
        line(audio_filepath=None, audio=[10**400]),
        'the samples of "audio" reach inf; they must lie within -1 and 1: where they are 16-bit numbers, divide them '
        "by 32768",
    ),
    "rate a string": (
        line(audio_filepath=None, audio=[0.1], sampling_rate="16k"),
        "the sampling rate is '16k', must be whole Hz from 1000 to 384000",
    ),
    "mapping without sound": (
        line(audio_filepath=None, audio={"path": None}),
        '"audio" is an object without "path", "array" or "bytes"',
    ),
    "array without rate": (
        line(audio_filepath=None, audio={"array": [0.1]}),
        '"audio.array" needs "audio.sampling_rate" in Hz',
    ),
    "array a string": (
        line(audio_filepath=None, audio={"array": "x"}),
        "\"audio.array\" is 'x', must be a list of samples",
    ),
    "bytes not base64": (
        line(audio_filepath=None, audio={"bytes": "%%"}),
        '"audio.bytes" must be an encoded audio file in base64',
    ),
    "bytes not audio": (
        line(audio_filepath=None, audio={"bytes": "aGVsbG8="}),
        "the inline audio cannot be read as audio: it is text, 'hello'; download the recording itself",
    ),
    "mixed cut": (
        cut(type="MixedCut"),
        "a lhotse 'MixedCut' cannot be read; save the cuts as audio (save_audios)",
    ),
    "command source": (
        cut(recording=recording(type="command", source="touch x")),
        "the source is of type 'command'; only files are read, nothing is run",
    ),
    "two sources": (
        cut(recording={"sources": [{}, {}]}),
        "a recording needs exactly one source, an audio file",
    ),
    "two channels": (
        cut(recording=recording(channels=[0, 1])),
        "the recording has 2 channels and the cut means one; save it as mono audio",
    ),
    "transformed cut": (
        cut(
            recording=transformed(
                {"name": "Resample"}, {"name": "Speed", "kwargs": {"factor": 1.1}}
            )
        ),
        "the recording has transforms ('Speed'), which are not applied here; save the cuts as audio (save_audios) and "
        "name that",
    ),
    "other transforms": (
        cut(recording=transformed() | {"transforms": {"a": 1}}),
        "the recording has transforms (an object), which are not applied here; save the cuts as audio (save_audios) "
        "and name that",
    ),
    "no supervision": (
        cut(supervisions=[]),
        "a cut needs exactly one supervision, has 0; use trim_to_supervisions",
    ),
    "cut too long": (
        cut(duration=3.0),
        "the segment from 0 s to 3 s reaches past audio file 'b.flac', which lasts 1.00 s",
    ),
}
"""Name of a damage -> the damaged line, and the message for it. FOLDER stands for the folder of the
manifest.
"""
