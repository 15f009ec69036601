"""The values that a study remembers: measurements and trial results."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

from orchestrator.scoring.edit_counts import error_rate
from orchestrator.sweepfile.digest import digest


def encodable(text: str) -> str:
    """Return text with escapes for the bytes of a path that are no text, which JSON cannot hold."""
    return text.encode(errors="backslashreplace").decode()


Told = Annotated[str, AfterValidator(encodable)]
"""What an error, a finding or a person says, which may name any path."""


class Value(BaseModel):
    """Base of everything written under `studies/`: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class TermCounts(Value):
    """How often the listed terms were said and heard: one count per utterance, in manifest
    order.
    """

    said: tuple[int, ...]
    """Occurrences in the reference."""
    heard: tuple[int, ...]
    """Occurrences in the hypothesis."""
    found: tuple[int, ...]
    """Occurrences in both: the sum over terms of the smaller of the two counts."""


class SetMeasurement(Value):
    """One decoding of one manifest: integer edit counts per utterance, in manifest order."""

    manifest_sha256: str
    utterance_ids: tuple[str, ...]
    speakers: tuple[str, ...]
    """Speaker of each utterance; an empty string where the manifest names none."""
    substitutions: tuple[int, ...]
    deletions: tuple[int, ...]
    insertions: tuple[int, ...]
    reference_words: tuple[int, ...]
    character_errors: tuple[int, ...] = ()
    """Edits between the normalised texts as strings, spaces included."""
    characters: tuple[int, ...] = ()
    """Characters of each normalised reference; empty, like the errors, where they were not
    counted.
    """
    terms: TermCounts | None = None
    """Counts of the listed terms, where the sweep lists some and this is a domain set."""
    cap_hits: int = 0
    """Utterances whose decode reached its token cap without an end token."""
    loops: int = 0
    """Hypotheses that end in a repeated n-gram."""

    @model_validator(mode="after")
    def _same_length(self) -> SetMeasurement:
        optional = [name for name in ("character_errors", "characters") if getattr(self, name)]
        lengths = {len(getattr(self, name)) for name in (*_PER_UTTERANCE, *optional)}
        if len(lengths) != 1 or not sum(self.reference_words):
            raise ValueError("edit counts must cover the same non-empty utterances")
        return self

    @property
    def errors(self) -> tuple[int, ...]:
        """Word errors of each utterance."""
        return tuple(
            map(sum, zip(self.substitutions, self.deletions, self.insertions, strict=True))
        )

    @property
    def wer(self) -> float:
        """Corpus word error rate in percent: all errors over all reference words."""
        return error_rate(self.errors, self.reference_words)


_PER_UTTERANCE = (
    "utterance_ids",
    "speakers",
    "substitutions",
    "deletions",
    "insertions",
    "reference_words",
)
"""The fields that have one value per utterance."""


class Measurement(Value):
    """One evaluation of one adapter (or of the untuned base) on the sets of a sweep."""

    trial: int | None
    """Number of the trial; None for the baseline."""
    step: int
    adapter_scale: float
    fingerprint: str
    """Digest of the evaluation; numbers of different fingerprints are never compared."""
    train_loss: float | None = None
    """Mean training loss per token since the rung before."""
    sets: dict[str, SetMeasurement]
    """Keys: domain, heldout and the names of further sets; in a confirmation run each begins with
    confirm_, such as confirm_domain.
    """


class SetRecord(Value):
    """Which lines of which manifest form one set of a study, and what they hold."""

    manifest: str
    """Path of the manifest, relative to the project's folder where it lies below it."""
    sha256: str
    """Digest of the manifest's bytes."""
    part: str
    """The part of a split that it is, in words; empty for the whole file."""
    lines: tuple[int, ...]
    """Line numbers in the file, from 1."""
    audio_sha256: tuple[str, ...]
    """Digest of the decoded samples of each line: equal for equal sound, whatever file it is in."""
    text_sha256: tuple[str, ...]
    """First 16 digits of the digest of transcript and speaker of each line."""
    texts: tuple[str, ...] = ()
    """The references of an evaluation set, so that a report can show them even when the manifest
    has moved or changed.
    """

    @property
    def content(self) -> str:
        """The set's identity: a digest of sound, transcripts and speakers, independent of where
        they lie.
        """
        return digest({"audio": self.audio_sha256, "text": self.text_sha256})


class TrialState(StrEnum):
    """The states that a trial may have, by Optuna's names."""

    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAIL = "FAIL"


class TrialResult(Value):
    """How one trial ended. Written last into its folder, so its existence means done."""

    number: int
    state: TrialState
    reason: Told
    """Why it ended so, in words a person reads in the report."""
    params: dict[str, Any]
    """The searched values, as Optuna holds them; of a confirmation run its finalist (trial) and seed.
    """
    feasible: bool
    """Every declared guardrail was measured, is finite, and holds by the literal point rule."""
    step: int | None
    """Step of the best measurement; None when nothing was measured."""
    adapter_scale: float | None
    wer: dict[str, float]
    """Every rate of the best measurement in percent, by name; empty when nothing was measured."""
    delta: dict[str, float]
    """Points against the baseline, same keys; negative is better."""
    constraints: dict[str, float]
    """How far each guardrail metric is beyond its limit, by Optuna's convention: <= 0 is
    feasible.
    """
    steps_trained: int
    """Number of optimizer steps that it trained; 0 for a duplicate."""
    duplicate_of: int | None = None
    """The trial of the same recipe whose result this one took over."""
    pruned_by: str | None = None
    """Which rule ended it early: guardrail:heldout_wer:proven or :point (proven broken at a rung,
    or broken by the measured number), median, asha, ratio, wall_clock, person."""
    seconds: float = 0.0
    """Seconds that the trial held a slot."""

    @property
    def trained(self) -> int:
        """Number of the trial that was actually trained for this result: for a duplicate, its
        original.
        """
        return self.number if self.duplicate_of is None else self.duplicate_of
