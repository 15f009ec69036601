"""Measure the base model on the embedded sets with nothing but transformers and jiwer, and print a
Markdown table.

    python data/measure_baseline.py [DATA] [--model FOLDER] [--per-speaker]

Greedy decoding, RMS 0.075, an attention mask, batches of similar length, new tokens capped by the
longest clip of the batch. WER twice: of the words as they are, and after the Whisper English
normaliser (spelled-out numbers become digits there, so a wrong digit may cost a whole number).
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import soundfile
import torch
from transformers import AutoModelForSpeechSeq2Seq, AutoProcessor
from whisper_normalizer.english import EnglishTextNormalizer

MANIFESTS = {
    "train": "train_manifest_expanded.jsonl",
    "replay": "replay_manifest.jsonl",
    "domain": "domain_manifest.jsonl",
    "domain_confirm": "domain_confirm.jsonl",
    "heldout": "heldout_manifest.jsonl",
    "heldout_confirm": "heldout_confirm.jsonl",
}
RATE, RMS, BATCH = 16000, 0.075, 50
TOKENS_PER_SECOND = 10.0


def read_set(manifest: Path) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
    """Read the rows of a manifest, and their audio as float32 of shape (samples,) at RMS 0.075."""
    rows = [json.loads(line) for line in manifest.read_bytes().split(b"\n") if line]
    return rows, [_normalised(manifest.parent / row["audio_filepath"]) for row in rows]


def _normalised(path: Path) -> np.ndarray:
    samples, rate = soundfile.read(path, dtype="float32")
    if rate != RATE:
        raise ValueError(f"{path}: {rate} Hz, expected {RATE}")
    return samples * (RMS / max(1e-6, float(np.sqrt((samples**2).mean()))))


def transcribe(model: Any, processor: Any, clips: list[np.ndarray]) -> list[str]:
    """Decode the clips greedily; return the transcripts in the order of `clips`."""
    order = sorted(range(len(clips)), key=lambda i: len(clips[i]))
    heard: dict[int, str] = {}
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        inputs = processor(
            [clips[i] for i in rows],
            sampling_rate=RATE,
            return_attention_mask=True,
            return_tensors="pt",
            padding=True,
        )
        cap = math.ceil(len(clips[rows[-1]]) / RATE * TOKENS_PER_SECOND) + 2
        with torch.inference_mode():
            ids = model.generate(**inputs, max_new_tokens=cap, do_sample=False)
        heard |= dict(zip(rows, processor.batch_decode(ids, skip_special_tokens=True), strict=True))
    return [heard[i] for i in range(len(clips))]


def tokens_per_second_needed(processor: Any, rows: list[dict[str, Any]]) -> float:
    """Return the least rate r, in tokens per second, at which the cap of `r * seconds + 2` new
    tokens leaves room for every reference and its end-of-sequence token.
    """
    counts = [
        len(processor.tokenizer(row["text"], add_special_tokens=False).input_ids) + 1
        for row in rows
    ]
    return max((count - 2) / row["duration"] for count, row in zip(counts, rows, strict=True))


def measure(name: str, manifest: Path, model: Any, processor: Any, per_speaker: bool) -> str:
    """Measure one set and return its row of the table; with `per_speaker`, also print the WER of
    each speaker.
    """
    rows, clips = read_set(manifest)
    said, heard = [row["text"] for row in rows], transcribe(model, processor, clips)
    normalise = EnglishTextNormalizer()
    plain = 100 * jiwer.wer(said, heard)
    whisper = 100 * jiwer.wer(
        [normalise(text) for text in said], [normalise(text) for text in heard]
    )
    speakers: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row, text in zip(rows, heard, strict=True):
        speakers[row["speaker"]].append((row["text"], text))
    if per_speaker:
        for speaker, pairs in sorted(speakers.items()):
            print(
                f"{name} {speaker}: {100 * jiwer.wer([a for a, _ in pairs], [b for _, b in pairs]):.1f} %"
            )
    hours, words = (
        sum(row["duration"] for row in rows) / 3600,
        sum(len(text.split()) for text in said),
    )
    rate = tokens_per_second_needed(processor, rows)
    return (
        f"| {name} | {len(rows)} | {hours:.2f} | {words} | {len(speakers)} "
        f"| {plain:.2f} | {whisper:.2f} | {rate:.1f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    here = Path(__file__).parent
    parser.add_argument("data", type=Path, nargs="?", default=here, help="folder of the manifests")
    parser.add_argument("--model", type=Path, default=here / "base-model")
    parser.add_argument("--per-speaker", action="store_true")
    arguments = parser.parse_args()
    processor = AutoProcessor.from_pretrained(arguments.model)
    model = AutoModelForSpeechSeq2Seq.from_pretrained(arguments.model).eval()
    table = [
        "| set | utterances | hours | words | speakers | WER % | WER %, normalised | tokens/s needed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, manifest in MANIFESTS.items():
        table.append(
            measure(name, arguments.data / manifest, model, processor, arguments.per_speaker)
        )
    print("\n".join(table))


if __name__ == "__main__":
    main()
