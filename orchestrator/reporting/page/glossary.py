"""The meaning of the terms on the page, which is shown beside each term and as a list at
the end.
"""

from __future__ import annotations

GLOSSARY: dict[str, tuple[str, str]] = {
    "wer": (
        "WER",
        "Word error rate: wrong, missing and added words, over all words that were said. Lower is better.",
    ),
    "cer": ("CER", "Character error rate: the same counted in characters, spaces included."),
    "points": (
        "points",
        "A change between two rates in percent: from 12.5 % to 11.5 % is -1.00 points.",
    ),
    "verdict": (
        "verdict",
        "ACCEPT: the winner shows all that the sweep file asks. REJECT: something asked for does not hold. "
        "INCONCLUSIVE: the data cannot tell, or no trial kept the guardrails.",
    ),
    "baseline": (
        "baseline",
        "The model before any training, measured with exactly the same evaluation.",
    ),
    "domain": ("domain", "The speech that the model is to get better at."),
    "heldout": ("held-out", "General speech that the model must not get worse at."),
    "guardrail": (
        "guardrail",
        "A limit that must not be broken: a trial that breaks it is stopped and never wins.",
    ),
    "acceptance": ("acceptance", "What the winner must show for the sweep to be accepted."),
    "trial": ("trial", "One training with one setting of the searched parameters."),
    "winner": (
        "winner",
        "The best trial that keeps every guardrail; where finalists were confirmed, on the confirm sets.",
    ),
    "rung": ("rung", "A step at which a trial is measured, and stopped if it breaks a guardrail."),
    "step": ("step", "One update of the weights by the optimizer."),
    "scale": (
        "adapter scale",
        "What the learnt change of the weights is multiplied by after training; smaller changes less of the model.",
    ),
    "confirm": (
        "confirm sets",
        "Speech that the search never read. Finalists are trained again with fresh seeds and measured on it.",
    ),
    "seed": (
        "seed",
        "The start of the random numbers: another seed is another run of the same recipe.",
    ),
    "optimism": (
        "optimism",
        "By how much the search flattered a finalist: its gain there less its confirmed gain.",
    ),
    "bounds": (
        "95 % bounds",
        "Where the true change lies with 95 % confidence each way, from comparing the same utterances or speakers.",
    ),
    "data": (
        "the data",
        "Proven: the bounds lie wholly on one side of the limit. Undecided: the limit is within them.",
    ),
    "holds": ("holds", "Whether the measured number keeps the limit, literally."),
    "feasible": (
        "keeps the guardrails",
        "Every guardrail was measured and holds. Only such trials can win.",
    ),
    "state": (
        "state",
        "COMPLETE: trained to its end, with every guardrail kept. PRUNED: ended by a rule or a person, see its reason. "
        "FAIL: ended by an error.",
    ),
    "COMPLETE": (
        "COMPLETE",
        "The trial was trained to its last step, and keeps every guardrail.",
    ),
    "PRUNED": (
        "PRUNED",
        "A guardrail, an early stop, the wall clock or a person ended the trial, or it broke a guardrail at its last "
        "step; its reason says which.",
    ),
    "FAIL": (
        "FAIL",
        "The trial ended by an error, such as a loss that is not finite; its reason says which.",
    ),
    "RUNNING": ("RUNNING", "The trial is still trained."),
    "reproduces": ("reproduces", "This seed alone keeps every limit."),
    "caps": (
        "cap hits",
        "Transcripts that reached their greatest length without an end: the model did not stop.",
    ),
    "loops": ("loops", "Transcripts that end in a phrase repeated again and again."),
    "substitution": (
        "substitution",
        "Another word was heard in the place of the one that was said.",
    ),
    "deletion": ("deletion", "A word that was said and not heard."),
    "insertion": ("insertion", "A word that was heard and not said."),
    "importance": (
        "parameter importance",
        "Share of the spread of the trials' ranks that the parameter explains alone. With few trials it is a hint.",
    ),
}
"""Key of each term -> the term and its meaning."""

HEADINGS: dict[str, str] = {
    "trial": "trial",
    "state": "state",
    "step": "step",
    "scale": "scale",
    "keeps the guardrails": "feasible",
    "limit": "guardrail",
    "baseline %": "baseline",
    "baseline WER %": "baseline",
    "baseline CER %": "baseline",
    "change": "points",
    "holds": "holds",
    "95 % bounds of the change": "bounds",
    "the data": "data",
    "seed": "seed",
    "reproduces": "reproduces",
    "WER %": "wer",
    "CER %": "cer",
    "cap hits": "caps",
    "loops": "loops",
}
"""Heading of a table's column -> the key of its term in the glossary."""
