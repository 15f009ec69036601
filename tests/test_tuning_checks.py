"""Every fault of model, training and evaluation that a start-up check is for, planted and seen
caught.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from orchestrator.checks import CHECKS, Finding
from orchestrator.corpus.cache.clips import AudioNotes, Clips
from orchestrator.corpus.manifests.manifest import Manifest, load_manifest
from orchestrator.errors import FingerprintError
from orchestrator.scoring.judge import Scores, Verdict
from orchestrator.scoring.rates import SetScore
from orchestrator.sweepfile.digest import digest
from orchestrator.sweepfile.evaluation import Precisions
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.tuning.adapters import pack
from orchestrator.tuning.adapters.pack import Pack
from orchestrator.tuning.decoding import greedy_decoding
from orchestrator.tuning.decoding.evaluation import Evaluator
from orchestrator.tuning.decoding.evaluation_set import EvaluationSet
from orchestrator.tuning.model import base_model as model
from orchestrator.tuning.model import families
from orchestrator.tuning.model.base_model import BaseModel, wrap_model
from orchestrator.tuning.model.decoder import Decoder
from orchestrator.tuning.model.encoder_cache import EncoderCache
from orchestrator.tuning.model.layout import RaggedLayout
from orchestrator.tuning.model.windows import EncoderWindow, SlidingWindowAttention
from orchestrator.tuning.selfcheck import base_loss, checks, spelling
from orchestrator.tuning.selfcheck import trial as check_trial
from orchestrator.tuning.selfcheck.checks import check_model
from orchestrator.tuning.training import micro_batches
from orchestrator.tuning.training import pack_group as group
from orchestrator.tuning.training import step as training
from orchestrator.tuning.training.training_set import TrainingSet
from orchestrator.verdicts.judging import judge_scores
from tests.embedded import small_sweep
from tests.stored_sounds import stored_sounds
from tests.tuning_models import clips_and_texts, small_model, tokenizer

FAMILIES = ("streaming", "v1")
LEVEL = 0.075


class Bench:
    """A small random model with what a worker would hand to the checks."""

    def __init__(self, base: BaseModel, spec: SweepSpec, manifest: Manifest) -> None:
        clips, texts = clips_and_texts(8)
        clips = [clip * np.float32(LEVEL / np.sqrt(np.mean(clip**2))) for clip in clips]
        self.base, self.spec = base, spec
        self.data = TrainingSet(base.labels(texts), len(texts))
        self.clips: dict[str, Any] = dict.fromkeys(("train", "domain", "heldout"), clips)
        names = tuple(map(str, range(len(clips))))
        seconds = tuple(len(clip) / 16000 for clip in clips)
        made = Clips(
            lines=tuple(range(1, len(clips) + 1)),
            ids=names,
            texts=tuple(texts),
            speakers=names,
            seconds=seconds,
            pcm_sha256=names,
            notes=AudioNotes(),
            faults=(),
            sounds=stored_sounds(clips, manifest.path.parent / "clips"),
        )
        self.sets = {"domain": EvaluationSet(manifest, made, spec.evaluation)}
        self.autocast: Any = nullcontext
        self.training_autocast: Any = None

    def check(self) -> list[Finding]:
        """Everything found but the loss of a model that knows nothing, which is not computed."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(checks, "base_loss", lambda *_: iter(()))
            return check_model(
                self.base,
                self.spec,
                self.sets,
                self.data,
                self.clips,
                self.autocast,
                self.training_autocast,
            )

    def only(self, name: str) -> str:
        """The one message found, which must be of this check."""
        found = self.check()
        assert [each.name for each in found] == [name], found
        assert found[0].level == CHECKS[name].level
        return found[0].message

    def first(self, name: str) -> str:
        """The first message of this check, where the fault makes others fail too."""
        return next(each.message for each in self.check() if each.name == name)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> SweepSpec:
    return small_sweep(
        tmp_path_factory.mktemp("sweep"), dict.fromkeys(("train", "replay", "domain", "heldout"), 2)
    )


def made(family: str, spec: SweepSpec) -> Bench:
    base = wrap_model(
        spec.model, small_model(family, torch.float32), tokenizer(), torch.device("cpu")
    )
    return Bench(base, spec, load_manifest(spec.data.domain))


@pytest.fixture(params=FAMILIES)
def bench(request: pytest.FixtureRequest, spec: SweepSpec) -> Bench:
    return made(request.param, spec)


@pytest.fixture
def streaming(spec: SweepSpec) -> Bench:
    return made("streaming", spec)


def test_a_sound_model_passes_every_check(bench: Bench) -> None:
    assert bench.check() == []


def test_a_sound_model_passes_where_no_two_clips_make_a_batch(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(greedy_decoding, "_frames_a_batch", lambda _: 20)
    assert bench.check() == []


def test_labels_shifted_twice_by_the_library(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    right = bench.base.model.loss_function

    def shifted_again(logits: Tensor, shift_labels: Tensor, **kwargs: Any) -> Tensor:
        moved = torch.cat((shift_labels[:, 1:], torch.full_like(shift_labels[:, :1], -100)), 1)
        loss: Tensor = right(logits=logits, shift_labels=moved, **kwargs)
        return loss

    monkeypatch.setattr(
        type(bench.base.model), "loss_function", property(lambda self: shifted_again)
    )
    assert "Labels that are shifted once too often do that" in bench.only("label-alignment")


def test_labels_shifted_twice_by_us(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def shifted(rows: list[list[int]], start: int) -> tuple[Tensor, Tensor]:
        inputs, labels = model.padded_labels(rows, start)
        moved = torch.cat((labels[:, 1:], torch.full_like(labels[:, :1], -100)), 1)
        return inputs, torch.where((moved == -100) & (labels != -100), labels, moved)

    monkeypatch.setattr(micro_batches, "padded_labels", shifted)
    assert "so training would learn something else" in bench.only("label-alignment")


def test_labels_without_an_end_or_with_a_start(streaming: Bench) -> None:
    right = streaming.data.labels
    streaming.data.labels[:] = [right[0], *(row[:-1] for row in right[1:])]
    assert streaming.only("label-ends").startswith(
        "7 of 8 label rows do not end with the end token"
    )
    start, eos = streaming.base.decoder.start, streaming.base.decoder.eos
    streaming.data.labels[:] = [[start, 5, eos], *([5, eos] for _ in right[1:])]
    assert streaming.only("label-ends") == (
        f"1 of 8 label rows begin with the start token, which the decoder puts there itself, e.g. [{start}, 5, {eos}]."
    )
    streaming.data.labels[:] = [[5, eos, 6, eos] for _ in right]
    assert streaming.only("label-ends").startswith(
        "8 of 8 label rows hold the end token before their end"
    )


def test_clips_that_hear_each_other(streaming: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    class Leaky(SlidingWindowAttention):
        def __init__(self, layout: RaggedLayout, window: EncoderWindow) -> None:
            one = copy.copy(layout)
            one.clip = torch.zeros_like(layout.clip)
            super().__init__(one, window)

    monkeypatch.setattr(families, "SlidingWindowAttention", Leaky)
    assert "clips are not masked from each other" in streaming.first("attention-mask")


def test_a_mask_that_lets_everything_through(
    spec: SweepSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_ = property(
        lambda self: torch.ones(len(self.lengths), 1, 1, self.longest, dtype=torch.bool)
    )
    monkeypatch.setattr(RaggedLayout, "mask", open_)
    assert "in a padded batch differs from its own alone by" in made("v1", spec).first("padding")


def test_a_window_that_is_not_applied(streaming: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    class Open(SlidingWindowAttention):
        def __init__(self, layout: RaggedLayout, window: EncoderWindow) -> None:
            super().__init__(layout, EncoderWindow(32, 32))

    monkeypatch.setattr(families, "SlidingWindowAttention", Open)
    assert "the window that hangs on it, is not applied" in streaming.first("attention-mask")


def in_one_batch(clips: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Clips padded with zeros to the longest, and the mask that says so."""
    audio = torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(clip) for clip in clips], batch_first=True
    )
    lengths = torch.tensor([len(clip) for clip in clips])
    return audio, (torch.arange(audio.shape[1]) < lengths[:, None]).long()


def test_the_stock_embedder_gives_a_padded_clip_more_frames(
    streaming: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stock(self: families.Streaming, clips: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
        frames, mask = self.encoder.embedder(*in_one_batch(clips))
        return frames[mask.bool()], mask.sum(1)

    monkeypatch.setattr(families.Streaming, "front_end", stock)
    message = streaming.first("padding")
    assert "frames alone and" in message and message.endswith(
        "a number would depend on what is decoded beside it."
    )


def test_the_group_norm_of_v1_runs_over_padding(
    spec: SweepSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = families.MoonshineV1.front_end

    def batched(self: families.MoonshineV1, clips: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
        _, lengths = right(self, clips)
        audio, _ = in_one_batch(clips)
        x = torch.tanh(self.encoder.conv1(audio[:, None]))
        x = torch.nn.functional.gelu(self.encoder.conv2(self.encoder.groupnorm(x)))
        frames = torch.nn.functional.gelu(self.encoder.conv3(x)).mT
        return torch.cat(
            [each[:count] for each, count in zip(frames, lengths.tolist(), strict=True)]
        ), lengths

    monkeypatch.setattr(families.MoonshineV1, "front_end", batched)
    bench = made("v1", spec)
    assert "in a padded batch differs from its own alone by" in bench.first("padding")


def test_positions_added_in_place_to_an_output_that_is_used_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = type(bench.base.family).memory

    def in_place(self: Any, encoded: Tensor, layout: RaggedLayout) -> Tensor:
        memory = right(self, encoded, layout)
        with torch.no_grad():
            encoded += 0.1
        return memory

    monkeypatch.setattr(type(bench.base.family), "memory", in_place)
    assert "add the positions out of place" in bench.first("encoder-reuse")


def test_a_training_step_that_spoils_the_frames_of_the_next(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = training.pack_step

    def spoils(base: Any, store: Any, *rest: Any) -> Any:
        result = right(base, store, *rest)
        for of_set in store.kept.values():
            for frames in of_set.values():
                frames.flat.mul_(1.1)
        return result

    monkeypatch.setattr(group, "pack_step", spoils)
    assert (
        bench.only("encoder-reuse")
        == "a training step changes the frames that later steps use again."
    )


def test_an_evaluation_that_bypasses_the_adapter(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(greedy_decoding, "bound_merged", lambda *_: nullcontext())
    assert "it would measure the untuned model" in bench.only("adapter-reach")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "pattern",
    [
        "decoder.*.self_attn.q_proj",
        "decoder.*.self_attn.k_proj",
        "decoder.layers.0.*.q_proj",
        "decoder.*.encoder_attn.q_proj",
        "encoder.layers.0.*.q_proj",
        "decoder.layers.0.*.v_proj",
    ],
)
def test_modules_that_change_no_first_token_are_reached_too(
    family: str, pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one key to attend to, queries and keys of the decoder's self-attention change nothing."""
    spec = small_sweep(
        tmp_path,
        dict.fromkeys(("train", "replay", "domain", "heldout"), 2),
        parameters={
            "learning_rate": 1e-3,
            "max_steps": 8,
            "target_modules": {"values": ["mine"], "presets": {"mine": [pattern]}},
        },
    )
    bench = made(family, spec)
    assert bench.check() == []
    monkeypatch.setattr(bench.base.decoder.head, "forward", ended_at_once(bench.base.decoder))
    untuned = bench.check()
    assert [each for each in untuned if each.name == "adapter-reach"] == [], "it hears nothing"


def ended_at_once(decoder: Decoder) -> Callable[[Tensor], Tensor]:
    """An output head that gives the end token everywhere."""
    head = decoder.head.forward

    def forward(states: Tensor) -> Tensor:
        logits: Tensor = head(states)
        end = torch.arange(logits.shape[-1]) == decoder.eos
        return logits.where(~end, logits.amax(-1, keepdim=True) + 1)

    return forward


def test_an_evaluation_of_rounded_weights(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    right = pack.stack_merged
    monkeypatch.setattr(
        greedy_decoding,
        "stack_merged",
        lambda *each: {name: weight.bfloat16().float() for name, weight in right(*each).items()},
    )
    assert "baseline and trials are not computed alike" in bench.only("adapter-reach")


def test_a_trial_of_another_type_than_the_baseline(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = greedy_decoding.transcribe

    def trials_in_bf16(
        base: Any,
        store: Any,
        name: str,
        max_new_tokens: Any,
        scaled_adapters: Any,
        drafts: Any = (),
    ) -> Any:
        context: AbstractContextManager[object] = (
            torch.autocast("cpu", torch.bfloat16) if scaled_adapters else nullcontext()
        )
        with context:
            return right(base, store, name, max_new_tokens, scaled_adapters, drafts)

    monkeypatch.setattr(check_trial, "transcribe", trials_in_bf16)
    assert (
        bench.only("dtype")
        == "the baseline is computed in float32 and a trial in bfloat16; use one for both."
    )


def test_weights_of_several_types(bench: Bench) -> None:
    bench.base.model.proj_out.to(torch.bfloat16)
    message = "the model's weights are of several types (bfloat16 and float32); load it in one."
    assert bench.only("dtype") == message


def test_merged_weights_of_another_type(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    right = pack.stack_merged
    monkeypatch.setattr(
        greedy_decoding,
        "stack_merged",
        lambda *each: {name: weight.double() for name, weight in right(*each).items()},
    )
    assert bench.only("dtype").startswith("a trial cannot be decoded: ")


def test_bf16_by_autocast_for_both_is_one_type(bench: Bench) -> None:
    bench.autocast = lambda: torch.autocast("cpu", torch.bfloat16)
    assert bench.check() == []


def test_a_step_in_bf16_is_taken_before_a_trial_takes_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.training_autocast = lambda: torch.autocast("cpu", torch.bfloat16)
    assert bench.check() == []
    right = training.pack_step

    def refused(*arguments: Any, **named: Any) -> Any:
        if torch.is_autocast_enabled("cpu"):
            raise RuntimeError("expected scalar type Float but found BFloat16\nmore")
        return right(*arguments, **named)

    monkeypatch.setattr(group, "pack_step", refused)
    assert bench.only("dtype") == (
        "a trial cannot be trained in bfloat16: expected scalar type Float but found BFloat16"
    )

    def imprecise(*arguments: Any, **named: Any) -> Any:
        losses, norms = right(*arguments, **named)
        return losses * (1.2 if torch.is_autocast_enabled("cpu") else 1.0), norms

    monkeypatch.setattr(group, "pack_step", imprecise)
    assert bench.only("dtype").startswith("a training step in bfloat16 has the loss ")


def test_a_trial_decoded_with_other_settings(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    right = Evaluator.measure

    def shorter(self: Evaluator, *asked: Any) -> Any:
        truncated = {
            name: each.__class__(each.manifest, each.clips, each.spec)
            for name, each in self.sets.items()
        }
        for each in truncated.values():
            each.__dict__["max_new_tokens"] = [1] * len(each.clips)
        own = Evaluator(self.base, self.store, truncated, self.spec)
        own.__dict__["baseline"] = self.baseline
        return right(own, *asked)

    monkeypatch.setattr(Evaluator, "measure", shorter)
    assert bench.only("decode").endswith("they are decoded with different settings.")


def test_clips_of_another_level_than_asked_for(streaming: Bench) -> None:
    streaming.clips["train"] = [clip * np.float32(0.5) for clip in streaming.clips["train"]]
    assert streaming.only("gain") == (
        "the clips of train have an rms of 0.0375 (median of 8) where evaluation.rms is 0.075: sets of different "
        "loudness are not heard alike."
    )


def test_an_adapter_that_no_gradient_reaches(
    streaming: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pack, "add", lambda *_: None)
    message = "a training step does not move the adapter: no gradient reaches its target modules."
    assert streaming.only("zero-delta") == message


def test_target_patterns_that_hit_nothing_or_no_linear_layer(streaming: Bench) -> None:
    for pattern, words in (
        ("q_porj", "matches no module of this model"),
        ("*.encoder_attn", "Attention; only the linear"),
    ):
        presets = {**streaming.spec.parameters.presets, "attention": (pattern,)}
        changed = streaming.spec.parameters.model_copy(update={"presets": presets})
        streaming.spec = streaming.spec.model_copy(update={"parameters": changed})
        message = streaming.only("targets")
        assert (
            message.startswith(f"preset attention: target pattern {pattern!r} matches")
            and words in message
        )


@pytest.mark.parametrize(("when", "refused"), [("attention", False), ("mine", True)])
def test_a_pair_of_targets_and_layers_that_would_be_drawn_is_refused(
    when: str, refused: bool, tmp_path: Path
) -> None:
    """Each value fits together with another; trials of this pair would fail one by one."""
    spec = small_sweep(
        tmp_path,
        dict.fromkeys(("train", "replay", "domain", "heldout"), 2),
        parameters={
            "learning_rate": 1e-3,
            "max_steps": 8,
            "target_modules": {
                "values": ["attention", "mine"],
                "presets": {"mine": ["decoder.layers.0.*.q_proj"]},
            },
            "layers": {"values": ["last-1"], "when": {"target_modules": when}},
        },
    )
    said = [each.message for each in made("streaming", spec).check()]
    assert bool(said) is refused
    assert all("layers last-1 holds none of the decoder's target modules" in each for each in said)


def test_texts_that_do_not_belong_to_the_model(
    streaming: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_loss, "HIGH_LOSS", 0.01)
    found = check_model(
        streaming.base,
        streaming.spec,
        streaming.sets,
        streaming.data,
        streaming.clips,
        streaming.autocast,
    )
    assert [(each.name, each.level) for each in found] == [("base-loss", "warn")]
    assert "do texts, audio and model belong together?" in found[0].message


def test_the_loss_is_that_of_utterances_spread_over_the_training_set(
    streaming: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of eight texts of another language hide in a mean over two, and not in the worst of
    eight.
    """
    data = replace(streaming.data, places=tuple(f"train.jsonl:{row}" for row in range(8)))
    asked: list[int] = []

    def loss(base: BaseModel, clip: np.ndarray, row: list[int]) -> float:
        asked.append(len(asked))
        return len(row) * (9.0 if len(asked) in (3, 5, 8) else 1.0)

    monkeypatch.setattr(base_loss, "stock_loss", loss)
    [found] = base_loss.base_loss(streaming.base, data, streaming.clips["train"])
    assert asked == list(range(8)) and "above 5 on 3 of them" in found.message
    assert "The highest is 9.00 (train.jsonl:2): " in found.message
    rows = base_loss.spread_domain_rows(replace(data, domain=100))
    assert len(rows) == 16 and rows[0] == 0 and rows[-1] == 93
    monkeypatch.setattr(base_loss, "stock_loss", lambda base, clip, row: float(len(row)))
    assert list(base_loss.base_loss(streaming.base, data, streaming.clips["train"])) == []


SPELT = {
    "capitals": ("Turn Left", "turn left"),
    "digits": ("turn 27", "turn two seven"),
    "punctuation": ("turn left.", "turn left"),
}


@pytest.mark.parametrize("kind", SPELT)
@pytest.mark.parametrize("ours", [0, 1])
def test_texts_spelt_unlike_what_the_model_writes(
    streaming: Bench, kind: str, ours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = replace(streaming.data, places=tuple(f"train.jsonl:{row + 1}" for row in range(8)))
    texts = {"written": SPELT[kind][ours], "heard": SPELT[kind][1 - ours]}

    class Spelt:
        def text(self, tokens: list[int]) -> str:
            return texts["heard" if tokens == [0] else "written"]

    def decoded(base: object, clips: Sequence[np.ndarray], rate: float) -> greedy_decoding.Decoded:
        return greedy_decoding.Decoded([[0]] * len(clips), [False] * len(clips))

    monkeypatch.setattr(spelling, "decode_clips", decoded)
    base: Any = Spelt()
    [found] = spelling.check_spelling(base, data, streaming.clips["train"], 13)
    counts = (8, 0) if ours == 0 else (0, 8)
    assert (found.name, found.level) == ("spelling", "warn")
    assert found.message.startswith(
        f"{counts[0]} of 8 training texts have {kind}, and {counts[1]} of 8 transcripts"
    )
    assert f"{texts['written']!r} (train.jsonl:1) is {texts['heard']!r} to it" in found.message
    texts["heard"] = texts["written"]
    assert list(spelling.check_spelling(base, data, streaming.clips["train"], 13)) == []
    texts["heard"] = ""
    assert list(spelling.check_spelling(base, data, streaming.clips["train"], 13)) == [], (
        "it hears nothing"
    )


CHANGES: dict[str, dict[str, Any]] = {
    "decoding": {"max_tokens_per_second": 9.0},
    "audio level": {"rms": 0.1},
    "normaliser": {"normalizer": "basic"},
    "precision": {"precision": Precisions(search="bf16", verdict="bf16")},
}


@pytest.mark.parametrize("what", [*CHANGES, "text", "speakers", "audio", "type"])
def test_numbers_of_different_evaluations_are_never_compared(streaming: Bench, what: str) -> None:
    """What the check "fingerprint" is for: a baseline measured otherwise than the trial."""
    assert compared(streaming, streaming) is not None
    other = Bench(streaming.base, streaming.spec, streaming.sets["domain"].manifest)
    if what in CHANGES:
        evaluation = other.spec.evaluation.model_copy(update=CHANGES[what])
        other.spec = other.spec.model_copy(update={"evaluation": evaluation})
    elif what in ("text", "speakers"):
        column = {"text": "texts", "speakers": "speakers"}[what]
        clips = other.sets["domain"].clips
        new: dict[str, Any] = {column: ("another", *getattr(clips, column)[1:])}
        changed = replace(clips, **new)
        other.sets = {"domain": replace(other.sets["domain"], clips=changed)}
    elif what == "audio":
        other.sets = {"domain": other.sets["domain"].take(range(7))}
    else:
        model = small_model("streaming", torch.float64)
        other.base = wrap_model(streaming.spec.model, model, tokenizer(), torch.device("cpu"))
    with pytest.raises(FingerprintError):
        compared(streaming, other)


def compared(trial: Bench, baseline: Bench) -> Verdict:
    """The verdict on equal counts under the two benches' own fingerprints."""
    prints = []
    for each in (trial, baseline):
        store = EncoderCache(each.base.family, {}, 0, each.base.device)
        prints.append(
            digest(Evaluator(each.base, store, each.sets, each.spec.evaluation).evaluation)
        )
    counts = {name: SetScore((1, 1), (4, 4), ("a", "b")) for name in ("domain", "heldout")}
    return judge_scores(trial.spec, *(Scores(each, counts) for each in prints), resamples=100)


def test_a_manifest_of_another_name_with_the_same_content_is_the_same_evaluation(
    streaming: Bench,
) -> None:
    other = Bench(
        streaming.base, streaming.spec, load_manifest(streaming.spec.data.evaluated["heldout"].path)
    )
    assert other.sets["domain"].manifest.sha256 != streaming.sets["domain"].manifest.sha256
    assert compared(streaming, other) is not None
