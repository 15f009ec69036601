"""`manifest from-folder` where names differ in capitals alone, as Windows and macOS do not tell them apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_cli_manifest_folder_corpora import made, put, tones

CUES = "1\n00:00:00,100 --> 00:00:00,900\nhello there\n"
GRID_TABLE = "start,end,text\n0.1,0.9,hello there\n"
WHISPER = '{"segments": [{"start": 0.1, "end": 0.9, "text": "hello there"}]}'


@pytest.mark.parametrize(
    ("recording", "text", "content"),
    [
        ("REC1.WAV", "rec1.txt", "hello there"),
        ("Rec1.wav", "REC1.Txt", "hello there"),
        ("rec1.wav", "rec1.Srt", CUES),
        ("rec1.wav", "Rec1.VTT", f"WEBVTT\n\n{CUES}"),
        ("rec1.wav", "rec1.JSON", WHISPER),
        ("rec1.wav", "rec1.CSV", GRID_TABLE),
        ("rec1.wav", "REC1.TSV", GRID_TABLE.replace(",", "\t")),
        ("rec1.wav", "rec1.STM", "rec1 1 anna 0.1 0.9 <o> hello there\n"),
        ("rec1_mic2.wav", "Rec1.txt", "hello there"),
        ("wav/rec1.wav", "txt/Rec1.TXT", "hello there"),
    ],
)
def test_a_text_in_other_capitals_is_that_of_its_recording(
    tmp_path: Path, recording: str, text: str, content: str
) -> None:
    """It was left out as one without a transcript."""
    folder = tmp_path / "d"
    tones(folder, recording)
    put(folder / text, content)
    assert list(made(folder).values()) == ["hello there"]


def test_a_list_in_other_capitals_names_its_recordings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its rows were counted as listed without a recording, or all were refused."""
    folder = tmp_path / "d"
    tones(folder, "A.WAV", "b.wav", "Sub/C.wav", "D.wav")
    rows = "file,text\na.wav,hello\nB,there\n.\\sub\\c.mp3,well\nd.wav,not here\nD.wav,here\nx.wav,\nb.WAV,\n"
    put(folder / "metadata.csv", rows)
    assert made(folder) == {"A": "hello", "b": "there", "Sub/C": "well", "D": "here"}
    said = capsys.readouterr().out
    assert f"1 listed without a recording (the first is {folder}/metadata.csv:5: 'd.wav')" in said


def test_what_capitals_alone_tell_apart_is_of_another_recording(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "d"
    tones(folder, "a.wav", "A.wav", "wav/b.wav", "wav/B.wav", "c.wav")
    if len(list(folder.glob("?.wav"))) < 3:
        pytest.skip("the file system does not tell capitals apart")
    for name in ("a.txt", "txt/b.txt"):
        put(folder / name, "hello there")
    for name in ("C.txt", "C.Txt"):
        put(folder / name, "which one")
    assert made(folder) == {"a": "hello there", "wav/b": "hello there"}
    assert (
        "left out 5 of 7: 3 without a transcript, 2 .txt without a recording"
        in capsys.readouterr().out
    )
    put(folder / "metadata.csv", "file,text\nA.WAV,which one\nwav/B.wav,hello\n")
    assert made(folder, "--transcripts", folder / "metadata.csv") == {
        "A": "which one",
        "wav/B": "hello",
    }
