"""The script a practitioner would write for the same sweep: Optuna, Seq2SeqTrainer, PEFT,
`generate`, jiwer.

    python benchmarks/plain_script.py WORKLOAD --study sqlite:///STUDY.db --report REPORT.json [--trial N]

It knows nothing of the product. `benchmarks/makespan.py` writes WORKLOAD and runs this script once
per trial, or once for all of them. It is written as well as such a script is: audio decoded once a
process, batches of 32 sorted by length, attention masks, new tokens capped by the longest clip of
each batch, the cache on, adapters merged while decoding, no loss computed beside `generate`, no
bf16 on a CPU, nothing logged or saved at each step. With --onednn its frozen linear layers are
computed by oneDNN, as people who know of it could do it.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import optuna
import peft
import soundfile
import torch
from torch import Tensor
from transformers import (
    AutoModelForSpeechSeq2Seq,
    AutoProcessor,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    TrainerCallback,
)
from whisper_normalizer.english import EnglishTextNormalizer

RATE, RMS = 16000, 0.075
EVAL_BATCH = 32
TARGETS: dict[str, list[str] | str] = {
    "attention": ["q_proj", "k_proj", "v_proj", "o_proj"],
    "decoder-attention": r".*decoder\.layers\..*\.[qkvo]_proj",
    "all-linear": r".*layers\..*\.([qkvo]_proj|fc1|fc2)",
}


class Script:
    """The data and processor that a process loads once, and Optuna's objective."""

    def __init__(self, work: dict[str, Any], device: str) -> None:
        self.work, self.device = work, torch.device(device)
        self.processor = AutoProcessor.from_pretrained(work["model"])
        self.normalise = EnglishTextNormalizer()
        self.sets = {name: read_manifest(path) for name, path in work["evaluate"].items()}
        self.seconds = {"train": 0.0, "decode": 0.0}
        self.trials: list[dict[str, Any]] = []
        examples = [example for path in work["train"] for example in self.examples(path)]
        self.train = [examples[row] for row in work["order"]]

    def examples(self, path: str) -> list[dict[str, Any]]:
        """Read a manifest as training examples: audio, and labels that are [tokens, EOS]."""
        tokenizer = self.processor.tokenizer
        return [
            {
                "audio": clip,
                "labels": [
                    *tokenizer(text, add_special_tokens=False).input_ids,
                    tokenizer.eos_token_id,
                ],
            }
            for clip, text in zip(*read_manifest(path), strict=True)
        ]

    def inputs(self, clips: list[np.ndarray]) -> dict[str, torch.Tensor]:
        """Return the clips as padded audio (clips, samples) and their attention mask."""
        batch = self.processor(
            clips, sampling_rate=RATE, padding=True, return_attention_mask=True, return_tensors="pt"
        )
        return {"input_values": batch["input_values"], "attention_mask": batch["attention_mask"]}

    def collate(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return a training batch; labels (rows, tokens) are padded with -100."""
        labels = [torch.tensor(row["labels"]) for row in rows]
        return self.inputs([row["audio"] for row in rows]) | {
            "labels": torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100)
        }

    def objective(self, trial: optuna.Trial) -> float:
        """Train one adapter, evaluate it on the way and at the end; returns the domain WER."""
        rank = trial.suggest_categorical("rank", [4, 8, 16])
        config = peft.LoraConfig(
            r=rank,
            lora_alpha=rank,
            use_dora=trial.suggest_categorical("adapter", ["lora", "dora"]) == "dora",
            target_modules=TARGETS[trial.suggest_categorical("target_modules", list(TARGETS))],
        )
        rate = trial.suggest_float("learning_rate", 1e-5, 1e-1, log=True)
        base = AutoModelForSpeechSeq2Seq.from_pretrained(self.work["model"]).to(self.device)
        torch.manual_seed(self.work["seed"])
        model = peft.get_peft_model(base, config)
        evaluation = Evaluate(self, trial, model)
        began, decoded = time.perf_counter(), self.seconds["decode"]
        trainer = Seq2SeqTrainer(
            model=model,
            args=self.arguments(rate),
            train_dataset=self.train,
            data_collator=self.collate,
            callbacks=[evaluation],
        )
        trainer.train()
        spent = time.perf_counter() - began
        self.seconds["train"] += spent - (self.seconds["decode"] - decoded)
        model.save_pretrained(
            str(Path(self.work["output"]) / f"trial-{self.work['points'].index(trial.params)}")
        )
        self.trials.append({"point": trial.params, "wer": evaluation.wer, "ended": time.time()})
        return evaluation.wer["domain"]

    def arguments(self, rate: float) -> Seq2SeqTrainingArguments:
        """Return the trainer's arguments. All but the learning rate are the same for every trial,
        and utterances are taken in the order that the workload gives them.
        """
        return Seq2SeqTrainingArguments(
            output_dir=self.work["output"],
            learning_rate=rate,
            max_steps=self.work["steps"],
            warmup_steps=self.work["warmup_steps"],
            per_device_train_batch_size=self.work["batch_size"],
            lr_scheduler_type="linear",
            train_sampling_strategy="sequential",
            use_cpu=self.device.type == "cpu",
            seed=self.work["seed"],
            remove_unused_columns=False,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )

    @torch.inference_mode()
    def transcribe(self, model: Any, clips: list[np.ndarray]) -> list[str]:
        """Greedy transcripts in the order of `clips`."""
        order = sorted(range(len(clips)), key=lambda row: len(clips[row]))
        heard = [""] * len(clips)
        for start in range(0, len(order), EVAL_BATCH):
            rows = order[start : start + EVAL_BATCH]
            batch = {
                name: part.to(self.device)
                for name, part in self.inputs([clips[row] for row in rows]).items()
            }
            cap = int(self.work["tokens_per_second"] * len(clips[rows[-1]]) / RATE) + 2
            ids = model.generate(
                **batch, max_new_tokens=cap, do_sample=False, num_beams=1, use_cache=True
            )
            for row, text in zip(
                rows, self.processor.batch_decode(ids, skip_special_tokens=True), strict=True
            ):
                heard[row] = text
        return heard

    def evaluate(self, model: Any) -> dict[str, float]:
        """Return the WER of every evaluation set, in percent."""
        began = time.perf_counter()
        wer = {}
        for name, (clips, texts) in self.sets.items():
            heard = self.transcribe(model, clips)
            wer[name] = 100 * jiwer.wer(
                [self.normalise(t) for t in texts], [self.normalise(t) for t in heard]
            )
        self.seconds["decode"] += time.perf_counter() - began
        return wer

    def baseline(self, study: optuna.Study) -> None:
        """Measure the untuned model, once per study."""
        model = AutoModelForSpeechSeq2Seq.from_pretrained(self.work["model"]).to(self.device).eval()
        study.set_user_attr("baseline", self.evaluate(model))


class Evaluate(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Evaluates at every rung, and at the last step."""

    def __init__(self, script: Script, trial: optuna.Trial, model: Any) -> None:
        self.script, self.trial, self.model = script, trial, model
        self.wer: dict[str, float] = {}

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        if state.global_step % self.script.work["every"] and state.global_step != state.max_steps:
            return
        self.model.eval()
        self.model.merge_adapter()
        self.wer = self.script.evaluate(self.model)
        self.model.unmerge_adapter()
        self.model.train()
        self.trial.report(self.wer["domain"], state.global_step)


class OneDnnProduct(torch.autograd.Function):
    """The product of x (..., in) and a frozen weight (out, in) by oneDNN, whose operator has no
    gradient of its own. Only x has a gradient here.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return onednn(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return onednn(gradients[0], ctx.saved_tensors[0].mT, None), None, None


def onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Compute a linear layer by oneDNN: x (..., in), weight (out, in) -> (..., out)."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return product


def use_onednn() -> None:
    """From here on compute all frozen linear layers of this process with oneDNN."""
    stock = torch.nn.Linear.forward

    def forward(layer: torch.nn.Linear, x: Tensor) -> Tensor:
        if layer.weight.requires_grad:
            return stock(layer, x)
        product: Tensor = OneDnnProduct.apply(x, layer.weight, layer.bias)  # type: ignore[no-untyped-call]
        return product

    torch.nn.Linear.forward = forward  # type: ignore[assignment,method-assign]


def read_manifest(path: str) -> tuple[list[np.ndarray], list[str]]:
    """Return the clips of a manifest, float32 of shape (samples,) at RMS 0.075, and their texts."""
    rows = [json.loads(line) for line in Path(path).read_bytes().split(b"\n") if line]
    return [read_audio(Path(path).parent / row["audio_filepath"]) for row in rows], [
        row["text"] for row in rows
    ]


def read_audio(path: Path) -> np.ndarray:
    """Read one clip, scaled to RMS 0.075. Raises ValueError where it is not sampled at 16 kHz."""
    samples, rate = soundfile.read(path, dtype="float32")
    if rate != RATE:
        raise ValueError(f"{path}: {rate} Hz, expected {RATE}")
    scaled: np.ndarray = np.clip(samples * np.float32(RMS / np.sqrt((samples**2).mean())), -1, 1)
    return scaled


def main() -> None:
    began = time.time()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workload", type=Path)
    parser.add_argument("--study", required=True, help="Optuna storage URL")
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--trial", type=int, help="run this point alone; by default all")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--onednn", action="store_true", help="frozen linear layers by oneDNN")
    options = parser.parse_args()
    if options.onednn:
        use_onednn()
    work = json.loads(options.workload.read_text())
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(study_name="plain", storage=options.study, load_if_exists=True)
    script = Script(work, options.device)
    if options.trial in (None, 0):
        script.baseline(study)
    for number in range(len(work["points"])) if options.trial is None else [options.trial]:
        study.sampler = optuna.samplers.PartialFixedSampler(
            work["points"][number], optuna.samplers.RandomSampler(0)
        )
        study.optimize(script.objective, n_trials=1)
    device_peak = torch.cuda.max_memory_allocated() if script.device.type == "cuda" else 0
    report = {
        "began": began,
        "seconds": script.seconds,
        "trials": script.trials,
        "device_peak": device_peak,
    }
    options.report.write_text(json.dumps(report))


if __name__ == "__main__":
    main()
