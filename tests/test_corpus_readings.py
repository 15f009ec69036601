"""Transcripts that also give the pronunciation of words: pinyin is taken out, and nothing else."""

from __future__ import annotations

import pytest

from orchestrator.corpus.importing.readings import without_pinyin, without_readings


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("广 guang3 州 zhou1 女 nv3", "广 州 女"),
        ("玩儿 wanr2 熊 xiong2 嗯 ng4", "玩儿 熊 嗯"),
        ("型号 a1 型号 b2 型号 c3", None),
        ("听 mp3 看 mp4 用 h264", None),
        ("привет go4 да ma3 нет na2", None),
        ("広 ka1 い", None),
    ],
)
def test_pinyin_behind_each_word(text: str, words: str | None) -> None:
    assert without_pinyin(text) == (words or text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("绿 是\nlv4 shi4\nl v4 sh ix4", "绿 是"),
        ("第一行\nmp3 mp4 h264", None),
        ("привет\nma3 na4", None),
        ("café\ngo4 to2", None),
    ],
)
def test_pinyin_below_words(text: str, words: str | None) -> None:
    assert without_readings(text) == (words or text)
