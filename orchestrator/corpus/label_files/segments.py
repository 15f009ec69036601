"""A part of a recording with what is said in it, whichever format tells it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

NAME = r"[^\W\d_][\w.'-]*(?: [\w.'-]+){0,3}"
"""A regular expression for how people and programs name a speaker before what is said."""

SPEAKER = (
    "(?:speaker|spkr?|guest|person|voice|sprecher(?:in)?|gast|locuteur|locutrice|intervenante?|hablante|locutora?|"
    "oradora?|interlocutora?|falante|parlante|oratore|interlocutore|spreker|talare|taler|puhuja|mówca|mluvčí|konuşmacı|"
    "спикер|говорящий|диктор|说话人|发言人|發言人|話者|화자|참석자)"
)
"""A regular expression for the word that programs put before the number of a speaker, in the language of who uses
them; for small letters and capitals it is compiled with IGNORECASE.
"""

COUNTED = rf"{SPEAKER}[ _#-]*\d+"
"""A regular expression for how programs count speakers: `SPEAKER_01`, `Speaker #1`, `Sprecher 2`."""

COLON = r"(?:\s?:|：)"
"""A regular expression for the colon behind a speaker: in French with a space before it, in Chinese a wide one."""

ROLES = frozenset(
    (
        "agent customer client operator caller callee user bot assistant doctor patient "
        "interviewer interviewee teacher student child adult "
        "kunde kundin berater beraterin anrufer anruferin arzt ärztin patientin interviewerin befragter befragte "
        "lehrer lehrerin schüler schülerin kind agente cliente opérateur opératrice conseiller conseillère médecin "
        "patiente enquêteur enquêtrice élève enfant operador operadora médico médica paciente entrevistador "
        "entrevistadora entrevistado entrevistada profesor profesora alumno alumna operatore operatrice paziente "
        "intervistatore intervistatrice klant medewerker arts patiënt asiakas lääkäri potilas haastattelija "
        "haastateltava агент клиент оператор врач пациент "
        "man woman boy girl mann frau homme femme hombre mujer uomo donna homem mulher мужчина женщина"
    ).split()
)
"""What people in a conversation are, as speakers and tiers are named after them where their names are not told, in
several languages.
"""

NUMBERED = rf"{SPEAKER}|(?:{SPEAKER}|{'|'.join(sorted(ROLES))})(?:[ _#-]*\d{{1,2}}|[ _#-]+[^\W\d_])"
"""A regular expression for how programs and people count those who speak in one recording: `SPEAKER_01`, `speaker#1`,
`Guest-2`, `Speaker A`, and `Guest` where there is one of them.
"""

UNTIL = "(?:to|bis|jusqu'à|à|a|al|hasta|até|tot|до)"
"""A regular expression for the word between the start and the end of a span, in several languages."""

SHORTEST_WORD = 50
"""Milliseconds, which a part in which a word is said lasts at least."""

_UNSPOKEN = ("ignore_time_segment_in_scoring", "inter_segment_gap")
"""What stands in an STM, in small letters or in capitals, where nothing is to be scored."""


@dataclass(frozen=True)
class Segment:
    """What is said in a part of a recording, and the line of the file that tells it."""

    line: int
    begin: float
    """Seconds, as `end` is."""
    end: float
    text: str
    recording: str = ""
    """The name of the recording; empty where the file is about the one recording that it lies
    beside.
    """
    speaker: str = ""
    before: str = ""
    """What stood before the words without being said: the name of the speaker, a dash or >>."""
    channel: str = ""
    """The channel of a recording of several, where the file tells it."""


def is_unspoken(text: str) -> bool:
    """Whether a text is the mark of a part that is not to be scored."""
    return text.strip().casefold() in _UNSPOKEN


def seconds(time: str) -> float:
    """Return the seconds of a clock such as `0:01:02,500`, or of a number such as `62.5`."""
    total = 0.0
    for part in time.replace(",", ".").split(":"):
        total = 60 * total + float(part)
    return total
