"""The transcripts of every evaluated set, by each model, aligned with the references."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from orchestrator.records.results import Measurement, SetMeasurement, TrialResult
from orchestrator.records.store import StudyFolder
from orchestrator.scoring.alignment import EQUAL, Changed, Utterance, align, word_changes
from orchestrator.scoring.normalizers import normalizer
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.conclusion import Conclusion, chosen_measurement

BASELINE = "baseline"
_MODELS_HELD = 4
"""Number of models whose transcripts are kept in memory."""
SHOWN = 15
"""Most rows of a list of words, confusions, speakers or lengths."""

Row = list[Any]
"""The normalised hypothesis, the letters of its alignment, and the hypothesis as it was decoded, or
0 where that is the same.
"""


@dataclass(frozen=True)
class Model:
    """The untuned model, a trial, or one seed of a confirmation, with the measurement that is shown
    for it.
    """

    key: str
    """baseline, 7 for a trial, -2 for a confirmation run."""
    label: str
    measurement: Measurement


@dataclass(frozen=True)
class UtteranceSet:
    """One evaluated set: its references, and the models that were measured on it, the untuned one
    first.
    """

    name: str
    measured: SetMeasurement
    """The measurement of the untuned model."""
    written: tuple[str, ...]
    """References as they were written; empty where the study does not keep them."""
    models: tuple[Model, ...]
    winner: str
    """Key of the model to show first."""
    _read: Callable[[str, str], Sequence[str]] = field(repr=False, compare=False)
    _normalize: Callable[[str], str] = field(repr=False, compare=False)

    @cached_property
    def references(self) -> list[tuple[str, ...]]:
        """The references as normalised words."""
        return [self._normalised_words(text) for text in self.written]

    @cached_property
    def baseline(self) -> list[tuple[str, ...]]:
        """The hypotheses of the untuned model as normalised words."""
        return self._normalised_hypotheses(BASELINE)

    def has_texts(self, key: str) -> bool:
        """Whether the model's hypotheses of the set are on file."""
        return len(self._read(key, self.name)) == len(self.measured.utterance_ids)

    def rows(self, key: str, kept: Sequence[int] | None = None) -> list[Row]:
        """Return a model's rows, for all utterances or for those in `kept`."""
        texts = self._read(key, self.name)
        wanted = range(len(texts)) if kept is None else kept
        return [self._row_of(texts[row], self.references[row]) for row in wanted]

    def _row_of(self, text: str, reference: tuple[str, ...]) -> Row:
        words = self._normalised_words(text)
        heard = " ".join(words)
        return [heard, align(reference, words), 0 if heard == text else text]

    def errors(self, key: str) -> tuple[int, ...]:
        """Return the word errors of each utterance as they were counted when it was measured."""
        return self._model_of(key).measurement.sets[self.name].errors

    def is_counted(self, key: str) -> bool:
        """Whether aligning the hypotheses now gives the errors that were counted at the
        measurement. It does not where the normaliser has changed since.
        """
        heard = self._normalised_hypotheses(key)
        pairs = zip(self.references, heard, self.errors(key), strict=True)
        return all(_count_errors(reference, words) == errors for reference, words, errors in pairs)

    def summary(self, key: str) -> dict[str, Any]:
        """Return how the errors changed from the untuned model to this one: by word, confusion,
        speaker and length.
        """
        after = self._normalised_hypotheses(key)
        speakers = self.measured.speakers
        columns = zip(speakers, self.references, self.baseline, after, strict=True)
        found = word_changes(Utterance(*column) for column in columns)
        named = any(speakers)
        return {
            "better": _first_groups([word for word in found.words if word.change < 0]),
            "worse": _first_groups([word for word in found.words if word.change > 0]),
            "confusions": _first_groups(found.confusions),
            "speakers": _first_groups(found.speakers) if named else [],
            "lengths": _first_groups(found.lengths),
        }

    def _model_of(self, key: str) -> Model:
        return next(model for model in self.models if model.key == key)

    def _normalised_hypotheses(self, key: str) -> list[tuple[str, ...]]:
        return [self._normalised_words(text) for text in self._read(key, self.name)]

    def _normalised_words(self, text: str) -> tuple[str, ...]:
        return tuple(self._normalize(text).split())


def _count_errors(reference: tuple[str, ...], words: tuple[str, ...]) -> int:
    letters = align(reference, words)
    return len(letters) - letters.count(EQUAL)


def _first_groups(groups: Sequence[Changed]) -> list[list[Any]]:
    return [[group.name, group.words, group.before, group.after] for group in groups[:SHOWN]]


def utterance_sets(
    spec: SweepSpec, folder: StudyFolder, conclusion: Conclusion
) -> Iterator[UtteranceSet]:
    """Yield the confirm sets where the study has a confirmation, then those of the search.

    A set is left out where its references or the untuned model's hypotheses are not on file.
    """
    for models, winner in (
        (_confirm_models(folder, conclusion), _winning_run(conclusion)),
        (_search_models(folder, conclusion), _winning_trial(conclusion)),
    ):
        if not models:
            continue
        read = _hypotheses_reader(folder, models)
        for name in models[0].measurement.sets:
            yield from _utterance_sets(spec, folder, name, models, winner, read)


Reader = Callable[[str, str], Sequence[str]]
"""Returns the hypotheses of a model, by its key, on a set, by its name; empty where they are not on
file.
"""


def _hypotheses_reader(folder: StudyFolder, models: Sequence[Model]) -> Reader:
    measurements = {model.key: model.measurement for model in models}

    @lru_cache(maxsize=_MODELS_HELD)  # one file holds all sets, which are requested one by one
    def hypotheses_of(key: str) -> Mapping[str, Sequence[str]]:
        if key == BASELINE:
            return folder.read_baseline_hypotheses(measurements[key])
        return folder.read_hypotheses(int(key), measurements[key])

    return lambda key, name: hypotheses_of(key).get(name, ())


def _utterance_sets(
    spec: SweepSpec,
    folder: StudyFolder,
    name: str,
    models: Sequence[Model],
    winner: str,
    read: Reader,
) -> Iterator[UtteranceSet]:
    measured = models[0].measurement.sets[name]
    record = folder.sets().get(name)
    written = record.texts if record else ()
    total = len(measured.utterance_ids)
    if len(written) != total or len(read(BASELINE, name)) != total:
        return
    own = [model for model in models if _has_measured(model, name, measured)]
    keys = [model.key for model in own]
    first = (winner, *reversed(keys)) if winner in keys else reversed(keys)
    shown = next(key for key in first if len(read(key, name)) == total)
    normalize = normalizer(spec.evaluation.normalizer)
    yield UtteranceSet(name, measured, written, tuple(own), shown, read, normalize)


def _has_measured(model: Model, name: str, measured: SetMeasurement) -> bool:
    # equal words stand for equal utterances, as in `judge`; ids follow the paths of a manifest, which
    # may be written in another form while a study goes on
    own = model.measurement.sets.get(name)
    return own is not None and own.reference_words == measured.reference_words


def _search_models(folder: StudyFolder, conclusion: Conclusion) -> list[Model]:
    if conclusion.baseline is None:
        return []
    best = conclusion.best.number if conclusion.best else None
    models = [Model(BASELINE, "untuned model", conclusion.baseline)]
    for result in conclusion.results:
        measurement = _own_measurement(folder, result, conclusion.baseline)
        if measurement is not None:
            place = f"trial {result.number}" + (
                ", the winner" if result.number == best else f", {result.state}"
            )
            models.append(Model(str(result.number), place, measurement))
    return models


def _own_measurement(
    folder: StudyFolder, result: TrialResult, baseline: Measurement
) -> Measurement | None:
    """Return the measurement that the trial's result is based on; None for a duplicate, which has
    none of its own, and where it was evaluated differently from the baseline.
    """
    found = chosen_measurement(folder, result) if result.duplicate_of is None else None
    return found if found is not None and found.fingerprint == baseline.fingerprint else None


def _confirm_models(folder: StudyFolder, conclusion: Conclusion) -> list[Model]:
    baseline = conclusion.confirm_baseline
    if baseline is None:
        return []
    models = [Model(BASELINE, "untuned model", baseline)]
    for finalist in conclusion.confirmed:
        for seed in finalist.seeds:
            measurement = _own_measurement(folder, seed.result, baseline) if seed.result else None
            if measurement is not None:
                which = ", the winner" if finalist is conclusion.confirmation else ""
                label = f"trial {finalist.trial}{which}, seed {seed.run.seed}"
                models.append(Model(str(seed.run.number), label, measurement))
    return models


def _winning_trial(conclusion: Conclusion) -> str:
    shown = conclusion.best or conclusion.lowest_domain
    return str(shown.number) if shown else ""


def _winning_run(conclusion: Conclusion) -> str:
    """Return the key of the first measured seed of the best trial; empty where there is none."""
    seeds = conclusion.confirmation.seeds if conclusion.confirmation else ()
    return next((str(seed.run.number) for seed in seeds if seed.verdict), "")
