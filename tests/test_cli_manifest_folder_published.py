"""`manifest from-folder` on corpora whose lists name recordings in a way of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.corpus.manifests.manifest import load_manifest
from tests.cli_project import orchestrate
from tests.test_cli_manifest import tone
from tests.test_cli_manifest_folder_corpora import made, put, refused, tones


def test_prompts_of_voxforge_name_features(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Submissions with one list and with two, recordings in `wav` and in `flac`."""
    folder = tmp_path / "voxforge"
    for number, (name, sound) in enumerate(
        (("Ann-20080318-kdl", "wav"), ("bob-20090101-x", "flac"))
    ):
        for clip in (19, 20):
            tone(folder / name / sound / f"b00{clip}.{sound}", 1.0, 400 + 50 * number + clip)
        rows = f"{name}/mfc/b0019 HEARD HER\n{name}/mfc/b0020 AND OFF\n"
        put(folder / name / "etc/PROMPTS", rows)
        put(folder / name / "etc/README", "User Name: ann\nGender: Female\n")
    put(folder / "bob-20090101-x/etc/prompts-original", "b0019 Heard her,\nb0020 And off.\n")
    assert made(folder, "--speaker", "folder") == {
        "Ann-20080318-kdl/wav/b0019": "HEARD HER",
        "Ann-20080318-kdl/wav/b0020": "AND OFF",
        "bob-20090101-x/flac/b0019": "Heard her,",
        "bob-20090101-x/flac/b0020": "And off.",
    }
    assert capsys.readouterr().out.splitlines()[1:] == [
        "of 2 recordings the list is prompts-original, and not PROMPTS beside it"
    ]
    own = folder / "Ann-20080318-kdl"
    assert set(made(own)) == {"wav/b0019", "wav/b0020"}
    every = put(tmp_path / "prompts.txt", "*/Ann-20080318-kdl/mfc/b0019 ONE\n*/b0020 TWO\n")
    assert made(own, "--transcripts", every) == {"wav/b0019": "ONE", "wav/b0020": "TWO"}


def test_prompts_of_voxforge_for_other_recordings_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "Ann-1-a"
    tones(folder, "wav/b1.wav", "wav/b2.wav")
    table = put(folder / "etc/PROMPTS", "Ann-1-a/mfc/b1 ONE\nAnn-1-a/mfc/b1 TWO\n")
    told = f"{table}:2: 'Ann-1-a/mfc/b1' has a transcript already, {table}:1"
    assert told in refused(folder, capsys)
    table.write_text("Ann-1-a/mfc/b1 ONE\nAnn-1-a/mfc/b3 THREE\n")
    assert made(folder) == {"wav/b1": "ONE"}
    assert capsys.readouterr().out.splitlines()[1] == (
        "left out 2 of 3: 1 without a transcript, 1 listed without a recording (the first is "
        f"{table}:2: 'Ann-1-a/mfc/b3')"
    )


EMILIA = {
    "id": "EN_B00000_S00000_W000000",
    "wav": "EN_B00000/EN_B00000_S00000/mp3/EN_B00000_S00000_W000000.mp3",
    "text": " You can help my mother.",
    "duration": 1.0,
    "speaker": "EN_B00000_S00000",
    "language": "en",
    "dnsmos": 3.3,
}


def test_an_object_beside_each_recording(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Emilia; and what names its recording less, or says nothing but its text."""
    folder = tmp_path / "emilia"
    name = EMILIA["id"]
    tones(folder, f"{name}.wav", "b.wav", "c.wav")
    put(folder / f"{name}.json", json.dumps(EMILIA))
    put(folder / "b.json", json.dumps({"utt_id": "b", "sentence": "by id", "spk": 7}, indent=1))
    put(folder / "c.wav.json", json.dumps({"text": "alone", "language": "en", "score": 0.5}))
    assert made(folder) == {name: "You can help my mother.", "b": "by id", "c": "alone"}
    assert capsys.readouterr().out.splitlines()[1:] == [
        "of 1 recordings the text is that of NAME.wav.json, which does not name its recording"
    ]
    speakers = {each.id: each.speaker for each in load_manifest(tmp_path / "out.jsonl").utterances}
    assert speakers == {name: "EN_B00000_S00000", "b": "7", "c": ""}


def test_a_part_of_its_recording_may_be_told_by_the_object_beside_it(tmp_path: Path) -> None:
    tones(tmp_path / "d", "a.wav", seconds=3.0)
    put(
        tmp_path / "d/a.json", json.dumps({"id": "a", "text": "hi", "offset": 0.5, "duration": 1.5})
    )
    made(tmp_path / "d")
    [found] = load_manifest(tmp_path / "out.jsonl").utterances
    assert (found.text, found.offset, found.duration) == ("hi", 0.5, 1.5)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"duration": 9.44}, "a.json:1: the duration is 9.44 s but audio file"),
        (
            {"text": " "},
            "a.json:1: the transcript is empty; write what is said, or take the file away",
        ),
        ({"start": 0.25, "end": 0.75}, '"start" is 0.25 and "end" is 0.75, which are not read'),
        ({"text": "[00:00:00.000 --> 00:00:01.000] hi"}, "has a time beside what is said"),
        ({"wav": "x/b.mp3"}, "a.json is JSON of a form that is not read"),
        ({"id": "b", "wav": None}, "a.json is JSON of a form that is not read"),
        ({"id": None, "wav": None, "words": []}, "a.json is JSON of a form that is not read"),
    ],
)
def test_an_object_that_says_something_else_is_refused(
    tmp_path: Path, change: dict[str, Any], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tones(tmp_path / "d", "a.wav")
    put(tmp_path / "d/a.json", json.dumps(EMILIA | {"id": "a", "wav": "x/a.mp3"} | change))
    assert told in refused(tmp_path / "d", capsys)


def turn(session: str, speaker: str, begin: str, end: str, words: str) -> dict[str, Any]:
    """As CHiME-6 writes one."""
    times = {"start_time": begin, "end_time": end}
    place = {"ref": "U02", "location": "kitchen", "session_id": session}
    return times | {"words": words, "speaker": speaker} | place


CHIME = [
    turn("S02", "P05", "0:00:00.50", "0:00:01.75", "so what [laughs]"),
    turn("S02", "P06", "00:00:01.00", "00:00:02.00", "the pan"),
    turn("S02", "P06", "00:00:02.00", "00:00:02.50", ""),
    turn("S02", "P06", "00:00:03.00", "00:00:03.00", "no length"),
]


def cut(path: Path) -> set[tuple[str, str, float, float | None, str]]:
    return {
        (Path(each.audio or "").name, each.text, each.offset, each.duration, each.speaker)
        for each in load_manifest(path).utterances
    }


def chime(folder: Path) -> Path:
    names = ("S02_P05", "S02_P06", "S02_U01.CH1", "S09_P25")
    tones(folder / "audio/dev", *(f"{name}.wav" for name in names), seconds=4.0)
    put(folder / "transcriptions/dev/S02.json", json.dumps(CHIME, indent=4))
    rows = [turn("S09", "P25", "0:00:01.0", "0:00:02.0", "yeah")]
    put(folder / "transcriptions/dev/S09.json", json.dumps(rows, indent=4))
    return folder


def test_turns_of_a_session_are_parts_of_what_their_speakers_wear(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """CHiME-6, whose microphones of the room hear all at once."""
    folder = chime(tmp_path / "CHiME6")
    made(folder)
    first = {
        ("S02_P05.wav", "so what [laughs]", 0.5, 1.25, "P05"),
        ("S02_P06.wav", "the pan", 1.0, 1.0, "P06"),
    }
    assert cut(tmp_path / "out.jsonl") == {*first, ("S09_P25.wav", "yeah", 1.0, 1.0, "P25")}
    table = folder / "transcriptions/dev/S02.json"
    assert capsys.readouterr().out.splitlines()[1:] == [
        f"left out 3 of 6: 1 without a transcript, 2 listed without a text (the first is {table}:20: 'S02_P06')",
        "of 1 parts the text has something in brackets, such as '[laughs]', and it is learnt as words; --brackets "
        "strip or drop leaves it out",
    ]
    made(folder / "audio/dev", "--transcripts", table)
    assert cut(folder / "audio/out.jsonl") == first
    assert orchestrate("manifest", "filter", table, tmp_path / "x.jsonl") == 2
    assert (
        f"{table} names its recordings, such as S02_P05, as its corpus does; name the folder that holds them: "
        f"orchestrate manifest from-folder FOLDER {table.parent}/manifest.jsonl --transcripts {table}"
    ) in capsys.readouterr().err


def test_clocks_of_devices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """DiPCo, whose list may lie beside its recordings."""
    tones(tmp_path / "d", "S01_P01.wav", seconds=3.0)
    row = turn("S01", "P01", "", "", "hi") | {"speaker_id": "P01"}
    del row["speaker"]
    row["start_time"] = {"U01": "00:00:01.52", "close-talk": "00:00:01.5"}
    row["end_time"] = {"U01": "00:00:02.52", "close-talk": "00:00:02.5"}
    table = put(tmp_path / "d/S01.json", json.dumps([row]))
    made(tmp_path / "d")
    assert cut(tmp_path / "out.jsonl") == {("S01_P01.wav", "hi", 1.5, 1.0, "P01")}
    row["end_time"] = {"U01": "00:00:02.52"}
    table.write_text(json.dumps([row]))
    told = (
        f'{table}:1: "end_time" is null, must be a time such as 00:00:12.34, by the clock of what P01 wears where '
        "there are several; of devices it has U01"
    )
    assert told in refused(tmp_path / "d", capsys)
    assert orchestrate("manifest", "filter", table, tmp_path / "x.jsonl") == 2
    assert f"{table} names its recordings as its corpus does; name the" in capsys.readouterr().err


def test_a_session_without_what_its_speakers_wear_and_one_of_two_lists(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = chime(tmp_path / "CHiME6")
    copy = put(folder / "transcriptions_scoring/dev/S09.json", '[{"session_id": "S09"}]')
    other = folder / "transcriptions/dev/S09.json"
    told = f"{other} and {copy} are both of session S09; take one of them away"
    assert told in refused(folder, capsys)
    copy.unlink()
    for name in ("S02_P05", "S02_P06"):
        (folder / f"audio/dev/{name}.wav").unlink()
    table = folder / "transcriptions/dev/S02.json"
    told = f"{table} is read for the recordings that its speakers wear, such as S02_P05.wav"
    assert told in refused(folder, capsys)


def sentence(number: int, text: str, **recordings: str) -> str:
    """As SLURP writes one."""
    told = [
        {"file": f"audio-{name}.flac", "wer": 0.0, "ent_wer": 0.0, "status": status}
        for name, status in recordings.items()
    ]
    row = {"slurp_id": number, "sentence": text, "intent": "alarm_set", "tokens": [{"id": 0}]}
    return json.dumps(row | {"recordings": told, "entities": []}) + "\n"


def test_sentences_with_their_recordings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SLURP: a recording that is not known to be correct has no text."""
    folder = tmp_path / "slurp"
    place = folder / "audio/slurp_real"
    tones(place, *(f"audio-{name}.flac" for name in ("1", "1-headset", "2", "3", "4")))
    rows = sentence(0, "wake me", **{"1": "correct", "1-headset": "correct", "3": "incorrect"})
    table = put(
        folder / "dataset/slurp/train.jsonl", rows + sentence(1, "stop", **{"2": "correct"})
    )
    assert made(folder, "--transcripts", table) == {
        "audio/slurp_real/audio-1": "wake me",
        "audio/slurp_real/audio-1-headset": "wake me",
        "audio/slurp_real/audio-2": "stop",
    }
    assert capsys.readouterr().out.splitlines()[1:] == [
        "left out 2 of 5: 1 without a transcript, 1 listed without a text (the first is "
        f"{table}:1: 'audio-3.flac')"
    ]
    by_file = {"audio-1.flac": {"usrid": "FE-145", "status": "correct"}}
    row = json.dumps({"slurp_id": 0, "sentence": "wake me", "recordings": by_file})
    assert made(folder, "--transcripts", put(folder / "metadata.jsonl", row)) == {
        "audio/slurp_real/audio-1": "wake me"
    }
    assert load_manifest(tmp_path / "out.jsonl").utterances[0].speaker == "FE-145"
    table = put(folder / "audio/train.jsonl", rows)
    assert orchestrate("manifest", "filter", table, tmp_path / "x.jsonl") == 2
    assert (
        f"{table} names its recordings, such as audio-1.flac, as its corpus does; recordings of these names lie in "
        f"folders below, and are found by: orchestrate manifest from-folder {place.parent} "
        f"{place.parent}/train-manifest.jsonl --transcripts {table}"
    ) in capsys.readouterr().err


MELD = (
    "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\n"
    '1,"also I was the point person, on it",Chandler,neutral,neutral,0,0,8,21,"00:00:00,259","00:00:00,731"\n'
    '2,No don\'t,Rachel,neutral,neutral,0,1,8,21,"00:16:21,940","00:16:23,442"\n'
    '3,,Rachel,neutral,neutral,1,0,8,21,"00:16:26,820","00:16:29,572"\n'
)


def test_utterances_of_dialogues(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """MELD, whose times are those of an episode."""
    folder = tmp_path / "meld"
    tones(folder, *(f"train_splits/dia{name}.wav" for name in ("0_utt0", "0_utt1", "1_utt0")))
    table = put(folder / "train_sent_emo.csv", MELD)
    assert made(folder, "--transcripts", table) == {
        "train_splits/dia0_utt0": "also I was the point person, on it",
        "train_splits/dia0_utt1": "No don't",
    }
    speakers = {each.speaker for each in load_manifest(tmp_path / "out.jsonl").utterances}
    assert speakers == {"Chandler", "Rachel"}
    assert capsys.readouterr().out.splitlines()[1:] == [
        f"left out 1 of 3: 1 listed without a text (the first is {table}:4: 'dia1_utt0')"
    ]
    tone(folder / "dev_splits_complete/dia0_utt0.wav")
    told = f"{table}:2: 'dia0_utt0' may be any of 2 recordings; write its folder too"
    assert told in refused(folder, capsys, "--transcripts", table)
    assert orchestrate("manifest", "filter", table, tmp_path / "x.jsonl") == 2
    told = (
        f"orchestrate manifest from-folder {folder} {folder}/manifest.jsonl --transcripts {table}"
    )
    assert told in capsys.readouterr().err


def test_an_utterance_that_may_be_an_id_is_no_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tones(tmp_path / "d", "a.wav")
    table = put(tmp_path / "d/l.csv", "path,Utterance\na.wav,u1\n")
    assert "is a table without a column of text" in refused(
        tmp_path / "d", capsys, "--transcripts", table
    )


def test_clips_in_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The People's Speech, as it is published beside the hub."""
    folder = tmp_path / "peoples"
    tones(folder, *(f"x/x_{number}.flac" for number in range(3)))
    lists: dict[str, list[Any]] = {
        "label": ["we will come", "to order", ""],
        "name": [f"x/x_{number}.flac" for number in range(3)],
        "duration_ms": [1000, 1000, 1000],
    }
    table = tmp_path / "train.json"
    row = {"identifier": "x", "text_document_id": "x.srt", "training_data": lists}
    table.write_text(json.dumps(row))
    assert made(folder, "--transcripts", table) == {"x/x_0": "we will come", "x/x_1": "to order"}
    assert f"1 listed without a text (the first is {table}:1: 'x/x_2.flac')" in (
        capsys.readouterr().out
    )
    lists["duration_ms"] = [1000, 2500, 1000]
    table.write_text(json.dumps(row))
    told = f"{table}:1: the duration is 2.5 s but audio file 'peoples/x/x_1.flac' lasts 1.00 s"
    assert told in refused(folder, capsys, "--transcripts", table)
    lists["label"].pop()
    table.write_text(json.dumps(row))
    told = (
        f'{table}:1: "training_data" must have lists of one length as name, label, duration_ms, a place in each for '
        "every clip"
    )
    assert told in refused(folder, capsys, "--transcripts", table)
    lists |= {"label": ["a", "b", "c"], "duration_ms": [1000, "long", 1000]}
    table.write_text(json.dumps(row))
    told = f"{table}:1: \"duration\" is 'long', must be a number of seconds above 0"
    assert told in refused(folder, capsys, "--transcripts", table)
    lists["duration_ms"][1] = 1000
    table.write_text(json.dumps(row))
    assert orchestrate("manifest", "filter", table, tmp_path / "x.jsonl") == 2
    told = (
        f"orchestrate manifest from-folder {tmp_path} {tmp_path}/train.jsonl --transcripts {table}"
    )
    assert told in capsys.readouterr().err
