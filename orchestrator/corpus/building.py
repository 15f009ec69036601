"""Manifests made here: lines in our own form, shuffled, with where they came from in `<manifest>.source.json`.

A manifest whose easy utterances stand together makes every part of it say something else; so every one is shuffled,
with a seed that is written down. The same command gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from orchestrator.atomic import new_file
from orchestrator.corpus.formats import AUDIO_KEYS
from orchestrator.corpus.manifest import Manifest, Utterance, load_manifest
from orchestrator.errors import ManifestError

T = TypeVar("T")


def shuffled(items: Sequence[T], seed: int, samples: int | None = None) -> list[T]:
    """All items in a seeded order, or the first `samples` of that order. Raises ManifestError when there are fewer."""
    if samples is not None and samples > len(items):
        raise ManifestError(f"--samples {samples} is more than there is: {len(items)} utterances\n  Ask for fewer.")
    order = list(items)
    random.Random(seed).shuffle(order)
    return order[:samples]


def own_seed(seed: int, name: str) -> int:
    """A seed for one utterance, whatever its neighbours and its place."""
    return int.from_bytes(hashlib.sha256(f"{seed}\n{name}".encode()).digest()[:8], "big")


def relative(path: Path, folder: Path) -> str:
    """`path` as a manifest in `folder` writes it: both may then move together."""
    return Path(os.path.relpath(path, os.path.abspath(folder))).as_posix()


def line_of(utterance: Utterance, folder: Path) -> dict[str, Any]:
    """An utterance as a line of a manifest in `folder`, whichever format it was read from; unknown keys are kept."""
    line: dict[str, Any] = {"id": utterance.id, **_audio(utterance, folder)}
    line |= {"offset": utterance.offset, "duration": utterance.duration, "text": utterance.text}
    if utterance.speaker:
        line["speaker"] = utterance.speaker
    return line | {key: value for key, value in utterance.extra.items() if key not in (*line, *AUDIO_KEYS)}


def _audio(utterance: Utterance, folder: Path) -> dict[str, Any]:
    if utterance.audio is not None:
        return {"audio_filepath": relative(utterance.audio, folder)}
    if utterance.samples is not None:
        return {"audio": utterance.samples.tolist(), "sampling_rate": utterance.sample_rate}
    return {"audio": {"bytes": base64.b64encode(utterance.encoded or b"").decode()}}


def split_by_speaker(manifest: Manifest, share: float, seed: int) -> tuple[list[Utterance], list[Utterance]]:
    """Two shuffled parts without a speaker in common, the first with about `share` of the utterances.

    Raises ManifestError when a line names no speaker, or there are fewer than two.
    """
    nameless = [each.line for each in manifest.utterances if not each.speaker]
    if nameless:
        raise ManifestError(
            f"{len(nameless)} of {len(manifest.utterances)} lines of {manifest.path} name no speaker, "
            f"the first is {manifest.path}:{nameless[0]}\n"
            "  Give every line a speaker: nobody may speak in both parts."
        )
    counts: dict[str, int] = {}
    for each in manifest.utterances:
        counts[each.speaker] = counts.get(each.speaker, 0) + 1
    if len(counts) < 2:
        raise ManifestError(f"{manifest.path} has one speaker, {next(iter(counts))!r}; two parts need at least two")
    first = _chosen(counts, share * len(manifest.utterances), seed)
    order = shuffled(manifest.utterances, seed)
    return [each for each in order if each.speaker in first], [each for each in order if each.speaker not in first]


def _chosen(counts: Mapping[str, int], wanted: float, seed: int) -> set[str]:
    """Speakers in a seeded order, each taken while that brings the number of utterances closer to what is wanted."""
    order = shuffled(sorted(counts), seed)
    chosen: set[str] = set()
    taken = 0
    for speaker in order:
        if abs(taken + counts[speaker] - wanted) < abs(taken - wanted) and len(chosen) < len(order) - 1:
            chosen.add(speaker)
            taken += counts[speaker]
    return chosen or {min(order, key=lambda speaker: counts[speaker])}


def refuse_existing(*paths: Path) -> None:
    """Raises ManifestError for a manifest that is there already."""
    for path in paths:
        if path.exists() or path.is_symlink():
            raise ManifestError(f"{path} exists\n  Name a file that does not; nothing is overwritten.")


def audio_folder(out: Path) -> Path:
    """Where the audio of a manifest made here lies: beside it, under its name."""
    return out.with_name(f"{out.stem}-audio")


def write_manifest(
    out: Path, lines: Sequence[Mapping[str, Any]], made_by: str, arguments: Mapping[str, Any]
) -> Manifest:
    """Write the manifest and its `.source.json`, then read it back as a sweep would; returns it.

    Raises ManifestError with every line that cannot be used, and leaves no manifest then.
    """
    content = "".join(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in lines).encode()
    with new_file(out) as aside:
        aside.write_bytes(content)
    try:
        manifest = load_manifest(out)
    except ManifestError:
        out.unlink()
        raise
    source = {
        "made_by": made_by,
        "orchestrator": version("orchestrator"),
        "arguments": dict(arguments),
        "utterances": len(lines),
        "sha256": manifest.sha256,
    }
    text = json.dumps(source, indent=1, ensure_ascii=False, default=str) + "\n"
    with new_file(out.with_name(f"{out.name}.source.json")) as aside:
        aside.write_text(text, encoding="utf-8")
    return manifest


def source_of(manifest: Manifest) -> dict[str, Any]:
    """A manifest as another one's origin."""
    return {"path": str(manifest.path), "sha256": manifest.sha256, "utterances": len(manifest.utterances)}
