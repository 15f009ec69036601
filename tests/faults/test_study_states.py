"""A study as a state machine, for a moment and for long. `make soak` goes on with it."""

from __future__ import annotations

import pytest

from tests.faults.study_states import explore


def test_a_study_keeps_its_word() -> None:
    explore(3, 5, derandomize=True)


@pytest.mark.slow
def test_a_study_keeps_its_word_for_long() -> None:
    explore(40, 14, print_blob=True)
