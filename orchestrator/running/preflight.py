"""Checks before the base model is loaded: the sets are read, decoded and compared, and what is
wrong with them stops the sweep.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.checks import Finding, finding
from orchestrator.corpus.cache.project_cache import ProjectCache
from orchestrator.corpus.manifest_errors import place_text, show
from orchestrator.corpus.manifests.manifest import Manifest
from orchestrator.corpus.sets.decoding_findings import check_sound, sound_text
from orchestrator.corpus.sets.diagnosis import TRAINING_SETS, check_sets
from orchestrator.errors import DataError, OrchestrateError, StudyError
from orchestrator.planning.warm_up import warm_up_text
from orchestrator.records.readiness.model_limit_checks import CANNOT_TAKE, find_limit_violations
from orchestrator.records.readiness.model_limits import read_limits
from orchestrator.records.readiness.reading_sets import (
    decode_set,
    decode_sets,
    known_files,
    read_evaluation_set,
    read_sets,
    set_records,
)
from orchestrator.records.readiness.target_checks import find_missing_layers
from orchestrator.records.readiness.terms import read_terms
from orchestrator.records.readiness.text_artifacts import artifact_texts, other_texts, wordless_text
from orchestrator.records.readiness.text_language import foreign_text, unspaced_text
from orchestrator.records.results import SetRecord
from orchestrator.records.store import StudyFolder
from orchestrator.records.unreadable import reason
from orchestrator.refused_findings import stop
from orchestrator.running.observer import Observer
from orchestrator.running.recording_findings import record_findings
from orchestrator.scoring.normalizers import Normalizer, is_surely_said, normalizer
from orchestrator.set_names import confirm_name, is_confirm, search_name
from orchestrator.sweepfile.data import SetSource
from orchestrator.sweepfile.sweep import SweepSpec

if TYPE_CHECKING:
    from orchestrator.corpus.cache.clips import Clips

log = logging.getLogger(__name__)


def find_all(
    spec: SweepSpec, ready: Mapping[str, tuple[Manifest, Clips]], folder: StudyFolder
) -> list[Finding]:
    """Return what is doubtful or wrong about decoded sets."""
    sets = {name: manifest for name, (manifest, _) in ready.items()}
    with known_files(folder.project_cache) as known:
        findings = check_sets(
            sets,
            max_seconds=spec.data.max_seconds,
            pcm={name: clips.pcm_sha256 for name, (_, clips) in ready.items()},
            known=known,
        )
    others = (check_sound(ready), _find_in_texts(spec, sets), _used_before(ready, folder))
    return [*findings, *chain.from_iterable(others)]


def find_before_decoding(
    spec: SweepSpec, sets: Mapping[str, Manifest], cache: Path
) -> list[Finding]:
    """Return what manifests, headers and the model's files alone can tell, in the words of
    `find_all` and of the start of a sweep; what stops a sweep comes first. `cache` is the
    project's. Raises DataError for a bad list of terms.
    """
    with known_files(cache) as known:
        findings = check_sets(sets, max_seconds=spec.data.max_seconds, known=known)
    findings += _find_in_texts(spec, sets)
    findings += find_beyond_model(spec, sets)
    return sorted(findings, key=lambda finding: finding.level)


def find_beyond_model(spec: SweepSpec, sets: Mapping[str, Manifest]) -> list[Finding]:
    """Return the clips and texts that are outside of the model's limits, and layers that it does
    not have. Needs the model's files on this machine; without them there is none.
    """
    limits = read_limits(spec.model)
    beyond = [] if limits is None else find_limit_violations(spec, sets, limits)
    return [*beyond, *find_missing_layers(spec)]


def _find_in_texts(spec: SweepSpec, sets: Mapping[str, Manifest]) -> Iterator[Finding]:
    yield from _check_words(spec, sets)
    yield from _check_language(spec, sets)
    yield from _check_artifacts(spec, sets)
    yield from _check_warm_up(spec)
    yield from _check_terms(spec, sets)
    yield from _check_confirm_sets(spec)


def _check_confirm_sets(spec: SweepSpec) -> Iterator[Finding]:
    """Find that nothing will be measured on the confirm sets."""
    if spec.data.confirm is not None and spec.confirm is None:
        yield finding(
            "confirm-unused",
            "data.confirm keeps utterances from the search, and without confirm nothing is measured on them: the "
            "verdict rests on the sets that chose the trial. Add confirm: {top: 2, seeds: [101, 102, 103]}, or take "
            "data.confirm away.",
        )


def _check_words(spec: SweepSpec, sets: Mapping[str, Manifest]) -> Iterator[Finding]:
    """Find evaluation sets in which the normaliser leaves no text with a word, such as notes in
    brackets alone, and single texts of any set that end up empty.
    """
    normalize = normalizer(spec.evaluation.normalizer)
    for name, manifest in sets.items():
        texts = [utterance.text for utterance in manifest.utterances]
        if name not in TRAINING_SETS and texts and not _has_words(texts, normalize):
            yield finding(
                "empty",
                f"no reference of {name} ({manifest.path}) has a word left by normalizer {spec.evaluation.normalizer}, "
                f"e.g. {place_text(manifest.path, manifest.utterances[0].place)} ({show(texts[0])}). "
                "Write what is said.",
            )
        elif said := wordless_text(name, manifest, spec.evaluation.normalizer):
            yield finding("text-artifacts", said)


def _check_language(spec: SweepSpec, sets: Mapping[str, Manifest]) -> Iterator[Finding]:
    """Find evaluation sets in a language for which the normaliser says little, or the WER, where
    the sweep goes by one.
    """
    rates = (spec.metric.name, *spec.guardrails, *spec.acceptance)
    by_words = any(rate.endswith("_wer") for rate in rates)
    for name, manifest in sets.items():
        if name in TRAINING_SETS:
            continue
        if said := foreign_text(name, manifest, spec.evaluation.normalizer):
            cure = "For another language set evaluation.normalizer: basic."
            yield finding("not-english", f"{said} {cure}")
        if by_words and (said := unspaced_text(name, manifest)):
            yield finding(
                "no-spaces",
                f"{said} For such languages the CER counts: set limits on {search_name(name)}_cer, and "
                "metric: {name: domain_cer}.",
            )


def _has_words(texts: Sequence[str], normalize: Normalizer) -> bool:
    """Whether the normaliser leaves a word in any of the texts. It is loaded only where no text has
    a word of five letters, which every normaliser keeps.
    """
    return any(map(is_surely_said, texts)) or any(map(normalize, texts))


def _check_artifacts(spec: SweepSpec, sets: Mapping[str, Manifest]) -> Iterator[Finding]:
    for name, manifest in sets.items():
        found = artifact_texts(name, manifest, spec.evaluation.normalizer)
        for said in chain(found, other_texts(name, manifest)):
            yield finding("text-artifacts", said)


def _check_warm_up(spec: SweepSpec) -> Iterator[Finding]:
    if doubt := warm_up_text(spec):
        yield finding("warmup", doubt)


def _check_terms(spec: SweepSpec, sets: Mapping[str, Manifest]) -> Iterator[Finding]:
    """Find that none of the listed terms occurs in a domain set. Raises DataError for a bad list of
    terms.
    """
    if spec.evaluation.terms is None:
        return
    normalize = normalizer(spec.evaluation.normalizer)
    terms = read_terms(spec.evaluation.terms, normalize)
    for name in ("domain", confirm_name("domain")):
        if name in sets:
            texts = [normalize(utterance.text) for utterance in sets[name].utterances]
            if not any(terms.count(text, "")[0] for text in texts):
                yield finding(
                    "terms",
                    f"none of the {len(terms.phrases)} terms of {spec.evaluation.terms} occurs in {name}: recall "
                    "cannot be measured. Check spelling and normaliser, or take a set in which they are said.",
                )


def _used_before(
    ready: Mapping[str, tuple[Manifest, Clips]], folder: StudyFolder
) -> Iterator[Finding]:
    """Find confirm utterances that the search of another study of the same root was measured on,
    and studies that cannot be read to tell.
    """
    confirming = {name: decoded for name, decoded in ready.items() if is_confirm(name)}
    if not confirming:
        return
    for study in folder.neighbours():
        try:
            sets = study.sets() if study.measured else {}
        except (OrchestrateError, OSError) as error:
            yield finding(
                "confirm-used",
                f"study {study.name} cannot be read ({reason(error)}), so nobody can tell whether its search "
                f"measured utterances of the confirm sets. Put it right, or move it out of {study.path.parent}.",
            )
            continue
        searched = [
            sets[name] for name in sets if name not in TRAINING_SETS and not is_confirm(name)
        ]
        heard = {sound for record in searched for sound in record.audio_sha256}
        for name, (manifest, clips) in confirming.items():
            if count := sum(sound in heard for sound in clips.pcm_sha256):
                yield finding(
                    "confirm-used",
                    f"{count} of {len(clips)} utterances of {name} ({manifest.path}) were measured by the search of "
                    f"study {study.name}: what was chosen by it knows them, and a confirmation on them is optimistic. "
                    "Confirm on speech that no search has measured.",
                )


def check_data(spec: SweepSpec, folder: StudyFolder, observer: Observer) -> None:
    """Say and note what is doubtful about the sets, and record which utterances they consist of.

    Raises DataError with all reasons at once when they would make every number worthless;
    ManifestError; and StudyError where the study's trials were trained or measured on other data.
    """
    _refuse_what_model_cannot_take(spec, folder)
    ready = _decode_within_limit(spec, folder, observer)
    check_contents(spec, ready, folder)
    findings = find_all(spec, ready, folder)
    for name, (manifest, clips) in ready.items():
        log.debug("set %s: %d clips of %s", name, len(clips), manifest.path)
        if said := sound_text(name, manifest, clips):
            folder.note_once(f"data: {said}")
    record_findings("data", findings, spec, folder, observer)
    stop(findings, spec.checks.ignore, "The data cannot answer the sweep's question", DataError)
    folder.write_sets(set_records(spec, ready))


def _refuse_what_model_cannot_take(spec: SweepSpec, folder: StudyFolder) -> None:
    """Raise DataError for clips and texts outside of the model's limits, before hours of sound are
    decoded. Needs the model's files on this machine, else does nothing; what is only doubtful is
    said once the model is loaded.
    """
    if (limits := read_limits(spec.model)) is not None:
        sets = read_sets(spec, folder.project_cache)
        stop(
            find_limit_violations(spec, sets, limits),
            spec.checks.ignore,
            CANNOT_TAKE,
            DataError,
        )


def _decode_within_limit(
    spec: SweepSpec, folder: StudyFolder, observer: Observer
) -> dict[str, tuple[Manifest, Clips]]:
    """Decode all sets. The cache is brought back to its limit, unless another study is running."""
    from orchestrator.corpus.cache.clip_cache import evict_segments

    ready = decode_sets(spec, folder.project_cache)
    if not any(study.holder() for study in folder.neighbours()):
        sounds = [sound for _, clips in ready.values() for sound in clips.sounds.stored]
        needed = {sound.segment.name for sound in sounds}
        limit = round(spec.execution.cache_gb * 1e9)
        if freed := evict_segments(ProjectCache(folder.project_cache).clips, limit, needed):
            observer.say(
                f"cache: {freed / 1e6:,.0f} MB of decoded sound that other studies used "
                f"longest ago removed (execution.cache_gb: {spec.execution.cache_gb:g})"
            )
    return ready


def check_contents(
    spec: SweepSpec,
    ready: Mapping[str, tuple[Manifest, Clips]],
    folder: StudyFolder,
    names: Collection[str] | None = None,
) -> None:
    """Check that a study trains on and is measured with the same content since its first trial was
    planned; `names` are the sets that are looked at, None for all.

    Raises StudyError naming what changed, because numbers from other data do not belong to the same
    study. Confirm sets may change until they are used: whoever has seen a confirmation could leave
    out what speaks against it.
    """
    now, confirms = set_records(spec, ready), folder.read_plan(-1) is not None
    kept = {
        name: record
        for name, record in folder.sets().items()
        if (names is None or name in names)
        and (not is_confirm(name) or (confirms and spec.confirm is not None))
    }
    changed = [
        f"{record.manifest} ({name}): {_difference_text(record, now.get(name))}"
        for name, record in kept.items()
        if name not in now or now[name].content != record.content
    ]
    if changed and folder.began:
        rows = "\n".join(f"  {row}" for row in changed)
        raise StudyError(
            f"data of study {folder.name} have changed since its trials were trained and measured:\n{rows}\n"
            "  Put the data back, or begin a new study with --fork NAME."
        )


def check_rerun(spec: SweepSpec, folder: StudyFolder) -> None:
    """Check that a trial can be trained again as it was. Raises StudyError where the data have
    changed, and ManifestError.
    """
    check_contents(spec, decode_sets(spec, folder.project_cache), folder)


def check_measured_sets(
    spec: SweepSpec, sets: Mapping[str, SetSource], folder: StudyFolder
) -> None:
    """Check that these evaluation sets are those that the study was measured on. Raises StudyError
    and ManifestError.
    """
    cache = folder.project_cache
    ready = {
        name: decode_set(spec, name, read_evaluation_set(spec, source, cache), cache)
        for name, source in sets.items()
    }
    check_contents(spec, ready, folder, sets)


def _changed_lines(lines: Sequence[int], before: Sequence[str], now: Sequence[str]) -> list[int]:
    """Return the line numbers whose digest has changed."""
    rows = zip(lines, before, now, strict=True)
    return [line for line, old, new in rows if old != new]


def _difference_text(before: SetRecord, now: SetRecord | None) -> str:
    """Say how a set has changed; where its length is the same, in which lines."""
    if now is None:
        return "is no longer part of the sweep"
    if len(now.lines) != len(before.lines):
        return f"{len(before.lines)} utterances then, {len(now.lines)} now"
    texts = _changed_lines(now.lines, before.text_sha256, now.text_sha256)
    sounds = _changed_lines(now.lines, before.audio_sha256, now.audio_sha256)
    said = (
        [f"the text or speaker of {len(texts)} utterances, first in line {texts[0]}"]
        if texts
        else []
    )
    said += [f"the audio of {len(sounds)} utterances, first in line {sounds[0]}"] if sounds else []
    return " and ".join(said)
