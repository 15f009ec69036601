"""Every input that ever told something new about sweep files and manifests, each answered in words;
and a few that nobody has seen.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.faults.fuzzing import BROKEN, TARGETS, Fuzzer, Target, kept


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_the_corpus_is_answered_in_words(target: Target, tmp_path: Path) -> None:
    fuzzer = Fuzzer(target, tmp_path, random.Random(0))
    assert len(kept(target)) > 50
    assert [line for line in fuzzer.known if line.startswith(BROKEN)] == []


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_an_error_that_is_no_refusal_is_noticed(target: Target, tmp_path: Path) -> None:
    def fails(path: Path) -> None:
        raise KeyError("text")

    broken = Target(target.name, target.file, fails, target.refuses, (b"x",))
    fuzzer = Fuzzer(broken, tmp_path, random.Random(0))
    assert fuzzer.known == {f"{BROKEN}: KeyError: 'text'"}


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_a_minute_of_new_inputs(target: Target, tmp_path: Path) -> None:
    fuzzer = Fuzzer(target, tmp_path, random.Random(11))
    for answer, data in fuzzer.news(time.monotonic() + 60):
        assert not any(line.startswith(BROKEN) for line in answer), (data, answer)
