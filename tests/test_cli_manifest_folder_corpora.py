"""`manifest from-folder` on the layouts of public corpora, as they are published."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from orchestrator.corpus.label_files.label_file import LDC, kind_of_labels
from orchestrator.corpus.manifests.manifest import load_manifest
from tests.cli_project import orchestrate
from tests.test_cli_manifest import tone


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def tones(folder: Path, *names: str, seconds: float = 1.0) -> None:
    for number, name in enumerate(names):
        tone(folder / name, seconds, 500 + 50 * number)


def made(folder: Path, *options: object) -> dict[str, str]:
    out = folder.with_name("out.jsonl")
    for path in (out, Path(f"{out}.source.json")):
        path.unlink(missing_ok=True)
    assert orchestrate("manifest", "from-folder", folder, out, *options) == 0
    return {each.id: each.text for each in load_manifest(out).utterances}


def refused(folder: Path, capsys: pytest.CaptureFixture[str], *options: object) -> str:
    out = folder.with_name("refused.jsonl")
    assert orchestrate("manifest", "from-folder", folder, out, *options) == 2
    assert not out.exists()
    return capsys.readouterr().err


def test_words_above_their_pinyin_and_a_link_that_became_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """THCHS-30: the texts of `train` hold a path alone."""
    folder = tmp_path / "data_thchs30"
    tones(folder, "data/A11_0.wav", "train/A11_1.wav")
    lines = "绿 是 阳春 烟 景\nlv4 shi4 yang2 chun1 yan1 jing3\nl v4 sh ix4 ii iang2 ch un1\n"
    for number in range(2):
        put(folder / f"data/A11_{number}.wav.trn", lines)
    link = put(folder / "train/A11_1.wav.trn", "../data/A11_1.wav.trn\n")
    assert made(folder) == dict.fromkeys(("data/A11_0", "train/A11_1"), "绿 是 阳春 烟 景")
    assert capsys.readouterr().out.splitlines()[1] == (
        "of 2 recordings the text is the first line, and not those below, which say how it is read"
    )
    link.write_text("../gone/A11_1.wav.trn\n")
    assert f"{link}:1: names '../gone/A11_1.wav.trn' as the file with its text" in refused(
        folder, capsys
    )


@pytest.mark.parametrize(
    "text", ["Hello there.\nhow are you2 today3\n", "你好\nwell hello\n", "你好\n再见2\n"]
)
def test_other_lines_are_said_too(tmp_path: Path, text: str) -> None:
    tones(tmp_path / "d", "a.wav")
    put(tmp_path / "d/a.txt", text)
    assert made(tmp_path / "d") == {"a": " ".join(text.split())}


def test_the_normalized_text_is_taken_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """LibriTTS."""
    name = "84/121123/84_121123_000007_000001"
    tones(tmp_path / "d", f"{name}.wav")
    put(tmp_path / f"d/{name}.normalized.txt", "Mister Maximilian.\n")
    put(tmp_path / f"d/{name}.original.txt", "Mr. Maximilian.\n")
    assert made(tmp_path / "d") == {name: "Mister Maximilian."}
    assert capsys.readouterr().out.splitlines()[1] == (
        "of 1 recordings the text is NAME.normalized.txt, and not NAME.original.txt"
    )


def test_texts_in_a_folder_beside_that_of_two_microphones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """VCTK, by its top and by the folder of its recordings, whose first ones are the speakers."""
    folder = tmp_path / "VCTK"
    names = [f"p225/p225_00{number}" for number in (1, 2)]
    tones(folder / "wav48", *(f"{name}_mic{number}.flac" for name in names for number in (1, 2)))
    for name in names:
        put(folder / f"txt/{name}.txt", f"this is {name}\n")
    told = {f"{name}_mic{number}": f"this is {name}" for name in names for number in (1, 2)}
    assert made(folder) == {f"wav48/{name}": text for name, text in told.items()}
    assert capsys.readouterr().out.splitlines()[1] == (
        "of 4 recordings the text is that of all microphones that heard it, and each is taken; one of them: "
        "--name '*_mic1.*'"
    )
    (folder / "wav48/p225/p225_001_mic2.flac").unlink()
    one = made(folder / "wav48", "--name", "*_mic1.*", "--speaker", "folder")
    assert one == {name: text for name, text in told.items() if name.endswith("1")}
    assert {each.speaker for each in load_manifest(tmp_path / "VCTK/out.jsonl").utterances} == {
        "p225"
    }


@pytest.mark.parametrize(
    ("recording", "text"),
    [
        ("ABA/wav/a1.wav", "ABA/transcript/a1.txt"),  # L2-ARCTIC
        ("wavs/x.wav", "texts/x.txt"),
        ("x.wav", "transcripts/x.txt"),
        ("speech/s1/x.wav", "speech/lab/s1/x.lab"),
        ("wav/s1/x.wav", "txt/x.txt"),  # all in one
    ],
)
def test_texts_in_a_folder_of_their_own(tmp_path: Path, recording: str, text: str) -> None:
    tones(tmp_path / "d", recording)
    put(tmp_path / "d" / text, "hello there")
    assert made(tmp_path / "d") == {recording[:-4]: "hello there"}


def test_a_text_of_another_recording_is_not_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Folders of people, a folder of scripts with recordings in it, and one of sound that is not read."""
    folder = tmp_path / "d"
    tones(folder, "ann/001.wav", "scripted/001.wav", "free/001.wav")
    put(folder / "bob/001.txt", "of bob")
    put(folder / "scripted/001.txt", "of the script")
    put(folder / "labels/001.txt", "happy")
    put(folder / "descriptions/001.txt", "a person who is happy")
    put(folder / "texts/001.m4a", "")
    put(folder / "texts/001.txt", "of the m4a")
    assert made(folder) == {"scripted/001": "of the script"}
    assert made(folder / "scripted") == {"001": "of the script"}
    assert "none of the 1 recordings" in refused(folder / "free", capsys)


def test_two_folders_of_texts_are_not_chosen_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "d"
    tones(folder, "wav/x.wav")
    for name in ("txt", "txt_normalized"):
        put(folder / f"{name}/x.txt", "hello")
    assert refused(folder, capsys).splitlines()[1] == (
        f"  {folder}/wav/x.wav has two texts, {folder}/txt/x.txt and {folder}/txt_normalized/x.txt; take one of "
        "them away"
    )


def test_a_folder_of_all_speakers_is_said_to_be_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "VCTK"
    for speaker in ("p225", "p226"):
        tone(folder / f"wav48/{speaker}/{speaker}_1.wav", 1.0, 400 + len(speaker))
        put(folder / f"txt/{speaker}/{speaker}_1.txt", f"this is {speaker}")
    made(folder, "--speaker", "folder")
    assert capsys.readouterr().out.splitlines()[1:] == [
        f"all recordings are of the speaker 'wav48', the first folder below {folder}; where the folders in it are the "
        f"speakers, name {folder}/wav48"
    ]
    made(folder / "wav48", "--speaker", "folder")
    assert capsys.readouterr().out.splitlines()[1:] == []
    assert {each.speaker for each in load_manifest(folder / "out.jsonl").utterances} == {
        *("p225", "p226")
    }


FESTIVAL = (
    '( a_1 "Author of the danger trail, Philip Steels, etc." )\n( a_2 "He said \\"no\\"." )\n'
)
SPHINX = "<s> AUTHOR OF IT </s> (a_1)\n<s> NO </s> (a_2)\n"


def test_lists_of_festival_and_sphinx(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """CMU ARCTIC, found by its usual name for each speaker, and AN4."""
    for number, speaker in enumerate(("bdl", "slt")):
        for clip in (1, 2):
            tone(tmp_path / f"d/{speaker}/wav/a_{clip}.wav", 1.0, 500 + 50 * clip + number)
        put(tmp_path / f"d/{speaker}/etc/txt.done.data", FESTIVAL.replace("He", speaker))
    said = "Author of the danger trail, Philip Steels, etc."
    assert made(tmp_path / "d/bdl") == {"wav/a_1": said, "wav/a_2": 'bdl said "no".'}
    every = made(tmp_path / "d", "--speaker", "folder")
    assert len(every) == 4 and every["slt/wav/a_2"] == 'slt said "no".'
    table = put(tmp_path / "d/an4.transcription", SPHINX)
    assert made(tmp_path / "d/slt", "--transcripts", table) == {
        "wav/a_1": "AUTHOR OF IT",
        "wav/a_2": "NO",
    }
    capsys.readouterr()
    table = tmp_path / "d/slt/etc/txt.done.data"
    assert orchestrate("manifest", "filter", table, tmp_path / "copy.jsonl") == 2
    place = tmp_path / "d/slt"
    assert (
        f"are found by: orchestrate manifest from-folder {place} {place}/etc/txt.done.jsonl --transcripts {table}"
        in capsys.readouterr().err
    )


def test_every_split_may_have_its_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """MLS, and an AudioFolder; of two lists beside each other one is read, and that is said."""
    folder = tmp_path / "mls"
    tones(folder, *(f"{split}/audio/1/2/1_2_{split}.wav" for split in ("train", "dev")))
    for split in ("train", "dev"):
        put(folder / f"{split}/transcripts.txt", f"1_2_{split}\tsaid in {split}\n")
    put(folder / "dev/metadata.csv", "file_name,text\naudio/1/2/1_2_dev.wav,another\n")
    assert made(folder) == {
        "train/audio/1/2/1_2_train": "said in train",
        "dev/audio/1/2/1_2_dev": "another",
    }
    assert capsys.readouterr().out.splitlines()[1] == (
        "of 1 recordings the list is metadata.csv, and not transcripts.txt beside it"
    )


def test_a_table_of_ids_above_folders_of_years(tmp_path: Path) -> None:
    """VoxPopuli, as it is published: columns between |, an id with an underscore."""
    name = "20090112-0900-PLENARY-3-en_20090112-16:40:57_0"
    tones(tmp_path / "d", f"2009/{name}.wav")
    table = put(
        tmp_path / "d/asr_en.tsv",
        f"session_id|id_|original_text|normed_text|speaker_id|gender|is_gold_transcript\nx|{name}|Hello.|hello|7|male|True\n",
    )
    assert made(tmp_path / "d", "--transcripts", table) == {f"2009/{name}": "hello"}
    assert load_manifest(tmp_path / "out.jsonl").utterances[0].speaker == "7"


@pytest.mark.parametrize("compressed", [False, True])
def test_supervisions_of_lhotse_are_parts_of_their_recordings(
    tmp_path: Path, compressed: bool
) -> None:
    tones(tmp_path / "d", "audio/r1.wav", "audio/r2.wav", seconds=3.0)
    rows = [
        ("r1-1", "r1", 0.0, 1.5, "eins"),
        ("r1-2", "r1", 1.5, 1.25, "zwei"),
        ("r2", "r2", 0, 3, "drei"),
    ]
    keys = ("id", "recording_id", "start", "duration", "text")
    more = {"channel": 0, "speaker": "anna", "language": "de"}
    content = "\n".join(json.dumps(dict(zip(keys, row, strict=True)) | more) for row in rows)
    table = tmp_path / ("s.jsonl.gz" if compressed else "s.jsonl")
    table.write_bytes(gzip.compress(content.encode()) if compressed else content.encode())
    made(tmp_path / "d", "--transcripts", table)
    found = load_manifest(tmp_path / "out.jsonl").utterances
    assert {(each.text, each.offset, each.duration, each.speaker) for each in found} == {
        ("eins", 0.0, 1.5, "anna"),
        ("zwei", 1.5, 1.25, "anna"),
        ("drei", 0.0, 3.0, "anna"),
    }


@pytest.mark.parametrize("root", ["/data/ls/", "corpus/", ""])
def test_a_list_of_another_place_is_taken_for_the_folder(
    tmp_path: Path, root: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """NeMo's, whose paths begin elsewhere or in a folder below."""
    folder, start = tmp_path / "d", f"{root}audio/" if root else ""
    tones(folder, "audio/x/a.wav", "audio/y/a.wav")
    rows = [{"audio_filepath": f"{start}{name}/a.wav", "text": f"of {name}"} for name in "xyz"]
    table = put(tmp_path / "list.json", "\n".join(map(json.dumps, rows)))
    assert made(folder, "--transcripts", table) == {"audio/x/a": "of x", "audio/y/a": "of y"}
    said = capsys.readouterr().out.splitlines()
    assert "1 listed without a recording" in said[1]
    assert said[2:] == (
        [f"of 2 recordings {root} in list.json is taken for {folder}"] if root else []
    )


def test_a_list_of_another_folder_of_people_is_not_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "d"
    tones(folder, "ann/1.wav", "bob/2.wav")
    table = put(tmp_path / "l.csv", "path,text\n/x/cid/1.wav,one\n/x/dan/2.wav,two\n")
    assert refused(folder, capsys, "--transcripts", table).count("names no recording") == 2


def told(path: Path) -> set[tuple[str, float, float | None, str]]:
    utterances = load_manifest(path).utterances
    return {(each.text, each.offset, each.duration, each.speaker) for each in utterances}


def test_an_stm_for_each_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """TED-LIUM: a folder of STM beside that of the recordings."""
    folder = tmp_path / "tedlium"
    for number, name in enumerate("ab"):
        tone(folder / f"test/sph/{name}.wav", 3.0, 500 + 50 * number)
        rows = ("0.5 1.5 <o,f0,male> of", "1.5 2.0 <o,f0,male> ignore_time_segment_in_scoring")
        put(folder / f"test/stm/{name}.stm", "".join(f"{name} 1 s{name} {row}\n" for row in rows))
    made(folder)
    assert told(tmp_path / "out.jsonl") == {("of", 0.5, 1.0, "sa"), ("of", 0.5, 1.0, "sb")}
    place = put(folder / "test/stm/a.stm", "c 1 sc 0.5 1.5 <o,f0,male> of c\n")
    assert f"{place} is STM of other recordings, such as 'c'" in refused(folder, capsys)


FISHER = "# fe_1.sph\n# Transcribed at the LDC\n\n1.25 2.50 A: hello\n\n2.75 3.25 B: ((hi))\n"
SANTA_BARBARA = "0.00 1.50\tLENORE: \tSo ..\n1.5 2.0\t        \tyou know\n2.0 3.0\tLYNNE:\tno\n"


def test_transcripts_of_the_ldc_are_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fisher, whose speakers are the sides of each call, and the Santa Barbara Corpus."""
    tones(tmp_path / "d", "audio/fe_1.wav", "SBC001.wav", seconds=4.0)
    put(tmp_path / "d/trans/fe_1.txt", FISHER)
    place = put(tmp_path / "d/SBC001.trn", SANTA_BARBARA)
    made(tmp_path / "d")
    assert told(tmp_path / "out.jsonl") == {
        ("hello", 1.25, 1.25, "fe_1-A"),
        ("((hi))", 2.75, 0.5, "fe_1-B"),
        ("So ..", 0.0, 1.5, "LENORE"),
        ("you know", 1.5, 0.5, ""),
        ("no", 2.0, 1.0, "LYNNE"),
    }
    place.write_text(f"{SANTA_BARBARA}\n3.0 and so on\n1.0 2.0 A: b\n3.5 4.0\tLYNNE:\tno\n")
    assert "line 5 is none of its rows: '3.0 and so on'" in refused(tmp_path / "d", capsys)
    place.write_text(SANTA_BARBARA)
    soundfile.write(tmp_path / "d/audio/fe_1.wav", np.zeros((64_000, 2)), 16_000)
    assert "has 2 channels and the record means one" in refused(tmp_path / "d", capsys)


@pytest.mark.parametrize(
    "text", ["1.5 2.5 percent\n", "1.5 2.5 percent\nand more: less\n", "2.5 1.5 percent: no\n"]
)
def test_numbers_that_are_said_are_no_transcript_of_the_ldc(text: str) -> None:
    assert kind_of_labels(text) == "" and kind_of_labels("1.5 2.5 A: yes\n") == LDC


def test_pinyin_behind_each_word_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """AISHELL-3; and what only looks like it."""
    tones(tmp_path / "d", *(f"wav/S1/{name}.wav" for name in "ab"))
    table = put(
        tmp_path / "content.txt", "a.wav\t广 guang3 州 zhou1\nb.wav\t广 guang3 well hello1\n"
    )
    assert made(tmp_path / "d", "--transcripts", table) == {
        "wav/S1/a": "广 州",
        "wav/S1/b": "广 guang3 well hello1",
    }
    assert capsys.readouterr().out.splitlines()[1] == (
        "of 1 recordings the text is the words, and not the pinyin behind each"
    )


def test_lists_by_the_names_of_their_corpora_are_found(tmp_path: Path) -> None:
    """JSUT and JVS, whose names end with a colon, MAGICDATA, VoxForge and Google's."""
    put(tmp_path / "d/anon/etc/prompts-original", "b1 Hello there.\n")
    put(tmp_path / "d/ka_ge/line_index.tsv", "kaf_1\tgood day\n")
    tones(
        tmp_path / "d",
        "jvs001/wav/V_1.wav",
        "jvs002/wav/V_1.wav",
        "train/38/38_1.wav",
        "anon/wav/b1.wav",
        "ka_ge/kaf_1.wav",
    )
    for number in (1, 2):
        put(tmp_path / f"d/jvs00{number}/transcripts_utf8.txt", f"V_1:また、{number}のように。\n")
    put(
        tmp_path / "d/train/TRANS.txt",
        "UtteranceID\tSpeakerID\tTranscription\n38_1.wav\t38\t会议\n",
    )
    assert made(tmp_path / "d") == {
        "jvs001/wav/V_1": "また、1のように。",
        "jvs002/wav/V_1": "また、2のように。",
        "train/38/38_1": "会议",
        "anon/wav/b1": "Hello there.",
        "ka_ge/kaf_1": "good day",
    }


def test_what_may_be_the_list_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Common Voice."""
    tones(tmp_path / "d", "clips/cv_1.wav")
    table = put(tmp_path / "d/test.tsv", "client_id\tpath\tsentence\nx\tcv_1.wav\thello\n")
    put(tmp_path / "d/README.txt", "what this is")
    assert refused(tmp_path / "d", capsys).splitlines()[1] == (
        f"  What names recordings and may be their list: {table}."
    )
    assert made(tmp_path / "d", "--transcripts", table) == {"clips/cv_1": "hello"}
