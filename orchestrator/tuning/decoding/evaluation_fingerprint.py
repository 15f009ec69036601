"""The evaluation fingerprint: everything that a measured number depends on, so that two numbers are
compared only where it is equal.

It holds contents and settings only, and no path, name or sentence, so that a project that is moved
or reworded keeps its fingerprint. What the code itself does (16 kHz mono, masks from true lengths)
is stood for by the number of the format.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import transformers

from orchestrator.scoring.normalizers import normalizer_version
from orchestrator.sweepfile.digest import FORMAT, digest
from orchestrator.sweepfile.evaluation import EvaluationSpec
from orchestrator.tuning.decoding.evaluation_set import EvaluationSet
from orchestrator.tuning.model.base_model import BaseModel
from orchestrator.tuning.model.windows import windows_text


def fingerprint_parts(
    base: BaseModel, sets: Mapping[str, EvaluationSet], spec: EvaluationSpec
) -> dict[str, str]:
    """Return the fingerprint's parts by name, for these sets measured with one base model."""
    parts = {
        f"{name}.{part}": value
        for name, evaluation_set in sets.items()
        for part, value in set_parts(evaluation_set).items()
    }
    # left out for torch's own kernel, as in fingerprints from before there was a choice
    kernel = base.products.name
    parts |= {"kernel": kernel} if kernel != "aten" else {}
    return parts | {
        "format": str(FORMAT),
        "rms": str(spec.rms),
        "normalizer": normalizer_version(spec.normalizer),
        "decode": "greedy",
        "max_seconds": "none" if spec.max_seconds is None else f"{spec.max_seconds:g}",
        "terms": digest(
            [
                evaluation_set.terms.phrases
                for evaluation_set in sets.values()
                if evaluation_set.terms is not None
            ]
        ),
        "max_tokens_per_second": f"{spec.max_tokens_per_second:g}",
        "encoder_windows": windows_text(base.family.windows),
        "weights": base.weights_sha256,
        "config": base.config_sha256,
        "tokenizer": base.tokenizer_sha256,
        "dtype": str(base.model.dtype).removeprefix("torch."),
        "precision": precision_text(spec.precision.search, base.device.type),
        "device": base.device.type,
        "torch": torch.__version__.partition("+")[0],
        "transformers": transformers.__version__,
    }


def set_parts(evaluation_set: EvaluationSet) -> dict[str, str]:
    """Return the parts that are of one set: the digests of its sound and of its texts."""
    clips = evaluation_set.clips
    return {"audio": clips.content_sha256, "text": digest(clips.text_sha256)}


def precision_text(precision: str, device: str) -> str:
    """Return what a sweep's `precision` means on a device: the text in the fingerprint."""
    return "bf16, attention in fp32" if (precision, device) == ("bf16", "cpu") else precision
