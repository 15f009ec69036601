"""A folder of recordings with their transcripts, as the lines of a manifest. No audio is decoded here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from orchestrator.corpus.building import relative
from orchestrator.corpus.faults import SHOWN, UnusableError, show
from orchestrator.corpus.headers import read_header
from orchestrator.errors import ManifestError

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif")

SpeakerRule = Literal["none", "folder", "prefix"]
"""none; the first folder below the top, as in LibriSpeech; or the file's name up to its first - or _."""


def lines_of_folder(folder: Path, out: Path, transcripts: Path | None, speaker: SpeakerRule) -> list[dict[str, Any]]:
    """One line for each recording below `folder`, sorted by path, for a manifest at `out`.

    A transcript is the file of the same name ending in .txt, a row of a LibriSpeech `*.trans.txt` in the same folder,
    or, where `transcripts` is given, a row `name<TAB>text` of that file alone. Raises ManifestError with everything
    that is missing, unreadable or left over.
    """
    if not folder.is_dir():
        raise ManifestError(f"there is no folder {folder}\n  Name the folder that holds the recordings.")
    recordings = sorted(p for p in folder.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES and p.is_file())
    if not recordings:
        endings = ", ".join(AUDIO_SUFFIXES)
        raise ManifestError(f"{folder} holds no recordings\n  Looked for {endings}, in all folders below.")
    faults: list[str] = []
    texts = _beside(recordings, faults) if transcripts is None else _table(recordings, folder, transcripts, faults)
    lines = []
    for path in recordings:
        try:
            seconds = read_header(path, f"audio file {show(str(path))}").seconds
        except UnusableError as error:
            faults.append(str(error))
            continue
        if path not in texts:
            faults.append(f"{path} has no transcript")
            continue
        name = path.relative_to(folder).with_suffix("").as_posix()
        line = {"id": name, "audio_filepath": relative(path, out.parent), "duration": round(seconds, 3)}
        line["text"] = texts[path]
        lines.append(line | _speaker(path.relative_to(folder), speaker))
    if faults:
        rest = [f"  and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
        shown = [f"  {fault}" for fault in faults[:SHOWN]]
        raise ManifestError("\n".join([f"{folder} has {len(faults)} faults:", *shown, *rest]))
    return lines


def _speaker(path: Path, rule: SpeakerRule) -> dict[str, str]:
    if rule == "folder" and len(path.parts) > 1:
        return {"speaker": path.parts[0]}
    return {"speaker": re.split(r"[-_]", path.stem)[0]} if rule == "prefix" else {}


def _beside(recordings: list[Path], faults: list[str]) -> dict[Path, str]:
    texts: dict[Path, str] = {}
    chapters: dict[Path, dict[str, str]] = {}
    for path in recordings:
        own = path.with_suffix(".txt")
        if own.is_file():
            texts[path] = " ".join((_text(own, faults) or "").split())
            continue
        if path.parent not in chapters:
            chapters[path.parent] = dict(_chapter(path.parent, faults))
        if path.stem in chapters[path.parent]:
            texts[path] = chapters[path.parent][path.stem]
    return texts


def _chapter(folder: Path, faults: list[str]) -> Iterator[tuple[str, str]]:
    """LibriSpeech: `84-121123-0000 GO DO YOU HEAR`, one line a recording."""
    for path in sorted(folder.glob("*.trans.txt")):
        for line in (_text(path, faults) or "").split("\n"):
            name, _, text = line.strip().partition(" ")
            if text.strip():
                yield name, text.strip()


def _table(recordings: list[Path], folder: Path, table: Path, faults: list[str]) -> dict[Path, str]:
    """Rows `name<TAB>text`; a name is a path below the folder, with or without its ending, or a bare file name."""
    names: dict[str, list[Path]] = {}
    for path in recordings:
        inside = path.relative_to(folder)
        for name in {inside.as_posix(), inside.with_suffix("").as_posix(), path.name, path.stem}:
            names.setdefault(name, []).append(path)
    texts: dict[Path, str] = {}
    for number, line in enumerate((_text(table, faults) or "").split("\n"), start=1):
        if not line.strip():
            continue
        name, tab, text = line.rstrip("\r").partition("\t")
        found = names.get(name.strip(), [])
        if not tab or "\t" in text:
            faults.append(f"{table}:{number}: expected name<TAB>text")
        elif len(found) != 1:
            what = "names no recording" if not found else f"may be any of {len(found)} recordings"
            faults.append(f"{table}:{number}: {show(name)} {what}")
        elif found[0] in texts:
            faults.append(f"{table}:{number}: {show(name)} has a transcript already")
        else:
            texts[found[0]] = text.strip()
    return texts


def _text(path: Path, faults: list[str]) -> str | None:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        faults.append(f"{path} cannot be read as UTF-8 text: {error}")
        return None
