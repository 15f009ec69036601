"""Lists as other programs write them: read, or named in one sentence whose command makes a manifest
of them. Every command is followed.
"""

from __future__ import annotations

import csv
import json
import os
import shlex
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from orchestrator.corpus.manifests.manifest import load_manifest
from orchestrator.corpus.utterance import Utterance
from orchestrator.errors import ManifestError
from tests.cli_project import orchestrate

TEXTS = ("turn left heading two", "hold short of runway", "contact tower now")
NAMES = ("a1", "b2", "c3")
Made = tuple[Path, str, Path]
"""A list, what it is said to be, and the manifest that the command makes."""


def sound(path: Path, seconds: float = 1.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    number = sum(path.name.encode())
    noise = np.random.default_rng(number).normal(0, 0.1, int(16_000 * seconds))
    soundfile.write(path, noise, 16_000)


def sounds(folder: Path, ending: str = ".wav") -> None:
    for name in NAMES:
        sound(folder / f"{name}{ending}")


def rows(form: str) -> str:
    return "".join(
        form.format(n=number, name=name, text=text) + "\n"
        for number, (name, text) in enumerate(zip(NAMES, TEXTS, strict=True))
    )


def refusal(path: Path) -> str:
    with pytest.raises(ManifestError) as caught:
        load_manifest(path)
    said = str(caught.value)
    assert len(said.splitlines()) == 1, said
    return said


def follow(said: str, beginning: str) -> None:
    """Run the command that begins so, at the end of a sentence."""
    command = said[said.rindex(beginning) :]
    if beginning == "orchestrate ":
        assert orchestrate(*shlex.split(command)[1:]) == 0
        return
    places = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(["sh", "-c", command], check=True, env=os.environ | places)


def read(path: Path) -> tuple[Utterance, ...]:
    return load_manifest(path).utterances


def task(number: int) -> dict[str, Any]:
    """As Label Studio exports one."""
    result = {
        "value": {"text": [TEXTS[number]]},
        "from_name": "transcription",
        "to_name": "audio",
        "type": "textarea",
    }
    return {
        "id": number,
        "annotations": [{"id": 9, "result": [result]}],
        "data": {"audio": f"/data/upload/1/{NAMES[number]}.wav"},
        "meta": {},
        "predictions": [],
    }


def label_studio_json(folder: Path) -> Made:
    sounds(folder)
    listed = folder / "export.json"
    listed.write_text(json.dumps([task(number) for number in range(3)]))
    return listed, "is an export of Label Studio (JSON)", folder / "manifest.jsonl"


def label_studio_drafts(folder: Path) -> Made:
    """Tasks that show a recogniser's draft, which the annotator accepted as it was."""
    sounds(folder)
    tasks = [task(number) for number in range(3)]
    for number, each in enumerate(tasks):
        each["data"] = {"draft": TEXTS[number], **each["data"]}
        each["annotations"][0]["result"][0]["value"]["text"] = TEXTS[number]
    listed = folder / "export.json"
    listed.write_text(json.dumps(tasks))
    return listed, "is an export of Label Studio (JSON)", folder / "manifest.jsonl"


def label_studio_rows(prefix: str) -> list[dict[str, Any]]:
    return [
        {"audio": f"{prefix}{name}.wav", "id": number, "transcription": text, "lead_time": 3.2}
        for number, (name, text) in enumerate(zip(NAMES, TEXTS, strict=True))
    ]


def label_studio_min(folder: Path) -> Made:
    sounds(folder)
    listed = folder / "min.json"
    listed.write_text(json.dumps(label_studio_rows("/data/upload/1/")))
    return listed, "an address of Label Studio's server", folder / "min-local.json"


def label_studio_csv(folder: Path) -> Made:
    sounds(folder)
    listed = folder / "export.csv"
    with listed.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ("audio", "id", "transcription", "lead_time"))
        writer.writeheader()
        writer.writerows(label_studio_rows("/data/local-files/?d=some/where/"))
    return listed, "an address of Label Studio's server", folder / "export-local.csv"


def giga_speech(folder: Path) -> Made:
    sound(folder / "audio" / "POD1.flac", 9)
    sound(folder / "audio" / "POD2.flac", 9)
    parts = [
        {
            "sid": f"POD1_S{n}",
            "begin_time": 3.0 * n,
            "end_time": 3.0 * n + 2.5,
            "text_tn": f"{text.upper()} <PERIOD>",
        }
        for n, text in enumerate(TEXTS)
    ]
    music = {"sid": "POD2_S0", "begin_time": 0, "end_time": 1, "text_tn": "<MUSIC>"}
    audios = [
        {"path": "audio/POD1.flac", "aid": "POD1", "channels": 1, "source": "x", "segments": parts},
        {"path": "audio/POD2.flac", "aid": "POD2", "channels": 1, "source": "x"}
        | {"segments": [music]},
    ]
    listed = folder / "GigaSpeech.json"
    listed.write_text(json.dumps({"dataset": "GigaSpeech", "audios": audios}, indent=2))
    return listed, "is the list of GigaSpeech", folder / "manifest.jsonl"


def fairseq(ending: str, opened: str) -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        sounds(folder / "flac", ".flac")
        (folder / "train.tsv").write_text(f"{folder}/flac\n{rows('{name}.flac	16000')}")
        spelled = [" ".join(text.replace(" ", "|")) + " |" for text in TEXTS]
        texts = TEXTS if ending == ".wrd" else spelled
        (folder / f"train{ending}").write_text("\n".join(texts) + "\n")
        return folder / f"train{opened}", "is a list of fairseq", folder / "train-pairs.tsv"

    return make


def tarred(folder: Path) -> Made:
    sounds(folder / "apart")
    with tarfile.open(folder / "audio_0.tar", "w") as archive:
        for name in NAMES:
            archive.add(folder / "apart" / f"{name}.wav", f"{name}.wav")
    listed = folder / "tarred_audio_manifest.json"
    form = '{{"audio_filepath": "{name}.wav", "duration": 1.0, "text": "{text}", "shard_id": 0}}'
    listed.write_text(rows(form))
    return listed, "is a tarred manifest (shard_id)", folder / "unpacked" / "manifest.jsonl"


BY_SHELL: dict[str, tuple[Callable[[Path], Made], str]] = {
    "Label Studio, JSON": (label_studio_json, f"{shlex.quote(sys.executable)} -c"),
    "Label Studio, JSON with drafts": (
        label_studio_drafts,
        f"{shlex.quote(sys.executable)} -c",
    ),
    "Label Studio, JSON-MIN": (label_studio_min, "sed -E"),
    "Label Studio, CSV of local files": (label_studio_csv, "sed -E"),
    "GigaSpeech": (giga_speech, f"{shlex.quote(sys.executable)} -c"),
    "fairseq, words": (fairseq(".wrd", ".tsv"), "cat "),
    "fairseq, letters": (fairseq(".ltr", ".tsv"), "sed 's/ //g"),
    "fairseq, its texts": (fairseq(".ltr", ".ltr"), "sed 's/ //g"),
    "NeMo, tarred": (tarred, "mkdir -p"),
}


@pytest.mark.parametrize("kind", BY_SHELL)
def test_a_list_of_another_program_is_named_and_its_command_makes_a_manifest(
    kind: str, tmp_path: Path
) -> None:
    make, command = BY_SHELL[kind]
    folder = tmp_path / "it's a set"
    folder.mkdir()
    listed, what, out = make(folder)
    said = refusal(listed)
    assert what in said
    follow(said, command)
    found = [utterance.text for utterance in read(out)]
    expected = [f"{text.upper()}." for text in TEXTS] if kind == "GigaSpeech" else list(TEXTS)
    assert found == expected


def test_a_region_of_one_channel_keeps_it(tmp_path: Path) -> None:
    """The mean of both sides of a call stood for the text of one."""
    soundfile.write(tmp_path / "a.wav", np.full((32_000, 2), 0.1), 16_000)
    value = {"start": 0.5, "end": 1.5, "channel": 1, "text": ["yes"]}
    listed = tmp_path / "export.json"
    call = {
        "data": {"audio": "/data/upload/1/a.wav"},
        "annotations": [{"result": [{"value": value}]}],
    }
    listed.write_text(json.dumps([call]))
    follow(refusal(listed), f"{shlex.quote(sys.executable)} -c")
    with pytest.raises(ManifestError, match="has 2 channels and the record means one"):
        load_manifest(tmp_path / "manifest.jsonl")


def mls(folder: Path) -> Path:
    sounds(folder / "audio" / "10" / "20", ".flac")
    (folder / "transcripts.tsv").write_text(rows("{name}\t{text}"))
    return folder / "transcripts.tsv"


def vox_populi(folder: Path) -> Path:
    sounds(folder / "transcribed_data" / "2018", ".ogg")
    first = "id\traw_text\tnormalized_text\tspeaker_id\tsplit\tgender\n"
    (folder / "asr_train.tsv").write_text(first + rows("{name}\tX\t{text}\t{n}\ttrain\tmale"))
    return folder / "asr_train.tsv"


def fleurs(folder: Path) -> Path:
    sounds(folder / "audio" / "dev")
    form = "7\t{name}.wav\tX.\t{text}\tt u r n |\t16000\tFEMALE"
    (folder / "dev.tsv").write_text(rows(form))
    return folder / "dev.tsv"


@pytest.mark.parametrize("make", [mls, vox_populi, fleurs])
def test_names_of_recordings_in_folders_below_are_answered_with_from_folder(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    listed = make(tmp_path)
    said = refusal(listed)
    assert "recordings" in said.partition("orchestrate ")[0] and "--transcripts" in said
    follow(said, "orchestrate ")
    import shlex

    made = Path(shlex.split(said[said.rindex("orchestrate ") :])[4])
    assert {utterance.text for utterance in read(made)} == set(TEXTS)


def test_a_list_of_fleurs_beside_its_recordings_is_read(tmp_path: Path) -> None:
    listed = fleurs(tmp_path)
    sounds(tmp_path)
    assert [utterance.text for utterance in read(listed)] == list(TEXTS)


@pytest.mark.parametrize("segments", [[[0.0, 2.0]], ["a"], [None], [], {"0": 1}, 3])
def test_segments_that_nobody_reads_are_kept(tmp_path: Path, segments: object) -> None:
    sound(tmp_path / "a.wav")
    record = {"audio_filepath": "a.wav", "text": "hello there", "segments": segments}
    (tmp_path / "set.jsonl").write_text(json.dumps(record) + "\n")
    [utterance] = read(tmp_path / "set.jsonl")
    assert utterance.text == "hello there" and utterance.extra["segments"] == segments


def part(number: int, **more: Any) -> dict[str, Any]:
    times = {"start": 3.0 * number, "end": 3.0 * number + 2.5}
    return times | {"text": f" {TEXTS[number]}"} | more


WHISPER: dict[str, Any] = {
    "whisper": {"text": "all", "segments": [part(n, id=n) for n in range(3)], "language": "en"},
    "whisperX": {
        "segments": [part(n, speaker="S0", words=[{"word": "x", "start": 0.1}]) for n in range(3)],
        "word_segments": [{"word": "x", "start": 0.1, "end": 0.2}],
    },
    "transformers": {
        "text": "all",
        "chunks": [{"timestamp": [3.0 * n, 3.0 * n + 2.5], "text": TEXTS[n]} for n in range(3)],
    },
    "whisper.cpp": {
        "result": {"language": "en"},
        "transcription": [
            {"offsets": {"from": 3000 * n, "to": 3000 * n + 2500}, "text": f" {TEXTS[n]}"}
            for n in range(3)
        ],
    },
    "segments alone": [part(n) for n in range(3)],
}


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("program", WHISPER)
def test_what_whisper_heard_becomes_a_manifest_of_parts(
    program: str, indent: int | None, tmp_path: Path
) -> None:
    sound(tmp_path / "talk.wav", 9)
    (tmp_path / "talk.json").write_text(json.dumps(WHISPER[program], indent=indent))
    said = refusal(tmp_path / "talk.json")
    assert "one recording" in said
    follow(said, "orchestrate ")
    found = sorted(read(tmp_path / "manifest.jsonl"), key=lambda utterance: utterance.offset)
    assert [(each.offset, each.text) for each in found] == [
        (3.0 * number, text) for number, text in enumerate(TEXTS)
    ]


def test_a_table_of_whisper_becomes_a_manifest_of_parts(tmp_path: Path) -> None:
    sound(tmp_path / "talk.wav", 9)
    lines = [f"{3000 * n}\t{3000 * n + 2500}\t{text}\n" for n, text in enumerate(TEXTS)]
    (tmp_path / "talk.tsv").write_text("start\tend\ttext\n" + "".join(lines))
    follow(refusal(tmp_path / "talk.tsv"), "orchestrate ")
    found = sorted(read(tmp_path / "manifest.jsonl"), key=lambda utterance: utterance.offset)
    assert [(each.offset, each.text) for each in found] == [
        (3.0 * number, text) for number, text in enumerate(TEXTS)
    ]


def test_other_json_beside_a_recording_is_no_transcript(tmp_path: Path) -> None:
    sound(tmp_path / "talk.wav")
    sound(tmp_path / "other.wav")
    (tmp_path / "talk.json").write_text('{"device": "x", "segments": []}')
    (tmp_path / "other.txt").write_text("hello")
    assert orchestrate("manifest", "from-folder", tmp_path, tmp_path / "m.jsonl") == 0
    assert [utterance.text for utterance in read(tmp_path / "m.jsonl")] == ["hello"]


def test_words_of_speechbrain_become_texts(tmp_path: Path) -> None:
    sounds(tmp_path)
    entries = {
        name: {"wav": f"{name}.wav", "length": 1.0, "words": text}
        for name, text in zip(NAMES, TEXTS, strict=True)
    }
    (tmp_path / "train.json").write_text(json.dumps(entries, indent=2))
    follow(refusal(tmp_path / "train.json"), "sed ")
    assert [utterance.text for utterance in read(tmp_path / "manifest.jsonl")] == list(TEXTS)


def test_a_data_json_of_espnet_is_named(tmp_path: Path) -> None:
    entry = {"input": [{"feat": "feats.ark:12"}], "output": [{"text": "hello"}]}
    (tmp_path / "data.json").write_text(json.dumps({"utts": {"a": entry, "b": entry}}))
    assert "is a data.json of ESPnet" in refusal(tmp_path / "data.json")


def test_recordings_that_are_all_away_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,text\n" + rows("{name}.wav,{text}"))
    said = refusal(tmp_path / "m.csv")
    assert "names 3 recordings, none of which is there: in line 2, audio file 'a1.wav'" in said


def test_an_empty_folder_of_a_fairseq_list_is_said(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("/data/flac\na.flac\t16000\n")
    assert "list of fairseq without texts" in refusal(tmp_path / "train.tsv")
