"""What is done for a corpus before anything trains grows with its length and no faster: twice as
many clips take at most about twice as many calls, in every stage.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from orchestrator.records.readiness.reading_sets import decode_sets, read_sets, set_records
from orchestrator.records.store import StudyFolder
from orchestrator.running import preflight
from orchestrator.sweepfile.loading import load_spec
from orchestrator.tuning.prepared_sweep import prepare
from tests.embedded import DATA

CLIPS = 90
"""Of the small corpus; the larger ones have twice and four times as many."""
MOST = 2.35
"""How many times as many calls twice as many further clips may take. A stage that does some of its
work for each pair of clips, as when a list of all is made anew for every one, takes up to 4 times
as many."""


def write_project(folder: Path, clips: int) -> Path:
    """Write a project with so many short clips of distinct noise in each set, ten to a speaker."""
    for seed, name in enumerate(("train", "replay", "domain", "heldout")):
        (folder / name).mkdir(parents=True)
        rows = []
        for clip in range(clips):
            sound = np.random.default_rng([seed, clip]).normal(0, 0.1, 4800 + clip)
            soundfile.write(folder / name / f"{clip}.wav", sound, 16000)
            words = f"sentence {clip} of {name}"
            row = {
                "audio_filepath": f"{name}/{clip}.wav",
                "text": words,
                "speaker": f"{name} {clip // 10}",
            }
            rows.append(json.dumps(row) + "\n")
        (folder / f"{name}.jsonl").write_text("".join(rows))
    sweep = {
        "version": 1,
        "name": "grows",
        "model": {"id": str(DATA / "base-model")},
        "data": {
            name: str(folder / f"{name}.jsonl") for name in ("train", "replay", "domain", "heldout")
        },
        "evaluation": {"max_tokens_per_second": 60},
        "parameters": {"learning_rate": 1e-3, "max_steps": 8, "replay_ratio": 0.5},
        "budget": {"trials": 1},
        "execution": {"device": "cpu", "kernel": "aten", "pack": 1},
    }
    path = folder / "sweep.yaml"
    path.write_text(json.dumps(sweep))
    return path


def calls_of(work: Callable[[], Any]) -> tuple[int, Any]:
    """How many functions this thread calls or generators it resumes in `work`, and its result."""
    count = 0

    def counting(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counting)
    try:
        result = work()
    finally:
        sys.setprofile(None)
    return count, result


def calls_by_stage(folder: Path, clips: int) -> dict[str, int]:
    """How many calls each stage from manifests to a model that could train takes."""
    spec = load_spec(write_project(folder, clips))
    study = StudyFolder(folder / "studies", spec.name)
    cache = study.project_cache
    taken: dict[str, int] = {}
    taken["read"], sets = calls_of(lambda: read_sets(spec, cache))
    taken["check"], _ = calls_of(lambda: preflight.find_before_decoding(spec, sets, cache))
    taken["decode"], ready = calls_of(lambda: decode_sets(spec, cache))
    taken["check sound"], _ = calls_of(lambda: preflight.find_all(spec, ready, study))
    taken["record"], _ = calls_of(lambda: set_records(spec, ready))
    taken["prepare"], _ = calls_of(lambda: prepare(spec, cache))
    return taken


@pytest.mark.usefixtures("without_model_checks")
def test_no_stage_before_training_grows_faster_than_the_corpus(tmp_path: Path) -> None:
    sizes = (CLIPS, 2 * CLIPS, 4 * CLIPS)
    calls_by_stage(tmp_path / "warm", CLIPS)  # imports, and what is computed once a process
    small, middle, large = (calls_by_stage(tmp_path / str(clips), clips) for clips in sizes)
    grown = {
        stage: (large[stage] - middle[stage]) / (middle[stage] - small[stage]) for stage in small
    }
    assert {stage: times for stage, times in grown.items() if not 1.5 < times < MOST} == {}
