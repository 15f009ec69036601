"""pydantic's refusals become sentences of ours, whatever it says itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from orchestrator.errors import SpecError
from orchestrator.sweepfile import refusals
from orchestrator.sweepfile.loading import check_inputs, load_spec
from orchestrator.sweepfile.search_space import SearchSpace
from orchestrator.sweepfile.sweep import ConfirmSpec, SweepSpec, TakeSpec
from tests.running_support import make_spec
from tests.test_spec_loading import SMALL, refusal

HANDLED = {"missing", "extra_forbidden", "value_error", *refusals._WANTED}
"""Types of errors that `refusals` has words for."""
TEXTS = [None, "", "x" * 99, "../x", "a {b}", "\udce9"]
NUMBERS = [True, 0, -1, 2, 1.5, 2**53, float("nan"), float("inf")]
LISTS = [(), ("a", "a"), (1, 1), ("no-such-check",), ("overlap",)]
TREES = [{}, {"x": 1}, {"domain": 1}, {"max_regression": -1}, {"heldout_wer": {"rule": 3}}]
HOSTILE: list[Any] = [*TEXTS, *NUMBERS, *LISTS, *TREES]


def trees(model: type[BaseModel], whole: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Valid trees with one value replaced by a hostile one, at every place."""
    for name in model.model_fields:
        yield from (whole | {name: value} for value in HOSTILE)
        yield {key: value for key, value in whole.items() if key != name}
        inner = whole.get(name)
        if isinstance(inner, BaseModel) and not isinstance(inner, SearchSpace):
            yield from (whole | {name: tree} for tree in trees(type(inner), dict(inner)))


def refused() -> list[ErrorDetails]:
    found: list[ErrorDetails] = []
    whole = make_spec(confirm=ConfirmSpec(), take=TakeSpec(study="x", parameters=("rank",)))
    for tree in trees(SweepSpec, dict(whole)):
        try:
            SweepSpec.model_validate(tree)
        except ValidationError as error:
            found += [
                item for item in error.errors(include_url=False) if item["loc"][0] != "parameters"
            ]
    return found


def test_every_type_of_error_that_a_sweep_file_can_cause_has_words_of_ours() -> None:
    assert {item["type"] for item in refused()} == HANDLED


def test_what_pydantic_says_reaches_nobody() -> None:
    for item in refused():
        if item["type"] not in ("missing", "extra_forbidden"):
            path = tuple(map(str, item["loc"]))
            said = refusals._allowed_text(item, path)
            assert refusals._allowed_text({**item, "msg": "in other words"}, path) == said
            assert said and "{" not in said and item["msg"] != said


def test_words_are_those_of_literals_alone() -> None:
    def error(kind: str, **context: Any) -> ErrorDetails:
        return {"type": kind, "loc": (), "msg": "", "input": 0, "ctx": context}

    assert refusals._literal_words(error("literal_error", expected="'a' or 'b'")) == ["a", "b"]
    assert refusals._literal_words(error("value_error", error=ValueError("not 'a'"))) == []


def test_a_number_is_no_path(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL.replace("train: train.jsonl", "train: 5"))
    assert refusal(path) == f"{path}:4:15: data.train cannot be `5`; allowed: a path"


ONE_MISTAKE = {
    "data: {train": "data: {trian",
    "name: small": "NAME: small",
    "budget:": "budgets:",
    "trials: 5": "trails: 5",
    "parameters:": "paramters:",
    "  learning_rate: {min": "  learning_rat: {min",
    "rank: {min: 4, max: 16, step: 4}": "RANK: {min: 4, max: 16, step: 4}",
    "replay_ratio: {min: 0, max: 0.75}": "replay-ratio: {min: 0, max: 0.75}",
    "replay: replay.jsonl": "replays: replay.jsonl",
    "heldout: heldout.jsonl": "Heldout: heldout.jsonl",
    "model: {id: some/model}": "model: {name: some/model}",
    "data: {": "data: [",
    "  max_steps: 100\n": "",
    "max_steps: 100": "max_steps: 0100",
    "after_training: true": "after_training: 010",
    "train: train.jsonl": "train: 010",
    "budget: {trials: 5, wall_clock: 1h30m}": "budget: {<<: *usual}",
    "budget: ": "budget: *usual #",
    "adapter: {values: [lora, dora]}": "adapter: {values: [lora, *usual]}",
    "model: ": "model:\nmodel: ",
    "max_regression: 0.2": "max_regresion: 0.2",
    "{max_regression: 0.2}": "{limit: 0.2}",
    "  heldout_wer: {max_regression: 0.2}": "  heldout_were:",
}
"""What stands in a sound file -> a mistake in its place."""


@pytest.mark.parametrize("right", ONE_MISTAKE, ids=list(ONE_MISTAKE.values()))
def test_one_mistake_is_one_problem(right: str, tmp_path: Path) -> None:
    sound = f"{SMALL}guardrails:\n  heldout_wer: {{max_regression: 0.2}}\n"
    path = tmp_path / "sweep.yaml"
    path.write_text(sound)
    load_spec(path)
    assert sound.count(right) == 1
    wrong = sound.replace(right, ONE_MISTAKE[right])
    path.write_text(wrong.replace("]\n", "]]\n") if ONE_MISTAKE[right] == "data: [" else wrong)
    assert len(refusal(path).splitlines()) == 1


@pytest.mark.parametrize(
    "override",
    [
        "budget.trials=010",
        "parameters.rank=.inf",
        "parameters.rank={min: 010, max: 4}",
        "budget=*usual",
        "model={<<: *usual}",
        "data.heldout=!!str x",
        "budgets.trials=4",
        "data.Replay=replay.jsonl",
        "guardrail=",
        "data.confirm={domain: a.jsonl, heldout: b.jsonl, split: 0.3}",
    ],
)
def test_one_mistake_on_the_command_line_is_one_problem(override: str, tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(SMALL)
    (problem,) = refusal(path, override).splitlines()
    assert problem.startswith(f"override {override}: ")


def test_mistakes_beside_one_another_are_all_said(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(SMALL.replace("name: small", "nmae: small"))
    said = refusal(path, "budget.trials=010", "method=tpee", "data.train=[x]").splitlines()
    assert len(said) == 4


@pytest.mark.parametrize("value", ["small.yaml", "{a: small.yaml}"])
def test_what_the_file_of_a_misspelt_extends_has_is_not_missing(value: str, tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(f"name: other\nextend: {value}\n")
    (problem,) = refusal(path).splitlines()
    assert problem.startswith(f"{path}:2:1: unknown key `extend`; did you mean `extends`? allowed:")


def test_an_address_that_was_taken_for_a_path_shows_no_password(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text("extends: https://anna:secret/1@host/small.yaml\n")
    assert "/https:/host/small.yaml`;" in refusal(path)
    path.write_text(SMALL.replace("train.jsonl", "https://anna:secret/1@host/train.jsonl"))
    with pytest.raises(SpecError, match=r"/https:/host/train\.jsonl`;") as refused:
        check_inputs(load_spec(path))
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("parameter", "said"),
    [
        ("max_steps={min: 2000001, max: 2000000}", "min 2000001 is not below max 2000000"),
        ("lora_dropout={min: 0.1, max: 0.9, step: 0.0333333}", "end at 0.8999992 or change step"),
        ("seed={min: 0, max: 4294967294}", "allowed: 0 to 4294967294"),
    ],
)
def test_numbers_are_shown_so_that_they_can_be_written_down(
    parameter: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(SMALL)
    point = "start_with=[{seed: 4294967295}]"
    assert said in refusal(path, f"parameters.{parameter}", point)


def test_the_end_that_is_advised_for_a_step_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(SMALL)
    text = "parameters.lora_dropout={{min: 0.1, max: {}, step: 0.0333333}}"
    advised = refusal(path, text.format(0.9)).partition("end at ")[2].split()[0]
    assert "lora_dropout" in {
        d.name for d in load_spec(path, [text.format(advised)]).parameters.searched
    }


@pytest.mark.parametrize(("written", "given"), [("alpha_ratio", "alpha"), ("alpha", "alpha_ratio")])
def test_an_alpha_over_a_ratio_is_told_how_to_remove_it(
    written: str, given: str, tmp_path: Path
) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(SMALL.replace("max_steps: 100", f"max_steps: 100\n  {written}: 2"))
    over = f"parameters.{given}=4"
    said = refusal(path, over)
    assert said.startswith(f"override {over}: {given} beside {written}; alpha = alpha_ratio * rank")
    removed = said.partition("`")[2].partition("`")[0]
    assert load_spec(path, [removed, over]).parameters.fixed[given] == 4.0


@pytest.mark.parametrize("name", ["memory_gb", "cache_gb"])
def test_gigabytes_are_those_that_can_be_counted_in_bytes(name: str, tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(SMALL)
    load_spec(path, [f"execution.{name}=1e6"])
    assert "at most 1000000" in refusal(path, f"execution.{name}=1e300")
