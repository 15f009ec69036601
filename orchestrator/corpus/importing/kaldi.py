"""Making the lines of a manifest of a Kaldi data directory: of wav.scp and text, and of segments,
utt2spk and reco2file_and_channel where they exist.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.corpus.label_files.segments import is_unspoken
from orchestrator.corpus.manifest_errors import SAVE_AS_UTF8, UnusableError, show
from orchestrator.corpus.manifests.manifest_writing import Made, relative, some_faults
from orchestrator.corpus.recordings.headers import read_header
from orchestrator.corpus.recordings.locating import MissingAudioError, locate
from orchestrator.errors import ManifestError

_IN_ARCHIVE = re.compile(r"\.ark:\d+$")
_TO_THE_END = -1
"""The end of a segment that extends to the end of its recording."""


_ITSELF = (
    "utt2spk names every utterance as its own speaker, as recipes do that know none, and no speaker is written; where "
    "each utterance is of another person, let its speaker have another name"
)


@dataclass(frozen=True)
class Row:
    """What a file of the directory says of one id, and its file and line."""

    value: str
    origin: str


def lines_of_kaldi(folder: Path, out: Path) -> tuple[list[Made], Counter[str], list[str]]:
    """Make one line for each utterance of `text`, for a manifest at `out`. Also returns the number
    of recordings that are left out because they have no text, and notes for the user.

    Raises ManifestError with all faults by file and line. Commands in wav.scp are never run.
    """
    needed = [name for name in ("wav.scp", "text") if not (folder / name).is_file()]
    if needed:
        raise ManifestError(
            f"{folder} has no file {' and no file '.join(needed)}\n  Name a Kaldi data directory."
        )
    faults: list[str] = []
    sounds, texts, speakers, segments, channels = (
        _read_rows(folder / name, faults)
        for name in ("wav.scp", "text", "utt2spk", "segments", "reco2file_and_channel")
    )
    lines, left, notes = [], Counter[str](), list[str]()
    if len(speakers) > 1 and all(name == row.value for name, row in speakers.items()):
        speakers = {}
        notes.append(_ITSELF)
    for name, said in texts.items():
        if is_unspoken(said.value):
            left["marked as not to be scored"] += 1
            continue
        try:
            span = _recording_span(name, said, segments, sounds)
            # adds the duration to `span` where there is no segment
            audio = _sound_path(span, sounds, folder, out)
            line = {"id": name, **span, "audio_filepath": audio, "text": said.value}
        except UnusableError as error:
            faults.append(str(error))
            continue
        line |= {"speaker": speakers[name].value} if name in speakers else {}
        if recording := channels.get(line["recording"]):
            # refused when the manifest is read, where the file has several
            line["channel"] = recording.value.split()[-1]
        lines.append(
            Made(
                {key: value for key, value in line.items() if key != "recording"},
                said.origin,
                (name,),
            )
        )
    if faults:
        raise ManifestError(some_faults(folder, faults))
    silent = sum(name not in texts for name in (segments or sounds))
    left.update({"without a transcript": silent} if silent else {})
    return lines, left, notes


def _read_rows(path: Path, faults: list[str]) -> dict[str, Row]:
    """Read a file with `id value` on each line; the result is empty where there is no such file."""
    rows: dict[str, Row] = {}
    content = path.read_bytes() if path.is_file() else b""
    for number, line in enumerate(content.split(b"\n"), start=1):
        where = f"{path}:{number}"
        try:
            name, *rest = line.decode("utf-8-sig").split(maxsplit=1)
        except UnicodeDecodeError as error:
            faults.append(f"{where}: byte 0x{line[error.start]:02x} is not UTF-8; {SAVE_AS_UTF8}")
            continue
        except ValueError:  # a blank line
            continue
        if not rest:
            faults.append(
                f"{where}: {show(name)} stands alone; write what belongs to it, or delete the line"
            )
        elif name in rows:
            faults.append(
                f"{where}: the id {show(name)} is already in {rows[name].origin}; ids are unique"
            )
        else:
            rows[name] = Row(rest[0].strip(), where)
    return rows


def _recording_span(
    name: str, said: Row, segments: dict[str, Row], sounds: dict[str, Row]
) -> dict[str, Any]:
    """Return the recording of an utterance, and where in it the utterance stands."""
    if not segments:
        if name not in sounds:
            raise UnusableError(f"{said.origin}: wav.scp has no recording {show(name)}")
        return {"recording": name}
    if name not in segments:
        raise UnusableError(f"{said.origin}: segments has no utterance {show(name)}")
    row = segments[name]
    try:
        recording, *times = row.value.split()
        start, end = map(float, times)
        if not (math.isfinite(start) and math.isfinite(end)):
            raise ValueError(times)
    except ValueError:
        raise UnusableError(
            f"{row.origin}: {show(row.value)} is no `recording start end` in seconds"
        ) from None
    span: dict[str, Any] = {"recording": recording, "offset": start}
    if end != _TO_THE_END:
        span["duration"] = round(end - start, 6)
    if recording not in sounds:
        raise UnusableError(f"{row.origin}: wav.scp has no recording {show(recording)}")
    return span


def _sound_path(span: dict[str, Any], sounds: dict[str, Row], folder: Path, out: Path) -> str:
    """Return the path of a recording as the manifest writes it; where `span` has no segment, the
    recording's length is added to it.
    """
    row = sounds[span["recording"]]
    if row.value.endswith("|"):
        raise UnusableError(
            f"{row.origin}: {show(row.value)} is a command, and commands are never run: keep its output in a file"
        )
    if _IN_ARCHIVE.search(row.value):
        raise UnusableError(
            f"{row.origin}: {show(row.value)} is a place in an archive, which is not read; write its recordings as "
            "files (ESPnet: --audio_format flac), and name these"
        )
    try:
        path = _located(row.value, folder)
        if "offset" not in span:
            span["duration"] = round(read_header(path, f"audio file {show(row.value)}").seconds, 6)
    except UnusableError as error:
        raise UnusableError(f"{row.origin}: {error}") from error
    return relative(path, out.parent)


def _located(written: str, folder: Path) -> Path:
    """Return a recording as `locate` finds it, or else as it is found below the nearest folder above the Kaldi
    directory, because paths begin where the recipe was run.
    """
    try:
        return locate(written, folder)
    except MissingAudioError:
        above = () if Path(written).is_absolute() else Path(os.path.abspath(folder)).parents
        for place in above:
            with suppress(UnusableError):
                return locate(str(place / written), folder)
        raise
