"""`manifest from-folder` where a file may be the text of another recording, or no text."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli_project import orchestrate
from tests.test_cli_manifest import tone
from tests.test_cli_manifest_folder_corpora import made, put, refused, tones


def test_one_text_of_recordings_of_other_lengths_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "d"
    tones(folder, "train/001.wav")
    tone(folder / "test/001.wav", 2.5)
    put(folder / "text/001.txt", "of one of them")
    told = (
        f"{folder}/text/001.txt:1: cannot be what is said both in {folder}/train/001.wav, 1.0 s, and in "
        f"{folder}/test/001.wav, 2.5 s; put each text beside its own recording"
    )
    for place in (folder, folder / "train", folder / "test"):
        assert told in refused(place, capsys)


def test_copies_of_a_recording_share_its_text_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """VoiceBank-DEMAND: noisy and clean."""
    folder = tmp_path / "d"
    tones(folder, "noisy_wav/p1_1.wav", "clean_wav/p1_1.wav")
    put(folder / "trainset_txt/p1_1.txt", "please call")
    assert made(folder) == dict.fromkeys(("noisy_wav/p1_1", "clean_wav/p1_1"), "please call")
    told = (
        "the text is that of another one of the same name too, such as "
        f"{folder}/clean_wav/p1_1.wav and {folder}/noisy_wav/p1_1.wav"
    )
    assert f"of 2 recordings {told}" in capsys.readouterr().out
    assert made(folder / "clean_wav") == {"p1_1": "please call"}
    assert f"of 1 recordings {told}" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["prompts", "text_de", "lab", "scripts"])
def test_a_folder_that_may_hold_something_else_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    folder = tmp_path / "d"
    tones(folder, "wav/x.wav")
    put(folder / name / "x.txt", "hello")
    made(folder)
    told = f"of 1 recordings the text is that of its name in the folder '{name}'"
    assert capsys.readouterr().out.splitlines()[1:] == [told]


@pytest.mark.parametrize(
    "name", ["txt_old", "texts.bak", "transcripts_translated", "phonetic_transcription"]
)
def test_folders_of_other_texts_are_not_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    folder = tmp_path / "d"
    tones(folder, "wav/x.wav")
    put(folder / name / "x.txt", "other")
    assert "none of the 1 recordings" in refused(folder, capsys)
    put(folder / "txt/x.txt", "hello")
    assert made(folder) == {"wav/x": "hello"}


@pytest.mark.parametrize("name", ["gold_transcripts", "telephone_text"])
def test_folders_whose_names_look_alike_are_taken(tmp_path: Path, name: str) -> None:
    tones(tmp_path / "d", "wav/x.wav")
    put(tmp_path / "d" / name / "x.txt", "hello")
    assert made(tmp_path / "d") == {"wav/x": "hello"}


def test_a_microphone_with_a_text_of_its_own_has_that(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "d"
    tones(folder, "x_mic1.wav", "x_mic2.wav")
    put(folder / "x_mic1.txt", "one")
    put(folder / "x.txt", "all")
    assert made(folder) == {"x_mic1": "one", "x_mic2": "all"}
    assert capsys.readouterr().out.splitlines()[1:] == [
        "of 1 recordings the text is that of all microphones that heard it, and each is taken; one of them: "
        "--name '*_mic1.*'"
    ]


def test_a_name_that_some_rows_of_the_ldc_begin_with_may_be_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "d"
    tones(folder, "x.wav", seconds=4.0)
    rows = "0.5 1.0 hello there\n1.0 2.0 Warning: keep out\n2.0 3.0 Note: it is hot\n"
    text = put(folder / "x.txt", rows)
    assert f"{text} is a transcript of LDC, and line 2 begins with a name, which may be said" in (
        refused(folder, capsys)
    )
    text.write_text("".join(line.replace(" ", "\t", 2) for line in rows.splitlines(True)))
    assert set(made(folder).values()) == {"hello there", "Warning: keep out", "Note: it is hot"}


ARCTIC = "#\n0.0800 125 pau\n0.2000 125 ao\n0.3000 125 th\n"
HTK = "0 100000 sil\n100000 200000 m\n"


@pytest.mark.parametrize("labels", [ARCTIC, HTK])
def test_labels_of_sounds_in_a_folder_do_not_hide_the_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], labels: str
) -> None:
    """CMU ARCTIC."""
    folder = tmp_path / "cmu_us_bdl_arctic"
    tones(folder, "wav/a_1.wav", "wav/a_2.wav")
    for number in (1, 2):
        put(folder / f"lab/a_{number}.lab", labels)
    put(folder / "etc/txt.done.data", '( a_1 "Author of it" )\n( a_2 "no" )\n')
    assert made(folder) == {"wav/a_1": "Author of it", "wav/a_2": "no"}
    beside = put(folder / "wav/a_1.lab", labels)
    assert f"{beside} is " in refused(folder, capsys)


def test_a_list_that_is_passed_over_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "d d"
    tones(folder, "a.wav", "b.wav")
    put(folder / "a.txt", "eins")
    put(folder / "metadata.csv", "file_name,text\na.wav,one\nb.wav,two\n")
    assert made(folder) == {"a": "eins", "b": "two"}
    assert capsys.readouterr().out.splitlines()[1:] == [
        "of 1 recordings the text is a file of its name, and not a row of metadata.csv; to read that: --transcripts "
        f"'{folder}/metadata.csv'",
        "of 1 recordings the text is a row of metadata.csv, as there is no file of its name",
    ]
    assert made(folder, "--transcripts", folder / "metadata.csv") == {"a": "one", "b": "two"}


def test_a_chapter_of_librispeech_may_have_tabs(tmp_path: Path) -> None:
    tones(tmp_path / "d", "84/84-1-0.wav")
    put(tmp_path / "d/84/84-1.trans.txt", "84-1-0\tGO DO\n\n")
    assert made(tmp_path / "d") == {"84/84-1-0": "GO DO"}


@pytest.mark.parametrize("times", ["nan 1.0", "0.0 inf", "0.0", "0.0 1.0 2.0"])
def test_segments_of_kaldi_have_two_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], times: str
) -> None:
    folder = tmp_path / "d"
    tones(folder, "a.wav")
    put(folder / "wav.scp", "a a.wav\n")
    put(folder / "text", "a-1 hi\n")
    put(folder / "segments", f"a-1 a {times}\n")
    assert orchestrate("manifest", "from-kaldi", folder, tmp_path / "m.jsonl") == 2
    told = f"{folder}/segments:1: 'a {times}' is no `recording start end` in seconds"
    assert told in capsys.readouterr().err


def test_less_than_is_no_bracket(tmp_path: Path) -> None:
    tones(tmp_path / "d", "a.wav")
    put(tmp_path / "d/a.txt", "if a < b and c > d <noise> then <>")
    assert made(tmp_path / "d", "--brackets", "strip") == {"a": "if a < b and c > d then"}


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.vtt", "WEBVTT\n\nNOTE nobody spoke\n", "is WebVTT in which nothing is said"),
        (
            "a.trs",
            '<Trans><Turn startTime="0" endTime="1">hi<Sync time="nan"/>ho</Turn></Trans>',
            "a part begins at 0 s and ends at nan s",
        ),
    ],
)
def test_captions_without_cues_and_times_that_are_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str, told: str
) -> None:
    tones(tmp_path / "d", "a.wav")
    put(tmp_path / "d" / name, content)
    assert told in refused(tmp_path / "d", capsys)


def test_a_link_out_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tones(tmp_path / "d", "a.wav")
    put(tmp_path / "d/a.txt", "../e/a.txt\n")
    put(tmp_path / "e/a.txt", "hello")
    monkeypatch.chdir(tmp_path / "d")
    assert orchestrate("manifest", "from-folder", ".", "m.jsonl") == 0
    assert orchestrate("manifest", "from-folder", "../d", "n.jsonl") == 0


CUE = "1\n00:00:00,000 --> 00:00:00,800\nhello you\n"


def test_the_language_of_captions_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "d"
    tones(folder, "a.wav", "b.wav")
    put(folder / "a.en.srt", CUE)
    put(folder / "b.wav.srt", CUE)
    assert set(made(folder)) == {"a-0001", "b-0001"}
    assert capsys.readouterr().out.splitlines()[1:] == [
        "of 1 recordings the text is NAME.en.srt, in whose language they are taken to be"
    ]


@pytest.mark.parametrize("ending", ["old", "bak", "raw"])
def test_what_captions_were_is_no_language(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    tones(tmp_path / "d", "a.wav")
    put(tmp_path / f"d/a.{ending}.srt", CUE)
    assert "none of the 1 recordings" in refused(tmp_path / "d", capsys)


def test_names_before_a_few_lines_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "d"
    tones(folder, "a.wav", "b.wav")
    put(folder / "a.txt", "THE COURT: All rise.\nMR. SMITH: Yes.\nTHE COURT: Sit.\n")
    put(folder / "b.txt", "Warning: keep out\nof here\n")
    assert made(folder)["b"] == "Warning: keep out of here"
    assert capsys.readouterr().out.splitlines()[1:] == [
        "of 1 recordings every line of the text begins with what may be who speaks, and it is learnt as words"
    ]


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize(
    ("names", "told"),
    [("Agent Customer Agent Agent Customer", True), ("Agent Ann Bert Cora Dan", False)],
)
def test_a_name_before_every_text_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], names: str, told: bool, listed: bool
) -> None:
    """Of turns that were cut apart, each with its speaker, the names were learnt without a word."""
    folder = tmp_path / "d"
    said = {f"{number}": f"{name}: hello {number}" for number, name in enumerate(names.split())}
    tones(folder, *(f"{name}.wav" for name in said))
    for name, text in said.items():
        put(folder / f"{name}.txt", "" if listed else text)
    table = put(tmp_path / "l.csv", "path,text\n" + "".join(f"{n},{t}\n" for n, t in said.items()))
    assert made(folder, *(["--transcripts", table] if listed else [])) == said
    note = "all 5 texts begin with what may be who speaks, 'Agent:', 'Customer:', and it is learnt as words"
    assert capsys.readouterr().out.splitlines()[1:] == [note] * told


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize(
    ("form", "place"),
    [
        ("0.00 1.{0} say {0}", "begin"),
        ("0.00-1.{0} say {0}", "begin"),
        ("0 1{0} say {0}", "begin"),
        ("00:0{0} say {0}", "begin"),
        ("say it 0.9{0}", "end"),
        ("1{0} 0 degrees", ""),
        ("say 2.{0} miles", ""),
        ("0.{0}", ""),
    ],
)
def test_numbers_around_all_texts_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str, place: str, listed: bool
) -> None:
    """Of clips with a row of times each, or with how sure a recogniser was, these were learnt without a word."""
    folder = tmp_path / "d"
    said = {str(number): form.format(number) for number in range(5)}
    tones(folder, *(f"{name}.wav" for name in said))
    for name, text in said.items():
        put(folder / f"{name}.txt", "" if listed else text)
    table = put(tmp_path / "l.csv", "path,text\n" + "".join(f"{n},{t}\n" for n, t in said.items()))
    assert made(folder, *(["--transcripts", table] if listed else [])) == said
    notes = [line for line in capsys.readouterr().out.splitlines() if "learnt as words" in line]
    note = f"all 5 texts {place} with numbers, such as {said['0']!r}, and they are learnt as words"
    assert notes == [note] * bool(place)


def test_a_text_without_a_recording_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A recording that was not copied, or whose name differs in a sign, was missed by nobody."""
    folder = tmp_path / "d"
    tones(folder, "s/a.wav", "s/b.x_mic1.wav", "s/A1.wav", "t/c.wav")
    for name in (
        "s/a",
        "s/a.original",
        "s/b.x",
        "s/A-1",
        "s/lost",
        "s/README",
        "s/e",
        "t/c",
        "u/lost",
    ):
        put(folder / f"{name}.txt", f"said in {name.replace('/', ' ')}")
    put(folder / "s/e.m4a", "not read")
    assert set(made(folder)) == {"s/a", "s/b.x_mic1", "t/c"}
    assert capsys.readouterr().out.splitlines()[1] == (
        "left out 4 of 7: 1 without a transcript, 1 not read as sound, such as s/e.m4a, 2 .txt without a recording of "
        "its name (the first is s/A-1.txt)"
    )
