"""Text files named like a recording that hold no transcript of it, such as check sums, descriptions
of the speaker, or phones: they are recognised and refused.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.corpus.importing.no_speech import what_is_no_speech
from tests.test_cli_manifest_folder_corpora import put, refused, tones


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("d41d8cd98f00b204e9800998ecf8427e  x.wav\n", "a check sum"),
        ("Speaker: Anna, 34\nGender: F\nLanguage: English", "a description of a recording"),
        ("Sprecher: Anna, 34\nGeschlecht: w\nSprache: Deutsch", "a description of a recording"),
        ("Locutrice : Anna\nÂge : 34\n", "a description of a recording"),
        ("Text:  HELLO THERE\nConf: 5\n\nWORD START END\n", "a description of a recording"),  # LRS3
        ("HH AH0 L OW1", "sounds (phones)"),
        ("hh ah l ow w er l d", "sounds (phones)"),
        ("sil h @ l ou sil", "sounds (phones)"),
    ],
)
def test_what_is_no_speech(text: str, what: str) -> None:
    assert what_is_no_speech(text) == what


@pytest.mark.parametrize(
    "text",
    [
        "uh ah er uh",
        "B D F G",
        "T S A",
        "uh l ah",
        "Note: use gloves\nWarning: it is hot",
        "Title: the lark\nshe sang",
        "Date: of birth",
        "d41d8cd9 is the key",
        "speaker one said so\ngender: is a word",
        "Alter: das war gut\nda ging es los",
        "sil onu sil",
        "# la la la la #",
        "ah oh yeah m",
    ],
)
def test_what_may_be_said(text: str) -> None:
    assert not what_is_no_speech(text)


def test_it_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tones(tmp_path / "d", "x.wav")
    text = put(tmp_path / "d/x.txt", "Speaker: Anna\nAge: 34\n")
    assert f"{text} is a description of a recording; write what is said as plain text" in refused(
        tmp_path / "d", capsys
    )
