"""Checks of whether the sets of a sweep can answer its question: overlap, lengths, orthography,
sizes. No torch.

`check_sets` returns findings before anything trains: refuse means that every number would be
worthless, warn is said and recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, product

from orchestrator.checks import Finding, finding
from orchestrator.corpus.manifest_errors import SHOWN, bad_records, place_text, show
from orchestrator.corpus.manifests.manifest import Manifest
from orchestrator.corpus.recordings.known_files import KnownFiles
from orchestrator.corpus.sets.overlap import (
    Recordings,
    Shared,
    name_recordings,
    repeated_audio,
    sentence_key,
    shared_audio,
    shared_recordings,
)
from orchestrator.corpus.utterance import Utterance
from orchestrator.set_names import is_confirm, search_name

TRAINING_SETS = ("train", "replay")
"""The names of the training sets; all others are evaluation sets."""

FEW_TRAINING_UTTERANCES = 200
UPPER_CASE_SHARE = 0.9
"""The share of texts in capitals above which a set counts as written in capitals."""
CHARACTERS_A_SECOND = 60
"""More characters a second than anybody says: an auctioneer reaches 40, and scripts of syllables or
word signs need fewer.
"""
CHARACTERS_MORE = 40
"""Characters allowed beyond that rate, for a very short sound whose text describes it."""


def check_sets(
    sets: Mapping[str, Manifest],
    *,
    max_seconds: float,
    pcm: Mapping[str, Sequence[str]] | None = None,
    known: KnownFiles | None = None,
) -> list[Finding]:
    """Compare the sets of a sweep with each other, and check each by itself.

    `sets` by name: train, replay, domain, heldout, further ones, confirm_domain and so on. A
    further set may share sound with the sets beside it (it may be a part of them, or the noisy ones
    among them), not with training or confirmation. `max_seconds` bounds training utterances. `pcm`
    holds the decoded hashes per set (`Clips.pcm_sha256`) where there are some, and finds equal
    sound in different files. `known` has hashes of files, which then need not be read to compare
    their bytes. Findings to refuse come first.
    """
    training = {name: manifest for name, manifest in sets.items() if name in TRAINING_SETS}
    evaluation = {name: manifest for name, manifest in sets.items() if name not in TRAINING_SETS}
    named = name_recordings(sets, pcm or {}, known)
    findings: list[Finding] = []
    for name, manifest in sets.items():
        findings += _check_content(name, manifest, named[name])
    for name, manifest in training.items():
        findings += _check_training_lengths(name, manifest, max_seconds)
    for name, manifest in evaluation.items():
        findings += _check_left_out(name, manifest)
    for name, manifest in sets.items():
        findings += _check_density(name, manifest, max_seconds)
    core = [name for name in evaluation if search_name(name) in ("domain", "heldout")]
    crossed = (
        pair
        for pair in combinations(evaluation, 2)
        if set(pair) <= set(core) or _crosses_confirmation(*pair)
    )
    for first, second in (*product(training, evaluation), *crossed):
        findings += _check_audio(first, named[first], second, named[second])
    # Segments of one recording in both training sets reveal nothing about an evaluation set, so
    # only the same sound is looked for: it would count domain speech as general speech too, whose
    # KL term holds back what its cross-entropy teaches.
    for first, second in combinations(training, 2):
        findings += _check_same_sound(first, named[first], second, named[second])
    seen = [name for name in evaluation if not is_confirm(name)]
    unseen = [name for name in evaluation if is_confirm(name)]
    for first, second in (*product(training, evaluation), *product(seen, unseen)):
        findings += _check_words_and_speakers(first, sets[first], second, sets[second])
    return sorted(findings, key=lambda finding: finding.level)


def _crosses_confirmation(first: str, second: str) -> bool:
    """Whether one of two evaluation sets is the search's and the other the confirmation's."""
    return is_confirm(first) != is_confirm(second)


def check_limits(
    sets: Mapping[str, Manifest], max_seconds: float, longest_seconds: float
) -> list[Finding]:
    """Find clips that are longer than the model can take: refused in evaluation sets, counted in
    training sets, which leave them out as long as others are left.
    """
    findings = []
    for name, manifest in sets.items():
        used = used_utterances(name, manifest, max_seconds)
        over = [utterance for utterance in used if utterance.seconds > longest_seconds]
        if over:
            goes_on = name in TRAINING_SETS and len(over) < len(used)
            findings.append(
                (_left_out if goes_on else _too_long)(name, manifest, over, longest_seconds)
            )
    return findings


def used_utterances(name: str, manifest: Manifest, max_seconds: float) -> list[Utterance]:
    """Return the utterances of a set that are used: of a training set, those of at most
    `max_seconds`.
    """
    if name not in TRAINING_SETS:
        return list(manifest.utterances)
    return [manifest.utterances[row] for row in kept_for_training(manifest, max_seconds)]


def listed_lines(
    manifest: Manifest, faults: Sequence[tuple[Utterance, str]], most: int = SHOWN
) -> str:
    """Name the place of each faulty utterance and what is wrong with it; the first `most` in full."""
    said = [
        f"{place_text(manifest.path, utterance.place)} ({why})" for utterance, why in faults[:most]
    ]
    return ", ".join(said) + (f" and {len(faults) - most} more" if len(faults) > most else "")


def kept_for_training(manifest: Manifest, max_seconds: float) -> tuple[int, ...]:
    """Return the indices of the utterances of at most `max_seconds`, in manifest order."""
    return tuple(
        index
        for index, utterance in enumerate(manifest.utterances)
        if utterance.seconds <= max_seconds
    )


def is_upper_case(texts: Iterable[str]) -> bool:
    """Whether more than 90 % of the texts that have letters of two cases are all capitals, as
    LibriSpeech writes them.
    """
    cased = [text for text in texts if text.lower() != text.upper()]
    # ß stays as it is where a German text is written in capitals, and upper() makes SS of it
    upper = sum(text.replace("ß", "SS") == text.upper() for text in cased)
    return upper > UPPER_CASE_SHARE * len(cased)


def skipped_lines(name: str, manifest: Manifest) -> str:
    """Say how many lines of a training set were skipped, with the first of them."""
    count, first = bad_records(manifest.bad), manifest.bad[0]
    total = count + len(manifest.utterances)
    return (
        f"{count} of {total} lines of {name} ({100 * count / total:.1f} %) are bad and skipped, "
        f"e.g. {place_text(manifest.path, first.place)}: {first.message}."
    )


def _check_content(name: str, manifest: Manifest, named: Recordings) -> list[Finding]:
    if not manifest.utterances and manifest.left_out:
        message = (
            f"all {manifest.left_out} utterances of {name} ({manifest.path}) "
            f"are longer than evaluation.max_seconds."
        )
        return [finding("empty", message)]
    if not manifest.utterances:
        return [finding("empty", f"{name} ({manifest.path}) holds no utterances.")]
    findings = []
    if manifest.bad:
        findings.append(finding("bad-lines", skipped_lines(name, manifest)))
    if is_upper_case(utterance.text for utterance in manifest.utterances):
        message = (
            f"more than 90 % of the references of {name} are in capitals; they are lowered, or the adapter would "
            f"learn typography that scoring ignores, {_example_line(manifest, manifest.utterances[0])}."
        )
        findings.append(finding("upper-case", message))
    if twice := repeated_audio(named):
        example = _shared_example(twice[0], named, named)
        message = f"{_share_text(len(twice), manifest, name)} repeat audio of the same set, e.g. {example}."
        findings.append(finding("duplicates", message))
    return findings


def _check_training_lengths(name: str, manifest: Manifest, max_seconds: float) -> list[Finding]:
    total = len(manifest.utterances)
    kept = kept_for_training(manifest, max_seconds)
    findings = []
    if total and not kept:
        message = f"no utterance of {name} ({manifest.path}) is at most max_seconds ({max_seconds:g}) long."
        return [finding("empty", message)]
    if len(kept) < total:
        first = next(
            utterance for utterance in manifest.utterances if utterance.seconds > max_seconds
        )
        message = (
            f"{_share_text(total - len(kept), manifest, name)} are longer than max_seconds ({max_seconds:g}) and left "
            "out, "
            f"{_example_line(manifest, first)}."
        )
        findings.append(finding("left-out", message))
    if name == "train" and len(kept) < FEW_TRAINING_UTTERANCES:
        message = (
            f"{len(kept)} training utterances are few; below {FEW_TRAINING_UTTERANCES} most trials memorise them and "
            "seeds differ more than parameters."
        )
        findings.append(finding("too-few", message))
    return findings


def _check_left_out(name: str, manifest: Manifest) -> list[Finding]:
    if not (manifest.left_out and manifest.utterances):
        return []
    share = f"{manifest.left_out} of {manifest.left_out + len(manifest.utterances)} utterances of {name}"
    return [
        finding("left-out", f"{share} are longer than evaluation.max_seconds and not measured.")
    ]


def _check_density(name: str, manifest: Manifest, max_seconds: float) -> list[Finding]:
    """Find texts that nobody could say in the time of their clip, such as a whole chapter beside
    one sentence of it.
    """
    faults = [
        (utterance, f"{len(utterance.text)} characters beside {utterance.seconds:.1f} s")
        for utterance in used_utterances(name, manifest, max_seconds)
        if len(utterance.text) > CHARACTERS_A_SECOND * utterance.seconds + CHARACTERS_MORE
    ]
    if not faults:
        return []
    message = (
        f"{_share_text(len(faults), manifest, name)} have more text than can be said in their clip, above "
        f"{CHARACTERS_A_SECOND} characters a second: {listed_lines(manifest, faults)}. "
        "Give each line the words of its own clip, or delete it."
    )
    return [finding("dense-text", message)]


def _left_out(name: str, manifest: Manifest, over: Sequence[Utterance], limit: float) -> Finding:
    message = (
        f"{_share_text(len(over), manifest, name)} are longer than the {limit:g} s the model can take and left out, "
        f"{_example_line(manifest, over[0])}."
    )
    return finding("left-out", message)


def _too_long(name: str, manifest: Manifest, over: Sequence[Utterance], limit: float) -> Finding:
    trained = name in TRAINING_SETS
    why = "nothing is left to train on" if trained else "evaluation audio is never truncated"
    message = (
        f"{_share_text(len(over), manifest, name)} are longer than the {limit:g} s the model can take: "
        f"{listed_lines(manifest, [(utterance, f'{utterance.seconds:.1f} s') for utterance in over])}; "
        f"cut them into shorter ones, {why}."
    )
    return finding("too-long", message)


def _check_same_sound(first: str, a: Recordings, second: str, b: Recordings) -> list[Finding]:
    if shared := shared_audio(a, b):
        message = (
            f"{_share_text(len(shared), b.manifest, second)} are in {first} too, e.g. "
            f"{_shared_example(shared[0], b, a)} "
            f"({shared[0].why}). Delete them from one of the two manifests."
        )
        return [finding("audio-overlap", message)]
    return []


def _check_audio(first: str, a: Recordings, second: str, b: Recordings) -> list[Finding]:
    if same := _check_same_sound(first, a, second, b):
        return same
    if cut := shared_recordings(a, b):
        message = (
            f"{_share_text(len(cut), b.manifest, second)} are cut from recordings that {first} uses too, "
            f"{_example_line(b.manifest, cut[0])}; the speaker and the room are known, so the result is optimistic."
        )
        return [finding("recording-overlap", message)]
    return []


def _check_words_and_speakers(first: str, a: Manifest, second: str, b: Manifest) -> list[Finding]:
    findings = []
    known = {sentence_key(utterance.text) for utterance in a.utterances} - {""}
    if same := [utterance for utterance in b.utterances if sentence_key(utterance.text) in known]:
        message = (
            f"{_share_text(len(same), b, second)} have a sentence that is in {first} too, "
            f"{_example_line(b, same[0])}; they measure "
            "memory as well."
        )
        findings.append(finding("sentence-overlap", message))
    speakers = {utterance.speaker for utterance in a.utterances} - {""}
    if shared := [utterance for utterance in b.utterances if utterance.speaker in speakers]:
        both = sorted(speakers & {utterance.speaker for utterance in b.utterances})
        names = ", ".join(show(speaker) for speaker in both[:3]) + (
            ", ..." if len(both) > 3 else ""
        )
        message = (
            f"{_share_text(len(shared), b, second)} are by speakers of {first} ({names}), "
            f"{_example_line(b, shared[0])}; the result is optimistic for new speakers."
        )
        findings.append(finding("speaker-overlap", message))
    return findings


def _share_text(count: int, manifest: Manifest, name: str) -> str:
    total = len(manifest.utterances)
    return f"{count} of {total} utterances of {name} ({100 * count / total:.1f} %)"


def _example_line(manifest: Manifest, utterance: Utterance) -> str:
    return f"e.g. {place_text(manifest.path, utterance.place)}"


def _shared_example(shared: Shared, mine: Recordings, others: Recordings) -> str:
    here = place_text(mine.manifest.path, shared.utterance.place)
    return f"{here} is {place_text(others.manifest.path, shared.other.place)}"
