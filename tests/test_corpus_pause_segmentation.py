"""Long recordings are cut in their pauses, into pieces that a model takes, and nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.corpus.recordings.pause_segmentation import split_at_pauses

RATE = 16_000


@pytest.mark.parametrize("seconds", [10.0, 30.0, 30.01, 31.0, 44.0, 61.0, 300.0])
@pytest.mark.parametrize("kind", ["noise", "silence"])
def test_pieces_are_the_whole_and_none_is_too_long_or_too_short(seconds: float, kind: str) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, int(seconds * RATE)).astype(np.float32)
    samples = samples * np.float32(kind == "noise")
    found = split_at_pauses(samples, 30 * RATE)
    np.testing.assert_array_equal(np.concatenate(found), samples)
    lengths = [len(each) / RATE for each in found]
    assert max(lengths) <= 30 and (len(lengths) == 1) == (seconds <= 30)
    assert all(length >= 7 for length in lengths[-1:]) and all(
        length >= 14.9 for length in lengths[:-1]
    )


def test_the_cut_is_in_the_pause() -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 50 * RATE).astype(np.float32)
    samples[int(21.0 * RATE) : int(21.3 * RATE)] *= 0.01
    first, _ = split_at_pauses(samples, 30 * RATE)
    assert 21.0 < len(first) / RATE < 21.3
