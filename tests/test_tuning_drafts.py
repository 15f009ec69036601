"""Drafts of speculative decoding: whatever a draft proposes, the transcript is the model's own, and
a draft that is wrong is soon given up.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.tuning.decoding.decoding_rows import accept_tokens
from orchestrator.tuning.decoding.drafts import LOOKAHEAD, Draft

END = 2
WORDS = st.lists(st.integers(3, 9), max_size=20)


def decode(said: list[int], draft: Draft) -> tuple[list[int], int, int]:
    """What is decoded from a model that says `said`, in how many rounds, and how many tokens were
    fed.
    """
    text = [*said, END]
    out: list[int] = []
    rounds = fed = 0
    done = False
    while not done:
        proposed = draft.propose(out)
        rounds, fed = rounds + 1, fed + 1 + len(proposed)
        # after a token that it would not have said itself, a model may say anything
        argmax = []
        for place in range(len(proposed) + 1):
            before = proposed[:place]
            right = before == text[len(out) : len(out) + place]
            argmax.append(text[len(out) + place] if right and len(out) + place < len(text) else 1)
        done = accept_tokens(out, proposed, argmax, len(text), frozenset({END}))
        draft.judge(argmax)
    return out, rounds, fed


@given(WORDS, WORDS)
def test_any_draft_ends_in_what_the_model_says(said: list[int], expected: list[int]) -> None:
    out, rounds, _ = decode(said, Draft(expected))
    assert out == [*said, END]
    assert rounds <= len(out)


@given(WORDS)
def test_a_draft_that_is_right_takes_one_round(said: list[int]) -> None:
    assert decode(said, Draft(said)) == ([*said, END], 1, 1 + len(said))


@given(WORDS, st.lists(st.integers(10, 19), max_size=20))
def test_a_draft_that_is_never_right_is_given_up(said: list[int], expected: list[int]) -> None:
    _, rounds, fed = decode(said, Draft(expected))
    assert rounds == len(said) + 1
    assert fed <= len(expected) + len(said) + 1 + 2 + 1


@given(st.lists(st.integers(3, 99), min_size=12, max_size=12, unique=True), st.integers(0, 3))
def test_a_draft_that_was_given_up_is_taken_again_where_it_holds(
    said: list[int], left_out: int
) -> None:
    """The first words are others, and some are missing; the rest is as expected."""
    expected = [100, 101, 102, *said[3 + left_out :]]
    _, rounds, _ = decode(said, Draft(expected))
    assert rounds <= 3 + left_out + 1 + -(-(len(said) - 3 - left_out) // (LOOKAHEAD + 1)) + 2
