"""A study is a function of its file and its packs, never of where they run, how fast, or which of
them is lost.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from orchestrator.errors import Interrupted, StudyError
from orchestrator.fleet.fleet import Fleet
from orchestrator.fleet.hosts import Hosts, InlineHosts, NoRoom, Remote
from orchestrator.fleet.pack_commands import ADVANCE
from orchestrator.fleet.pack_history import Pack
from orchestrator.planning.cost import step_cost
from orchestrator.planning.trial_plan import first_plan
from orchestrator.records.worker_protocol import Measured
from orchestrator.sweepfile.sweep import Budget, EarlyStop, SweepSpec
from tests.crashes import Fuse, Killed, effects
from tests.fake_worker import FakeWorker
from tests.fleet_support import ThreadHosts, drive, next_plan, run_fleet, study_bytes
from tests.running_support import SPACE, history, make_spec, run

SPEC = make_spec(budget=Budget(trials=9), scales=(1.0,), seed=5)
SPECS = {
    "short": make_spec(budget=Budget(trials=5), scales=(1.0,), seed=5),
    "tpe": SPEC,
    "median": make_spec(
        budget=Budget(trials=8),
        early_stop=EarlyStop(method="median", startup_trials=1),
        scales=(0.5,),
    ),
    "fails": make_spec(
        budget=Budget(trials=8),
        searched=(SPACE[0].model_copy(update={"choices": (0.6, 1e-3)}), *SPACE[1:]),
    ),
}


@pytest.fixture(autouse=True)
def _no_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def inline(spec: SweepSpec, root: Path, packs: int) -> dict[str, bytes]:
    run_fleet(spec, root, InlineHosts(FakeWorker()), packs)
    return study_bytes(root)


def check_threads(name: str, packs: int, tmp_path: Path, chosen: tuple[int, ...]) -> None:
    expected = inline(SPECS[name], tmp_path / "inline", packs)
    assert (
        len([file for file in expected if file.endswith("result.json")])
        == SPECS[name].budget.trials
    )
    for threads in chosen:
        root = tmp_path / f"{threads}"
        run_fleet(SPECS[name], root, ThreadHosts(FakeWorker(), threads, seed=threads), packs)
        assert study_bytes(root) == expected, f"{threads} threads"
        assert history(SPECS[name], root) == history(SPECS[name], tmp_path / "inline")


def test_threads_and_their_speed_leave_no_trace_in_a_study(tmp_path: Path) -> None:
    check_threads("median", 2, tmp_path, (3,))


@pytest.mark.slow
@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("packs", [1, 2, 4])
def test_any_number_of_threads_leaves_no_trace_in_a_study(
    name: str, packs: int, tmp_path: Path
) -> None:
    check_threads(name, packs, tmp_path, (1, 2, 3, 4))


@pytest.mark.slow
def test_one_pack_in_a_fleet_asks_and_tells_what_a_worker_alone_does(tmp_path: Path) -> None:
    inline(SPEC, tmp_path / "fleet", 1)
    run(SPEC, tmp_path / "worker", FakeWorker(), clock=lambda: 0.0)
    assert history(SPEC, tmp_path / "fleet") == history(SPEC, tmp_path / "worker")


def fleet_on(hosts: Hosts, packs: int, save_every: float = 0.0) -> Fleet:
    return Fleet(hosts, packs, 2, save_every=save_every)


def driven(fleet: Fleet, tmp_path: Path) -> list[str]:
    """A search of 7 trials that saves after each event, as a sweep does."""
    saves = (tmp_path / f"{number}" for number in itertools.count())
    return drive(fleet, 7, lambda: fleet.save(next(saves)) if fleet.active else None)


@pytest.mark.parametrize("packs", [1, 2, 4])
def test_a_search_is_the_same_on_any_number_of_threads(packs: int, tmp_path: Path) -> None:
    expected = driven(fleet_on(InlineHosts(FakeWorker()), packs), tmp_path / "inline")
    assert (
        sum("Failed" in line for line in expected)
        and sum("Measured" in line for line in expected) > 5
    )
    for threads in (1, 2, 3, 4):
        hosts = ThreadHosts(FakeWorker(), threads, seed=threads)
        assert driven(fleet_on(hosts, packs), tmp_path / f"{threads}") == expected


def test_the_number_of_packs_is_part_of_the_search(tmp_path: Path) -> None:
    one, two = (
        driven(fleet_on(InlineHosts(FakeWorker()), packs), tmp_path / f"{packs}")
        for packs in (1, 2)
    )
    assert one != two


def straight(packs: int, save_every: float, tmp_path: Path) -> tuple[list[str], int]:
    hosts = ThreadHosts(FakeWorker(), 2)
    return driven(fleet_on(hosts, packs, save_every), tmp_path / "straight"), hosts.calls


SAVES = pytest.mark.parametrize("save_every", [0.0, 1e9], ids=["saved", "from the log alone"])


@SAVES
def test_a_pack_lost_at_every_third_call_leaves_no_trace(save_every: float, tmp_path: Path) -> None:
    check_calls(save_every, tmp_path, 3)


@pytest.mark.slow
@SAVES
def test_a_pack_lost_at_any_call_leaves_no_trace(save_every: float, tmp_path: Path) -> None:
    check_calls(save_every, tmp_path, 1)


def check_calls(save_every: float, tmp_path: Path, stride: int) -> None:
    expected, total = straight(2, save_every, tmp_path)
    assert total > 20
    for at in range(1, total + 1, stride):
        hosts = ThreadHosts(FakeWorker(), 2, (at,), seed=at)
        fleet = fleet_on(hosts, 2, save_every)
        assert driven(fleet, tmp_path / f"{at}") == expected, f"killed at call {at} of {total}"
        assert hosts.calls >= at


def check_pairs(tmp_path: Path, chosen: slice) -> int:
    """Two packs lost in turn, or one twice. Twice at one step while it trains is another case: a
    trial fails.
    """
    expected, total = straight(2, 0.0, tmp_path)
    equal = 0
    for pair in list(itertools.combinations(range(1, total + 1), 2))[chosen]:
        hosts = ThreadHosts(FakeWorker(), 2, pair, seed=sum(pair))
        came = driven(fleet_on(hosts, 2), tmp_path / f"{pair}")
        if not any("died twice" in line for line in came):
            assert came == expected, f"killed at calls {pair}"
            equal += 1
    return equal


def test_packs_lost_in_pairs_leave_no_trace(tmp_path: Path) -> None:
    assert check_pairs(tmp_path, slice(0, None, 41)) > 5


@pytest.mark.slow
def test_packs_lost_at_every_pair_of_calls_leave_no_trace(tmp_path: Path) -> None:
    assert check_pairs(tmp_path, slice(None)) > 200


def test_each_pack_is_saved_where_their_events_come_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where trials are alike: the events of the others follow at once on those of the first."""
    spec = make_spec(
        budget=Budget(trials=6), searched=SPACE[:1], fixed={"max_steps": 500}, guardrails={}
    )
    cost, fleets, repeated = step_cost(first_plan(spec)), [], []

    def watched(fleet: Fleet) -> Fleet:
        save = fleet.save

        def saved(folder: Path) -> None:
            save(folder)
            repeated.append([pack.log.count(ADVANCE) for pack in fleet._packs])

        monkeypatch.setattr(fleet, "save", saved)
        fleets.append(fleet)
        return fleet

    run_fleet(
        spec,
        tmp_path,
        ThreadHosts(FakeWorker(1), 3),
        packs=3,
        pack=1,
        save_every=60.0,
        wrap=watched,
        clock=lambda: fleets[0]._now / cost if fleets else 0.0,  # a second a step
        checkpoint_every=60.0,
    )
    assert len(repeated) > 9 and not any(map(any, repeated)), repeated


def test_slots_that_kill_two_workers_at_one_step_end_the_newest_trial(tmp_path: Path) -> None:
    _, total = straight(1, 0.0, tmp_path)
    came = next(
        came for at in range(1, total) if "died twice" in str(came := lost_twice(at, tmp_path))
    )
    failed = "Failed 1 at 100: its worker died twice at step 100: killed in training"
    assert came[:4] == ["admitted 0", "admitted 1", failed, "released 1"]
    assert sum("admitted" in line for line in came) == 7


def test_a_pack_lost_twice_before_its_first_progress_accuses_no_trial() -> None:
    plan = first_plan(SPECS["short"])
    pack = Pack(0)
    pack.admitted(plan, 0)
    assert [pack.dies() for _ in range(4)] == [False, False, False, True]
    pack.end_newest("SIGKILL")
    assert pack.ended is not None and "died 4 times at step 0" in str(pack.ended.events[0])
    heard = Pack(1)
    heard.admitted(plan, 0)
    for step, dies in ((10, False), (20, False), (20, True)):
        heard.heard = {plan.number: step}
        assert heard.dies() == dies


def test_machines_preempted_at_one_step_accuse_no_trial_until_the_fourth() -> None:
    """A trial that takes its machine down with it is still told from preemptions in the end; a
    process that dies alone counts as before, whatever happened to machines.
    """
    plan = first_plan(SPECS["short"])
    machines, mixed = Pack(0), Pack(1)
    for pack in (machines, mixed):
        pack.admitted(plan, 0)
        pack.heard = {plan.number: 20}
    assert [machines.dies(with_machine=True) for _ in range(4)] == [False, False, False, True]
    assert [mixed.dies(with_machine=gone) for gone in (False, True, False)] == [False, False, True]


def test_a_machine_lost_twice_at_one_step_leaves_no_trace(tmp_path: Path) -> None:
    """What a study asks and tells is no function of which machines were lost."""
    expected, total = straight(1, 0.0, tmp_path)
    for at in range(1, total):
        assert lost_twice(at, tmp_path, with_machine=True) == expected, f"lost at call {at}"


def lost_twice(at: int, tmp_path: Path, *, with_machine: bool = False) -> list[str]:
    hosts = ThreadHosts(FakeWorker(), 1, (at, at + 1))
    hosts.when, hosts.with_machine = "after", with_machine
    return driven(fleet_on(hosts, 1), tmp_path / f"{at}-{hosts.calls}-{id(hosts)}")


class FullHosts(ThreadHosts):
    """Hosts that lose every pack at its first advance, and have room for one pack in all."""

    def __init__(self) -> None:
        super().__init__(FakeWorker(), 1, range(2, 1000))
        self.rooms = 1

    def start(self, index: int) -> Remote:
        if not self.rooms:
            raise NoRoom
        self.rooms -= 1
        return super().start(index)


def asked_to_stop() -> None:
    raise Interrupted("SIGTERM")


def test_a_pack_that_waits_for_a_machine_lets_its_run_stop(tmp_path: Path) -> None:
    hosts = FullHosts()
    fleet = Fleet(hosts, 2, 2, save_every=0.0, check_stop=asked_to_stop)
    fleet.admit(next_plan(0, []))
    events = [fleet.advance() for _ in range(3)]
    assert "lost in a thread" in str(events[0]) and events[1:] == [(), ()]
    fleet.save(tmp_path / "saved")
    # there is no room for what must be answered, either
    with pytest.raises(Interrupted):
        fleet.admit(next_plan(1, ["admitted 0"]))
    assert fleet.active == (0,)


def test_slots_are_freed_without_a_machine() -> None:
    """As when the wall clock is spent while a pack waits for a machine, perhaps for hours."""
    hosts = FullHosts()
    hosts.kills = set(range(3, 1000))
    fleet = Fleet(hosts, 1, 2, save_every=0.0, check_stop=asked_to_stop)
    for number in range(2):
        fleet.admit(next_plan(number, []))
    assert "lost in a thread" in str(fleet.advance()) and fleet.advance() == ()
    fleet.release(0)
    assert set(fleet.active) == {1}
    hosts.rooms, hosts.kills = 1, set()
    while not (events := [e for e in fleet.advance() if isinstance(e, Measured)]):
        pass
    assert [event.number for event in events] == [1]
    fleet.release(1)
    assert not fleet.active


def test_a_pack_that_cannot_be_had_ends_the_run_with_a_next_step(tmp_path: Path) -> None:
    hosts = ThreadHosts(FakeWorker(), 1, range(5, 1000))
    with pytest.raises(StudyError, match=r"(?s)pack 0 was lost 5 times .* continues the study"):
        driven(fleet_on(hosts, 1), tmp_path)


def test_an_orchestrator_killed_now_and_then_leaves_no_trace(tmp_path: Path) -> None:
    check_kills(0.0, tmp_path, 500)


@pytest.mark.slow
@SAVES
def test_an_orchestrator_killed_often_leaves_no_trace(save_every: float, tmp_path: Path) -> None:
    check_kills(save_every, tmp_path, 41)


def check_kills(save_every: float, tmp_path: Path, stride: int) -> None:
    spec = SPECS["short"]
    run_fleet(spec, tmp_path / "straight", InlineHosts(FakeWorker()), 2, save_every=save_every)
    expected = history(spec, tmp_path / "straight")
    fuse = Fuse()
    with effects(fuse):
        run_fleet(spec, tmp_path / "count", InlineHosts(FakeWorker()), 2, save_every=save_every)
    for at in range(137, fuse.count, stride):
        root = tmp_path / f"{at}"
        with effects(Fuse(at)), pytest.raises(Killed):
            run_fleet(spec, root, InlineHosts(FakeWorker()), 2, save_every=save_every)
        run_fleet(spec, root, ThreadHosts(FakeWorker(), 2, seed=at), 2, save_every=save_every)
        assert history(spec, root) == expected, f"killed at effect {at} of {fuse.count}"
