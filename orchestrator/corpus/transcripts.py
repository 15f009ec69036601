"""What is said in the recordings of a folder: a text file beside each, LibriSpeech's lists, or one
list for all.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.corpus.format_detection import read_records
from orchestrator.corpus.headers import locate
from orchestrator.corpus.manifest_errors import Fault, UnusableError, show
from orchestrator.corpus.record_fields import AUDIO_KEYS, ID_KEYS, TEXT_KEYS

ENDINGS = (".txt", ".TXT", ".lab")
LISTS = tuple(
    f"{name}.{ending}"
    for name in ("metadata", "transcripts")
    for ending in ("jsonl", "csv", "tsv", "txt")
)
"""A list of this name at the top of a folder is its `--transcripts`."""


@dataclass(frozen=True)
class Transcript:
    """What is said, and the file and line where it stands."""

    text: str
    origin: str


def texts_beside(recordings: Sequence[Path], faults: list[str]) -> dict[Path, Transcript]:
    """From `NAME.txt`, `NAME.wav.txt` or `NAME.lab`, or a row of a `*.trans.txt` of the same
    folder.
    """
    texts: dict[Path, Transcript] = {}
    chapters: dict[Path, dict[str, Transcript]] = {}
    for path in recordings:
        candidates = [path.with_suffix(ending) for ending in ENDINGS] + [
            path.with_name(f"{path.name}.txt")
        ]
        own = next((candidate for candidate in candidates if candidate.is_file()), None)
        if own is not None:
            if found := _own_transcript(own, faults):
                texts[path] = found
            continue
        if path.parent not in chapters:
            chapters[path.parent] = dict(_chapter_lines(path.parent, faults))
        if path.stem in chapters[path.parent]:
            texts[path] = chapters[path.parent][path.stem]
    return texts


def _own_transcript(path: Path, faults: list[str]) -> Transcript | None:
    text = _read_text(path, faults)
    if text is None:
        return None
    first = next(
        (number for number, line in enumerate(text.split("\n"), start=1) if line.strip()), None
    )
    if first is None:
        faults.append(
            f"{path}:1: the transcript is empty; write what is said, or take the file away to go without"
        )
        return None
    return Transcript(" ".join(text.split()), f"{path}:{first}")


def _chapter_lines(folder: Path, faults: list[str]) -> Iterator[tuple[str, Transcript]]:
    """LibriSpeech: `84-121123-0000 GO DO YOU HEAR`, one line a recording."""
    for path in sorted(folder.glob("*.trans.txt")):
        for number, line in enumerate((_read_text(path, faults) or "").split("\n"), start=1):
            name, _, text = line.strip().partition(" ")
            if text.strip():
                yield name, Transcript(text.strip(), f"{path}:{number}")


def _read_text(path: Path, faults: list[str]) -> str | None:
    try:
        content = path.read_bytes()
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, byte = content.count(b"\n", 0, error.start) + 1, content[error.start]
        faults.append(f"{path}:{line}: byte 0x{byte:02x} is not UTF-8; save the file as UTF-8")
    except OSError as error:
        faults.append(f"{path} cannot be read: {error.strerror}")
    return None


def texts_from_list(
    recordings: Sequence[Path], folder: Path, table: Path, faults: list[str], unmatched: list[str]
) -> dict[Path, Transcript]:
    """From one list, in any format of a manifest; a name is a path below the folder, or else a bare
    file name.

    Endings may be missing. Lines whose recording is not there go to `unmatched`. Raises
    UnusableError where the file as a whole is no list.
    """
    names = _recordings_by_name(recordings, folder)
    texts: dict[Path, Transcript] = {}
    for number, record in read_records(table, hashlib.sha256(), folder=folder):
        where = f"{table}:{number}"
        if isinstance(record, Fault):
            faults.append(f"{where}: {record.message}")
            continue
        name, text = (_first_value(record, keys) for keys in ((*AUDIO_KEYS, *ID_KEYS), TEXT_KEYS))
        found = _recordings_meant(name, names, table)
        if not name or not text:
            faults.append(f"{where}: has no {'text' if name else 'name of a recording'}")
        elif not found:
            unmatched.append(f"{where}: {show(name)}")
        elif len(found) != 1:
            faults.append(
                f"{where}: {show(name)} may be any of {len(found)} recordings; write its folder too"
            )
        elif found[0] in texts:
            faults.append(
                f"{where}: {show(name)} has a transcript already, {texts[found[0]].origin}"
            )
        else:
            texts[found[0]] = Transcript(text, where)
    return texts


def _first_value(record: dict[str, object], keys: tuple[str, ...]) -> str:
    return next(
        (str(record[key]).strip() for key in keys if isinstance(record.get(key), str | int)), ""
    )


def _recordings_by_name(recordings: Sequence[Path], folder: Path) -> dict[str, list[Path]]:
    """What each name may mean: its path below the folder means one recording, whatever others are
    called elsewhere.
    """
    names: dict[str, list[Path]] = {}
    exact: dict[str, list[Path]] = {}
    for path in recordings:
        inside = path.relative_to(folder)
        # a list beside the folder names the folder too
        below = Path(os.path.abspath(folder)).name / inside
        paths = [form for whole in (inside, below) for form in (whole, whole.with_suffix(""))]
        for name in {*(path.as_posix() for path in paths), path.name, path.stem}:
            names.setdefault(name, []).append(path)
        for name in {inside.as_posix(), inside.with_suffix("").as_posix(), os.path.abspath(path)}:
            exact.setdefault(name, []).append(path)
    return names | exact


def _recordings_meant(name: str, names: dict[str, list[Path]], table: Path) -> list[Path]:
    if found := names.get(name.removeprefix("./")):
        return found
    try:
        return names.get(str(locate(name, table.parent)), []) if name else []
    except UnusableError:
        return []
