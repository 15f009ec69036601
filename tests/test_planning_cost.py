"""How long a sweep would take: the arithmetic, what earlier studies say, and a real probe."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import qmc

from orchestrator.cli import main
from orchestrator.planning.cost import (
    Cost,
    Spent,
    Work,
    coarse_span,
    recorded_cost,
    short_time,
    step_cost,
    time_range,
)
from orchestrator.planning.kinds_of_trials import KindOfTrial, kinds_of_trials
from orchestrator.planning.probed_cost import KindPace, Pace, probed_cost
from orchestrator.planning.sweep_plan import SetSize, sweep_plan
from orchestrator.planning.trial_plan import trial_plan
from orchestrator.records.search_times import search_spent, spent_before
from orchestrator.records.store import StudyFolder
from orchestrator.sweepfile.loading import load_spec
from orchestrator.tuning.throughput import measure_pace
from tests.cli_project import ROOT, SWEEP, make_project, orchestrate, ran_project
from tests.embedded import small_sweep
from tests.running_support import make_spec
from tests.tuning_models import small_model_folder

WORK = Work(search_steps=1000, confirm_steps=200, confirm_utterances=400, baseline_utterances=150)
PACE = Pace(
    device="cpu",
    slots=2,
    load=10.0,
    baseline=0.04,
    kinds=(
        KindPace(step=(0.1, 0.2), decode=(0.01, 0.03)),
        KindPace(step=(0.3, 0.5), decode=(0.02, 0.03)),
    ),
)
FIRST = Spent(study="first", seconds=600.0, steps=1200, steps_to_end=2000)
SECOND = Spent(study="second", seconds=300.0, steps=300, steps_to_end=300)


def kind(name: str, steps: float, utterances: float) -> KindOfTrial:
    plan = trial_plan(make_spec(), 0, {"learning_rate": 1e-3, "rank": 4, "max_steps": 200})
    return KindOfTrial(name=name, plan=plan, trials=1, steps=steps, utterances=utterances)


KINDS = (kind("decoder-attention", 600, 3000), kind("attention", 300, 1000))


def test_a_probe_times_each_kind_of_trial() -> None:
    cost = probed_cost(WORK, KINDS, PACE, None)
    low, high = (600 * 0.1 + 300 * 0.3, 600 * 0.2 + 300 * 0.5)
    hear_low, hear_high = (3000 * 0.01 + 1000 * 0.02, 4000 * 0.03)
    fixed = 150 * 0.04 + 10
    assert cost.low == pytest.approx(low * (1 + 200 / 900) + hear_low * (1 + 400 / 4000) + fixed)
    assert cost.high == pytest.approx(high * (1 + 200 / 900) + hear_high * (1 + 400 / 4000) + fixed)
    assert cost.basis == (
        "a probe on cpu, 2 at once: 0.1 s to 0.2 s per optimizer step of one trial and "
        "10 ms to 30 ms per utterance heard with one adapter (decoder-attention); "
        "0.3 s to 0.5 s and 20 ms to 30 ms (attention); 10 s to load"
    )


def test_packs_that_compute_at_the_same_time_share_the_work() -> None:
    one = probed_cost(WORK, KINDS, PACE, None)
    cost = probed_cost(WORK, KINDS, PACE.model_copy(update={"cores": 4}), None, packs=2)
    assert cost.high - 16 == pytest.approx((one.high - 16) / 2), (
        "the model is loaded, and the untuned one heard, once"
    )
    assert cost.basis.startswith("a probe on cpu (cores: 4), 2 at once:")
    assert cost.basis.endswith("10 s to load; 2 packs side by side, each as fast as that one")


def test_the_wall_clock_caps_the_search_and_not_the_confirmation() -> None:
    free, cost = probed_cost(WORK, KINDS, PACE, None), probed_cost(WORK, KINDS, PACE, 220.0)
    assert cost.low == pytest.approx(free.low), "150 s of training, 50 of hearing: below the limit"
    assert cost.high == pytest.approx(free.high - (270 + 120) + 220)
    recorded = recorded_cost(WORK, [SECOND], 150.0)
    assert recorded and recorded.low == recorded.high == pytest.approx(150 + 200 * 1.0)


PHASE3 = (ROOT / "sweeps" / "phase3.yaml").read_text()
SIZES = {name: SetSize(utterances=n, words=9) for name, n in {"domain": 30, "heldout": 20}.items()}


def test_points_that_are_known_are_told_apart_by_what_they_train(tmp_path: Path) -> None:
    """phase3: three start points, of which two train the same modules."""
    spec = load_spec(
        make_project(tmp_path, PHASE3),
        [
            "budget.trials=3",
            "start_with=["
            "{max_steps: 500, target_modules: attention, adapter: lora, rank: 8, learning_rate: 1.0e-4}, "
            "{max_steps: 1000, target_modules: attention, adapter: dora, rank: 8, learning_rate: 1.0e-4}, "
            "{max_steps: 500, target_modules: decoder-attention, adapter: lora, rank: 8, learning_rate: 1.0e-4}]",
        ],
    )
    kinds = kinds_of_trials(spec, SIZES, 3)
    assert [(k.name, k.trials, k.steps) for k in kinds] == [
        ("attention", 2, 1500), ("decoder-attention", 1, 500)
    ]  # fmt: skip
    # rungs every 100 steps, three scales at the last
    assert [k.utterances for k in kinds] == [50 * (4 + 3 + 9 + 3), 50 * (4 + 3)]


def test_what_is_yet_to_be_drawn_counts_as_a_balanced_sample(tmp_path: Path) -> None:
    spec = load_spec(make_project(tmp_path, PHASE3), ["budget.trials=25"])
    kinds = kinds_of_trials(spec, SIZES, 25)
    assert {k.name for k in kinds} == {"attention", "decoder-attention", "all-linear"}
    assert sum(k.trials for k in kinds) == pytest.approx(25)
    assert all(k.trials == pytest.approx(8, abs=1.5) for k in kinds)
    assert sum(k.steps for k in kinds) == pytest.approx(25 * 750, rel=0.1)


def test_rare_kinds_count_as_the_one_that_is_most_like_them(tmp_path: Path) -> None:
    spec = load_spec(
        make_project(tmp_path, PHASE3),
        ["budget.trials=40", "parameters.batch_size={values: [2, 4, 8, 16]}"],
    )
    kinds = kinds_of_trials(spec, SIZES, 40)
    assert len(kinds) == 6 and len({k.name for k in kinds}) == 6
    assert sum(k.trials for k in kinds) == pytest.approx(40)
    assert all("utterances a step" in k.name for k in kinds)


def test_a_sweep_that_searches_nothing_has_one_kind(tmp_path: Path) -> None:
    spec = load_spec(
        make_project(tmp_path),
        ["parameters.rank=8", "parameters.learning_rate=1e-3", "start_with=", "confirm="],
    )
    (only,) = kinds_of_trials(spec, SIZES, 1)
    assert only.trials == 1 and only.steps == 200


def test_the_points_of_a_sequence_are_drawn_from_one_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One made for each point was moved over all points before it."""
    made, engine = [], qmc.Sobol

    def counted(*args: Any, **kwargs: Any) -> Any:
        made.append(args)
        return engine(*args, **kwargs)

    spec = load_spec(make_project(tmp_path, PHASE3), ["method=qmc", "budget.trials=70"])
    monkeypatch.setattr(qmc, "Sobol", counted)
    kinds = kinds_of_trials(spec, SIZES, 70)
    assert sum(kind.trials for kind in kinds) == 70 and len(made) == 2


def test_one_earlier_study_gives_its_pace_and_what_was_cut() -> None:
    cost = recorded_cost(WORK, [FIRST], None)
    assert cost is not None
    assert cost.low == pytest.approx(0.6 * 1000 * 0.5 + 200 * 0.5), (
        "40 % of its steps were cut; no run of a finalist is"
    )
    assert cost.high == pytest.approx(1200 * 0.5)
    assert (
        cost.basis
        == "study first: 0.5 s per optimizer step of one trial, evaluations included, 40 % of the steps cut"
    )


def test_several_studies_span_the_estimate() -> None:
    cost = recorded_cost(WORK, [SECOND, FIRST], None)
    assert cost is not None
    assert cost.low == pytest.approx(0.6 * 1000 * 0.5 + 200 * 0.5) and cost.high == pytest.approx(
        1200 * 1.0
    )
    assert cost.basis.startswith("2 studies second, first: 0.5 s to 1 s per optimizer step")


def test_nothing_trained_gives_no_estimate() -> None:
    nothing = Spent(study="s", seconds=3.0, steps=0, steps_to_end=0)
    assert recorded_cost(WORK, [nothing], None) is None and recorded_cost(WORK, [], None) is None


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (3, 4, "about 10 s"),
        (32, 58, "about 30 to 60 s"),
        (75, 200, "about 80 s to 3 min"),
        (170, 250, "about 3 to 4 min"),
        (1505, 1505, "about 25 min"),
        (1505, 2407, "about 25 to 40 min"),
        (5200, 9000, "about 85 min to 2.5 h"),
        (40_000, 80_000, "about 11 to 22 h"),
        (200_000, 400_000, "about 2.5 to 4.5 days"),
    ],
)
def test_an_estimate_is_said_no_finer_than_it_is(low: float, high: float, text: str) -> None:
    assert coarse_span(low, high) == text


def test_measured_times_have_two_digits() -> None:
    assert [short_time(value) for value in (0.00123, 0.0347, 0.0996, 0.1234, 9.87, 98.7, 1234.5)] == [
        "1.2 ms", "35 ms", "0.1 s", "0.12 s", "9.9 s", "99 s", "1234 s"
    ]  # fmt: skip
    assert time_range(0.1201, 0.1234) == "0.12 s" and time_range(0.12, 0.2) == "0.12 s to 0.2 s"


def test_work_counts_what_a_sweep_does(tmp_path: Path) -> None:
    """The demo: 5 trials of 200 steps, rungs 100 and 200, two scales at the last; one finalist with
    two seeds.
    """
    spec = load_spec(make_project(tmp_path))
    sizes = {name: SetSize(utterances=n, words=9) for name, n in
             {"train": 7, "domain": 30, "heldout": 20, "confirm_domain": 3, "confirm_heldout": 2}.items()}  # fmt: skip
    assert sweep_plan(spec, sizes).work == Work(
        search_steps=5 * 200,
        confirm_steps=2 * 200,
        confirm_utterances=2 * 5,
        baseline_utterances=50 + 5,
    )
    alone = load_spec(
        tmp_path / "sweeps" / "demo.yaml", ["confirm=", "parameters.rank=8", "start_with="]
    )
    plan = sweep_plan(alone, sizes)
    assert (plan.points, plan.trials, plan.trained) == (3, 5, 3), (
        "a point that comes again is not trained again"
    )
    assert plan.work == Work(
        search_steps=600,
        confirm_steps=0,
        confirm_utterances=0,
        baseline_utterances=50,
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of the fake worker, with a time on its clock."""
    spec = ran_project(tmp_path_factory.mktemp("project"))
    folder = StudyFolder(spec.parents[1] / "studies", "demo")
    folder.add_seconds(1000.0 - (folder.seconds_spent() or 0.0))
    return spec


def planned(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    assert orchestrate("plan", *arguments) == 0
    return " ".join(capsys.readouterr().out.split())


def test_what_a_study_took_is_read_from_its_clock_and_its_trials(project: Path) -> None:
    folder = StudyFolder(project.parents[1] / "studies", "demo")
    found = search_spent(folder)
    trained = [result for result in folder.results() if result.steps_trained]
    assert found == Spent(
        study="demo",
        seconds=1000.0,
        steps=sum(result.steps_trained for result in trained),
        steps_to_end=200 * len(trained),
    )
    assert search_spent(StudyFolder(folder.path.parent, "nothing")) is None


def test_plan_says_the_time_and_from_which_study(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = planned(capsys, project)
    assert re.search(
        r"about [\d.]+ (to [\d.]+ )?min, less where trials are pruned or repeat others; from study demo: ",
        out,
    ), out
    other = planned(capsys, project, "name=later")
    assert "from study demo: " in other, "another study of the same root and model is the next best"
    assert "time: not known; `orchestrate plan SPEC --probe`" in planned(
        capsys, project, "name=l", "model.id=other/one"
    )
    elsewhere = planned(capsys, project, "--studies", project.parents[1] / "elsewhere")
    assert "time: not known" in elsewhere


def test_a_damaged_neighbour_does_not_stop_a_plan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = ran_project(tmp_path, "budget.trials=2")
    studies = tmp_path / "studies"
    new = load_spec(spec, ["name=new"])
    before = spent_before(new, StudyFolder(studies, "new"), new.execution)
    (studies / "broken").mkdir()
    (studies / "broken" / "spec.yaml").write_text("{")
    assert spent_before(new, StudyFolder(studies, "new"), new.execution) == before
    (studies / "demo" / "clock.json").write_text("{")
    assert spent_before(new, StudyFolder(studies, "new"), new.execution) == ()
    assert "time: not known" in planned(capsys, spec, "name=new")


def test_studies_that_ran_in_as_many_packs_are_the_better_basis(tmp_path: Path) -> None:
    """The worker of these studies has four slots, in one pack."""
    spec = ran_project(tmp_path, "budget.trials=2")
    new = load_spec(spec, ["name=new"])
    folder = StudyFolder(tmp_path / "studies", "new")
    shutil.copytree(tmp_path / "studies" / "demo", tmp_path / "studies" / "wide")
    wide = StudyFolder(tmp_path / "studies", "wide")
    kept = wide.read_pack()
    assert kept is not None and kept.packs == 1
    with wide.lock():
        wide.write_pack(kept.model_copy(update={"packs": 2}))

    def studies(**changes: object) -> list[str]:
        execution = new.execution.model_copy(update={"packs": 1, "pack": kept.slots} | changes)
        return [spent.study for spent in spent_before(new, folder, execution)]

    assert studies() == studies(pack="auto") == ["demo"]
    assert studies(packs=2) == ["wide"]
    assert studies(packs=3) == studies(pack=kept.slots + 1) == ["demo", "wide"]


def test_a_probe_needs_its_inputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = make_project(tmp_path, SWEEP)
    (tmp_path / "data" / "train.jsonl").unlink()
    assert orchestrate("plan", spec, "--probe") == 2
    assert capsys.readouterr().err.startswith("data.train: there is no file")


@pytest.mark.slow
def test_a_real_probe_measures_steps_and_an_evaluation(tmp_path: Path) -> None:
    spec = small_sweep(
        tmp_path,
        {"train": 24, "domain": 8, "heldout": 6},
        execution={"pack": "auto", "packs": 1},
        parameters={
            "learning_rate": 1e-3,
            "max_steps": 8,
            "target_modules": {"values": ["attention", "decoder-attention"]},
        },
    )
    said: list[str] = []
    kinds = kinds_of_trials(spec, {}, 4)
    pace = measure_pace(spec, kinds, tmp_path / "cache", said.append)
    assert said == [
        "loading and checking the base model",
        "measuring a few steps and a small evaluation",
    ]
    assert pace.device and pace.slots >= 1 and pace.load > 0 and pace.baseline > 0
    assert len(pace.kinds) == len(kinds) == 2, "decoder and encoder are told apart"
    for of in pace.kinds:
        assert 0 < of.step[0] <= of.step[1] < 60 and 0 < of.decode[0] <= of.decode[1] < 60
    assert not list((tmp_path / "cache").glob("pack-*.json")), (
        "a probe leaves the choice of the pack to the sweep"
    )


@pytest.mark.usefixtures("without_model_checks")
def test_plan_with_a_probe_prints_its_basis(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small_sweep(
        tmp_path,
        {"train": 12, "domain": 4, "heldout": 3},
        model={"id": str(small_model_folder(tmp_path / "model"))},
        execution={"pack": 2},
    )
    sweep, studies = str(tmp_path / "sweep.yaml"), str(tmp_path / "studies")
    with pytest.raises(SystemExit) as ended:
        main(["plan", sweep, "--probe", "--studies", studies])
    printed = capsys.readouterr()
    assert not ended.value.code, printed.err
    out = " ".join(printed.out.split())
    time = r"about [\d.]+ (s|min|to [\d.]+ (s|min)|s to [\d.]+ min), less where trials are pruned or repeat others"
    basis = r"from a probe on \w+, 2 at once: .* per optimizer step of one trial"
    assert re.search(f"{time}; {basis}", out), out
    assert not (tmp_path / "studies" / "small" / "spec.yaml").exists(), "a plan begins no study"


def test_costs_are_plain_values() -> None:
    cost = Cost(low=1.0, high=2.0, basis="x")
    assert Cost.model_validate_json(cost.model_dump_json()) == cost


def test_a_step_costs_its_rows_and_more_where_the_encoder_is_adapted() -> None:
    plan = trial_plan(make_spec(), 0, {"learning_rate": 1e-3, "rank": 4, "max_steps": 200})

    def cost(**changes: object) -> int:
        return step_cost(plan.model_copy(update={"params": plan.params.model_copy(update=changes)}))

    decoder = ("decoder.*.q_proj", "decoder.*.fc1")
    assert cost(target_patterns=decoder, batch_size=8) == 8
    assert cost(target_patterns=decoder, batch_size=8, gradient_accumulation_steps=3) == 24
    assert (
        cost(target_patterns=("q_proj",), batch_size=8)
        == cost(target_patterns=("encoder.*.fc1",), batch_size=8)
        == 32
    )
