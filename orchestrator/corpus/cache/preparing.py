"""Getting a manifest's sound ready: clips that the project's cache lacks are decoded into it by
several threads.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path

import soundfile

from orchestrator.corpus.cache import clip_cache
from orchestrator.corpus.cache.clip_cache import DONE, CacheSegment, Decoded
from orchestrator.corpus.cache.clips import Clips, Sounds, StoredSound, clips_of
from orchestrator.corpus.cache.project_cache import ProjectCache
from orchestrator.corpus.cache.reading_once import once
from orchestrator.corpus.manifest_errors import Fault, UnusableError, manifest_error
from orchestrator.corpus.manifests.manifest import Manifest
from orchestrator.corpus.recordings.audio import audio_name, load_audio
from orchestrator.corpus.recordings.known_files import KnownFiles, file_sha256
from orchestrator.corpus.recordings.loudness import level
from orchestrator.corpus.samples import SILENCE_RMS, SILENT, Samples
from orchestrator.corpus.utterance import Utterance, audio_source
from orchestrator.errors import ManifestError
from orchestrator.host.machine import usable_cores
from orchestrator.progress import Counter

_VERSION = 6
"""The version of what decoding does to sound. It is part of each clip's cache key, so raising it
makes all clips be decoded anew.
"""

_AHEAD = 4
"""The number of clips per thread that may be decoded ahead of the writer, which bounds memory."""


def prepare(
    manifest: Manifest,
    *,
    rms: float | None,
    cache: Path,
    shortest: int = 80,
) -> Clips:
    """Decode the clips of a manifest that are not in the project's cache yet. Each is scaled to
    `rms` when it is read (None: left as it is).

    Clips keep their full length; one shorter than `shortest` samples, the least that a model takes,
    is a fault. Cached sound is found by the bytes of its file and the position in it; what is
    damaged is decoded anew. Raises ManifestError with all faults that decoding found, each with its
    line. Silence is a fault in an evaluation set.
    """
    clips = _clips_of(manifest, rms, cache)
    if faults := _length_faults(clips, shortest):
        raise manifest_error(manifest.path, faults)
    return clips


def prepare_training(
    manifest: Manifest,
    *,
    rms: float | None,
    cache: Path,
    shortest: int,
    max_bad_fraction: float,
) -> tuple[Manifest, Clips]:
    """Do as `prepare` does, but leave out the records whose audio cannot be used. Returns the
    manifest without them, and its clips.

    Raises ManifestError when more than `max_bad_fraction` of all lines are bad.
    """
    clips = _clips_of(manifest, rms, cache)
    faults = _length_faults(clips, shortest)
    if not faults:
        return manifest, clips
    rest = manifest.without(faults, max_bad_fraction)
    if rest is None:
        raise manifest_error(manifest.path, faults)
    return rest, clips.without({fault.place for fault in faults})


def _length_faults(clips: Clips, shortest: int) -> list[Fault]:
    """Return the faults that decoding found, and one for each clip that is too short for
    the model.
    """
    short = [
        sound.utterance.fault(
            f"the clip has {sound.count} samples; the model needs at least {shortest}"
        )
        for sound in clips.sounds.stored
        if sound.count < shortest
    ]
    return [*clips.faults, *short]


def _clips_of(manifest: Manifest, rms: float | None, cache: Path) -> Clips:
    """Return the clips of a manifest, decoded at most once within `reading_once`."""
    lines = (manifest.sha256, manifest.part, manifest.left_out, manifest.bad)
    key = ("clips", manifest.path, manifest.for_training, lines, rms, cache)
    return once(key, partial(_decoded_once, manifest, rms, cache))


def _decoded_once(manifest: Manifest, rms: float | None, cache: Path) -> Clips:
    """Return the clips, decoding into the cache first those that it lacks. Silent clips of an
    evaluation set become faults.
    """
    place, known = ProjectCache(cache), KnownFiles(ProjectCache(cache).files)
    decoding = _Decoding(manifest, clip_cache.find_clips(place.clips), known)
    try:
        if decoding.missing:
            clip_cache.write_clips(decoding.decoded(), place.clips)
    finally:
        known.close()
    found = decoding.found
    if decoding.missing:
        # read again for the clips just written. The earlier entries stay: where another process has
        # removed such a segment meanwhile, its clips are decoded again when they are read
        found = found | clip_cache.find_clips(place.clips)
    stored: list[StoredSound] = []
    faults = list(decoding.faults)
    for utterance, key in zip(manifest.utterances, decoding.keys, strict=True):
        if key is None:
            continue
        if key not in found:
            raise OSError(f"the audio cache in {cache} could not be read back after it was written")
        sound = StoredSound(*found[key], utterance, _decoded_again)
        if sound.level < SILENCE_RMS and not manifest.for_training:
            faults.append(utterance.fault(f"the clip is {SILENT} but its text is not empty"))
        else:
            stored.append(sound)
    for segment in {sound.segment.name: sound.segment for sound in stored}.values():
        segment.touch()
    return clips_of(Sounds(tuple(stored), rms), sorted(faults))


class _Decoding:
    """The utterances of a manifest checked against a cache; those that it lacks are decoded, in
    manifest order.
    """

    def __init__(
        self,
        manifest: Manifest,
        found: dict[bytes, tuple[CacheSegment, int]],
        known: KnownFiles,
    ) -> None:
        self.name, self.utterances = manifest.path.name, manifest.utterances
        self.found, self.known = found, known
        self.faults: list[Fault] = []
        # cached, because the utterances of one long recording share its file
        self._sha256 = cache(file_sha256)
        self.keys = [_key_if_known(utterance, known) for utterance in self.utterances]
        """The cache key of each utterance. None where its file was not hashed yet; after decoding,
        None where the audio cannot be used.
        """
        self.missing = [row for row, key in enumerate(self.keys) if key not in found]

    def decoded(self) -> Iterator[tuple[bytes, Decoded]]:
        """Yield each clip that the cache lacks, with its key. Only when the iterator is exhausted
        are `keys` and `faults` complete.
        """
        counter = Counter(f"decoding the audio of {self.name}", len(self.missing))
        for row, (key, sha256, made) in zip(self.missing, self._decoded_rows(), strict=True):
            self.keys[row] = key
            utterance = self.utterances[row]
            if sha256 is not None and utterance.audio is not None:
                self.known.learn_sha256(str(utterance.audio), sha256)
            if isinstance(made, Fault):
                self.faults.append(made)
            elif made is not None and key is not None:
                yield key, made
            counter.add()

    def _decoded_rows(self) -> Iterator[_Result]:
        """Yield the result of every missing row, in order. Several threads decode, a little ahead
        of the consumer.
        """
        threads = min(8, usable_cores())
        waiting: deque[Future[_Result]] = deque()
        with ThreadPoolExecutor(threads) as pool:
            try:
                for row in self.missing:
                    waiting.append(pool.submit(self._decode_row, row))
                    if len(waiting) >= _AHEAD * threads:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _decode_row(self, row: int) -> _Result:
        """Decode one row: return its key, the SHA-256 of its file where the file was hashed now,
        and the decoded clip or a fault; None in its place where hashing the file shows that the
        cache has the clip.
        """
        utterance, key, sha256 = self.utterances[row], self.keys[row], None
        try:
            if key is None and utterance.audio is not None:
                sha256 = self._sha256(str(utterance.audio))
                key = _clip_key(utterance, sha256)
            if key in self.found:
                return key, sha256, None
            made = _decode_utterance(utterance)
            self._refuse_changed(utterance, key)
            return key, sha256, made
        except ManifestError as error:
            return None, None, utterance.fault(str(error))
        except OSError as error:
            reason = error.strerror or error
            message = f"{audio_name(utterance)} cannot be decoded: {reason}"
            return None, None, utterance.fault(message)

    def _refuse_changed(self, utterance: Utterance, key: bytes | None) -> None:
        """Raise UnusableError where the file was rewritten since it was hashed: other sound would be
        kept under the key of what it held before. Raises OSError.
        """
        if utterance.audio is None or self.known.is_unchanged(str(utterance.audio)):
            return
        # times also change with permissions or links
        if _clip_key(utterance, file_sha256(str(utterance.audio))) != key:
            raise UnusableError(
                f"{audio_name(utterance)} changed while it was read; run the command again when "
                "nothing writes it any more"
            )


_Result = tuple[bytes | None, str | None, Decoded | Fault | None]
"""What `_decode_row` returns."""


def _decode_utterance(utterance: Utterance) -> Decoded:
    audio = load_audio(utterance)
    bits = sum(1 << place for place, done in enumerate(DONE) if getattr(audio, done))
    return Decoded.of(audio.samples, level(audio.samples), bits)


def _decoded_again(utterance: Utterance, pcm_sha256: str) -> Samples:
    """Decode an utterance whose cached samples are damaged or gone. Raises ManifestError where it
    cannot be read either, or its samples differ from those that were cached (SHA-256 `pcm_sha256`).
    """
    try:
        samples = load_audio(utterance).samples
    except UnusableError as error:
        raise ManifestError(
            f"{error}\n  It was read when this run began, and what was decoded of it is damaged or gone. Put the file "
            "back; nothing that was measured is lost: the same command continues."
        ) from error
    if hashlib.sha256(samples.astype("<f4", copy=False).tobytes()).hexdigest() != pcm_sha256:
        raise ManifestError(
            f"{audio_name(utterance)} has changed since this run began, and what was decoded of it is damaged or gone\n"
            "  Put the file back, or begin a new study with --fork NAME."
        )
    return samples


def _key_if_known(utterance: Utterance, known: KnownFiles) -> bytes | None:
    """Return the cache key of an utterance without reading its file; None where the hash of the
    file in its present state is not known.
    """
    if utterance.audio is None:
        return _clip_key(utterance, audio_source(utterance))
    sha256 = known.sha256(str(utterance.audio))
    return None if sha256 is None else _clip_key(utterance, sha256)


def _clip_key(utterance: Utterance, source_sha256: str) -> bytes:
    """Return the 16-byte cache key: a hash of all that the decoded samples depend on, which is the
    content of the source, the position in it, and the versions of the code and the libraries that
    decode.
    """
    place = (utterance.sample_rate, utterance.offset, utterance.duration)
    parts = (_VERSION, _library_versions(), source_sha256, place)
    return hashlib.sha256(repr(parts).encode()).digest()[:16]


@cache
def _library_versions() -> tuple[str, str]:
    return soundfile.__libsndfile_version__, version("torchaudio")
