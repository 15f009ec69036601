"""Texts in scripts without spaces between words: a WER of them counts whole sentences as words, and
the checks say so.
"""

from __future__ import annotations

import pytest

from orchestrator.corpus.sets.unspaced_scripts import without_spaces


@pytest.mark.parametrize(
    ("texts", "unspaced"),
    [
        (["左转航向保持高度", "可以着陆"], True),
        (["左 转 航 向", "可 以 着 陆"], False),
        (["左转 航向 保持 高度"], False),
        (["着陸を許可します。", "滑走路の外で待機"], True),
        (["ขออนุญาตลงจอดที่สนามบิน"], True),
        (["ขอ อนุญาต ลงจอด ที่ สนามบิน"], False),
        (["좌회전 후 고도를 유지하십시오"], False),
        (["turn left", "maintain altitude", "左转"], False),
        (["प्राचीन संस्कृतियों"], False),
        ([""], False),
        (["12 34"], False),
    ],
)
def test_stretches_longer_than_words(texts: list[str], unspaced: bool) -> None:
    assert without_spaces(texts) is unspaced
