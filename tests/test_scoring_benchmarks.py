import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def load() -> Callable[[str], ModuleType]:
    def from_file(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(
            f"benchmark_{name}", Path(__file__).parents[1] / "benchmarks" / f"{name}.py"
        )
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        # Dataclasses look their module up while it is being executed.
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module

    return from_file


def test_intervals_cover_clustered_data_where_percentile_intervals_do_not(load: Callable[[str], ModuleType]) -> None:
    benchmark = load("coverage")
    scenario = next(s for s in benchmark.SCENARIOS if s.name == "domain, 20 speakers x 6")
    shares = benchmark.coverage(scenario, 400)
    # Standard error of a share near 0.95 with 400 datasets: 0.011.
    assert 0.91 <= shares["shipped"] <= 0.985
    assert shares["lower"] >= 0.89
    assert shares["upper"] >= 0.92
    assert shares["percentile"] < shares["shipped"] - 0.015


def test_fresh_data_and_seeds_let_fewer_false_accepts_through(load: Callable[[str], ModuleType]) -> None:
    shares = load("false_accepts").false_accepts(0.4, 24)
    false = {key: share for key, (share, _) in shares.items()}
    assert false["point, search"] >= 0.35, "the winner of thirty is the luckiest of thirty"
    assert false["point, confirm"] <= false["point, search"] / 2
    assert false["proven, search"] <= 0.15
    assert all(false[key] <= accepted for key, (_, accepted) in shares.items())
