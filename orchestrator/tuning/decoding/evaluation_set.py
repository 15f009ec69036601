"""A set that WER is measured on, ready to be decoded, and how its errors are counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from orchestrator.corpus.cache.clips import Clips
from orchestrator.corpus.manifests.manifest import Manifest
from orchestrator.records.readiness.model_limits import token_caps
from orchestrator.records.readiness.reading_sets import decode_set
from orchestrator.records.readiness.terms import read_terms
from orchestrator.records.results import SetMeasurement, TermCounts
from orchestrator.records.short_run import spread_rows
from orchestrator.scoring.edit_counts import character_counts, check_with_jiwer, edit_counts
from orchestrator.scoring.normalizers import has_loop, normalizer
from orchestrator.scoring.terms import Terms
from orchestrator.sweepfile.evaluation import EvaluationSpec
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.tuning.decoding.greedy_decoding import Decoded
from orchestrator.tuning.model.base_model import BaseModel


@dataclass(frozen=True)
class EvaluationSet:
    """A manifest ready to be decoded: clips, normalised references, token caps."""

    manifest: Manifest
    clips: Clips
    spec: EvaluationSpec
    terms: Terms | None = None
    """Words and phrases whose recognition is counted; None where the sweep names none."""

    @cached_property
    def references(self) -> list[str]:
        """The normalised references, in manifest order."""
        return [normalizer(self.spec.normalizer)(text) for text in self.clips.texts]

    @cached_property
    def max_new_tokens(self) -> list[int]:
        """The most tokens each clip may give."""
        return token_caps(self.clips.seconds, self.spec.max_tokens_per_second)

    def take(self, rows: Sequence[int]) -> EvaluationSet:
        """Return a set of these utterances alone. Its audio, and so its fingerprint, is another."""
        return replace(self, clips=self.clips.take(rows))

    def spread(self, count: int) -> EvaluationSet:
        """Return a set of at most `count` utterances, spread over the whole set."""
        return self.take(spread_rows(len(self.clips), count)) if count < len(self.clips) else self

    def _term_counts(self, hypotheses: Sequence[str]) -> TermCounts | None:
        if self.terms is None:
            return None
        rows = [self.terms.count(*pair) for pair in zip(self.references, hypotheses, strict=True)]
        said, found_of, found = (tuple(column) for column in zip(*rows, strict=True))
        return TermCounts(said=said, heard=found_of, found=found)

    def score(self, texts: Sequence[str], decoded: Decoded) -> SetMeasurement:
        """Count the errors of raw hypotheses `texts`, which `decoded` gave."""
        hypotheses = [normalizer(self.spec.normalizer)(text) for text in texts]
        counts = edit_counts(self.references, hypotheses)
        check_with_jiwer(self.references, hypotheses, counts)
        character_errors, characters = character_counts(self.references, hypotheses)
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
            terms=self._term_counts(hypotheses),
            cap_hits=sum(decoded.truncated),
            loops=sum(has_loop(text.split()) for text in hypotheses),
        )


def load_evaluation_set(
    sweep: SweepSpec, name: str, manifest: Manifest, base: BaseModel, cache: Path
) -> EvaluationSet:
    """Decode the audio of an evaluation set's manifest. Raises ManifestError. Terms are counted on
    the domain set alone.
    """
    spec = sweep.evaluation
    manifest, clips = decode_set(sweep, name, manifest, cache, base.family.shortest)
    terms = (
        read_terms(spec.terms, normalizer(spec.normalizer))
        if spec.terms and name == "domain"
        else None
    )
    return EvaluationSet(manifest, clips, spec, terms)
