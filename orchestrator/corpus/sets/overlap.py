"""Finding the same recording or sentence in two sets. Overlap hardly moves WER, so only comparing
the sets finds it. No torch.

Recordings are the same when their real paths or their files' bytes are, when they overlap inside
one file, when their decoded samples are (where the caller has them), or when id, text and length
all agree: the same utterance encoded twice, or at another speed, which `manifest noisy` writes down.
An equal id alone says nothing; sets made apart often both start at 0001. Nor does a length that
agrees now and then, where two people read the same sentences.
"""

from __future__ import annotations

import math
import os
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, product, starmap
from operator import itemgetter

from orchestrator.corpus.manifest_errors import Place
from orchestrator.corpus.manifests.manifest import Manifest
from orchestrator.corpus.manifests.plain_words import plain_words
from orchestrator.corpus.recordings.known_files import KnownFiles, file_sha256
from orchestrator.corpus.samples import FASTEST, SLOWEST
from orchestrator.corpus.utterance import Utterance, audio_source, speak_at_once

_SAME_LENGTH = 0.02
"""Seconds by which the lengths of one utterance in two encodings may differ; padding adds less."""
_TOUCHING = 0.1
"""Seconds by which neighbouring segments of one recording may overlap through rounding, and the times of one segment
that stands twice may differ.
"""


@dataclass(frozen=True)
class Recordings:
    """A set with an identifier of each utterance's recording, in manifest order. Identifiers are
    equal across sets for equal files.
    """

    manifest: Manifest
    sources: tuple[str, ...]
    pcm_sha256: tuple[str, ...]
    """Hashes of the decoded samples; empty where nothing was decoded."""


@dataclass(frozen=True)
class Shared:
    """An utterance of one set, and the utterance whose sound it repeats."""

    utterance: Utterance
    other: Utterance
    why: str
    """How it is known that they are the same, in words."""


# cached, because every set is compared with every other
@lru_cache(maxsize=65_536)
def sentence_key(text: str) -> str:
    """Return the words of a text in lower case, without punctuation: two texts with the same key
    are the same sentence.
    """
    return " ".join(plain_words(text))


def name_recordings(
    sets: Mapping[str, Manifest],
    pcm: Mapping[str, Sequence[str]],
    known: KnownFiles | None,
) -> dict[str, Recordings]:
    """Identify the recordings of all sets together. Only files that have the same size as another
    one are read, to compare their bytes, and of them only those whose hash is not `known`.
    """
    known = KnownFiles() if known is None else known
    sources: dict[str, list[str]] = {}
    written: dict[str, str] = {}
    for name, manifest in sets.items():
        sources[name] = [audio_source(utterance) for utterance in manifest.utterances]
        for source, utterance in zip(sources[name], manifest.utterances, strict=True):
            # `known` has files by the path as located, not by the real path
            written[source] = str(utterance.audio)
    inline = "sha256:"
    paths = {
        source for of_set in sources.values() for source in of_set if not source.startswith(inline)
    }
    sizes = {path: os.path.getsize(path) for path in paths}
    equally_large = Counter(sizes.values())
    named = {
        path: f"sha256:{known.sha256(written[path]) or _learnt_sha256(written[path], known)}"
        if equally_large[sizes[path]] > 1
        else path
        for path in paths
    }
    return {
        name: Recordings(
            manifest,
            tuple(named.get(source, source) for source in sources[name]),
            tuple(pcm.get(name, ())),
        )
        for name, manifest in sets.items()
    }


def _learnt_sha256(path: str, known: KnownFiles) -> str:
    sha256 = file_sha256(path)
    known.learn_sha256(path, sha256)
    return sha256


def shared_audio(first: Recordings, second: Recordings) -> list[Shared]:
    """Return each utterance of `second` whose sound is in `first` too, with one such utterance of
    `first`.
    """
    cut: dict[str, list[Utterance]] = defaultdict(list)
    for utterance, source in zip(first.manifest.utterances, first.sources, strict=True):
        cut[source].append(utterance)
    by_source = {source: _Segments(utterances) for source, utterances in cut.items()}
    by_pcm: dict[str, Utterance] = {}
    if first.pcm_sha256:
        by_pcm = dict(zip(first.pcm_sha256, first.manifest.utterances, strict=True))
    again = _encoded_again(first.manifest, second.manifest)
    found = []
    for index, utterance in enumerate(second.manifest.utterances):
        pcm = second.pcm_sha256[index] if second.pcm_sha256 else None
        segments = by_source.get(second.sources[index])
        same_file = segments.first_overlapping(utterance) if segments else None
        if same_file is not None:
            found.append(Shared(utterance, same_file, "the same audio file"))
        elif pcm is not None and pcm in by_pcm:
            found.append(Shared(utterance, by_pcm[pcm], "the same samples"))
        elif utterance.place in again:
            found.append(again[utterance.place])
    return found


def _encoded_again(first: Manifest, second: Manifest) -> dict[Place, Shared]:
    """Return the utterances of `second` that have id, text and length of one of `first`, by their
    places. None where most of those with the id and text of one differ in length: there people read
    the same sentences under the same ids, and some happen to take as long.
    """
    by_id = {utterance.id: utterance for utterance in first.utterances}
    pairs = [
        (other, utterance)
        for utterance in second.utterances
        if (other := by_id.get(utterance.id)) and _are_called_alike(other, utterance)
    ]
    same = {
        utterance.place: Shared(utterance, other, why)
        for other, utterance in pairs
        if (why := _why_as_long(other, utterance))
    }
    return same if 2 * len(same) >= len(pairs) else {}


class _Segments:
    """The segments that a set cuts from one recording, sorted by where they begin: each compared
    with each of another set, those of one long recording would take the square of their number.
    """

    def __init__(self, utterances: Sequence[Utterance]) -> None:
        """Sort the utterances, which are in manifest order; of equal segments the first counts."""
        spans: dict[tuple[float, float], tuple[int, Utterance]] = {}
        for place, utterance in enumerate(utterances):
            spans.setdefault(_span(utterance), (place, utterance))
        ordered = sorted(spans.items(), key=lambda item: item[0])
        self._first = utterances[0]
        self._begins = [begin for (begin, _), _ in ordered]
        self._found = [found for _, found in ordered]
        self._latest = list(accumulate((end for (_, end), _ in ordered), max))
        """The latest end of a segment and of those before it."""

    def first_overlapping(self, utterance: Utterance) -> Utterance | None:
        """Return the first segment in manifest order that shares sound with an utterance."""
        if utterance.duration is None:
            return self._first
        begin, end = _span(utterance)
        place, found = bisect_left(self._begins, end), []
        while place and self._latest[place - 1] > begin:
            place -= 1
            if _segments_overlap(self._found[place][1], utterance):
                found.append(self._found[place])
        return min(found, key=itemgetter(0))[1] if found else None


def _span(utterance: Utterance) -> tuple[float, float]:
    """Return where a segment begins and ends. One of unknown length is taken as all of its recording."""
    if utterance.duration is None:
        return -math.inf, math.inf
    return utterance.offset, utterance.offset + utterance.duration


def _segments_overlap(a: Utterance, b: Utterance) -> bool:
    """Whether two segments of one recording share sound. An unknown length is taken as reaching to
    the end.
    """
    if a.duration is None or b.duration is None:
        return True
    shared = min(a.offset + a.duration, b.offset + b.duration) - max(a.offset, b.offset)
    return shared > min(_TOUCHING, a.duration / 2, b.duration / 2)


def _are_called_alike(a: Utterance, b: Utterance) -> bool:
    """Whether two utterances of the same id may be one: their sentence is the same, and not both ids
    were made, which say no more than the paths do.
    """
    return (a.explicit_id or b.explicit_id) and sentence_key(a.text) == sentence_key(b.text)


def _why_as_long(a: Utterance, b: Utterance) -> str:
    """Say how it is known that two utterances of the same id and sentence are one: their lengths
    agree, where they are known. Empty where they do not.
    """
    if a.duration is None or b.duration is None or _agree(a.duration, b.duration):
        return "the same id, text and length"
    at_any_speed = product(_lengths_told(a), _lengths_told(b))
    return "the same id and text, at another speed" if any(starmap(_agree, at_any_speed)) else ""


def _agree(seconds: float, others: float) -> bool:
    return abs(seconds - others) <= _SAME_LENGTH


def _lengths_told(utterance: Utterance) -> tuple[float, float]:
    """Return the length of an utterance, and that before its speed was changed as its line tells."""
    return utterance.seconds, utterance.seconds * told_speed(utterance)


def told_speed(utterance: Utterance) -> float:
    """Return how many times faster than its recording an utterance is, as `manifest noisy` writes
    it into the lines of its copies, and of copies of these; 1 where no such factor is told.
    """
    speed = utterance.extra.get("speed")
    if isinstance(speed, int | float) and SLOWEST**2 <= speed <= FASTEST**2:
        return float(speed)
    return 1.0


def shared_recordings(first: Recordings, second: Recordings) -> list[Utterance]:
    """Return the utterances of `second` that are cut from a recording that `first` also uses,
    whether they overlap or not.
    """
    known = set(first.sources)
    return [
        utterance
        for utterance, source in zip(second.manifest.utterances, second.sources, strict=True)
        if source in known
    ]


def repeated_audio(recordings: Recordings) -> list[Shared]:
    """Return the utterances whose audio stands earlier in the same set: the same position in equal
    files, nearly the same one with the same sentence and speaker, as where times were rounded, or equal samples.
    """
    seen: dict[tuple[str, float | str], Utterance] = {}
    near: dict[tuple[str, str, str, int], Utterance] = {}
    parts = Counter(recordings.sources)
    found = []
    for index, utterance in enumerate(recordings.manifest.utterances):
        source = recordings.sources[index]
        keys: list[tuple[str, float | str]] = [(source, utterance.offset)]
        keys += [("pcm", recordings.pcm_sha256[index])] if recordings.pcm_sha256 else []
        earlier = (seen[key] for key in keys if key in seen)
        other = next((each for each in earlier if not speak_at_once(each, utterance)), None)
        if parts[source] > 1:
            # two people may say yes at once
            key = (source, utterance.speaker, sentence_key(utterance.text))
            place = int(utterance.offset / _TOUCHING)
            beside = (near.get((*key, place + step)) for step in (-1, 0, 1))
            other = other or next((each for each in beside if _are_near(each, utterance)), None)
            near.setdefault((*key, place), utterance)
        if other is not None:
            found.append(Shared(utterance, other, "the same audio"))
        seen |= {key: utterance for key in keys if key not in seen}
    return found


def _are_near(a: Utterance | None, b: Utterance) -> bool:
    """Whether two segments of one recording begin together and are as long but for rounding."""
    if a is None or a.duration is None or b.duration is None:
        return False
    return max(abs(a.offset - b.offset), abs(a.duration - b.duration)) <= _TOUCHING
