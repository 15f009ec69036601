"""One corpus in every format a manifest may have: the same sound, the same words, the same WER to
the last digit.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from orchestrator.corpus.manifests.manifest import load_manifest
from orchestrator.corpus.recordings.audio import load_audio
from orchestrator.records.results import SetMeasurement
from orchestrator.sweepfile.evaluation import EvaluationSpec
from orchestrator.sweepfile.sweep import ModelSpec
from orchestrator.tuning.decoding.evaluation import Evaluator
from orchestrator.tuning.decoding.evaluation_set import EvaluationSet, load_evaluation_set
from orchestrator.tuning.model.base_model import load_base_model
from orchestrator.tuning.model.encoder_cache import EncoderCache
from tests.embedded import DATA, cut_manifest, small_sweep

RATE = 16_000
COUNT = 3
GAP = 4_000
"""Samples between two utterances of the long recording."""


@dataclass(frozen=True)
class Part:
    """The same utterances as files of their own and within one long recording."""

    rows: list[dict[str, Any]]
    waves: list[np.ndarray]
    long: Path

    def span(self, index: int) -> tuple[float, float]:
        """Start and length in seconds within the long recording."""
        start = sum(len(wave) + GAP for wave in self.waves[:index]) + GAP
        return start / RATE, len(self.waves[index]) / RATE

    def audio(self, index: int) -> Path:
        return Path(self.rows[index]["audio_filepath"])

    def said(self, index: int) -> dict[str, str]:
        return {name: self.rows[index][name] for name in ("text", "speaker")}


def nemo_files(part: Part, index: int) -> dict[str, Any]:
    return {
        "audio_filepath": str(part.audio(index)),
        "duration": part.span(index)[1],
        **part.said(index),
    }


def nemo_segments(part: Part, index: int) -> dict[str, Any]:
    offset, duration = part.span(index)
    return {
        "audio_filepath": part.long.name,
        "offset": offset,
        "duration": duration,
        **part.said(index),
    }


def lhotse_cuts(part: Part, index: int) -> dict[str, Any]:
    start, duration = part.span(index)
    source = {"type": "file", "channels": [0], "source": str(part.long)}
    supervision = {
        "id": f"s{index}",
        "recording_id": "r",
        "start": 0.0,
        "duration": duration,
        **part.said(index),
    }
    samples = soundfile.info(part.long).frames
    recording = {"id": "r", "sources": [source], "sampling_rate": RATE, "num_samples": samples}
    return {
        "id": f"cut{index}",
        "start": start,
        "duration": duration,
        "channel": 0,
        "supervisions": [supervision],
        "recording": recording | {"duration": samples / RATE},
        "type": "MonoCut",
    }


def hugging_face_path(part: Part, index: int) -> dict[str, Any]:
    return {"audio": {"path": str(part.audio(index)), "bytes": None}, **part.said(index)}


def hugging_face_bytes(part: Part, index: int) -> dict[str, Any]:
    encoded = base64.b64encode(part.audio(index).read_bytes()).decode()
    return {"audio": {"path": None, "bytes": encoded}, **part.said(index)}


def hugging_face_array(part: Part, index: int) -> dict[str, Any]:
    return {
        "audio": {"array": part.waves[index].tolist(), "sampling_rate": RATE},
        **part.said(index),
    }


def inline_floats(part: Part, index: int) -> dict[str, Any]:
    return {"audio": part.waves[index].tolist(), **part.said(index)}


FORMS: dict[str, Callable[[Part, int], dict[str, Any]]] = {
    form.__name__: form
    for form in (
        nemo_files,
        nemo_segments,
        lhotse_cuts,
        hugging_face_path,
        hugging_face_bytes,
        hugging_face_array,
        inline_floats,
    )
}


def write_table(part: Part, folder: Path) -> Path:
    path = folder / "table.tsv"
    lines = [
        f"{part.audio(i)}\t{part.rows[i]['text']}\t{part.rows[i]['speaker']}" for i in range(COUNT)
    ]
    path.write_text("\n".join(["path\tsentence\tclient_id", *lines]) + "\n")
    return path


def write_part(folder: Path) -> tuple[Path, Part]:
    """The first utterances of the shipped domain set as they are shipped, and as the formats need
    them.
    """
    shipped = cut_manifest("domain", COUNT, folder)
    waves = [load_audio(each).samples for each in load_manifest(shipped).utterances]
    gap = np.random.default_rng(0).normal(0, 0.05, GAP).astype(np.float32)
    long = folder / "long.wav"
    soundfile.write(
        long,
        np.concatenate([part for wave in waves for part in (gap, wave)] + [gap]),
        RATE,
        "FLOAT",
    )
    return shipped, Part(
        [json.loads(line) for line in shipped.read_text().splitlines()], waves, long
    )


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory: pytest.TempPathFactory) -> Evaluator:
    """The evaluation of a sweep, with one set a format."""
    folder = tmp_path_factory.mktemp("formats")
    shipped, part = write_part(folder)
    paths = {"shipped": shipped, "table": write_table(part, folder)}
    for name, form in FORMS.items():
        paths[name] = folder / f"{name}.json"
        paths[name].write_text(
            "".join(json.dumps(form(part, index)) + "\n" for index in range(COUNT))
        )
    spec = EvaluationSpec(max_tokens_per_second=13)
    sweep = small_sweep(
        tmp_path_factory.mktemp("sweep"), {"train": 1, "replay": 1, "domain": 1, "heldout": 1}
    )
    sweep = sweep.model_copy(update={"evaluation": spec})
    base = load_base_model(ModelSpec(id=str(DATA / "base-model")), torch.device("cpu"))
    sets = {
        name: load_evaluation_set(sweep, name, load_manifest(path), base, folder / "cache")
        for name, path in paths.items()
    }
    clips: dict[str, Sequence[np.ndarray]] = {name: list(each.clips) for name, each in sets.items()}
    return Evaluator(base, EncoderCache(base.family, clips, 1 << 28, base.device), sets, spec)


@pytest.fixture(scope="module")
def measured(evaluator: Evaluator) -> tuple[dict[str, SetMeasurement], dict[str, tuple[str, ...]]]:
    return evaluator.measure_baseline()


@pytest.mark.parametrize("form", ["table", *FORMS])
def test_a_format_changes_neither_the_sound_nor_the_words_nor_the_wer(
    form: str,
    evaluator: Evaluator,
    measured: tuple[dict[str, SetMeasurement], dict[str, tuple[str, ...]]],
) -> None:
    sets, heard = measured
    shipped, other = sets["shipped"], sets[form]
    assert shipped.wer > 0 and len(other.errors) == COUNT
    assert hashes(evaluator.sets[form]) == hashes(evaluator.sets["shipped"])
    assert evaluator.evaluation[f"{form}.audio"] == evaluator.evaluation["shipped.audio"]
    assert evaluator.evaluation[f"{form}.text"] == evaluator.evaluation["shipped.text"]
    assert heard[form] == heard["shipped"]
    for name in (
        "substitutions",
        "deletions",
        "insertions",
        "reference_words",
        "speakers",
        "cap_hits",
        "loops",
    ):
        assert getattr(other, name) == getattr(shipped, name), name
    assert other.wer == shipped.wer


def hashes(each: EvaluationSet) -> tuple[str, ...]:
    """Of the decoded samples before scaling."""
    assert len(set(each.clips.pcm_sha256)) == COUNT
    return each.clips.pcm_sha256
