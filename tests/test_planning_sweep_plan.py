"""Trial plans from searched values, the size of a space, and what `plan` says."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import norm

from orchestrator.planning.points import count_points, is_active
from orchestrator.planning.power import (
    CHURN,
    smallest_detectable,
    standard_error,
    utterances_needed,
)
from orchestrator.planning.sweep_plan import SetSize, SweepPlan, sweep_plan
from orchestrator.planning.trial_plan import TrialPlan, trial_plan
from orchestrator.planning.warm_up import warm_up_text
from orchestrator.reporting.documents import plan_report
from orchestrator.search.study import Study
from orchestrator.sweepfile.execution import Execution
from orchestrator.sweepfile.limits import Limit
from orchestrator.sweepfile.loading import load_spec
from orchestrator.sweepfile.search_space import Condition, Dimension
from orchestrator.sweepfile.sweep import Budget, SweepSpec
from tests.running_support import make_spec

TEXT = """version: 1
name: small
model: {id: some/model}
data:
  train: /d/train.jsonl
  replay: /d/replay.jsonl
  domain: /d/domain.jsonl
  heldout: /d/heldout.jsonl
  confirm: {domain: /d/c1.jsonl, heldout: /d/c2.jsonl}
evaluation: {every: 40}
parameters:
  learning_rate: {values: [1e-4, 1e-3]}
  max_steps: {values: [100, 120]}
  rank: {min: 4, max: 16, step: 4}
  alpha_ratio: 2
  adapter: {values: [lora, dora, pissa]}
  lora_dropout: {values: [0.0, 0.1], when: {adapter: {in: [lora, dora]}, rank: {above: 4}}}
  weight_decay: {min: 0.0, max: 0.1, step: 0.05, when: {lora_dropout: {above: 0}}}
  target_modules: {values: [attention, mine], presets: {mine: [decoder.*.fc1]}}
  adapter_scale: {values: [0.5, 1.0], after_training: true}
start_with: [{rank: 8}]
guardrails: {heldout_wer: {max_regression: 0.2}}
acceptance: {domain_wer: {min_gain: 1.0}, heldout_wer: {max_regression: 0.3}}
confirm: {top: 2, seeds: [1, 2, 3]}
budget: {trials: 5}
"""
POINT: dict[str, bool | int | float | str] = {
    "learning_rate": 1e-3,
    "max_steps": 100,
    "rank": 8,
    "adapter": "lora",
    "lora_dropout": 0.1,
    "weight_decay": 0.05,
    "target_modules": "mine",
}


@pytest.fixture
def spec(tmp_path: Path) -> SweepSpec:
    (tmp_path / "small.yaml").write_text(TEXT)
    return load_spec(tmp_path / "small.yaml")


def test_trial_plan_is_complete(spec: SweepSpec) -> None:
    plan = trial_plan(spec, 7, POINT)
    assert (plan.sweep, plan.number, plan.model, plan.data) == ("small", 7, spec.model, spec.data)
    assert plan.params.alpha == 16.0 and plan.params.target_patterns == ("decoder.*.fc1",)
    assert plan.params.adapter_scales == (0.5, 1.0) and plan.params.weight_decay == 0.05
    assert plan.rungs == (40, 80, 100)
    assert TrialPlan.model_validate_json(plan.model_dump_json()) == plan


def test_averaged_steps_are_the_last_rungs(spec: SweepSpec, tmp_path: Path) -> None:
    def averaged(rungs: int) -> tuple[int, ...]:
        changed = load_spec(tmp_path / "small.yaml", [f"parameters.average_rungs={rungs}"])
        return trial_plan(changed, 0, POINT).params.averaged_steps

    assert [averaged(rungs) for rungs in (1, 2, 9)] == [(), (80, 100), (40, 80, 100)]


def test_inactive_parameters_fall_back_and_do_not_split_recipes(spec: SweepSpec) -> None:
    pissa = trial_plan(spec, 0, POINT | {"adapter": "pissa"})
    assert pissa.params.lora_dropout == 0.0 and pissa.params.weight_decay == 0.0
    without = {
        key: value for key, value in POINT.items() if key not in ("lora_dropout", "weight_decay")
    }
    assert trial_plan(spec, 1, without | {"adapter": "pissa"}).recipe == pissa.recipe


def test_alpha_is_kept_when_it_is_what_is_written(spec: SweepSpec, tmp_path: Path) -> None:
    fixed = load_spec(tmp_path / "small.yaml", ["parameters.alpha=32", "parameters.alpha_ratio="])
    assert trial_plan(fixed, 0, POINT).params.alpha == 32.0
    defaulted = load_spec(tmp_path / "small.yaml", ["parameters.alpha_ratio="])
    assert trial_plan(defaulted, 0, POINT).params.alpha == 8.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rank": 6}, "trial 3: rank must be 4 to 16 in steps of 4, not 6"),
        ({"adapter": "ia3"}, "trial 3: adapter must be lora, dora, pissa, not ia3"),
        ({"batch_size": 4}, "trial 3: batch_size not searched by sweep small"),
    ],
)
def test_values_outside_the_space_are_refused(
    spec: SweepSpec, change: dict[str, bool | int | float | str], message: str
) -> None:
    with pytest.raises(ValueError) as caught:
        trial_plan(spec, 3, POINT | change)
    assert str(caught.value) == message


def test_is_active(spec: SweepSpec) -> None:
    dropout = next(
        dimension for dimension in spec.parameters.searched if dimension.name == "lora_dropout"
    )
    assert is_active(dropout, {"adapter": "dora", "rank": 8})
    assert not is_active(dropout, {"adapter": "dora", "rank": 4})
    assert not is_active(dropout, {"adapter": "pissa", "rank": 8})
    assert not is_active(dropout, {"rank": 8})


def test_points_are_counted_as_enumeration_counts_them(spec: SweepSpec) -> None:
    everything = itertools.product(
        *(dimension.values or () for dimension in spec.parameters.searched)
    )
    names = [dimension.name for dimension in spec.parameters.searched]
    distinct = {
        trial_plan(spec, 0, dict(zip(names, values, strict=True))).recipe for values in everything
    }
    dropout_free = 3 * 4 - 2 * 3
    # a dropout of 0.0 that was chosen and one that is a default are one recipe, but two points
    assert (
        count_points(spec.parameters)
        == 2 * 2 * 2 * (dropout_free + 2 * 3 * (1 + 3))
        == len(distinct)
    )


def test_continuous_spaces_have_no_count_and_large_ones_are_counted_at_once(
    spec: SweepSpec, tmp_path: Path
) -> None:
    path = tmp_path / "small.yaml"
    assert (
        count_points(
            load_spec(path, ["parameters.learning_rate={min: 1e-4, max: 1e-3}"]).parameters
        )
        is None
    )
    large = load_spec(path, ["parameters.seed={min: 0, max: 1000000000}"])
    assert count_points(large.parameters) == 1_000_000_001 * (count_points(spec.parameters) or 0)
    everything_fixed = load_spec(
        path, ["parameters={learning_rate: 1e-3, max_steps: 10}", "start_with="]
    )
    assert count_points(everything_fixed.parameters) == 1


def test_a_plan_says_what_else_decides_its_numbers(spec: SweepSpec, tmp_path: Path) -> None:
    lengths = "training speech up to 20 s, evaluation speech of any length"
    assert sweep_plan(spec).conditions == ("target_modules mine: decoder.*.fc1", lengths)
    said = ["data.max_seconds=8", "evaluation.max_seconds=7.5", "early_stop.method=median"]
    assert sweep_plan(load_spec(tmp_path / "small.yaml", said)).conditions[1:] == (
        "training speech up to 8 s, evaluation speech up to 7.5 s", "early stop: median"
    )  # fmt: skip


def test_sweep_plan(spec: SweepSpec) -> None:
    plan = sweep_plan(
        spec,
        {"heldout": SetSize(utterances=120, words=2340), "train": SetSize(utterances=9, words=90)},
    )
    assert SweepPlan.model_validate_json(plan.model_dump_json()) == plan
    assert plan.trials == 5 and plan.confirmation_trials == 6 and plan.rungs == (40, 80, 120)
    assert plan.optimizer_steps == (5 + 6) * 120
    # rungs 40, 80, 120, two scales at the last one; a confirmation run is evaluated once
    assert plan.evaluations == (1 + 5 * (3 - 1 + 2)) + (1 + 6)
    assert [point.searched for point in plan.first] == [{"rank": 8}]
    rows = {row.name: row for row in plan.parameters}
    assert rows["lora_dropout"].when == "adapter is one of lora, dora and rank above 4"
    assert (rows["rank"].role, rows["rank"].values) == ("searched", "4 to 16 in steps of 4")
    assert (rows["use_rslora"].role, rows["use_rslora"].values) == ("fixed", "false")
    [heldout] = plan.resolution
    assert heldout.limit == 0.2 and heldout.resolved is False and heldout.utterances_needed == 793
    assert heldout.gain_asked is None and heldout.provable_gain is None


def test_a_plan_says_which_true_gain_is_proven(tmp_path: Path) -> None:
    """On the sets that decide, where the error is shared among the finalists, or among all trials."""
    (tmp_path / "small.yaml").write_text(TEXT)
    size = SetSize(utterances=235, words=1880)
    error = standard_error(1880, CHURN["domain"])
    for changes, name, rivals in (
        (["acceptance={domain_wer: {min_gain: 1.0}}"], "confirm_domain", 2),
        (["acceptance={domain_wer: {min_gain: 1.0}}", "confirm="], "domain", 5),
    ):
        plan = sweep_plan(load_spec(tmp_path / "small.yaml", changes), {name: size})
        [row] = plan.resolution
        assert row.gain_asked == 1.0 and row.provable_gain is not None
        upper = norm.isf(0.05 / rivals)
        assert norm.sf(upper - (row.provable_gain - 1.0) / error) == pytest.approx(0.8)
        said = plan_report.build(plan, "", Execution(), None, ())
        assert f"80 % of trials with a true gain of {row.provable_gain:.1f} do" in str(said)
    point = ["acceptance={domain_wer: {min_gain: 1.0, rule: point}}"]
    [row] = sweep_plan(
        load_spec(tmp_path / "small.yaml", point), {"confirm_domain": size}
    ).resolution
    assert row.gain_asked is None


def test_one_trial_of_one_point_is_told_in_the_singular(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(TEXT)
    spec = load_spec(tmp_path / "small.yaml", ["confirm={top: 1, seeds: [1]}", "budget.trials=1"])
    plan = sweep_plan(spec).model_copy(update={"points": 1})
    said = plan_report._trials_text(plan)
    assert said == "tpe over 1 distinct point; 1 trial, 1 confirmation run"


def test_a_limit_on_every_further_set_is_one_on_each(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(TEXT)
    size = SetSize(utterances=100, words=1000)
    sets = dict.fromkeys(("domain", "noisy", "confirm_noisy"), size)
    also = ["data.also={noisy: /d/n.jsonl}", "data.confirm.also={noisy: /d/c3.jsonl}"]
    limit = "{max_regression: 0.2, min_gain: 1.0, rule: proven}"
    own, every = (
        sweep_plan(
            load_spec(tmp_path / "small.yaml", [*also, f"acceptance={{{metric}: {limit}}}"]), sets
        ).resolution
        for metric in ("noisy_wer", "every_also_wer")
    )
    assert every == own
    assert {row.set: (row.limit, row.resolved, row.gain_asked) for row in every} == {
        "domain": (None, None, None),
        "noisy": (0.2, False, None),
        "confirm_noisy": (0.2, False, 1.0),
    }


@pytest.mark.parametrize(("metric", "rate"), [("domain_wer", "WER"), ("domain_cer", "CER")])
def test_the_ratio_rule_is_of_the_rate_that_is_minimised(
    tmp_path: Path, metric: str, rate: str
) -> None:
    (tmp_path / "small.yaml").write_text(TEXT)
    spec = load_spec(
        tmp_path / "small.yaml", ["early_stop={method: ratio}", f"metric.name={metric}"]
    )
    said = f"a trial stops above 1.1 times the baseline's domain {rate}"
    assert said in sweep_plan(spec).conditions


def test_a_grid_shows_its_points_and_stops_at_its_end(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(TEXT)
    grid = load_spec(
        tmp_path / "small.yaml",
        [
            "method=grid",
            "budget.trials=20",
            "confirm=",
            "parameters={max_steps: 100, learning_rate: {values: [1e-3, 1e-4]}, rank: {min: 4, max: 12, step: 4}}",
            "start_with=[{learning_rate: 1e-3, rank: 8}]",
        ],
    )
    plan = sweep_plan(grid)
    assert plan.points == plan.trials == len(plan.first) == 6
    assert plan.first[0].origin == "start_with"
    assert {tuple(point.searched.values()) for point in plan.first} == {
        (r, k) for r in (1e-3, 1e-4) for k in (4, 8, 12)
    }


@pytest.mark.parametrize(
    ("words", "churn", "error", "detectable"),
    [
        (2300, 0.03, 0.36, 0.89),
        (3900, 0.03, 0.27, 0.68),
        (9800, 0.03, 0.18, 0.44),
        (19500, 0.03, 0.125, 0.31),
        (2300, 0.01, 0.20, 0.50),
        (3900, 0.01, 0.16, 0.39),
        (9800, 0.01, 0.096, 0.24),
        (19500, 0.01, 0.070, 0.18),
        (51000, 0.01, 0.044, 0.11),
        (9800, 0.02, 0.155, 0.38),
        (51000, 0.02, 0.068, 0.17),
    ],
)
def test_power_agrees_with_simulation(
    words: int, churn: float, error: float, detectable: float
) -> None:
    """Simulated with gamma utterance lengths and log-normal speaker effects, which the formula
    leaves out.
    """
    assert standard_error(words, churn) == pytest.approx(error, rel=0.25)
    assert smallest_detectable(words, churn) == pytest.approx(detectable, rel=0.25)


@pytest.mark.parametrize(("words", "churn"), [(1, 1.0), (2300, 0.03), (51000, 0.01)])
def test_power_is_that_of_the_normal_distribution(words: int, churn: float) -> None:
    """A one-sided test at 5 % that finds the difference in four of five studies."""
    error = standard_error(words, churn)
    assert error == pytest.approx(100 * (churn / words) ** 0.5, rel=1e-12)
    found = smallest_detectable(words, churn)
    assert norm.sf(norm.isf(0.05) - found / error) == pytest.approx(0.8, abs=1e-4)
    for limit in (found, found / 2, found * 3):
        needed = utterances_needed(500, words, churn, limit)
        assert needed == math.ceil(round(500 * (found / limit) ** 2, 6))


@pytest.mark.parametrize(("churn", "needed"), [(0.01, 800), (0.02, 2000)])
def test_utterances_needed_for_two_tenths_of_a_point(churn: float, needed: int) -> None:
    assert utterances_needed(500, 9800, churn, 0.2) == pytest.approx(needed, rel=0.25)
    assert utterances_needed(500, 9800, churn, 0.0) is None
    assert utterances_needed(500, 9800, churn, 1e-200) is None


@pytest.mark.parametrize(("words", "churn"), [(0, 0.01), (100, 0.0), (100, 1.5)])
def test_power_refuses_what_has_no_meaning(words: int, churn: float) -> None:
    with pytest.raises(ValueError, match="words must be above 0"):
        standard_error(words, churn)


@pytest.mark.parametrize("method", ["grid", "qmc", "tpe"])
@pytest.mark.parametrize(
    "starts",
    [
        (),
        ({"rank": 16},),
        ({"rank": 16}, {"rank": 16}),
        ({"learning_rate": 3e-3, "rank": 8}, {"rank": 16, "max_steps": 300}),
        ({"learning_rate": 1e-3, "rank": 16, "max_steps": 200, "weight_decay": 0.1},),
        # inactive beside rank 8: one point, whatever it says of max_steps
        ({"rank": 8, "max_steps": 200}, {"rank": 8, "max_steps": 300}),
        ({"rank": 8, "weight_decay": 0.1 + 0.2},),
    ],
)
def test_the_plan_lists_the_points_that_the_search_asks(
    method: str, starts: tuple[dict[str, Any], ...], tmp_path: Path
) -> None:
    searched = (
        Dimension(name="learning_rate", choices=(1e-3, 3e-3)),
        Dimension(name="rank", choices=(8, 16)),
        Dimension(
            name="max_steps",
            choices=(200, 300),
            when=(Condition(parameter="rank", operator="equals", value=16),),
        ),
        Dimension(name="weight_decay", low=0.0, high=0.3, step=0.1),
    )
    spec = make_spec(
        method=method,
        searched=searched,
        fixed={"max_steps": 100},
        start_with=starts,
        budget=Budget(trials=8),
    )
    planned = sweep_plan(spec, show=8).first
    study = Study.open(tmp_path / "study.db", spec)
    try:
        asked = [study.ask() for _ in planned]
    finally:
        study.close()
    active = {
        str({n: v for n, v in start.items() if start.get("rank") != 8 or n != "max_steps"})
        for start in starts
    }
    assert len(planned) == (8 if method != "tpe" else len(active))
    assert sum(point.origin == "start_with" for point in planned) == len(active)
    if starts and "weight_decay" in starts[0]:
        assert planned[0].searched["weight_decay"] in (0.1, 0.3)
    for point, trial in zip(planned, asked, strict=True):
        assert trial is not None
        whole = point.origin != "start_with" or method == "grid"
        # what a start leaves open the sampler completes
        named = trial.params if whole else {name: trial.params[name] for name in point.searched}
        assert point.searched == named


@pytest.mark.parametrize("method", ["random", "tpe", "qmc", "grid"])
def test_a_stepped_range_gives_the_numbers_that_a_person_would_write(
    method: str, tmp_path: Path
) -> None:
    weight = Dimension(name="weight_decay", low=0.0, high=0.9, step=0.1)
    when = (Condition(parameter="weight_decay", operator="in", value=(0.3, 0.6, 0.7)),)
    rank = Dimension(name="rank", choices=(8, 16), when=when)
    fixed = {"learning_rate": 1e-3, "max_steps": 100}
    spec = make_spec(method=method, searched=(weight, rank), fixed=fixed, budget=Budget(trials=12))
    study = Study.open(tmp_path / "study.db", spec)
    try:
        asked = [study.ask() for _ in range(12)]
        assert [trial.params for trial in study.trials()] == [each.params for each in asked if each]
    finally:
        study.close()
    for trial in asked:
        assert trial is not None and trial.params["weight_decay"] in (weight.values or ())
        assert ("rank" in trial.params) == (trial.params["weight_decay"] in (0.3, 0.6, 0.7))


@pytest.mark.parametrize(
    ("warmup", "steps", "said"),
    [
        (
            "100",
            "{values: [4, 400]}",
            "warmup_steps may be 100 where max_steps is 4: such trials never train",
        ),
        (
            "{min: 0, max: 120}",
            "120",
            "warmup_steps may be 120 where max_steps is 120: such trials never train",
        ),
        ("{min: 0, max: 119}", "120", ""),
        ("0", "{min: 1, max: 9}", ""),
    ],
)
def test_a_warm_up_that_outlasts_a_trial_is_said(
    tmp_path: Path, warmup: str, steps: str, said: str
) -> None:
    text = TEXT.replace(
        "max_steps: {values: [100, 120]}", f"max_steps: {steps}\n  warmup_steps: {warmup}"
    )
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    spec = load_spec(path)
    assert warm_up_text(spec).startswith(said) and bool(warm_up_text(spec)) == bool(said)
    assert sweep_plan(spec).warm_up == warm_up_text(spec)


def test_what_a_set_resolves_is_not_rounded_onto_its_limit() -> None:
    """With 15,400 words 0.2004 points can be told, which is more than 0.2; and a gain of 1 is proven
    by larger ones alone.
    """
    spec = make_spec(guardrails={"heldout_wer": Limit(max_regression=0.2)})
    sizes = {
        "domain": SetSize(utterances=100_000, words=2_000_000),
        "heldout": SetSize(utterances=770, words=15_400),
    }
    domain, heldout = sweep_plan(spec, sizes).resolution
    row = plan_report._resolution_row(heldout)
    assert (row[3], row[4], row[6]) == ("0.2004", "0.2", "no")
    assert domain.provable_gain is not None and 1 < domain.provable_gain < 1.05
    assert f"a true gain of {domain.provable_gain:.2f} do" in plan_report._gain_text(domain)
