"""What the benchmarks time or patch by name exists, and a patch changes no result."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import levers
import profile_step
import real_size
from _shared.checkouts import command_of

from orchestrator.planning.cost import Cost
from orchestrator.planning.trial_plan import trial_plan
from orchestrator.reporting.documents.plan_report import cost_texts
from orchestrator.sweepfile.loading import load_spec
from tests.test_tuning_pack import Scene, packed, scene
from tests.tuning_models import params


@pytest.mark.parametrize(("module", "path"), [part[:2] for part in profile_step.PARTS])
def test_what_is_profiled_is_there(module: str, path: str) -> None:
    assert callable(functools.reduce(getattr, path.split("."), import_module(module)))


@pytest.fixture(scope="module")
def stage() -> Scene:
    return scene("streaming")


@pytest.mark.parametrize("lever", levers.LEVERS, ids=lambda lever: str(lever.__name__))
def test_a_lever_changes_nothing_of_a_step_but_its_time(
    lever: Callable[[], list[levers.Change]], stage: Scene
) -> None:
    found: list[torch.Tensor] = []

    def step() -> None:
        found.append(packed(stage, [params(), params(adapter="dora", seed=7)])[0].flat.clone())

    for changes in ([], lever()):
        levers.seconds_with(changes, step)
    torch.testing.assert_close(*found, rtol=0, atol=1e-10)


def test_the_trials_of_the_real_size_are_a_sweep_of_two_rungs(tmp_path: Path) -> None:
    spec = load_spec(real_size._write_sweep(tmp_path, tmp_path, tmp_path, steps=20, pack="4"))
    plans = [trial_plan(spec, number, point) for number, point in enumerate(spec.start_with)]
    assert spec.execution.pack == 4
    assert [plan.rungs for plan in plans] == [(10, 20)] * spec.budget.trials
    assert {plan.params.target_modules for plan in plans} == {
        "attention", "decoder-attention", "all-linear"
    }  # fmt: skip


def test_the_time_that_plan_says_is_found_among_its_points() -> None:
    (said,) = cost_texts((Cost(low=80.0, high=120.0, basis="a probe"),), clock_lost=False)
    assert real_size.time_in(f"- at most 80 optimizer steps\n  - {said}\n- and more") == said


@pytest.mark.parametrize("folder", ["other", "here"])
def test_the_command_of_a_checkout_runs_its_package_wherever_the_benchmark_was_started(
    tmp_path: Path, folder: str
) -> None:
    for name in ("here", "other"):
        package = tmp_path / name / "orchestrator"
        package.mkdir(parents=True)
        (package / "__main__.py").write_text(f"import sys; print({name!r}, sys.argv[1:])")
    command, environment = command_of(tmp_path / folder, "plan", "a.yaml")
    done = subprocess.run(
        command, env=environment, cwd=tmp_path / "here", capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{folder} ['plan', 'a.yaml']\n"
