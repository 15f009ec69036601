"""`diagnose --train` on the shipped model: it reports which weights moved, whether transcripts
changed, and what is zero where nothing moved.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from orchestrator.errors import ObjectiveError
from orchestrator.records import short_run as values
from orchestrator.records.short_run import ShortRun
from orchestrator.reporting.documents.short_run import build
from orchestrator.reporting.rendering import markdown
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.tuning import prepared_sweep, short_run, window_readings
from orchestrator.tuning.adapters.peft_adapter import initial_adapter
from orchestrator.tuning.decoding import evaluation
from orchestrator.tuning.decoding.greedy_decoding import Decoded, transcribe
from orchestrator.tuning.model.base_model import BaseModel
from orchestrator.tuning.prepared_sweep import prepare
from orchestrator.tuning.short_run import short_plan, train_shortly
from tests.embedded import small_sweep

SIZES = {"train": 8, "replay": 4, "domain": 4, "heldout": 4}
HEARD = 2
"""Utterances of each set."""
RECIPE = {"learning_rate": 5e-3, "max_steps": 900, "warmup_steps": 300, "batch_size": 4, "rank": 4}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (values, short_run):
        monkeypatch.setattr(module, "STEPS", 8)


@pytest.fixture
def without_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The start-up checks of the model have tests of their own."""
    monkeypatch.setattr(prepared_sweep, "check_model", lambda *_: [])


def sweep(folder: Path, **changes: object) -> SweepSpec:
    return small_sweep(folder, SIZES, parameters=RECIPE | changes, execution={"pack": "auto"})


def trained(spec: SweepSpec, cache: Path) -> tuple[ShortRun, list[str]]:
    said: list[str] = []
    return train_shortly(spec, cache, HEARD, said.append), said


def test_a_short_run_moves_the_weights_and_lowers_the_loss(tmp_path: Path, cache: Path) -> None:
    spec = sweep(tmp_path)
    run, said = trained(spec, cache)
    assert said == [
        "loading and checking the base model",
        "measuring the baseline",
        "training 8 steps",
    ]
    assert run.failure is None and run.still == () and run.modules > 0
    assert 0 < run.relative_delta < 1
    assert run.loss_after < run.loss_before
    assert {name: each.utterances for name, each in run.sets.items()} == {
        "domain": HEARD,
        "heldout": HEARD,
    }
    page = markdown.render(build(spec, run))
    assert len(run.transcripts) == HEARD and all(
        each.reference and each.tuned is not None for each in run.transcripts
    )
    assert run.transcripts[0].untuned in page
    assert "Training moves the weights by" in page and "| label-alignment | passed |" in page
    assert not list(cache.glob("pack-*.json")), (
        "a short run leaves the choice of the pack to the sweep"
    )


@pytest.mark.usefixtures("without_checks")
def test_a_short_run_shows_its_last_step_where_the_trial_would_average(
    tmp_path: Path, cache: Path
) -> None:
    apart = [
        small_sweep(
            tmp_path,
            SIZES,
            parameters=RECIPE | {"max_steps": 12, "average_rungs": rungs},
            evaluation={"every": 4},
        )
        for rungs in (1, 3)
    ]
    runs = [trained(spec, cache)[0] for spec in apart]
    assert runs[0].relative_delta == runs[1].relative_delta > 0
    assert runs[0].loss_after == runs[1].loss_after


@pytest.mark.usefixtures("without_checks")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_both_readings_of_the_windows_are_heard_in_the_precision_of_the_baseline(
    precision: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard_in: list[bool] = []

    def noted(*args: Any) -> list[Decoded]:
        heard_in.append(torch.is_autocast_enabled("cpu"))
        return transcribe(*args)

    for module in (evaluation, window_readings):
        monkeypatch.setattr(module, "transcribe", noted)
    spec = small_sweep(tmp_path, SIZES, parameters=RECIPE, evaluation={"precision": precision})
    assert trained(spec, cache)[0].windows is not None
    assert set(heard_in) == {precision == "bf16"}


@pytest.mark.usefixtures("without_checks")
def test_the_relative_norm_is_that_of_the_merged_weights(tmp_path: Path, cache: Path) -> None:
    spec = sweep(tmp_path)
    base = prepare(spec, cache).base
    plan = short_plan(spec)
    assert (plan.params.max_steps, plan.params.warmup_steps, plan.rungs) == (8, 5, (8,))
    name = next(iter(base.linears))
    start, adapter = (initial_adapter(base.linears, (name,), plan.params) for _ in range(2))
    assert short_run._weight_change(base.linears[name], name, start, adapter)[0] == 0
    adapter.modules[name]["B"] = torch.ones_like(adapter.modules[name]["B"])
    change, size = short_run._weight_change(base.linears[name], name, start, adapter)
    A, B = (adapter.modules[name][part].double().numpy() for part in "AB")
    weight = base.linears[name].weight.detach().double().numpy()
    assert np.isclose(change, np.linalg.norm(adapter.scaling * B @ A) ** 2)
    assert np.isclose(size, np.linalg.norm(weight) ** 2)


@pytest.mark.usefixtures("without_checks")
@pytest.mark.parametrize("adapter", ["lora", "dora", "pissa-dora"])
def test_training_that_moves_nothing_says_what_is_zero(
    adapter: str, tmp_path: Path, cache: Path
) -> None:
    spec = sweep(tmp_path, learning_rate=1e-300, adapter=adapter)
    run, _ = trained(spec, cache)
    assert run.relative_delta == 0 and len(run.still) == run.modules
    assert run.loss_after == run.loss_before
    [found] = [each for each in run.findings if each.name == "zero-delta"]
    assert found.message.startswith(
        "8 steps of training leave every weight as it was: the adapter did not move"
    )
    assert "Training fails: the adapter did not move" in markdown.render(build(spec, run))


@pytest.mark.usefixtures("without_checks")
def test_a_sample_without_room_for_the_gain_is_not_told_as_the_whole_set(
    tmp_path: Path, cache: Path
) -> None:
    """That of the whole set may have it, and then the sweep begins."""
    asked = {"domain_wer": {"min_gain": 99.0}}
    spec = small_sweep(tmp_path, SIZES, parameters=RECIPE, acceptance=asked)
    for heard, where in ((HEARD, f" on {HEARD} of {SIZES['domain']} utterances"), (100, "")):
        run = train_shortly(spec, cache, heard, lambda text: None)
        [found] = [each for each in run.findings if each.name == "no-headroom"]
        assert found.message.startswith(f"the baseline's domain WER{where} is ")


@pytest.mark.usefixtures("without_checks")
def test_training_that_changes_no_word_warns(tmp_path: Path, cache: Path) -> None:
    run, _ = trained(sweep(tmp_path, learning_rate=1e-9), cache)
    assert run.relative_delta > 0
    assert all(
        each.changed_words == 0 and each.wer == each.baseline_wer for each in run.sets.values()
    )
    assert [each.level for each in run.findings if each.name == "no-effect"] == ["warn"]


def test_a_model_that_fails_its_checks_is_not_trained(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = BaseModel.labels
    monkeypatch.setattr(
        BaseModel, "labels", lambda self, texts: [row[:-1] for row in right(self, texts)]
    )
    with pytest.raises(ObjectiveError, match="label-ends"):
        trained(sweep(tmp_path), cache)
