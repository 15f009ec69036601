"""The worker on the shipped model and real audio: measured like the baseline, continued bit for
bit, loaded by PEFT.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jiwer
import pytest
import torch
from transformers import AutoModelForSpeechSeq2Seq

from orchestrator.corpus.manifests.manifest import load_manifest
from orchestrator.errors import DataError, ModelError, ObjectiveError, StudyError
from orchestrator.planning.trial_plan import TrialParams, TrialPlan
from orchestrator.records.worker_protocol import Event, Failed, Measured, Progress
from orchestrator.scoring.normalizers import normalizer
from orchestrator.sweepfile.digest import digest
from orchestrator.sweepfile.evaluation import EvaluationSpec, Precisions
from orchestrator.sweepfile.sweep import ChecksSpec, SweepSpec
from orchestrator.tuning import prepared_sweep
from orchestrator.tuning import worker as engine
from orchestrator.tuning.adapters.pack import Adapter, Pack
from orchestrator.tuning.adapters.peft_adapter import initial_adapter
from orchestrator.tuning.decoding.evaluation import Evaluator
from orchestrator.tuning.decoding.evaluation_fingerprint import precision_text
from orchestrator.tuning.model.base_model import BaseModel
from orchestrator.tuning.prepared_sweep import PreparedSweep, prepare
from orchestrator.tuning.selfcheck.checks import check_model
from orchestrator.tuning.worker import PackWorker, start_worker
from tests.embedded import small_sweep, stock_words, trial
from tests.tuning_models import ALL_LINEAR, DECODER

pytestmark = pytest.mark.usefixtures("without_model_checks")

SIZES = {"train": 8, "replay": 4, "domain": 3, "heldout": 2}


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> SweepSpec:
    often = {"every": 2, "max_tokens_per_second": 13}
    return small_sweep(tmp_path_factory.mktemp("sweep"), SIZES, evaluation=often)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module", name="ready")
def _ready(spec: SweepSpec, cache: Path) -> PreparedSweep:
    """Model and data, shared by all workers that need not have loaded them themselves."""
    return prepare(spec, cache)


def plans(spec: SweepSpec) -> list[TrialPlan]:
    return [
        trial(spec, 0, max_steps=4, replay_ratio=0.5, adapter_scales=(0.5, 1.0)),
        trial(
            spec,
            1,
            max_steps=4,
            adapter="dora",
            target_patterns=DECODER,
            learning_rate=1e-3,
            seed=5,
        ),
        trial(
            spec, 2, max_steps=5, adapter="pissa", target_patterns=ALL_LINEAR, learning_rate=1e-4
        ),
    ]


def run(worker: PackWorker, ends: dict[int, Path] | None = None) -> list[Event]:
    """Advance until every slot has ended; export and release each trial at its last step."""
    events: list[Event] = []
    while worker.active:
        for event in worker.advance():
            events.append(event)
            if isinstance(event, Failed) or (isinstance(event, Measured) and event.final):
                if ends is not None and isinstance(event, Measured):
                    worker.export(
                        event.number, event.measurements[-1].adapter_scale, ends[event.number]
                    )
                worker.release(event.number)
    return events


def measured(events: list[Event]) -> dict[tuple[int, int, float], object]:
    """(trial, step, scale) -> edit counts."""
    rows = [m for event in events if isinstance(event, Measured) for m in event.measurements]
    return {(m.trial or 0, m.step, m.adapter_scale): m.sets for m in rows}


def test_the_baseline_is_the_same_every_time_and_equals_stock_generate_with_jiwer(
    spec: SweepSpec, cache: Path, ready: PreparedSweep
) -> None:
    first, second = (
        worker.measure_baseline() for worker in (PackWorker(ready, 4), start_worker(spec, cache))
    )
    assert first == second
    model = AutoModelForSpeechSeq2Seq.from_pretrained(spec.model.id).eval()
    heard = stock_words(spec, spec.data.domain, model)
    references = [utterance.text for utterance in load_manifest(spec.data.domain).utterances]
    assert heard == list(first.hypotheses[0]["domain"])
    clean = normalizer("whisper-en")
    expected = 100 * jiwer.wer(
        [clean(text) for text in references], [clean(text) for text in heard]
    )
    assert first.measurements[0].sets["domain"].wer == pytest.approx(expected, abs=1e-12)


def test_a_trial_measured_in_a_pack_is_the_trial_measured_alone(
    spec: SweepSpec, cache: Path, ready: PreparedSweep
) -> None:
    together, own_frames = PackWorker(ready, 4), prepare(spec, cache)
    for plan in plans(spec):
        together.admit(plan)
    packed = measured(run(together))
    assert len(packed) == (1 + 2) + 2 + 3
    for plan in plans(spec):
        alone = PackWorker(own_frames, 4)
        alone.admit(plan)
        own = measured(run(alone))
        assert own == {key: value for key, value in packed.items() if key[0] == plan.number}


def test_what_a_trial_said_before_is_its_draft_and_changes_no_word(
    spec: SweepSpec, ready: PreparedSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, measure = PackWorker(ready, 4), Evaluator.measure
    drafts: list[list[Mapping[str, Sequence[str]]]] = []

    def noted(evaluator: Evaluator, adapters: Any, names: Any, before: Any) -> Any:
        drafts.append(list(before))
        heard = measure(evaluator, adapters, names, before)
        assert heard == measure(evaluator, adapters, names)
        return heard

    monkeypatch.setattr(Evaluator, "measure", noted)
    worker.admit(trial(spec, 0, max_steps=4, learning_rate=0.05, adapter_scales=(0.5, 1.0)))
    first, last = (event for event in run(worker) if isinstance(event, Measured))
    assert first.hypotheses[0]["domain"] != last.hypotheses[0]["domain"]
    # at its last step both scales start from what the smaller one said at the step before
    assert drafts == [[{}], [first.hypotheses[0]] * 2]


def test_a_run_continued_from_a_checkpoint_is_bitwise_the_run_that_was_not_stopped(
    spec: SweepSpec, cache: Path, ready: PreparedSweep, tmp_path: Path
) -> None:
    straight = PackWorker(ready, 4)
    for plan in plans(spec):
        straight.admit(plan)
    first = straight.advance()
    straight.save(tmp_path / "checkpoint")
    expected = run(straight, {plan.number: tmp_path / f"a{plan.number}" for plan in plans(spec)})
    again = start_worker(spec, cache)
    again.restore(tmp_path / "checkpoint", {plan.number: plan for plan in plans(spec)})
    assert again.active == (0, 1, 2)
    continued = run(again, {plan.number: tmp_path / f"b{plan.number}" for plan in plans(spec)})
    assert any(isinstance(event, Measured) for event in first)
    assert [e for e in continued if isinstance(e, Measured)] == [
        e for e in expected if isinstance(e, Measured)
    ]
    for plan in plans(spec):
        files = [tmp_path / f"{run}{plan.number}" / "adapter_model.safetensors" for run in "ab"]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_progress_is_told_at_the_same_steps_after_a_restore(
    spec: SweepSpec, ready: PreparedSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By them a pack that is lost twice at one step is known from one that has come further."""
    monkeypatch.setattr(engine, "PROGRESS_TICKS", 2)
    rare = spec.model_copy(update={"evaluation": spec.evaluation.model_copy(update={"every": 3})})
    plan = trial(rare, 0, max_steps=6, target_patterns=DECODER)
    straight, again = PackWorker(ready, 4), PackWorker(ready, 4)
    straight.admit(plan)
    while not any(isinstance(event, Measured) for event in straight.advance()):
        pass
    straight.save(tmp_path / "checkpoint")
    again.restore(tmp_path / "checkpoint", {0: plan})
    told = [
        [event.step for event in run(worker) if isinstance(event, Progress)]
        for worker in (straight, again)
    ]
    assert told == [[5, 6], [5, 6]]


def test_a_damaged_checkpoint_is_named_and_so_is_what_to_do(
    spec: SweepSpec, ready: PreparedSweep, tmp_path: Path
) -> None:
    worker = PackWorker(ready, 4)
    worker.admit(plans(spec)[0])
    worker.save(tmp_path)
    path = tmp_path / "slots.safetensors"
    path.write_bytes(path.read_bytes()[: os.path.getsize(path) // 2])
    with pytest.raises(StudyError, match=r"slots\.safetensors is damaged .* delete the folder"):
        PackWorker(ready, 4).restore(tmp_path, {0: plans(spec)[0]})


def test_a_diverging_trial_fails_with_its_step_and_the_others_go_on(
    spec: SweepSpec, ready: PreparedSweep
) -> None:
    calm = plans(spec)[0]
    alone = PackWorker(ready, 4)
    alone.admit(calm)
    worker = PackWorker(ready, 4)
    worker.admit(calm)
    wild = trial(spec, 9, max_steps=4, scheduler="constant")
    # no file may ask it
    wild = wild.model_copy(
        update={"params": wild.params.model_copy(update={"learning_rate": 1e30})}
    )
    worker.admit(wild)
    events = run(worker)
    (failure,) = (event for event in events if isinstance(event, Failed))
    assert (failure.number, failure.step) == (9, 2)
    assert "not finite" in failure.reason
    assert measured(events) == measured(run(alone))


def test_an_adapter_that_does_not_move_fails(spec: SweepSpec, ready: PreparedSweep) -> None:
    worker = PackWorker(ready, 4)
    worker.admit(trial(spec, 0, learning_rate=1e-300))
    (failure,) = (event for event in run(worker) if isinstance(event, Failed))
    assert failure.reason == (
        "the adapter did not move: its learning rate of 1e-300 is too small to change a number"
    )


def test_an_adapter_may_rest_while_its_learning_rate_is_zero(
    spec: SweepSpec, ready: PreparedSweep
) -> None:
    spec = spec.model_copy(update={"evaluation": spec.evaluation.model_copy(update={"every": 1})})
    worker = PackWorker(ready, 4)
    worker.admit(trial(spec, 0, warmup_steps=1, max_steps=3))
    worker.admit(trial(spec, 1, warmup_steps=2, max_steps=3, adapter="dora"))
    worker.admit(trial(spec, 2, warmup_steps=1, max_steps=1))
    events = run(worker)
    assert [
        event.step for event in events if isinstance(event, Measured) and event.number == 0
    ] == [
        1,
        2,
        3,
    ]
    (failure,) = (event for event in events if isinstance(event, Failed))
    assert (failure.number, failure.reason) == (
        2,
        "the adapter did not move: its learning rate is still near 0 at its last step; keep warmup_steps below "
        "max_steps",
    )


def test_weight_decay_alone_is_no_training(
    spec: SweepSpec, ready: PreparedSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pack, "add", lambda *_: None)
    worker = PackWorker(ready, 4)
    for number, adapter in enumerate(("dora", "pissa")):
        worker.admit(trial(spec, number, adapter=adapter, weight_decay=0.1))
    failures = [event for event in run(worker) if isinstance(event, Failed)]
    assert [failure.number for failure in failures] == [0, 1]
    assert {failure.reason for failure in failures} == {
        "the adapter did not move: no gradient reaches its target modules"
    }


def test_an_adapter_is_initialised_once_for_all_its_rungs(
    spec: SweepSpec, ready: PreparedSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def counted(linears: Any, targets: tuple[str, ...], params: TrialParams) -> Adapter:
        made.append(params.seed)
        return initial_adapter(linears, targets, params)

    worker = PackWorker(ready, 4)
    monkeypatch.setattr("orchestrator.tuning.worker.initial_adapter", counted)
    worker.admit(plans(spec)[2])
    assert len(measured(run(worker))) == 3
    assert len(made) == 1


def test_a_target_that_is_no_plain_linear_layer_is_refused(
    spec: SweepSpec, ready: PreparedSweep
) -> None:
    worker = PackWorker(ready, 4)
    refusals = {
        "proj": "matches decoder.proj, a Identity",
        "conv1": "matches encoder.embedder.conv1, a MoonshineStreamingCausalConv1d",
        "linear": "matches encoder.embedder.linear, a Linear",
        "q_porj": "matches no module of this model; near it are q_proj",
    }
    for pattern, words in refusals.items():
        with pytest.raises(ModelError, match=words):
            worker.admit(trial(spec, 0, target_patterns=(pattern,)))
    with pytest.raises(ModelError, match="rank 500 is larger"):
        worker.admit(trial(spec, 0, rank=500))


def test_the_fingerprint_holds_everything_a_number_depends_on(
    spec: SweepSpec, cache: Path, ready: PreparedSweep
) -> None:
    parts = PackWorker(ready, 4).evaluation
    # a kernel is named where another than torch's own was the fastest on this machine
    assert set(parts) - {"kernel"} == {
        *("domain.text", "domain.audio", "heldout.text", "heldout.audio"),
        *("format", "rms", "normalizer", "decode", "max_tokens_per_second", "max_seconds", "terms"),
        *(
            "encoder_windows",
            "weights",
            "config",
            "tokenizer",
            "dtype",
            "precision",
            "device",
            "torch",
            "transformers",
        ),
    }
    settings = {
        name: parts[name]
        for name in ("format", "rms", "decode", "max_tokens_per_second", "precision")
    }
    assert settings == {
        "format": "3", "rms": "0.075", "decode": "greedy", "max_tokens_per_second": "13", "precision": "fp32"
    }  # fmt: skip
    changed = spec.model_copy(
        update={"evaluation": spec.evaluation.model_copy(update={"rms": 0.1})}
    )
    differs = {
        key for key, value in start_worker(changed, cache).evaluation.items() if parts[key] != value
    }
    assert differs == {"rms"}


def test_no_sentence_and_no_path_is_part_of_the_fingerprint(spec: SweepSpec, cache: Path) -> None:
    worker = start_worker(spec, cache)
    for name, value in worker.evaluation.items():
        assert " " not in value and str(spec.project) not in value, (name, value)
    before = digest(worker.evaluation)
    for name, each in worker.evaluator.sets.items():
        reworded = replace(
            each.manifest, part="the other part", path=Path("/elsewhere/renamed.jsonl")
        )
        worker.evaluator.sets[name] = replace(each, manifest=reworded)
    del worker.evaluator.evaluation
    assert digest(worker.evaluation) == before


def test_references_that_the_cap_would_cut_are_refused(spec: SweepSpec, cache: Path) -> None:
    tight = spec.model_copy(
        update={"evaluation": spec.evaluation.model_copy(update={"max_tokens_per_second": 1.0})}
    )
    with pytest.raises(
        DataError,
        match=r"references of domain are longer than evaluation.max_tokens_per_second = 1",
    ):
        start_worker(tight, cache)


def test_what_the_checks_refuse_stops_the_worker_unless_it_is_ignored_by_name(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared_sweep, "check_model", check_model)
    right = BaseModel.labels
    monkeypatch.setattr(
        BaseModel, "labels", lambda self, texts: [row[:-1] for row in right(self, texts)]
    )
    faulty = small_sweep(tmp_path, {"train": 4, "domain": 2, "heldout": 1})
    with pytest.raises(ObjectiveError) as caught:
        start_worker(faulty, cache)
    first, fault, way_on = str(caught.value).split("\n")
    assert first == "The model cannot be trained and measured as it is:"
    assert fault.startswith("  - 4 of 4 label rows do not end with the end token")
    assert fault.endswith(" (label-ends)")
    assert (
        way_on
        == "Correct it. Or go on in spite of it, with the doubt on record: checks.ignore='[label-ends]'"
    )
    ignoring = faulty.model_copy(update={"checks": ChecksSpec(ignore=("label-ends",))})
    assert [each.name for each in start_worker(ignoring, cache).findings] == ["label-ends"]


def test_labels_end_with_eos_and_do_not_start_with_the_start_token(
    ready: PreparedSweep,
) -> None:
    base = ready.base
    (row,) = base.labels(["climb and maintain"])
    assert row[-1] == base.decoder.eos
    assert row[0] != base.decoder.start
    assert base.text(row[:-1]) == "climb and maintain"


@pytest.mark.slow
def test_bf16_trains_and_decodes_and_is_another_evaluation(spec: SweepSpec, cache: Path) -> None:
    everywhere = Precisions(search="bf16", verdict="bf16")
    coarse = spec.model_copy(
        update={"evaluation": spec.evaluation.model_copy(update={"precision": everywhere})}
    )
    exact, worker = start_worker(spec, cache), start_worker(coarse, cache)
    assert {k for k, v in worker.evaluation.items() if exact.evaluation[k] != v} == {"precision"}
    baseline = worker.measure_baseline().measurements[0].sets["domain"].wer
    assert abs(baseline - exact.measure_baseline().measurements[0].sets["domain"].wer) < 10
    rows = []
    for each in (exact, worker):
        each.admit(trial(spec, 0, max_steps=4))
        finals = [e.measurements[-1] for e in run(each) if isinstance(e, Measured) and e.final]
        rows.append([m.train_loss for m in finals])
        assert {
            p.dtype for p in (each.base.model.proj_out.weight, each.base.decoder.rotary(1)[0])
        } == {torch.float32}
    for fine, rough in zip(*rows, strict=True):
        assert fine != rough
        assert abs(fine - rough) < 0.05


def test_training_in_bf16_leaves_every_number_one_of_fp32(spec: SweepSpec, cache: Path) -> None:
    evaluation = spec.evaluation.model_copy(update={"training_precision": "bf16"})
    sooner = spec.model_copy(update={"evaluation": evaluation})
    assert trial(sooner, 0).recipe != trial(spec, 0).recipe
    exact, worker = start_worker(spec, cache), start_worker(sooner, cache)
    assert worker.evaluation == exact.evaluation
    note = "trials train in bf16 (evaluation.training_precision), measured in fp32"
    assert note in worker.notes and note not in exact.notes
    assert worker.measure_baseline() == exact.measure_baseline()
    losses = []
    for each in (exact, worker):
        each.admit(trial(each.prepared.spec, 0, max_steps=4, speed_perturb=0.1))
        slot = each._slots[0]
        (final,) = [e for e in run(each) if isinstance(e, Measured) and e.final]
        losses.append(final.measurements[-1].train_loss or 0.0)
    assert losses[0] != losses[1]
    assert abs(losses[0] - losses[1]) < 0.05
    adapter = slot.adapter
    assert {part.dtype for parts in adapter.modules.values() for part in parts.values()} == {
        torch.float32
    }
    # measured again by who knows nothing of bfloat16
    (measured, heard), *_ = exact.evaluator.measure([(adapter, 1.0)])
    assert measured == final.measurements[-1].sets
    assert heard == final.hypotheses[-1]


def test_frames_that_all_share_are_those_of_a_pack_alone_in_bf16(
    spec: SweepSpec, cache: Path
) -> None:
    evaluation = spec.evaluation.model_copy(update={"training_precision": "bf16"})
    sooner = spec.model_copy(update={"evaluation": evaluation})
    losses = []
    for shares in (False, True):
        worker = start_worker(sooner, cache)
        if shares:
            worker.share()
        worker.admit(trial(sooner, 0, max_steps=2))
        (final,) = [e for e in run(worker) if isinstance(e, Measured) and e.final]
        losses.append(final.measurements[-1].train_loss)
    assert losses[0] == losses[1]


def test_all_in_bf16_is_training_in_bf16_too() -> None:
    whole = EvaluationSpec(precision=Precisions(search="bf16", verdict="bf16"))
    for written in ("bf16", {"search": "bf16", "verdict": "bf16"}):
        both = {"precision": written, "training_precision": "bf16"}
        assert EvaluationSpec.model_validate(both) == whole
    assert EvaluationSpec(training_precision="fp32") == EvaluationSpec()
    # every digest of a study from before there were two parts holds one word
    assert EvaluationSpec().model_dump()["precision"] == "fp32"
    assert precision_text("bf16", "cpu") != precision_text("bf16", "cuda") == "bf16"
