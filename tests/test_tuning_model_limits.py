"""Clips and texts that do not fit the model: all of them, of every set, before anything is decoded
or trained.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import peft
import pytest
import soundfile
import torch
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForSpeechSeq2Seq

from orchestrator.checks import Finding
from orchestrator.errors import DataError
from orchestrator.planning.trial_plan import first_plan
from orchestrator.records.readiness import model_limit_checks
from orchestrator.records.readiness.model_limit_checks import find_limit_violations
from orchestrator.records.readiness.model_limits import read_limits
from orchestrator.records.readiness.reading_sets import read_sets
from orchestrator.records.worker_protocol import Measured
from orchestrator.sweepfile.loading import load_spec
from orchestrator.sweepfile.sweep import ChecksSpec, ModelSpec, SweepSpec
from orchestrator.tuning.model.base_model import load_base_model
from orchestrator.tuning.model.windows import samples_per_frame
from orchestrator.tuning.selfcheck.model_limits import limits_of
from orchestrator.tuning.worker import start_worker
from tests.cli_project import orchestrate
from tests.embedded import stock_words
from tests.tuning_models import small_model, tokenizer

SETS = ("train", "replay", "domain", "heldout", "confirm_domain", "confirm_heldout")
RATE = 16_000
Rows = dict[str, list[tuple[float, int]]]
"""Per set, the seconds of each clip and the words, each a token, of its text."""


def written(
    folder: Path,
    family: str,
    rows: Rows,
    positions: int = 300,
    texts: Mapping[str, str] | None = None,
    tokens_per_second: int = 13,
) -> SweepSpec:
    """A sweep over clips of noise, with a small model of the family that has so many positions."""
    small_model(family, torch.float32, positions=positions).save_pretrained(folder / "model")
    tokenizer().save_pretrained(folder / "model")
    for number, name in enumerate(SETS):
        lines = []
        for row, (seconds, words) in enumerate(rows.get(name, [(1.0, 3)] * 3)):
            noise = np.random.default_rng([number, row]).normal(0, 0.1, int(seconds * RATE))
            soundfile.write(folder / f"{name}-{row}.wav", noise, RATE)
            text = " ".join(["left", "right", "climb"][at % 3] for at in range(words))
            text = (texts or {}).get(f"{name}-{row}", text)
            lines.append(
                {"audio_filepath": f"{name}-{row}.wav", "text": text, "speaker": f"{name}{row}"}
            )
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    sets = {name: f"{name}.jsonl" for name in SETS if not name.startswith("confirm")}
    confirm = {name: f"confirm_{name}.jsonl" for name in ("domain", "heldout")}
    sweep = {
        "version": 1,
        "name": "lengths",
        "model": {"id": "model"},
        "data": sets | {"confirm": confirm, "max_seconds": 25},
        "evaluation": {"every": 2, "max_tokens_per_second": tokens_per_second},
        "parameters": {"learning_rate": 1e-3, "max_steps": 2, "batch_size": 2, "replay_ratio": 0.5},
        "guardrails": {"heldout_wer": {"max_regression": 50}},
        "budget": {"trials": 1},
        "execution": {"pack": 1},
        "checks": {"ignore": ["base-loss"]},
    }
    (folder / "sweeps").mkdir()
    (folder / "sweeps" / "lengths.yaml").write_text(json.dumps(sweep))
    return load_spec(folder / "sweeps" / "lengths.yaml")


def refusal(spec: SweepSpec, cache: Path) -> str:
    with pytest.raises(DataError) as caught:
        start_worker(spec, cache)
    assert not (cache / "audio").exists(), "nothing is decoded before that"
    return str(caught.value)


def test_diagnose_finds_what_validate_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows: Rows = {name: [(1.0, 3), (1.0, 3), (5.0, 300)] for name in SETS}
    written(tmp_path, "streaming", rows)
    spec = tmp_path / "sweeps" / "lengths.yaml"
    assert orchestrate("validate", spec) == 2
    assert "(label-length)" in capsys.readouterr().err
    assert orchestrate("diagnose", spec) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "label-length" in said and " 0 of which stop a sweep" not in said


def test_every_text_and_clip_that_does_not_fit_is_named_at_once(tmp_path: Path) -> None:
    fits = [(1.0, 3), (1.0, 3)]
    rows: Rows = {name: [*fits, (5.0, 300)] for name in SETS}
    rows["replay"] = [*fits, (0.4, 26)]
    rows["confirm_domain"] = [*fits, (6.5, 3)]
    message = refusal(written(tmp_path, "streaming", rows), tmp_path / "cache")
    for name in ("train", "domain", "heldout", "confirm_heldout"):
        assert f"{name}.jsonl:3 (301 tokens beside 5.0 s; the decoder has 300 positions)" in message
    assert (
        f"{tmp_path}/replay.jsonl:3 (27 tokens beside 0.4 s, which are 20 encoder frames)"
        in message
    )
    assert (
        "1 of 3 utterances of confirm_domain (33.3 %) are longer than the 6 s the model can take"
        in message
    )
    assert message.count("(label-length)") == 5 and message.count("(too-long)") == 1
    assert message.endswith("checks.ignore='[base-loss, label-length]'")


@pytest.mark.parametrize("family", ["streaming", "v1"])
def test_validate_says_the_same_without_the_model(
    family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows: Rows = {name: [(1.0, 3), (0.01, 3), (5.0, 300), (7.0, 3)] for name in SETS}
    texts = {"heldout-0": "left \u0416 right", "train-0": "ÉCLAIR left"}
    spec = written(tmp_path, family, rows, positions=300, texts=texts)
    base, sets = load_base_model(spec.model, torch.device("cpu")), read_sets(spec)
    limits = read_limits(spec.model)
    assert limits is not None
    expected = find_limit_violations(spec, sets, limits_of(base))
    assert find_limit_violations(spec, sets, limits) == expected
    names = {each.name for each in expected}
    assert {"label-length", "unknown-tokens"} <= names and ("too-short" in names) == (
        family == "v1"
    )
    assert orchestrate("validate", tmp_path / "sweeps" / "lengths.yaml") == 2
    said = capsys.readouterr().err
    refusals = [each.message for each in expected if each.level == "refuse"]
    assert refusals and all(message in said for message in refusals)
    assert orchestrate(tmp_path / "sweeps" / "lengths.yaml") == 2
    out, said = capsys.readouterr()
    assert all(message in said for message in refusals)
    assert "loading the base model" not in out + said
    assert not list((tmp_path / "studies").rglob("*.pcm")), "nothing was decoded for it"


@pytest.mark.parametrize("family", ["streaming", "v1"])
def test_what_a_configuration_leaves_out_is_what_transformers_takes(
    family: str, tmp_path: Path
) -> None:
    spec = written(tmp_path, family, {})
    place = Path(spec.model.id) / "config.json"
    left = json.loads(place.read_text())
    del left["max_position_embeddings"]
    if family == "streaming":
        left["encoder_config"] = None
    place.write_text(json.dumps(left))
    config, limits = AutoConfig.from_pretrained(place.parent), read_limits(spec.model)
    assert limits is not None and limits.positions == config.max_position_embeddings
    if family == "streaming":
        assert limits.stride == samples_per_frame(config.encoder_config)


def test_padding_saved_with_a_tokenizer_lengthens_no_text(tmp_path: Path) -> None:
    spec = written(tmp_path, "streaming", {name: [(1.0, 3)] for name in SETS})
    limits = read_limits(spec.model)
    assert limits is not None
    path = Path(spec.model.id) / "tokenizer.json"
    used = Tokenizer.from_file(str(path))
    used.enable_padding(length=50)
    used.enable_truncation(2)
    used.save(str(path))
    again, texts = read_limits(spec.model), ["left", "turn left heading one two"]
    assert again is not None and again.labels(texts) == limits.labels(texts)


@pytest.mark.parametrize("damage", ["{", "[]", '{"model_type": "moonshine_streaming"}'])
def test_files_that_say_nothing_leave_it_to_whoever_loads_the_model(
    damage: str, tmp_path: Path
) -> None:
    assert read_limits(ModelSpec(id=str(tmp_path))) is None
    assert read_limits(ModelSpec(id="no/such model")) is None
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "config.json").write_text(damage)
    assert read_limits(ModelSpec(id=str(tmp_path))) is None


@pytest.mark.parametrize("family", ["streaming", "v1"])
def test_texts_as_long_as_the_model_allows_are_trained_on_and_longer_ones_where_that_is_asked(
    family: str, tmp_path: Path
) -> None:
    rows: Rows = {"train": [(2.0, 59), (2.0, 70), (2.0, 8)], "replay": [(2.0, 75)] * 3}
    spec = written(tmp_path, family, rows, positions=300 if family == "streaming" else 60)
    if family == "v1":
        message = refusal(spec, tmp_path / "cache")
        assert "train.jsonl:2 (71 tokens" in message and "train.jsonl:1" not in message
        spec = spec.model_copy(update={"checks": ChecksSpec(ignore=("base-loss", "label-length"))})
    worker = start_worker(spec, tmp_path / "cache")
    assert [each.name for each in worker.findings] == ["label-length", "label-length"] * (
        family == "v1"
    )
    worker.admit(first_plan(spec))
    events = [event for _ in range(2) for event in worker.advance()]
    assert any(isinstance(event, Measured) for event in events)


def test_training_clips_beyond_the_model_are_left_out_and_counted(tmp_path: Path) -> None:
    rows: Rows = {"train": [(1.0, 3), (1.1, 2), (7.0, 4)]}
    worker = start_worker(written(tmp_path, "streaming", rows), tmp_path / "cache")
    message = (
        "1 of 3 utterances of train (33.3 %) are longer than the 6 s the model can take and left out, "
        f"e.g. {tmp_path}/train.jsonl:3."
    )
    assert worker.findings == (Finding("left-out", "warn", message),)
    assert worker.data.domain == 2


def test_clips_of_8_to_25_s_train_and_are_measured_and_exported_with_version_1_as_published(
    tmp_path: Path,
) -> None:
    rows = [(8.0, 20), (25.0, 60)]
    long: Rows = dict.fromkeys(("train", "domain", "heldout"), rows)
    spec = written(tmp_path, "v1", long, positions=194, tokens_per_second=3)
    worker = start_worker(spec, tmp_path / "cache")
    assert worker.findings == () and (worker.data.domain, len(worker.data.labels)) == (2, 5)
    heard = worker.measure_baseline()
    model = AutoModelForSpeechSeq2Seq.from_pretrained(spec.model.id).eval()
    assert stock_words(spec, spec.data.domain, model) == list(heard.hypotheses[0]["domain"])
    worker.admit(first_plan(spec))
    ended = [event for event in worker.advance() if isinstance(event, Measured)]
    assert ended[0].final and ended[0].measurements[0].sets["heldout"].reference_words == (20, 60)
    worker.export(0, 1.0, tmp_path / "adapter")
    tuned = peft.PeftModel.from_pretrained(model, str(tmp_path / "adapter")).merge_and_unload()
    assert stock_words(spec, spec.data.evaluated["heldout"].path, tuned) == list(
        ended[0].hypotheses[0]["heldout"]
    )


def test_characters_that_the_tokenizer_cannot_write_are_said_with_their_line(
    tmp_path: Path,
) -> None:
    texts = {"train-1": "turn left señor", "confirm_heldout-2": "climb 7"}
    worker = start_worker(written(tmp_path, "streaming", {}, texts=texts), tmp_path / "cache")
    found = [each for each in worker.findings if each.name == "unknown-tokens"]
    assert [each.level for each in found] == ["warn", "warn"]
    train, confirm = (each.message for each in found)
    assert train == (
        "1 of 3 texts of train have characters that the model's tokenizer cannot write (r e s ñ o), "
        f"e.g. {tmp_path}/train.jsonl:2 ('turn left señor'): an adapter learns to leave them out. Spell them with "
        "characters that the model has."
    )
    assert (
        f"(7), e.g. {tmp_path}/confirm_heldout.jsonl:3 ('climb 7'): no model can say them"
        in confirm
    )


def test_clips_too_short_and_references_too_dense_are_refused_in_confirm_sets_too(
    tmp_path: Path,
) -> None:
    rows: Rows = {
        "heldout": [(1.0, 3), (0.003, 3), (1.0, 3)],
        "confirm_domain": [(1.0, 3), (1.0, 3), (1.0, 18)],
    }
    message = refusal(written(tmp_path, "streaming", rows), tmp_path / "cache")
    assert (
        "1 of 3 clips of heldout are shorter than the 80 samples that the model needs (16 kHz): "
        in message
    )
    assert f"{tmp_path}/heldout.jsonl:2 (48 samples)" in message
    assert [message.count(f"({name})") for name in ("too-short", "token-cap")] == [1, 2], (
        "nothing fits into 48 samples"
    )
    assert (
        "1 of 3 references of confirm_domain are longer than evaluation.max_tokens_per_second = 13 lets the model say: "
        f"{tmp_path}/confirm_domain.jsonl:3 (19 tokens, at most 15). The densest needs 19.0: raise it. (token-cap)"
    ) in message


def test_silent_training_clips_are_left_out_of_the_training(tmp_path: Path) -> None:
    spec = written(tmp_path, "streaming", {})
    soundfile.write(tmp_path / "train-0.wav", np.zeros(RATE), RATE)
    worker = start_worker(spec, tmp_path / "cache")
    assert (worker.data.domain, worker.data.places) == (
        2,
        tuple(f"{tmp_path}/train.jsonl:{at}" for at in (2, 3)),
    )


@pytest.mark.parametrize(
    ("text", "back", "lost"),
    [
        ("say S again", "say again", {"S": 1}),
        ("straße in Gotha", "stra e in otha", {"ß": 1, "G": 1}),
        ("TURN left", "turn left", {}),
        ("\uff21 b", "a b", {}),
        ("a {b} c", "a b c", {"{": 1, "}": 1}),
    ],
)
def test_what_a_tokenizer_loses_is_named_as_it_stands(
    text: str, back: str, lost: dict[str, int]
) -> None:
    assert model_limit_checks._lost_characters(text, back) == lost
