"""What a clip is expected to say: the tokens that are fed to the decoder ahead of what it has said,
to be verified all in one pass.
"""

from __future__ import annotations

from collections.abc import Sequence

LOOKAHEAD = 5
"""Draft tokens proposed a round after the first mismatch; more costs arithmetic, fewer costs
rounds.
"""
SHIFT = 8
"""So many tokens may have been inserted or left out where a draft is lined up again."""


class Draft:
    """The tokens that one clip is expected to give, and how many of them are worth proposing.

    It changes how long decoding takes and never what is decoded.
    """

    def __init__(self, tokens: Sequence[int]) -> None:
        self.tokens = tokens
        self._reach = LOOKAHEAD
        self._next: Sequence[int] = ()
        self._proposed = 0

    def propose(self, out: Sequence[int]) -> list[int]:
        """What comes next after the tokens `out`: all of the draft at first, later as many tokens
        from where it lines up with the end of `out` as were right of late.
        """
        if not out:
            self._next, self._proposed = self.tokens, len(self.tokens)
        else:
            place = self._place_after(out)
            self._next = self.tokens[place : place + LOOKAHEAD + 1]
            self._proposed = min(self._reach, len(self._next))
        return list(self._next[: self._proposed])

    def judge(self, said: Sequence[int]) -> None:
        """Learn from what the model said at the last token of `out` and at each proposed one.

        A draft that was right as far as it went is trusted again, one that was not half as far; one
        that is not proposed at all is still compared with the token that came.
        """
        right = 0
        while right < min(len(said), len(self._next)) and said[right] == self._next[right]:
            right += 1
        trusted = right > 0 and right >= self._proposed
        self._reach = LOOKAHEAD if trusted else min(LOOKAHEAD, max(right, self._reach // 2))

    def _place_after(self, out: Sequence[int]) -> int:
        """The place in the draft after the one nearest to the end of `out` where its last two tokens
        (or the last one) stand, or after the same position where neither does.
        """
        tokens, last = self.tokens, len(out) - 1
        near = range(max(0, last - SHIFT), min(len(tokens), last + SHIFT + 1))
        places = [place for place in near if tokens[place] == out[-1]]
        pairs = [place for place in places if place and last and tokens[place - 1] == out[-2]]
        return 1 + min(pairs or places or [last], key=lambda place: abs(place - last))
