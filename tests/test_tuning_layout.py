"""Clips laid end to end, and the parts of a step shared out among cores: neither may change what is
computed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from orchestrator.errors import Interrupted
from orchestrator.tuning.model.core_threads import Cores, cores, on_all_cores, use_cores
from orchestrator.tuning.model.layout import RaggedLayout, laid_out

CPU = torch.device("cpu")


def padded_rows(lengths: list[int], width: int = 3) -> tuple[list[Tensor], Tensor]:
    """Rows of their own lengths, and the same padded with NaN: what is read beyond an end shows."""
    rows = [torch.randn(length, width, dtype=torch.float64) for length in lengths]
    padded = torch.full((len(rows), max(lengths), width), torch.nan, dtype=torch.float64)
    for row, values in enumerate(rows):
        padded[row, : len(values)] = values
    return rows, padded


@pytest.mark.parametrize("block", [1, 4])
@pytest.mark.parametrize(
    ("lengths", "slots"),
    [([5], 1), ([3, 1, 7], 1), ([3, 1, 7, 2, 2, 2], 2), ([1, 6, 0, 2, 3, 4], 3)],
)
def test_clips_stand_end_to_end_and_come_back(lengths: list[int], slots: int, block: int) -> None:
    torch.manual_seed(0)
    rows, padded = padded_rows(lengths)
    layout = RaggedLayout(torch.tensor(lengths), slots, block)
    flat = layout.flatten(padded)

    each = len(lengths) // slots
    most = max(sum(lengths[slot * each : (slot + 1) * each]) for slot in range(slots))
    assert flat.shape == (slots, most + -most % block, 3)
    for slot in range(slots):
        own = torch.cat(rows[slot * each : (slot + 1) * each])
        assert torch.equal(flat[slot][layout.valid[slot]], own)
        assert layout.valid[slot].tolist() == [True] * len(own) + [False] * (
            layout.places - len(own)
        )

    again = layout.pad(flat.nan_to_num())
    assert torch.isfinite(again).all()
    for row, values in enumerate(rows):
        assert torch.equal(again[row, : len(values)], values)
    assert layout.mask[:, 0, 0].sum(1).tolist() == lengths


def test_each_frame_knows_its_clip_and_its_place() -> None:
    layout = RaggedLayout(torch.tensor([2, 1, 1, 3]), slots=2)
    assert layout.row[layout.valid].tolist() == [0, 0, 1, 2, 3, 3, 3]
    assert layout.position[layout.valid].tolist() == [0, 1, 0, 0, 0, 1, 2]


def test_gradients_pass_through_both_ways_and_only_through_real_frames() -> None:
    torch.manual_seed(0)
    layout = RaggedLayout(torch.tensor([3, 1, 4, 2]), slots=2, block=4)
    flat = torch.randn(2, layout.places, 2, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, layout.longest, 2, dtype=torch.float64)
    real = layout.mask[:, 0, 0, :, None]

    (gradient,) = torch.autograd.grad((layout.pad(flat) * weight).where(real, 0.0).sum(), flat)
    expected = torch.zeros_like(flat)
    expected[layout.valid] = weight[real[..., 0]]
    assert torch.equal(gradient, expected)

    padded = torch.randn(4, layout.longest, 2, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, layout.places, 2, dtype=torch.float64)
    valid = layout.valid[..., None]
    (gradient,) = torch.autograd.grad(
        (layout.flatten(padded) * weight).where(valid, 0.0).sum(), padded
    )
    expected = torch.zeros_like(padded)
    expected[real[..., 0]] = weight[layout.valid]
    assert torch.equal(gradient, expected)


def test_frames_of_one_slot_are_given_a_layout_and_a_slot_repeats_it() -> None:
    flat = torch.randn(5, 2)
    frames, layout = laid_out(flat, torch.tensor([2, 3]), block=4)
    assert frames.shape == (1, 8, 2)
    assert torch.equal(frames[0][layout.valid[0]], flat)
    both = layout.repeated(2)
    assert both.lengths.tolist() == [2, 3, 2, 3]
    assert torch.equal(both.clip, layout.clip.expand(2, -1))


@pytest.fixture
def two() -> Cores:
    made = Cores(CPU)
    made.count = made.threads = 2
    return made


def test_parts_run_side_by_side_in_order_under_the_callers_modes(two: Cores) -> None:
    meeting = threading.Barrier(2, timeout=20)

    def part(item: int) -> tuple[int, bool, bool, torch.dtype, int]:
        meeting.wait()  # passes only if both run at once
        return (
            item,
            torch.is_grad_enabled(),
            torch.is_autocast_enabled("cpu"),
            torch.get_autocast_dtype("cpu"),
            torch.get_num_threads(),
        )

    with torch.no_grad(), torch.autocast("cpu", torch.float16):
        results = list(two.map(part, [7, 3]))
    assert results == [(7, False, True, torch.float16, 1), (3, False, True, torch.float16, 1)]
    assert [enabled for _, enabled, *_ in two.map(part, [0, 1])] == [True, True]


@pytest.mark.parametrize(
    ("threads", "count", "alone"),
    [(1, 1, 1), (3, 3, 1), (4, 4, 1), (6, 3, 2), (8, 4, 2), (9, 4, 2)],
)
def test_many_cores_share_few_parts(threads: int, count: int, alone: int) -> None:
    before = torch.get_num_threads()
    use_cores(threads)
    try:
        made = Cores(CPU)
        assert (made.count, made.at_once) == (count, threads)
        for parts in (count, 2 * count):
            assert (
                list(made.map(lambda _: torch.get_num_threads(), range(parts))) == [alone] * parts
            )
        assert list(made.map(lambda _: torch.get_num_threads(), [0])) == [threads]
        assert made.map_whole(lambda _: torch.get_num_threads(), [0]) == [1]
    finally:
        use_cores(before)


def test_no_more_parts_at_once_than_there_are_parts_of_a_step(two: Cores) -> None:
    running, most, lock = 0, 0, threading.Lock()

    def part(_: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1

    two.lent = 8
    list(two.map(part, range(8)))
    assert most == 2


def test_whole_things_may_be_computed_on_more_cores_than_one_is_cut_up_for() -> None:
    before = torch.get_num_threads()
    use_cores(1, at_once=3)
    try:
        made = Cores(CPU)
        assert (made.count, made.at_once) == (1, 3)
        meeting = threading.Barrier(3, timeout=20)

        def whole(item: int) -> tuple[int, int]:
            meeting.wait()
            return item, torch.get_num_threads()

        assert made.map_whole(whole, [4, 5, 6]) == [(4, 1), (5, 1), (6, 1)]
    finally:
        use_cores(before)


class Lent:
    """Cores that others lend and take back: `free` says how many may be used now."""

    def __init__(self) -> None:
        self.free = 1

    def __call__(self) -> int:
        return self.free


@pytest.fixture
def lent() -> Iterator[Lent]:
    before, cores = torch.get_num_threads(), Lent()
    use_cores(1, at_once=cores)
    yield cores
    use_cores(before)


def test_how_many_whole_things_are_computed_at_once_is_asked_for_each(lent: Lent) -> None:
    made, own = Cores(CPU), threading.get_ident()
    running, most, places, lock = 0, dict.fromkeys(range(12), 0), [0] * 12, threading.Lock()

    def whole(item: int) -> int:
        nonlocal running
        with lock:
            running += 1
            most[item], places[item] = running, threading.get_ident()
        time.sleep(0.05)
        with lock:
            running -= 1
        if item == 2:
            lent.free = 3
        if item == 8:
            lent.free = 1
        return item

    assert made.map_whole(whole, range(12)) == list(range(12))
    assert [most[item] for item in (0, 1, 2)] == [1, 1, 1] and places[:3] == [own] * 3
    assert max(most.values()) == 3 and own not in places[3:9]
    assert most[11] == 1 and places[11] == own
    lent.free = 0
    assert (made.count, made.at_once) == (1, 1)


@pytest.mark.parametrize("threads", [0, 1])
def test_a_lent_core_that_cannot_be_used_fails_nothing(
    threads: int, lent: Lent, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, left, start = Cores(CPU), threads, threading.Thread.start
    lent.free = 4

    def limited(thread: threading.Thread) -> None:
        nonlocal left
        if not left:
            raise RuntimeError("can't start new thread")
        left -= 1
        start(thread)

    def whole(item: int) -> int:
        time.sleep(0.02)
        return item

    monkeypatch.setattr(threading.Thread, "start", limited)
    heard: list[int] = []
    assert made.map_whole(whole, range(6), heard.append) == list(range(6))
    assert sorted(heard) == list(range(6))


def test_another_device_leaves_the_threads_of_the_process_alone() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        made = Cores(torch.device("cuda"))
        assert made.map_whole(lambda _: torch.get_num_threads(), [0, 1]) == [3, 3]
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_stop_reaches_the_caller_before_all_is_computed(lent: Lent) -> None:
    made, begun = Cores(CPU), []
    lent.free = 2

    def whole(item: int) -> None:
        begun.append(item)
        time.sleep(0.05)

    def stop(_: int) -> None:
        raise Interrupted("SIGINT")

    with pytest.raises(Interrupted):
        made.map_whole(whole, range(40), stop)
    time.sleep(0.3)
    assert len(begun) < 5


@pytest.mark.parametrize("free", [1, 3])
def test_the_error_is_that_of_the_first_that_fails(free: int, lent: Lent) -> None:
    made, begun = Cores(CPU), []
    lent.free = free

    def whole(item: int) -> int:
        begun.append(item)
        time.sleep(0.2 if item == 3 else 0.02)
        if item in (3, 4):
            raise ValueError(f"item {item}")
        return item

    with pytest.raises(ValueError, match="item 3"):
        made.map_whole(whole, range(40))
    assert len(begun) < 20


def test_the_first_exception_of_a_part_is_the_callers(two: Cores) -> None:
    def part(item: int) -> int:
        if item:
            raise ValueError(f"part {item}")
        return item

    with pytest.raises(ValueError, match="part 1"):
        list(two.map(part, [0, 1, 2]))


def test_what_is_not_kept_may_be_cut_up_for_all_cores() -> None:
    before = torch.get_num_threads()
    use_cores(1, at_once=3)
    try:
        with on_all_cores(CPU):
            assert (cores(CPU).count, torch.get_num_threads()) == (3, 3)
        assert (cores(CPU).count, cores(CPU).at_once, torch.get_num_threads()) == (1, 3, 1)
        with pytest.raises(ValueError), on_all_cores(CPU):
            raise ValueError
        assert cores(CPU).count == 1
    finally:
        use_cores(before)
