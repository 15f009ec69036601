"""Transcripts in XML beside their recording: Transcriber, ELAN and ATCO2."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.corpus.label_files.xml_transcripts import parts_of_xml
from orchestrator.corpus.manifest_errors import UnusableError
from orchestrator.corpus.manifests.manifest import load_manifest
from tests.cli_project import orchestrate
from tests.test_cli_manifest import tone

TRANSCRIBER = """<?xml version="1.0" encoding="ISO-8859-1"?>
<!DOCTYPE Trans SYSTEM "trans-14.dtd">
<Trans audio_filename="a" version="1">
<Speakers><Speaker id="spk1" name="Zoë"/><Speaker id="spk2" name="Bert"/></Speakers>
<Episode><Section type="report" startTime="0" endTime="4.0">
<Turn speaker="spk1" startTime="0" endTime="2.0">
<Sync time="0"/>
grüß <Event desc="b" type="noise" extent="instantaneous"/> dich
<Sync time="1.25"/>
zwei
</Turn>
<Turn startTime="2.0" endTime="2.5"><Sync time="2.0"/>

</Turn>
<Turn speaker="spk1 spk2" startTime="2.5" endTime="4.0">
<Sync time="2.5"/><Who nb="1"/>ja <Who nb="2"/>nein
</Turn>
</Section></Episode></Trans>
"""
ELAN = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT FORMAT="3.0"><TIME_ORDER>
<TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="500"/><TIME_SLOT TIME_SLOT_ID="ts2" TIME_VALUE="1500"/>
<TIME_SLOT TIME_SLOT_ID="ts3" TIME_VALUE="2000"/><TIME_SLOT TIME_SLOT_ID="ts4" TIME_VALUE="3000"/>
</TIME_ORDER>
<TIER TIER_ID="A" PARTICIPANT="Anna"><ANNOTATION>
<ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2">
<ANNOTATION_VALUE>hello there</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER>
<TIER TIER_ID="B" PARTICIPANT="Bert"><ANNOTATION>
<ALIGNABLE_ANNOTATION ANNOTATION_ID="a2" TIME_SLOT_REF1="ts3" TIME_SLOT_REF2="ts4">
<ANNOTATION_VALUE>good bye</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER>
<TIER TIER_ID="T" PARENT_REF="A"><ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a3" ANNOTATION_REF="a1">
<ANNOTATION_VALUE>a translation</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION></TIER>
<TIER TIER_ID="empty"/>
</ANNOTATION_DOCUMENT>
"""
ATCO2 = """<?xml version="1.0" encoding="utf-8"?>
<data><segment><start>0.1</start><end>2.5</end><speaker>A</speaker><speaker_label>CSA1</speaker_label>
<text>[#callsign]CSA one[/#callsign] hello</text><tags><correct>1</correct></tags></segment>
<segment><start>3.0</start><end>3.5</end><speaker>B</speaker><text></text></segment></data>
"""
Told = set[tuple[float, float | None, str, str]]


def read(folder: Path, out: Path, *options: str) -> Told:
    assert orchestrate("manifest", "from-folder", folder, out, *options) == 0
    utterances = load_manifest(out).utterances
    return {(each.offset, each.duration, each.text, each.speaker) for each in utterances}


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        (
            "a.trs",
            TRANSCRIBER.encode("latin-1"),
            {
                (0.0, 1.25, "grüß dich", "Zoë"),
                (1.25, 0.75, "zwei", "Zoë"),
                (2.5, 1.5, "ja nein", ""),
            },
        ),
        (
            "a.eaf",
            ELAN.encode(),
            {(0.5, 1.0, "hello there", "Anna"), (2.0, 1.0, "good bye", "Bert")},
        ),
        ("a.xml", ATCO2.encode(), {(0.1, 2.4, "CSA one hello", "CSA1")}),
    ],
)
def test_parts_in_xml_are_read(tmp_path: Path, name: str, content: bytes, told: Told) -> None:
    tone(tmp_path / "d" / "a.wav", 4.0)
    (tmp_path / "d" / name).write_bytes(content)
    assert read(tmp_path / "d", tmp_path / "m.jsonl", "--brackets", "strip") == told


def test_two_people_may_begin_at_one_moment(tmp_path: Path) -> None:
    """One such pair in a corpus of conversations was refused, and all of it with it."""
    tone(tmp_path / "d" / "a.wav", 4.0)
    content = ELAN.replace('TIME_VALUE="2000"', 'TIME_VALUE="500"')
    (tmp_path / "d" / "a.eaf").write_text(content)
    told = {(0.5, 1.0, "hello there", "Anna"), (0.5, 2.5, "good bye", "Bert")}
    assert read(tmp_path / "d", tmp_path / "m.jsonl") == told


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (TRANSCRIBER[:500], "is damaged XML: "),
        (TRANSCRIBER.replace("<Trans ", '<!ENTITY x "y"><Trans '), "is XML that declares entities"),
        (
            TRANSCRIBER.replace('time="1.25"', 'time="soon"'),
            "is XML with a part that cannot be read",
        ),
        (ELAN.replace(' TIME_VALUE="500"', ""), "that have no time of their own"),
        (
            ELAN.replace(' PARTICIPANT="Bert"', ""),
            "is ELAN with several tiers, 'A', 'B', that are not each of another participant; save the one with the "
            "sentences alone",
        ),
        (ATCO2.replace("<end>2.5</end>", ""), "is XML with a part that cannot be read"),
    ],
)
def test_xml_that_cannot_be_read_is_a_fault(content: str, why: str) -> None:
    with pytest.raises(UnusableError, match=why):
        parts_of_xml(content.encode("latin-1" if "ISO" in content else "utf-8"))


def test_a_fault_of_xml_names_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tone(tmp_path / "d" / "a.wav", 4.0)
    place = tmp_path / "d" / "a.xml"
    place.write_text(ATCO2[:150])
    assert orchestrate("manifest", "from-folder", tmp_path / "d", tmp_path / "m.jsonl") == 2
    assert f"{place} is damaged XML: " in capsys.readouterr().err


def test_xml_of_another_program_is_no_transcript() -> None:
    assert parts_of_xml(b"<x/>") is None
    assert parts_of_xml(b"<data><point/></data>") == []


def test_elan_takes_its_times_from_the_beginning_of_the_recording() -> None:
    header = (
        '<HEADER TIME_UNITS="{}"><MEDIA_DESCRIPTOR MEDIA_URL="a.wav" TIME_ORIGIN="8000"/></HEADER>'
    )
    shifted = ELAN.replace("<TIME_ORDER>", f"{header.format('milliseconds')}<TIME_ORDER>", 1)
    plain, later = (parts_of_xml(text.encode()) for text in (ELAN, shifted))
    assert plain and later
    assert [part.begin for part in later] == [part.begin + 8 for part in plain]
    frames = ELAN.replace("<TIME_ORDER>", f"{header.format('PAL-frames')}<TIME_ORDER>", 1)
    with pytest.raises(UnusableError, match="times in PAL-frames"):
        parts_of_xml(frames.encode())
    two = header.format("milliseconds").replace("</HEADER>", "<MEDIA_DESCRIPTOR/></HEADER>")
    with pytest.raises(UnusableError, match="begin at different times"):
        parts_of_xml(ELAN.replace("<TIME_ORDER>", f"{two}<TIME_ORDER>", 1).encode())


def test_elan_whose_tier_names_its_parts_says_the_words_of_the_tier_below() -> None:
    named = ELAN.replace("hello there", "story.001").replace("a translation", "hello to you")
    parts = parts_of_xml(named.encode())
    assert parts and [part.text for part in parts] == ["hello to you", "good bye"]
    tier = named[named.index('<TIER TIER_ID="T" PARENT_REF') : named.index('<TIER TIER_ID="empty"')]
    again = tier.replace('"T"', '"T2"') + "</ANNOTATION_DOCUMENT>"
    with pytest.raises(UnusableError, match="several tiers depend on it"):
        parts_of_xml(named.replace("</ANNOTATION_DOCUMENT>", again).encode())


def test_several_tiers_are_said_plainly() -> None:
    with pytest.raises(UnusableError, match=r"^is ELAN with several tiers, 'A', 'B', that are not"):
        parts_of_xml(ELAN.replace('PARTICIPANT="Bert"', 'PARTICIPANT="Anna"').encode())
