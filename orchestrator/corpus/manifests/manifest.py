"""Manifests: utterances with their text, read from any of the common formats and compared with
their audio files.

Everything is checked before anything trains, except what only decoding can find
(`corpus.cache.preparing.prepare`). No torch.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from orchestrator.corpus.manifest_errors import (
    Fault,
    Place,
    UnusableError,
    manifest_error,
    record_text,
    show,
)
from orchestrator.corpus.manifests import not_a_manifest
from orchestrator.corpus.manifests.format_detection import read_records
from orchestrator.corpus.manifests.one_channel import refuse_one_of_several
from orchestrator.corpus.manifests.record_fields import (
    AUDIO_KEYS,
    TEXT_KEYS,
    UNLIKE_NEMO,
    Draft,
    read_draft,
)
from orchestrator.corpus.manifests.recordings_below import names_below
from orchestrator.corpus.manifests.toolkit_lists import (
    label_studio_cure,
    refuse_tarred,
    refuse_toolkit_record,
    speech_brain_cure,
)
from orchestrator.corpus.manifests.unread_times import (
    refuse_unread_end,
    refuse_unread_times,
    told_start,
)
from orchestrator.corpus.recordings.headers import Header, clip_seconds, read_header
from orchestrator.corpus.recordings.known_files import KnownFiles
from orchestrator.corpus.recordings.locating import MissingAudioError, locate
from orchestrator.corpus.utterance import RealPaths, Utterance, inline_source, speak_at_once
from orchestrator.errors import ManifestError


@dataclass(frozen=True)
class Manifest:
    """The utterances of a manifest file that was read and checked, or of a part of it."""

    path: Path
    sha256: str
    """SHA-256 of the whole file's bytes, hexadecimal."""
    utterances: tuple[Utterance, ...]
    for_training: bool = False
    """Whether it is a training set, which may hold silent clips; in an evaluation set they are
    faults.
    """
    bad: tuple[Fault, ...] = ()
    """Faults of the records that were skipped; only a training set may be allowed any."""
    left_out: int = 0
    """The number of utterances of an evaluation set that are longer than the sweep measures; they
    are not in `utterances`.
    """
    part: str = ""
    """Which part of the file the utterances are, in words; empty where they are all of it."""

    def without(self, faults: Iterable[Fault], max_bad_fraction: float) -> Manifest | None:
        """Return the manifest without the records that have faults; None when these, with those
        skipped before, are more than allowed.
        """
        every = tuple(sorted({*self.bad, *faults}))
        places = {fault.place for fault in every}
        kept = tuple(utterance for utterance in self.utterances if utterance.place not in places)
        total = len(kept) + len(places)
        # where reading ended early, the share of bad records is not known
        known = not any(fault.ends_file for fault in every)
        allowed = self.for_training and kept and known and len(places) <= max_bad_fraction * total
        return replace(self, utterances=kept, bad=every) if allowed else None


def load_manifest(
    path: Path,
    *,
    for_training: bool = False,
    max_bad_fraction: float = 0.0,
    needs_text: bool = True,
    known: KnownFiles | None = None,
) -> Manifest:
    """Read and check a manifest and the headers of its audio.

    Accepts every format of docs/manifests.md, which is detected by content. Bad lines of a training
    set are skipped up to `max_bad_fraction` of all its lines. Where text is not needed, an
    utterance without any has "". Headers in `known` are not read again, and the others are added to
    it. Raises ManifestError with all faults of the file, each with its line.
    """
    _require_regular(path)
    known = KnownFiles() if known is None else known
    builder = _Builder(path, needs_text, known)
    content_hash = hashlib.sha256()
    try:
        for line, record in read_records(path, content_hash, needs_text):
            builder.add(line, record)
        builder.check_whole()
    except UnusableError as error:
        raise ManifestError(f"{path} {error}") from error
    known.save()
    whole = Manifest(path, content_hash.hexdigest(), tuple(builder.utterances), for_training)
    if builder.faults:
        rest = whole.without(builder.faults, max_bad_fraction)
        if rest is None:
            raise manifest_error(path, builder.faults)
        return rest
    if not builder.utterances:
        why = "every line is marked _skipme" if builder.skipped else "the file is empty"
        raise ManifestError(
            f"{path} holds no utterances: {why}. A set needs at least one line with audio and text."
        )
    return whole


def _require_regular(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ManifestError(
            f"The manifest {path} cannot be opened: {why}. Check the path, which a sweep file has under data:."
        ) from error
    if stat.S_ISDIR(mode):
        raise ManifestError(f"The manifest {path} {not_a_manifest.folder_hint(path)}")
    if not stat.S_ISREG(mode):
        raise ManifestError(
            f"The manifest {path} is not a regular file. Check the path, which a sweep file has under data:."
        )


class _Builder:
    """Collects utterances and faults, record by record."""

    def __init__(self, path: Path, needs_text: bool, known: KnownFiles) -> None:
        self.path, self.needs_text, self.known = path, needs_text, known
        self.folder = Path(os.path.abspath(path)).parent
        self._missing: list[tuple[int, str, MissingAudioError]] = []
        self.utterances: list[Utterance] = []
        self.faults: list[Fault] = []
        self.skipped = 0
        self._records, self._keys = 0, set[str]()
        # records by the line on which they begin
        self._begin_on: Counter[int] = Counter()
        self._tarred, self._first_id = 0, ""
        self._by_id: dict[str, Utterance] = {}
        # records whose id and text are those of an earlier one
        self._read_again = 0
        self._by_audio: defaultdict[tuple[str, float], list[Utterance]] = defaultdict(list)
        # records of a recording that is taken whole
        self._whole: set[Place] = set()
        # cached, because segments of one file share its header
        self._header = cache(self._read_header)
        self._real_path = RealPaths()

    def add(self, line: int, record: dict[str, Any] | Fault) -> None:
        """Check one record and keep the utterance or its faults; a record with NeMo's `_skipme` is
        dropped unseen.
        """
        self._begin_on[line] += 1
        place = line, self._begin_on[line]
        if isinstance(record, Fault):
            # a fault that ends the file belongs to no record
            whole = record if record.ends_file else replace(record, record=place[1])
            self.faults.append(whole)
            return
        if record.get("_skipme"):
            self.skipped += 1
            return
        self._records += 1
        self._keys.update(record)
        self._tarred += "shard_id" in record
        refuse_toolkit_record(record, self.path)
        self._first_id = self._first_id or str(record.get("id") or record.get("utt_id") or "")
        draft, faults = read_draft(record, self.needs_text)
        self.faults += [Fault(line, message, record=place[1]) for message in faults]
        if draft is None:
            return
        try:
            utterance = self._checked_utterance(place, draft)
        except UnusableError as error:
            if isinstance(error, MissingAudioError):
                self._missing.append((line, draft.path or "", error))
            self.faults.append(Fault(line, str(error), record=place[1]))
            return
        self.utterances.append(self._compared(utterance))

    def check_whole(self) -> None:
        """Raise UnusableError, once and not for every line, where several records all lack a key
        for audio or for text, or all name recordings that do not exist.
        """
        if self._records < 2 or self.utterances:
            return
        if self._tarred == self._records:
            refuse_tarred(self.path)
        if len(self._missing) == self._records:
            line, written, error = self._missing[0]
            cure = label_studio_cure(written, self.path) or names_below(written, self.path)
            raise UnusableError(
                f"names {self._records} recordings, none of which is there: in line {line}, {error}{cure}"
            )
        if what := not_a_manifest.lhotse_part(self._keys, self.path):
            raise UnusableError(what)
        needed: dict[str, tuple[str, ...]] = {"audio": AUDIO_KEYS}
        if self.needs_text:
            needed["text"] = TEXT_KEYS
        for what, keys in needed.items():
            if self._keys.isdisjoint((*keys, *UNLIKE_NEMO)):
                has = ", ".join(map(show, sorted(self._keys)[:12]))
                raise UnusableError(
                    f"has no {what} in any of its {self._records} records, whose keys are {has}; "
                    f"call the one of {what} {show(keys[0])}"
                    f"{self._cure_without_audio() if what == 'audio' else self._cure_without_text()}"
                )

    def _cure_without_text(self) -> str:
        return speech_brain_cure(self.path) if {"wav", "words"} <= self._keys else ""

    def _cure_without_audio(self) -> str:
        """Say what helps where the recordings are named by ids, or the records are parts of one
        recording.
        """
        if {"start", "end", "text"} <= self._keys:
            return not_a_manifest.parts_hint(self.path)
        return names_below(self._first_id, self.path)

    def _checked_utterance(self, place: Place, draft: Draft) -> Utterance:
        """Compare a draft with its audio, and make the utterance. Raises UnusableError where they
        disagree.
        """
        audio = None if draft.path is None else locate(draft.path, self.folder)
        name = "the inline audio" if audio is None else f"audio file {show(draft.path)}"
        if draft.samples is not None:
            header = Header(len(draft.samples), draft.sample_rate or 0)
        else:
            # a path as text, which unlike a Path keeps its hash
            header = self._header(str(audio) if audio else draft.encoded, name)
        unread, offset = draft.unread, draft.offset
        if offset is None:
            offset = told_start(unread, draft.duration, header.seconds)
        if offset is None:
            self._whole.add(place)
            refuse_unread_times(unread, header.seconds, header.rate, name)
        elif draft.duration is None:
            refuse_unread_end(unread, offset, header.seconds, name)
        if source := audio or draft.encoded:
            refuse_one_of_several(unread, source, name)
        return Utterance(
            id=_made_id(draft, offset) if draft.id is None else draft.id,
            text=draft.text,
            audio=audio,
            samples=draft.samples,
            encoded=draft.encoded,
            sample_rate=draft.sample_rate,
            duration=clip_seconds(header, offset, draft.duration, name),
            offset=offset or 0.0,
            speaker=draft.speaker,
            line=place[0],
            record=place[1],
            explicit_id=draft.id is not None,
            extra=draft.extra,
            source=self._real_path(audio) if audio else inline_source(draft.samples, draft.encoded),
        )

    def _read_header(self, source: str | bytes, name: str) -> Header:
        if isinstance(source, bytes):
            return read_header(source, name)
        header = self.known.header(source)
        if header is None:
            header = read_header(Path(source), name)
            self.known.learn_header(source, header)
        return header

    def _compared(self, utterance: Utterance) -> Utterance:
        """Add a fault where an earlier record has the same id, or the same audio and offset without being what another
        person says at that moment. Returns the utterance, with the speaker in an id that was made of these two alone.
        """
        beside = self._by_audio[utterance.source, utterance.offset]
        other = next((each for each in beside if not self._are_at_once(each, utterance)), None)
        if beside and not utterance.explicit_id:
            utterance = replace(utterance, id=f"{utterance.id}-{utterance.speaker}")
        beside.append(utterance)
        if other is not None:
            # a file of one line may tell many parts of a recording
            part = f", from {utterance.offset:g} s on" if utterance.offset else ""
            message = f"the same audio as {record_text(other.place)}{part}; keep one of the two"
            self.faults.append(utterance.fault(message))
        elif (first := self._by_id.setdefault(utterance.id, utterance)) is not utterance:
            self._read_again += first.text == utterance.text
            of_sentence = first.text == utterance.text and self._read_again > 1
            hint = '; ids of sentences are "sentence_id"' if of_sentence else ""
            there = record_text(first.place)
            what = f"the id {show(utterance.id)} is already on {there}; ids are unique"
            self.faults.append(utterance.fault(f"{what}{hint}"))
        return utterance

    def _are_at_once(self, a: Utterance, b: Utterance) -> bool:
        """Whether two utterances are what two people say at one moment: parts of their recording, and not all of it."""
        return self._whole.isdisjoint((a.place, b.place)) and speak_at_once(a, b)


def _made_id(draft: Draft, offset: float | None) -> str:
    """Make an id for an utterance that has none: the file's stem, to be readable, and a digest of
    the path as written and the offset, to be unique. Inline audio is named by its hash alone.
    """
    if draft.path is None:
        content = draft.encoded if draft.samples is None else draft.samples.tobytes()
        return f"inline-{hashlib.sha256(content or b'').hexdigest()[:12]}"
    place = hashlib.sha256(f"{draft.path}\n{offset or 0.0}".encode()).hexdigest()[:8]
    return f"{Path(draft.path).stem}-{place}"
