"""The table of all checks of a sweep, by name: how bad a finding is, when the check is made, what
it means, and whether it may be ignored.

Code that finds a problem returns a `Finding` with a name of this table; a test holds
`docs/diagnose.md` to it. `checks.ignore` in the sweep file overrides refusals by name: an ignored
refusal stops nothing, but is written to the study's notes and listed as a caveat in its report.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["refuse", "warn"]
Stage = Literal["data", "model", "baseline", "comparison", "trial", "short run"]

Ignorable = Literal[
    "audio-overlap",
    "recording-overlap",
    "sentence-overlap",
    "speaker-overlap",
    "confirm-used",
    "confirm-unused",
    "duplicates",
    "upper-case",
    "not-english",
    "no-spaces",
    "text-artifacts",
    "too-few",
    "left-out",
    "bad-lines",
    "silent",
    "opposite-phase",
    "warmup",
    "dense-text",
    "label-length",
    "token-cap",
    "unknown-tokens",
    "targets",
    "label-ends",
    "label-alignment",
    "base-loss",
    "spelling",
    "attention-mask",
    "padding",
    "encoder-reuse",
    "adapter-reach",
    "decode",
    "dtype",
    "gain",
    "no-headroom",
    "low-headroom",
    "high-wer",
]
"""The names that `checks.ignore` in a sweep file accepts."""

STAGES: dict[Stage, str] = {
    "data": "before the model is loaded",
    "model": "when the model is loaded",
    "baseline": "once the baseline is measured",
    "comparison": "whenever two numbers are compared",
    "trial": "when the model is loaded, and of every trial at each measurement",
    "short run": "by `orchestrate diagnose --train`",
}


@dataclass(frozen=True)
class Check:
    """One row of the table: a check that a sweep makes."""

    name: str
    level: Level
    stage: Stage
    meaning: str
    fixed: str = ""
    """The reason why it cannot be ignored; empty where it can."""


@dataclass(frozen=True)
class Finding:
    """The result of a check that found something."""

    name: str
    """The name of a check in the table, or of a remark about all findings together."""
    level: Level
    message: str


_ROWS = (
    Check(
        "empty",
        "refuse",
        "data",
        "A set holds no utterance that can be used.",
        "there is nothing to measure",
    ),
    Check(
        "audio-overlap",
        "refuse",
        "data",
        "The same sound is in training and evaluation, in both training sets, or in two evaluation sets.",
    ),
    Check(
        "recording-overlap",
        "warn",
        "data",
        "Utterances of two sets are cut from the same recordings.",
    ),
    Check(
        "sentence-overlap", "warn", "data", "Sentences of an evaluation set are in training too."
    ),
    Check("speaker-overlap", "warn", "data", "Speakers of an evaluation set are in training too."),
    Check(
        "confirm-used",
        "warn",
        "data",
        "The search of an earlier study was measured on utterances of a confirm set.",
    ),
    Check("duplicates", "warn", "data", "A set holds the same sound more than once."),
    Check(
        "upper-case", "warn", "data", "More than 90 % of the references of a set are in capitals."
    ),
    Check(
        "no-spaces",
        "warn",
        "data",
        "The references of a set are written without spaces, and the sweep goes by a WER: it is one of sentences.",
    ),
    Check(
        "text-artifacts",
        "warn",
        "data",
        "Texts hold what is not said and counts: traces of programs, marks of corpora, notes alone.",
    ),
    Check(
        "confirm-unused",
        "warn",
        "data",
        "There are confirm sets and no confirmation: nothing is measured on them.",
    ),
    Check(
        "not-english",
        "warn",
        "data",
        "A fifth of the texts of a set has letters beyond English, and the normaliser is that for English.",
    ),
    Check("too-few", "warn", "data", "There are fewer than 200 training utterances."),
    Check(
        "left-out",
        "warn",
        "data",
        "Utterances are longer than `data.max_seconds`, `evaluation.max_seconds`, or the model can take.",
    ),
    Check("bad-lines", "warn", "data", "Lines of a training set are bad and skipped."),
    Check(
        "silent",
        "warn",
        "data",
        "Training clips are silent beside a text; they are left out of the training.",
    ),
    Check(
        "opposite-phase",
        "warn",
        "data",
        "Channels of a clip cancel each other when mixed; one of them is taken alone.",
    ),
    Check(
        "warmup",
        "warn",
        "data",
        "The warm-up of a trial may be as long as its training: its rate is never reached.",
    ),
    Check(
        "dense-text",
        "refuse",
        "data",
        "Texts have more characters than can be said in the time of their clip.",
    ),
    Check(
        "too-long",
        "refuse",
        "model",
        "Clips are longer than the model can take.",
        "the model cannot hear them",
    ),
    Check(
        "label-length",
        "refuse",
        "model",
        "Texts have more tokens than the decoder has positions, or than their clip has encoder frames.",
    ),
    Check(
        "too-short",
        "refuse",
        "model",
        "Clips are shorter than the model can take.",
        "the model cannot hear them",
    ),
    Check(
        "token-cap",
        "refuse",
        "model",
        "More than 1 % of the references of a set have more tokens than a decode may give.",
    ),
    Check(
        "unknown-tokens", "warn", "model", "Texts have characters that the tokenizer cannot write."
    ),
    Check(
        "targets",
        "refuse",
        "model",
        "A preset that a trial may use matches no module, or more than linear layers; or none in the trial's `layers`.",
    ),
    Check(
        "label-ends",
        "refuse",
        "model",
        "Labels lack the end token, hold it inside, or begin with the start token.",
    ),
    Check(
        "label-alignment",
        "refuse",
        "model",
        "The loss of a training step is not the stock model's loss on the same utterances: labels are shifted.",
    ),
    Check(
        "base-loss",
        "warn",
        "model",
        "The untuned model's loss on training speech is above 5 nats a token.",
    ),
    Check(
        "spelling",
        "warn",
        "model",
        "Training texts have capitals, digits or punctuation where the model writes none, or the other way round.",
    ),
    Check(
        "attention-mask",
        "refuse",
        "model",
        "The encoder sees what lies beyond a clip's end, or not the window that the stock model's mask gives it.",
    ),
    Check(
        "padding",
        "refuse",
        "model",
        "A clip alone and in a padded batch gives other frames or other words.",
    ),
    Check(
        "encoder-reuse",
        "refuse",
        "model",
        "Training or decoding changes encoder outputs that are used again.",
    ),
    Check(
        "adapter-reach",
        "refuse",
        "model",
        "A random adapter does not change what an evaluation computes, or changes it at adapter scale 0.",
    ),
    Check(
        "decode",
        "refuse",
        "model",
        "Decoded as a trial is, the untuned weights say other words than the baseline.",
    ),
    Check(
        "dtype",
        "refuse",
        "model",
        "The weights, the baseline and the trials do not compute in the same types, or a step in bfloat16 fails.",
    ),
    Check(
        "gain",
        "refuse",
        "model",
        "The clips of a set do not have the level that `evaluation.rms` asks for.",
    ),
    Check(
        "no-headroom",
        "refuse",
        "baseline",
        "The domain WER (or CER) of the baseline leaves no room for the gain asked for.",
    ),
    Check(
        "low-headroom",
        "warn",
        "baseline",
        "The domain WER of the baseline is below 5 %; the CER where the search minimises it.",
    ),
    Check(
        "high-wer",
        "warn",
        "baseline",
        "A model has a WER above 50 % on a set (a CER where the search minimises it): it may hear nothing there.",
    ),
    Check(
        "terms",
        "refuse",
        "data",
        "The listed terms do not occur in the domain set.",
        "there is nothing to measure",
    ),
    Check(
        "fingerprint",
        "refuse",
        "comparison",
        "Two numbers differ in manifest, audio level, normaliser, decoding, model, type or library versions.",
        "the numbers do not measure the same thing",
    ),
    Check(
        "zero-delta",
        "refuse",
        "trial",
        "Training does not move the adapter; a trial of which that is true fails.",
        "there is nothing to measure",
    ),
    Check(
        "no-effect", "warn", "short run", "50 steps of training change no word.", "it stops nothing"
    ),
)

CHECKS = {row.name: row for row in _ROWS}
"""All checks by name, in the order in which they are made."""


def finding(name: str, message: str) -> Finding:
    """Make a finding with the level that the table gives this check."""
    return Finding(name, CHECKS[name].level, message)


def may_be_ignored(name: object) -> object:
    """Return `name` unchanged; raise ValueError, with the reason, where it is a check that cannot
    be ignored. A pydantic validator, so unknown names are left to the type.
    """
    check = CHECKS.get(name) if isinstance(name, str) else None
    if check is not None and check.fixed:
        raise ValueError(f"a check that can be ignored; {name} cannot, because {check.fixed}")
    return name
