"""Scores of a set of 500 utterances of 20 words, and how one limit is answered by them; and a
measured set of one utterance.
"""

from __future__ import annotations

from orchestrator.records.results import SetMeasurement
from orchestrator.scoring.judge import Scores, judge
from orchestrator.scoring.limits import Criterion, LimitVerdict
from orchestrator.scoring.rates import SetScore

N = 500
"""Utterances of 20 words: 10,000 words, so 100 errors are one point."""


def score(errors: int, n: int = N, words: int = 20) -> SetScore:
    """Return `errors` errors spread evenly over n utterances."""
    return SetScore(tuple(errors // n + (i < errors % n) for i in range(n)), (words,) * n)


def answer(criterion: Criterion, before: SetScore, after: SetScore) -> LimitVerdict:
    """Judge one limit on the domain set."""
    baseline, tuned = Scores("f", {"domain": before}), Scores("f", {"domain": after})
    return judge(tuned, baseline, guardrails=[criterion], resamples=500).guardrails[0]


def set_with(
    errors: int, words: int, character_errors: int = 0, characters: int = 0
) -> SetMeasurement:
    """Return a measured set of one utterance; its characters are not counted where there are 0."""
    return SetMeasurement(
        manifest_sha256="m",
        utterance_ids=("a",),
        speakers=("",),
        substitutions=(errors,),
        deletions=(0,),
        insertions=(0,),
        reference_words=(words,),
        character_errors=(character_errors,) if characters else (),
        characters=(characters,) if characters else (),
    )
