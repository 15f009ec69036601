"""`manifest from-folder` on public corpora that write names, marks and pictures beside what is said, and whose
recordings were converted.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.corpus.importing.own_names import without_own_name
from orchestrator.corpus.importing.readings import as_said_in_korean
from orchestrator.corpus.importing.selecting import without_brackets
from tests.test_cli_manifest_folder_corpora import made, put, refused, tones

OF_A_NAME = {
    "F01_050C_BUS.trn": "F01_050C_BUS A STRONG TURNOUT\n",  # CHiME-4
    "a_01.trn": "a strong turnout (a_01)\n",
    "a_02.txt": "a_02.flac|yes: it is",
    "a_03.txt": "wav/A_03:\tyes it is",
    "a_04.txt": '( a_04 "it is \\"so\\"." )\n',
    "speaker_5.txt": "speaker_5\tit is not\n",
    "take.txt": "take it",
}


def test_the_name_of_a_recording_is_no_word_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "d"
    for name, text in OF_A_NAME.items():
        put(folder / name, text)
    tones(folder, *(f"{Path(name).stem}.wav" for name in OF_A_NAME))
    assert made(folder) == {
        "F01_050C_BUS": "A STRONG TURNOUT",
        "a_01": "a strong turnout",
        "a_02": "yes: it is",
        "a_03": "yes it is",
        "a_04": 'it is "so".',
        "speaker_5": "it is not",
        "take": "take it",
    }
    assert capsys.readouterr().out.splitlines()[1:] == [
        "of 6 recordings the name of the recording before or behind its text is left out, which is no word"
    ]


@pytest.mark.parametrize(
    ("text", "stem"),
    [
        ("2001 a space odyssey", "2001"),
        ("7: seven", "7"),
        ("stop now", "stop"),
        ("a_02 is not a_01", "a_01"),
        ("a_01", "a_01"),
        ("a_01 first\nand more", "a_01"),
        ("a_01b here", "a_01"),
    ],
)
def test_what_may_be_said_is_no_name(text: str, stem: str) -> None:
    assert without_own_name(text, stem) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("아/ (70%)/(칠십 퍼센트) 확률이라니 n/", "아 칠십 퍼센트 확률이라니"),
        ("b/ 그건+ 또* 뭐/. o/", "그건 또 뭐."),
        ("(3개) / (세 개) 줘", "세 개 줘"),
        ("그리고/또는 w/o 이것", None),
        ("(웃음) 네", None),
        ("n/ (a)/(b) no", None),
    ],
)
def test_korean_texts_are_taken_as_they_are_said(text: str, said: str | None) -> None:
    assert as_said_in_korean(text) == (said or text)


def test_lists_name_recordings_before_they_were_converted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """KsponSpeech, and Kathbath, of which a list with a root elsewhere is read too."""
    folder = tmp_path / "d"
    tones(folder, "K_01/K_0001/K_000001.wav", "K_01/K_0001/K_000002.wav", "audio/8-593-f.wav")
    rows = "K_01/K_0001/K_000001.pcm :: 아/ (70%)/(칠십) n/\nK_01/K_0001/K_000002.pcm :: 몬 소리야: 응\n"
    table = put(tmp_path / "train.trn", rows)
    texts = {"K_01/K_0001/K_000001": "아 칠십", "K_01/K_0001/K_000002": "몬 소리야: 응"}
    assert made(folder, "--transcripts", table) == texts
    as_said = "of 1 recordings the text is what is said of (written)/(said), without marks of noise and hesitation"
    assert capsys.readouterr().out.splitlines()[2:] == [
        "of 2 recordings NAME.pcm in the list is taken for NAME.wav",
        as_said,
    ]
    table = put(tmp_path / "t.tsv", "/data/audio/8-593-f.m4a\tयह है\n")
    assert made(folder, "--transcripts", table) == {"audio/8-593-f": "यह है"}
    assert capsys.readouterr().out.splitlines()[2:] == [
        "of 1 recordings /data/ in t.tsv is taken for " + str(folder),
        "of 1 recordings NAME.m4a in the list is taken for NAME.wav",
    ]
    table = put(tmp_path / "t.tsv", "other/8-593-f.m4a\tयह है\n")
    assert "'other/8-593-f.m4a' names no recording" in refused(
        folder, capsys, "--transcripts", table
    )


def test_a_row_of_its_own_ending_is_that_of_a_recording(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "d"
    tones(folder, "a.wav", "b.wav", "c.wav")
    rows = "a.mp3,of the mp3\na.wav,of the wav\n./b.mp3,of b\nc.m4a,\ngone.mp3,gone\n"
    table = put(folder / "metadata.csv", f"file_name,text\n{rows}")
    assert made(folder) == {"a": "of the wav", "b": "of b"}
    assert capsys.readouterr().out.splitlines()[1:] == [
        f"left out 3 of 5: 2 listed without a recording (the first is {table}:2: 'a.mp3'), 1 listed without a text "
        f"(the first is {table}:5: 'c.m4a')",
        "of 1 recordings NAME.mp3 in the list is taken for NAME.wav",
    ]


def test_a_row_that_says_the_one_above_again_is_a_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Singapore's National Speech Corpus."""
    folder = tmp_path / "d"
    tones(folder, "000010001.wav", "000010002.wav")
    rows = "\ufeff000010001\tBarrels of wine.\n\tbarrels of wine\n000010002\tI ate.\n\ti ate\n"
    table = put(tmp_path / "000010.TXT", rows)
    said = refused(folder, capsys, "--transcripts", table)
    assert (
        f"{table}:2: names no recording in its first column, before 'barrels of wine'; where such rows say the one "
        "above again, take them out: grep -v '^[[:space:]]' LIST > OTHER" in said
    )
    table.write_text("".join(line for line in rows.splitlines(True) if line[0] != "\t"))
    assert made(folder, "--transcripts", table) == {
        "000010001": "Barrels of wine.",
        "000010002": "I ate.",
    }


def test_a_picture_that_was_shown_is_no_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """TORGO; and what is to be done is no word either."""
    folder = tmp_path / "F01/Session1"
    tones(folder, "wav_headMic/0001.wav", "wav_headMic/0002.wav")
    place = put(folder / "prompts/0001.txt", "input/images/car1.jpg")
    put(folder / "prompts/0002.txt", "[say Ah]")
    told = f"{place} is the name of a file, 'input/images/car1.jpg'; write what is said as plain text, or take the"
    assert told in refused(folder, capsys)
    place.unlink()
    assert made(folder) == {"wav_headMic/0002": "[say Ah]"}
    assert capsys.readouterr().out.splitlines()[3] == (
        "of 1 recordings the text has something in brackets, such as '[say Ah]', and it is learnt as words; --brackets "
        "strip or drop leaves it out"
    )


def test_parts_of_a_corpus_are_no_speakers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """LibriSpeech by its top."""
    folder = tmp_path / "LibriSpeech"
    tones(folder, "train-clean-100/84/84-1.wav", "dev-clean/12/12-1.wav")
    for place, name in (("train-clean-100/84", "84"), ("dev-clean/12", "12")):
        put(folder / place / f"{name}.trans.txt", f"{name}-1 GO\n")
    made(folder, "--speaker", "folder")
    [_, told] = capsys.readouterr().out.splitlines()
    assert told == (
        f"the speakers are 'dev-clean', 'train-clean-100', the first folders below {folder}, which are named as the "
        f"parts of a corpus; where the folders in them are the speakers, name one, such as {folder}/dev-clean, or take "
        "--speaker prefix where the names of recordings begin with them"
    )
    made(folder, "--speaker", "prefix")
    assert "parts of a corpus" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("folders", "named"),
    [
        (("female", "male"), "genders or ages"),
        (("weiblich", "Männer"), "genders or ages"),
        (("deutsch", "français"), "languages"),
        (("de", "en"), "languages"),
        (("cmn_hans_cn", "en-US"), "languages"),
        (("german", "mls_polish"), "languages"),
        (("clean", "noisy"), "the parts of a corpus"),
        (("anna", "en"), ""),
        (("female_01", "male_01"), ""),
        (("ann_lee", "ed_wu"), ""),
    ],
)
def test_folders_that_are_no_speakers_are_named(
    tmp_path: Path, folders: tuple[str, str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "d"
    for place in folders:
        tones(folder, f"{place}/p1/1.wav")
        put(folder / place / "p1/1.txt", f"in {place}")
    made(folder, "--speaker", "folder")
    told = capsys.readouterr().out.splitlines()[1:]
    assert [line.split("which are named as ")[1].split(";")[0] for line in told] == [named] * bool(
        named
    )


@pytest.mark.parametrize(
    ("names", "named"),
    [
        (("common_voice_en_1", "common_voice_en_2"), "files"),
        (("rec-1", "Utt-2"), "files"),
        (("Aufnahme_1", "Gespräch_2"), "files"),
        (("female_1", "male_1"), "genders or ages"),
        (("train-1", "dev-2"), "the parts of a corpus"),
        (("anna_1", "anna_2"), ""),
        (("rec_1", "anna_2"), ""),
    ],
)
def test_beginnings_of_names_that_are_no_speakers_are_named(
    tmp_path: Path, names: tuple[str, str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of Common Voice was one person, `common`, without a word."""
    folder = tmp_path / "d"
    for name in names:
        tones(folder, f"{name}.wav")
        put(folder / f"{name}.txt", f"in {name}")
    made(folder, "--speaker", "prefix")
    told = capsys.readouterr().out.splitlines()[1:]
    assert [line.split("which are named as ")[1].split(";")[0] for line in told] == [named] * bool(
        named
    )


@pytest.mark.parametrize(("rule", "between"), [("prefix", "-"), ("folder", "/")])
def test_a_speaker_for_each_recording_is_told(
    tmp_path: Path, rule: str, between: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Numbered recordings of one voice were as many people."""
    folder = tmp_path / "d"
    for number in range(5):
        tones(folder, f"000{number}{between}take.wav")
        put(folder / f"000{number}{between}take.txt", f"number {number}")
    made(folder, "--speaker", rule)
    assert capsys.readouterr().out.splitlines()[1:] == [
        "each of the 5 recordings has a speaker of its own, such as '0000'; where these number recordings and are no "
        f"people, leave out --speaker {rule}"
    ]
    tones(folder, f"0000{between}again.wav")
    put(folder / f"0000{between}again.txt", "again")
    made(folder, "--speaker", rule)
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_sound_without_a_header_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = put(tmp_path / "d/K_000001.pcm", "sound")
    assert refused(tmp_path / "d", capsys).splitlines()[2] == (
        f"  {place} may be sound without a header; where it is, convert it and its like, with the rate that its corpus "
        "tells: ffmpeg -f s16le -ar 16000 -ac 1 -i IN OUT.wav"
    )


def test_lists_in_folders_below_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """AISHELL-1, whose list has a folder of its own, Golos, and names with another ending."""
    folder = tmp_path / "d"
    tones(folder, "wav/train/S1/BAC1.wav", "wav/test/S2/BAC2.wav")
    text = put(folder / "transcript/aishell_transcript_v0.8.txt", "BAC1 而 对\nBAC2 甚至\n")
    other = put(folder / "wav/test/manifest.jsonl", '{"audio_filepath": "S2/BAC2.opus"}\n')
    put(folder / "wav/train/S1/.BAC1.txt", "BAC1")
    put(folder / "wav/train/notes.txt", "nothing of them")
    assert refused(folder, capsys).splitlines()[1] == (
        f"  What names recordings and may be their list: {text}, {other}."
    )
    assert made(folder / "wav", "--transcripts", text) == {
        "train/S1/BAC1": "而 对",
        "test/S2/BAC2": "甚至",
    }


def test_a_sign_behind_brackets_stays_at_its_word() -> None:
    assert without_brackets("z. B. (Hinweis), der Patient [hustet] ist wach (leise).") == (
        "z. B., der Patient ist wach."
    )
    assert without_brackets("eh bien [rire] ! (oui [non]) .") == "eh bien ! ."
