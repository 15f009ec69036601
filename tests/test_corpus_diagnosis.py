"""Overlap between sets, lengths, orthography and sizes are found before anything trains."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from orchestrator.checks import Finding
from orchestrator.corpus.cache.preparing import prepare
from orchestrator.corpus.manifests.manifest import Manifest, load_manifest
from orchestrator.corpus.sets.diagnosis import (
    check_limits,
    check_sets,
    is_upper_case,
    kept_for_training,
)
from orchestrator.corpus.sets.durations_and_speakers import Size, duration_profile, speaker_sizes
from orchestrator.corpus.sets.overlap import sentence_key
from orchestrator.corpus.utterance import Utterance
from tests.cli_project import orchestrate

RATE = 16_000


class Corpus:
    """A folder of sets, each with its own audio."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def clip(self, name: str, seed: int, seconds: float = 0.25) -> str:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        steps = np.random.default_rng(seed).integers(
            -3000, 3000, int(seconds * RATE), dtype=np.int16
        )
        soundfile.write(path, steps, RATE)
        return name

    def manifest(self, name: str, rows: list[dict[str, Any]]) -> Manifest:
        path = self.folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return load_manifest(path, for_training=name in ("train", "replay"))

    def rows(self, name: str, seed: int, count: int = 3) -> list[dict[str, Any]]:
        """Utterances that share nothing with other sets but ids counted from 0001."""
        return [
            {
                "id": f"{index:04}",
                "audio": self.clip(f"{name}/{index}.wav", seed + index),
                "text": f"{name} sentence {index}",
                "speaker": f"{name} {index % 2}",
            }
            for index in range(count)
        ]


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus(tmp_path)


def check(sets: dict[str, Manifest], **changes: Any) -> list[Finding]:
    """Findings, without the one every small test set gets."""
    options: dict[str, Any] = {"max_seconds": 20.0} | changes
    return [finding for finding in check_sets(sets, **options) if finding.name != "too-few"]


def test_clean_sets_give_no_findings(corpus: Corpus) -> None:
    names = ("train", "replay", "domain", "heldout", "confirm_domain", "confirm_heldout")
    sets = {
        name: corpus.manifest(name, corpus.rows(name, 100 * index))
        for index, name in enumerate(names)
    }
    assert check(sets) == []


@pytest.mark.parametrize("kind", ["same path", "link", "copy"])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("train", "domain"),
        ("replay", "heldout"),
        ("train", "confirm_domain"),
        ("domain", "confirm_domain"),
    ],
)
def test_shared_audio_is_refused(corpus: Corpus, first: str, second: str, kind: str) -> None:
    sets = {first: corpus.manifest(first, corpus.rows(first, 0))}
    rows = corpus.rows(second, 100)
    original = corpus.folder / first / "2.wav"
    if kind == "same path":
        rows[1]["audio"] = f"{first}/2.wav"
    elif kind == "link":
        (corpus.folder / "link.wav").symlink_to(original)
        rows[1]["audio"] = "link.wav"
    else:
        (corpus.folder / "copy.wav").write_bytes(original.read_bytes())
        rows[1]["audio"] = "copy.wav"
    sets[second] = corpus.manifest(second, rows)
    message = (
        f"1 of 3 utterances of {second} (33.3 %) are in {first} too, e.g. "
        f"{sets[second].path}:2 is {sets[first].path}:3 "
        "(the same audio file). Delete them from one of the two manifests."
    )
    assert check(sets) == [Finding("audio-overlap", "refuse", message)]


def test_shared_samples_in_another_codec_are_found_once_decoded(corpus: Corpus) -> None:
    train = corpus.manifest("train", corpus.rows("train", 0))
    rows = corpus.rows("domain", 100)
    samples, _ = soundfile.read(corpus.folder / "train/0.wav", dtype="int16")
    soundfile.write(corpus.folder / "domain/1.flac", samples, RATE)
    rows[1]["audio"] = "domain/1.flac"
    sets = {"train": train, "domain": corpus.manifest("domain", rows)}
    assert check(sets) == []
    clips = {
        name: prepare(each, rms=0.075, cache=corpus.folder / "cache") for name, each in sets.items()
    }
    (finding,) = check(sets, pcm={name: each.pcm_sha256 for name, each in clips.items()})
    assert (finding.name, finding.level) == ("audio-overlap", "refuse")
    assert f"{sets['domain'].path}:2 is {train.path}:1 (the same samples)" in finding.message


def test_an_id_counts_only_where_text_and_length_agree(corpus: Corpus) -> None:
    train = corpus.manifest("train", corpus.rows("train", 0))
    rows = corpus.rows("domain", 100)
    rows[0]["text"] = "Train sentence 0!"
    sets = {"train": train, "domain": corpus.manifest("domain", rows)}
    refused = [finding for finding in check(sets) if finding.level == "refuse"]
    assert ["the same id, text and length" in finding.message for finding in refused] == [True]
    for changes in ({"id": "other"}, {"audio": corpus.clip("domain/long.wav", 300, 0.3)}):
        sets["domain"] = corpus.manifest("domain", [rows[0] | changes, *rows[1:]])
        assert [finding.name for finding in check(sets)] == ["sentence-overlap"]


@pytest.mark.parametrize("own_ids", [True, False])
@pytest.mark.parametrize("options", [("--speed", "1.1:1.1"), ("--band", "300:3400")])
def test_a_noisy_copy_is_still_found_at_another_speed_and_without_ids(
    corpus: Corpus, own_ids: bool, options: tuple[str, str]
) -> None:
    """An id that was made is written into the copy, and was compared with those of sets that have ids alone."""
    rows = [row if own_ids else row | {"id": None} for row in corpus.rows("train", 0)]
    sets = {name: corpus.manifest(name, rows) for name in ("train", "domain")}
    noisy = corpus.folder / "noisy.jsonl"
    assert orchestrate("manifest", "noisy", sets["domain"].path, noisy, *options) == 0
    other = noisy.with_name("other.jsonl")
    assert orchestrate("manifest", "noisy", sets["domain"].path, other, "--speed", "0.8:0.8") == 0
    said = "at another speed" if "--speed" in options else "the same id, text and length"
    for first, why in ((sets["train"], said), (load_manifest(other), "at another speed")):
        overlap, *_ = check({"train": first, "domain": load_manifest(noisy)})
        assert (overlap.name, overlap.level) == ("audio-overlap", "refuse")
        assert overlap.message.startswith("3 of 3 utterances of domain") and why in overlap.message
    twice = noisy.with_name("twice.jsonl")
    assert orchestrate("manifest", "noisy", other, twice, "--speed", "0.6:0.6") == 0
    assert {each.extra["speed"] for each in load_manifest(twice).utterances} == {0.48}
    for first in (sets["train"], load_manifest(other)):
        overlap, *_ = check({"train": first, "domain": load_manifest(twice)})
        assert overlap.name == "audio-overlap" and "at another speed" in overlap.message
    elsewhere = [row | {"speed": 2.0, "id": f"{row['id']}b"} for row in corpus.rows("other", 50)]
    sets["domain"] = corpus.manifest("elsewhere", elsewhere)
    assert check({"train": sets["train"], "domain": sets["domain"]}) == []


def test_two_ids_that_were_made_say_no_more_than_the_paths(corpus: Corpus) -> None:
    """Sets of single words lie in folders of the same names, and say the same in the same time."""
    found = {}
    for name, seed in (("train", 0), ("domain", 50)):
        (corpus.folder / f"of {name}").mkdir()
        own = Corpus(corpus.folder / f"of {name}")
        found[name] = own.manifest(name, [{"audio": own.clip("1.wav", seed), "text": "yes"}])
    assert [finding.name for finding in check(found)] == ["sentence-overlap"]


@pytest.mark.parametrize("as_long", [0, 1, 2, 4])
def test_the_same_sentences_of_two_people_are_not_the_same_sound(
    corpus: Corpus, as_long: int
) -> None:
    """Under the same ids, as in corpora of several readers; some of them take as long by chance."""
    sets = {
        name: corpus.manifest(
            name,
            [
                {
                    "id": f"{index:04}",
                    "audio": corpus.clip(f"{name}/{index}.wav", seed + index, seconds),
                    "text": f"sentence {index}",
                    "speaker": name,
                }
                for index, seconds in enumerate([0.25] * as_long + [longer] * (4 - as_long))
            ],
        )
        for name, seed, longer in (("train", 0, 0.25), ("domain", 100, 0.3))
    }
    refused = [each.message for each in check(sets) if each.level == "refuse"]
    assert len(refused) == (as_long >= 2)
    assert all(message.startswith(f"{as_long} of 4 utterances of domain") for message in refused)


def test_inline_audio_is_compared_too(corpus: Corpus) -> None:
    rows = [{"audio": [0.1, -0.2, 0.3], "text": "one"}]
    sets = {
        "train": corpus.manifest("train", rows),
        "domain": corpus.manifest("domain", [rows[0] | {"text": "two"}]),
    }
    assert [finding.name for finding in check(sets)] == ["audio-overlap"]


def test_segments_of_one_recording(corpus: Corpus) -> None:
    corpus.clip("long.wav", 0, 4.0)
    train = corpus.manifest(
        "train", [{"audio": "long.wav", "text": "a", "offset": 0.0, "duration": 2.0}]
    )
    for offset, name, level in [
        (1.5, "audio-overlap", "refuse"),
        (2.0, "recording-overlap", "warn"),
    ]:
        rows = [{"audio": "long.wav", "text": "b", "offset": offset, "duration": 1.0}]
        (finding,) = check({"train": train, "domain": corpus.manifest("domain", rows)})
        assert (finding.name, finding.level) == (name, level)


def test_shared_sentences_and_speakers_warn_with_counts(corpus: Corpus) -> None:
    train = corpus.manifest("train", corpus.rows("train", 0))
    rows = corpus.rows("domain", 100, count=4)
    rows[1]["text"] = "TRAIN sentence, 2."
    rows[3]["speaker"] = "train 1"
    domain = corpus.manifest("domain", rows)
    found = check({"train": train, "domain": domain})
    assert found == [
        Finding(
            "sentence-overlap",
            "warn",
            f"1 of 4 utterances of domain (25.0 %) have a sentence that is in train too, e.g. {domain.path}:2; they "
            "measure memory as well.",
        ),
        Finding(
            "speaker-overlap",
            "warn",
            "1 of 4 utterances of domain (25.0 %) are by speakers of train ('train 1'), "
            f"e.g. {domain.path}:4; the result is optimistic for new speakers.",
        ),
    ]


def test_duplicates_inside_a_set_warn(corpus: Corpus) -> None:
    rows = corpus.rows("train", 0)
    (corpus.folder / "train" / "2.wav").write_bytes(
        (corpus.folder / "train" / "0.wav").read_bytes()
    )
    train = corpus.manifest("train", rows)
    message = (
        f"1 of 3 utterances of train (33.3 %) repeat audio of the same set, "
        f"e.g. {train.path}:3 is {train.path}:1."
    )
    assert check({"train": train}) == [Finding("duplicates", "warn", message)]


def test_a_segment_that_stands_twice_but_for_rounding_is_one(corpus: Corpus) -> None:
    clip = corpus.clip("long.wav", 7, 8.0)
    parts = [(0.95, 2.0, "One, two!"), (3.0, 1.0, "yes"), (1.0, 1.96, "one two"), (3.05, 1.0, "no")]
    parts += [(3.15, 1.0, "yes"), (1.0009, 1.5, "one two"), (0.9991, 1.96, "one two")]
    rows = [
        {"audio": clip, "offset": begin, "duration": seconds, "text": text}
        for begin, seconds, text in parts
    ]
    train = corpus.manifest("train", rows)
    message = (
        "2 of 7 utterances of train (28.6 %) repeat audio of the same set, "
        f"e.g. {train.path}:3 is {train.path}:1."
    )
    assert check({"train": train}) == [Finding("duplicates", "warn", message)]


def test_two_people_who_say_the_same_at_once_are_no_duplicate(corpus: Corpus) -> None:
    clip = corpus.clip("long.wav", 7, 8.0)
    rows = [
        {"audio": clip, "offset": begin, "duration": 0.5, "text": "yes", "speaker": speaker}
        for begin, speaker in ((1.0, "anna"), (1.05, "bert"), (1.02, "anna"))
    ]
    train = corpus.manifest("train", rows)
    (found,) = check({"train": train})
    assert found.message.startswith("1 of 3 utterances") and f"{train.path}:3 is " in found.message


def spoken(*seconds: float, path: str = "train.jsonl", texts: str = "words") -> Manifest:
    """A manifest without files, for what depends on lengths alone."""
    utterances = (
        Utterance(
            id=str(index),
            text=texts,
            samples=np.array([index], np.float32),
            duration=each,
            line=index + 1,
            explicit_id=False,
            speaker=f"s{index % 2}",
        )
        for index, each in enumerate(seconds)
    )
    return Manifest(Path(path), "0" * 64, tuple(utterances))


def test_training_utterances_over_the_limit_are_left_out_and_counted() -> None:
    train = spoken(3.0, 20.0, 20.1, 31.0)
    assert kept_for_training(train, 20.0) == (0, 1)
    assert check({"train": train}) == [
        Finding(
            "left-out",
            "warn",
            "2 of 4 utterances of train (50.0 %) are longer than max_seconds (20) and left out, e.g. train.jsonl:3.",
        )
    ]
    assert check({"train": train}, max_seconds=2.0) == [
        Finding(
            "empty",
            "refuse",
            "no utterance of train (train.jsonl) is at most max_seconds (2) long.",
        )
    ]


def test_what_the_model_cannot_take_is_refused() -> None:
    domain = spoken(90.0, 3.0, 99.0, path="domain.jsonl")
    message = (
        "2 of 3 utterances of domain (66.7 %) are longer than the 81.9 s the "
        "model can take: domain.jsonl:1 (90.0 s), domain.jsonl:3 (99.0 s); "
        "cut them into shorter ones, evaluation audio is never truncated."
    )
    assert check_limits({"domain": domain}, 20.0, 81.9) == [Finding("too-long", "refuse", message)]
    (finding,) = check_limits({"train": domain}, 100.0, 81.9)
    message = (
        "2 of 3 utterances of train (66.7 %) are longer than the 81.9 s the model can take and left out, "
        "e.g. domain.jsonl:1."
    )
    assert finding == Finding("left-out", "warn", message)
    # where nothing else is left of a training set, it is refused as well
    (finding,) = check_limits({"replay": domain}, 98.0, 2.9)
    message = (
        "2 of 3 utterances of replay (66.7 %) are longer than the 2.9 s the model can take: domain.jsonl:1 (90.0 s), "
        "domain.jsonl:2 (3.0 s); cut them into shorter ones, nothing is left to train on."
    )
    assert finding == Finding("too-long", "refuse", message)
    assert check_limits({"domain": domain}, 20.0, math.inf) == []


def test_a_chapter_beside_a_sentence_is_refused_with_every_line() -> None:
    sets = {name: spoken(5.0, 5.0, 0.2, path=f"{name}.jsonl") for name in ("train", "domain")}
    for name, each in sets.items():
        texts = ("so it was " * 34, "so it was " * 35, "a beep that lasts a moment of the tone")
        utterances = tuple(
            replace(u, text=text) for u, text in zip(each.utterances, texts, strict=True)
        )
        sets[name] = replace(each, utterances=utterances)
    found = [each for each in check_sets(sets, max_seconds=20) if each.name == "dense-text"]
    assert [each.level for each in found] == ["refuse", "refuse"]
    assert found[0].message == (
        "1 of 3 utterances of train (33.3 %) have more text than can be said in their clip, above 60 characters a "
        "second: train.jsonl:2 (350 characters beside 5.0 s). Give each line the words of its own clip, or delete it."
    )
    assert "domain.jsonl:2 (350 characters beside 5.0 s)" in found[1].message
    assert not any(
        each.name == "dense-text" for each in check({"train": sets["train"]}, max_seconds=4.0)
    )


def test_few_training_utterances_warn() -> None:
    assert [
        finding.name for finding in check_sets({"train": spoken(*[1.0] * 199)}, max_seconds=20)
    ] == ["too-few"]
    assert check_sets({"train": spoken(*[1.0] * 200)}, max_seconds=20) == []


def test_an_empty_set_is_refused() -> None:
    assert check({"domain": spoken(path="d.jsonl")}) == [
        Finding("empty", "refuse", "domain (d.jsonl) holds no utterances.")
    ]


def test_refusals_come_first() -> None:
    sets = {"train": spoken(1.0), "domain": spoken(path="d.jsonl")}
    assert [each.level for each in check_sets(sets, max_seconds=20)] == [
        "refuse",
        "warn",
    ]


@pytest.mark.parametrize(
    ("texts", "upper"),
    [
        (["STRAßE", "GROß"], True),
        (["Straße", "GROß"], False),
        (["MISTER QUILTER", "IT'S 5"], True),
        (["Mister Quilter", "IT IS"], False),
        (["IT IS"] * 19 + ["mister"], True),
        (["IT IS"] * 9 + ["mister"], False),
        (["123", "4"], False),
        (["東京", "大阪"], False),
        (["HELLO", "123"], True),
        ([], False),
    ],
)
def test_upper_case_references(texts: list[str], upper: bool) -> None:
    assert is_upper_case(texts) is upper


def test_upper_case_sets_warn() -> None:
    (finding,) = check({"heldout": spoken(1.0, path="h.jsonl", texts="MISTER QUILTER")})
    assert (finding.name, finding.level) == ("upper-case", "warn")
    assert finding.message.startswith(
        "more than 90 % of the references of heldout are in capitals; they are lowered"
    )


def test_profiles_are_plain_values() -> None:
    manifest = spoken(4.0, 6.0, 9.0, 12.0, 18.0, 25.0)
    profile = duration_profile(manifest)
    assert (profile.total, profile.shortest, profile.median, profile.longest) == (
        Size(6, 74.0),
        4.0,
        10.5,
        25.0,
    )
    assert profile.percentile_95 == pytest.approx(np.percentile([4, 6, 9, 12, 18, 25], 95))
    assert [profile.survivors[limit].utterances for limit in (5.0, 8.0, 10.0, 15.0, 20.0)] == [
        1,
        2,
        3,
        4,
        5,
    ]
    assert profile.survivors[8.0] == Size(2, 10.0)
    assert speaker_sizes(spoken(1.0, 2.0, 3.0)) == {"s0": Size(2, 4.0), "s1": Size(1, 2.0)}
    assert duration_profile(spoken()).total == Size(0, 0.0)


def test_sentences_are_their_words() -> None:
    assert sentence_key("  Don’t STOP—now, 25!") == "don't stop now 25"
