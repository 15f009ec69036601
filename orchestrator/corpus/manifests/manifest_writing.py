"""Writing manifests: lines in this project's own form, shuffled, and a note of where they came from
in `<manifest>.source.json`.

A manifest whose easy utterances stand together makes every part of it say something else; so every
one is shuffled, with a seed that is written down. The same command gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from orchestrator.corpus.manifest_errors import SHOWN, FaultsError, UnusableError, place_text, show
from orchestrator.corpus.manifests.manifest import Manifest, load_manifest
from orchestrator.corpus.manifests.record_fields import AUDIO_KEYS
from orchestrator.corpus.recordings.locating import real_folder
from orchestrator.corpus.utterance import Utterance
from orchestrator.errors import ManifestError
from orchestrator.files.atomic import new_file

T = TypeVar("T")


@dataclass(frozen=True)
class Made:
    """A line of a manifest that is being written."""

    line: Mapping[str, Any]
    origin: str
    """The file and line that it is made of, for messages to a person."""
    names: tuple[str, ...] = ()
    """The names by which it may be selected: path, file name, id."""


def shuffled(items: Sequence[T], seed: int, samples: int | None = None) -> list[T]:
    """Return all items in a seeded order, or the first `samples` of that order. Raises
    ManifestError when there are fewer.
    """
    if samples is not None and samples > len(items):
        raise ManifestError(
            f"--samples {samples} is more than there is: {len(items)} utterances\n  Ask for fewer."
        )
    order = list(items)
    random.Random(seed).shuffle(order)
    return order[:samples]


def own_seed(seed: int, name: str) -> int:
    """Derive a seed for one utterance, which depends neither on the others nor on its position."""
    return int.from_bytes(hashlib.sha256(f"{seed}\n{name}".encode()).digest()[:8], "big")


def relative(path: Path, folder: Path) -> str:
    """Return `path` as a manifest in `folder` writes it: relative, so that both may be moved
    together. A folder that is a link is left for the one above that which it means.
    """
    place = os.path.abspath(folder)
    written = os.path.relpath(path, place)
    if written.startswith(os.pardir):
        own, name = os.path.split(os.path.join(os.getcwd(), path))
        meant = real_folder(own)
        if real_folder(os.path.join(place, os.path.dirname(written))) != meant:
            written = os.path.relpath(os.path.join(meant, name), real_folder(place))
    return in_utf8(Path(written))


def in_utf8(path: Path) -> str:
    """Return a path as text for a manifest, with / between folders, whatever the locale. Raises
    UnusableError for a name that is not UTF-8.
    """
    try:
        return os.fsencode(path.as_posix()).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnusableError(
            f"the name of {show(str(path))} is not UTF-8; rename the file"
        ) from error


def line_of(utterance: Utterance, folder: Path) -> dict[str, Any]:
    """Return an utterance as a line of a manifest in `folder`, whichever format it was read from;
    unknown keys are kept.
    """
    line: dict[str, Any] = {"id": utterance.id, **_audio_fields(utterance, folder)}
    line |= {"offset": utterance.offset, "duration": utterance.duration, "text": utterance.text}
    if utterance.speaker:
        line["speaker"] = utterance.speaker
    return line | {
        key: value for key, value in utterance.extra.items() if key not in (*line, *AUDIO_KEYS)
    }


def made_of(utterance: Utterance, manifest: Path, folder: Path) -> Made:
    """Return an utterance of `manifest` as a line, with its origin and names, for another manifest
    in `folder`.
    """
    names = (
        ()
        if utterance.audio is None
        else (relative(utterance.audio, manifest.parent), utterance.audio.name)
    )
    return Made(
        line_of(utterance, folder), place_text(manifest, utterance.place), (*names, utterance.id)
    )


def _audio_fields(utterance: Utterance, folder: Path) -> dict[str, Any]:
    if utterance.audio is not None:
        return {"audio_filepath": relative(utterance.audio, folder)}
    if utterance.samples is not None:
        return {"audio": utterance.samples.tolist(), "sampling_rate": utterance.sample_rate}
    return {"audio": {"bytes": base64.b64encode(utterance.encoded or b"").decode()}}


def refuse_existing(*paths: Path) -> None:
    """Raise ManifestError for a manifest that exists already."""
    for path in paths:
        if path.exists() or path.is_symlink():
            raise ManifestError(
                f"{path} exists\n  Name a file that does not; nothing is overwritten."
            )


def audio_folder(out: Path) -> Path:
    """Return the folder for the audio of a manifest that is written here: beside it, under its
    name.
    """
    return out.with_name(f"{out.stem}-audio")


@contextmanager
def audio_or_nothing(out: Path) -> Iterator[None]:
    """Delete the audio that the body has written for `out` where it raises, unless the folder existed before. Raises
    ManifestError where the folder may hold the sound of another manifest, whose name differs in the ending alone.
    """
    folder = audio_folder(out)
    is_new = not folder.exists()
    beside = [] if is_new else sorted(out.parent.iterdir())
    if other := next((each for each in beside if each.stem == out.stem and each.is_file()), None):
        raise ManifestError(
            f"{folder}, where the sound of {out} would be written, may be that of {other}\n"
            "  Name another manifest, or delete that folder if no manifest names what it holds; nothing is overwritten."
        )
    try:
        yield
    except BaseException:
        if is_new:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def write_manifest(
    out: Path, lines: Sequence[Made | Mapping[str, Any]], made_by: str, arguments: Mapping[str, Any]
) -> Manifest:
    """Write lines and, beside them, how they were made; return the manifest as a sweep would read
    it.

    Raises ManifestError, and leaves nothing behind, where a sweep could not read it.
    """
    return write_manifests({out: lines}, made_by, arguments)[0]


def write_manifests(
    parts: Mapping[Path, Sequence[Made | Mapping[str, Any]]],
    made_by: str,
    arguments: Mapping[str, Any],
) -> list[Manifest]:
    """Write several manifests that are parts of one whole, as `write_manifest` does: all of them
    appear, or none.
    """
    manifests = []
    with (
        _all_or_none([path for out in parts for path in (out, _source_path(out))]),
        ExitStack() as published,
    ):
        for out, lines in parts.items():
            manifest = _write_and_read_back(
                out, published.enter_context(new_file(out)), [_as_made(line) for line in lines]
            )
            aside = published.enter_context(new_file(_source_path(out)))
            aside.write_bytes(_source_note(manifest, made_by, arguments))
            manifests.append(manifest)
    return manifests


@contextmanager
def _all_or_none(paths: Sequence[Path]) -> Iterator[None]:
    """Delete those of `paths` that are new where the body raises."""
    new = [path for path in paths if not path.exists()]
    try:
        yield
    except BaseException:
        for path in new:
            path.unlink(missing_ok=True)
        raise


def _as_made(line: Made | Mapping[str, Any]) -> Made:
    return line if isinstance(line, Made) else Made(line, f"utterance {line['id']!r}")


def _write_and_read_back(out: Path, aside: Path, lines: Sequence[Made]) -> Manifest:
    """Write the manifest to the file `aside` and read it again. Raises ManifestError that names
    where the bad lines come from.
    """
    text = "".join(
        json.dumps(line.line, ensure_ascii=False, allow_nan=False) + "\n" for line in lines
    )
    aside.write_bytes(text.encode())
    try:
        return replace(load_manifest(aside), path=out)
    except FaultsError as error:
        origin = dict(enumerate((line.origin for line in lines), start=1))
        faults = [
            f"{origin[fault.line]}: {_of_origins(fault.message, origin)}" for fault in error.faults
        ]
        raise ManifestError(
            some_faults(f"{out} is not written; what it is made of", faults)
        ) from error


def _of_origins(message: str, origin: Mapping[int, str]) -> str:
    """Replace each line number of the manifest in a message with the origin of that line."""
    return re.sub(r"\bline (\d+)\b", lambda found: origin.get(int(found[1]), found[0]), message)


def some_faults(place: object, faults: Sequence[str]) -> str:
    """Return one message of all faults, the first 20 in full."""
    rest = [f"  and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    return "\n".join([f"{place} has {count}:", *(f"  {fault}" for fault in faults[:SHOWN]), *rest])


def _source_note(manifest: Manifest, made_by: str, arguments: Mapping[str, Any]) -> bytes:
    """Return the content of `<manifest>.source.json`."""
    source = {
        "made_by": made_by,
        "orchestrator": version("orchestrator"),
        "arguments": dict(arguments),
        "utterances": len(manifest.utterances),
        "sha256": manifest.sha256,
    }
    return (json.dumps(source, indent=1, ensure_ascii=False, default=str) + "\n").encode(
        "utf-8", "surrogateescape"
    )


def _source_path(out: Path) -> Path:
    return out.with_name(f"{out.name}.source.json")


def source_of(manifest: Manifest) -> dict[str, Any]:
    """Return what a source note records of a manifest from which another one is made."""
    return {
        "path": str(manifest.path),
        "sha256": manifest.sha256,
        "utterances": len(manifest.utterances),
    }
