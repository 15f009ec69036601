"""Texts in scripts without spaces between words: a WER of them counts whole sentences as words, and
the checks say so.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from orchestrator.corpus.manifests.manifest import load_manifest
from orchestrator.corpus.sets.diagnosis import check_sets
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


def test_an_evaluation_set_without_spaces_is_said(tmp_path: Path) -> None:
    sets = {}
    for number, (name, text) in enumerate(
        (("train", "可以着陆"), ("domain", "左转航向"), ("heldout", "turn left"))
    ):
        soundfile.write(
            tmp_path / f"{name}.wav", np.random.default_rng(number).normal(0, 0.1, 8000), 16000
        )
        path = tmp_path / f"{name}.jsonl"
        path.write_text(json.dumps({"audio": f"{name}.wav", "text": text}))
        sets[name] = load_manifest(path)
    found = check_sets(sets, max_seconds=20)
    said = [each.message for each in found if each.name == "no-spaces"]
    assert len(said) == 1 and said[0].startswith(
        "the references of domain are written without spaces between words"
    )
