"""The words of stock greedy `generate`, whatever the pack, the batch and the draft."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from orchestrator.records.readiness.model_limits import token_caps
from orchestrator.sweepfile.evaluation import Precision
from orchestrator.sweepfile.sweep import ModelSpec
from orchestrator.tuning.adapters.pack import Adapter, merged_weight
from orchestrator.tuning.adapters.peft_adapter import ROOT
from orchestrator.tuning.decoding import decoding_rows, greedy_decoding
from orchestrator.tuning.decoding.decoding_rows import RowGroup, join_live_rows
from orchestrator.tuning.decoding.greedy_decoding import Decoded, transcribe
from orchestrator.tuning.model.base_model import BaseModel, wrap_model
from orchestrator.tuning.model.core_threads import Cores
from orchestrator.tuning.model.device import autocast_to
from orchestrator.tuning.model.encoder_cache import EncoderCache
from orchestrator.tuning.model.layout import laid_out
from tests.test_tuning_pack import start
from tests.tuning_models import ALL_LINEAR, DECODER, clips_and_texts, params, small_model, tokenizer

CPU = torch.device("cpu")
CAP = 14


def generated(model: PreTrainedModel, clip: np.ndarray) -> tuple[list[int], bool]:
    """Stock greedy tokens without start and EOS, and whether the cap cut them off."""
    audio = torch.from_numpy(clip)[None].to(model.dtype)
    mask = torch.ones_like(audio, dtype=torch.long)
    kwargs = dict(max_new_tokens=CAP, do_sample=False, num_beams=1, use_cache=True)
    tokens = model.generate(input_values=audio, attention_mask=mask, **kwargs)[0, 1:].tolist()
    return (tokens[:-1], False) if tokens[-1] == 2 else (tokens, True)


def shaken(base: BaseModel, seed: int, **changes: object) -> Adapter:
    """An adapter far enough from zero to say other words."""
    adapter = start(base, params(seed=seed, **changes))
    generator = torch.Generator().manual_seed(seed)
    modules = {
        name: {
            part: t + 0.2 * torch.randn(t.shape, generator=generator, dtype=t.dtype)
            for part, t in parts.items()
        }
        for name, parts in adapter.modules.items()
    }
    return Adapter(adapter.scaling, 0.0, seed, modules)


def stock_with(family: str, adapter: Adapter, scale: float) -> PreTrainedModel:
    """The stock model with the adapter merged at a scale."""
    model = small_model(family)
    for name, parts in adapter.modules.items():
        linear = model.get_submodule(ROOT + name)
        linear.weight.data = merged_weight(linear.weight.data, parts, adapter.scaling, scale)
    return model


def as_pairs(decoded: Decoded) -> list[tuple[list[int], bool]]:
    return list(zip(decoded.tokens, decoded.truncated, strict=True))


@pytest.mark.parametrize("end_to_end", [True, False], ids=["end to end", "padded"])
@pytest.mark.parametrize("family", ["streaming", "v1"])
def test_packed_words_are_those_of_stock_generate_for_every_voice_and_clip(
    family: str, end_to_end: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding_rows, "_stand_end_to_end", lambda _: end_to_end)
    base = wrap_model(ModelSpec(id="small"), small_model(family), tokenizer(), CPU)
    clips, _ = clips_and_texts(5, seed=4)
    store = EncoderCache(base.family, {"set": clips}, 1 << 30, CPU)
    max_new_tokens = [CAP] * len(clips)
    untuned = transcribe(base, store, "set", max_new_tokens, ())[0]
    assert as_pairs(untuned) == [generated(small_model(family), clip) for clip in clips]
    scaled_adapters = [
        (shaken(base, 1, target_patterns=ALL_LINEAR), 1.0),
        (shaken(base, 2, target_patterns=DECODER, adapter="dora"), 0.5),
        (shaken(base, 3, adapter="pissa"), 0.8),
    ]
    decoded = transcribe(base, store, "set", max_new_tokens, scaled_adapters, [untuned.tokens] * 3)
    for (adapter, scale), heard in zip(scaled_adapters, decoded, strict=True):
        model = stock_with(family, adapter, scale)
        assert as_pairs(heard) == [generated(model, clip) for clip in clips]
    assert len({tuple(map(tuple, heard.tokens)) for heard in (untuned, *decoded)}) == 4


@pytest.mark.parametrize("family", ["streaming", "v1"])
def test_no_word_depends_on_what_is_decoded_beside_a_clip(family: str) -> None:
    base = wrap_model(ModelSpec(id="small"), small_model(family), tokenizer(), CPU)
    clips, _ = clips_and_texts(10, seed=8)
    scaled_adapters = [(shaken(base, 1, target_patterns=ALL_LINEAR), 1.0), (shaken(base, 2), 0.5)]

    def heard(rows: list[int]) -> dict[int, tuple[tuple[list[int], bool], ...]]:
        """Per clip what each voice and the untuned model hear in it, when these clips stand
        together in this order.
        """
        store = EncoderCache(base.family, {"set": [clips[row] for row in rows]}, 1 << 30, CPU)
        max_new_tokens = [CAP] * len(rows)
        decoded = [
            *transcribe(base, store, "set", max_new_tokens, scaled_adapters),
            *transcribe(base, store, "set", max_new_tokens, ()),
        ]
        return dict(zip(rows, zip(*map(as_pairs, decoded), strict=True), strict=True))

    together = heard(list(range(10)))
    assert len({str(words) for words in together.values()}) > 7
    by_length = sorted(range(10), key=lambda row: len(clips[row]))
    assert len({len(clip) for clip in clips}) > 7, (
        "clips of other lengths, so that a batch is padded"
    )
    batches = [[row] for row in range(10)] + [
        by_length,
        by_length[::-1],
        [by_length[0], by_length[-1]],
        [3, 7, 1],
    ]
    for rows in batches:
        assert heard(rows) == {row: together[row] for row in rows}, rows


@pytest.mark.parametrize("family", ["streaming", "v1"])
def test_what_is_left_of_several_batches_is_decoded_together_to_the_same_words(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drafts hold but for every fourth clip of the second voice, so that the others have no row left
    where it has one; caps differ, and so do the lengths of what is joined.
    """
    base = wrap_model(ModelSpec(id="small"), small_model(family), tokenizer(), CPU)
    clips, _ = clips_and_texts(16, seed=11)
    store = EncoderCache(base.family, {"set": clips}, 1 << 30, CPU)
    max_new_tokens = [CAP - clip % 3 for clip in range(len(clips))]
    max_new_tokens[5], max_new_tokens[6] = 1, 2
    scaled_adapters = [
        (start(base, params(seed=3)), 1.0),
        (shaken(base, 1, target_patterns=DECODER), 1.0),
        (shaken(base, 2, target_patterns=ALL_LINEAR, adapter="dora"), 0.5),
    ]
    plain = transcribe(base, store, "set", max_new_tokens, scaled_adapters)
    drafts = [list(heard.tokens) for heard in plain]
    by_length = sorted(range(len(clips)), key=lambda clip: len(clips[clip]))
    for clip in by_length[::4]:
        drafts[1][clip] = [7, *drafts[1][clip][1:]]
    joined: list[list[int]] = []

    def noted(groups: Sequence[RowGroup]) -> RowGroup:
        joined.append([len(group.rows) - len(group.live) for group in groups])
        return join_live_rows(groups)

    monkeypatch.setattr(greedy_decoding, "join_live_rows", noted)
    four_clips = 4 * len(scaled_adapters) * max(map(len, clips)) / base.family.stride
    monkeypatch.setattr(greedy_decoding, "_frames_a_batch", lambda _: four_clips)
    monkeypatch.setattr(Cores, "at_once", 1)
    assert list(
        map(as_pairs, transcribe(base, store, "set", max_new_tokens, scaled_adapters, drafts))
    ) == (list(map(as_pairs, plain)))
    several = [finished for finished in joined if len(finished) > 1]
    assert several, "the rows of several batches were joined"
    assert any(any(finished) for finished in several), (
        "rows of adapters that had none left among them"
    )


@pytest.mark.parametrize("cores", [1, 2, 3, 16])
def test_batches_are_shared_out_evenly_in_their_order(cores: int) -> None:
    for count in (1, 2, 3, 15, 79, 90, 600):
        batches = [[clip] for clip in range(count)]
        runs = greedy_decoding._in_runs(batches, cores)
        lengths = list(map(len, runs))
        assert [clips for run in runs for clips in run] == batches
        assert max(lengths) <= greedy_decoding.RUN and max(lengths) - min(lengths) <= 1
        assert cores == 1 or len(runs) == count or len(runs) % cores == 0


@pytest.mark.parametrize("draft", [[], [3], [7, 7, 7, 7], list(range(3, 18)), [2]])
def test_a_draft_never_changes_the_words(draft: list[int]) -> None:
    base = wrap_model(ModelSpec(id="small"), small_model("streaming"), tokenizer(), CPU)
    clips, _ = clips_and_texts(6, seed=2)
    store = EncoderCache(base.family, {"set": clips}, 1 << 30, CPU)
    max_new_tokens = [CAP - clip for clip in range(6)]
    plain = transcribe(base, store, "set", max_new_tokens, ())[0]
    drafted = transcribe(base, store, "set", max_new_tokens, (), [[draft] * 6])[0]
    corrupted = [[*tokens[:2], 5, *tokens[3:]] for tokens in plain.tokens]
    assert as_pairs(drafted) == as_pairs(plain)
    again = transcribe(base, store, "set", max_new_tokens, (), [corrupted])[0]
    assert as_pairs(again) == as_pairs(plain)


@pytest.mark.parametrize("family", ["streaming", "v1"])
def test_a_clip_gives_the_same_frames_in_any_batch(family: str) -> None:
    base = wrap_model(ModelSpec(id="small"), small_model(family), tokenizer(), CPU)
    clips, _ = clips_and_texts(5, seed=3)
    frames, layout = laid_out(*base.family.front_end(clips), base.family.block)
    encoded = layout.pad(base.family.encoder_layers(frames, layout, 0, base.encoder_depth))
    for row, clip in enumerate(clips):
        alone, own = laid_out(*base.family.front_end([clip]), base.family.block)
        expected = own.pad(base.family.encoder_layers(alone, own, 0, base.encoder_depth))[0]
        assert layout.lengths[row] == own.lengths[0] == len(expected)
        assert (encoded[row, : len(expected)] - expected).abs().max() < 1e-12
        audio = torch.from_numpy(clip).double()[None]
        mask = torch.ones_like(audio, dtype=torch.long) if family == "streaming" else None
        stock = small_model(family).model.encoder(audio, attention_mask=mask).last_hidden_state[0]
        assert (stock - expected).abs().max() < 1e-12


def test_frames_that_do_not_fit_the_budget_are_computed_anew_and_are_the_same() -> None:
    base = wrap_model(ModelSpec(id="small"), small_model("streaming"), tokenizer(), CPU)
    clips, _ = clips_and_texts(6, seed=5)
    kept = EncoderCache(base.family, {"set": clips}, 1 << 30, CPU)
    poor = EncoderCache(base.family, {"set": clips}, 0, CPU)
    wanted = torch.tensor([4, 0, 4, 2])
    for depth in range(base.encoder_depth + 1):
        rich, layout = kept("set", wanted, depth, slots=2)
        thin, again = poor("set", wanted, depth, slots=2)
        assert torch.equal(layout.lengths, again.lengths)
        assert (rich - thin).abs().max() < 1e-12
    assert poor.bytes_used == 0 < kept.bytes_used


@pytest.mark.parametrize(("second", "apart"), [(1, 2), (2, 1)])
@pytest.mark.parametrize("training", ["fp32", "bf16"])
@pytest.mark.parametrize("measuring", ["fp32", "bf16"])
def test_which_frames_are_kept_does_not_depend_on_what_is_asked_for_first(
    second: int, apart: int, training: Precision, measuring: Precision
) -> None:
    """Not in bfloat16 either, where the output of the encoder is in float32."""
    model = small_model("streaming", torch.float32)
    base = wrap_model(ModelSpec(id="small"), model, tokenizer(), CPU)
    clips, _ = clips_and_texts(9, seed=5)
    sets = {"train": clips[:6], "domain": clips[6:8], "heldout": clips[8:]}

    def autocast(name: str) -> torch.autocast:
        return autocast_to(training if name == "train" else measuring, CPU)

    def kept(places: list[tuple[str, int]], budget: int) -> tuple[set[tuple[str, int]], int]:
        store = EncoderCache(base.family, dict(sets), budget, CPU, (0, second), autocast=autocast)
        found = set()
        for name, depth in places:
            with autocast(name):
                if store.keep(name, depth) is not None:
                    found.add((name, depth))
        return found, store.bytes_used

    asked = [
        ("heldout", apart),
        ("domain", apart),
        ("domain", 0),
        ("train", second),
        ("heldout", second),
        ("train", 0),
    ]
    everything, whole = kept(asked, 1 << 30)
    assert everything == set(asked)
    seen = set()
    for budget in range(0, 2 * whole, whole // 20):
        found = []
        for order in (asked, asked[::-1], asked[3:] + asked[:3]):
            places, used = kept(order, budget)
            assert used <= budget
            found.append(places)
        assert found[0] == found[1] == found[2]
        seen.add(frozenset(found[0]))
    assert frozenset({("train", 0), ("train", second)}) in seen, "what every step needs comes first"
    assert everything in seen


def test_frames_of_a_lower_depth_are_the_start_of_a_higher_and_the_same() -> None:
    base = wrap_model(ModelSpec(id="small"), small_model("streaming"), tokenizer(), CPU)
    clips, _ = clips_and_texts(6, seed=5)
    alone = EncoderCache(base.family, {"set": clips}, 1 << 30, CPU)
    above = EncoderCache(
        base.family, {"set": clips}, 1 << 30, CPU, depths=range(base.encoder_depth + 1)
    )
    wanted = torch.tensor([4, 0, 4, 2])
    for depth in range(base.encoder_depth, -1, -1):
        assert torch.equal(alone("set", wanted, depth)[0], above("set", wanted, depth)[0])
    heard: list[int] = []
    front_end = base.family.front_end

    def noted(clips: Any) -> Any:
        heard.append(len(clips))
        return front_end(clips)

    base.family.front_end = noted  # type: ignore[method-assign]
    again = EncoderCache(base.family, {"set": clips}, 1 << 30, CPU, depths=(0, base.encoder_depth))
    again.keep("set", base.encoder_depth)
    again.keep("set", 0)
    assert heard == [1, len(clips), 1], "one clip says how large the frames of a depth are"


def test_reading_frames_and_decoding_leave_the_cache_untouched() -> None:
    base = wrap_model(ModelSpec(id="small"), small_model("streaming"), tokenizer(), CPU)
    clips, _ = clips_and_texts(4, seed=6)
    store = EncoderCache(base.family, {"set": clips}, 1 << 30, CPU)
    before = store("set", torch.arange(4), base.encoder_depth)[0].clone()
    transcribe(base, store, "set", [CAP] * 4, ())
    taken, _ = store("set", torch.arange(4), base.encoder_depth)
    taken += 1
    assert torch.equal(store("set", torch.arange(4), base.encoder_depth)[0], before)


def test_caps_follow_each_clips_own_length() -> None:
    assert token_caps([1.0, 2.5, 0.1], 6.5) == [8, 18, 2]
