"""One utterance of a manifest, and where its sound comes from."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from orchestrator.corpus.manifest_errors import Fault, Place
from orchestrator.corpus.samples import Samples


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """One line of a manifest. Exactly one of `audio`, `samples`, `encoded` is set."""

    id: str
    """The file's own, else made of the audio path and offset as written, equal on every machine."""
    text: str
    audio: Path | None = None
    """Absolute path of a regular file."""
    samples: Samples | None = field(default=None, compare=False, repr=False)
    """Inline mono samples, float32, within -1 and 1."""
    encoded: bytes | None = field(default=None, repr=False)
    """The bytes of an audio file inside the manifest."""
    sample_rate: int | None = None
    """Hz of the inline samples; None where the audio file says it."""
    duration: float | None = None
    """Seconds, as measured by `load_manifest`: of the file's header or the samples, not as
    declared.
    """
    offset: float = 0.0
    """Seconds into the file."""
    speaker: str = ""
    line: int = 0
    record: int = 1
    """Which of the records that begin on that line; 1-based."""
    explicit_id: bool = True
    """The file gives the id; a made one says no more than the path does."""
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)
    """Keys of the record that have no meaning here."""

    @property
    def place(self) -> Place:
        """What no other utterance of its manifest shares."""
        return self.line, self.record

    def fault(self, message: str) -> Fault:
        """That something is wrong with it."""
        return Fault(self.line, message, record=self.record)


class AudioSources:
    """`audio_source` of many utterances: the real path of a folder is found once for all its
    files.
    """

    def __init__(self) -> None:
        self._real_folder = cache(os.path.realpath)

    def __call__(self, utterance: Utterance) -> str:
        if utterance.audio is None or os.path.islink(utterance.audio):
            return audio_source(utterance)
        folder, name = os.path.split(utterance.audio)
        return os.path.join(self._real_folder(folder), name)


def audio_source(utterance: Utterance) -> str:
    """Where the sound comes from: the real path of the file, or the SHA-256 of what stands in the
    manifest.
    """
    if utterance.audio is not None:
        return os.path.realpath(utterance.audio)
    content = utterance.encoded if utterance.samples is None else utterance.samples.tobytes()
    return f"sha256:{hashlib.sha256(content or b'').hexdigest()}"
