"""A trial that cannot run, out of memory or by any exception, in a step or an evaluation, ends
alone; the other trials of its pack go on.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.errors import Interrupted, ManifestError, ModelError
from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.worker_protocol import Event, Failed, Measured, Noticed
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.tuning import autotune, short_run, trial_faults
from orchestrator.tuning import worker as engine
from orchestrator.tuning.adapters.peft_adapter import initial_adapter
from orchestrator.tuning.autotune import group_of
from orchestrator.tuning.decoding.evaluation import Evaluator
from orchestrator.tuning.model.core_threads import use_cores
from orchestrator.tuning.prepared_sweep import prepare
from orchestrator.tuning.slowness import Usual
from orchestrator.tuning.training import pack_group, step_recovery
from orchestrator.tuning.training import step as training
from orchestrator.tuning.worker import PackWorker, start_worker
from tests.embedded import small_sweep, trial
from tests.tuning_models import DECODER, small_model_folder

pytestmark = pytest.mark.usefixtures("without_model_checks")

SIZES = {"train": 8, "replay": 4, "domain": 1, "heldout": 1}
LONG = 3
"""Steps of trials that are compared before their last one, which is measured."""


@pytest.fixture(scope="module", autouse=True)
def one_core() -> Iterator[None]:
    """A step is cut by the cores that there are, and its cuts are counted here."""
    before = torch.get_num_threads()
    use_cores(1)
    yield
    use_cores(before)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> SweepSpec:
    folder = tmp_path_factory.mktemp("sweep")
    model = small_model_folder(folder / "model")
    return small_sweep(folder, SIZES, model={"id": str(model)})


@pytest.fixture(scope="module")
def prepared(spec: SweepSpec, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return prepare(spec, tmp_path_factory.mktemp("cache"))


def calm(spec: SweepSpec, steps: int = 2) -> list[TrialPlan]:
    common: dict[str, Any] = dict(target_patterns=DECODER, max_steps=steps, batch_size=4)
    return [
        trial(spec, 0, **common, replay_ratio=0.5, kl_weight=0.5),
        trial(spec, 2, **common, adapter="dora", learning_rate=1e-3, seed=5),
        trial(spec, 3, **common, rank=2, seed=7),
    ]


def greedy(spec: SweepSpec, steps: int = 2) -> TrialPlan:
    return trial(
        spec,
        1,
        target_patterns=DECODER,
        max_steps=steps,
        batch_size=4,
        learning_rate=1e-4,
        seed=99,
    )


def run(worker: PackWorker) -> list[Event]:
    events: list[Event] = []
    while worker.active:
        for event in worker.advance():
            events.append(event)
            if isinstance(event, Failed) or (isinstance(event, Measured) and event.final):
                worker.release(event.number)
    return events


def of(events: list[Event], number: int) -> list[Measured]:
    return [event for event in events if isinstance(event, Measured) and event.number == number]


def failures(events: list[Event]) -> list[Failed]:
    return [event for event in events if isinstance(event, Failed)]


def trained_alike(worker: PackWorker, other: PackWorker, numbers: Sequence[int]) -> None:
    """Assert that both have the same weights of these trials, bit for bit."""
    for number in numbers:
        mine, its = worker.adapter(number), other.adapter(number)
        for name, parts in its.modules.items():
            assert all(torch.equal(parts[part], mine.modules[name][part]) for part in parts)


Rule = Callable[[Any, int], None]
"""Called before each step with the optimizer and the division; raises what shall happen."""


def watch_steps(monkeypatch: pytest.MonkeyPatch, rule: Rule) -> None:
    def watched(
        base: Any, store: Any, data: Any, pack: Any, optimizer: Any, depth: int, division: int = 1
    ) -> Any:
        rule(optimizer, division)
        return training.pack_step(base, store, data, pack, optimizer, depth, division)

    monkeypatch.setattr(pack_group, "pack_step", watched)
    monkeypatch.setattr(step_recovery, "pack_step", watched)


def out_of_memory(size: str = "2.00 GiB") -> torch.OutOfMemoryError:
    return torch.OutOfMemoryError(
        f"CUDA out of memory. Tried to allocate {size}. GPU 0 has 79 GiB in total"
    )


def holds_culprit(optimizer: Any) -> bool:
    return any(params.seed == 99 for params in optimizer.params)


def test_an_exception_in_a_step_ends_its_trial_and_the_others_are_bit_for_bit_as_without_it(
    spec: SweepSpec, prepared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rule(optimizer: Any, division: int) -> None:
        if holds_culprit(optimizer) and optimizer.steps[0] == 1:
            raise ValueError("something of this trial\nalone")

    watch_steps(monkeypatch, rule)
    worker = PackWorker(prepared, 4)
    unmeasured = calm(spec, LONG)
    for plan in (unmeasured[0], greedy(spec, LONG), *unmeasured[1:]):
        worker.admit(plan)
    events = list(worker.advance())
    (failed,) = failures(events)
    assert (failed.number, failed.step, failed.reason) == (
        1,
        1,
        "ValueError: something of this trial alone",
    )
    assert failed.traceback.endswith("ValueError: something of this trial\nalone\n")

    other = PackWorker(prepared, 4)  # leaves without a fault after as many steps
    monkeypatch.setattr(engine, "PROGRESS_TICKS", 1)
    for plan in (unmeasured[0], greedy(spec, LONG), *unmeasured[1:]):
        other.admit(plan)
    other.advance()
    other.release(1)
    other.advance()
    trained_alike(worker, other, (0, 2, 3))


def test_memory_that_is_short_is_met_by_smaller_chunks_then_by_a_pack_in_parts(
    spec: SweepSpec, prepared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = PackWorker(prepared, 3)
    for plan in calm(spec):
        straight.admit(plan)
    expected = run(straight)
    tried: list[tuple[int, int]] = []

    def rule(optimizer: Any, division: int) -> None:
        tried.append((len(optimizer.params), division))
        if len(optimizer.params) * 4 // division > 1:
            raise out_of_memory()

    watch_steps(monkeypatch, rule)
    worker = PackWorker(prepared, 3)
    for plan in calm(spec):
        worker.admit(plan)
    events = run(worker)
    assert not failures(events)
    assert tried[:3] == [(3, 1), (3, 2), (3, 4)] and (1, 4) in tried
    for plan in calm(spec):
        for mine, its in zip(of(events, plan.number), of(expected, plan.number), strict=True):
            assert mine.hypotheses == its.hypotheses
            assert mine.measurements[0].train_loss == pytest.approx(
                its.measurements[0].train_loss, rel=1e-4
            )


@pytest.mark.parametrize("too_large", [{(1, 2)}, {(3, 4)}, {(1, 2), (3, 4)}], ids=str)
def test_a_half_that_fits_keeps_its_step_where_the_other_does_not(
    spec: SweepSpec,
    prepared: Any,
    monkeypatch: pytest.MonkeyPatch,
    too_large: set[tuple[int, ...]],
) -> None:
    def trained() -> tuple[PackWorker, list[list[torch.Tensor]]]:
        worker = PackWorker(prepared, 4)
        for seed in (1, 2, 3, 4):
            worker.admit(
                trial(spec, seed, seed=seed, target_patterns=DECODER, max_steps=4, batch_size=4)
            )
        for _ in range(3):
            worker._train_one_tick()
        adapters = [worker.adapter(number).modules for number in (1, 2, 3, 4)]
        return worker, [
            [parts[part] for parts in modules.values() for part in sorted(parts)]
            for modules in adapters
        ]

    _, expected = trained()
    refusals = []

    def rule(optimizer: Any, division: int) -> None:
        seeds = tuple(params.seed for params in optimizer.params)
        if len(seeds) > 2 or seeds in too_large:
            refusals.append(seeds)
            raise out_of_memory()

    watch_steps(monkeypatch, rule)
    worker, adapters = trained()
    assert refusals and all(worker._slots[number].step == 3 for number in (1, 2, 3, 4))
    for trained_alike, wanted in zip(adapters, expected, strict=True):
        torch.testing.assert_close(trained_alike, wanted, atol=1e-5, rtol=1e-4)


def test_a_trial_that_does_not_fit_alone_fails_with_what_it_needed(
    spec: SweepSpec, prepared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rule(optimizer: Any, division: int) -> None:
        if holds_culprit(optimizer):
            raise out_of_memory()

    watch_steps(monkeypatch, rule)
    worker = PackWorker(prepared, 4)
    for plan in (*calm(spec), greedy(spec)):
        worker.admit(plan)
    events = run(worker)
    (failed,) = failures(events)
    assert failed.number == 1
    assert failed.reason == "out of memory, 2,048 MiB more were needed at once"
    assert all(len(of(events, plan.number)) == 1 for plan in calm(spec))
    (own,) = worker._groups.values()
    assert (own.division, own.parts) == (1, 1), "without it the others train as before"


def test_who_lacks_memory_beside_a_culprit_steps_in_smaller_parts(
    spec: SweepSpec, prepared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rule(optimizer: Any, division: int) -> None:
        if holds_culprit(optimizer):
            raise ValueError("something of this trial alone")
        if division < 2:
            raise out_of_memory()

    watch_steps(monkeypatch, rule)
    worker = PackWorker(prepared, 4)
    for plan in (*calm(spec), greedy(spec)):
        worker.admit(plan)
    events = run(worker)
    assert [failed.number for failed in failures(events)] == [1]
    assert all(len(of(events, plan.number)) == 1 for plan in calm(spec))


def test_what_is_measured_beforehand_steps_in_as_small_parts_as_a_sweep(
    spec: SweepSpec, prepared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, least = calm(spec)[0], 2

    def rule(optimizer: Any, division: int) -> None:
        if division < least:
            raise out_of_memory()

    def loss() -> float:
        worker = PackWorker(prepared, 1)
        targets = worker.base.targets(plan.params.target_patterns, plan.params.layers)
        adapter = initial_adapter(worker.base.linears, targets, plan.params)
        return short_run._first_batch_loss(worker, plan, adapter)

    whole = loss()
    watch_steps(monkeypatch, rule)
    group = group_of(plan, prepared.base, 1)
    assert autotune._memory_of_step(group, prepared.base, prepared.store, prepared.data) >= 1
    assert group.division == 2 and loss() == pytest.approx(whole, rel=1e-4)
    least = 1000
    with pytest.raises(ModelError, match="one step of one trial: out of memory, 2,048 MiB more"):
        autotune._memory_of_step(group, prepared.base, prepared.store, prepared.data)
    assert math.isnan(loss())


def test_what_is_no_lack_of_memory_is_not_told_as_one_before_the_first_trial(
    spec: SweepSpec, prepared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rule(optimizer: Any, division: int) -> None:
        raise IndexError("row 9")

    watch_steps(monkeypatch, rule)
    group = group_of(calm(spec)[0], prepared.base, 1)
    with pytest.raises(ModelError, match=r"one step of one trial: IndexError: row 9\n") as caught:
        step_recovery.probe_step(group, prepared.base, prepared.store, prepared.data)
    said = str(caught.value)
    assert "Traceback" in said and "in rule" in said and "smaller batch_size" not in said


def test_a_recording_that_is_gone_ends_the_run_and_not_one_trial_after_another(
    spec: SweepSpec, prepared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rule(optimizer: Any, division: int) -> None:
        raise ManifestError("audio file 'a.wav' cannot be decoded")

    watch_steps(monkeypatch, rule)
    worker = PackWorker(prepared, 3)
    for plan in calm(spec):
        worker.admit(plan)
    with pytest.raises(ManifestError, match=r"a\.wav"):
        run(worker)


def test_a_machine_without_threads_ends_the_run_and_not_one_trial_after_another(
    spec: SweepSpec, prepared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    use_cores(2)
    try:
        monkeypatch.setattr(threading.Thread, "start", refused)
        worker = PackWorker(prepared, 3)
        for plan in calm(spec):
            worker.admit(plan)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            run(worker)
    finally:
        use_cores(1)


def test_short_memory_is_short_after_a_restart_too(
    spec: SweepSpec, prepared: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def rule(optimizer: Any, division: int) -> None:
        if len(optimizer.params) * 4 // division > 2:
            raise out_of_memory()

    watch_steps(monkeypatch, rule)
    monkeypatch.setattr(engine, "PROGRESS_TICKS", 1)
    worker, unmeasured = PackWorker(prepared, 3), calm(spec, LONG)
    for plan in unmeasured:
        worker.admit(plan)
    worker.advance()
    worker.save(tmp_path / "kept")
    again = PackWorker(prepared, 3)
    again.restore(tmp_path / "kept", {plan.number: plan for plan in unmeasured})
    assert [(each.division, each.parts) for each in again._groups.values()] == [
        (each.division, each.parts) for each in worker._groups.values()
    ]
    worker.advance(), again.advance()
    trained_alike(worker, again, (0, 2, 3))


def test_an_evaluation_that_fails_ends_its_trial_alone(
    spec: SweepSpec, prepared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    right, seen = Evaluator.measure, []

    def measure(self: Evaluator, adapters: Any, names: Any = None, before: Any = ()) -> Any:
        seen.append((len(adapters), self.division))
        if any(adapter.seed == 99 for adapter, _ in adapters):
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate "
                               "1048576000 bytes. Error code 12")  # fmt: skip
        return right(self, adapters, names, before)

    monkeypatch.setattr(Evaluator, "measure", measure)
    worker = PackWorker(prepared, 4)
    for plan in (*calm(spec), greedy(spec)):
        worker.admit(plan)
    events = run(worker)
    (failed,) = failures(events)
    assert (failed.number, failed.reason) == (
        1,
        "out of memory, 1,000 MiB more were needed at once",
    )
    assert all(len(of(events, plan.number)) == 1 for plan in calm(spec))
    assert (4, 64) in seen and prepared.evaluator.division == 1


def test_the_second_ctrl_c_is_no_fault_of_a_trial(
    spec: SweepSpec, prepared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rule(optimizer: Any, division: int) -> None:
        raise Interrupted("SIGINT: stopped at once")

    watch_steps(monkeypatch, rule)
    worker = PackWorker(prepared, 4)
    worker.admit(greedy(spec))
    with pytest.raises(Interrupted):
        worker.advance()


def test_an_adapter_that_cannot_be_made_is_a_message_with_its_cause(
    spec: SweepSpec, prepared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: object) -> None:
        raise MemoryError

    monkeypatch.setattr(engine, "initial_adapter", fails)
    with pytest.raises(ModelError, match="the adapter cannot be made: out of memory") as caught:
        PackWorker(prepared, 4).admit(greedy(spec))
    assert isinstance(caught.value.__cause__, MemoryError)


def test_start_up_checks_without_memory_are_one_sentence(
    spec: SweepSpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails(*args: object) -> None:
        raise out_of_memory("512.00 MiB")

    monkeypatch.setattr(engine, "prepare", fails)
    with pytest.raises(
        ModelError, match="cannot be made ready: out of memory, 512 MiB more were needed at once"
    ):
        start_worker(spec, tmp_path)


def test_foreign_messages_are_shown_in_part() -> None:
    fault = trial_faults.fault_of(ValueError("x" * 5000))
    assert len(fault.reason) < 300 and len(fault.traceback) > 5000


def test_what_takes_fifty_times_its_usual_time_is_said() -> None:
    usual = Usual()
    assert [
        usual.judge("a training step", seconds, 2) for seconds in (900, 0.2, 0.2, 0.2, 0.2, 0.2, 5)
    ] == [None] * 7
    said = usual.judge("a training step", 12, 2)
    assert said is not None and said.startswith("a training step took 12.0 s, 60 times the usual")
    assert usual.judge("an evaluation", 12, 2) is None


def test_a_slow_step_reaches_the_sweep(
    spec: SweepSpec, prepared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Usual, "judge", lambda self, kind, seconds, trials: f"{kind} of {trials}")
    worker = PackWorker(prepared, 4)
    worker.admit(greedy(spec))
    noticed = {event.text for event in run(worker) if isinstance(event, Noticed)}
    assert noticed == {"a training step of 1", "the evaluation at the last step of 1"}


@pytest.mark.parametrize(
    ("said", "memory"),
    [
        ("could not create a primitive", True),
        ("std::bad_alloc", True),
        ("could not execute a primitive", True),
        ("could not create a memory object", True),
        ("could not create a primitive descriptor for the matmul primitive. Run workload", False),
        ("mat1 and mat2 shapes cannot be multiplied", False),
    ],
)
def test_what_is_said_without_memory_is_told_from_an_operation_that_cannot_be_made(
    said: str, memory: bool
) -> None:
    assert trial_faults.fault_of(RuntimeError(said)).memory == memory
