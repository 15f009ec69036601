"""One adapter by the model authors' own tool, `moonshine_voice.lora`, in its default recipe, heard as
`plain_script.py` hears.

    python benchmarks/peer_script.py WORKLOAD --train MANIFEST --replay MANIFEST --steps 600 --report REPORT.json

Its recipe is LoRA of rank 8 on the decoder's self-attention, half of the batches general speech, the
step of the lowest loss on a tenth of both sets that it keeps back. Needs `pip install
'orchestrator[deploy]'`. `benchmarks/makespan.py --only peer` runs it.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from plain_script import RATE, Script, read_manifest
from transformers import AutoModelForSpeechSeq2Seq

SHARE_KEPT_BACK = 0.1
"""The share of either training set that is kept back to choose the best step by. The tool's own
default, in hours, is more than the shipped sets have.
"""


def cached(name: str, manifest: Path, folder: Path, processor: Any) -> tuple[dict[str, Any], Any]:
    """Write a manifest into the tool's own cache; return its index and its samples."""
    from moonshine_voice.lora.data import build_cache, open_blob
    from moonshine_voice.lora.train import encode_text

    def spoken(hours: float) -> Iterator[tuple[np.ndarray, str]]:
        yield from zip(*read_manifest(str(manifest)), strict=True)

    index = build_cache(name, folder, math.inf, spoken, lambda text: encode_text(processor, text))
    return index, open_blob(folder, name, index)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", type=Path)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--replay", type=Path, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--report", type=Path, required=True)
    options = parser.parse_args()
    work = json.loads(options.workload.read_text())
    script = Script({**work, "train": [], "order": []}, "cpu")
    base = AutoModelForSpeechSeq2Seq.from_pretrained(work["model"]).eval()
    report: dict[str, Any] = {"untuned": script.evaluate(base)}
    began = time.perf_counter()
    from moonshine_voice.lora.train import fit_adapter

    sets = [
        cached(name, manifest, Path(work["output"]), script.processor)
        for name, manifest in (("domain", options.train), ("replay", options.replay))
    ]
    (index, audio), (replay_index, replay_audio) = sets
    tuned = fit_adapter(
        work["model"],
        script.processor,
        index,
        audio,
        replay_index=replay_index,
        replay_audio=replay_audio,
        train_hours=None,
        dev_hours=SHARE_KEPT_BACK * index["samples"] / RATE / 3600,
        replay_dev_hours=SHARE_KEPT_BACK * replay_index["samples"] / RATE / 3600,
        max_steps=options.steps,
        seed=work["seed"],
        device="cpu",
    )
    report |= {"train": time.perf_counter() - began, "tuned": script.evaluate(tuned.eval())}
    options.report.write_text(json.dumps(report))


if __name__ == "__main__":
    main()
