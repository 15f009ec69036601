"""Train the embedded base model, a small real MoonshineStreaming, from scratch on the CPU.

    python data/make_corpus.py WORK --base 14000
    python data/pretrain_base.py WORK/base.npz OUT     # the shipped one: 8,450 steps in 88 minutes on two cores
    python data/pretrain_base.py WORK/base.npz OUT --family v1 --start data/base-model

Three things make it learn at all; without them 1,000 steps left the CTC loss at chance:

1. the frame projection starts as windowed sines, and the embedder first learns to predict log-mel energies (a minute);
2. a CTC head over letters on the encoder's output, beside the decoder's cross-entropy, dropped afterwards;
3. batches of similar length, bf16 autocast, cosine schedule from 1.5e-3.

`--family v1` makes a Moonshine of version 1 of the same size. `--start` takes over the tokenizer and every weight of
another model that has the same name and shape: of the streaming one all but the convolutions, the norms of the encoder
and the positions of the decoder's memory.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import torch
import torch.nn.functional as F
import torchaudio
from measure_baseline import MANIFESTS, RATE, RMS, read_set, transcribe
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForSpeechSeq2Seq,
    AutoProcessor,
    AutoTokenizer,
    MoonshineConfig,
    MoonshineForConditionalGeneration,
    MoonshineStreamingConfig,
    MoonshineStreamingForConditionalGeneration,
    PreTrainedTokenizerFast,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Processor,
)
from transformers.models.moonshine_streaming.processing_moonshine_streaming import (
    MoonshineStreamingProcessor,
)

BOS, EOS = 1, 2
LETTERS = " abcdefghijklmnopqrstuvwxyz"
WIDTH, LAYERS, HEADS, PIECES = 120, 3, 3, 384
FRAME = (
    80  # samples; the embedder halves the frame rate twice, hence audio in multiples of 4 frames
)
# a batch is one of POOL consecutive slices of POOL batches of clips sorted by length
POOL = 8


@dataclass(frozen=True)
class Recipe:
    """Optimizer steps, the highest rate, clips a step, and whether products are taken in bf16:
    that is slow on a CPU without instructions for it."""

    steps: int
    peak: float
    batch: int
    bf16: bool

    def products(self) -> torch.autocast:
        """The context of a forward pass."""
        return torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bf16)


@dataclass(frozen=True)
class Corpus:
    """The base set: int16 clips of shape (samples,) and their transcripts."""

    clips: list[np.ndarray]
    texts: list[str]


@dataclass(frozen=True)
class Batch:
    """audio (B, S) float32; mask (B, S) int64, 1 on whole frames of speech; labels (B, T) int64,
    -100 where padded.
    """

    audio: torch.Tensor
    mask: torch.Tensor
    labels: torch.Tensor


def load_corpus(path: Path) -> Corpus:
    """Read what `make_corpus.py --base` wrote."""
    with np.load(path) as stored:
        audio, lengths, texts = stored["audio"], stored["lengths"], stored["text"]
    ends = np.cumsum(lengths)
    return Corpus(
        [audio[end - n : end] for end, n in zip(ends, lengths, strict=True)],
        [str(text) for text in texts],
    )


def make_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Byte-pair encoding learnt from the base set's sentences."""
    bpe = Tokenizer(models.BPE(unk_token="<unk>"))
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    special = ["<unk>", "<s>", "</s>"]
    bpe.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=PIECES, special_tokens=special, show_progress=False)
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )


def make_processor(tokenizer: PreTrainedTokenizerFast, family: str) -> Any:
    """Raw 16 kHz audio, not normalised, as for the published Moonshine models."""
    extractor = Wav2Vec2FeatureExtractor(
        feature_size=1,
        sampling_rate=RATE,
        padding_value=0.0,
        do_normalize=False,
        return_attention_mask=True,
    )
    kind = Wav2Vec2Processor if family == "v1" else MoonshineStreamingProcessor
    return kind(extractor, tokenizer)


def make_model(pieces: int, family: str) -> Any:
    """A model of random weights."""
    ids = {
        "vocab_size": pieces,
        "pad_token_id": EOS,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "decoder_start_token_id": BOS,
        "tie_word_embeddings": True,
    }
    return _version_1(ids) if family == "v1" else _streaming(ids)


def _version_1(ids: dict[str, Any]) -> Any:
    """A Moonshine of about 1.7 M parameters."""
    layers = {f"{part}_num_hidden_layers": LAYERS for part in ("encoder", "decoder")}
    heads = {f"{part}_num_attention_heads": HEADS for part in ("encoder", "decoder")}
    config = MoonshineConfig(
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        max_position_embeddings=1024,
        **layers,
        **heads,
        **ids,
    )
    return MoonshineForConditionalGeneration(config)


def _streaming(ids: dict[str, Any]) -> Any:
    """A MoonshineStreaming of about 1.9 M parameters. The bare config leaves out the key-value
    heads and the decoder's start token, and wants windows as lists of lists."""
    size: dict[str, Any] = {
        "hidden_size": WIDTH,
        "intermediate_size": 4 * WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "max_position_embeddings": 1024,
    }
    windows = [[16, 4]] * (LAYERS - 2) + [[16, 0]] * 2
    config = MoonshineStreamingConfig(
        **size, **ids, encoder_config={**size, "sliding_windows": windows}
    )
    return MoonshineStreamingForConditionalGeneration(config)


def take_over(model: Any, folder: Path) -> int:
    """Copy every weight of another model that has the same name and shape; how many those were."""
    own = model.state_dict()
    other = AutoModelForSpeechSeq2Seq.from_pretrained(folder).state_dict()
    same = {name: value for name, value in other.items() if _fits(own.get(name), value)}
    model.load_state_dict(own | same)
    return len(same)


def _fits(own: torch.Tensor | None, other: torch.Tensor) -> bool:
    return own is not None and own.shape == other.shape


def collate(
    corpus: Corpus, rows: Any, tokenizer: Any, rng: np.random.Generator | None = None
) -> Batch:
    """A padded batch at RMS 0.075; with `rng`, white noise on three clips of ten."""
    waves = [_wave(corpus.clips[i], rng) for i in rows]
    width = -(-max(map(len, waves)) // (4 * FRAME)) * 4 * FRAME
    audio, mask = torch.zeros(len(waves), width), torch.zeros(len(waves), width, dtype=torch.long)
    for row, wave in enumerate(waves):
        audio[row, : len(wave)] = torch.from_numpy(wave)
        mask[row, : len(wave) // FRAME * FRAME] = 1
    ids = [
        torch.tensor([*tokenizer(corpus.texts[i], add_special_tokens=False).input_ids, EOS])
        for i in rows
    ]
    return Batch(
        audio, mask, torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=-100)
    )


def _wave(clip: np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
    wave = clip.astype(np.float32) / 32768
    wave = wave * (RMS / max(1e-6, float(np.sqrt((wave**2).mean()))))
    if rng is None or rng.random() >= 0.3:
        return wave
    return wave + np.float32(rng.uniform(0, 0.004)) * rng.standard_normal(len(wave)).astype(
        np.float32
    )


def start_as_sines(weight: torch.Tensor) -> None:
    """Fill the frame projection (WIDTH, n samples) with Hann-windowed sines and cosines from 67 Hz
    to 8 kHz * 0.96.
    """
    n = torch.arange(float(weight.shape[-1]))
    with torch.no_grad():
        for i, row in enumerate(weight):
            wave = torch.cos if i % 2 else torch.sin
            row.copy_(
                wave(2 * math.pi * (i // 2 + 1) / (WIDTH / 2) * 0.48 * n)
                * torch.hann_window(weight.shape[-1])
                * 0.35
            )


class Version1Embedder(torch.nn.Module):
    """The convolutions of a version 1 encoder, called as the streaming one's embedder is."""

    stride = 64 * 3 * 2

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.conv1, self.groupnorm = encoder.conv1, encoder.groupnorm
        self.conv2, self.conv3 = encoder.conv2, encoder.conv3

    def forward(
        self, audio: torch.Tensor, padding_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Frames (B, T, WIDTH) of audio (B, S), and which of them are speech (B, T)."""
        hidden = self.groupnorm(torch.tanh(self.conv1(audio[:, None])))
        hidden = F.gelu(self.conv3(F.gelu(self.conv2(hidden)))).transpose(1, 2)
        return hidden, padding_mask[:, :: self.stride][:, : hidden.shape[1]]


def embedder_of(model: Any) -> tuple[Any, torch.Tensor, int]:
    """What turns sound to frames, its first projection (WIDTH, samples), and the samples a frame."""
    encoder = model.model.encoder
    if hasattr(encoder, "embedder"):
        return encoder.embedder, encoder.embedder.linear.weight, 4 * FRAME
    return Version1Embedder(encoder), encoder.conv1.weight[:, 0], Version1Embedder.stride


def warm_embedder(
    model: Any, corpus: Corpus, tokenizer: Any, recipe: Recipe, steps: int = 500
) -> float:
    """Teach the embedder to predict log-mel energies; return the last mean squared error."""
    embedder, projection, stride = embedder_of(model)
    start_as_sines(projection)
    mel = torchaudio.transforms.MelSpectrogram(
        RATE, n_fft=512, win_length=400, hop_length=stride, n_mels=40
    )
    head = torch.nn.Linear(WIDTH, 40)
    optimizer = torch.optim.AdamW([*embedder.parameters(), *head.parameters()], lr=2e-3)
    rng = np.random.default_rng(1)
    for _ in range(steps):
        rows = [i for i in rng.integers(0, len(corpus.clips), 24) if len(corpus.clips[i]) < 70_000]
        batch = collate(corpus, rows, tokenizer)
        with recipe.products():
            hidden, valid = embedder(batch.audio.clone(), padding_mask=batch.mask)
        target = ((mel(batch.audio) + 1e-5).log().transpose(1, 2)[:, : hidden.shape[1]] + 4) / 4
        weight = valid[:, : target.shape[1], None].float()
        error = (head(hidden.float()[:, : target.shape[1]]) - target) ** 2
        loss = (error * weight).sum() / weight.sum() / 40
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def losses(
    model: Any, letters: torch.nn.Linear, batch: Batch, texts: list[str], recipe: Recipe
) -> tuple[torch.Tensor, torch.Tensor]:
    """The decoder's cross-entropy and the encoder's CTC loss over letters."""
    with recipe.products():
        encoded = model.model.encoder(batch.audio, attention_mask=batch.mask)
        hidden = encoded.last_hidden_state.float()
        # the decoder adds positions to its input in place: give it a copy
        given = type(encoded)(
            last_hidden_state=hidden.clone(), attention_mask=encoded.attention_mask
        )
        cross_entropy = model(encoder_outputs=given, labels=batch.labels).loss
    spelled = [[LETTERS.index(letter) for letter in text] for text in texts]
    ctc = F.ctc_loss(
        letters(hidden).log_softmax(-1).transpose(0, 1),
        torch.tensor(list(itertools.chain.from_iterable(spelled))),
        encoded.attention_mask.sum(1),
        torch.tensor([len(word) for word in spelled]),
        blank=len(LETTERS),
        zero_infinity=True,
    )
    return cross_entropy, ctc


def ctc_share(done: float) -> float:
    """Weight of the CTC loss when the fraction `done` of the steps is taken."""
    return 0.5 if done < 0.3 else 0.3 if done < 0.6 else 0.1


def train(model: Any, tokenizer: Any, corpus: Corpus, recipe: Recipe, report: Any) -> None:
    """The training loop; `report(step)` is called after each 1,000 steps and after the last."""
    letters = torch.nn.Linear(WIDTH, len(LETTERS) + 1)
    parameters = [*model.parameters(), *letters.parameters()]
    steps, peak = recipe.steps, recipe.peak
    optimizer = torch.optim.AdamW(parameters, lr=peak, betas=(0.9, 0.98), weight_decay=0.01)
    rng, start = np.random.default_rng(0), time.monotonic()
    lengths = np.array([len(clip) for clip in corpus.clips])
    for step in range(steps):
        done = step / steps
        for group in optimizer.param_groups:
            group["lr"] = (
                peak * min(1, (step + 1) / 300) * 0.5 * (1 + math.cos(math.pi * done)) + 1e-6
            )
        pool = rng.integers(0, len(lengths), POOL * recipe.batch)
        rows = pool[np.argsort(lengths[pool])].reshape(POOL, -1)[rng.integers(0, POOL)]
        batch = collate(corpus, rows, tokenizer, rng)
        texts = [corpus.texts[i] for i in rows]
        cross_entropy, ctc = losses(model, letters, batch, texts, recipe)
        share = ctc_share(done)
        optimizer.zero_grad()
        ((1 - share) * cross_entropy + share * ctc).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if (step + 1) % 100 == 0 or step + 1 == steps:
            elapsed = time.monotonic() - start
            print(
                f"{step + 1} {elapsed:.0f}s loss {cross_entropy.item():.3f} ctc {ctc.item():.3f}",
                flush=True,
            )
        if (step + 1) % 1000 == 0 or step + 1 == steps:
            report(step + 1)


def report_and_save(model: Any, out: Path, data: Path, step: int) -> None:
    """Save the model; print its WER on the first 100 utterances of the domain and the held-out
    set.
    """
    model.save_pretrained(out)
    processor = AutoProcessor.from_pretrained(out)
    model.eval()
    for name in ("domain", "heldout"):
        rows, clips = read_set(data / MANIFESTS[name])
        heard = transcribe(model, processor, clips[:100])
        print(
            f"{step} {name} {100 * jiwer.wer([row['text'] for row in rows[:100]], heard):.1f} %",
            flush=True,
        )
    model.train()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base", type=Path, help="base.npz")
    parser.add_argument("out", type=Path, help="folder of the model")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(__file__).parent,
        help="folder of the manifests to report on",
    )
    parser.add_argument("--steps", type=int, default=8450)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--family", choices=("streaming", "v1"), default="streaming")
    parser.add_argument(
        "--start", type=Path, metavar="FOLDER", help="take tokenizer and weights over from there"
    )
    arguments = parser.parse_args()
    corpus = load_corpus(arguments.base)
    start = arguments.start
    tokenizer = AutoTokenizer.from_pretrained(start) if start else make_tokenizer(corpus.texts)
    make_processor(tokenizer, arguments.family).save_pretrained(arguments.out)
    torch.manual_seed(0)
    model = make_model(len(tokenizer), arguments.family).train()
    recipe = Recipe(arguments.steps, arguments.lr, arguments.batch, arguments.precision == "bf16")
    n_taken = take_over(model, start) if start else 0
    print(f"{n_taken} of {len(model.state_dict())} weights are those of {start}")
    if n_taken < len(model.state_dict()):
        error = warm_embedder(model, corpus, tokenizer, recipe)
        print(f"embedder predicts log-mel, error {error:.3f}", flush=True)
    train(
        model,
        tokenizer,
        corpus,
        recipe,
        lambda step: report_and_save(model, arguments.out, arguments.data, step),
    )


if __name__ == "__main__":
    main()
