"""Comparison of two adapters, of the same or of different studies: paired differences on the sets
that both were measured on.

Numbers of different evaluations are never compared. Where a part of the evaluation's fingerprint
that concerns one set alone (its sound, its texts) differs, that set is not compared; where any
other part differs, none is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator.errors import FingerprintError, StudyError
from orchestrator.records.results import Measurement, TrialResult
from orchestrator.records.store import StudyFolder
from orchestrator.scoring.judge import Scores, error_budget
from orchestrator.scoring.rates import SetScore, estimate
from orchestrator.set_names import search_name, set_of_rate
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.conclusion import Conclusion, chosen_measurement, lacks_trial
from orchestrator.verdicts.judging import RESAMPLES, pool_scores

if TYPE_CHECKING:
    from orchestrator.scoring.bootstrap import DeltaEstimate

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Stage:
    """The measurement of one adapter, on the search's sets or on the confirm sets."""

    scores: Scores
    """For the confirm sets, summed over the seeds."""
    parts: Mapping[str, str]
    """The fields of the evaluation's fingerprint, by name; empty where they are not on file."""


@dataclass(frozen=True)
class Side:
    """One trial of one study, as one side of a comparison."""

    label: str
    spec: SweepSpec
    folder: StudyFolder
    conclusion: Conclusion
    done: bool
    """Whether nothing of the study is left to train."""
    result: TrialResult
    stages: Mapping[str, Stage]
    """Keyed `search` and `confirm`; only those that were measured."""
    seeds: tuple[int, int] | None
    """Confirmation seeds of the trial that are measured, and all; None where it has none."""


@dataclass(frozen=True)
class Difference:
    """The difference in one rate on one set, `after` less `before`."""

    stage: str
    rate: str
    before: float
    after: float
    """Both rates are in percent."""
    estimate: DeltaEstimate
    confidence: float = CONFIDENCE
    """Confidence of the two-sided bounds, with the error divided among all differences that are
    shown together.
    """

    @property
    def bounds(self) -> tuple[float, float]:
        """The two-sided confidence bounds in points."""
        return self.estimate.interval(self.confidence)


@dataclass(frozen=True)
class ChangedUtterance:
    """One utterance that the two sides transcribed differently."""

    set: str
    utterance: str
    speaker: str
    errors: tuple[int, int]
    """Word errors of `before` and `after`."""
    texts: tuple[str, str]
    """Hypotheses of `before` and `after`."""
    reference: str
    """Empty where the study does not hold the texts."""


Refused = Mapping[tuple[str, str], Mapping[str, tuple[str, str]]]
"""Rates that cannot be compared: (stage, rate) -> differing field of the evaluation -> both values.
"""

Uncomputed = Mapping[tuple[str, str], tuple[str, ...]]
"""Rates that have no value, as the precision of terms none of which was heard: (stage, rate) ->
labels of the sides that lack it.
"""


@dataclass(frozen=True)
class Pair:
    """The result of comparing two sides."""

    before: Side
    after: Side
    differences: tuple[Difference, ...]
    refused: Refused
    """What was evaluated differently."""
    uncomputed: Uncomputed
    changed: tuple[ChangedUtterance, ...]
    """Utterances of the search's sets, the largest change first."""


def side_of(
    label: str,
    spec: SweepSpec,
    folder: StudyFolder,
    conclusion: Conclusion,
    done: bool,
    number: int | None,
) -> Side:
    """Return the side of trial `number`, or where that is None of the study's best trial; without a
    feasible one that is the trial with the lowest domain WER. `done`: nothing is left to train.

    Raises StudyError where there is no such trial or it was not measured.
    """
    named = conclusion.best or conclusion.lowest_domain
    if number is not None:
        named = conclusion.ended(number)
    result = named and conclusion.ended(named.trained)
    if result is None:
        raise lacks_trial(folder, conclusion, done, number, "measured")
    measurement = chosen_measurement(folder, result)
    if measurement is None:
        raise StudyError(
            f"trial {result.number} of study {folder.name} has no numbers: {result.reason}\n  Name another trial."
        )
    stages = {"search": _stage_of(folder, [measurement])}
    confirmed = next(
        (finalist for finalist in conclusion.confirmed if finalist.trial == result.number), None
    )
    runs = confirmed.seeds if confirmed else ()
    ended = [seed.result for seed in runs if seed.result]
    if rows := [row for result in ended if (row := chosen_measurement(folder, result))]:
        stages["confirm"] = _stage_of(folder, rows)
    seeds = (len(rows), len(runs)) if runs else None
    return Side(label, spec, folder, conclusion, done, result, stages, seeds)


def _stage_of(folder: StudyFolder, rows: Sequence[Measurement]) -> Stage:
    return Stage(pool_scores(rows), folder.evaluations().get(rows[0].fingerprint, {}))


def pair_of(before: Side, after: Side, pairs: int = 1, resamples: int = RESAMPLES) -> Pair:
    """Compare two sides. The error of the bounds is divided among `pairs`, the number of pairs that
    are shown together, and within this pair among its rates and stages.

    Raises FingerprintError, naming the fields, where no set was evaluated alike on both sides.
    """
    refused: dict[tuple[str, str], dict[str, tuple[str, str]]] = {}
    uncomputed: dict[tuple[str, str], tuple[str, ...]] = {}
    differences: list[Difference] = []
    for stage in (stage for stage in before.stages if stage in after.stages):
        one, other = before.stages[stage], after.stages[stage]
        # a confirmation names the sets as the search does
        of_all, of_set = _differing_fields(one, other)
        for rate in _shared_rates(one.scores, other.scores):
            fields = of_all | of_set.get(search_name(set_of_rate(rate)), {})
            if fields:
                refused[stage, rate] = fields
            elif found := _paired_difference(stage, rate, before, after, resamples):
                differences.append(found)
            else:
                rates = {
                    side.label: side.stages[stage].scores.sets[rate] for side in (before, after)
                }
                uncomputed[stage, rate] = tuple(n for n, own in rates.items() if own.rate is None)
    if not differences:
        raise FingerprintError(_nothing_shared(before, after, refused))
    confidence = error_budget(CONFIDENCE, pairs * len(differences))
    differences = [replace(difference, confidence=confidence) for difference in differences]
    order = {"search": 0, "confirm": 1}
    shown = tuple(sorted(differences, key=lambda difference: order[difference.stage]))
    sets = {difference.rate for difference in shown if difference.stage == "search"}
    changed = _changed_utterances(before, after, sets)
    return Pair(before, after, shown, refused, uncomputed, changed)


def _shared_rates(one: Scores, other: Scores) -> list[str]:
    return [rate for rate in one.sets if rate in other.sets]


def _differing_fields(
    one: Stage, other: Stage
) -> tuple[dict[str, tuple[str, str]], dict[str, dict[str, tuple[str, str]]]]:
    """Return the fields of the two evaluations that differ, with both values: those that concern
    all sets, and, by set, those that concern one alone.

    A set that only one side has does not count as a difference, because it is not compared.
    """
    if one.scores.fingerprint == other.scores.fingerprint:
        return {}, {}
    if not one.parts or not other.parts:
        return {"fingerprint": (one.scores.fingerprint[:12], other.scores.fingerprint[:12])}, {}
    of_all: dict[str, tuple[str, str]] = {}
    of_set: dict[str, dict[str, tuple[str, str]]] = {}
    for field in dict.fromkeys((*one.parts, *other.parts)):
        values = one.parts.get(field, "-"), other.parts.get(field, "-")
        name, _, what = field.rpartition(".")
        if values[0] == values[1]:
            continue
        if what in ("audio", "text") and name:
            of_set.setdefault(name, {})[field] = values
        else:
            of_all[field] = values
    return of_all, of_set


def _paired_difference(
    stage: str, rate: str, before: Side, after: Side, resamples: int
) -> Difference | None:
    one, other = (side.stages[stage].scores.sets[rate] for side in (before, after))
    one, other = _equal_decodings(one, other)
    found = estimate(one, other, resamples=resamples, seed=before.spec.seed)
    if found is None or one.rate is None or other.rate is None:
        return None
    return Difference(stage, rate, one.rate, other.rate, found)


def _equal_decodings(one: SetScore, other: SetScore) -> tuple[SetScore, SetScore]:
    """Repeat the counts of both to equally many decodings: of three seeds and two, six of each."""
    decodings = math.lcm(one.decodings, other.decodings)
    return _repeat_counts(one, decodings), _repeat_counts(other, decodings)


def _repeat_counts(score: SetScore, decodings: int) -> SetScore:
    times = decodings // score.decodings
    errors = tuple(times * count for count in score.errors)
    units = tuple(times * count for count in score.units)
    return replace(score, errors=errors, units=units, decodings=decodings)


def _changed_utterances(before: Side, after: Side, sets: set[str]) -> tuple[ChangedUtterance, ...]:
    """Return the utterances that the two transcribed differently, the largest change in errors
    first, whether they became better or worse.
    """
    found = [row for name in sorted(sets) for row in _changed_of(before, after, name)]
    return tuple(
        sorted(found, key=lambda utterance: -abs(utterance.errors[1] - utterance.errors[0]))
    )


def _changed_of(before: Side, after: Side, name: str) -> list[ChangedUtterance]:
    """Return the utterances of one set that the two transcribed differently; none where a side has
    no measurement or no transcripts of it.
    """
    rows = [chosen_measurement(side.folder, side.result) for side in (before, after)]
    if any(row is None or name not in row.sets for row in rows):
        return []
    hypotheses = [
        side.folder.read_hypotheses(side.result.number, row).get(name, ())
        for side, row in zip((before, after), rows, strict=True)
        if row is not None
    ]
    measured = [row.sets[name] for row in rows if row is not None]
    total = len(measured[0].utterance_ids)
    if any(len(texts) != total for texts in hypotheses):
        return []
    record = before.folder.sets().get(name)
    references = record.texts if record and len(record.texts) == total else ("",) * total
    return [
        ChangedUtterance(name, utterance, speaker, errors, texts, reference)
        for utterance, speaker, errors, texts, reference in zip(
            measured[0].utterance_ids,
            measured[0].speakers,
            zip(measured[0].errors, measured[1].errors, strict=True),
            zip(*hypotheses, strict=True),
            references,
            strict=True,
        )
        if errors[0] != errors[1] or texts[0] != texts[1]
    ]


def _nothing_shared(before: Side, after: Side, refused: Refused) -> str:
    head = (
        f"{before.label} and {after.label} have no set that both were evaluated on alike, "
        "so no number of one can be compared with one of the other."
    )
    fields = {field: values for of_set in refused.values() for field, values in of_set.items()}
    if not fields:
        return f"{head}\n  They have no set of the same name."
    rows = "".join(
        f"\n  {field}: {_short_digest(one)} in {before.label}, {_short_digest(other)} in {after.label}"
        for field, (one, other) in fields.items()
    )
    advice = "Measure both alike (sets, model, device, versions), in a new study: --fork NAME."
    return f"{head}\nWhat differs in the evaluation:{rows}\n  {advice}"


def _short_digest(value: str) -> str:
    """Return the first digits of a SHA-256 digest, and any other value as it is."""
    return value[:12] if len(value) == 64 else value
