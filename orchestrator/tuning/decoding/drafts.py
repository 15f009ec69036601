"""Drafts: the tokens that a clip is expected to give. They are fed to the decoder ahead, so that it
verifies many of them in one pass.
"""

from __future__ import annotations

from collections.abc import Sequence

LOOKAHEAD = 5
"""The most draft tokens that are proposed in a round after the first mismatch. More would cost
arithmetic, fewer would cost rounds.
"""
SHIFT = 8
"""How many tokens may have been inserted or left out for a draft to be aligned again."""


class Draft:
    """The tokens that one clip is expected to give, and how many of them are worth proposing now.

    A draft changes how long decoding takes, never what is decoded.
    """

    def __init__(self, tokens: Sequence[int]) -> None:
        self.tokens = tokens
        self._reach = LOOKAHEAD  # how many tokens the next round may propose
        self._next: Sequence[int] = ()  # the tokens that the last round expected
        self._proposed = 0  # how many of them it proposed

    def propose(self, out: Sequence[int]) -> list[int]:
        """Return the tokens that are expected after `out`: the whole draft at first. Later it is
        aligned with the end of `out`, and as many of the tokens from there are proposed as `judge`
        found worth it.
        """
        if not out:
            self._next, self._proposed = self.tokens, len(self.tokens)
        else:
            place = self._place_after(out)
            # one more than can be proposed: `judge` compares it with the token after the proposed
            self._next = self.tokens[place : place + LOOKAHEAD + 1]
            self._proposed = min(self._reach, len(self._next))
        return list(self._next[: self._proposed])

    def judge(self, said: Sequence[int]) -> None:
        """Adapt the number of proposed tokens to what the model `said` after the last token of
        `out` and after each proposed one.

        It becomes LOOKAHEAD where all proposed tokens were right; else the number that was right,
        but at least half of what it was. A draft of which nothing is proposed is still compared
        with the token that the model gave, so it is proposed again once it is right.
        """
        right = 0
        while right < min(len(said), len(self._next)) and said[right] == self._next[right]:
            right += 1
        trusted = right > 0 and right >= self._proposed
        self._reach = LOOKAHEAD if trusted else min(LOOKAHEAD, max(right, self._reach // 2))

    def _place_after(self, out: Sequence[int]) -> int:
        """Return the index in the draft at which it continues `out`: after the last two tokens of
        `out`, or after its last one, where they stand nearest to the same position in the draft;
        where neither does, after that position.
        """
        tokens, last = self.tokens, len(out) - 1
        near = range(max(0, last - SHIFT), min(len(tokens), last + SHIFT + 1))
        places = [place for place in near if tokens[place] == out[-1]]
        pairs = [place for place in places if place and last and tokens[place - 1] == out[-2]]
        return 1 + min(pairs or places or [last], key=lambda place: abs(place - last))
