"""One evaluation, the same for the baseline and for every trial: decode, normalise, count."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
import transformers

from orchestrator.corpus.clips import Clips
from orchestrator.corpus.manifest import Manifest
from orchestrator.records.model_limits import token_caps
from orchestrator.records.results import SetMeasurement, TermCounts
from orchestrator.records.sets import decode_set, read_evaluation_set
from orchestrator.records.short_run import spread_rows
from orchestrator.records.terms import read_terms
from orchestrator.scoring.terms import Terms
from orchestrator.scoring.text import has_loop, normalizer, normalizer_version
from orchestrator.scoring.wer import character_counts, check_with_jiwer, edit_counts
from orchestrator.sweepfile.data import SetSource
from orchestrator.sweepfile.digest import FORMAT, digest
from orchestrator.sweepfile.sweep import EvaluationSpec, SweepSpec
from orchestrator.tuning.decoding.greedy_decoding import Decoded, ScaledAdapter, transcribe
from orchestrator.tuning.model.base_model import BaseModel
from orchestrator.tuning.model.encoder_cache import EncoderCache
from orchestrator.tuning.model.windows import windows_text


@dataclass(frozen=True)
class EvaluationSet:
    """A manifest ready to be decoded: clips, normalised references, token caps."""

    manifest: Manifest
    clips: Clips
    spec: EvaluationSpec
    terms: Terms | None = None
    """Words and phrases to be counted."""

    @cached_property
    def references(self) -> list[str]:
        """Normalised references, in manifest order."""
        return [normalizer(self.spec.normalizer)(text) for text in self.clips.texts]

    @cached_property
    def max_new_tokens(self) -> list[int]:
        """The most tokens each clip may give."""
        return token_caps(self.clips.seconds, self.spec.max_tokens_per_second)

    def take(self, rows: Sequence[int]) -> EvaluationSet:
        """The set with these utterances alone; its audio, and so its fingerprint, is another."""
        return replace(self, clips=self.clips.take(rows))

    def spread(self, count: int) -> EvaluationSet:
        """At most `count` utterances, spread over the whole set."""
        return self.take(spread_rows(len(self.clips), count)) if count < len(self.clips) else self

    def _term_counts(self, heard: Sequence[str]) -> TermCounts | None:
        if self.terms is None:
            return None
        rows = [self.terms.count(*pair) for pair in zip(self.references, heard, strict=True)]
        said, found_of, found = (tuple(column) for column in zip(*rows, strict=True))
        return TermCounts(said=said, heard=found_of, found=found)

    def score(self, texts: Sequence[str], decoded: Decoded) -> SetMeasurement:
        """Edit counts of raw hypotheses `texts`."""
        heard = [normalizer(self.spec.normalizer)(text) for text in texts]
        counts = edit_counts(self.references, heard)
        check_with_jiwer(self.references, heard, counts)
        character_errors, characters = character_counts(self.references, heard)
        return SetMeasurement(
            manifest_sha256=self.manifest.sha256,
            utterance_ids=self.clips.ids,
            speakers=self.clips.speakers,
            substitutions=counts.substitutions,
            deletions=counts.deletions,
            insertions=counts.insertions,
            reference_words=counts.reference_words,
            character_errors=character_errors,
            characters=characters,
            terms=self._term_counts(heard),
            cap_hits=sum(decoded.truncated),
            loops=sum(has_loop(text.split()) for text in heard),
        )


def load_evaluation_set(
    sweep: SweepSpec, name: str, source: SetSource, base: BaseModel, cache: Path
) -> EvaluationSet:
    """Read and decode an evaluation manifest; raises ManifestError."""
    spec = sweep.evaluation
    manifest, clips = decode_set(
        sweep, name, read_evaluation_set(sweep, source, cache), cache, base.family.shortest
    )
    terms = (
        read_terms(spec.terms, normalizer(spec.normalizer))
        if spec.terms and name == "domain"
        else None
    )
    return EvaluationSet(manifest, clips, spec, terms)


@dataclass
class Evaluator:
    """Decodes the sets of a sweep with one base model; `evaluation` says everything that a number
    depends on.

    Contents and settings only: no path, no name and no sentence, so that a moved or reworded
    project stays the same. What the code itself does (16 kHz mono, masks from true lengths) is the
    format's number.
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
        spec = self.spec
        parts = {
            f"{name}.audio": evaluation_set.clips.content_sha256
            for name, evaluation_set in self.sets.items()
        }
        parts |= {
            f"{name}.text": digest(evaluation_set.clips.text_sha256)
            for name, evaluation_set in self.sets.items()
        }
        # a number of before there was a choice is one of torch's own kernel
        kernel = self.base.products.name
        parts |= {"kernel": kernel} if kernel != "aten" else {}
        return parts | {
            "format": str(FORMAT),
            "rms": str(spec.rms),
            "normalizer": normalizer_version(spec.normalizer),
            "decode": "greedy",
            "max_seconds": "none" if spec.max_seconds is None else f"{spec.max_seconds:g}",
            "terms": digest(
                [
                    evaluation_set.terms.phrases
                    for evaluation_set in self.sets.values()
                    if evaluation_set.terms is not None
                ]
            ),
            "max_tokens_per_second": f"{spec.max_tokens_per_second:g}",
            "encoder_windows": windows_text(self.base.family.windows),
            "weights": self.base.weights_sha256,
            "dtype": str(self.base.model.dtype).removeprefix("torch."),
            "precision": spec.precision,
            "device": self.base.device.type,
            "torch": torch.__version__.partition("+")[0],
            "transformers": transformers.__version__,
        }

    @cached_property
    def baseline(self) -> dict[str, Decoded]:
        """What the untuned model hears; also the draft that every trial's decode starts from."""
        return {
            name: transcribe(
                self.base,
                self.store,
                name,
                evaluation_set.max_new_tokens,
                (),
                division=self.division,
            )[0]
            for name, evaluation_set in self.sets.items()
        }

    def measure(
        self, scaled_adapters: Sequence[ScaledAdapter], names: Collection[str] | None = None
    ) -> list[tuple[dict[str, SetMeasurement], dict[str, tuple[str, ...]]]]:
        """Per adapter, edit counts and raw hypotheses by set; those that enter at one encoder layer
        belong together.

        Of the sets in `names`, or of all.
        """
        results: list[tuple[dict[str, SetMeasurement], dict[str, tuple[str, ...]]]] = [
            ({}, {}) for _ in scaled_adapters
        ]
        for name, evaluation_set in self.sets.items():
            if names is not None and name not in names:
                continue
            drafts = self.baseline[name].tokens
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
