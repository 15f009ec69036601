"""Subtitles: who speaks in a cue, and captions that say everything twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.corpus.label_files.label_file import segments_of
from orchestrator.corpus.label_files.subtitles import read_subtitles
from orchestrator.corpus.manifest_errors import UnusableError
from orchestrator.corpus.manifests.manifest import load_manifest
from tests.cli_project import orchestrate
from tests.test_cli_manifest import tone

YOUTUBE = """WEBVTT
Kind: captions
Language: en

00:00:00.080 --> 00:00:02.310 align:start position:0%
 
hello<00:00:00.480><c> there</c><00:00:01.040><c> all</c>

00:00:02.310 --> 00:00:02.320 align:start position:0%
hello there all
 

00:00:02.320 --> 00:00:04.590 align:start position:0%
hello there all
of<00:00:02.560><c> you</c>

00:00:04.590 --> 00:00:04.600 align:start position:0%
of you
 
"""
CONVERTED = """1
00:00:00,080 --> 00:00:02,310
hello there all

2
00:00:02,310 --> 00:00:02,320
hello there all

3
00:00:02,320 --> 00:00:04,590
hello there all
of you

4
00:00:04,590 --> 00:00:04,600
of you
"""


@pytest.mark.parametrize(("name", "text", "line"), [("a.vtt", YOUTUBE, 9), ("a.srt", CONVERTED, 6)])
def test_captions_that_roll_are_refused(
    tmp_path: Path, name: str, text: str, line: int, capsys: pytest.CaptureFixture[str]
) -> None:
    tone(tmp_path / "d" / "a.wav", 5.0)
    (tmp_path / "d" / name).write_text(text)
    assert orchestrate("manifest", "from-folder", tmp_path / "d", tmp_path / "m.jsonl") == 2
    assert capsys.readouterr().err.splitlines()[1] == (
        f"  {tmp_path / 'd' / name} is captions that roll, as YouTube makes them by itself: 3 cues, the first in line "
        f"{line}, say again what the one before says; take captions that a person wrote (yt-dlp --write-subs), or have "
        "the recording transcribed and keep that as SubRip"
    )


def cues(*texts: str, length: float = 1.0) -> str:
    rows = enumerate(texts)
    return "WEBVTT\n\n" + "".join(
        f"00:{n:02d}.000 --> 00:{n + length:06.3f}\n{text}\n\n" for n, text in rows
    )


@pytest.mark.parametrize(
    "texts",
    [
        ["la la la"] * 6,  # a refrain
        ["la la la\nla la la"] * 6,
        ["one\ntwo", "two\nthree", "well well", "four", "five"],  # some lines again
        ["<00:00.100>hello <00:00.500>there", "<00:01.200>all of <00:01.400>you"],  # karaoke
    ],
)
def test_what_is_said_twice_is_read_twice(texts: list[str]) -> None:
    assert len(segments_of(cues(*texts), "WebVTT")) == len(texts)


def spoken(*texts: str) -> list[tuple[str, str]]:
    return [(part.speaker, part.text) for part in segments_of(cues(*texts), "WebVTT")]


def test_a_voice_is_a_speaker(tmp_path: Path) -> None:
    folder, out = tmp_path / "d", tmp_path / "m.jsonl"
    tone(folder / "a.wav", 5.0)
    (folder / "a.vtt").write_text(cues("<v.loud Anna &amp; co>hello</v>", "<v Bert>hi", "well"))
    assert orchestrate("manifest", "from-folder", folder, out) == 0
    assert {(each.speaker, each.text) for each in load_manifest(out).utterances} == {
        ("Anna & co", "hello"),
        ("Bert", "hi"),
        ("", "well"),
    }
    assert spoken("<v Anna>hello</v> <v Bert>hi</v>") == [("", "hello hi")]


@pytest.mark.parametrize(
    ("begin", "speaker"),
    [
        ("SPEAKER_01:", "SPEAKER_01"),
        ("[SPEAKER_01]:", "SPEAKER_01"),
        ("Speaker 1:", "Speaker 1"),
        ("Sprecher 1:", "Sprecher 1"),
        ("speaker#1:", "speaker#1"),
        ("Speaker #1:", "Speaker #1"),
        ("Locuteur 1 :", "Locuteur 1"),
        ("说话人1：", "说话人1"),
        ("INTERVENANTE 2:", "INTERVENANTE 2"),
        ("Спикер 1:", "Спикер 1"),
        ("说话人1:", "说话人1"),
        (">> ANNA:", "ANNA"),
        ("&gt;&gt; MRS. SMITH:", "MRS. SMITH"),
    ],
)
def test_a_speaker_before_nearly_every_cue_is_no_word(begin: str, speaker: str) -> None:
    texts = [f"{begin} number {number} is said" for number in range(9)]
    assert spoken(*texts, "and more")[8:] == [(speaker, "number 8 is said"), ("", "and more")]
    assert spoken(*texts[:2], "and more", "or less")[0] == (
        "",
        begin.replace("&gt;", ">") + " number 0 is said",
    )


def test_a_name_with_a_number_is_a_name() -> None:
    texts = [f"Witness {1 + number % 2}: number {number} is said" for number in range(6)]
    assert spoken(*texts)[:2] == [
        ("Witness 1", "number 0 is said"),
        ("Witness 2", "number 1 is said"),
    ]
    steps = [text.replace("Witness", "Schritt") for text in texts]
    assert spoken(*steps)[0] == ("", "Schritt 1: number 0 is said")


@pytest.mark.parametrize(
    "name",
    ["Speaker A", "Guest-1", "Sprecherin 2", "Kunde", "Ärztin", "Врач", "Guest", "Gast", "Woman 2"],
)
def test_a_number_or_a_role_in_any_language_is_another_person_in_each_recording(
    tmp_path: Path, name: str
) -> None:
    """One person in all of the corpus would be in one part of a split, and the bounds be drawn by that person."""
    folder, out = tmp_path / "calls", tmp_path / "m.jsonl"
    folder.mkdir()
    for call in ("one", "two"):
        tone(folder / f"{call}.wav", 5.0)
        (folder / f"{call}.vtt").write_text(cues(f"<v {name}>hello", "<v Anna>hi"))
    assert orchestrate("manifest", "from-folder", folder, out) == 0
    assert {each.speaker for each in load_manifest(out).utterances} == {
        f"one-{name}",
        f"two-{name}",
        "Anna",
    }


def test_a_mark_of_a_change_without_a_name_is_of_another_speaker(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [f">> ANNA: number {number} is said" for number in range(9)]
    assert spoken(*texts, ">> BEN: hi\n>> hello")[8:] == [
        ("ANNA", "number 8 is said"),
        ("", "hi hello"),
    ]
    assert spoken(">> it is 5:30", "hello") == [("", "it is 5:30"), ("", "hello")]
    aside = ">> ANNA (on the phone): hi"
    assert spoken(*texts, aside, ">> [SPEAKER_01]: yes")[9:] == [
        ("", aside),
        ("SPEAKER_01", "yes"),
    ]
    assert spoken(aside, ">> BEN (off): oh", aside)[0] == ("ANNA", "hi")
    tone(tmp_path / "d" / "a.wav", 5.0)
    (tmp_path / "d" / "a.vtt").write_text(cues(">> hello", "- hi", "there"))
    assert orchestrate("manifest", "from-folder", tmp_path / "d", tmp_path / "m.jsonl") == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "of 1 parts a dash before the words is left out",
        "of 1 parts >> before the words is left out",
    ]


def test_what_people_say_before_a_colon_stays() -> None:
    texts = ("note: this is all", "Anna: hello", "speaker one: left")
    assert spoken(*texts) == [("", text) for text in texts]


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        ("if a < b and c > d then", "if a < b and c > d then"),
        ("x<y and z>w", "x<y and z>w"),
        ("<i>a</i> <b>b</b> <font color='red'>c</font> <c.loud>d</c>", "a b c d"),
        ("AT&T and R&amp;D &#39;now&#39; &copyright", "AT&T and R&D 'now' &copyright"),
        (
            "the <i>Titanic</i>'s <b>end</b>, <i>un</i>heard (<c.loud>oh</c>)",
            "the Titanic's end, unheard (oh)",
        ),
        ("<i>one</i><i>two</i><br>three</v>four", "one two three four"),
        ("{\\an8}one\\Ntwo\\hthree\\nfour", "one two three four"),
        (">> good day. >> and you?\n>>> all well", "good day. and you? all well"),
        ("it is late. >>\nso late? >>", "it is late. so late?"),
    ],
)
def test_what_is_no_markup_is_said(shown: str, said: str) -> None:
    assert spoken(shown) == [("", said)]


@pytest.mark.parametrize(
    ("kind", "line"), [("SubRip", "NOTE it is lost\n"), ("SubRip", "orphan"), ("WebVTT", "NOTED\n")]
)
def test_words_outside_of_cues_are_not_lost(kind: str, line: str) -> None:
    """WebVTT alone has notes and names of cues."""
    text = cues("hello", "there").replace(
        "there", f"there\n\n{line}\n00:00:05.000 --> 00:00:06.000\nyou"
    )
    text = text if kind == "WebVTT" else text.removeprefix("WEBVTT").lstrip()
    with pytest.raises(UnusableError, match="stands in no cue"):
        segments_of(text, kind)
    web = text if text.startswith("WEBVTT") else f"WEBVTT\n\n{text}"
    assert len(segments_of(web.replace("NOTED", "NOTE"), "WebVTT")) == 3


def test_a_cue_of_a_no_break_space_says_nothing() -> None:
    text = (
        "WEBVTT\n\n00:01.000 --> 00:02.000\n&nbsp;\n\n00:03.000 --> 00:04.000\nhello&nbsp;there\n"
    )
    assert [part.text for part in read_subtitles(text) if part.text] == ["hello there"]
