"""Says what a file is that is no manifest, in one sentence that ends with the command that makes a
manifest of it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path

from orchestrator.corpus.label_files.label_file import (
    WITHOUT_SENTENCES,
    kind_of_labels,
    kind_of_list,
)
from orchestrator.corpus.manifest_errors import UnusableError, show
from orchestrator.corpus.recordings.locating import AUDIO_SUFFIXES
from orchestrator.typed_words import quoted_path

READ = "JSON lines, JSON, tables with tabs, commas, semicolons or |, and lists of name: text"
"""The formats that are read, in words."""

_LISTS = (".jsonl", ".csv", ".tsv", ".json", ".gz")

_FROM_FOLDER = "orchestrate manifest from-folder {folder} {out}"
_EXPORT = f"export it as Praat TextGrid or as subtitles beside its recording, then: {_FROM_FOLDER}"
_FROM_DATASET = "orchestrate manifest from-dataset {folder} {out} --split train"
_ARROW = f"is an Arrow file, a part of a data set: {_FROM_DATASET}"
_PICKLE = "is a pickle, which can run code and is not opened; write its rows as JSON lines"

_BEGINNINGS: dict[bytes, str] = {
    b"\xff\xfe\x00\x00": "is UTF-32; write it as UTF-8: iconv -f UTF-32 -t UTF-8 {file} > {stem}-utf8{suffix}",
    b"\xff\xfe": "is UTF-16; write it as UTF-8: iconv -f UTF-16 -t UTF-8 {file} > {stem}-utf8{suffix}",
    b"\xfe\xff": "is UTF-16; write it as UTF-8: iconv -f UTF-16 -t UTF-8 {file} > {stem}-utf8{suffix}",
    b"version https://git-lfs": "is a pointer of Git LFS, not the file; fetch the file: git lfs pull",
    b"<!DOCTYPE": "is a web page, not the file; download the file itself",
    b"<html": "is a web page, not the file; download the file itself",
    b"<?xml": f"is XML, as ELAN and Transcriber write; {_EXPORT}",
    b"@UTF8": f"is CHAT; {_EXPORT}",
    b"[Script Info]": f"is subtitles (ASS); {_EXPORT}",
    b"#!MLF!#": "is a label file of HTK (MLF); write what is said as a table of name and text",
    b"BZh": "is compressed (bzip2); decompress it: bunzip2 -k {file}",
    b"\xfd7zXZ": "is compressed (xz); decompress it: unxz -k {file}",
    b"\x28\xb5\x2f\xfd": "is compressed (zstd); decompress it: unzstd {file}",
    b"PK\x03\x04": "is a ZIP archive or a workbook (.xlsx); unpack it, or save the sheet as CSV",
    b"ARROW1": _ARROW,
    b"\xff\xff\xff\xff": _ARROW,
    b"\x80\x04": _PICKLE,
    b"\x80\x05": _PICKLE,
    b"PAR1": f"is a Parquet file, a part of a data set: {_FROM_DATASET}",
    b"RIFF": f"is a recording; its folder becomes a manifest with: {_FROM_FOLDER}",
    b"fLaC": f"is a recording; its folder becomes a manifest with: {_FROM_FOLDER}",
    b"OggS": f"is a recording; its folder becomes a manifest with: {_FROM_FOLDER}",
    b"ID3": f"is a recording; its folder becomes a manifest with: {_FROM_FOLDER}",
    b"\x00\x05\x16\x07": "is what macOS keeps beside a file (._), not the file; name the one without ._",
}
"""What a file is, by the bytes that it begins with, and what to do; `_filled_in` replaces the names
in braces.
"""


def refuse_binary(path: Path, first: bytes) -> None:
    """Raise UnusableError where the first line shows that the file is not text in UTF-8, or a known
    format that is no manifest.
    """
    for beginning, what in _BEGINNINGS.items():
        if first.startswith(beginning):
            raise UnusableError(_filled_in(what, path, path.parent))
    if first[257:262] == b"ustar":
        what = (
            "is a tar archive; unpack it and name the manifest or the folder that was in it, or where it is a shard "
            f"of WebDataset: {_FROM_DATASET}"
        )
        raise UnusableError(_filled_in(what, path, path.parent))
    if first.rstrip(b"\r\n").count(b"\r") > 1:
        what = "has the line ends of old Macs (CR); write new ones: tr '\\r' '\\n' < {file} > {stem}-lines{suffix}"
        raise UnusableError(_filled_in(what, path, path.parent))
    if (coding := _utf16_without_mark(first)) is not None:
        what = "is UTF-16; write it as UTF-8: iconv -f %s -t UTF-8 {file} > {stem}-utf8{suffix}"
        raise UnusableError(_filled_in(what % coding, path, path.parent))
    if b"\0" in first[:4096]:
        raise UnusableError(f"is a binary file; read are {READ}, as UTF-8 text")


def refuse_labels(path: Path, beginning: str) -> None:
    """Raise UnusableError where the first lines show a label file, which tells what is said in a
    recording, and when.
    """
    kind = kind_of_labels(beginning) or kind_of_list(beginning, path.suffix)
    if not kind:
        return
    what = f"is {kind}, of one recording; under that one's name beside it, it is read by: {_FROM_FOLDER}"
    if kind == "STM":
        what = f"is STM, of parts of recordings: {_FROM_FOLDER} --transcripts {{file}}"
    if why := WITHOUT_SENTENCES.get(kind):
        what = f"is {kind}, {why}; where .txt files beside the recordings do: {_FROM_FOLDER}"
    raise UnusableError(_filled_in(what, path, path.parent))


def _utf16_without_mark(first: bytes) -> str | None:
    """Return the byte order of a first line in which every other byte is zero, as in UTF-16 without
    a byte order mark; None for any other line.
    """
    pairs = first[:200]
    if len(pairs) >= 8 and not any(pairs[1::2]) and all(pairs[0::2]):
        return "UTF-16LE"
    if len(pairs) >= 8 and not any(pairs[0::2]) and all(pairs[1::2]):
        return "UTF-16BE"
    return None


def is_kaldi_row(row: re.Match[str], path: Path) -> bool:
    """Whether a line, matched as `name text`, is a row of a file of a Kaldi data directory, under
    its own name or another.
    """
    if path.name in ("text", "segments", "utt2spk") and (path.parent / "wav.scp").is_file():
        return True
    source, sole = row["text"].strip().lower(), "|" not in row["name"] and "," not in row["name"]
    is_sound = source.endswith(" |") or (
        source.endswith(AUDIO_SUFFIXES) and len(source.split()) == 1
    )
    return sole and (path.name == "wav.scp" or is_sound)


def kaldi_error(path: Path) -> UnusableError:
    """Return the error for one of the files of a Kaldi data directory, with what is missing beside
    it.
    """
    needs = [name for name in ("wav.scp", "text") if not (path.parent / name).is_file()]
    what = "is a file of a Kaldi data directory"
    if path.name not in ("text", "wav.scp", "segments", "utt2spk"):
        what, needs = "is a Kaldi wav.scp under another name; rename it to wav.scp", needs[1:]
    first = f", which has no file {' and no file '.join(needs)}: add it, then" if needs else ":"
    return UnusableError(
        _filled_in(
            f"{what}{first} orchestrate manifest from-kaldi {{folder}} {{out}}", path, path.parent
        )
    )


def lhotse_part(keys: Collection[str], path: Path) -> str:
    """Say what helps with recordings or supervisions of lhotse, which are half of a manifest each;
    empty for records with other keys.
    """
    cuts = (
        "make cuts of both: lhotse cut simple -r RECORDINGS -s SUPERVISIONS CUTS, then "
        "lhotse cut trim-to-supervisions CUTS OUT"
    )
    if {"sources", "num_samples"}.issubset(keys) or {"channels", "source"}.issubset(keys):
        return f"holds lhotse's recordings without their texts; {cuts}"
    if {"recording_id", "start", "duration"}.issubset(keys):
        hint = _filled_in(f"{_FROM_FOLDER} --transcripts {{file}}", path, path.parent)
        return f"holds lhotse's supervisions without their recordings; where those lie beside it: {hint}, or {cuts}"
    return ""


def names_hint(path: Path) -> str:
    """Say what helps with a table whose ids may be names of recordings."""
    hint = f"; where the ids are names of recordings: {_FROM_FOLDER} --transcripts {{file}}"
    return _filled_in(hint, path, path.parent)


def parts_hint(path: Path) -> str:
    """Say what helps with records that have times and texts but name no recording."""
    hint = f"; parts of one recording are read under its name beside it by: {_FROM_FOLDER}"
    return _filled_in(hint, path, path.parent)


def folder_hint(path: Path) -> str:
    """Say what to do with a folder that is given as a manifest: name the list in it, or run the
    command that makes a manifest of it.
    """
    for name in ("metadata.jsonl", "metadata.csv", "metadata.tsv"):
        if (path / name).is_file():
            return f"is a folder; name the list in it, {path / name}"
    if (path / "wav.scp").is_file():
        return _filled_in(
            "is a Kaldi data directory: orchestrate manifest from-kaldi {folder} {out}", path, path
        )
    if any((path / name).is_file() for name in ("dataset_dict.json", "state.json")):
        return _filled_in(
            "is a saved data set: orchestrate manifest from-dataset {folder} {out} --split test",
            path,
            path,
        )
    shown = [entry for entry in sorted(path.iterdir()) if not entry.name.startswith(".")]
    lists = [
        entry
        for entry in shown
        if entry.suffix in _LISTS and not entry.name.endswith(".source.json")
    ]
    if lists:
        return f"is a folder; name a list in it, such as {lists[0]}"
    return _filled_in(f"is a folder: {_FROM_FOLDER}", path, path)


def unknown_format_error(path: Path, line: str) -> UnusableError:
    """Return the error for a text file of no known format."""
    what = f"is no manifest: its first line is {show(line.strip()[:60])}; read are {READ}"
    hint = f"recordings with .txt files become one with: {_FROM_FOLDER}"
    return UnusableError(f"{what}; {_filled_in(hint, path, path.parent)}")


def _filled_in(what: str, path: Path, place: Path) -> str:
    """Fill the paths, quoted for a shell, into a message about the file `path`, whose recordings
    lie in `place`.
    """
    name = os.path.basename(os.path.abspath(place)) or "manifest"  # that of `.` is empty
    out = place.parent / f"{name}.jsonl" if place == path else place / "manifest.jsonl"
    stem = path.with_suffix("") if path.name else path
    quoted = {"file": path, "stem": stem, "folder": place, "out": out}
    return what.format(
        **{key: quoted_path(value) for key, value in quoted.items()}, suffix=path.suffix
    )
