"""Speed, noise and dropped chunks: what each does to a sound, that a draw decides it, and that
packs do not.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from orchestrator.corpus.samples import SAMPLE_RATE
from orchestrator.planning.trial_plan import TrialParams
from orchestrator.sweepfile.parameters import TABLE
from orchestrator.sweepfile.sweep import ModelSpec
from orchestrator.tuning.model.base_model import wrap_model
from orchestrator.tuning.model.encoder_cache import EncoderCache
from orchestrator.tuning.model.families import Family, family_of
from orchestrator.tuning.training.augmentation import (
    CHUNK,
    CLEAN_SNR,
    SNR_SPAN,
    Draw,
    augment_clip,
    augmented_frames,
    draw_for,
)
from orchestrator.tuning.training.training_set import TrainingSet, step_draws, step_rows
from tests.embedded import ROOT
from tests.test_tuning_pack import CPU, Scene, alone, packed, scene
from tests.tuning_models import ALL_LINEAR, DECODER, clips_and_texts, params, small_model, tokenizer

HZ = 500.0


@pytest.fixture(scope="module")
def family() -> Family:
    return family_of(small_model("streaming"))


def tone(seconds: float = 1.0) -> np.ndarray:
    """A pure tone: whatever is not at its frequency was added."""
    time = np.arange(int(SAMPLE_RATE * seconds)) / SAMPLE_RATE
    return (0.1 * np.sin(2 * np.pi * HZ * time)).astype(np.float32)


def draws(count: int = 40, **changes: Any) -> list[Draw]:
    plain: dict[str, Any] = {"clip": 0, "speed": 0.0, "snr": 60.0, "chunks": 0} | changes
    return [Draw(**({"seed": seed} | plain)) for seed in range(count)]


def test_speed_is_a_factor_of_hundredths_that_shortens_the_clip_and_raises_its_pitch(
    family: Family,
) -> None:
    factors = set()
    for draw in draws(speed=0.1):
        heard = augment_clip(tone(), draw, None, family)
        spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard)), 1 << 19))
        factor = spectrum.argmax() * SAMPLE_RATE / (1 << 19) / HZ
        assert abs(factor - round(factor, 2)) < 1e-3
        assert len(heard) == -(-SAMPLE_RATE * 100 // round(100 * factor))
        factors.add(round(factor, 2))
    assert min(factors) == 0.9 and max(factors) == 1.1 and len(factors) > 10


def test_noise_has_the_stated_ratio_to_the_speech(family: Family) -> None:
    ratios = []
    for draw in draws(snr=5.0):
        noise = augment_clip(tone(), draw, None, family) - tone()
        ratios.append(10 * np.log10(np.mean(tone() ** 2.0) / np.mean(noise**2.0)))
    assert 5 <= min(ratios) < 7 and 18 < max(ratios) <= 20 + 1e-3


def test_chunks_of_one_to_two_thousand_samples_are_silenced_and_nothing_else(
    family: Family,
) -> None:
    sound = tone(4) + np.float32(0.2)  # nowhere zero
    counts = []
    for draw in draws(chunks=3):
        heard = augment_clip(sound, draw, None, family)
        silent = heard == 0
        assert np.array_equal(heard[~silent], sound[~silent])
        edges = np.flatnonzero(np.diff(np.r_[0, silent, 0]))
        runs = edges[1::2] - edges[::2]
        assert all(1000 <= run <= 3 * 2000 for run in runs) and 1000 <= silent.sum() <= 3 * 2000
        counts.append(len(runs))
    assert {1, 2, 3} == set(counts)
    short = [
        augment_clip(tone(0.2) + np.float32(0.2), draw, None, family) for draw in draws(chunks=3)
    ]
    # 3200 samples: one chunk could be more than half
    assert all((heard != 0).all() for heard in short)


def test_the_level_afterwards_is_that_of_every_clip(family: Family) -> None:
    for draw in draws(10, speed=0.1, snr=0.0, chunks=2):
        heard = augment_clip(tone(3), draw, 0.075, family)
        assert heard.dtype == np.float32 and abs(np.sqrt(np.mean(heard**2.0)) - 0.075) < 1e-6


def test_sound_is_changed_in_float32_also_where_trials_train_in_bfloat16(family: Family) -> None:
    for draw in draws(4, speed=0.1, snr=5.0, chunks=3):
        expected = augment_clip(tone(), draw, 0.075, family)
        with torch.autocast("cpu", torch.bfloat16):
            heard = augment_clip(tone(), draw, 0.075, family)
        assert heard.dtype == np.float32 and np.array_equal(heard, expected)


def test_silence_gets_no_noise(family: Family) -> None:
    assert not augment_clip(
        np.zeros(SAMPLE_RATE, np.float32), draws(1, snr=0.0)[0], 0.075, family
    ).any()


@pytest.mark.parametrize("name", ["streaming", "v1"])
def test_speed_keeps_a_clip_within_what_the_model_takes(name: str) -> None:
    model = family_of(small_model(name))
    lengths = {
        len(augment_clip(tone(4)[: model.shortest], draw, None, model)) for draw in draws(speed=0.5)
    }
    assert min(lengths) == model.shortest < max(lengths)
    if math.isinf(model.longest_seconds):
        return
    longest = int(model.longest_seconds * SAMPLE_RATE)
    lengths = {len(augment_clip(tone(4)[:longest], draw, None, model)) for draw in draws(speed=0.5)}
    assert min(lengths) < max(lengths) == longest


def test_a_draw_depends_on_seed_epoch_and_utterance_alone(family: Family) -> None:
    noisy = params(noise_snr=5.0, speed_perturb=0.1, drop_chunks=2, seed=3)
    first = draw_for(noisy, clip=4, epoch=2)
    assert first is not None and first == draw_for(
        params(**noisy.model_dump() | {"learning_rate": 1e-5}), 4, 2
    )
    sound = augment_clip(tone(), first, None, family)
    assert np.array_equal(sound, augment_clip(tone(), first, None, family))
    others = [
        draw_for(noisy, 4, 3),
        draw_for(noisy, 5, 2),
        draw_for(noisy.model_copy(update={"seed": 4}), 4, 2),
    ]
    for other in others:
        assert other is not None and not np.array_equal(
            sound, augment_clip(tone(), other, None, family)
        )


def test_a_share_of_the_domain_rows_is_augmented_and_no_replay_row() -> None:
    data = TrainingSet([[3, 2]] * 30, 20)
    trial = params(batch_size=8, noise_snr=5.0, augment_prob=0.3, replay_ratio=0.25)
    rows = [step_rows(trial, step, data) for step in range(100)]
    made = [step_draws(trial, step, data) for step in range(100)]
    pairs = [
        pair
        for own, drawn_ in zip(rows, made, strict=True)
        for pair in zip(own, drawn_, strict=True)
    ]
    assert all(draw is None for row, draw in pairs if row >= 20)
    assert all(draw.clip == row for row, draw in pairs if draw is not None)
    share = sum(draw is not None for row, draw in pairs if row < 20) / 600
    assert 0.25 < share < 0.35
    again = [draw for _, draw in pairs if draw is not None and draw.clip == pairs[0][0]]
    assert len(again) > 3 and len(set(again)) == len(again)  # another draw in every epoch
    assert all(draw is None for draw in step_draws(params(replay_ratio=0.25), 0, data))


def test_the_documentation_names_the_constants() -> None:
    page = (ROOT / "docs" / "forgetting.md").read_text()
    numbers = (
        f"{SNR_SPAN:g} dB more",
        f"{CLEAN_SNR:g} means none",
        f"of {CHUNK[0]} to {CHUNK[1]} samples",
    )
    assert [number for number in numbers if number not in page] == []
    assert TABLE["noise_snr"].default == TABLE["noise_snr"].high == CLEAN_SNR
    assert f"to {SNR_SPAN:g} more; {CLEAN_SNR:g} is none" in TABLE["noise_snr"].doc
    assert f"{CHUNK[0]} to {CHUNK[1]} samples" in TABLE["drop_chunks"].doc


MIXED = {
    "off": params(),
    "speed": params(speed_perturb=0.2, target_patterns=ALL_LINEAR),
    "noise, chunks": params(adapter="dora", noise_snr=0.0, drop_chunks=1, replay_ratio=0.5, seed=5),
    "some rows": params(
        noise_snr=5.0, speed_perturb=0.1, augment_prob=0.5, gradient_accumulation_steps=2
    ),
    "upper half": params(layers="upper-half", speed_perturb=0.1, seed=9),
    "self-labelled": params(
        replay_ratio=0.5, replay_labels="model", noise_snr=10.0, layers="last-1"
    ),
}


def worst(
    pack_row: dict[tuple[str, str], torch.Tensor], expected: dict[tuple[str, str], torch.Tensor]
) -> float:
    assert pack_row.keys() == expected.keys()
    return max((pack_row[key] - expected[key]).abs().max().item() for key in expected)


@pytest.mark.parametrize("name", ["streaming", pytest.param("v1", marks=pytest.mark.slow)])
def test_a_pack_that_differs_in_all_of_it_gives_each_trial_what_stock_peft_gives_it_alone(
    name: str,
) -> None:
    made = scene(name)
    pack, _ = packed(made, list(MIXED.values()))
    for slot, trial in enumerate(MIXED.values()):
        assert worst(pack.read(pack.flat, slot), alone(small_model(name), made, trial)) < 1e-10


def test_trials_that_run_no_encoder_layer_hear_the_changed_sound_too() -> None:
    trials = [
        params(target_patterns=DECODER),
        params(target_patterns=DECODER, noise_snr=0.0, augment_prob=0.5),
    ]
    made = scene("streaming")
    pack, _ = packed(made, trials)
    for slot, trial in enumerate(trials):
        assert (
            worst(pack.read(pack.flat, slot), alone(small_model("streaming"), made, trial)) < 1e-10
        )
    assert (pack.flat[0] - pack.flat[1]).abs().max() > 1e-4


def test_frames_that_do_not_fit_the_memory_change_nothing() -> None:
    made = scene("streaming")
    base, _, data, clips, texts = made
    poor = EncoderCache(base.family, {"train": clips}, 0, CPU)
    trials = [MIXED["off"], MIXED["some rows"]]
    rich_pack, _ = packed(made, trials)
    poor_pack, _ = packed((base, poor, data, clips, texts), trials)
    assert (rich_pack.flat - poor_pack.flat).abs().max() < 1e-11


def test_what_is_off_changes_no_number_to_the_bit() -> None:
    base, _, data, clips, texts = made = scene("streaming")
    plain = TrainingSet(data.labels[: len(clips)], data.domain)
    kept = EncoderCache(base.family, {"train": clips}, 1 << 30, CPU)
    trial = params(replay_ratio=0.5, kl_weight=0.3)
    expected, _ = packed((base, kept, plain, clips, texts), [trial])
    for off in (
        {"noise_snr": 5.0, "speed_perturb": 0.1, "drop_chunks": 3, "augment_prob": 0.0},
        {"speed_perturb": 0.004},
        {"layers": "0-1"},
        {"average_rungs": 3, "averaged_steps": (1, 2, 3)},
    ):
        pack, _ = packed(made, [TrialParams.model_validate(trial.model_dump() | off)])
        assert torch.equal(pack.flat, expected.flat), off


def test_one_sound_serves_the_trials_of_a_pack_that_drew_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = wrap_model(ModelSpec(id="small"), small_model("streaming"), tokenizer(), CPU)
    clips, texts = clips_and_texts(12)
    store = EncoderCache(base.family, {"train": clips}, 1 << 30, CPU)
    store.keep("train", 0)
    counted: list[int] = []
    compute = store.compute

    def noted(own: Any, depth: int) -> Any:
        counted.append(len(own))
        return compute(own, depth)

    monkeypatch.setattr(store, "compute", noted)
    made: Scene = (base, store, TrainingSet(base.labels(texts), 7), clips, texts)
    packed(
        made,
        [params(noise_snr=5.0), params(noise_snr=5.0, learning_rate=1e-4), params(noise_snr=9.0)],
        steps=1,
    )
    assert sum(counted) == 2 * params().batch_size  # of the two noise levels, for three trials


def test_kept_frames_and_changed_ones_may_come_of_different_precision() -> None:
    model = small_model("streaming", torch.float32)
    base = wrap_model(ModelSpec(id="small"), model, tokenizer(), CPU)
    clips, _ = clips_and_texts(3)
    store = EncoderCache(base.family, {"train": clips}, 1 << 30, CPU)
    rows, noisy = torch.tensor([0, 1]), draw_for(params(noise_snr=5.0), 1, 0)
    exact, layout = augmented_frames(store, rows, [None, noisy], 0.075, base.encoder_depth, 2)
    with torch.autocast("cpu", torch.bfloat16):
        coarse, same = augmented_frames(store, rows, [None, noisy], 0.075, base.encoder_depth, 2)
    assert torch.equal(layout.lengths, same.lengths) and coarse.dtype == exact.dtype
    assert torch.equal(coarse[0], exact[0]) and not torch.equal(coarse[1], exact[1])
    assert (coarse - exact).abs().max() < 0.1 * exact.abs().max()
