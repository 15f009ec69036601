"""Draw the sentences of the embedded corpus: general ones, and the phrases of an air-traffic
controller.

Every sentence is drawn from an explicit `random.Random`, lower case, words only, numbers spelled
out. The order of the draws is part of the corpus: changing a template or a word list changes every
sentence drawn after it. The sentences of the base model's training set are drawn again from their
seed (`make_corpus.base_utterances`), so they would then no longer be those that it was trained on.
"""

from __future__ import annotations

import random

ROOMS = "kitchen bedroom office garage hallway bathroom garden basement attic library".split()
THINGS = "lights heater fan window door curtain radio speaker camera lamp oven kettle".split()
NAMES = "maria james anna peter susan robert linda george emma oliver sarah daniel helen martin laura victor".split()
DIGITS = "zero one two three four five six seven eight nine".split()
TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
ADJECTIVES = (
    "old quiet bright heavy cold warm green yellow narrow gentle broken simple famous hungry "
    "lonely modern"
).split()
NOUNS = (
    "river mountain teacher doctor letter bridge forest castle farmer painter station market island village engine "
    "bottle picture summer winter morning evening story question answer journey shadow window garden soldier sailor"
).split()
VERBS = (
    "watched carried followed painted opened remembered visited crossed repaired forgot described measured borrowed "
    "finished counted cleaned"
).split()
ADVERBS = "slowly quickly carefully often never quietly yesterday again together suddenly".split()
PREPOSITIONS = "near behind across under beside beyond against inside around".split()
DAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
SPELLING = (
    "alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike november oscar papa quebec romeo "
    "sierra tango uniform victor whiskey yankee zulu"
).split()
AIRLINES = "speedbird lufthansa cessna united delta shamrock easy swiss cactus piper".split()


def number(rng: random.Random, top: int = 99) -> str:
    """Draw a whole number from 0 to `top` (at most 99), in words: "forty two"."""
    n = rng.randint(0, top)
    if n < 20:
        return (DIGITS + TEENS)[n]
    tens, units = divmod(n, 10)
    return TENS[tens - 2] + (f" {DIGITS[units]}" if units else "")


def digits(rng: random.Random, count: int) -> str:
    """Draw `count` digits, read one by one: "four two zero"."""
    return " ".join(rng.choice(DIGITS) for _ in range(count))


def general(rng: random.Random) -> str:
    """Draw a sentence of the kind the base model mostly heard: house commands, stories, sums."""
    c = rng.choice
    template = c(
        [
            lambda: f"turn {c(['on', 'off', 'up', 'down'])} the {c(THINGS)} in the {c(ROOMS)}",
            lambda: f"set the {c(ROOMS)} {c(THINGS)} to {number(rng)} percent",
            lambda: (
                f"remind me to call {c(NAMES)} on {c(DAYS)} at {number(rng, 12)} {c(['thirty', 'fifteen', 'o clock'])}"
            ),
            lambda: f"the {c(ADJECTIVES)} {c(NOUNS)} {c(VERBS)} the {c(ADJECTIVES)} {c(NOUNS)}",
            lambda: (
                f"{c(NAMES)} {c(VERBS)} the {c(NOUNS)} {c(PREPOSITIONS)} the {c(NOUNS)} {c(ADVERBS)}"
            ),
            lambda: f"{c(ADVERBS)} the {c(NOUNS)} {c(VERBS)} a {c(ADJECTIVES)} {c(NOUNS)}",
            lambda: f"my number is {digits(rng, rng.randint(4, 7))}",
            lambda: f"what is {number(rng)} {c(['plus', 'minus', 'times'])} {number(rng)}",
            lambda: (
                f"is the {c(NOUNS)} {c(PREPOSITIONS)} the {c(NOUNS)} {c(ADJECTIVES)} or {c(ADJECTIVES)}"
            ),
            lambda: f"play the {c(NOUNS)} song for {c(NAMES)} and {c(NAMES)}",
            lambda: (
                f"{c(NAMES)} said that the {c(NOUNS)} was {c(ADJECTIVES)} and {c(ADJECTIVES)} on {c(DAYS)}"
            ),
            lambda: (
                f"send {number(rng)} {c(NOUNS)}s to the {c(NOUNS)} {c(PREPOSITIONS)} the {c(ADJECTIVES)} {c(NOUNS)}"
            ),
        ]
    )
    return template()


def air_traffic(rng: random.Random) -> str:
    """Draw an instruction of an air-traffic controller: a call sign, then what to do."""
    c = rng.choice
    if rng.random() < 0.6:
        call_sign = f"{c(AIRLINES)} {digits(rng, c([2, 3]))}"
    else:
        call_sign = f"{c(AIRLINES)} {c(SPELLING)} {c(SPELLING)}"
    instruction = c(
        [
            lambda: f"turn {c(['left', 'right'])} heading {digits(rng, 3)}",
            lambda: f"{c(['climb', 'descend'])} and maintain flight level {digits(rng, 3)}",
            lambda: (
                f"contact {c(['tower', 'ground', 'approach', 'departure'])} "
                f"on {digits(rng, 3)} decimal {digits(rng, 2)}"
            ),
            lambda: (
                f"cleared to land runway {digits(rng, 2)} {c(['left', 'right', 'center'])} "
                f"wind {digits(rng, 3)} at {number(rng, 30)} knots"
            ),
            lambda: f"taxi to holding point {c(SPELLING)} via {c(SPELLING)} and {c(SPELLING)}",
            lambda: f"squawk {digits(rng, 4)}",
            lambda: f"hold short of runway {digits(rng, 2)}",
            lambda: f"reduce speed to {digits(rng, 3)} knots",
        ]
    )
    return f"{call_sign} {instruction()}"


def mostly_general(rng: random.Random) -> str:
    """Draw a sentence of the base model's training set: 85 % general, 15 % air traffic."""
    return general(rng) if rng.random() < 0.85 else air_traffic(rng)
