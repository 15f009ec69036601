"""Measuring an audio file without decoding it: its header, and whether that can be believed. No
torch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.corpus.manifest_errors import UnusableError, why_unopened
from orchestrator.corpus.recordings.containers import (
    beginning,
    is_joined,
    only_zeros,
    open_audio,
    whole_content,
)
from orchestrator.corpus.recordings.not_a_recording import is_text, what_it_is, what_to_try
from orchestrator.corpus.recordings.transfer_damage import conversion_of
from orchestrator.corpus.samples import HIGHEST_RATE, LOWEST_RATE

if TYPE_CHECKING:
    import soundfile

TOLERANCE = 0.1
"""Seconds by which the declared duration may differ from the file's. lhotse calls 0.3 serious;
rounding to 0.1 is common.
"""

MAX_HOURS = 24
"""The longest recording that is read: a header that claims more is damaged or a
decompression bomb.
"""

_DATA_CHUNK = re.compile(
    r"^\s*(?:data|Data Size|SSND|riff|Riff size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE
)
"""libsndfile's log line about a file whose header promises more bytes of samples than it has: WAV,
AU, AIFF, W64 and RF64. `RIFF`, of a WAV, counts what follows the samples, too.
"""
_SPHERE_COUNT = re.compile(rb"^sample_count -i (\d+)", re.MULTILINE)
"""The line of a NIST SPHERE header with the number of samples of each channel; libsndfile has none
in its log.
"""
_SAMPLES = re.compile(r"^data\s*: (\d+)$", re.MULTILINE)
_NO_CHUNK = re.compile(
    r"^.*(?:Unknown chunk marker.*|(?P<zero>Have 0 marker)) at position (?P<place>\d+)",
    re.MULTILINE,
)
"""libsndfile's log line about bytes behind the samples of a WAV that are no chunk."""
_NO_DATA = re.compile(r"^data\s*: 0$", re.MULTILINE)
_FILE_LENGTH = re.compile(r"^Length\s*: (\d+)$", re.MULTILINE)
_NEW_HEADER = "write a new header: sox --ignore-length IN.wav OUT.wav"
_LONGEST_HEADER = 4096
"""Size in bytes up to which a WAV without samples may consist of its header and tags alone."""
MAX_CLIP_SECONDS = 3600.0
"""The longest utterance in seconds. It bounds what decoding one utterance takes: 89 kB of FLAC can
hold half an hour of silence.
"""

_IMPOSSIBLE = ("SF_INFO struct incomplete", "Channel count is zero")
"""Errors of libsndfile for a header without a sample rate, with a negative one, or without
channels.
"""

_UNKNOWN_SIZE = 0x7F000000
"""Bytes from which on a declared size stands for an unknown one: writers into a pipe cannot know
the length and put the largest number, or one near it, as SoX does in AIFF.
"""


@dataclass(frozen=True)
class Header:
    """The length of an audio file in frames per channel, and its sample rate in Hz."""

    frames: int
    rate: int

    @property
    def seconds(self) -> float:
        """The length of the file in seconds."""
        return self.frames / self.rate


def read_header(source: Path | bytes, name: str) -> Header:
    """Read the header of an audio file, or of the bytes of one. Raises UnusableError where there is
    no sound to read, or the header and the file disagree.
    """
    import soundfile  # and numpy with it: a command that knows every header waits for neither

    try:
        found = soundfile.info(open_audio(source, name).source)
        _check_transfer(source, found, name)
    except UnusableError as error:
        if why := conversion_of(whole_content(source)):
            raise UnusableError(f"{name} is damaged: {why}") from error
        raise
    except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:
        raise UnusableError(f"{name} cannot be read as audio: {_why(source, error)}") from error
    # libsndfile believes a WAV's header without an error; its log is the only trace of what is there
    if found.frames <= 0 or found.samplerate <= 0:
        raise UnusableError(f"{name} holds no audio ({_why_none(found.extra_info)})")
    header = Header(int(found.frames), int(found.samplerate))
    if header.seconds > MAX_HOURS * 3600:
        raise UnusableError(
            f"{name} claims {header.seconds / 3600:.0f} hours; the header is damaged"
        )
    if not LOWEST_RATE <= header.rate <= HIGHEST_RATE:
        raise UnusableError(
            f"{name} claims {header.rate} samples a second; no speech is recorded so, the header is damaged"
        )
    chunk = _DATA_CHUNK.search(found.extra_info)
    if chunk and int(chunk[2]) < int(chunk[1]) < _UNKNOWN_SIZE:
        raise UnusableError(
            f"{name} is cut off: its header promises {chunk[1]} bytes of samples, {chunk[2]} are there"
        )
    start = beginning(source)
    counted = _SPHERE_COUNT.search(start) if start.startswith(b"NIST") else None
    if counted and header.frames + TOLERANCE * header.rate < int(counted[1]):
        raise UnusableError(
            f"{name} is cut off: its header promises {int(counted[1])} samples, {header.frames} are there"
        )
    _check_rest(source, found.extra_info, name)
    return header


def _check_transfer(source: Path | bytes, found: soundfile._SoundFileInfo, name: str) -> None:
    """Raise UnusableError where a text conversion damaged a file that can be opened all the same.
    Of WAV files, only one that is longer than its header says is read for this: such a conversion
    adds bytes.
    """
    length, start = _FILE_LENGTH.search(found.extra_info), beginning(source)
    told = 8 + int.from_bytes(start[4:8], "little")
    is_longer = start.startswith(b"RIFF") and length is not None and int(length[1]) > told
    if (is_longer or found.format == "MP3") and (why := conversion_of(whole_content(source))):
        raise UnusableError(f"{name} is damaged: {why}")


def _check_rest(source: Path | bytes, log: str, name: str) -> None:
    """Raise UnusableError for a WAV with more samples than its header promises: its writer was
    killed, or it has more than 4 GB. libsndfile reads only as many as the header promises.
    """
    told, length = _SAMPLES.search(log), _FILE_LENGTH.search(log)
    behind = _NO_CHUNK.search(log, told.end()) if told else None
    if told is None or length is None or behind is None:
        return
    place = int(behind["place"])
    rest = int(length[1]) - place
    if rest > _LONGEST_HEADER and not (behind["zero"] and only_zeros(source, place)):
        raise UnusableError(
            f"{name} is longer than it says: its header promises {told[1]} bytes of samples, and {rest} more follow "
            f"that are no part of a WAV; {_NEW_HEADER}"
        )


def _why(source: Path | bytes, error: Exception) -> str:
    """Say what an unreadable file is instead of audio, or what libsndfile says of it."""
    reason = str(getattr(error, "error_string", None) or error)
    if isinstance(error, OSError):
        return why_unopened(error)
    path, start = "FILE" if isinstance(source, bytes) else str(source), beginning(source)
    if not is_text(start) and (damage := conversion_of(whole_content(source))):
        return f"it is damaged: {damage}"
    if is_joined(source):
        return (
            "it is several files joined into one, of which most programs hear the first alone; join their sound: "
            "sox ONE.wav TWO.wav OUT.wav"
        )
    if any(words in reason for words in _IMPOSSIBLE):
        return "its header tells no sampling rate or no channels that there are; copy it again"
    tried = reason if isinstance(source, bytes) else what_to_try(reason, path)
    return what_it_is(start, path) or tried


def _why_none(log: str) -> str:
    """Say why a file has no frames, from libsndfile's log of its chunks."""
    length = _FILE_LENGTH.search(log)
    if _NO_DATA.search(log) and length and int(length[1]) > _LONGEST_HEADER:
        return (
            f"its header says that no samples follow, and the file has {length[1]} bytes: whoever "
            f"recorded was ended before the length was written; {_NEW_HEADER}"
        )
    return "zero frames"


def clip_seconds(header: Header, offset: float | None, duration: float | None, name: str) -> float:
    """Return the length of an utterance in seconds: of the whole file, or from `offset` for
    `duration` (None: to the end).

    Raises UnusableError where the declared figures and the file differ by more than 0.1 s.
    """
    whole = header.seconds
    if offset is None:
        if duration is not None and abs(duration - whole) > TOLERANCE:
            hint = "correct it, or add an offset to mean a part of the file"
            raise UnusableError(
                f"the duration is {duration:g} s but {name} lasts {whole:.2f} s; {hint}"
            )
        return _utterance_long(whole)
    end = whole if duration is None else offset + duration
    span = f"{offset:g} s to {end:g} s"
    if offset >= whole or end > whole + TOLERANCE:
        raise UnusableError(
            f"the segment from {span} reaches past {name}, which lasts {whole:.2f} s"
        )
    return _utterance_long(min(end, whole) - offset)


def _utterance_long(seconds: float) -> float:
    """Return `seconds`. Raises UnusableError where an utterance may not be as long."""
    if seconds > MAX_CLIP_SECONDS:
        raise UnusableError(
            f"the utterance lasts {seconds / 60:.0f} minutes; cut the recording into utterances"
        )
    return seconds
