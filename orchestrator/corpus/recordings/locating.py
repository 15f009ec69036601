"""Finding the recording that a manifest names: beside the manifest, in the current folder, or under
a name that means the same.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from orchestrator.corpus.manifest_errors import UnusableError, show, why_unopened
from orchestrator.files.file_kinds import kind_text

AUDIO_SUFFIXES = (
    *(".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".sph"),
    *(".aifc", ".au", ".snd", ".caf", ".w64", ".bwf", ".rf64", ".bw64", ".nist"),
)
"""Endings of the files that are read as audio."""
UNREAD_SUFFIXES = (
    *(".m4a", ".mp4", ".aac", ".webm", ".wma", ".amr", ".3gp", ".mov", ".mkv", ".m4b", ".m4v"),
    *(".avi", ".mpg", ".mpeg", ".flv", ".wmv", ".mka", ".weba", ".ac3", ".mp2", ".spx", ".ape"),
    *(".awb", ".3ga", ".3gpp", ".m4r", ".qcp", ".gsm", ".g722", ".sln", ".voc", ".shn"),
    *(".wv", ".tta", ".dss", ".ds2", ".dvf", ".msv"),
)
"""Endings of files that contain sound and cannot be read; messages name them with what helps. The
last four are those of dictation machines.
"""
HEADLESS_SUFFIXES = (".pcm", ".raw", ".ulaw", ".ul", ".alaw", ".al")
"""Endings of files that contain sound without a header, or something else."""
SOUND_SUFFIXES = (*AUDIO_SUFFIXES, *UNREAD_SUFFIXES, *HEADLESS_SUFFIXES)
"""Endings of files that contain sound, whether they are read or not."""

_WINDOWS_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_VARIABLE = re.compile(r"\$\w|\$\{|%\w+%|\{\w+\}")

_CLIP_FOLDERS = ("", "clips", "wavs")
"""Folders beside a table in which its clips may lie: Common Voice keeps them in clips/, LJSpeech in
wavs/.
"""


class MissingAudioError(UnusableError):
    """Raised when a record names a recording that does not exist."""


def locate(written: str, folder: Path) -> Path:
    """Return the absolute path of the file that a manifest in `folder` means by `written`.

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
            if "\0" in written:  # Python's own message for it differs from version to version
                reason = "embedded null byte"
            raise UnusableError(f"audio file {show(written)} cannot be opened: {reason}") from error
        if stat.S_ISDIR(mode) and not path.suffix:
            continue  # a folder may lie beside the clip, under the clip's name without its ending
        if not stat.S_ISREG(mode):
            raise UnusableError(
                f"audio file {show(written)} is {kind_text(mode)}; only regular files are read"
            )
        return _without_parents(str(path))
    raise MissingAudioError(
        f"audio file {show(written)} does not exist{_searched(written, folder)}"
        f"{_why_missing(written, folder)}"
    )


def _searched(written: str, folder: Path) -> str:
    """Say in which folders a file was looked for; empty where its name says the folder."""
    if written.startswith("~") or os.path.isabs(written):
        return ""
    if folder == Path.cwd():
        return f" in {folder}"
    return f", neither in {folder} nor in the current folder"


def _why_missing(written: str, folder: Path) -> str:
    """Say why a path may lead nowhere, judging by its form and what does exist, and what to write
    instead; empty where there is no explanation.
    """
    if part := _part_that_is_there(written, folder):
        before = written[: -len(part)]
        return f"; there is {show(part)} in {folder}: take {show(before)} away"
    if _WINDOWS_DRIVE.match(written):
        return f"; it is a path of Windows: write it from {folder} on"
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
    """Return the longest tail of an absolute path, of whichever operating system, that leads to a
    file from `folder` on; empty where none does.
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
    """The files of a folder by their case-folded names. Cached, because a manifest names one folder
    many times.
    """
    try:
        return {name.casefold(): name for name in os.listdir(folder)}
    except (OSError, ValueError):
        return {}


def _file_beside(written: str, folder: Path) -> Path | None:
    """Return the file of the name `written` in `folder`, which is what most manifests mean, with
    one look at the disk; None where finding the recording takes more.
    """
    if written.startswith("~"):
        return None
    place = os.path.join(folder, _as_file_name(written))
    try:
        regular = stat.S_ISREG(os.stat(place).st_mode)
    except (OSError, ValueError):
        return None
    return _without_parents(place) if regular else None


def _without_parents(place: str) -> Path:
    """Return the absolute path of the file `place` without `..`, which leads above the folder that a link means, and
    not above the one that holds the link.
    """
    plain = os.path.abspath(place)
    if os.pardir not in place:
        return Path(plain)
    folder, name = os.path.split(os.path.join(os.getcwd(), place))
    meant = real_folder(folder)
    return Path(plain) if real_folder(os.path.dirname(plain)) == meant else Path(meant, name)


# cached, because a manifest names many recordings in one folder
@lru_cache(maxsize=1024)
def real_folder(folder: str) -> str:
    """Return the path of a folder without links."""
    return os.path.realpath(folder)


def _as_file_name(written: str) -> str:
    """Return `written` as a file name for the system: manifests have names in UTF-8, whatever the
    locale.
    """
    return written if written.isascii() else os.fsdecode(written.encode("utf-8", "surrogateescape"))


def _as_text(path: Path) -> str:
    """The inverse of `_as_file_name`: a file name as text, with bytes that are not UTF-8 as
    surrogates.
    """
    return os.fsencode(path).decode("utf-8", "surrogateescape")


def _possible_paths(written: str, folder: Path) -> Iterator[Path]:
    """Yield the paths that `written` may mean, most likely first."""
    as_written = Path(_as_file_name(written))
    with suppress(RuntimeError):
        as_written = as_written.expanduser()
    endings = ("",) if written.lower().endswith(AUDIO_SUFFIXES) else ("", *AUDIO_SUFFIXES)
    forms = [as_written]
    if "\\" in written:  # a path of Windows
        forms.append(Path(str(as_written).replace("\\", "/")))
    if not written.isascii():  # macOS decomposes names (NFD): e and an accent
        texts = [_as_text(path) for path in forms]
        apart = [unicodedata.normalize("NFD", text) for text in texts]
        whole = [unicodedata.normalize("NFC", text) for text in texts]
        forms += [Path(_as_file_name(text)) for text in (*whole, *apart)]
    names = [
        form.with_name(f"{form.name}{ending}") for form in forms for ending in endings if form.name
    ]
    places = [*(folder / clip_folder for clip_folder in _CLIP_FOLDERS), Path()]
    return (place / name for name in names for place in places)


def is_there(written: str, folder: Path) -> bool:
    """Whether there is a file that a manifest in `folder` can mean by `written`."""
    try:
        return bool(written) and locate(written, folder).is_file()
    except UnusableError:
        return False
