"""`confirm: {agree: all}`: every fresh seed has to lower the objective. One that was never measured
leaves the verdict inconclusive.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.records.results import Measurement
from orchestrator.records.store import StudyFolder
from orchestrator.reporting.documents.caveats import _repeated_seeds
from orchestrator.reporting.documents.headline import headline
from orchestrator.scoring.judge import Decision, Scores, Verdict, judge
from orchestrator.scoring.limits import Criterion
from orchestrator.scoring.rates import SetScore
from orchestrator.sweepfile.sweep import ConfirmSpec
from orchestrator.verdicts.concluding import _decide_study
from orchestrator.verdicts.conclusion import Agreement, Conclusion, Confirmed, SeedRun
from tests.running_support import make_spec
from tests.scoring_support import score, set_with

GAIN = Criterion("domain_wer", "min_gain", 1.0, rule="proven")


def verdict(errors: int) -> Verdict:
    baseline, tuned = (
        Scores("f", {"confirm_domain": SetScore((count,) * 200, (10,) * 200)})
        for count in (3, errors)
    )
    return judge(tuned, baseline, guardrails=[], acceptance=[GAIN], confirmed=True, resamples=200)


def conclusion(*seeds: Verdict | None) -> Conclusion:
    """Of one finalist, every seed of which has ended; None: it failed."""
    ended: Any = SimpleNamespace(number=0)
    runs = tuple(SeedRun(ended, ended, seed) for seed in seeds)
    pooled = next(seed for seed in seeds if seed is not None)
    return Conclusion((), None, None, ended, pooled, (Confirmed(0, runs, pooled, None),), None)


@pytest.mark.parametrize(
    ("seeds", "agreement", "any_", "all_"),
    [
        ((1, 2, 1), Agreement(3, 3, 3), Decision.ACCEPT, Decision.ACCEPT),
        ((1, 3, 1), Agreement(2, 3, 3), Decision.ACCEPT, Decision.REJECT),
        ((1, None, None), Agreement(1, 1, 3), Decision.ACCEPT, Decision.INCONCLUSIVE),
        ((1, 3, None), Agreement(1, 2, 3), Decision.ACCEPT, Decision.REJECT),
        ((3, None, 3), Agreement(0, 2, 3), Decision.REJECT, Decision.REJECT),
    ],
)
def test_seeds_agree(
    seeds: tuple[int | None, ...], agreement: Agreement, any_: Decision, all_: Decision
) -> None:
    found = conclusion(*(None if errors is None else verdict(errors) for errors in seeds))
    assert found.confirmed[0].agreement == agreement
    for asked, decision in (("any", any_), ("all", all_)):
        spec = make_spec(confirm=ConfirmSpec(agree=asked))  # type: ignore[arg-type]
        assert _decide_study(spec, found) is decision


@pytest.mark.parametrize(
    ("seeds", "decision", "lower"),
    [
        ((1, 3, 1), "REJECT", "2 of 3"),
        ((1, None, None), "INCONCLUSIVE", "1 of 3"),
    ],
)
def test_a_verdict_says_that_the_seeds_do_not_agree(
    tmp_path: Path, seeds: tuple[int | None, ...], decision: str, lower: str
) -> None:
    """Every limit holds and is proven, so that nothing else says why."""
    found = conclusion(*(None if errors is None else verdict(errors) for errors in seeds))
    for asked in ("any", "all"):
        spec = make_spec(confirm=ConfirmSpec(agree=asked))
        judged = replace(found, decision=_decide_study(spec, found))
        said = headline(spec, StudyFolder(tmp_path, "s"), judged, done=True)
        head, _, why = said.partition("; ")
        assert head.endswith("trial 0, judged on the confirm sets")
        if asked == "all":
            assert head.startswith(f"{decision}:")
            assert (
                why == f"{lower} seeds lower the domain WER, which the sweep file requires of all"
            )
        else:
            assert head.startswith("ACCEPT:") and not why


def test_a_verdict_names_the_guardrail_that_leaves_it_open(tmp_path: Path) -> None:
    """A share of a baseline without errors is not measured; a small gain is not told from none."""
    shares = Criterion("heldout_wer", "max_regression", 5.0, unit="percent")
    gains = Criterion("heldout_wer", "min_gain", 0.01)
    counts = {"confirm_domain": (600, 200), "confirm_heldout": (0, 0)}
    some = counts | {"confirm_heldout": (100, 99)}
    for limit, sets, said in (
        (shares, counts, "by less than 5 % of the baseline's: nothing was measured"),
        (gains, some, "no gain is shown; about 4961 utterances would show it"),
    ):
        baseline, tuned = (
            Scores("f", {name: score(both[side], 200, 20) for name, both in sets.items()})
            for side in (0, 1)
        )
        judged = judge(
            tuned, baseline, guardrails=[limit], acceptance=[GAIN], confirmed=True, resamples=200
        )
        assert judged.decision is Decision.INCONCLUSIVE and judged.acceptance[0].satisfied
        found = replace(conclusion(judged), decision=judged.decision)
        text = headline(make_spec(), StudyFolder(tmp_path, "s"), found, done=True)
        assert "; heldout WER " in text and text.endswith(said)


def test_a_rejection_names_the_limits_that_do_not_hold(tmp_path: Path) -> None:
    """Once each, where acceptance and guardrails ask the same, or a limit on every further set and one
    on that set; and none that holds.
    """
    same = Criterion("heldout_wer", "max_regression", 0.2)
    counts = {"confirm_domain": (600, 200), "confirm_heldout": (100, 120)}
    baseline, tuned = (
        Scores("f", {name: score(both[side], 200, 20) for name, both in counts.items()})
        for side in (0, 1)
    )
    judged = judge(
        tuned, baseline, guardrails=[same], acceptance=[GAIN, replace(same, rule="proven"), same],
        confirmed=True, resamples=200,
    )  # fmt: skip
    found = replace(conclusion(judged), decision=judged.decision)
    assert headline(make_spec(), StudyFolder(tmp_path, "s"), found, done=True) == (
        "REJECT: trial 0, judged on the confirm sets; "
        "heldout WER rises by less than 0.2 points: measured +0.50 points"
    )


def test_a_verdict_is_doubted_by_what_the_winner_hears_in_any_set(tmp_path: Path) -> None:
    """A further set without a confirm set was heard in the search alone."""
    judged = verdict(1)
    found = replace(conclusion(judged), decision=judged.decision)
    noisy = Measurement(
        trial=None, step=0, adapter_scale=1.0, fingerprint="f", sets={"noisy": set_with(4, 10)}
    )
    for wer, said in (
        (49.0, ""),
        (61.0, "; DOUBTFUL: a WER of 61 % says that a model hears little"),
    ):
        search = replace(judged, rates={"domain": 10.0, "noisy": wer})
        doubted = replace(found, baseline=noisy, verdict=search)
        text = headline(make_spec(), StudyFolder(tmp_path, "s"), doubted, done=True)
        assert text.partition("confirm sets")[2].startswith(said) and bool(said) is (
            "DOUBT" in text
        )


def test_a_result_without_a_decision_is_doubted_too(tmp_path: Path) -> None:
    """Where no trial is feasible the untuned model alone was heard; without criteria there is no
    verdict, and a best trial all the same.
    """
    folder, without = StudyFolder(tmp_path, "s"), conclusion(verdict(1))
    for wer, doubted in ((4, False), (6, True)):
        deaf = Measurement(
            trial=None,
            step=0,
            adapter_scale=1.0,
            fingerprint="f",
            sets={"domain": set_with(wer, 10)},
        )
        for found, begins in (
            (replace(without, baseline=deaf, best=None), "INCONCLUSIVE: no feasible trial"),
            (replace(without, baseline=deaf), "Finished: trial 0"),
        ):
            text = headline(make_spec(), folder, found, done=True)
            assert text.startswith(begins)
            assert ("DOUBTFUL: a WER of 60 % says that" in text) is doubted


@pytest.mark.parametrize(
    ("metric", "changes", "better"),
    [
        ("domain_wer", {"confirm_domain": -0.01}, 1),
        ("domain_wer", {"confirm_domain": 0.0}, 0),
        ("domain_wer", {"confirm_domain": 0.01}, 0),
        ("domain_wer", {"confirm_heldout": -1.0}, 0),
        ("domain_cer", {"confirm_domain": 1.0, "confirm_domain_cer": -0.01}, 1),
        ("domain_cer", {"confirm_domain": -1.0, "confirm_domain_cer": 0.01}, 0),
    ],
)
def test_a_seed_is_better_where_it_lowers_what_the_search_minimises(
    metric: str, changes: dict[str, float], better: int
) -> None:
    seed = replace(verdict(2), metric=metric, delta=changes)
    assert conclusion(seed, None).confirmed[0].agreement == Agreement(better, 1, 2)
    assert replace(conclusion(seed).confirmed[0], seeds=()).agreement is None


def test_seeds_that_disagree_decide_nothing_before_there_is_something_to_decide() -> None:
    spec = make_spec(confirm=ConfirmSpec(agree="all"))
    found = conclusion(verdict(1), verdict(3))
    [finalist] = found.confirmed
    assert found.verdict is not None and _decide_study(spec, found) is Decision.REJECT
    without_criteria = replace(found, verdict=replace(found.verdict, decision=None))
    assert _decide_study(spec, without_criteria) is None
    assert _decide_study(spec, replace(found, verdict=None)) is None
    pending = replace(finalist, seeds=(*finalist.seeds, replace(finalist.seeds[0], result=None)))
    assert _decide_study(spec, replace(found, confirmed=(pending,))) is None
    failed = replace(finalist, verdict=None)
    assert _decide_study(spec, replace(found, confirmed=(failed,))) is Decision.INCONCLUSIVE
    alone = replace(found, confirmed=())
    assert _decide_study(spec, alone) is found.verdict.decision is Decision.ACCEPT


def test_a_seed_that_the_finalist_was_found_with_is_not_fresh() -> None:
    found: Any = SimpleNamespace(
        results=(
            SimpleNamespace(number=0, params={"seed": 102}),
            SimpleNamespace(number=1, params={"seed": 103}),
        ),
        confirmed=(SimpleNamespace(trial=0),),
    )
    spec = make_spec(confirm=ConfirmSpec(seeds=(101, 102, 103)))
    assert _repeated_seeds(spec, found) == "102"
    assert _repeated_seeds(make_spec(), found) == ""
    found.results[0].params.clear()
    fixed = make_spec(confirm=ConfirmSpec(seeds=(101, 102)), fixed={"seed": 101})
    assert _repeated_seeds(fixed, found) == "101"


def test_an_inconclusive_gain_says_how_many_utterances_would_show_it(tmp_path: Path) -> None:
    """By the measured number the limit is reached, and what is open is whether there is a gain at
    all: that takes fewer utterances than proving the limit.
    """
    before, after = SetScore((8,) * 40, (20,) * 40), SetScore((12, 3) * 20, (20,) * 40)
    said = {}
    for rule in ("point", "proven"):
        asked = Criterion("domain_wer", "min_gain", 2.0, rule=rule)
        judged = judge(
            Scores("f", {"confirm_domain": after}),
            Scores("f", {"confirm_domain": before}),
            guardrails=[],
            acceptance=[asked],
            confirmed=True,
            resamples=500,
        )
        [limit] = judged.acceptance
        assert (limit.value, judged.decision) == (-2.5, Decision.INCONCLUSIVE)
        assert limit.estimate is not None and not limit.gain_significant
        found = replace(conclusion(judged), decision=judged.decision)
        text = headline(make_spec(), StudyFolder(tmp_path, "s"), found, done=True)
        said[rule] = text.partition("at least 2 points: ")[2]
        numbers = [40 * (2.49 * limit.estimate.standard_error / gap) ** 2 for gap in (2.5, 0.5)]
    to_show, to_prove = map(math.ceil, numbers)
    assert said == {
        "point": f"no gain is shown; about {to_show} utterances would show it",
        "proven": f"undecided; about {to_prove} utterances would decide",
    }
