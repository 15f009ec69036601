"""The evaluation, the same for the baseline and for every trial: decode, normalise, count."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from orchestrator.records.results import SetMeasurement
from orchestrator.sweepfile.evaluation import EvaluationSpec
from orchestrator.tuning.decoding.evaluation_fingerprint import fingerprint_parts
from orchestrator.tuning.decoding.evaluation_set import EvaluationSet
from orchestrator.tuning.decoding.greedy_decoding import Decoded, ScaledAdapter, transcribe
from orchestrator.tuning.model.base_model import BaseModel
from orchestrator.tuning.model.encoder_cache import EncoderCache


@dataclass
class Evaluator:
    """Measures the sets of a sweep with one base model. `evaluation` holds everything that a
    measured number depends on.
    """

    base: BaseModel
    store: EncoderCache
    sets: dict[str, EvaluationSet]
    """The sets by the names that measurements use."""
    spec: EvaluationSpec
    division: int = 1
    """How many times smaller batches are, where memory is short; no number depends on it."""

    @cached_property
    def evaluation(self) -> dict[str, str]:
        """The parts of the evaluation fingerprint."""
        return fingerprint_parts(self.base, self.sets, self.spec)

    @cached_property
    def baseline(self) -> dict[str, Decoded]:
        """What the untuned model hears in every set. The references are its drafts, and it is
        itself the draft of each trial's first evaluation.
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
        """Return for each adapter its edit counts and its raw hypotheses by set.

        It measures the sets in `names`, or all. `said_before` holds for each adapter the raw
        hypotheses by set of a similar one, if any: they are drafts, which save time and change no
        word. Adapters of one entry depth should be measured together, for all enter the encoder at
        the lowest layer that any of them adapts.
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
        """Return the drafts of the clips of a set: the tokens of `said`, else the baseline's."""
        return self.baseline[name].tokens if said is None else self._tokens(said)

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        tokens: list[list[int]] = self.base.tokenizer(
            list(texts), add_special_tokens=False
        ).input_ids
        return tokens

    def measure_baseline(self) -> tuple[dict[str, SetMeasurement], dict[str, tuple[str, ...]]]:
        """Return the untuned model's edit counts and raw hypotheses by set."""
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
