"""Reporting what decoding did to the clips of a set, and what it found there that is no fault: with
count, line and example.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from orchestrator.checks import Finding, finding
from orchestrator.corpus.manifests.manifest import Manifest
from orchestrator.corpus.samples import SILENT
from orchestrator.corpus.sets.diagnosis import TRAINING_SETS

if TYPE_CHECKING:
    from orchestrator.corpus.cache.clips import AudioNotes, Clips

Ready: TypeAlias = "Mapping[str, tuple[Manifest, Clips]]"
"""Sets by name, each read and decoded."""

DECODING_NOTES: dict[str, str] = {
    "resampled": "resampled to 16 kHz",
    "mixed_down": "mixed down to one channel",
    "opposite": "taken from one of several channels",
    "clipped": "clipped when scaled to the level asked for",
    "mended": "of a file that does not say how long it is, read to its end",
    "offset": "carried by a constant part (DC offset), beside which the speech is quieter than the level asked for",
    "silent": "silent",
}
"""What may have happened to a clip, in words, by the field of `AudioNotes`."""


def check_sound(ready: Ready) -> Iterator[Finding]:
    """Yield findings about silent training clips, and about channels that cancel each other."""
    for name, (manifest, clips) in ready.items():
        if clips.notes.silent and name in TRAINING_SETS:
            yield finding(
                "silent",
                f"{_share_text(clips.notes.silent, clips, name)} are {SILENT} beside a text, "
                f"{_first_place(manifest, clips.notes.silent)}. They are left out, for an adapter would learn to write "
                "where nothing is said. Delete the lines, or give them their sound.",
            )
        if clips.notes.opposite:
            yield finding(
                "opposite-phase",
                f"{_share_text(clips.notes.opposite, clips, name)} have channels that cancel each other when mixed, "
                f"{_first_place(manifest, clips.notes.opposite)}. The loudest channel is taken alone. Where another "
                "one "
                "is meant, save it as mono.",
            )


def sound_text(name: str, manifest: Manifest, clips: Clips) -> str:
    """Say how many clips of a set went through what, with the first line of each; empty where none
    did.
    """
    said = [
        f"{len(lines)} {text} ({_first_place(manifest, lines)})"
        for field, text in DECODING_NOTES.items()
        if (lines := lines_of(clips.notes, field))
    ]
    return f"of {len(clips)} clips of {name} " + ", ".join(said) if said else ""


def lines_of(notes: AudioNotes, field: str) -> tuple[int, ...]:
    """Return the manifest lines in the field of the notes that is named `field`."""
    lines: tuple[int, ...] = getattr(notes, field)
    return lines


def _share_text(lines: Sequence[int], clips: Clips, name: str) -> str:
    return f"{len(lines)} of {len(clips)} clips of {name} ({100 * len(lines) / max(1, len(clips)):.1f} %)"


def _first_place(manifest: Manifest, lines: Sequence[int]) -> str:
    return f"e.g. {manifest.path}:{min(lines)}"
