"""What the best trial changed, word by word: the utterances that changed most, and which words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.records.results import Measurement
from orchestrator.records.store import StudyFolder
from orchestrator.reporting.document import (
    AlignedText,
    AlignedUtterance,
    AlignedUtterances,
    Block,
    Heading,
    Paragraph,
    Table,
)
from orchestrator.scoring.alignment import AlignedWord, align
from orchestrator.scoring.text import normalizer
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.conclusion import Conclusion, chosen_measurement

SHOWN = 10
"""Utterances of a set in either direction, and words in either."""

Alignment = tuple[AlignedWord, ...]


@dataclass(frozen=True)
class ChangedUtterance:
    """One utterance of an evaluation set, aligned for the untuned and the tuned model."""

    utterance: str
    speaker: str
    reference: str
    before: Alignment
    after: Alignment

    @property
    def errors(self) -> tuple[int, int]:
        """Word errors before and after tuning."""
        before, after = (sum(word.is_error for word in side) for side in (self.before, self.after))
        return before, after

    @property
    def change(self) -> int:
        """More errors than before are positive."""
        before, after = self.errors
        return after - before


def blocks(spec: SweepSpec, folder: StudyFolder, conclusion: Conclusion) -> Iterator[Block]:
    """A section a set that baseline and best trial were both measured on, where texts are kept."""
    best, baseline = conclusion.best, conclusion.baseline
    tuned = chosen_measurement(folder, best) if best else None
    if best is None or tuned is None or baseline is None:
        return
    before = folder.read_baseline_hypotheses(baseline)
    after = folder.read_hypotheses(best.number, tuned)
    for name in tuned.sets:
        texts = (_references(folder, name), before.get(name, ()), after.get(name, ()))
        utterances = changed_utterances(spec.evaluation.normalizer, tuned, name, texts)
        if utterances:
            yield from _set_blocks(name, f"trial {best.number}", utterances)


def _references(folder: StudyFolder, name: str) -> Sequence[str]:
    record = folder.sets().get(name)
    return record.texts if record is not None and record.texts else ()


def changed_utterances(
    normalizer_name: str, tuned: Measurement, name: str, texts: Sequence[Sequence[str]]
) -> list[ChangedUtterance]:
    """All utterances of the set, aligned; empty where a text is not kept for each of them.

    `texts`: references, hypotheses of the untuned and of the tuned model, in the set's order.
    """
    measured = tuned.sets[name]
    if any(len(column) != len(measured.utterance_ids) for column in texts):
        return []
    normalize = normalizer(normalizer_name)
    rows = zip(measured.utterance_ids, measured.speakers, *texts, strict=True)
    found = []
    for utterance, speaker, *said_and_heard in rows:
        reference, before, after = map(normalize, said_and_heard)
        sides = align(reference, before), align(reference, after)
        found.append(ChangedUtterance(utterance, speaker or "", reference, *sides))
    return found


def _set_blocks(name: str, trial: str, utterances: Sequence[ChangedUtterance]) -> Iterator[Block]:
    worse = sorted((one for one in utterances if one.change > 0), key=lambda one: -one.change)
    better = sorted((one for one in utterances if one.change < 0), key=lambda one: one.change)
    yield Heading(f"What {trial} changed in {name}")
    yield Paragraph(
        f"Of {len(utterances)} utterances {len(worse)} have more word errors than with the untuned "
        f"model and {len(better)} have fewer. Words are compared as the normaliser leaves them."
    )
    yield from _words(utterances)
    for title, found in (("More errors", worse), ("Fewer errors", better)):
        if found:
            shown = tuple(_shown(trial, utterance) for utterance in found[:SHOWN])
            yield AlignedUtterances(f"{title} in {name}: {len(shown)} of {len(found)}", shown)


def _shown(trial: str, changed: ChangedUtterance) -> AlignedUtterance:
    before, after = changed.errors
    speaker = f", speaker {changed.speaker}" if changed.speaker else ""
    return AlignedUtterance(
        f"{changed.utterance}{speaker}: {before} -> {after} errors",
        changed.reference,
        (_text("untuned model", changed.before), _text(trial, changed.after)),
    )


def _text(label: str, alignment: Alignment) -> AlignedText:
    return AlignedText(label, tuple((word.said, word.heard) for word in alignment))


def _words(utterances: Sequence[ChangedUtterance]) -> Iterator[Block]:
    """Words that were said and are heard more often, or less often, than before."""
    before, after = (
        hits(side) for side in zip(*((one.before, one.after) for one in utterances), strict=True)
    )
    said = Counter(word for one in utterances for word in one.reference.split())
    changes = {word: after[word] - before[word] for word in said}
    most = sorted(
        (word for word in changes if changes[word]), key=lambda word: (-changes[word], word)
    )
    rows = [word for word in most if changes[word] > 0][:SHOWN]
    rows += [word for word in most if changes[word] < 0][-SHOWN:]
    if rows:
        columns = ("word", "said", "heard before", "heard after", "change")
        yield Table(columns, tuple(_word_row(word, said, before, after) for word in rows))


def hits(alignments: Sequence[Alignment]) -> Counter[str]:
    """How often each word was said and heard."""
    places = (word for alignment in alignments for word in alignment)
    return Counter(word.said for word in places if not word.is_error)


def _word_row(
    word: str, said: Mapping[str, int], before: Mapping[str, int], after: Mapping[str, int]
) -> tuple[str, ...]:
    change = after[word] - before[word]
    return word, str(said[word]), str(before[word]), str(after[word]), f"{change:+d}"
