"""Points of the space: the Sobol sequence against scipy, kinds of ranges."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from optuna.distributions import IntDistribution
from scipy.stats import qmc

from orchestrator.planning.points import grid_cells, sobol_point, start_points, value_at
from orchestrator.search.samplers import distribution_of
from orchestrator.sweepfile.digest import derived_seed
from orchestrator.sweepfile.search_space import Condition, Dimension, SearchSpace
from tests.search_helpers import MIXED, WHEN_REPLAY, make_spec


def test_sobol_is_scipys_scrambled_sequence() -> None:
    spec = make_spec("qmc", seed=9)
    rows = qmc.Sobol(len(MIXED), scramble=True, rng=derived_seed(9, "sobol")).random(16)
    for index, row in enumerate(rows):
        point = sobol_point(spec, index)
        rate = math.exp(math.log(1e-5) + row[0] * (math.log(1e-2) - math.log(1e-5)))
        assert math.isclose(point["learning_rate"], rate, rel_tol=1e-12)
        assert math.isclose(point["replay_ratio"], 0.75 * row[3], rel_tol=1e-12)
        assert point["adapter"] == ("lora", "dora")[int(2 * row[2])]


def test_sobol_is_balanced_within_the_space_and_never_outside() -> None:
    searched = (
        Dimension(name="rank", low=2, high=64, log=True),
        Dimension(name="adapter", choices=("lora", "dora", "pissa", "pissa-dora")),
        Dimension(name="max_steps", low=100, high=400, step=100),
        Dimension(name="replay_ratio", low=0.0, high=0.75, step=0.25),
        Dimension(name="batch_size", low=3, high=3),
    )
    spec = make_spec("qmc", searched)
    points = [sobol_point(spec, index) for index in range(64)]
    for dimension in searched:
        assert all(dimension.contains(point[dimension.name]) for point in points)
        kinds = {type(point[dimension.name]) for point in points}
        assert len(kinds) == 1
    assert set(Counter(point["adapter"] for point in points).values()) == {16}
    assert Counter(point["max_steps"] for point in points) == {100: 16, 200: 16, 300: 16, 400: 16}
    assert min(p["rank"] for p in points) <= 3 and max(p["rank"] for p in points) >= 60


@pytest.mark.parametrize(
    "dimension",
    [
        Dimension(name="lora_dropout", low=0.1, high=0.9, step=0.1),
        Dimension(name="learning_rate", low=1e-5, high=1e-3, step=1e-5),
        Dimension(name="max_steps", low=100, high=400, step=100),
        Dimension(name="seed", low=0, high=2**32 - 1),
        Dimension(name="adapter", choices=("lora", "dora", "pissa")),
    ],
)
def test_one_value_of_many_is_made_without_the_others(
    dimension: Dimension, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A range in small steps may have millions of them, and `validate` draws a thousand points."""
    shares = (0.0, 0.25, 0.5, 0.999999)
    values = dimension.values
    assert values is not None and len(values) == dimension.size
    expected = [values[int(share * len(values))] for share in shares]
    monkeypatch.delattr(Dimension, "values")
    assert [value_at(dimension, share) for share in shares] == expected


def test_ranges_keep_their_kind_in_optuna() -> None:
    whole = distribution_of(Dimension(name="rank", low=2, high=64, log=True))
    assert isinstance(whole, IntDistribution)
    assert (whole.low, whole.high, whole.log) == (2, 64, True)
    real = distribution_of(Dimension(name="lora_dropout", low=0.0, high=0.5, step=0.1))
    assert (type(real).__name__, real.step) == ("FloatDistribution", 0.1)  # type: ignore[union-attr]


def test_a_grid_begins_with_the_cell_that_has_all_of_a_start_point() -> None:
    ratio = Dimension(name="replay_ratio", choices=(0.0, 0.5))
    above = (Condition(parameter="replay_ratio", operator="above", value=0.1),)
    weight = Dimension(name="kl_weight", choices=(0.1, 0.3), when=above)
    space = SearchSpace(fixed={}, searched=(ratio, weight), presets={})
    assert grid_cells(space, ({"kl_weight": 0.3},))[0] == {"replay_ratio": 0.5, "kl_weight": 0.3}
    assert len(grid_cells(space, ({"kl_weight": 0.3},))) == 3
    assert grid_cells(space, ({"replay_ratio": 0.0, "kl_weight": 0.3},))[0] == {"replay_ratio": 0.0}


def test_two_start_points_of_one_cell_are_one_cell_of_the_grid() -> None:
    rank = Dimension(name="rank", choices=(4, 8))
    scheduler = Dimension(name="scheduler", choices=("linear", "cosine"))
    space = SearchSpace(fixed={}, searched=(rank, scheduler), presets={})
    cells = grid_cells(space, ({"rank": 8}, {"rank": 8, "scheduler": "linear"}))
    assert cells[0] == {"rank": 8, "scheduler": "linear"}
    assert len(cells) == len({tuple(cell.items()) for cell in cells}) == 4


def test_a_start_point_loses_what_depends_on_an_inactive_parameter() -> None:
    """Else two points that are the same trial would be two, and the second a copy of the first."""
    ratio = Dimension(name="replay_ratio", choices=(0.0, 0.5))
    above = (Condition(parameter="replay_ratio", operator="above", value=0.1),)
    weight = Dimension(name="kl_weight", choices=(0.1, 0.3), when=above)
    strong = (Condition(parameter="kl_weight", operator="equals", value=0.3),)
    labels = Dimension(name="replay_labels", choices=("manifest", "model"), when=strong)
    point = {"replay_ratio": 0.0, "kl_weight": 0.3, "replay_labels": "model"}
    started = ({"replay_ratio": 0.0}, {"replay_labels": "model"})
    spec = make_spec(searched=(ratio, weight, labels), start_with=(point, *started))
    assert start_points(spec) == started


def test_a_whole_number_on_a_logarithmic_axis_owns_half_a_unit_to_both_sides() -> None:
    """As in Optuna. Else the two ends would be drawn half as often as their share."""
    rank = Dimension(name="rank", low=1, high=5, log=True)
    axis = math.log(5.5) - math.log(0.5)
    for number in (1, 2, 3, 4, 5):
        ends = (number - 0.5, number + 0.5)
        first, last = ((math.log(end) - math.log(0.5)) / axis for end in ends)
        assert value_at(rank, first + 1e-9) == value_at(rank, last - 1e-9) == number
    # a share just below 1 may be rounded to 1 on its way
    assert value_at(rank, 1.0) == 5
    assert value_at(Dimension(name="rank", choices=(4, 8)), 1.0) == 8


def test_the_default_of_an_inactive_parameter_is_possible() -> None:
    always = Dimension(name="replay_labels", choices=("model",))
    at_times = always.model_copy(update={"when": WHEN_REPLAY})
    for dimension, needs_text in ((always, False), (at_times, True)):
        spec = make_spec(searched=(MIXED[3], dimension))
        assert spec.replay_needs_text == needs_text


@pytest.mark.parametrize(
    ("dimension", "inside", "outside"),
    [
        (Dimension(name="seed", low=0, high=2**32 - 3), 2**32 - 3, 2**32 - 2),
        (Dimension(name="seed", low=0, high=2**32 - 4, step=3), 2**32 - 7, 2**32 - 6),
        (Dimension(name="learning_rate", low=1e-12, high=1.0, log=True), 1e-12, 1e-13),
        (Dimension(name="weight_decay", low=0.0, high=0.5), -1e-18, -1e-8),
        (Dimension(name="lora_dropout", low=0.0, high=0.3, step=0.1), 0.1 * 3, 0.1 * 4),
        (Dimension(name="lora_dropout", low=0.0, high=0.3, step=0.1), 0.2, 0.15),
        (Dimension(name="noise_snr", low=-0.3, high=0.0, step=0.1), -0.3 + 3 * 0.1, 0.1),
    ],
)
def test_a_value_beyond_an_end_is_outside_however_long_the_range_is(
    dimension: Dimension, inside: float, outside: float
) -> None:
    assert dimension.contains(inside) and not dimension.contains(outside)
