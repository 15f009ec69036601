"""What an audio file says of itself: found, opened and measured without decoding it. No torch."""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.corpus.containers import beginning, only_zeros, open_audio, whole_content
from orchestrator.corpus.manifest_errors import UnusableError, show, why_unopened
from orchestrator.corpus.not_a_recording import is_text, what_it_is, what_to_try
from orchestrator.corpus.record_fields import HIGHEST_RATE, LOWEST_RATE
from orchestrator.corpus.transfer_damage import conversion_of
from orchestrator.file_kinds import kind_text

if TYPE_CHECKING:
    import soundfile

SAMPLE_RATE = 16_000
"""Hz; of every clip once it is decoded."""

TOLERANCE = 0.1
"""Seconds between the declared duration and the file's. lhotse calls 0.3 serious; rounding to 0.1
is common.
"""

MAX_HOURS = 24
"""A header that claims more is damaged or a decompression bomb."""

AUDIO_SUFFIXES = (
    *(".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".sph"),
    *(".aifc", ".au", ".caf", ".w64"),
)
"""Of the files that are read as audio."""
UNREAD_SUFFIXES = (".m4a", ".mp4", ".aac", ".webm", ".wma", ".amr", ".3gp", ".mov", ".mkv")
"""Of files with sound that are not read; what helps is named."""

_WINDOWS_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_VARIABLE = re.compile(r"\$\w|\$\{|%\w+%|\{\w+\}")

_CLIP_FOLDERS = ("", "clips", "wavs")
"""Where a table's clips lie beside it: Common Voice keeps them in clips/, LJSpeech in wavs/."""

_DATA_CHUNK = re.compile(r"^data\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
_SAMPLES = re.compile(r"^data\s*: (\d+)$", re.MULTILINE)
_NO_CHUNK = re.compile(
    r"^.*(?:Unknown chunk marker.*|(?P<zero>Have 0 marker)) at position (?P<place>\d+)",
    re.MULTILINE,
)
_NO_DATA = re.compile(r"^data\s*: 0$", re.MULTILINE)
_FILE_LENGTH = re.compile(r"^Length\s*: (\d+)$", re.MULTILINE)
_NEW_HEADER = "write a new header: sox --ignore-length IN.wav OUT.wav"
_LONGEST_HEADER = 4096
"""Bytes of a WAV with its tags and without a sample."""
MAX_CLIP_SECONDS = 3600.0
"""Bounds what decoding one utterance takes: 89 kB of FLAC can hold half an hour of silence."""

_IMPOSSIBLE = ("SF_INFO struct incomplete", "Channel count is zero")
"""What libsndfile calls a header without a rate, or with a negative one, or without channels."""

_UNKNOWN_SIZE = 0x7FFF0000
"""Writers into a pipe cannot know the length and put the largest number."""


class MissingAudioError(UnusableError):
    """A record names a recording that is not there."""


@dataclass(frozen=True)
class Header:
    """Frames per channel, and their rate in Hz."""

    frames: int
    rate: int

    @property
    def seconds(self) -> float:
        """Length of the file."""
        return self.frames / self.rate


def locate(written: str, folder: Path) -> Path:
    """The path a manifest in `folder` means by `written`, absolute.

    NeMo's rule: beside the manifest if it is there, or in its clips/ or wavs/, otherwise as
    written, which for a relative path means the current folder. An ending may be missing, as in
    LJSpeech and old releases of Common Voice. Raises UnusableError unless a regular file is there:
    opening a FIFO would block for ever.
    """
    if (beside := _file_beside(written, folder)) is not None:
        return beside
    for path in _possible_paths(written, folder):
        try:
            mode = path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:
            reason = why_unopened(error) if isinstance(error, OSError) else str(error)
            if "\0" in written:  # Python's own words for it differ from version to version
                reason = "embedded null byte"
            raise UnusableError(f"audio file {show(written)} cannot be opened: {reason}") from error
        if stat.S_ISDIR(mode) and not path.suffix:
            continue  # a folder of a clip's name, beside the clip
        if not stat.S_ISREG(mode):
            raise UnusableError(
                f"audio file {show(written)} is {kind_text(mode)}; only regular files are read"
            )
        return Path(os.path.abspath(path))
    raise MissingAudioError(
        f"audio file {show(written)} does not exist, neither in {folder} nor in the current folder"
        f"{_why_missing(written, folder)}"
    )


def _why_missing(written: str, folder: Path) -> str:
    """What a path that leads nowhere looks like, and what to write instead; empty for any other."""
    if part := _part_that_is_there(written, folder):
        before = written[: -len(part)]
        return f"; there is {show(part)} in the manifest's folder: take {show(before)} away"
    if _WINDOWS_DRIVE.match(written):
        return "; it is a path of Windows: write it from the manifest's folder on"
    if _VARIABLE.search(written):
        return "; variables are not replaced: write the path out"
    if written != written.strip():
        return "; its name begins or ends with a space: take it away"
    named = Path(folder, _as_file_name(written.replace("\\", "/")))
    if file := next((str(part) for part in reversed(named.parents) if part.is_file()), ""):
        return f"; {show(file)} is a file and no folder: where it is an archive, unpack it"
    if named.is_dir():
        return "; it is a folder: name a recording in it"
    there = _names_by_lower_case(named.parent).get(named.name.casefold(), "")
    return f"; there is {show(there)}: upper and lower case are two names" if there else ""


def _part_that_is_there(written: str, folder: Path) -> str:
    """The longest end of an absolute path, of whichever system, that leads to a file from `folder`
    on; empty where none does.
    """
    absolute = written.startswith(("/", "\\", "~", "$", "%", "{")) or _WINDOWS_DRIVE.match(written)
    names = re.split(r"[\\/]", written)
    ends = (names[place:] for place in range(1, len(names)))
    found = (end for end in ends if end[0] and _is_file(folder, "/".join(end)))
    return "/".join(next(found, [])) if absolute else ""


def _is_file(folder: Path, written: str) -> bool:
    try:
        return Path(folder, _as_file_name(written)).is_file()
    except (OSError, ValueError):
        return False


@lru_cache(maxsize=8)
def _names_by_lower_case(folder: Path) -> dict[str, str]:
    """The files of a folder; kept, for a manifest names one folder many times."""
    try:
        return {name.casefold(): name for name in os.listdir(folder)}
    except (OSError, ValueError):
        return {}


def _file_beside(written: str, folder: Path) -> Path | None:
    """What most manifests mean, found with one look at the disk; None where it takes more."""
    if written.startswith("~"):
        return None
    place = os.path.join(folder, _as_file_name(written))
    try:
        regular = stat.S_ISREG(os.stat(place).st_mode)
    except (OSError, ValueError):
        return None
    return Path(os.path.abspath(place)) if regular else None


def _as_file_name(written: str) -> str:
    """Whatever the locale: names are UTF-8."""
    return os.fsdecode(written.encode("utf-8", "surrogateescape"))


def _as_text(path: Path) -> str:
    """The other way: a file's name as text, bytes that are not UTF-8 as surrogates."""
    return os.fsencode(path).decode("utf-8", "surrogateescape")


def _possible_paths(written: str, folder: Path) -> Iterator[Path]:
    """What `written` may mean, most likely first."""
    as_written = Path(_as_file_name(written))
    with suppress(RuntimeError):
        as_written = as_written.expanduser()
    endings = ("",) if written.lower().endswith(AUDIO_SUFFIXES) else ("", *AUDIO_SUFFIXES)
    forms = [as_written]
    if "\\" in written:  # of Windows
        forms.append(Path(str(as_written).replace("\\", "/")))
    if not written.isascii():  # macOS writes names apart: e and an accent
        texts = [_as_text(path) for path in forms]
        apart = [unicodedata.normalize("NFD", text) for text in texts]
        whole = [unicodedata.normalize("NFC", text) for text in texts]
        forms += [Path(_as_file_name(text)) for text in (*whole, *apart)]
    names = [
        form.with_name(f"{form.name}{ending}") for form in forms for ending in endings if form.name
    ]
    places = [*(folder / clip_folder for clip_folder in _CLIP_FOLDERS), Path()]
    return (place / name for name in names for place in places)


def read_header(source: Path | bytes, name: str) -> Header:
    """Header of an audio file, or of the bytes of one. Raises UnusableError where there is no sound
    to read.
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
    _check_rest(source, found.extra_info, name)
    return header


def _check_transfer(source: Path | bytes, found: soundfile._SoundFileInfo, name: str) -> None:
    """Raise UnusableError where a file was converted as text is, and is read all the same. Of a WAV
    only one that is longer than it says is read for it: a conversion adds bytes.
    """
    length, start = _FILE_LENGTH.search(found.extra_info), beginning(source)
    told = 8 + int.from_bytes(start[4:8], "little")
    is_longer = start.startswith(b"RIFF") and length is not None and int(length[1]) > told
    if (is_longer or found.format == "MP3") and (why := conversion_of(whole_content(source))):
        raise UnusableError(f"{name} is damaged: {why}")


def _check_rest(source: Path | bytes, log: str, name: str) -> None:
    """Raise UnusableError for a WAV with more samples than its header tells: one whose writer was
    ended, or of more than 4 GB. libsndfile reads as many as are told.
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
    """What the file is instead, or what libsndfile says of it."""
    reason = str(getattr(error, "error_string", None) or error)
    if isinstance(error, OSError):
        return why_unopened(error)
    path, start = "FILE" if isinstance(source, bytes) else str(source), beginning(source)
    if not is_text(start) and (damage := conversion_of(whole_content(source))):
        return f"it is damaged: {damage}"
    if any(words in reason for words in _IMPOSSIBLE):
        return "its header tells no sampling rate or no channels that there are; copy it again"
    tried = reason if isinstance(source, bytes) else what_to_try(reason, start, path)
    return what_it_is(start, path) or tried


def _why_none(log: str) -> str:
    """Of a file without frames, by what libsndfile noted of its parts."""
    length = _FILE_LENGTH.search(log)
    if _NO_DATA.search(log) and length and int(length[1]) > _LONGEST_HEADER:
        return (
            f"its header says that no samples follow, and the file has {length[1]} bytes: whoever "
            f"recorded was ended before the length was written; {_NEW_HEADER}"
        )
    return "zero frames"


def clip_seconds(header: Header, offset: float | None, duration: float | None, name: str) -> float:
    """Seconds of the utterance: the whole file, or from `offset` for `duration` (None: to the end).

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
    if seconds > MAX_CLIP_SECONDS:
        raise UnusableError(
            f"the utterance lasts {seconds / 60:.0f} minutes; cut the recording into utterances"
        )
    return seconds


def is_there(written: str, folder: Path) -> bool:
    """Whether a manifest in `folder` can mean a file by `written`."""
    try:
        return bool(written) and locate(written, folder).is_file()
    except UnusableError:
        return False
