"""Measure the reported WER of an exported adapter again without this project, by stock
transformers, PEFT and jiwer alone.

    python docs/check_adapter.py data/base-model studies/quickstart/trials/0000/adapter data/domain_manifest.jsonl

Decoding is greedy, one clip at a time at RMS 0.075, with at most floor(10 * seconds) + 2 tokens, as
`sweeps/quickstart.yaml` declares.
"""

import json
import sys
from pathlib import Path

import jiwer
import numpy as np
import soundfile
import torch
from peft import PeftModel
from transformers import AutoModelForSpeechSeq2Seq, AutoProcessor
from whisper_normalizer.english import EnglishTextNormalizer

base, adapter, manifest = map(Path, sys.argv[1:4])
processor, normalize = AutoProcessor.from_pretrained(base), EnglishTextNormalizer()
model = PeftModel.from_pretrained(AutoModelForSpeechSeq2Seq.from_pretrained(base), adapter).eval()
references, hypotheses = [], []
for row in map(json.loads, manifest.read_bytes().splitlines()):
    samples, rate = soundfile.read(manifest.parent / row["audio_filepath"], dtype="float32")
    samples *= np.float32(0.075 / np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
    audio = torch.from_numpy(np.clip(samples, -1, 1)[: len(samples) // 80 * 80])[None]
    mask = torch.ones_like(audio, dtype=torch.long)
    cap = int(10 * len(samples) / rate) + 2
    tokens = model.generate(
        input_values=audio, attention_mask=mask, max_new_tokens=cap, do_sample=False
    )
    references.append(normalize(row["text"]))
    hypotheses.append(normalize(processor.decode(tokens[0], skip_special_tokens=True)))
print(
    f"{manifest.name}: WER {100 * jiwer.wer(references, hypotheses)} % of {len(references)} utterances"
)
