"""Texts and names that two systems write differently are the same: composed and decomposed letters,
spaces that are not plain, folders divided as on Windows.
"""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.corpus.manifests.manifest import load_manifest
from orchestrator.corpus.manifests.unicode_forms import in_one_line
from tests.cli_project import orchestrate
from tests.test_cli_manifest import tone

NFC, NFD = (unicodedata.normalize(form, "Müller") for form in ("NFC", "NFD"))


def texts(out: Path) -> list[str]:
    return sorted(each.text for each in load_manifest(out).utterances)


def written(path: Path, *rows: dict[str, str]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


@given(st.text())
def test_one_line_has_single_plain_spaces(text: str) -> None:
    line = in_one_line(text)
    assert line == " ".join(line.split()) and in_one_line(line) == line
    assert unicodedata.is_normalized("NFC", line)
    assert "".join(line.split()) == "".join(unicodedata.normalize("NFC", text).split())


@pytest.mark.parametrize("space", ["\u00a0", "\u202f", "\u3000", "\t", "\r\n", "  ", "\u2028"])
def test_a_space_of_another_kind_is_a_space(tmp_path: Path, space: str) -> None:
    tone(tmp_path / "0.wav")
    path = written(tmp_path / "m.jsonl", {"audio": "0.wav", "text": f"3,5{space}mg"})
    assert texts(path) == ["3,5 mg"]
    table = tmp_path / "m.csv"
    table.write_bytes(f'audio,text\n0.wav,"3,5{space}mg"\n'.encode())
    assert texts(table) == ["3,5 mg"]


@pytest.mark.parametrize(("file", "other"), [(NFC, NFD), (NFD, NFC)])
def test_a_transcript_is_found_under_the_other_spelling(
    tmp_path: Path, file: str, other: str
) -> None:
    folder, out = tmp_path / "rec", tmp_path / "m.jsonl"
    tone(folder / f"{file}.wav")
    (folder / f"{other}.txt").write_text("hello")
    assert orchestrate("manifest", "from-folder", folder, out) == 0
    assert texts(out) == ["hello"]
    table = tmp_path / "list.csv"
    table.write_text(f"file,text\n{other}.wav,good day\n")
    again = tmp_path / "again.jsonl"
    assert orchestrate("manifest", "from-folder", folder, again, "--transcripts", table) == 0
    assert texts(again) == ["good day"]


def test_a_transcript_in_a_folder_of_texts_is_found_under_the_other_spelling(
    tmp_path: Path,
) -> None:
    folder, out = tmp_path / "corpus", tmp_path / "m.jsonl"
    tone(folder / "wav" / f"{NFD}.wav")
    (folder / "txt").mkdir()
    (folder / "txt" / f"{NFC}.txt").write_text("hello")
    assert orchestrate("manifest", "from-folder", folder, out) == 0
    assert texts(out) == ["hello"]


def test_a_speaker_is_one_person_in_both_spellings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = []
    for index, name in enumerate((NFC, NFD, NFC)):
        tone(tmp_path / f"{index}.wav", pitch=500.0 + 100 * index)
        rows.append({"audio": f"{index}.wav", "text": f"{name} {index}", "speaker": name})
    path = written(tmp_path / "m.jsonl", *rows)
    assert {each.speaker for each in load_manifest(path).utterances} == {NFC}
    for number, pattern in enumerate((NFC, NFD)):
        out = tmp_path / f"out{number}.jsonl"
        assert orchestrate("manifest", "filter", path, out, "--text", pattern) == 0
        assert len(load_manifest(out).utterances) == 3
    assert orchestrate("manifest", "filter", path, tmp_path / "none", "--without-text", NFD) == 2
    assert "nothing of" in capsys.readouterr().err


@pytest.mark.parametrize("root", ["", "Station\\", "C:\\Diktate\\", ".\\"])
def test_a_list_of_windows_is_read(tmp_path: Path, root: str) -> None:
    folder, out = tmp_path / "rec", tmp_path / "m.jsonl"
    inside = folder / "Station" if root == "Station\\" else folder
    tone(inside / "k1.wav")
    tone(inside / "k2.wav")
    table = tmp_path / "list.csv"
    table.write_text(f"file,text\n{root}k1.wav,one\n{root}k2.wav,two\n")
    assert orchestrate("manifest", "from-folder", folder, out, "--transcripts", table) == 0
    assert texts(out) == ["one", "two"]


@pytest.mark.parametrize("ending", ["dss", "ds2", "MP2", "spx", "wv"])
def test_a_file_of_a_dictation_machine_is_not_lost_without_a_word(
    tmp_path: Path, ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "rec"
    tone(folder / "one.wav").with_suffix(".txt").write_text("one")
    (folder / f"two.{ending}").write_bytes(b"\2dss" + bytes(300))
    (folder / "two.txt").write_text("two")
    assert orchestrate("manifest", "from-folder", folder, tmp_path / "m.jsonl") == 0
    assert f"1 not read as sound, such as two.{ending}" in capsys.readouterr().out


def test_a_converted_recording_keeps_its_transcript(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "rec", tmp_path / "m.jsonl"
    tone(folder / "one.wav").rename(folder / "one.m4a.wav")
    (folder / "one.m4a").write_bytes(b"\0\0\0\x1cftypM4A ")
    (folder / "one.txt").write_text("one")
    assert orchestrate("manifest", "from-folder", folder, out) == 0
    assert texts(out) == ["one"]
    assert "not read" not in capsys.readouterr().out
