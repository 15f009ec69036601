"""One evaluation, the same for the baseline and for every trial: decode, normalise, count."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from orchestrator.records.results import SetMeasurement
from orchestrator.sweepfile.sweep import EvaluationSpec
from orchestrator.tuning.decoding.evaluation_fingerprint import fingerprint_parts
from orchestrator.tuning.decoding.evaluation_set import EvaluationSet
from orchestrator.tuning.decoding.greedy_decoding import Decoded, ScaledAdapter, transcribe
from orchestrator.tuning.model.base_model import BaseModel
from orchestrator.tuning.model.encoder_cache import EncoderCache


@dataclass
class Evaluator:
    """Decodes the sets of a sweep with one base model; `evaluation` says everything that a number
    depends on.
    """

    base: BaseModel
    store: EncoderCache
    sets: dict[str, EvaluationSet]
    """By the names that measurements use."""
    spec: EvaluationSpec
    division: int = 1
    """So many times smaller batches, where memory is short; no number depends on it."""

    @cached_property
    def evaluation(self) -> dict[str, str]:
        """The parts of the evaluation fingerprint."""
        return fingerprint_parts(self.base, self.sets, self.spec)

    @cached_property
    def baseline(self) -> dict[str, Decoded]:
        """What the untuned model hears, each utterance drafted by what was said; also the draft that a
        trial's first decode starts from.
        """
        return {
            name: transcribe(
                self.base,
                self.store,
                name,
                evaluation_set.max_new_tokens,
                (),
                [self._tokens(evaluation_set.clips.texts)],
                self.division,
            )[0]
            for name, evaluation_set in self.sets.items()
        }

    def measure(
        self,
        scaled_adapters: Sequence[ScaledAdapter],
        names: Collection[str] | None = None,
        said_before: Sequence[Mapping[str, Sequence[str]]] = (),
    ) -> list[tuple[dict[str, SetMeasurement], dict[str, tuple[str, ...]]]]:
        """Per adapter, edit counts and raw hypotheses by set; those that enter at one encoder layer
        belong together.

        Of the sets in `names`, or of all. `said_before`: per adapter, the raw hypotheses by set of
        one that is like it, where there is one; they spare time and change no word.
        """
        before = said_before or [{}] * len(scaled_adapters)
        results: list[tuple[dict[str, SetMeasurement], dict[str, tuple[str, ...]]]] = [
            ({}, {}) for _ in scaled_adapters
        ]
        for name, evaluation_set in self.sets.items():
            if names is not None and name not in names:
                continue
            drafts = [self._draft(name, said.get(name)) for said in before]
            for decoded, result in zip(
                transcribe(
                    self.base,
                    self.store,
                    name,
                    evaluation_set.max_new_tokens,
                    scaled_adapters,
                    drafts,
                    self.division,
                ),
                results,
                strict=True,
            ):
                self._add_set(name, decoded, result)
        return results

    def _draft(self, name: str, said: Sequence[str] | None) -> Sequence[Sequence[int]]:
        """The tokens that the clips of a set are expected to give."""
        return self.baseline[name].tokens if said is None else self._tokens(said)

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        tokens: list[list[int]] = self.base.tokenizer(
            list(texts), add_special_tokens=False
        ).input_ids
        return tokens

    def measure_baseline(self) -> tuple[dict[str, SetMeasurement], dict[str, tuple[str, ...]]]:
        """The untuned model's edit counts and raw hypotheses by set."""
        result: tuple[dict[str, SetMeasurement], dict[str, tuple[str, ...]]] = ({}, {})
        for name, decoded in self.baseline.items():
            self._add_set(name, decoded, result)
        return result

    def _add_set(
        self,
        name: str,
        decoded: Decoded,
        result: tuple[dict[str, SetMeasurement], dict[str, tuple[str, ...]]],
    ) -> None:
        texts = tuple(self.base.text(tokens) for tokens in decoded.tokens)
        result[0][name] = self.sets[name].score(texts, decoded)
        result[1][name] = texts
