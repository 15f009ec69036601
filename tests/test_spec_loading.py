"""The sweep file: what loads, what is refused and in which words, and what files and overrides make
together.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from orchestrator.errors import SpecError
from orchestrator.planning.points import grid_cells
from orchestrator.planning.trial_plan import TrialPlan, first_plan
from orchestrator.sweepfile.loading import (
    check_inputs,
    load_spec,
    project_root,
    resolved_yaml,
    studies_root,
)
from orchestrator.sweepfile.presets import PRESETS, matches
from orchestrator.sweepfile.search_space import Condition, Dimension
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.sweepfile.yaml_reading import MAX_BYTES, resolve_scalar

ROOT = Path(__file__).parent.parent
SHIPPED = sorted((ROOT / "sweeps").rglob("*.yaml"))
BROKEN = sorted((ROOT / "tests" / "broken_specs").glob("*.yaml"))
SMALL = """version: 1
name: small
model: {id: some/model}
data: {train: train.jsonl, replay: replay.jsonl, domain: domain.jsonl, heldout: heldout.jsonl}
parameters:
  learning_rate: {min: 1e-4, max: 1e-2, log: true}
  max_steps: 100
  rank: {min: 4, max: 16, step: 4}
  adapter: {values: [lora, dora]}
  replay_ratio: {min: 0, max: 0.75}
  kl_weight: {values: [0, 0.1], when: {replay_ratio: {above: 0}}}
  target_modules: {values: [attention, mine], presets: {mine: [decoder.*.fc1]}}
  weight_decay: {min: 0.0, max: 0.1, step: 0.05, when: {adapter: {in: [lora]}, rank: {above: 4, below: 16}}}
  adapter_scale: {values: [0.5, 1], after_training: true}
start_with: [{rank: 8, learning_rate: 1.0e-3}, {adapter: dora}]
budget: {trials: 5, wall_clock: 1h30m}
"""


@pytest.fixture
def sweeps(tmp_path: Path) -> Path:
    folder = tmp_path / "sweeps"
    folder.mkdir()
    (folder / "small.yaml").write_text(SMALL)
    return folder


def refusal(path: Path, *overrides: str) -> str:
    with pytest.raises(SpecError) as caught:
        load_spec(path, overrides)
    return str(caught.value).removesuffix(
        f"\nNothing was started. Correct this, then check with: orchestrate validate {path}"
    )


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_shipped_sweeps_load_and_round_trip(path: Path, tmp_path: Path) -> None:
    spec = load_spec(path)
    assert all(source.path.is_relative_to(ROOT / "data") for source in spec.data.evaluated.values())
    stored = tmp_path / "spec.yaml"
    stored.write_text(resolved_yaml(spec))
    assert load_spec(stored) == spec
    if spec.take is not None:  # what an earlier study found is not here yet
        return
    plan = first_plan(spec)
    assert TrialPlan.model_validate_json(plan.model_dump_json()) == plan


def test_a_study_that_asks_for_a_verdict_without_limits_is_still_read(tmp_path: Path) -> None:
    path = next(path for path in BROKEN if path.stem == "verdict_without_limits")
    stored = tmp_path / "spec.yaml"
    stored.write_bytes(path.read_bytes())
    (tmp_path / "study.json").touch()
    assert load_spec(stored).acceptance.keys() == {"shipped"}
    for asked in ("acceptance={shipped: true}", "acceptance.shipped=true", "confirm.agree=all"):
        assert f"override {asked}: " in refusal(stored, asked)


def test_a_sweep_file_may_have_the_name_of_a_studys_own(sweeps: Path) -> None:
    path = next(path for path in BROKEN if path.stem == "verdict_without_limits")
    own = sweeps / "spec.yaml"
    own.write_bytes(path.read_bytes())
    assert "acceptance.shipped needs a limit of acceptance" in refusal(own)
    own.write_text((sweeps / "small.yaml").read_text() + "execution: {workers: 2}\n")
    assert "execution.workers is no key any more" in refusal(own)


def test_a_study_is_read_however_long_its_file_has_become(sweeps: Path, tmp_path: Path) -> None:
    said = "a line\n" * (MAX_BYTES // 10)
    (sweeps / "long.yaml").write_text(f"{SMALL}description: {json.dumps(said)}\n")
    spec = load_spec(sweeps / "long.yaml")
    (tmp_path / "spec.yaml").write_text(resolved_yaml(spec))
    (tmp_path / "study.json").touch()
    assert (tmp_path / "spec.yaml").stat().st_size > MAX_BYTES
    assert load_spec(tmp_path / "spec.yaml", root=spec.project) == spec


@pytest.mark.parametrize("given", ["5", "true", "[[rank]]"])
def test_what_a_study_took_is_a_list_of_names_on_the_command_line_too(
    given: str, sweeps: Path, tmp_path: Path
) -> None:
    stored = tmp_path / "spec.yaml"
    taken = (
        f"{{study: earlier, parameters: [rank], trial: 3, recipe: {'a' * 64}, infeasible: false}}"
    )
    stored.write_text((sweeps / "small.yaml").read_text() + f"take: {taken}\n")
    assert "take.parameters" in refusal(stored, f"take.parameters={given}")


@pytest.mark.parametrize(("given", "shown"), [("-1", "1"), ("+.5", ".5"), ("0", "0")])
def test_the_limit_that_is_advised_in_place_of_a_number_is_allowed(
    given: str, shown: str, sweeps: Path
) -> None:
    path, key = sweeps / "small.yaml", "acceptance.domain_wer"
    said = refusal(path, f"{key}={given}")
    for advised in (f"{{max_regression: {shown}}}", f"{{min_gain: {shown}}}"):
        assert advised in said
        assert "domain_wer" in load_spec(path, [f"{key}={advised}"]).acceptance


def test_shipped_sweeps_are_there() -> None:
    assert {"quickstart", "phase3"} <= {path.stem for path in SHIPPED}


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_broken_files_say_exactly_what_is_wrong(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    with pytest.raises(SpecError) as caught:
        load_spec(Path(path.name))
    assert str(caught.value) + "\n" == path.with_suffix(".txt").read_text()


def test_what_stands_for_no_machine_of_ones_own_goes_with_a_cluster(sweeps: Path) -> None:
    cluster = "execution: {packs: 2, cores: 1, device: cpu, launcher: ray, "
    (sweeps / "ray.yaml").write_text(SMALL + cluster + "devices: [], processes: auto}\n")
    execution = load_spec(sweeps / "ray.yaml").execution
    assert (execution.launcher, execution.devices, execution.processes) == ("ray", (), "auto")


def test_there_are_broken_files() -> None:
    assert len(BROKEN) >= 20


def test_values_and_types(sweeps: Path) -> None:
    spec = load_spec(sweeps / "small.yaml")
    space = spec.parameters
    dimensions = {dimension.name: dimension for dimension in space.searched}
    assert dimensions["learning_rate"] == Dimension(
        name="learning_rate", low=1e-4, high=1e-2, log=True
    )
    assert dimensions["rank"].is_integer and dimensions["rank"].values == range(4, 17, 4)
    assert (
        type(dimensions["replay_ratio"].low) is float and not dimensions["replay_ratio"].is_integer
    )
    assert [type(choice) for choice in dimensions["kl_weight"].choices or ()] == [float, float]
    assert dimensions["weight_decay"].values == (0.0, 0.05, 0.1)
    assert dimensions["weight_decay"].when == (
        Condition(parameter="adapter", operator="in", value=("lora",)),
        Condition(parameter="rank", operator="above", value=4),
        Condition(parameter="rank", operator="below", value=16),
    )
    assert space.adapter_scales == (0.5, 1.0)
    assert space.presets["mine"] == ("decoder.*.fc1",) and set(PRESETS) < set(space.presets)
    assert space.fixed["alpha_ratio"] == 1.0 and "alpha" not in space.fixed
    assert spec.budget.wall_clock == 5400.0
    assert spec.start_with == ({"rank": 8, "learning_rate": 1e-3}, {"adapter": "dora"})
    assert spec.guardrails == {} and spec.acceptance == {} and spec.confirm is None


def test_conditions_on_a_range_in_small_steps_are_checked_without_its_values(
    sweeps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = SMALL.replace("max: 0.75}", "max: 0.75, step: 1e-10}")
    text = text.replace("{above: 0}", "{above: 0.1, below: 0.2}")
    (sweeps / "fine.yaml").write_text(text)
    monkeypatch.delattr(Dimension, "values")
    found = {each.name: each for each in load_spec(sweeps / "fine.yaml").parameters.searched}
    assert len(found["kl_weight"].when) == 2 and found["replay_ratio"].size == 7_500_000_001


def test_round_trip_as_yaml_and_as_json(sweeps: Path, tmp_path: Path) -> None:
    text = 'quote " backslash \\ newline \n bell-free, ünïcödé, \u2028 and 12:30: # no comment'
    spec = load_spec(sweeps / "small.yaml").model_copy(update={"description": text})
    stored = tmp_path / "spec.yaml"
    stored.write_text(resolved_yaml(spec), encoding="utf-8")
    assert load_spec(stored, root=spec.project) == spec
    assert load_spec(stored).portable == spec.portable != spec
    assert SweepSpec.model_validate_json(spec.model_dump_json()) == spec


def test_a_starting_point_that_names_fixed_parameters_alone_is_left_out(
    sweeps: Path, tmp_path: Path
) -> None:
    fixed = ["parameters.adapter=lora", "start_with.1={adapter: lora}"]
    spec = load_spec(sweeps / "small.yaml", fixed)
    assert spec.start_with == ({"rank": 8, "learning_rate": 1e-3},)
    stored = tmp_path / "spec.yaml"
    stored.write_text(resolved_yaml(spec))
    assert load_spec(stored, root=spec.project) == spec


@pytest.mark.parametrize(
    "text",
    [
        "1e-3",
        "yes",
        "null",
        "010",
        "",
        " x ",
        "-",
        "0x1F",
        "~",
        ".inf",
        "a: b",
        "<<",
        "=",
        "2020-01-01",
    ],
)
def test_text_that_looks_like_something_else_survives(
    text: str, sweeps: Path, tmp_path: Path
) -> None:
    spec = load_spec(sweeps / "small.yaml").model_copy(update={"description": text})
    stored = tmp_path / "spec.yaml"
    stored.write_text(resolved_yaml(spec))
    assert load_spec(stored).description == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1.0e-4", 1e-4),
        (".5", 0.5),
        ("5.", 5.0),
        ("-3", -3),
        ("+3", 3),
        ("0", 0),
        ("1e3", 1000.0),
        ("yes", "yes"),
        ("on", "on"),
        ("No", "No"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("12:30", "12:30"),
        ("2020-01-01", "2020-01-01"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("1e", "1e"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    assert resolve_scalar(text) == value and type(resolve_scalar(text)) is type(value)


@pytest.mark.parametrize(
    "text", ["010", "-007", "00", ".inf", "-.INF", ".nan", "1e999", "9" * 30, "9007199254740993"]
)
def test_ambiguous_and_endless_numbers_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        resolve_scalar(text)


def test_size_and_special_files(sweeps: Path) -> None:
    large = sweeps / "large.yaml"
    large.write_text("#" * (MAX_BYTES + 1))
    assert refusal(large) == f"`{large}` has 256001 bytes, the limit is 256000; is it a sweep?"
    os.mkfifo(sweeps / "pipe.yaml")
    pipe = sweeps / "pipe.yaml"
    listed = f"files there: {', '.join(map(str, (large, pipe, sweeps / 'small.yaml')))}"
    assert refusal(pipe) == f"`{pipe}` is not a regular file; name a sweep file; {listed}"
    assert refusal(sweeps) == f"`{sweeps}` is not a regular file; name a sweep file; {listed}"
    for absent in (sweeps / "smal.yaml", sweeps.parent / "small"):
        said = f"there is no file `{absent}`; did you mean `{sweeps / 'small.yaml'}`? {listed}"
        assert refusal(absent) == said


def test_overrides(sweeps: Path) -> None:
    path = sweeps / "small.yaml"
    spec = load_spec(
        path,
        [
            "parameters.learning_rate=1e-3",
            "budget.trials=7",
            "start_with.0={rank: 4}",
            "guardrails.heldout_wer={max_regression: 0.2}",
            "evaluation.every=50",
            "parameters.kl_weight=",
            "execution.device=cpu",
            "description=a = b",
        ],
    )
    assert spec.parameters.fixed["learning_rate"] == 1e-3
    assert [dimension.name for dimension in spec.parameters.searched][:2] == ["rank", "adapter"]
    assert spec.parameters.fixed["kl_weight"] == 0.0
    assert (
        spec.budget.trials == 7 and spec.evaluation.every == 50 and spec.execution.device == "cpu"
    )
    assert spec.start_with[0] == {"rank": 4} and spec.description == "a = b"
    assert (
        load_spec(path, ["parameters.rank.max=32", "parameters.rank.step=4"])
        .parameters.searched[1]
        .high
        == 32
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "budget.trails=3",
            "override budget.trails=3: unknown key `trails` in budget; did you mean `trials`? "
            "allowed: trials, wall_clock",
        ),
        (
            "budget.trials=three",
            "override budget.trials=three: budget.trials cannot be `three`; allowed: a whole number",
        ),
        (
            "acceptance.domain_wer={min_gain: 1.0, rule: sure}",
            "override acceptance.domain_wer={min_gain: 1.0, rule: sure}: acceptance.domain_wer.rule cannot be `sure`; "
            "allowed: 'point' or 'proven'",
        ),
        (
            "guardrails.heldout_wer={rule: point}",
            "override guardrails.heldout_wer={rule: point}: guardrails.heldout_wer asks nothing; give "
            "max_regression or min_gain or max_wer or asks",
        ),
        (
            "budget",
            "override budget: an override has the form key.path=value, such as budget.trials=10",
        ),
        (
            "name.first=x",
            "override name.first=x: name is the value `small`, which has no `first` inside",
        ),
        (
            "start_with.2={rank: 4}",
            "override start_with.2={rank: 4}: start_with is a list; `2` is not an index from 0 to 1",
        ),
        (
            "extends=x.yaml",
            "override extends=x.yaml: extends cannot be overridden; name the other file on the command line instead",
        ),
        (
            "parameters.seed=&a 4",
            "override parameters.seed=&a 4: anchor `&a`: remove it; anchors are refused",
        ),
        (
            "parameters.rank=010",
            "override parameters.rank=010: `010` starts with a zero, which some readers take as "
            "octal; write it without the zero or quote it",
        ),
    ],
)
def test_bad_overrides(sweeps: Path, override: str, message: str) -> None:
    assert refusal(sweeps / "small.yaml", override).splitlines()[0] == message


def test_every_problem_is_said_at_once(sweeps: Path) -> None:
    path = sweeps / "small.yaml"
    path.write_text(
        SMALL.replace("name: small", "name: .x").replace("max_steps: 100", "max_steps: 0")
    )
    assert refusal(path, "method=tpee") == (
        f"{path}:2:7: name cannot be `.x`; allowed: 1 to 64 letters, digits, dots, dashes and underscores, a letter or "
        "digit first\n"
        f"{path}:7:14: max_steps cannot be `0`; allowed: a whole number at least 1 and at most 10000000\n"
        "override method=tpee: method cannot be `tpee`; did you mean `tpe`? "
        "allowed: 'tpe', 'gp', 'random', 'grid' or 'qmc'"
    )


def test_whole_numbers_are_values_of_a_grid(sweeps: Path) -> None:
    """Not on a logarithmic axis, which asks for few of them."""
    grid = ("method=grid", "start_with=")
    fixed = "learning_rate: 1e-3, max_steps: 9"
    path = sweeps / "small.yaml"
    spec = load_spec(path, [*grid, f"parameters={{{fixed}, rank: {{min: 4, max: 6}}}}"])
    assert grid_cells(spec.parameters, ()) == ({"rank": 4}, {"rank": 5}, {"rank": 6})
    message = refusal(path, *grid, f"parameters={{{fixed}, rank: {{min: 4, max: 64, log: true}}}}")
    assert message.endswith("method: grid needs the values of rank; write {values: [...]}")


def test_what_is_too_much_is_refused_at_once(sweeps: Path) -> None:
    path = sweeps / "small.yaml"
    many = ", ".join(map(str, range(1001)))
    assert refusal(path, f"parameters.warmup_steps={{values: [{many}]}}").endswith(
        ": warmup_steps: 1001 values, at most 1000; a range {min, max} may say it"
    )
    points = ", ".join("{rank: 4}" for _ in range(1001))
    assert "start_with has 1001 points, at most 1000" in refusal(path, f"start_with=[{points}]")
    grid = ("method=grid", "start_with=", "parameters={learning_rate: 1e-3, max_steps: 9, rank: {values: [4, 8]}, "
            "seed: {min: 0, max: 4000000000, step: 1}}")  # fmt: skip
    assert refusal(path, *grid) == (
        "override method=grid: method: grid has 2 * 4000000001 points, at most 100000; use fewer values or "
        "method: random, qmc or tpe"
    )
    for unknown in (100, 101, 500):
        path.write_text(SMALL + "".join(f"unknown_{index}: 1\n" for index in range(unknown)))
        lines = refusal(path).splitlines()
        assert sum("unknown_" in line for line in lines) == 100
        assert lines[100:] == (["And more: these are the first 100."] if unknown > 100 else [])


def test_extends(sweeps: Path) -> None:
    (sweeps / "middle.yaml").write_text(
        "extends: small.yaml\nname: middle\nevaluation: {every: 10}\n"
    )
    top = sweeps / "top.yaml"
    top.write_text(
        "extends: ../sweeps/middle.yaml\nname: top\nevaluation: {rms: null}\nbudget: {trials: 9}\n"
        "parameters:\n  learning_rate: {values: [1e-3, 2e-3]}\n  adapter: lora\n  kl_weight:\n  seed: 1\nstart_with:\n"
    )
    spec = load_spec(top)
    assert (spec.name, spec.evaluation.every, spec.evaluation.rms) == ("top", 10, None)
    assert (spec.budget.trials, spec.budget.wall_clock) == (9, 5400.0)
    dimensions = {dimension.name: dimension for dimension in spec.parameters.searched}
    assert (
        dimensions["learning_rate"].choices == (1e-3, 2e-3)
        and dimensions["learning_rate"].low is None
    )
    assert "kl_weight" not in dimensions and spec.parameters.fixed["kl_weight"] == 0.0
    assert spec.parameters.fixed["adapter"] == "lora" and spec.parameters.fixed["seed"] == 1
    assert "rank" in dimensions and spec.start_with == ()


@pytest.mark.parametrize("null", ["", "~", "null", "Null", "NULL"])
def test_every_null_of_yaml_counts_as_not_written(sweeps: Path, null: str) -> None:
    top = sweeps / "top.yaml"
    top.write_text(f"extends: small.yaml\nparameters: {{kl_weight: {null}}}\nseed: {null}\n")
    spec = load_spec(top)
    assert spec.parameters.fixed["kl_weight"] == 0.0 and spec.seed == 0
    removed = load_spec(sweeps / "small.yaml", [f"parameters.kl_weight={null}"])
    assert removed.parameters.fixed["kl_weight"] == 0.0
    top.write_text(f"extends: {null}\n{SMALL}")
    assert load_spec(top) == load_spec(sweeps / "small.yaml")


@pytest.mark.parametrize(
    ("below", "above", "parts"),
    [
        ("bf16", "{verdict: fp32}", ("bf16", "fp32")),
        ("fp32", "{search: bf16}", ("bf16", "fp32")),
        ("{search: bf16, verdict: fp32}", "fp32", ("fp32", "fp32")),
        ("{search: bf16, verdict: fp32}", "{verdict: bf16}", ("bf16", "bf16")),
        ("", "{search: bf16}", ("bf16", "fp32")),
    ],
)
def test_a_word_for_both_precisions_is_merged_with_one_part(
    sweeps: Path, below: str, above: str, parts: tuple[str, str]
) -> None:
    confirmed = "confirm: {top: 1}\n"
    data = SMALL.replace("heldout.jsonl}", "heldout.jsonl, confirm: {split: 0.3}}")
    base, top = sweeps / "small.yaml", sweeps / "top.yaml"
    base.write_text(f"{data}{confirmed}evaluation:\n  precision: {below}\n")
    top.write_text(f"extends: small.yaml\nevaluation: {{precision: {above}}}\n")
    merged = load_spec(top).evaluation.precision
    assert (merged.search, merged.verdict) == parts
    if above.startswith("{"):
        part, word = above.strip("{}").split(": ")
        over = load_spec(base, [f"evaluation.precision.{part}={word}"]).evaluation.precision
        assert over == merged


def test_extends_points_into_the_right_file(sweeps: Path) -> None:
    base, top = sweeps / "small.yaml", sweeps / "top.yaml"
    base.write_text(SMALL.replace("max_steps: 100", "max_steps: many"))
    top.write_text("extends: small.yaml\nbudget: {trials: 0}\n")
    assert refusal(top) == (
        f"{base}:7:14: max_steps cannot be `many`; allowed: a whole number at least 1 and at most 10000000\n"
        f"{top}:2:18: budget.trials cannot be `0`; allowed: at least 1"
    )
    top.write_text("extends: smal.yaml\n")
    said = refusal(top)
    assert said.startswith(
        f"{top}:1:10: there is no file `{sweeps / 'smal.yaml'}`; did you mean `small.yaml`? "
    )
    (sweeps / "below").mkdir()
    below = sweeps / "below" / "low.yaml"
    below.write_text("extends: ../smal.yaml\n")
    assert "; did you mean `../small.yaml`? files there: ../small.yaml, ../top.yaml" in refusal(
        below
    )
    base.write_text("extends: top.yaml\n" + SMALL)
    top.write_text("extends: small.yaml\n")
    assert (
        refusal(top)
        == f"{base}:1:10: extends `top.yaml` comes back to a file of the same chain; cut the circle"
    )


def test_paths_start_at_the_project(
    sweeps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nested = sweeps / "mine" / "small.yaml"
    nested.parent.mkdir()
    (tmp_path / "models" / "tiny").mkdir(parents=True)
    nested.write_text(
        SMALL.replace("some/model", "models/tiny").replace(
            "domain.jsonl", "/elsewhere/domain.jsonl"
        )
    )
    spec = load_spec(nested)
    assert project_root(nested) == tmp_path and studies_root(nested) == tmp_path / "studies"
    assert spec.data.train == tmp_path / "train.jsonl" and spec.data.domain == Path(
        "/elsewhere/domain.jsonl"
    )
    assert spec.model.id == str(tmp_path / "models" / "tiny")
    assert load_spec(sweeps / "small.yaml").model.id == "some/model"
    assert load_spec(nested, ["model.id=models/tyny"]).model.id == str(tmp_path / "models" / "tyny")
    outside = tmp_path / "small.yaml"
    outside.write_text(SMALL)
    monkeypatch.chdir(sweeps / "mine")
    assert load_spec(outside).data.train == sweeps / "mine" / "train.jsonl"


def test_check_inputs(sweeps: Path, tmp_path: Path) -> None:
    spec = load_spec(sweeps / "small.yaml", ["model.id=./absent"])
    for name in ("train", "replay"):
        (tmp_path / f"{name}.jsonl").touch()
    os.mkfifo(tmp_path / "domain.jsonl")
    with pytest.raises(SpecError) as caught:
        check_inputs(spec)
    assert "is no file" in str(caught.value)
    hints = {
        "$DATA/a": "(variables are not replaced: write it out)",
        "b\\c": "(write / between folders)",
    }
    for written, hint in hints.items():
        with pytest.raises(SpecError) as named:
            check_inputs(load_spec(sweeps / "small.yaml", [f"data.train={written}"]))
        assert str(named.value).splitlines()[0].endswith(hint)
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["data.domain", "data.heldout", "model.id"]
    for name in ("domain", "heldout"):
        (tmp_path / f"{name}.jsonl").unlink(missing_ok=True)
        (tmp_path / f"{name}.jsonl").touch()
    check_inputs(load_spec(sweeps / "small.yaml"))


def test_the_projects_own_folder_is_no_mistake_in_a_path(tmp_path: Path) -> None:
    path = tmp_path / "$home\\x" / "sweeps" / "small.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(SMALL)
    with pytest.raises(SpecError) as refused:
        check_inputs(load_spec(path))
    assert str(refused.value).splitlines()[0].endswith("create the manifest or correct the path")


def test_a_file_that_a_program_wrote_as_json_means_the_same(tmp_path: Path) -> None:
    said = "\U0001f600, \u00e9 and \U0010ffff"
    whole = YAML(typ="safe", pure=True).load(SMALL) | {"description": said}
    for name, ascii_alone in (("escaped", True), ("plain", False)):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(whole, ensure_ascii=ascii_alone), encoding="utf-8")
        assert load_spec(path).description == said
    path.write_text(json.dumps(whole | {"description": "\ud83d"}))
    assert "holds a control character" in refusal(path)


def test_a_name_that_no_study_can_keep_is_refused_outside_of_the_project(tmp_path: Path) -> None:
    """A study's files are UTF-8: the run ended in a traceback, and its spec.yaml was no such file."""
    above = tmp_path / os.fsdecode(b"caf\xe9")
    project = above / "project"
    try:
        (project / "sweeps").mkdir(parents=True)
    except OSError:
        pytest.skip("this file system has UTF-8 names alone")
    path = project / "sweeps" / "small.yaml"
    path.write_text(SMALL)
    for name in ("train", "replay", "domain", "heldout"):
        (project / f"{name}.jsonl").touch()
        (above / f"{name}.jsonl").touch()
    inside = load_spec(path)
    check_inputs(inside)
    path.write_text(resolved_yaml(inside))
    assert load_spec(path).portable == inside.portable
    with pytest.raises(
        SpecError, match=r"data\.train: .* in its name that are not UTF-8"
    ) as refused:
        check_inputs(load_spec(path, ["data.train=../train.jsonl"]))
    assert len(str(refused.value).splitlines()) == 1
    (project / "model").mkdir()
    said = refusal(path, "model.id=model")
    assert "model.id cannot be `model`; allowed: text in UTF-8; a folder" in said


def test_target_modules_forms(sweeps: Path) -> None:
    path = sweeps / "small.yaml"
    spec = load_spec(path, ["parameters.target_modules={patterns: [q_proj, decoder.*.fc1]}"])
    assert spec.parameters.presets[str(spec.parameters.fixed["target_modules"])] == (
        "q_proj",
        "decoder.*.fc1",
    )
    spec = load_spec(path, ["parameters.target_modules={value: mine, presets: {mine: [fc2]}}"])
    assert spec.parameters.fixed["target_modules"] == "mine" and spec.parameters.presets[
        "mine"
    ] == ("fc2",)
    assert (
        load_spec(path, ["parameters.target_modules=qv"]).parameters.fixed["target_modules"] == "qv"
    )


def test_an_always_true_condition_on_a_fixed_parameter_is_left_out(sweeps: Path) -> None:
    spec = load_spec(sweeps / "small.yaml", ["parameters.replay_ratio=0.5"])
    assert {d.name: d.when for d in spec.parameters.searched}["kl_weight"] == ()


STREAMING_TINY = [
    *(f"encoder.layers.{i}.self_attn.{p}_proj" for i in range(6) for p in "qkvo"),
    *(f"encoder.layers.{i}.mlp.fc{n}" for i in range(6) for n in (1, 2)),
    *(
        f"decoder.layers.{i}.{a}.{p}_proj"
        for i in range(6)
        for a in ("self_attn", "encoder_attn")
        for p in "qkvo"
    ),
    *(f"decoder.layers.{i}.mlp.fc{n}" for i in range(6) for n in (1, 2)),
    "encoder.embedder.linear",
    "decoder.proj",
    "decoder.embed_tokens",
    "proj_out",
]


@pytest.mark.parametrize(
    ("preset", "count"),
    [
        ("attention", 72),
        ("encoder-attention", 24),
        ("decoder-attention", 48),
        ("decoder-self-attention", 18),
        ("qv", 36),
        ("decoder-mlp", 12),
        ("all-linear", 96),
    ],
)
def test_presets_match_the_modules_they_name(preset: str, count: int) -> None:
    hits = [
        path
        for path in STREAMING_TINY
        if any(matches(pattern, path) for pattern in PRESETS[preset])
    ]
    assert len(hits) == count
    assert not {"encoder.embedder.linear", "decoder.proj", "proj_out"} & set(hits)
    assert all(
        any(matches(pattern, path) for path in STREAMING_TINY) for pattern in PRESETS[preset]
    )


def mutated(text: str, generator: random.Random) -> str:
    lines = text.splitlines()
    junk = [
        "[",
        "}",
        ": ",
        "&a ",
        "*a",
        "!!int ",
        "<<: ",
        "\t",
        "- ",
        "null",
        ".nan",
        "1e999",
        "{}",
        "[]",
        "? ",
        "| ",
        "\x00",
        "\x85",
        "\ud7ff",
        "'",
        '"\\ud800"',
        "%",
        "@",
        "true",
        "9" * 400,
        "-1",
        "0",
        "9" * 40,
        "#",
        "...",
    ]
    for _ in range(generator.randint(1, 4)):
        index = generator.randrange(len(lines))
        line = lines[index]
        at = generator.randint(0, len(line))
        action = generator.randrange(6)
        if action == 0:
            lines[index] = line[:at] + generator.choice(junk) + line[at:]
        elif action == 1:
            lines[index] = line[:at] + line[at + generator.randint(1, 5) :]
        elif action == 2:
            key, colon, _ = line.partition(":")
            lines[index] = key + colon + " " + generator.choice(junk)
        elif action == 3:
            lines.insert(index, generator.choice(lines))
        elif action == 4:
            lines[index] = "  " + line
        else:
            lines[index], other = generator.choice(lines), lines[index]
            lines[generator.randrange(len(lines))] = other
    return "\n".join(lines)


def test_only_spec_errors_escape_mutated_files(sweeps: Path) -> None:
    generator = random.Random(20240)
    path = sweeps / "mutant.yaml"
    refused = 0
    for _ in range(300):
        path.write_bytes(mutated(SMALL, generator).encode("utf-8", "surrogatepass"))
        try:
            spec = load_spec(path)
        except SpecError as error:
            refused += 1
            first = str(error).splitlines()[0]
            assert first.startswith(f"{path}:") and first.split(":")[1].isdigit(), first
        else:
            path.write_text(resolved_yaml(spec), encoding="utf-8")
            assert load_spec(path) == spec
    assert 150 < refused < 300


@pytest.mark.parametrize(
    "module", ["orchestrator.sweepfile.loading", "orchestrator.planning.sweep_plan"]
)
def test_imports_stay_light(module: str) -> None:
    heavy = "('torch', 'optuna', 'transformers', 'peft', 'numpy')"
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


def test_each_limit_has_its_rule_and_the_defaults_are_written_out(sweeps: Path) -> None:
    limits = [
        "guardrails={heldout_wer: {max_regression: 0.2, rule: point}}",
        "acceptance={domain_wer: {min_gain: 1.0}, heldout_wer: {max_regression: 0.3}}",
    ]
    spec = load_spec(sweeps / "small.yaml", limits)
    assert spec.guardrails["heldout_wer"].rule == "point"
    assert (spec.acceptance["domain_wer"].rule, spec.acceptance["heldout_wer"].rule) == (
        "proven",
        "point",
    )
    text = resolved_yaml(spec)
    assert "domain_wer: {min_gain: 1.0, rule: proven}" in text
    written = sweeps / "written.yaml"
    written.write_text(text)
    assert load_spec(written) == spec


def test_a_parameter_that_there_is_not_cannot_be_removed(sweeps: Path) -> None:
    with pytest.raises(SpecError, match="unknown parameter `kl_wieght`; did you mean `kl_weight`"):
        load_spec(sweeps / "small.yaml", ["parameters.kl_wieght="])
