"""Self-labelled replay, averaged adapters and the rest of what is searched against forgetting, in
the worker.
"""

from __future__ import annotations

import json
from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSpeechSeq2Seq

from orchestrator.corpus.cache.clips import Sounds
from orchestrator.corpus.manifests.manifest import load_manifest
from orchestrator.corpus.sets.diagnosis import check_sets
from orchestrator.errors import DataError, ManifestError
from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.json_files import model_line
from orchestrator.records.readiness.reading_sets import read_sets
from orchestrator.records.worker_protocol import Failed, Measured
from orchestrator.sweepfile.digest import digest
from orchestrator.sweepfile.loading import load_spec
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.tuning.adapters.pack import Adapter
from orchestrator.tuning.decoding import pseudo_labels as module
from orchestrator.tuning.decoding.pseudo_labels import pseudo_labels
from orchestrator.tuning.model.base_model import BaseModel
from orchestrator.tuning.model.families import Family
from orchestrator.tuning.model.linear_kernels import ATEN, ONEDNN
from orchestrator.tuning.model.windows import EncoderWindow
from orchestrator.tuning.training.pack_group import Slot
from orchestrator.tuning.worker import start_worker
from tests.embedded import small_sweep, stock_words, trial
from tests.stored_sounds import stored_sounds
from tests.test_tuning_engine import measured, run
from tests.tuning_models import ALL_LINEAR, DECODER, params

pytestmark = pytest.mark.usefixtures("without_model_checks")

SIZES = {"train": 8, "replay": 16, "domain": 2, "heldout": 2}
LABELLED = {"learning_rate": 1e-3, "max_steps": 8, "replay_ratio": 0.5}


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> SweepSpec:
    searched = LABELLED | {"replay_labels": {"values": ["manifest", "model"]}}
    often = {"every": 2, "max_tokens_per_second": 13}
    return small_sweep(
        tmp_path_factory.mktemp("sweep"), SIZES, parameters=searched, evaluation=often
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def plans(spec: SweepSpec) -> list[TrialPlan]:
    """Trials of one pack that differ in everything."""
    changes: list[dict[str, object]] = [
        {"replay_ratio": 0.5, "replay_labels": "model", "kl_weight": 0.3, "averaged_steps": (2, 4)},
        {
            "speed_perturb": 0.1,
            "noise_snr": 5.0,
            "layers": "upper-half",
            "target_patterns": ALL_LINEAR,
            "seed": 3,
        },
        {
            "adapter": "dora",
            "drop_chunks": 2,
            "augment_prob": 0.5,
            "averaged_steps": (2, 4),
            "replay_ratio": 0.25,
        },
        {"target_patterns": DECODER, "layers": "last-2", "noise_snr": 0.0, "learning_rate": 1e-3},
        {"learning_rate": 1e-3},
    ]
    common = {"max_steps": 4, "batch_size": 2}
    return [trial(spec, number, **common | each) for number, each in enumerate(changes)]


def ends(folder: Path, count: int) -> dict[int, Path]:
    return {number: folder / str(number) for number in range(count)}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter_model.safetensors")


def test_self_labels_are_what_stock_greedy_generate_hears(spec: SweepSpec, cache: Path) -> None:
    worker = start_worker(spec, cache)
    data = worker.data
    assert spec.data.replay is not None
    model = AutoModelForSpeechSeq2Seq.from_pretrained(spec.model.id).eval()
    references = [each.text for each in load_manifest(spec.data.replay).utterances]
    heard = stock_words(spec, spec.data.replay, model)
    own = {
        clip - data.domain: label
        for clip, label in zip(
            data.pseudo_labelled, data.labels[-len(data.pseudo_labelled) :], strict=True
        )
    }
    assert len(own) > 8 and all(label[-1] == worker.base.decoder.eos for label in own.values())
    assert {row: worker.base.text(label[:-1]) for row, label in own.items()} == {
        row: heard[row] for row in own
    }
    assert any(heard[row] != references[row] for row in own)
    assert f"data: {len(own)} of 16 replay utterances labelled by the model itself" in worker.notes
    transcribed = data.labels[data.domain : data.domain + 16]
    assert transcribed == worker.base.labels(references)
    by_model = set(map(data.clip, data.replay(params(replay_labels="model"))))
    assert by_model == set(data.pseudo_labelled)
    assert data.replay(params()) == range(data.domain, data.domain + 16)


def test_self_labels_are_heard_once_and_only_where_a_trial_may_want_them(
    spec: SweepSpec, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = start_worker(spec, cache)

    def heard_again(*_: object) -> None:
        raise AssertionError("the base model was asked again")

    monkeypatch.setattr(module, "decode_clips", heard_again)
    assert start_worker(spec, cache).data == first.data
    without = small_sweep(tmp_path, SIZES, parameters=LABELLED)
    assert start_worker(without, cache).data.pseudo_labelled == ()
    with pytest.raises(AssertionError, match="asked again"):
        other = stored_sounds([np.zeros(16000, np.float32)], tmp_path / "other")
        pseudo_labels(first.base, other, 13, "fp32", cache)


def test_kept_self_labels_with_another_digit_are_heard_again(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    labels: list[list[int] | None] = [[5, 7, 2], None]
    path.write_bytes(model_line(module._Kept(labels=labels, sha256=digest(labels))))
    assert module._cached_labels(path) == labels
    path.write_bytes(path.read_bytes().replace(b"[5,7,2]", b"[5,8,2]"))
    assert module._cached_labels(path) is None
    path.unlink()
    path.mkdir()
    assert module._cached_labels(path) is None


def test_studies_share_self_labels_only_where_they_hear_alike(
    spec: SweepSpec, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = start_worker(spec, cache)
    clips = worker.store.clips["train"][-4:]
    assert isinstance(clips, Sounds)
    pseudo_labels(worker.base, clips, 13, "fp32", cache)
    monkeypatch.setattr(module, "decode_clips", lambda *_: pytest.fail("asked again"))
    pseudo_labels(worker.base, clips, 13, "fp32", cache)
    others = (
        replace(worker.base, products=ATEN if worker.base.products is ONEDNN else ONEDNN),
        replace(worker.base, family=family_with_windows(worker.base)),
    )
    for other in others:
        with pytest.raises(pytest.fail.Exception, match="asked again"):
            pseudo_labels(other, clips, 13, "fp32", cache)


def family_with_windows(base: BaseModel) -> Family:
    """The model's family with windows of one frame more to the left."""
    family = copy(base.family)
    family.windows = [EncoderWindow(left + 1, right) for left, right in base.family.windows]
    return family


def test_silence_and_what_the_cap_cuts_off_get_no_label(spec: SweepSpec, cache: Path) -> None:
    worker = start_worker(spec, cache)
    clips = worker.store.clips["train"][-4:]
    assert isinstance(clips, Sounds)
    free = pseudo_labels(worker.base, clips, 13, "fp32", cache)
    assert all(free)
    assert pseudo_labels(worker.base, clips, 0.01, "fp32", cache) == [None] * 4  # two tokens a clip
    longest = max(len(label or []) for label in free)
    assert longest > 3


def test_a_replay_set_in_which_nothing_is_heard_is_refused(
    spec: SweepSpec, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "orchestrator.tuning.training.training_data.pseudo_labels",
        lambda base, clips, *_: [None] * len(clips),
    )
    with pytest.raises(
        DataError,
        match=r"replay\.jsonl: the model hears nothing there, or evaluation\.max_tokens_per_second = 13 cuts off all "
        r"that it hears; raise it, or use replay_labels: manifest",
    ):
        start_worker(spec, cache)


def test_packed_equals_alone_and_killed_and_resumed_equals_straight(
    spec: SweepSpec, cache: Path, tmp_path: Path
) -> None:
    own = plans(spec)
    straight, again = start_worker(spec, cache), start_worker(spec, cache)
    for plan in own:
        straight.admit(plan)
    first = straight.advance()
    straight.save(tmp_path / "checkpoint")
    events = run(straight, ends(tmp_path / "straight", len(own)))
    again.restore(tmp_path / "checkpoint", {plan.number: plan for plan in own})
    run(again, ends(tmp_path / "resumed", len(own)))
    packed_numbers = measured([*first, *events])
    assert not [event for event in events if isinstance(event, Failed)]
    for plan in own:
        files = [
            tmp_path / how / str(plan.number) / "adapter_model.safetensors"
            for how in ("straight", "resumed")
        ]
        assert files[0].read_bytes() == files[1].read_bytes()
    for plan in (own[0], own[3]):
        alone = again.sibling()
        alone.admit(plan)
        numbers = measured(run(alone))
        assert numbers == {
            key: value for key, value in packed_numbers.items() if key[0] == plan.number
        }
    plain = weights(tmp_path / "straight" / "4")
    assert all(
        not torch.equal(plain[key], each)
        for key, each in weights(tmp_path / "straight" / "0").items()
    )


def test_the_last_adapter_is_the_mean_of_those_at_the_last_rungs(
    spec: SweepSpec, cache: Path, tmp_path: Path
) -> None:
    worker = start_worker(spec, cache)
    quick = {"adapter": "dora", "max_steps": 6, "target_patterns": DECODER, "layers": "last-1"}
    single = trial(spec, 0, **quick)
    averaged = trial(spec, 1, **quick, average_rungs=2, averaged_steps=(4, 6))
    for plan in (single, averaged):
        worker.admit(plan)
    scores = {}
    while worker.active:
        for event in worker.advance():
            if isinstance(event, Measured):
                worker.export(event.number, 1.0, tmp_path / f"{event.number}-{event.step}")
                scores[event.number, event.step] = event.measurements[0].sets
                if event.final:
                    worker.release(event.number)
    rung = {key: weights(tmp_path / key) for key in ("0-2", "0-4", "0-6", "1-2", "1-4", "1-6")}
    for name, last in rung["1-6"].items():
        assert torch.equal(rung["1-4"][name], rung["0-4"][name])  # training itself goes its way
        assert torch.allclose(last, (rung["0-4"][name] + rung["0-6"][name]) / 2, rtol=0, atol=1e-6)
        assert not torch.equal(last, rung["0-6"][name])
    assert scores[0, 4] == scores[1, 4]
    again = worker.sibling()  # a confirmation: one rung at the end, and the same adapter
    again.admit(
        averaged.model_copy(update={"evaluation": spec.evaluation.model_copy(update={"every": 6})})
    )
    (event,) = (
        event for event in run(again, {1: tmp_path / "confirmed"}) if isinstance(event, Measured)
    )
    confirmed = weights(tmp_path / "confirmed")
    assert (
        max((confirmed[name] - rung["1-6"][name]).abs().max().item() for name in confirmed) < 1e-6
    )
    assert event.measurements[0].sets == scores[1, 6]


def test_the_mean_is_that_of_every_trained_tensor_and_of_nothing_else(spec: SweepSpec) -> None:
    plan = trial(spec, 0, adapter="pissa-dora", averaged_steps=(2, 4, 8))
    random = torch.Generator().manual_seed(0)
    shapes = {"A": (4, 6), "B": (5, 4), "magnitude": (5,), "A0": (4, 6), "B0": (5, 4)}
    frozen = {
        part: torch.randn(shapes[part], generator=random, dtype=torch.float64)
        for part in ("A0", "B0")
    }
    slot = Slot(plan, ("q",), Adapter(1.0, 0.0, 0, {}))
    taken = []
    for _ in plan.params.averaged_steps:
        own = {
            p: torch.randn(shapes[p], generator=random, dtype=torch.float64)
            for p in ("A", "B", "magnitude")
        }
        slot.adapter = Adapter(1.0, 0.0, 0, {"q": own | frozen})
        slot.add_to_average()
        taken.append(own)
    mean = slot.averaged().modules["q"]
    for part in ("A", "B", "magnitude"):
        assert (
            mean[part] - torch.stack([each[part] for each in taken]).mean(0)
        ).abs().max() < 1e-12
    assert torch.equal(mean["A0"], frozen["A0"]) and torch.equal(mean["B0"], frozen["B0"])


def test_general_speech_that_nobody_transcribed_serves_where_the_model_labels_it(
    spec: SweepSpec, cache: Path, tmp_path: Path
) -> None:
    silent = small_sweep(tmp_path, SIZES, parameters=LABELLED | {"replay_labels": "model"})
    assert silent.data.replay is not None and not silent.replay_needs_text
    rows = [json.loads(line) for line in silent.data.replay.read_text().splitlines()]
    silent.data.replay.write_text(
        "".join(json.dumps(row | {"text": None}) + "\n" for row in rows[:-1])
        + json.dumps(rows[-1] | {"text": " "})
        + "\n"
    )
    assert {each.text for each in read_sets(silent)["replay"].utterances} == {""}
    check_sets(read_sets(silent), max_seconds=20)
    worker, labelled = start_worker(silent, cache), start_worker(spec, cache)
    assert [
        worker.data.labels[row] for row in worker.data.replay(params(replay_labels="model"))
    ] == [labelled.data.labels[row] for row in labelled.data.replay(params(replay_labels="model"))]
    for labels in ("manifest", {"values": ["model"], "when": {"replay_ratio": {"above": 0.1}}}):
        ratio = {"replay_ratio": {"min": 0.0, "max": 0.5}}
        path = tmp_path / "sweep.yaml"
        path.write_text(
            json.dumps(
                json.loads(path.read_text())
                | {"parameters": LABELLED | ratio | {"replay_labels": labels}}
            )
        )
        with pytest.raises(ManifestError, match=r"replay\.jsonl.*no text; one of text, transcript"):
            read_sets(load_spec(path))
