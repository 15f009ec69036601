"""JSON may hold several records on one line: each is an utterance of its own, and what is wrong with
one takes none of its neighbours.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from orchestrator.corpus.cache.preparing import prepare_training
from orchestrator.corpus.manifest_errors import FaultsError
from orchestrator.corpus.manifests.manifest import Manifest, load_manifest
from orchestrator.corpus.sets.diagnosis import skipped_lines
from orchestrator.corpus.sets.disjoint_parts import divide
from orchestrator.tuning.prepared_sweep import prepare
from tests.embedded import small_sweep

RATE = 16_000
COUNT = 10
SHORT, SILENT, LOST = 3, 5, 8
"""Too short for any model; without sound; without its file."""

Rows = list[dict[str, Any]]


def by_fives(rows: Rows) -> str:
    """An array of two lines."""
    halves = (rows[: COUNT // 2], rows[COUNT // 2 :])
    return "[" + ",\n".join(json.dumps(half)[1:-1] for half in halves) + "]"


FORMS: dict[str, Callable[[Rows], str]] = {
    "lines": lambda rows: "".join(json.dumps(row) + "\n" for row in rows),
    "array": json.dumps,
    "array of two lines": by_fives,
    "object": lambda rows: json.dumps({"data": rows}),
    "printed": lambda rows: json.dumps(rows, indent=1),
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Rows]:
    """A folder, and its recordings as JSONL would have them."""
    folder = tmp_path_factory.mktemp("clips")
    found = []
    for number in range(COUNT):
        noise = np.random.default_rng(number).normal(0, 0.1, RATE // 2)
        if number == SHORT:
            noise = noise[:40]
        if number == SILENT:
            noise *= 0
        if number != LOST:
            soundfile.write(folder / f"{number}.wav", noise, RATE)
        found.append({"audio_filepath": f"{number}.wav", "text": f"text {number}"})
    return folder, found


def written(folder: Path, form: str, rows: Rows) -> Path:
    path = folder / f"{form.replace(' ', '-')}.json"
    path.write_text(FORMS[form](rows))
    return path


def training(path: Path) -> Manifest:
    return load_manifest(path, for_training=True, max_bad_fraction=0.2)


@pytest.mark.parametrize("form", FORMS)
def test_what_is_wrong_with_one_record_costs_that_record_alone(
    form: str, rows: tuple[Path, Rows], tmp_path: Path
) -> None:
    folder, every = rows
    manifest = training(written(folder, form, every))
    texts = [f"text {number}" for number in range(COUNT) if number != LOST]
    assert [each.text for each in manifest.utterances] == texts
    assert len({each.place for each in manifest.utterances}) == COUNT - 1
    rest, clips = prepare_training(
        manifest, rms=0.075, cache=tmp_path, shortest=80, max_bad_fraction=0.2
    )
    texts.remove(f"text {SHORT}")
    assert [each.text for each in rest.utterances] == list(clips.texts) == texts
    assert [clips.texts[row] for row in clips.silent_rows] == [f"text {SILENT}"]
    assert "2 of 10 lines of train (20.0 %)" in skipped_lines("train", rest)


@pytest.mark.parametrize("form", FORMS)
def test_each_is_a_unit_of_a_split(form: str, rows: tuple[Path, Rows]) -> None:
    folder, every = rows
    found = [row for number, row in enumerate(every) if number != LOST]
    manifest = load_manifest(written(folder, form, found))
    parts = divide(manifest, "utterance", (0.5,), 3)
    assert abs(len(parts[0]) - len(parts[1])) == 1
    assert {each.text for part in parts for each in part} == {row["text"] for row in found}


@pytest.mark.parametrize("form", FORMS)
def test_the_second_of_two_alike_is_told(form: str, rows: tuple[Path, Rows]) -> None:
    folder, every = rows
    with pytest.raises(FaultsError, match="the same audio as line") as caught:
        load_manifest(written(folder, form, [*every[:2], every[0] | {"text": "other"}]))
    assert len(caught.value.faults) == 1
    if form == "array":
        assert "array.json:1 (record 3 of that line): the same audio as line 1;" in str(
            caught.value
        )


@pytest.mark.parametrize("form", ["lines", "object"])
def test_silence_of_one_record_is_left_out_of_training_alone(form: str, tmp_path: Path) -> None:
    spec = small_sweep(tmp_path, {"train": 6, "domain": 1, "heldout": 1})
    every = [json.loads(line) for line in spec.data.train.read_text().splitlines()]
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    every[2] = {"audio_filepath": str(tmp_path / "silent.wav"), "text": "nothing"}
    train = written(tmp_path, form, every)
    spec = spec.model_copy(update={"data": spec.data.model_copy(update={"train": train})})
    assert prepare(spec, tmp_path / "cache").data.domain == 5
