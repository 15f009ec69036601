"""What one text of a folder alone does not tell, and all of them together do: whether texts are written with the
names of their recordings, and whether Korean ones are in the notation of ETRI. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from orchestrator.corpus.importing.own_names import (
    is_surely_an_id,
    looks_like_an_id,
    without_own_name,
)
from orchestrator.corpus.importing.readings import (
    as_said_in_korean,
    has_hangul,
    is_noise_alone,
    is_surely_notation,
)
from orchestrator.corpus.importing.transcript_files import Transcript
from orchestrator.corpus.importing.transcripts import Findings, Transcripts
from orchestrator.corpus.manifest_errors import show

_OWN_NAME = "the name of the recording before or behind its text is left out, which is no word"
_AS_SAID = "the text is what is said of (written)/(said), without marks of noise and hesitation"
"""Of Korean texts."""
_MANY = 5
"""The number of recordings from which on their names count as no words where most texts begin or end with them;
where nobody could say them, they count so from the first on.
"""
_TENTH = 10
"""One in so many Korean texts has a mark that nothing else has, where all are in the notation of ETRI."""


def without_marks_of_corpora(texts: Transcripts, findings: Findings) -> Transcripts:
    """Return the texts of a folder without the names of their recordings and without the marks of ETRI, where
    the texts together show that these were written. Where only a few look so, the words stay, and a note says it.
    """
    return _without_marks(_without_names(texts, findings), findings)


def _without_names(texts: Transcripts, findings: Findings) -> Transcripts:
    whole = {path: own[0] for path, own in texts.items() if _is_whole_file(own)}
    names = [path for path in whole if looks_like_an_id(path.stem)]
    shorter = {
        path: text
        for path, said in whole.items()
        if (text := without_own_name(said.text, path.stem)) != said.text
    }
    surely = len(names) >= _MANY or all(is_surely_an_id(path.stem) for path in shorter)
    if surely and 2 * len(shorter) > len(names):
        findings.choices[_OWN_NAME] += len(shorter)
        return texts | {path: [replace(whole[path], text=text)] for path, text in shorter.items()}
    if shorter:
        first = next(iter(shorter))
        findings.choices[
            "the text begins or ends with the name of its recording, such as "
            f"{show(whole[first].text[:40])} of {first.name}, and the name is learnt as a word"
        ] += len(shorter)
    return texts


def _is_whole_file(own: Sequence[Transcript]) -> bool:
    """Whether a recording has one text for the whole of it that is no row of a list."""
    return len(own) == 1 and own[0].span is None and own[0].record is None


def _without_marks(texts: Transcripts, findings: Findings) -> Transcripts:
    every = {(path, place): said for path, own in texts.items() for place, said in enumerate(own)}
    changed = {
        key: text
        for key, said in every.items()
        if (text := as_said_in_korean(said.text)) != said.text
    }
    if not changed:
        return texts
    count = len({path for path, _ in changed})
    sure = sum(is_surely_notation(every[key].text) for key in changed)
    korean = sum(has_hangul(said.text) for said in every.values())
    if _TENTH * sure < korean:
        example = show(every[next(iter(changed))].text[:40])
        findings.choices[
            f"the text has what may be marks of noise and hesitation, such as {example}, and they are learnt as words"
        ] += count
        return texts
    findings.choices[_AS_SAID] += count
    changed |= {key: "" for key, said in every.items() if is_noise_alone(said.text)}
    found: Transcripts = {}
    for path, own in texts.items():
        said = [replace(one, text=changed.get((path, n), one.text)) for n, one in enumerate(own)]
        if spoken := [one for one in said if one.text]:
            found[path] = spoken
        else:  # marks of noise alone
            findings.silent[said[0].origin] = path
    return found
