"""Reading XML transcripts of one recording: of Transcriber (.trs), ELAN (.eaf) and ATCO2. Pure.

Sources: http://trans.sourceforge.net,
https://www.mpi.nl/tools/elan/EAF_Annotation_Format_3.0_and_ELAN.pdf
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from orchestrator.corpus.label_files.segments import Segment
from orchestrator.corpus.label_files.word_level import refuse_words
from orchestrator.corpus.manifest_errors import UnusableError, show

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
    tiers = [tier for tier in root.iter("TIER") if any(_said(each) for each in _aligned(tier))]
    people = [tier.get("PARTICIPANT") or "" for tier in tiers]
    if len(tiers) > 1 and ("" in people or len(set(people)) < len(people)):
        names = ", ".join(show(tier.get("TIER_ID") or "") for tier in tiers)
        raise UnusableError(
            f"is ELAN with several tiers, {names}, that are not each of another participant; save the one with the "
            "sentences alone"
        )
    for tier, speaker in zip(tiers, people, strict=True):
        for each in _aligned(tier):
            times = (slots[each.get(f"TIME_SLOT_REF{number}")] for number in (1, 2))
            begin, end = (int(time or "") / 1000 for time in times)
            yield _part(begin, end, [_said(each)], speaker)


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
