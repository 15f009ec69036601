"""Interrupted equals uninterrupted: a sweep killed at any write holds the same trials, bit for
bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.records.results import TrialResult, TrialState
from orchestrator.search.samplers import StatelessSampler
from orchestrator.search.study import Study
from orchestrator.search.write_through import WriteThroughStorage
from orchestrator.sweepfile.digest import derived_seed
from orchestrator.sweepfile.limits import Limit
from orchestrator.sweepfile.sweep import EarlyStop, SweepSpec
from tests.search_helpers import FINITE, MIXED, fast_folder, make_result, make_spec

WRITES = (
    "create_new_trial", "set_trial_param", "commit", "set_trial_intermediate_value", "set_trial_user_attr",
    "set_trial_system_attr", "set_study_system_attr", "set_trial_state_values",
)  # fmt: skip


class Killed(BaseException):
    """Stands for kill -9: nothing in between catches it."""


@pytest.fixture(name="folder")
def _folder() -> Iterator[Path]:
    with fast_folder() as folder:
        yield folder


def schedule(trials: int, slots: int) -> list[tuple[str, int, int]]:
    """Events of a pack in the order in which a sweep meets them: ask, report (at 100, 200, ..),
    tell.
    """
    events: list[tuple[str, int, int]] = []
    left: dict[int, int] = {}
    asked = 0
    while asked < trials or left:
        while len(left) < slots and asked < trials:
            events.append(("ask", asked, 0))
            left[asked] = 1 + derived_seed("length", asked) % 3
            asked += 1
        for number in sorted(left):
            step = 100 * (4 - left[number])
            left[number] -= 1
            events.append(("report", number, step))
            if not left[number]:
                del left[number]
                events.append(("tell", number, step))
    return events


def value_of(params: dict[str, Any], step: int) -> float:
    """A WER that depends on the trial alone."""
    return 40 + derived_seed(str(sorted(params.items()))) % 1000 / 50 - step / 200


def result_of(number: int, params: dict[str, Any], step: int) -> TrialResult:
    """Some complete, some infeasible, some failed."""
    wer, kind = value_of(params, step), number % 5
    if kind == 3:
        return make_result(
            number,
            params,
            wer,
            feasible=False,
            constraints={"heldout_wer": 0.4},
            reason="guardrail",
        )
    if kind == 4:
        return make_result(
            number, params, state=TrialState.FAIL, feasible=False, wer={}, delta={}, constraints={}
        )
    return make_result(number, params, wer)


def play(
    path: Path,
    spec: SweepSpec,
    events: list[tuple[str, int, int]],
    done: list[int],
    stops: list[bool],
) -> None:
    """One process: continue after the events in `done`."""
    study = Study.open(path, spec)
    try:
        flying = {t.number: t.params for t in study.trials() if t.state is TrialState.RUNNING}
        while len(done) < len(events):
            kind, number, step = events[len(done)]
            if kind == "ask" and number not in flying:
                asked = study.ask()
                assert asked is not None and asked.number == number
                flying[number] = asked.params
            elif kind == "report":
                stop = study.early_stop(number, step, value_of(flying[number], step))
            elif kind == "tell":
                known = flying[number] if number in flying else study.trials()[number].params
                study.tell(number, result_of(number, known, step))
            study.commit()
            stops += [stop] if kind == "report" else []
            done.append(number)
    finally:
        study.close()


def straight(
    path: Path, spec: SweepSpec, events: list[tuple[str, int, int]], done: list[int] | None = None
) -> tuple[list[Any], list[bool]]:
    stops: list[bool] = []
    play(path, spec, events, done or [], stops)
    return final(path, spec), stops


def final(path: Path, spec: SweepSpec) -> list[Any]:
    study = Study.open(path, spec)
    try:
        return [(t.number, t.state, t.params, t.value, t.user_attrs) for t in study.trials()]
    finally:
        study.close()


def kill_writes(monkeypatch: pytest.MonkeyPatch, fuse: list[int]) -> None:
    """The process dies at write number `fuse[0]` to the database, before it (`fuse[1]` is 0) or
    just after it.
    """

    def burning(original: Any) -> Any:
        def write(*arguments: Any, **options: Any) -> Any:
            fuse[0] -= 1
            if fuse == [0, 0]:
                raise Killed
            answer = original(*arguments, **options)
            if fuse == [0, 1]:
                raise Killed
            return answer

        return write

    for name in WRITES:
        original = getattr(WriteThroughStorage, name)
        monkeypatch.setattr(WriteThroughStorage, name, burning(original))


@pytest.mark.parametrize(
    ("method", "trials", "slots", "searched"),
    [
        ("tpe", 14, 1, MIXED),
        pytest.param("tpe", 40, 4, MIXED, marks=pytest.mark.slow),
        ("random", 8, 3, MIXED),
        pytest.param("qmc", 14, 1, MIXED, marks=pytest.mark.slow),
        ("grid", 8, 3, FINITE),
    ],
)
def test_a_study_killed_at_any_write_and_resumed_equals_one_straight_through(
    method: str,
    trials: int,
    slots: int,
    searched: Any,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start_with = ({"rank": 8}, {"rank": 8, "replay_ratio": 0.5})
    spec = make_spec(
        method, searched, seed=5, start_with=start_with, early_stop=EarlyStop(method="median")
    )
    events = schedule(trials, slots)
    expected, expected_stops = straight(folder / "straight.db", spec, events)

    fuse = [0, 0]
    kill_writes(monkeypatch, fuse)
    done: list[int] = []
    stops: list[bool] = []
    lives = 0
    while len(done) < len(events):
        fuse[:] = [2 + derived_seed(method, slots, lives) % 80, lives % 2]
        lives += 1
        try:
            play(folder / "killed.db", spec, events, done, stops)
        except Killed:
            continue
    fuse[:] = [-1, 0]

    assert lives > trials / 8
    assert final(folder / "killed.db", spec) == expected
    assert stops == expected_stops and (any(stops) or trials < 40)
    assert len({str(params) for _, _, params, _, _ in expected}) > trials / 2


def test_a_sampler_that_lives_on_would_repeat_its_points(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The negative control of the tests above: with one seed for all trials they must fail.
    spec = make_spec("random")
    inner = StatelessSampler._inner
    monkeypatch.setattr(StatelessSampler, "_inner", lambda self, number, *key: inner(self, 0, *key))
    trials, _ = straight(folder / "study.db", spec, schedule(5, 1))
    assert len({str(params) for _, _, params, _, _ in trials}) == 1


def test_gp_asks_again_the_same_after_a_restart(folder: Path) -> None:
    spec = make_spec("gp", seed=3)
    events = schedule(10, 1)
    expected, _ = straight(folder / "straight.db", spec, events)
    done: list[int] = []
    for cut in (4, len(events) - 3, len(events)):
        play(folder / "resumed.db", spec, events[:cut], done, [])
    assert final(folder / "resumed.db", spec) == expected


def test_gp_keeps_each_guardrails_constraints_apart_after_a_restart(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = {"heldout_wer": Limit(max_regression=0.2), "domain_wer": Limit(max_regression=9.0)}
    spec = make_spec("gp", seed=3, guardrails=limits)

    def broken_in_turn(number: int, params: dict[str, Any], step: int) -> TrialResult:
        kept = number % 3 != 0
        broken = {"heldout_wer": -0.3 if kept else 0.4 + params["rank"] / 99, "domain_wer": -9.0}
        return make_result(
            number, params, value_of(params, step), feasible=kept, constraints=broken
        )

    monkeypatch.setattr(f"{__name__}.result_of", broken_in_turn)
    events = schedule(11, 1)
    expected, _ = straight(folder / "straight.db", spec, events)
    done: list[int] = []
    for cut in (events.index(("ask", 9, 0)), len(events)):  # trial 10 sees 9 told and 0 to 8 read
        play(folder / "resumed.db", spec, events[:cut], done, [])
    assert final(folder / "resumed.db", spec) == expected


def test_constraints_are_read_back_in_the_order_of_the_sweep_file(folder: Path) -> None:
    metrics = ("heldout_wer", "domain_wer", "heldout_cer", "domain_cer")
    spec = make_spec("gp", guardrails=dict.fromkeys(metrics, Limit(max_regression=0.2)))
    for number in range(2):  # of the second process one trial is read, one is new
        study = Study.open(folder / "study.db", spec)
        study.ask()
        study.set_constraints(number, dict.fromkeys(sorted(metrics), -0.1))
        orders = [tuple(t.constraints) for t in study._study.get_trials(deepcopy=False)]
        assert orders == [metrics] * (number + 1)
        study.commit()
        study.close()
