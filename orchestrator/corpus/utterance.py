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
    """The id that the manifest gives, else one made of the audio path and offset as written, which
    is the same on every machine.
    """
    text: str
    audio: Path | None = None
    """Absolute path of a regular file."""
    samples: Samples | None = field(default=None, compare=False, repr=False)
    """Inline mono samples, float32, within -1 and 1."""
    encoded: bytes | None = field(default=None, repr=False)
    """The bytes of an audio file that is embedded in the manifest."""
    sample_rate: int | None = None
    """Hz of the inline samples; None for an audio file, whose header has it."""
    duration: float | None = None
    """Seconds, as `load_manifest` measured them from the file's header or the samples, not as the
    manifest declares them.
    """
    offset: float = 0.0
    """Seconds into the audio at which the utterance begins."""
    speaker: str = ""
    line: int = 0
    """The line of the manifest, from 1."""
    record: int = 1
    """The position, from 1, among the records that begin on that line."""
    explicit_id: bool = True
    """Whether the manifest gives the id; one that was made says no more than the path does."""
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)
    """The keys of the record that no field here was made of."""
    source: str = field(default="", compare=False, repr=False)
    """What `audio_source` returns, found when the manifest was read; empty where it was not."""

    @property
    def seconds(self) -> float:
        """The duration, or 0 where it is not known."""
        return self.duration or 0.0

    @property
    def place(self) -> Place:
        """The line and the position on it, which no other utterance of the manifest has."""
        return self.line, self.record

    def fault(self, message: str) -> Fault:
        """A fault of this utterance's record."""
        return Fault(self.line, message, record=self.record)


def speak_at_once(a: Utterance, b: Utterance) -> bool:
    """Whether two utterances that begin together in one recording are what two people say at that moment: parts of it
    with words of their own. Of two that are the whole recording one has another's text.
    """
    are_named = "" not in (a.speaker, b.speaker) and a.speaker != b.speaker
    return are_named and (a.duration != b.duration or (a.offset > 0 and a.text != b.text))


class RealPaths:
    """The real paths of many files: that of a folder is resolved once for all files in it."""

    def __init__(self) -> None:
        self._real_folder = cache(os.path.realpath)

    def __call__(self, path: Path) -> str:
        if os.path.islink(path):
            return os.path.realpath(path)
        folder, name = os.path.split(path)
        return os.path.join(self._real_folder(folder), name)


def audio_source(utterance: Utterance) -> str:
    """Return an identifier of the sound's source: the real path of the audio file, or "sha256:" and
    the hash of the audio that the manifest itself contains.
    """
    if utterance.source:
        return utterance.source
    if utterance.audio is not None:
        return os.path.realpath(utterance.audio)
    return inline_source(utterance.samples, utterance.encoded)


def inline_source(samples: Samples | None, encoded: bytes | None) -> str:
    """Return the identifier of sound that a manifest itself contains: "sha256:" and its hash."""
    content = encoded if samples is None else samples.tobytes()
    return f"sha256:{hashlib.sha256(content or b'').hexdigest()}"
