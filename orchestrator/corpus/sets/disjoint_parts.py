"""Dividing a manifest into parts that have no speaker, no sentence, no recording, or no utterance
in common.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from orchestrator.corpus.manifests.manifest import Manifest
from orchestrator.corpus.manifests.manifest_writing import shuffled
from orchestrator.corpus.sets.overlap import sentence_key
from orchestrator.corpus.utterance import Utterance, audio_source
from orchestrator.errors import ManifestError

Unit = Literal["speaker", "sentence", "recording", "utterance"]
"""What is kept whole when a manifest is divided: all that one speaker says, all utterances of the
same words, all segments of one file, or only each utterance by itself.
"""

UNITS: tuple[Unit, ...] = get_args(Unit)
_MANY = {
    "speaker": "speakers",
    "sentence": "sentences",
    "recording": "recordings",
    "utterance": "utterances",
}
"""The plural of each unit."""


def unit_of(utterance: Utterance, by: Unit) -> str:
    """Return the name of the unit that an utterance belongs to: equal for two that must be in the
    same part.
    """
    if by == "speaker":
        return utterance.speaker
    if by == "sentence":
        return sentence_key(utterance.text) or utterance.text
    if by == "recording":
        return audio_source(utterance)
    # the first record of a line is named by the line alone: the draw depends on the names, and
    # these keep it as it was before a line could hold several records
    return f"{utterance.line}" if utterance.record == 1 else f"{utterance.line}.{utterance.record}"


def divide(
    manifest: Manifest, by: Unit, shares: Sequence[float], seed: int
) -> list[list[Utterance]]:
    """Divide a manifest into shuffled parts without a unit in common, one more than `shares`. Each
    but the last has about its share of the utterances, and the last has the rest.

    Raises ManifestError when a line names no speaker to divide by, or there are fewer units than
    parts.
    """
    if by == "speaker":
        _require_speakers(manifest)
    counts: dict[str, int] = {}
    for utterance in manifest.utterances:
        counts[unit_of(utterance, by)] = counts.get(unit_of(utterance, by), 0) + 1
    parts = len(shares) + 1
    if len(counts) < parts:
        raise ManifestError(_too_few(manifest, by, list(counts), parts))
    part_of: dict[str, int] = {}
    for number, share in enumerate(shares):
        left = {unit: count for unit, count in counts.items() if unit not in part_of}
        chosen = _choose_units(
            left, share * len(manifest.utterances), seed, keep=parts - number - 1
        )
        part_of |= dict.fromkeys(chosen, number)
    order = shuffled(manifest.utterances, seed)
    divided: list[list[Utterance]] = [[] for _ in range(parts)]
    for utterance in order:
        divided[part_of.get(unit_of(utterance, by), parts - 1)].append(utterance)
    return divided


def usual_unit(manifest: Manifest) -> tuple[Unit, str]:
    """Return the unit to divide by when none is asked for: the speaker, or the sentence where there
    are no two speakers; and in words what that means for the parts.
    """
    speakers = {utterance.speaker for utterance in manifest.utterances}
    if len(speakers) > 1:
        return "speaker", ""
    (only,) = speakers
    said = (
        f"{manifest.path} has one speaker, {only!r}"
        if only
        else f"no line of {manifest.path} names a speaker"
    )
    voices = "The parts share that voice" if only else "The parts may share voices"
    return "sentence", (
        f"{said}: it is split by sentence, so that no text stands in two parts. "
        f"{voices}, and a WER measured on one says nothing about other speakers."
    )


def sentences_in_common(parts: Sequence[Sequence[Utterance]]) -> int:
    """Return the number of sentences that occur in more than one part."""
    parts_with: Counter[str] = Counter()
    for part in parts:
        parts_with.update({sentence_key(utterance.text) for utterance in part})
    return sum(count > 1 for count in parts_with.values())


def _require_speakers(manifest: Manifest) -> None:
    nameless = [utterance.line for utterance in manifest.utterances if not utterance.speaker]
    if nameless:
        raise ManifestError(
            f"{len(nameless)} of {len(manifest.utterances)} lines of {manifest.path} name no speaker, "
            f"the first is {manifest.path}:{nameless[0]}\n"
            "  Give every line a speaker, for nobody may speak in both parts; or divide it by sentence: --by sentence."
        )


def _too_few(manifest: Manifest, by: Unit, units: list[str], parts: int) -> str:
    number = {2: "two", 3: "three"}[parts]
    has = f"one {by}, {units[0]!r}" if len(units) == 1 else f"{len(units)} {_MANY[by]}"
    others = ", ".join(f"--by {unit}" for unit in UNITS if unit != by)
    return (
        f"{manifest.path} has {has}; {number} parts need at least {number}\n"
        f"  Divide it by something else: orchestrate manifest split takes {others}."
    )


def _choose_units(counts: Mapping[str, int], wanted: float, seed: int, keep: int) -> set[str]:
    """Choose units in a seeded order, each while it brings the number of utterances closer to
    `wanted`; the smallest unit where that chooses none.

    At least `keep` units are left for the parts that follow.
    """
    order = shuffled(sorted(counts), seed)
    chosen: set[str] = set()
    taken = 0
    for unit in order:
        if (
            abs(taken + counts[unit] - wanted) < abs(taken - wanted)
            and len(chosen) < len(order) - keep
        ):
            chosen.add(unit)
            taken += counts[unit]
    return chosen or {min(order, key=lambda unit: counts[unit])}
