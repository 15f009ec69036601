"""Reading XML transcripts of one recording: of Transcriber (.trs), ELAN (.eaf) and ATCO2. Pure.

Sources: http://trans.sourceforge.net,
https://www.mpi.nl/tools/elan/EAF_Annotation_Format_3.0_and_ELAN.pdf
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from orchestrator.corpus.label_files.segments import Segment
from orchestrator.corpus.label_files.word_level import refuse_words
from orchestrator.corpus.manifest_errors import UnusableError, show

_NAME = re.compile(r"(?=\S*\d)\S+")
"""The name of a part in the place of its words, such as `story.001`."""
_LOOKED_AT = 4096
"""The number of bytes at the beginning by which a file is recognised."""


def parts_of_xml(content: bytes) -> list[Segment] | None:
    """Return every part that has a text, in the file's order; None for XML of another program.
    `content` is bytes because XML declares its own character encoding.

    Raises UnusableError where the file is damaged, declares entities, or has several tiers that are
    not each of another participant.
    """
    start = content[:_LOOKED_AT]
    read = next((read for tag, read in _READERS.items() if b"<%s" % tag.encode() in start), None)
    if read is None:
        return None
    if b"<!ENTITY" in content:
        raise UnusableError("is XML that declares entities, which are not read; take them out")
    try:
        parts = [part for part in read(ElementTree.fromstring(content)) if part.text]
    except ElementTree.ParseError as error:
        raise UnusableError(f"is damaged XML: {error}; save it again") from error
    except UnusableError:
        raise
    except (KeyError, TypeError, ValueError, LookupError) as error:
        raise UnusableError(
            f"is XML with a part that cannot be read: {show(str(error))}; save it again"
        ) from error
    refuse_words(parts, "XML")
    return parts


def _turns(root: Element) -> Iterator[Segment]:
    """Yield the parts of Transcriber: a turn is cut at its synchronisation points. Events are no
    words.
    """
    names = {each.get("id"): each.get("name") or "" for each in root.iter("Speaker")}
    for turn in root.iter("Turn"):
        speaker = names.get(turn.get("speaker"), "")  # where two speak at once, there is no name
        begin, said = float(turn.attrib["startTime"]), [turn.text]
        for child in turn:
            if child.tag == "Sync":
                end = float(child.attrib["time"])
                yield _part(begin, end, said, speaker)
                begin, said = end, []
            said.append(child.tail)
        yield _part(begin, float(turn.attrib["endTime"]), said, speaker)


def _tiers(root: Element) -> Iterator[Segment]:
    """Yield the parts of ELAN: of the one tier that has times and texts, or of several if each has
    another participant.
    """
    slots = {each.get("TIME_SLOT_ID"): each.get("TIME_VALUE") for each in root.iter("TIME_SLOT")}
    origin = _origin(root)
    tiers = [tier for tier in root.iter("TIER") if any(_said(each) for each in _aligned(tier))]
    people = [tier.get("PARTICIPANT") or "" for tier in tiers]
    if len(tiers) > 1 and ("" in people or len(set(people)) < len(people)):
        names = ", ".join(show(tier.get("TIER_ID") or "") for tier in tiers)
        raise UnusableError(
            f"is ELAN with several tiers, {names}, that are not each of another participant; save the one with the "
            "sentences alone"
        )
    for tier, speaker in zip(tiers, people, strict=True):
        words = _words_of(root, tier)
        for each in _aligned(tier):
            times = [slots[each.get(f"TIME_SLOT_REF{number}")] for number in (1, 2)]
            if None in times:
                name = show(tier.get("TIER_ID") or "")
                raise UnusableError(
                    f"is ELAN with parts of tier {name} that have no time of their own, such as "
                    f"{show(_said(each)[:40])}; save the tier of the sentences with their times alone"
                )
            begin, end = ((int(time or "") + origin) / 1000 for time in times)
            yield _part(begin, end, [words(each)], speaker)


def _origin(root: Element) -> int:
    """Return where the times of ELAN begin in the recording, in milliseconds."""
    header = root.find("HEADER")
    units = "milliseconds" if header is None else header.get("TIME_UNITS") or "milliseconds"
    if units != "milliseconds":
        raise UnusableError(f"is ELAN with times in {units}; save it with times in milliseconds")
    origins = {int(each.get("TIME_ORIGIN") or 0) for each in root.iter("MEDIA_DESCRIPTOR")} or {0}
    if len(origins) > 1:
        told = ", ".join(str(origin) for origin in sorted(origins))
        raise UnusableError(
            f"is ELAN of several recordings that begin at different times (TIME_ORIGIN {told}); link only the one "
            "beside it"
        )
    return origins.pop()


def _words_of(root: Element, tier: Element) -> Callable[[Element], str]:
    """Return what gives the words of a part of a tier: its own text, or, where all texts of the
    tier are names of its parts, as Toolbox and FLEx write them, that of the only tier that
    depends on it and has texts.
    """
    if not all(_NAME.fullmatch(_said(each)) for each in _aligned(tier) if _said(each)):
        return _said
    own = tier.get("TIER_ID")
    dependent = [
        {each.get("ANNOTATION_REF"): _said(each) for each in other.iter("REF_ANNOTATION")}
        for other in root.iter("TIER")
        if other.get("PARENT_REF") == own
    ]
    with_texts = [texts for texts in dependent if any(texts.values())]
    if not with_texts:
        return _said
    if len(with_texts) > 1:
        raise UnusableError(
            f"is ELAN whose tier {show(own or '')} holds the names of its parts, and several tiers depend on it; save "
            "the one with the sentences alone, with their times"
        )
    return lambda each: with_texts[0].get(each.get("ANNOTATION_ID"), "")


def _aligned(tier: Element) -> Iterator[Element]:
    return tier.iter("ALIGNABLE_ANNOTATION")


def _said(annotation: Element) -> str:
    return (annotation.findtext("ANNOTATION_VALUE") or "").strip()


def _segments(root: Element) -> Iterator[Segment]:
    """Yield the parts of ATCO2."""
    for each in root.iter("segment"):
        if not each.findtext("text"):
            continue
        begin, end = (float(each.findtext(key) or "") for key in ("start", "end"))
        speaker = each.findtext("speaker_label") or each.findtext("speaker") or ""
        yield _part(begin, end, [each.findtext("text")], speaker.strip())


def _part(begin: float, end: float, said: list[str | None], speaker: str) -> Segment:
    return Segment(1, begin, end, " ".join(" ".join(filter(None, said)).split()), speaker=speaker)


_READERS = {"Trans": _turns, "ANNOTATION_DOCUMENT": _tiers, "data": _segments}
"""The function that reads the parts, by the tag of a file's root element."""
