"""The embedded corpus is what data/README.md says it is."""

from __future__ import annotations

import importlib
import itertools
import json
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import scipy.signal
import soundfile

DATA = Path(__file__).parent.parent / "data"
SIZES = {
    "train": ("train_manifest_expanded.jsonl", 720, 40),
    "replay": ("replay_manifest.jsonl", 720, 10),
    "domain": ("domain_manifest.jsonl", 500, 20),
    "domain_confirm": ("domain_confirm.jsonl", 500, 20),
    "heldout": ("heldout_manifest.jsonl", 500, 22),
    "heldout_confirm": ("heldout_confirm.jsonl", 500, 22),
}
EVALUATED = ("domain", "domain_confirm", "heldout", "heldout_confirm")
MEGABYTES = 60


def script(name: str) -> ModuleType:
    """A script of data/, imported as `python data/NAME.py` would find it."""
    if str(DATA) not in sys.path:
        sys.path.insert(0, str(DATA))
    return importlib.import_module(name)


@pytest.fixture(scope="module")
def sets() -> dict[str, list[dict[str, Any]]]:
    return {
        name: [json.loads(line) for line in (DATA / manifest).read_bytes().split(b"\n") if line]
        for name, (manifest, _, _) in SIZES.items()
    }


@pytest.mark.parametrize("name", SIZES)
def test_sizes_and_speakers(name: str, sets: dict[str, list[dict[str, Any]]]) -> None:
    _, utterances, speakers = SIZES[name]
    rows = sets[name]
    assert len(rows) == utterances
    assert all(set(row) == {"id", "audio_filepath", "duration", "text", "speaker"} for row in rows)
    shares = Counter(row["speaker"] for row in rows)
    assert len(shares) == speakers
    assert max(shares.values()) - min(shares.values()) <= 1


def test_durations_are_those_of_the_audio(sets: dict[str, list[dict[str, Any]]]) -> None:
    for row in itertools.chain.from_iterable(sets.values()):
        info = soundfile.info(DATA / row["audio_filepath"])
        assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "OPUS")
        assert row["duration"] == info.frames / 16000


def test_decoded_length_is_the_header_s(sets: dict[str, list[dict[str, Any]]]) -> None:
    for rows in sets.values():
        samples, _ = soundfile.read(DATA / rows[0]["audio_filepath"], dtype="float32")
        assert len(samples) / 16000 == rows[0]["duration"]
        assert 0.5 < float(np.abs(samples).max()) < 1.0  # decoding to int16 clips nothing


def test_every_audio_file_is_named_once_and_all_are_small(
    sets: dict[str, list[dict[str, Any]]],
) -> None:
    named = [row["audio_filepath"] for rows in sets.values() for row in rows]
    found = [path for path in (DATA / "audio").rglob("*") if path.is_file()]
    assert sorted(named) == sorted(path.relative_to(DATA).as_posix() for path in found)
    assert sum(path.stat().st_size for path in found) < MEGABYTES * 1e6


def test_ids_are_unique(sets: dict[str, list[dict[str, Any]]]) -> None:
    ids = [row["id"] for rows in sets.values() for row in rows]
    assert len(ids) == len(set(ids))


def test_no_sentence_occurs_twice_or_in_the_base_set(sets: dict[str, list[dict[str, Any]]]) -> None:
    texts = [row["text"] for rows in sets.values() for row in rows]
    assert len(texts) == len(set(texts))
    base = {utterance.text for utterance in script("make_corpus").base_utterances()}
    assert base.isdisjoint(texts)


def test_evaluated_speakers_are_in_no_other_set(sets: dict[str, list[dict[str, Any]]]) -> None:
    speakers = {name: {row["speaker"] for row in rows} for name, rows in sets.items()}
    for name in EVALUATED:
        for other in set(SIZES) - {name}:
            assert speakers[name].isdisjoint(speakers[other]), (name, other)


def test_domain_timbres_are_unknown_to_the_base_model(
    sets: dict[str, list[dict[str, Any]]],
) -> None:
    corpus = script("make_corpus")
    variants = [
        {row["speaker"].partition("+")[2] for row in sets[name]}
        for name in ("train", "domain", "domain_confirm")
    ]
    for one, other in itertools.combinations([*variants, set(corpus.KNOWN_VARIANTS)], 2):
        assert one.isdisjoint(other)


@pytest.mark.parametrize("name", ("heldout", "heldout_confirm"))
def test_heldout_voices_are_known_but_for_one_accent(
    name: str, sets: dict[str, list[dict[str, Any]]]
) -> None:
    corpus = script("make_corpus")
    # espeak-ng speaks every `en-gb+variant` in the one voice called `en-gb` here
    known = {*corpus.BASE_VOICES, *corpus.BASE_FLITE, "en-gb"}
    new = {row["speaker"] for row in sets[name]} - known
    assert len(new) == 4
    assert {speaker.partition("+")[0] for speaker in new} == {corpus.NEW_ACCENT}
    assert {speaker.partition("+")[2] for speaker in new} < set(corpus.KNOWN_VARIANTS)


def test_any_stretch_has_all_speakers(sets: dict[str, list[dict[str, Any]]]) -> None:
    for name, (_, _, speakers) in SIZES.items():
        for start in range(0, len(sets[name]) - speakers, speakers):
            assert len({row["speaker"] for row in sets[name][start : start + speakers]}) == speakers


def test_the_manifests_are_what_the_script_plans(sets: dict[str, list[dict[str, Any]]]) -> None:
    for name, planned in script("make_corpus").plan_sets().items():
        assert [(row["text"], row["speaker"]) for row in sets[name]] == [
            (u.text, u.speaker) for u in planned
        ]


def test_the_scripts_name_the_manifests_there_are() -> None:
    manifests = {name: manifest for name, (manifest, _, _) in SIZES.items()}
    assert manifests == script("measure_baseline").MANIFESTS
    assert manifests == {plan.name: plan.manifest for plan in script("make_corpus").SETS}


def test_the_checksum_is_libsndfile_s_own(tmp_path: Path) -> None:
    path = tmp_path / "noise.opus"
    samples = np.random.default_rng(0).normal(0, 3000, 16000).astype(np.int16)
    soundfile.write(path, samples, 16000, format="OGG", subtype="OPUS")
    written = path.read_bytes()
    assert (
        script("speech")._with_serial(written, int.from_bytes(written[14:18], "little")) == written
    )


def test_the_same_samples_give_the_same_bytes() -> None:
    speech = script("speech")
    samples = np.random.default_rng(0).normal(0, 3000, 16000).astype(np.int16)
    assert speech.encode_opus(samples, 5) == speech.encode_opus(samples, 5)


def test_the_channel_has_the_asked_noise_in_its_band() -> None:
    speech = script("speech")
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    band = scipy.signal.butter(4, [350, 3300], "bandpass", fs=16000, output="sos")
    clean = scipy.signal.sosfilt(band, tone)
    noise = np.arctanh(speech.radio(tone, 10.0, 0)) * np.abs(clean).max() / 3 - clean
    assert 10 * np.log10((clean**2).mean() / (noise**2).mean()) == pytest.approx(10.0)
    power = np.abs(np.fft.rfft(noise)) ** 2  # one bin is 1 Hz
    assert 10 * np.log10(power[350:3300].sum() / (power[:175].sum() + power[5000:].sum())) > 20
