"""How a sweep measures: the `evaluation` section of its file as frozen values, and the precision in
which it computes. No I/O, no torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_serializer

from orchestrator.sweepfile.data import relative_to
from orchestrator.sweepfile.frozen import Frozen

EncoderWindows = Literal["stock", "inclusive"]
Precision = Literal["fp32", "bf16"]


class Precisions(Frozen):
    """The precision of the search, and of what the verdict rests on. In a sweep file, and in every
    file of a study, one word stands for both where they are equal.
    """

    search: Precision = "fp32"
    """Of the search: its trials, their evaluations and the baseline that these are compared with.
    """
    verdict: Precision = "fp32"
    """Of the confirmation: its runs, their evaluations and the baseline on the confirm sets."""

    @model_serializer
    def _as_written(self) -> str | dict[str, str]:
        if self.search == self.verdict:
            return self.search
        return {"search": self.search, "verdict": self.verdict}


def both_precisions(value: object) -> object:
    """Expand the short form of Precisions: bf16 to {search: bf16, verdict: bf16}. Raises ValueError
    for what is neither a mapping nor one of the words.
    """
    if value in get_args(Precision):
        return {"search": value, "verdict": value}
    if isinstance(value, (dict, Precisions)):
        return value
    raise ValueError(
        "fp32 or bf16, or a mapping that says one of them of `search` and of `verdict`"
    )


class EvaluationSpec(Frozen):
    """How and how often the model is evaluated, and in which precision it computes."""

    rms: float | None = Field(default=0.075, gt=0, lt=1)
    """Root mean square to which each clip is scaled before it is padded; null leaves clips as they
    are.
    """
    normalizer: Literal["whisper-en", "basic", "none"] = "whisper-en"
    """What counts as a word: by OpenAI's rules for English, by rules for any language, or whatever
    stands between spaces.
    """
    max_tokens_per_second: float = Field(default=6.5, gt=0, le=1000)
    """The decoding of a clip stops after floor(this * seconds) + 2 tokens."""
    max_seconds: float | None = Field(default=None, gt=0)
    """Evaluation utterances that last longer, in seconds, are left out, counted and reported; null
    measures all of them.
    """
    encoder_windows: EncoderWindows = "stock"
    """How the window widths of a streaming encoder are read, in training and evaluation alike:
    `stock` as the installed transformers does, `inclusive` with both ends inclusive, as the runtime
    of the model's authors does.
    """
    terms: Path | None = None
    """File with words or phrases that matter, one a line. Their recall and precision are measured
    on the domain set. Null: none are measured.
    """
    every: int = Field(default=100, ge=1)
    """Optimizer steps between two evaluations of a trial."""
    precision: Annotated[Precisions, BeforeValidator(both_precisions)] = (
        Precisions.model_construct()
    )
    """bf16: products are computed in bfloat16 by autocast, in training, baseline and evaluation
    alike, while adapters and optimizer stay in fp32. A rate of one precision is never compared with
    one of the other. {search: bf16, verdict: fp32} searches in bfloat16 and confirms in float32.
    """
    training_precision: Precision | None = None
    """Precision of training alone: every rate is still measured in `precision`. bf16 is faster if
    the hardware and the model's size allow it, else slower. Null: training has `precision` too.
    """

    @field_validator("training_precision")
    @classmethod
    def _one_way_to_say_it(cls, value: str | None, info: ValidationInfo) -> str | None:
        """Drop the field where it is what `precision` says of every part: both ways of writing it
        are one experiment.
        """
        precision = info.data.get("precision")
        everywhere = precision and {precision.search, precision.verdict} == {value}
        return None if everywhere else value

    @property
    def of_verdict(self) -> EvaluationSpec:
        """The same evaluation in the precision of the verdict alone, as the confirmation does it.
        It equals this one where the sweep has one precision.
        """
        verdict = self.precision.verdict
        whole = Precisions(search=verdict, verdict=verdict)
        training = None if self.training_precision == verdict else self.training_precision
        return self.model_copy(update={"precision": whole, "training_precision": training})

    def relative_to(self, root: Path) -> EvaluationSpec:
        """Return a copy whose paths are relative to `root`."""
        terms = None if self.terms is None else relative_to(self.terms, root)
        return self.model_copy(update={"terms": terms})
