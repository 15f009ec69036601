"""A range that is made wider in a study that has trials is searched as a whole, by every method."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from orchestrator.search.study import Study
from orchestrator.sweepfile.search_space import Dimension
from orchestrator.sweepfile.sweep import SweepSpec
from tests.search_helpers import MIXED, make_result, make_spec

NARROW = Dimension(name="learning_rate", low=1e-5, high=1e-4, log=True)
WIDE = Dimension(name="learning_rate", low=1e-5, high=1e-2, log=True)
RANK = Dimension(name="rank", low=2, high=64, log=True)


def go_on(database: Path, spec: SweepSpec, count: int) -> list[float]:
    """Ask for so many trials, of which a rate of 1e-3 is the best; return their rates."""
    study = Study.open(database, spec)
    rates = []
    for _ in range(count):
        asked = study.ask()
        assert asked is not None
        rate = float(asked.params["learning_rate"])
        rates.append(rate)
        result = make_result(asked.number, asked.params, 50 + abs(math.log10(rate) + 3))
        study.tell(asked.number, result)
        study.commit()
    study.close()
    return rates


@pytest.mark.parametrize("method", ["tpe", "gp", "random"])
@pytest.mark.parametrize("others", [(RANK,), MIXED[3:]], ids=["alone", "with a condition"])
def test_what_a_range_gained_is_searched(
    tmp_path: Path, method: str, others: tuple[Dimension, ...]
) -> None:
    database = tmp_path / "study.db"
    before = go_on(database, make_spec(method, (NARROW, *others)), 12)
    assert max(before) <= 1e-4
    after = go_on(database, make_spec(method, (WIDE, *others)), 24)
    assert sum(rate > 1e-4 for rate in after) >= 8, after
    if method != "random":
        near = sum(abs(math.log10(rate) + 3) < 0.3 for rate in after)
        assert near >= 6, "the best rates are sought, and not drawn at random"
