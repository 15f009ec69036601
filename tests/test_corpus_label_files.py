"""Files that say what is said when: read as parts of their recordings, never as text with times in
it.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from orchestrator.corpus.label_files import kind_of_labels, kind_of_list, segments_of
from orchestrator.corpus.manifest import load_manifest
from orchestrator.corpus.manifest_errors import UnusableError
from orchestrator.errors import ManifestError
from tests.cli_project import orchestrate
from tests.test_cli_manifest import tone
from tests.test_cli_manifest_folder import texts

SUBRIP = """1
00:00:00,500 --> 00:00:01,250
<i>hello</i>
there

2
00:00:01,250 --> 00:00:03,000
{\\an8}good bye

3
00:00:03,000 --> 00:00:03,500

"""
WEBVTT = """WEBVTT - of a meeting

NOTE nothing is said here

00:00.500 --> 00:01.250 align:start
<v Anna>hello
there

two
00:00:01.250 --> 00:00:03.000
good &amp; bye
"""
AUDACITY = "0.500000\t1.250000\thello there\n\\\t50.0\t900.0\n1.250000\t3.000000\tgood bye\n"
STM = """;; CATEGORY "0"
a 1 anna 0.50 1.25 <o,f0,female> hello there
a 1 inter_segment_gap 1.25 1.25 <o,,> ignore_time_segment_in_scoring
a 1 bert 1.25 3.00 good bye
"""
LONG_GRID = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 3.5
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "TextTier"
        name = "marks"
        xmin = 0
        xmax = 3.5
        points: size = 1
        points [1]:
            number = 0.7
            mark = "click"
    item [2]:
        class = "IntervalTier"
        name = "said"
        xmin = 0
        xmax = 3.5
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 0.5
            text = ""
        intervals [2]:
            xmin = 0.5
            xmax = 1.25
            text = "hello
there"
        intervals [3]:
            xmin = 1.25
            xmax = 3
            text = "good ""bye"" 7"
"""
SHORT_GRID = """File type = "ooTextFile"
"TextGrid"

0
3.5
<exists>
1
"IntervalTier"
"said"
0
3.5
2
0.5
1.25
"hello there"
1.25
3
"good bye"
"""
OF_ONE = {
    "SubRip": (SUBRIP, "good bye"),
    "WebVTT": (WEBVTT, "good & bye"),
    "Audacity labels": (AUDACITY, "good bye"),
    "Praat TextGrid": (LONG_GRID, 'good "bye" 7'),
    "Praat TextGrid, short": (SHORT_GRID, "good bye"),
}
ENDINGS = {"SubRip": "srt", "WebVTT": "vtt", "Audacity labels": "txt", "Praat TextGrid": "TextGrid"}


@pytest.mark.parametrize("name", OF_ONE)
def test_every_part_with_a_text_is_read(name: str) -> None:
    text, last = OF_ONE[name]
    kind = name.partition(",")[0]
    for ends in ("\n", "\r\n"):
        written = text.replace("\n", ends)
        assert kind_of_labels(written) == kind
        found = segments_of(written, kind)
        assert [(part.begin, part.end, part.text) for part in found] == [
            (0.5, 1.25, "hello there"),
            (1.25, 3.0, last),
        ]


def test_an_stm_names_recordings_and_speakers() -> None:
    assert kind_of_list(STM) == "STM"
    said = [
        (part.line, part.recording, part.speaker, part.text) for part in segments_of(STM, "STM")
    ]
    assert said == [(2, "a", "anna", "hello there"), (4, "a", "bert", "good bye")]


@pytest.mark.parametrize(
    "text",
    [
        "1 2 3",
        "20 30 forty",
        "0.5 percent",
        "go to room 1 2 please",
        "0 0 7",
        "3 4 5\n6 7 8",
        "a.wav: turn left\nb.wav: 5.0 6.0",
        "utt1 two 5 6 seven\nutt2 nothing",
        "path\tsentence\n0.wav\tone",
        "SPEAKER notes",
    ],
)
def test_what_people_say_is_no_label_file(text: str) -> None:
    assert (kind_of_labels(text), kind_of_list(text)) == ("", "")


@pytest.mark.parametrize(
    ("kind", "text", "why"),
    [
        ("Praat TextGrid", LONG_GRID[:400], "ends early; save it again"),
        ("Praat TextGrid", LONG_GRID.replace("xmax = 3\n", "xmax = x\n"), "has no number where"),
        (
            "Praat TextGrid",
            LONG_GRID.replace('class = "TextTier"', 'class = "IntervalTier"')
            .replace("number = 0.7", "xmin = 0\n            xmax = 1")
            .replace("mark =", "text ="),
            "several tiers, 'marks', 'said'; save the one with the sentences alone",
        ),
        ("Audacity labels", AUDACITY + "more text", "line 4 is none: 'more text'"),
        ("STM", STM + "a 1 anna\n", "line 5 is none"),
        ("SubRip", "1\n00:00:00,000 --> 00:00:01,000\n\n", "in which nothing is said"),
        ("CTM", "", "words with their times"),
    ],
)
def test_a_damaged_label_file_is_one_sentence(kind: str, text: str, why: str) -> None:
    with pytest.raises(UnusableError, match=why):
        segments_of(text, kind)


def test_a_folder_with_label_files_becomes_a_manifest_of_their_parts(tmp_path: Path) -> None:
    rec = tmp_path / "rec"
    for kind, ending in ENDINGS.items():
        tone(rec / f"{ending}.wav", 3.5, 440 + 10 * len(ending))
        coding = "utf-16" if ending == "TextGrid" else "utf-8-sig"
        (rec / f"{ending}.{ending}").write_bytes(OF_ONE[kind][0].encode(coding))
    tone(rec / "timit.wav", 1.0, 500)
    (rec / "timit.TXT").write_text("0 46797 She had your dark suit.\n")
    assert orchestrate("manifest", "from-folder", rec, tmp_path / "all.jsonl") == 0
    said = texts(tmp_path / "all.jsonl")
    assert said["txt-0001"] == "hello there" and said["TextGrid-0002"] == 'good "bye" 7'
    assert said["timit"] == "She had your dark suit." and len(said) == 9
    parts = {part.id: part for part in load_manifest(tmp_path / "all.jsonl").utterances}
    assert (parts["srt-0002"].offset, parts["srt-0002"].duration) == (1.25, 1.75)


def test_the_command_that_a_label_file_is_answered_with_makes_the_manifest(tmp_path: Path) -> None:
    rec = tmp_path / "my rec"
    tone(rec / "a.wav", 3.5)
    for name, content in (("a.srt", SUBRIP), ("list.stm", STM)):
        (rec / name).write_text(content)
        with pytest.raises(ManifestError) as caught:
            load_manifest(rec / name)
        words = shlex.split(str(caught.value).partition(": orchestrate ")[2])
        assert orchestrate(*words) == 0
        made = Path(words[3])
        lines = [json.loads(line) for line in made.read_text().splitlines()]
        assert sorted(line["text"] for line in lines) == ["good bye", "hello there"]
        assert {line.get("speaker") for line in lines} == (
            {"anna", "bert"} if name == "list.stm" else {None}
        )
        made.rename(tmp_path / name)
        made.with_name(f"{made.name}.source.json").unlink()


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.ctm", "a 1 0.10 0.20 hello 0.9\na 1 0.30 0.20 there 0.8\n", "is CTM, which has words"),
        ("a.rttm", "SPEAKER a 1 0.0 5.4 <NA> <NA> s1 <NA> <NA>\n", "is RTTM, which says who"),
        ("a.lab", "0 500 sil\n500 900 h\n", "is HTK or TIMIT labels"),
        ("a.eaf", '<?xml version="1.0"?>\n<ANNOTATION_DOCUMENT/>\n', "is XML, as ELAN"),
        ("a.ass", "[Script Info]\nTitle: x\n", "is subtitles (ASS)"),
        ("a.lrc", "[00:12.00]hello\n[00:13.00]there\n", "is no manifest: its first line is"),
    ],
)
def test_times_without_sentences_are_said_for_what_they_are(
    tmp_path: Path, name: str, content: str, told: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ManifestError) as caught:
        load_manifest(tmp_path / name)
    assert told in str(caught.value) and "\n" not in str(caught.value)
