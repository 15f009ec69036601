"""`orchestrate manifest` as the documentation uses it: configs and splits of a data set become the
sets of a sweep.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
import tarfile
from pathlib import Path
from typing import Any

import datasets
import pytest
from huggingface_hub import constants

from orchestrator.corpus.manifests.manifest import Manifest, load_manifest
from orchestrator.errors import ManifestError
from tests.cli_project import ROOT, orchestrate
from tests.embedded import DATA, SETS
from tests.test_cli_manifest import tone

PARTS = {
    ("other", "validation"): ("train", 12),
    ("other", "test"): ("domain", 24),
    ("clean", "test"): ("heldout", 24),
}
"""Config and split of the stand-in for LibriSpeech -> whose utterances it holds, and how many."""


def shipped(config: str, split: str) -> list[dict[str, Any]]:
    """Real utterances under LibriSpeech's column names and in its upper case."""
    name, count = PARTS[config, split]
    rows = [json.loads(line) for line in (DATA / SETS[name]).read_text().splitlines()[:count]]
    return [
        {
            "audio": {
                "bytes": (DATA / row["audio_filepath"]).read_bytes(),
                "path": Path(row["audio_filepath"]).name,
            },
            "text": row["text"].upper(),
            "speaker_id": row["speaker"],
            "chapter_id": 0,
            "id": row["id"],
        }
        for row in rows
    ]


@pytest.fixture
def librispeech(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the hub holds a data set: parquet files, and a card that names configs and
    splits.
    """
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder, configs = tmp_path / "hub", []
    for config in ("clean", "other"):
        files = []
        for split in (split for its, split in PARTS if its == config):
            data = datasets.Dataset.from_list(shipped(config, split))
            (folder / config).mkdir(parents=True, exist_ok=True)
            data.cast_column("audio", datasets.Audio(decode=False)).to_parquet(
                str(folder / config / f"{split}.parquet")
            )
            files.append({"split": split, "path": f"{config}/{split}.parquet"})
        configs.append({"config_name": config, "data_files": files})
    (folder / "README.md").write_text(f"---\nconfigs: {json.dumps(configs)}\n---\n")
    return folder


def documented(hub: Path) -> list[list[str]]:
    """The commands of docs/manifests.md, on that folder and with a share of its samples."""
    page = (
        (ROOT / "docs" / "manifests.md")
        .read_text()
        .partition("\nLibriSpeech, clean as general speech")[2]
    )
    block = page.partition("\n\n")[2].partition("\n\n")[0]
    first, *rest = [line.strip() for line in block.splitlines()]
    name, _, command = first.removesuffix(' "$@"; }').partition("() { ")
    assert command.endswith(" openslr/librispeech_asr")
    filled = [
        re.sub(rf"^{name} ", f"{command} ", line).replace("openslr/librispeech_asr", str(hub))
        for line in rest
    ]
    return [shlex.split(line.replace("--samples 2000", "--samples 8")) for line in filled]


def test_the_documented_commands_make_the_sets_of_the_shipped_sweeps(
    librispeech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("project", "again"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        for program, *words in documented(librispeech):
            assert program == "orchestrate" and orchestrate(*words) == 0
    data = tmp_path / "project" / "data"
    made: dict[str, Manifest] = {path.stem: load_manifest(path) for path in data.glob("*.jsonl")}
    assert made.keys() > {"train_manifest_expanded", "domain_manifest", "heldout_manifest"}
    assert all(
        (tmp_path / "again" / "data" / f"{name}.jsonl").read_bytes() == raw(data, name)
        for name in made
    )
    assert len(made["train_manifest_expanded"].utterances) == 8
    for first, second in (
        ("domain_manifest", "domain_confirm"),
        ("heldout_manifest", "heldout_confirm"),
    ):
        assert len(made[first].utterances) + len(made[second].utterances) == 24
        assert not speakers(made[first]) & speakers(made[second])
    rows = {row["id"]: row for key in PARTS for row in shipped(*key)}
    for manifest in made.values():
        for each in manifest.utterances:
            row = rows[each.id]
            assert (each.text, each.speaker) == (row["text"], row["speaker_id"])
            assert each.audio is not None and each.audio.read_bytes() == row["audio"]["bytes"]


def test_the_source_is_written_down(
    librispeech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _, *words in documented(librispeech):
        assert orchestrate(*words) == 0
    said = {
        path.name.split(".")[0]: json.loads(path.read_text())
        for path in Path("data").glob("*.source.json")
    }
    train = said["train_manifest_expanded"]["arguments"]
    wanted = {
        "name": str(librispeech),
        "config": "other",
        "split": "validation",
        "samples": 8,
        "seed": 1,
    }
    assert {name: train[name] for name in wanted} == wanted
    assert train["dataset"]["rows"] == 12 and train["dataset"]["fingerprint"]
    part = said["domain_manifest"]["arguments"]
    assert (part["seed"], part["by"], part["source"]["sha256"]) == (
        4,
        "speaker",
        said["other"]["sha256"],
    )


def raw(data: Path, name: str) -> bytes:
    return (data / f"{name}.jsonl").read_bytes()


def speakers(manifest: Manifest) -> set[str]:
    return {each.speaker for each in manifest.utterances}


OTHERWISE = "or name a data set of the hub, such as openslr/librispeech_asr."


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("./mistyped", OTHERWISE),
        ("/mistyped", OTHERWISE),
        ("sets/in/mistyped", OTHERWISE),
        (
            "sets/mistyped",
            "sets is a folder here, so for sets/mistyped of the hub run this in another one.",
        ),
    ],
)
def test_a_folder_that_is_mistyped_is_not_looked_for_on_the_hub(
    name: str,
    cure: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sets" / "in").mkdir(parents=True)
    assert orchestrate("manifest", "from-dataset", name, "m.jsonl", "--split", "train") == 2
    assert capsys.readouterr().err == (
        f"there is no data set in {name}\n  Correct the path; {cure}\n"
    )


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (
            (),
            "Config name is missing. Please pick one among the available configs: ['clean', 'other']",
        ),
        (("--config", "noisy"), "BuilderConfig 'noisy' not found. Available: ['clean', 'other']"),
    ],
)
def test_a_config_that_is_not_there_is_answered_with_those_that_are(
    librispeech: Path,
    tmp_path: Path,
    options: tuple[str, ...],
    why: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert orchestrate("manifest", "from-dataset", librispeech, tmp_path / "m.jsonl", *options) == 2
    assert f"data set '{librispeech}' cannot be loaded: {why}\n" in capsys.readouterr().err


def test_a_saved_data_set_has_its_splits_and_no_configs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = datasets.Dataset.from_list(shipped("clean", "test")).cast_column(
        "audio", datasets.Audio(decode=False)
    )
    datasets.DatasetDict({"test": data, "dev": data}).save_to_disk(str(tmp_path / "both"))
    datasets.Dataset(data.data, split=datasets.Split.TRAIN).save_to_disk(str(tmp_path / "one"))
    out = tmp_path / "m.jsonl"
    for folder, options, why in (
        ("both", ("--split", "train"), "Unknown split 'train'. Should be one of ['test', 'dev']."),
        ("one", ("--split", "test"), "Unknown split 'test'. Should be one of ['train']."),
        (
            "one",
            ("--split", "train", "--config", "clean"),
            "save_to_disk wrote it, so it has no config 'clean'; leave out --config",
        ),
    ):
        capsys.readouterr()
        assert orchestrate("manifest", "from-dataset", tmp_path / folder, out, *options) == 2
        assert (
            f"data set '{tmp_path / folder}' cannot be loaded: {why}\n" in capsys.readouterr().err
        )
    assert orchestrate("manifest", "from-dataset", tmp_path / "one", out, "--split", "train") == 0
    more = ("--split", "train", "--samples", 25)
    assert (
        orchestrate("manifest", "from-dataset", tmp_path / "one", tmp_path / "n.jsonl", *more) == 2
    )
    assert not (tmp_path / "n-audio").exists(), "a refused command leaves nothing"


def audio_folder(folder: Path, clips: str) -> dict[str, str]:
    """Clips below a folder; their names and what is said in them."""
    (folder / clips).mkdir(parents=True)
    said = {}
    for row in shipped("clean", "test")[:4]:
        name = f"{row['id']}{Path(row['audio']['path']).suffix}"
        (folder / clips / name).write_bytes(row["audio"]["bytes"])
        said[name] = row["text"]
    return said


@pytest.mark.parametrize(
    ("clips", "split", "metadata", "form"),
    [
        ("", "train", "metadata.csv", "file_name,transcription\n{rows}"),
        ("train", "train", "train/metadata.csv", "file_name,transcription\n{rows}"),
        ("data/test", "test", "metadata.jsonl", "{lines}"),
    ],
)
def test_an_audio_folder_is_read_without_torchcodec(
    clips: str,
    split: str,
    metadata: str,
    form: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    said, place = (
        audio_folder(tmp_path / "set", clips),
        "" if "/" in metadata or not clips else f"{clips}/",
    )
    lines = "".join(
        json.dumps({"file_name": place + name, "transcript": text}) + "\n"
        for name, text in said.items()
    )
    rows = "".join(f'{place}{name},"{text}"\n' for name, text in said.items())
    (tmp_path / "set" / metadata).write_text(form.format(rows=rows, lines=lines))
    out = tmp_path / "m.jsonl"
    assert orchestrate("manifest", "from-dataset", tmp_path / "set", out, "--split", split) == 0
    stored = {(tmp_path / "set" / clips / name).read_bytes(): text for name, text in said.items()}
    assert {
        each.audio.read_bytes(): each.text for each in load_manifest(out).utterances if each.audio
    } == stored
    assert datasets.Audio.encode_example.__name__ == "encode_example"


def test_an_audio_folder_without_texts_is_for_from_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    audio_folder(tmp_path / "set", "")
    assert (
        orchestrate(
            "manifest", "from-dataset", tmp_path / "set", tmp_path / "m.jsonl", "--split", "train"
        )
        == 2
    )
    error = capsys.readouterr().err
    assert (
        "has no column that is known to hold text" in error
        and "orchestrate manifest from-folder." in error
    )


def test_a_row_without_sound_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"audio": {"bytes": b"none", "path": "a.wav"}, "text": "x"}]
    data = datasets.Dataset.from_list(rows).cast_column("audio", datasets.Audio(decode=False))
    data.save_to_disk(str(tmp_path / "set"))
    assert orchestrate("manifest", "from-dataset", tmp_path / "set", tmp_path / "m.jsonl") == 2
    assert (
        f"{tmp_path / 'set'} has 1 fault:\n  row 0: its audio cannot be read"
        in capsys.readouterr().err
    )
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize("command", ["split", "noisy"])
def test_archives_and_commands_are_refused_and_nothing_is_written(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "tarred.jsonl"
    lines = [
        {"audio_filepath": "pipe:touch x |", "text": "one", "speaker": "a"},
        {"audio_filepath": "a.wav", "shard_id": 0, "text": "two", "speaker": "b"},
    ]
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    one, two = tmp_path / "1.jsonl", tmp_path / "2.jsonl"
    options = ("--out", one, two) if command == "split" else (one, "--snr", "0:5")
    assert orchestrate("manifest", command, source, *options) == 2
    error = capsys.readouterr().err
    assert "is the command 'pipe:touch x |'; commands are never run" in error
    assert "a tarred manifest (shard_id) names archives; unpack them" in error
    assert sorted(tmp_path.iterdir()) == [source]


def test_shards_of_webdataset_are_read_by_the_command_that_a_shard_is_answered_with(
    tmp_path: Path,
) -> None:
    shard = tmp_path / "wds" / "shard-000.tar"
    shard.parent.mkdir()
    with tarfile.open(shard, "w") as archive:
        for number in range(2):
            sound = tone(tmp_path / f"{number}.wav")
            (tmp_path / f"{number}.txt").write_text(f"hello {number}")
            for path in (tmp_path / f"{number}.txt", sound):
                archive.add(path, path.name)
    with pytest.raises(ManifestError) as caught:
        load_manifest(shard)
    words = shlex.split(str(caught.value).rpartition(": orchestrate ")[2])
    assert orchestrate(*words) == 0
    made = load_manifest(Path(words[3])).utterances
    assert {each.text for each in made} == {"hello 0", "hello 1"}


def test_a_hub_that_does_not_answer_is_asked_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert orchestrate("manifest", "from-dataset", "some/set", tmp_path / "m.jsonl") == 2
    said = capsys.readouterr().err
    assert "data set 'some/set' cannot be loaded: http://127.0.0.1:9 does not answer (" in said
    assert "and it is not in the cache" in said and "Retry" not in caplog.text
    assert not constants.HF_HUB_OFFLINE, "for others that ask later"


@pytest.mark.parametrize("name", [".", "./", "../hub"])
def test_the_present_folder_is_a_data_set_under_any_name(
    name: str, librispeech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(librispeech)
    out = tmp_path / "heldout.jsonl"
    assert orchestrate("manifest", "from-dataset", name, out, "--config", "clean") == 0
    assert len(load_manifest(out).utterances) == PARTS["clean", "test"][1]
