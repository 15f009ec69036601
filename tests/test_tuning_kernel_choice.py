"""The two matrix kernels: the same products and gradients, the same adapters in a pack and alone,
and one choice a study.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from orchestrator.errors import ModelError, StudyError
from orchestrator.planning.trial_plan import TrialParams
from orchestrator.records.json_files import PackRecord
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Measured, Worker
from orchestrator.reporting.documents.plan_report import kernel_text
from orchestrator.running.pack_sizes import pack_record, with_recorded_pack
from orchestrator.sweepfile.execution import KernelName
from orchestrator.sweepfile.sweep import ModelSpec
from orchestrator.tuning.adapters.pack import Pack
from orchestrator.tuning.adapters.peft_adapter import initial_adapter, resolve_targets
from orchestrator.tuning.model import kernel_choice, linear_kernels
from orchestrator.tuning.model.base_model import wrap_model
from orchestrator.tuning.model.encoder_cache import EncoderCache
from orchestrator.tuning.model.linear_kernels import ATEN, ONEDNN, Products
from orchestrator.tuning.training.optimizer import PackedAdamW
from orchestrator.tuning.training.step import pack_step
from orchestrator.tuning.training.training_set import TrainingSet
from orchestrator.tuning.worker import PackWorker, start_worker
from tests.embedded import small_sweep, trial
from tests.tuning_models import ALL_LINEAR, DECODER, clips_and_texts, params, small_model, tokenizer

CPU = torch.device("cpu")
has_onednn = pytest.mark.skipif(
    bool(linear_kernels.lacks_onednn(CPU, torch.float32)), reason="this torch has no oneDNN"
)
TRIALS = [
    params(),
    params(target_patterns=ALL_LINEAR, rank=8, alpha=16.0, learning_rate=1e-3),
    params(adapter="dora", rank=2, alpha=4.0, seed=7),
    params(target_patterns=DECODER, lora_dropout=0.3, seed=3),
    params(adapter="pissa", learning_rate=1e-3),
]


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@has_onednn
@settings(max_examples=12, deadline=None)
@given(
    rows=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    sizes=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    biased=st.booleans(),
)
def test_a_product_and_its_gradient_are_those_of_torch_s_own_kernel(
    rows: list[int], sizes: tuple[int, int], biased: bool
) -> None:
    out, width = sizes
    x, weight, dy = drawn(1, *rows, width), drawn(2, out, width), drawn(3, *rows, out)
    bias = drawn(4, out) if biased else None
    found = []
    for kind, dtype in ((ONEDNN, torch.float32), (ATEN, torch.float64)):
        leaf = x.to(dtype, copy=True).requires_grad_()
        y = kind.linear(leaf, weight.to(dtype), None if bias is None else bias.to(dtype))
        y.backward(dy.to(dtype))
        assert leaf.grad is not None
        found.append((y.detach(), leaf.grad))
    for got, expected in zip(*found, strict=True):
        torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-4)


@has_onednn
@pytest.mark.parametrize("slots", [1, 3])
def test_products_of_slots_are_those_of_torch_s_own_kernel(slots: int) -> None:
    x, weights, bias = drawn(1, slots, 7, 24), drawn(2, slots, 40, 24), drawn(3, 40)
    for given_bias in (None, bias):
        y = ONEDNN.linears(x, weights, given_bias)
        torch.testing.assert_close(y, ATEN.linears(x, weights, given_bias), rtol=1e-5, atol=1e-4)
    # as the gradient needs them: weights that are not contiguous, rows that share their storage
    dy = drawn(4, 1, 7, 40).expand(slots, -1, -1)
    torch.testing.assert_close(
        ONEDNN.linears(dy, weights.mT), torch.bmm(dy, weights), rtol=1e-5, atol=1e-4
    )


def test_what_onednn_does_not_compute_is_computed_by_torch_to_the_bit() -> None:
    x, weight = drawn(1, 5, 16).double(), drawn(2, 8, 16).double()
    assert torch.equal(ONEDNN.linear(x, weight), F.linear(x, weight))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = ONEDNN.linear(x.float(), weight.float())
        assert mixed.dtype == torch.bfloat16
        assert torch.equal(mixed, F.linear(x.float(), weight.float()))


def gradients(
    kind: Products, trials: list[TrialParams], dtype: torch.dtype = torch.float32
) -> list[dict[tuple[str, str], Tensor]]:
    """Of each trial's first step, all trials in one pack."""
    base = wrap_model(
        ModelSpec(id="small"), small_model("streaming", dtype), tokenizer(), CPU, kind
    )
    clips, texts = clips_and_texts(12)
    store = EncoderCache(base.family, {"train": clips}, 1 << 30, CPU)
    data = TrainingSet(base.labels(texts), 7, rms=0.075)
    targets = [resolve_targets(base.modules, own.target_patterns, own.layers) for own in trials]
    pack = Pack(
        tuple(
            initial_adapter(base.linears, names, own)
            for names, own in zip(targets, trials, strict=True)
        )
    )
    optimizer = PackedAdamW(pack.flat, pack.is_B, trials, [0] * len(trials))
    pack_step(base, store, data, pack, optimizer, base.first_adapted_layer(tuple(pack.layers)))
    return [pack.read(pack.grad, slot) for slot in range(len(trials))]


def furthest(got: dict[tuple[str, str], Tensor], expected: dict[tuple[str, str], Tensor]) -> float:
    """The largest difference, as a share of the largest gradient."""
    assert got.keys() == expected.keys()
    largest = max(tensor.abs().max().item() for tensor in expected.values())
    return max((got[key] - expected[key]).abs().max().item() for key in expected) / largest


@has_onednn
def test_packed_equals_alone_with_each_kernel() -> None:
    exact = gradients(ATEN, TRIALS, torch.float64)
    for kind in (ATEN, ONEDNN):
        together = gradients(kind, TRIALS)
        for slot, own in enumerate(TRIALS):
            (alone,) = gradients(kind, [own])
            assert furthest(together[slot], alone) < 1e-4, (kind.name, slot)
            assert furthest(together[slot], exact[slot]) < 1e-4, (kind.name, slot)


@has_onednn
@pytest.mark.slow
def test_a_worker_trains_measures_and_resumes_with_onednn(tmp_path: Path) -> None:
    spec = small_sweep(
        tmp_path,
        {"train": 16, "replay": 8, "domain": 4, "heldout": 3},
        evaluation={"every": 2, "max_tokens_per_second": 13},
        execution={"pack": 2, "kernel": "onednn"},
    )
    plans = [
        trial(spec, 0, max_steps=4),
        trial(spec, 1, max_steps=4, adapter="dora", target_patterns=DECODER, seed=5),
    ]

    def ended(worker: PackWorker) -> dict[int, Measured]:
        events: dict[int, Measured] = {}
        while len(events) < len(worker.active):
            finals = [e for e in worker.advance() if isinstance(e, Measured) and e.final]
            events |= {event.number: event for event in finals}
        return events

    straight = start_worker(spec, tmp_path / "cache")
    assert straight.evaluation["kernel"] == "onednn"
    for plan in plans:
        straight.admit(plan)
    straight.advance()
    straight.save(tmp_path / "checkpoint")
    expected = ended(straight)
    again = straight.sibling()
    again.restore(tmp_path / "checkpoint", {plan.number: plan for plan in plans})
    assert ended(again) == expected
    alone = straight.sibling()
    alone.admit(plans[1])
    assert ended(alone)[1].hypotheses == expected[1].hypotheses


@pytest.mark.parametrize(
    ("seconds", "kernel"),
    [
        ({"aten": 1.0, "onednn": 0.5}, "onednn"),
        ({"aten": 1.0, "onednn": 0.9}, "aten"),
        ({"aten": 1.0, "onednn": 2.0}, "aten"),
    ],
)
def test_another_kernel_is_taken_where_it_is_clearly_faster(
    seconds: dict[KernelName, float], kernel: KernelName
) -> None:
    assert kernel_choice.fastest(seconds) == kernel


@has_onednn
def test_the_choice_is_timed_on_the_layers_of_the_model_once_a_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = small_model("streaming", torch.float32)
    shapes = kernel_choice.shapes_of(model)
    assert dict(shapes)[32, 32] == 24  # four projections, three kinds of attention, two layers
    seconds = kernel_choice.time_kernels(shapes)
    assert set(seconds) == {"aten", "onednn"} and min(seconds.values()) > 0
    assert kernel_choice.time_kernels(shapes) is seconds
    threads = torch.get_num_threads()
    monkeypatch.setattr(
        kernel_choice, "time_kernels", lambda shapes: {"aten": 0.0123, "onednn": 0.0045}
    )
    kind, why = kernel_choice.chosen_products("auto", model, CPU, torch.float32)
    assert kind is ONEDNN
    assert why == (
        "matrix kernel onednn; products of the model's linear layers took aten 12.3 ms, onednn 4.5 ms"
    )
    assert torch.get_num_threads() == threads
    assert kernel_choice.chosen_products("auto", model, CPU, torch.float64) == (ATEN, "")


def test_a_kernel_that_is_not_offered_is_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ModelError) as refused:
        linear_kernels.products_of("onednn", torch.device("meta"), torch.float32)
    assert str(refused.value) == (
        "execution.kernel: onednn is not offered here: it is for float32 on a CPU, and this sweep computes float32 on "
        "meta; a new study takes auto or aten, and one that began with onednn goes on where it is offered, or is begun "
        "anew with --fork NAME"
    )
    monkeypatch.setattr(linear_kernels, "_operator_runs", lambda: False)
    assert "does not have it on this machine" in linear_kernels.lacks_onednn(CPU, torch.float32)
    model = small_model("streaming", torch.float32)
    assert kernel_choice.chosen_products("auto", model, CPU, torch.float32) == (ATEN, "")


def test_a_study_keeps_the_kernel_it_began_with(tmp_path: Path) -> None:
    spec = small_sweep(tmp_path, {"train": 8, "replay": 8, "domain": 4, "heldout": 4})
    folder = StudyFolder(tmp_path, "s")
    assert kernel_text(spec.execution, None).startswith("matrix kernel: auto, on a CPU timed when")
    assert kernel_text(spec.execution.model_copy(update={"kernel": "aten"}), None) == (
        "matrix kernel aten"
    )

    class Template:
        capacity, evaluation = 2, {"device": "cpu", "kernel": "onednn"}

    execution = spec.execution.model_copy(update={"pack": 2, "packs": 1})
    spec = spec.model_copy(update={"execution": execution})
    folder.write_pack(pack_record(execution, cast(Worker, Template())))
    folder.trial_folder(0).mkdir(parents=True)
    (folder.trial_folder(0) / "plan.json").touch()
    assert with_recorded_pack(spec, folder).execution.kernel == "onednn"
    assert kernel_text(spec.execution, folder.read_pack()) == (
        "matrix kernel onednn, kept since the study began"
    )
    other = spec.execution.model_copy(update={"pack": "auto", "kernel": "aten"})
    with pytest.raises(StudyError, match="with the matrix kernel onednn, the sweep file says"):
        with_recorded_pack(spec.model_copy(update={"execution": other}), folder)


def test_a_study_that_recorded_no_kernel_goes_on_with_torch_s_own(tmp_path: Path) -> None:
    spec = small_sweep(tmp_path, {"train": 8, "replay": 8, "domain": 4, "heldout": 4})
    folder = StudyFolder(tmp_path, "s")
    folder.write_pack(PackRecord(slots=4, why="pack of 4", device="cpu"))
    folder.trial_folder(0).mkdir(parents=True)
    (folder.trial_folder(0) / "plan.json").touch()
    assert with_recorded_pack(spec, folder).execution.kernel == "aten"
