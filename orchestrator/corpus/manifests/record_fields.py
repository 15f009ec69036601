"""Reading the fields of one record of a manifest, whichever toolkit wrote it. Pure: no file is
touched here.

| meaning | NeMo, and our own | also |
|---|---|---|
| audio | audio_filepath | any of AUDIO_KEYS; a Hugging Face mapping; inline floats |
| text | text | any of TEXT_KEYS |
| seconds | duration | seconds |
| start | offset | lhotse's start |
| speaker | speaker | any of SPEAKER_KEYS |
| id | id | any of ID_KEYS |

lhotse cuts are flattened to these keys first. Commands and archives are refused, never run or
opened.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from orchestrator.corpus.manifest_errors import UnusableError, show
from orchestrator.corpus.manifests.lhotse_cut import flatten_cut, is_cut
from orchestrator.corpus.manifests.missing_values import (
    names_somebody,
    stands_for_missing,
    without_fraction,
)
from orchestrator.corpus.manifests.unicode_forms import in_one_line
from orchestrator.corpus.manifests.unread_times import is_end
from orchestrator.corpus.samples import FLOAT_PEAK, HIGHEST_RATE, LOWEST_RATE, Samples

AUDIO_KEYS = (
    *(
        "audio_filepath",
        "audio_filename",
        "audio",
        "path",
        "wav",
        "file",
        "audio_path",
        "file_name",
        "filename",
    ),
    *("audio_file", "file_path", "filepath", "wav_filename", "wav_path"),
)
TEXT_KEYS = (
    *("text", "transcript", "transcription", "sentence", "normalized_text"),
    *("raw_transcription", "raw_text", "txt", "wrd", "tgt_text"),
)
UNLIKE_NEMO = ("recording", "supervisions", "shard_id")
"""Keys of records in which audio and text stand elsewhere: lhotse's cuts, and tarred manifests."""
DURATION_KEYS = ("duration", "seconds")
SPEAKER_KEYS = (
    *("speaker", "speaker_id", "spk", "group", "client_id", "speaker_name"),
    *("spk_id", "spkid", "spk_name", "spkr", "speakerid", "talker", "talker_id"),
)
ID_KEYS = ("id", "utterance_id", "utt_id")
RATE_KEYS = ("sampling_rate", "sample_rate")
_OF_AUDIO = ("path", "bytes", "array", *RATE_KEYS)
"""The keys that are read of a mapping that holds audio."""

INLINE_RATE = 16_000
"""Hz. The rate of inline floats whose record has none, as in older files."""


_LIST = re.compile(r'\s*\["[^"]*"(?:,\s*"[^"]*")+\]\s*$')
"""A list of texts in a cell, as Label Studio exports the regions of a recording."""
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True)
class Draft:
    """One record, read but not yet compared with its audio. At most one of `path`, `samples`,
    `encoded` is set.
    """

    id: str | None
    text: str
    path: str | None
    samples: Samples | None
    encoded: bytes | None
    sample_rate: int | None
    duration: float | None
    offset: float | None
    """Seconds; None means the whole file, whose length must then be `duration`."""
    speaker: str
    extra: Mapping[str, Any]
    """The keys of the record that no field was made of."""
    audio_extra: Mapping[str, Any]
    """The same of the mapping that holds the audio, where it is one."""

    @property
    def unread(self) -> dict[str, Any]:
        """All keys that no field was made of, of the record and of the mapping that holds the
        audio.
        """
        return {**self.audio_extra, **self.extra}


@dataclass(frozen=True)
class _Audio:
    """The audio of a record; at most one of `path`, `samples`, `encoded` is set."""

    path: str | None = None
    samples: Samples | None = None
    sample_rate: int | None = None
    encoded: bytes | None = None


def read_draft(record: Mapping[str, Any], needs_text: bool) -> tuple[Draft | None, list[str]]:
    """Return the record as a draft, or None and everything that is wrong with it. Where text is not
    needed it may be missing.
    """
    if "shard_id" in record:
        return None, [
            "a tarred manifest (shard_id) names archives; unpack them and write one audio file a line"
        ]
    try:
        record = flatten_cut(record) if is_cut(record) else record
    except UnusableError as error:
        return None, [str(error)]
    reader = _Reader(record)
    draft = Draft(
        id=reader.name(ID_KEYS),
        text=reader.text(needs_text),
        **vars(reader.audio()),
        duration=reader.seconds(DURATION_KEYS, above_zero=True),
        offset=None if is_end(record) else reader.seconds(("offset",), above_zero=False),
        speaker=in_one_line(reader.name(tuple(_speaker_keys(record))) or ""),
        extra=reader.unused(),
        audio_extra=reader.unused_of_audio(),
    )
    return (None if reader.faults else draft), reader.faults


def _speaker_keys(record: Mapping[str, Any]) -> list[str]:
    return [key for key in SPEAKER_KEYS if key in record and names_somebody(record[key])]


class _Reader:
    """Takes fields out of one record, collecting faults instead of stopping at the first."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        self.record = record
        self.faults: list[str] = []
        self._used: set[str] = set()

    def first(self, keys: tuple[str, ...]) -> tuple[str, Any] | None:
        """The first of `keys` that is there and not null."""
        for key in keys:
            if self.record.get(key) is not None:
                self._used.add(key)
                return key, self.record[key]
        return None

    def unused(self) -> dict[str, Any]:
        """Return the keys that no field was made of, for whoever knows what they mean."""
        return {key: value for key, value in self.record.items() if key not in self._used}

    def unused_of_audio(self) -> dict[str, Any]:
        """Return the unread keys of the mapping that holds the audio; empty for a path."""
        _, value = self.first(AUDIO_KEYS) or ("", None)
        if not isinstance(value, dict):
            return {}
        return {key: each for key, each in value.items() if key not in _OF_AUDIO}

    def text(self, needed: bool) -> str:
        found = self.first(TEXT_KEYS)
        if found is None:
            if not needed:
                return ""
            self.faults.append(f"no text; one of {', '.join(TEXT_KEYS)} must hold what is said")
            return ""
        key, value = found
        if not isinstance(value, str):
            self.faults.append(f'"{key}" is {show(value)}, must be a string')
            return ""
        if _LIST.match(value):
            self.faults.append(
                f'"{key}" is a list of texts, {show(value)}, each of a part of the recording; write one record for each'
            )
        source = self.record.get("src_text")
        if key == "tgt_text" and source is not None and source != value:
            self.faults.append(
                '"tgt_text" beside "src_text" is a translation; call what is said "text"'
            )
        languages = self.record.get("source_lang"), self.record.get("target_lang")
        if None not in languages and languages[0] != languages[1]:
            self.faults.append(
                f'"{key}" is a translation from {show(languages[0])} to {show(languages[1])} ("source_lang", '
                '"target_lang"), and no transcript; leave the record out'
            )
        if needed and not value.strip():
            self.faults.append(
                f'"{key}" is empty; a reference without words cannot be scored or learned'
            )
        if needed and stands_for_missing(value):
            self.faults.append(
                f'"{key}" is {show(value)}, which tables have for a text that is missing; write what is said'
            )
        return in_one_line(value)

    def name(self, keys: tuple[str, ...]) -> str | None:
        """Return an id or a speaker: a string, or an integer as LibriSpeech has them, which pandas
        may write as 12.0.
        """
        found = self.first(keys)
        if found is None:
            return None
        key, value = found
        value = without_fraction(value) if isinstance(value, float) else value
        if (
            isinstance(value, bool)
            or not isinstance(value, str | int)
            or value == ""
            or (isinstance(value, int) and show(value) == "a huge integer")
        ):
            self.faults.append(
                f'"{key}" is {show(value)}, must be a non-empty string or an integer'
            )
            return None
        return str(value)

    def seconds(self, keys: tuple[str, ...], *, above_zero: bool) -> float | None:
        found = self.first(keys)
        if found is None:
            return None
        key, value = found
        limit = "above 0" if above_zero else "of 0 or more"
        number = value if isinstance(value, int | float) and not isinstance(value, bool) else -1
        if not (number > 0 or (number == 0 and not above_zero)) or number > 1e9:
            self.faults.append(f'"{key}" is {show(value)}, must be a number of seconds {limit}')
            return None
        return float(number)

    def audio(self) -> _Audio:
        found = self.first(AUDIO_KEYS)
        if found is None:
            self.faults.append(f"no audio; one of {', '.join(AUDIO_KEYS)} must name it")
            return _Audio()
        key, value = found
        try:
            if isinstance(value, str):
                return _Audio(path=_plain_path(key, value))
            if isinstance(value, list):
                rate = self.first(RATE_KEYS)
                return _Audio(None, *inline_samples(key, value, rate[1] if rate else INLINE_RATE))
            if isinstance(value, dict):
                return _audio_mapping(key, value)
            raise UnusableError(
                f'"{key}" is {show(value)}, must be a path, an audio mapping or a list of samples'
            )
        except UnusableError as error:
            self.faults.append(str(error))
            return _Audio()


def _plain_path(key: str, value: str) -> str:
    if not value:
        raise UnusableError(f'"{key}" is empty, must name an audio file')
    if value.startswith("pipe:") or value.rstrip().endswith("|"):
        raise UnusableError(
            f'"{key}" is the command {show(value)}; commands are never run, name an audio file'
        )
    if value.startswith("file://"):
        path = unquote(urlsplit(value).path)
        raise UnusableError(f'"{key}" is the address {show(value)}; write the path alone: {path}')
    if _ADDRESS.match(value):
        raise UnusableError(f'"{key}" is the address {show(value)}; download it and name the file')
    return value


def inline_samples(key: str, values: list[Any], rate: Any) -> tuple[Samples, int]:
    """Return samples that stand under a key as numbers, and their rate in Hz. Raises UnusableError where either is no
    sound.
    """
    if (
        isinstance(rate, bool)
        or not isinstance(rate, int | float)
        or rate != rate // 1
        or not LOWEST_RATE <= rate <= HIGHEST_RATE
    ):
        raise UnusableError(
            f"the sampling rate is {show(rate)}, must be whole Hz from {LOWEST_RATE} to {HIGHEST_RATE}"
        )
    if not values:
        raise UnusableError(f'"{key}" holds no samples')
    kinds = set(map(type, values))
    if not kinds <= {int, float}:
        wrong = next(value for value in values if type(value) not in (int, float))
        raise UnusableError(
            f'"{key}" holds {show(wrong)} among its samples, must be a flat list of numbers'
        )
    import numpy as np

    with np.errstate(over="ignore"):
        samples = _as_float32(values)
    peak = float(np.abs(samples).max())
    if not peak <= FLOAT_PEAK:
        raise UnusableError(
            f'the samples of "{key}" reach {peak:g}; they must lie within -1 and 1: where they are 16-bit numbers, '
            "divide them by 32768"
        )
    samples.setflags(write=False)
    return samples, int(rate)


def _as_float32(values: list[Any]) -> Samples:
    import numpy as np

    try:
        return np.array(values, dtype=np.float32)
    except OverflowError:
        return np.array([np.inf], dtype=np.float32)


def _audio_mapping(key: str, value: Mapping[str, Any]) -> _Audio:
    """Read a Hugging Face audio value. Where `bytes` or `array` hold the sound, its `path` may be a
    mere name, so it is looked at last.
    """
    if (encoded := value.get("bytes")) is not None:
        return _Audio(encoded=_base64_bytes(key, encoded))
    if (array := value.get("array")) is not None:
        if not isinstance(array, list):
            raise UnusableError(f'"{key}.array" is {show(array)}, must be a list of samples')
        if value.get("sampling_rate") is None:
            raise UnusableError(f'"{key}.array" needs "{key}.sampling_rate" in Hz')
        return _Audio(None, *inline_samples(f"{key}.array", array, value["sampling_rate"]))
    path = value.get("path")
    if not isinstance(path, str):
        raise UnusableError(f'"{key}" is an object without "path", "array" or "bytes"')
    return _Audio(path=_plain_path(f"{key}.path", path))


def _base64_bytes(key: str, value: Any) -> bytes:
    try:
        if isinstance(value, str) and value:
            return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise UnusableError(f'"{key}.bytes" must be an encoded audio file in base64')
