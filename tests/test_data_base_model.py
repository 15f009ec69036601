"""The embedded base model loads like one from the hub, and the script that trains it makes the same
thing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pytest
import soundfile
import torch
from transformers import (
    AutoProcessor,
    MoonshineForConditionalGeneration,
    MoonshineStreamingForConditionalGeneration,
)

from tests.test_data_embedded import DATA, SIZES, script

MODEL = DATA / "base-model"
MANIFESTS = [manifest for manifest, _, _ in SIZES.values()]


@pytest.fixture(scope="module")
def processor() -> Any:
    return AutoProcessor.from_pretrained(MODEL)


@pytest.fixture(scope="module")
def model() -> Any:
    return MoonshineStreamingForConditionalGeneration.from_pretrained(MODEL).eval()


def rows(manifest: str, count: int) -> list[dict[str, Any]]:
    """The first `count` rows; -1 for all."""
    return [json.loads(line) for line in (DATA / manifest).read_bytes().split(b"\n")[:count]]


def test_processor_is_the_real_one_and_pads_to_whole_frames(processor: Any) -> None:
    assert type(processor).__name__ == "MoonshineStreamingProcessor"
    assert processor.feature_extractor.sampling_rate == 16000
    assert not processor.feature_extractor.do_normalize
    clips = [np.full(n, 0.1, dtype=np.float32) for n in (16001, 8000)]
    inputs = processor(clips, sampling_rate=16000)
    assert inputs["input_values"].shape == (2, 16080)
    assert inputs["attention_mask"].sum(1).tolist() == [16001, 8000]
    assert inputs["input_values"][1, :8000].eq(0.1).all()


def test_tokenizer_round_trip_and_end_of_sequence(processor: Any) -> None:
    tokenizer = processor.tokenizer
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 2)
    for row in rows("domain_manifest.jsonl", 100) + rows("heldout_manifest.jsonl", 100):
        ids = tokenizer(row["text"], add_special_tokens=False).input_ids
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids) == row["text"]


def test_ten_tokens_a_second_hold_every_reference_and_six_and_a_half_do_not(processor: Any) -> None:
    needed = [
        script("measure_baseline").tokens_per_second_needed(processor, rows(name, -1))
        for name in MANIFESTS
    ]
    assert 6.5 < max(needed) < 8.5 < script("measure_baseline").TOKENS_PER_SECOND


def test_transcribes_shipped_clips(model: Any, processor: Any) -> None:
    measuring = script("measure_baseline")
    chosen = [row for row in rows("heldout_manifest.jsonl", 60) if row["speaker"] == "en-us+m1"]
    clips = [measuring._normalised(DATA / row["audio_filepath"]) for row in chosen]
    assert measuring.transcribe(model, processor, clips) == [row["text"] for row in chosen]


def test_loss_is_plain_cross_entropy_up_to_the_end_of_sequence(model: Any, processor: Any) -> None:
    row = rows("heldout_manifest.jsonl", 1)[0]
    samples, _ = soundfile.read(DATA / row["audio_filepath"], dtype="float32")
    inputs = processor(samples * (0.075 / np.sqrt((samples**2).mean())), sampling_rate=16000)
    labels = torch.tensor(
        [[*processor.tokenizer(row["text"], add_special_tokens=False).input_ids, 2]]
    )
    with torch.no_grad():
        given = model(**inputs, labels=labels)
    expected = torch.nn.functional.cross_entropy(given.logits[0], labels[0])
    torch.testing.assert_close(given.loss, expected)
    assert given.loss < 1.0


def test_training_script_builds_the_shipped_architecture(model: Any) -> None:
    made = script("pretrain_base").make_model(384, "streaming")
    assert {name: p.shape for name, p in made.named_parameters()} == {
        name: p.shape for name, p in model.named_parameters()
    }
    ignored = {"transformers_version", "architectures", "_name_or_path", "dtype"}
    configs = [
        {k: v for k, v in m.config.to_dict().items() if k not in ignored} for m in (made, model)
    ]
    for config in configs:
        config["encoder_config"] = {
            k: v for k, v in config["encoder_config"].items() if k not in ignored
        }
    assert configs[0] == configs[1]


def test_training_labels_end_with_the_end_of_sequence(processor: Any) -> None:
    pretraining = script("pretrain_base")
    clips = [np.full(n, 1000, dtype=np.int16) for n in (4000, 9001)]
    corpus = pretraining.Corpus(clips, ["turn on the lights", "squawk one"])
    batch = pretraining.collate(corpus, [0, 1], processor.tokenizer)
    assert batch.audio.shape == batch.mask.shape == (2, 9280)
    assert batch.mask.sum(1).tolist() == [4000, 8960]
    for row, labels in enumerate(batch.labels):
        spoken = labels[labels != -100].tolist()
        assert spoken[-1] == 2 and spoken.count(2) == 1
        assert processor.tokenizer.decode(spoken[:-1]) == corpus.texts[row]


@pytest.mark.parametrize("family", ["streaming", "v1"])
def test_losses_of_the_training_step_are_finite_and_reach_every_parameter(
    processor: Any, family: str
) -> None:
    pretraining = script("pretrain_base")
    torch.manual_seed(0)
    model = pretraining.make_model(384, family).train()
    letters = torch.nn.Linear(pretraining.WIDTH, len(pretraining.LETTERS) + 1)
    rng = np.random.default_rng(0)
    clips = [rng.normal(0, 2000, n).astype(np.int16) for n in (24000, 32000)]
    corpus = pretraining.Corpus(clips, ["squawk one", "turn left"])
    batch = pretraining.collate(corpus, [0, 1], processor.tokenizer, rng)
    recipe = pretraining.Recipe(1, 1e-3, 2, bf16=family == "streaming")
    cross_entropy, ctc = pretraining.losses(model, letters, batch, corpus.texts, recipe)
    (cross_entropy + ctc).backward()
    assert torch.isfinite(cross_entropy) and torch.isfinite(ctc)
    assert [
        name
        for name, p in model.named_parameters()
        if p.grad is None or not torch.isfinite(p.grad).all()
    ] == []


def test_base_set_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    audio = np.arange(7, dtype=np.int16)
    np.savez(
        tmp_path / "base.npz", audio=audio, lengths=[3, 4], text=["a b", "c"], speaker=["x", "y"]
    )
    corpus = script("pretrain_base").load_corpus(tmp_path / "base.npz")
    assert [clip.tolist() for clip in corpus.clips] == [[0, 1, 2], [3, 4, 5, 6]]
    assert corpus.texts == ["a b", "c"]


def test_version_1_starts_from_what_it_shares_with_the_streaming_model(model: Any) -> None:
    pretraining = script("pretrain_base")
    made = pretraining.make_model(384, "v1")
    shared = pretraining.take_over(made, MODEL)
    own, theirs = made.state_dict(), model.state_dict()
    same = {name for name in own if name in theirs and torch.equal(own[name], theirs[name])}
    assert len(same) == shared > len(own) / 2
    assert {name.split(".")[2] for name in own.keys() - same} <= {
        "conv1", "conv2", "conv3", "groupnorm", "layers", "layer_norm"
    }  # fmt: skip


def test_the_embedder_of_version_1_is_that_of_its_encoder() -> None:
    pretraining = script("pretrain_base")
    torch.manual_seed(0)
    made = pretraining.make_model(384, "v1").eval()
    embedder, projection, stride = pretraining.embedder_of(made)
    assert (tuple(projection.shape), stride) == ((pretraining.WIDTH, 127), 384)
    audio, mask = torch.randn(2, 8000), torch.ones(2, 8000, dtype=torch.long)
    seen: list[torch.Tensor] = []
    first = made.model.encoder.layers[0]
    first.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        frames, valid = embedder(audio, mask)
        encoded = made.model.encoder(audio, attention_mask=mask)
    torch.testing.assert_close(frames, seen[0])
    assert torch.equal(valid.bool(), encoded.attention_mask.bool())


def test_version_1_hears_the_held_out_set() -> None:
    measuring = script("measure_baseline")
    folder = DATA / "base-model-v1"
    version_1 = MoonshineForConditionalGeneration.from_pretrained(folder).eval()
    some, clips = measuring.read_set(DATA / "heldout_manifest.jsonl")
    heard = measuring.transcribe(version_1, AutoProcessor.from_pretrained(folder), clips[:20])
    assert jiwer.wer([row["text"] for row in some[:20]], heard) < 0.1
