"""Files that say what is said when: read as parts of their recordings, never as text with times in
it.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import soundfile

from orchestrator.corpus.label_files.label_file import kind_of_labels, kind_of_list, segments_of
from orchestrator.corpus.label_files.textgrid import read_textgrid
from orchestrator.corpus.manifest_errors import UnusableError
from orchestrator.corpus.manifests.manifest import load_manifest
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
    "Praat TextGrid, in ASCII": (
        SHORT_GRID.replace("good bye", """sch\\o""n gr\\u""\\sst \\Ae\\e'\\c,a \\q' \\sw"""),
        "schön grüßt Æéça \\q' \\sw",
    ),
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
        ("Praat TextGrid", LONG_GRID.replace("size = 2", "size = 1e999", 1), "has no number where"),
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
        ("a.lrc", "[00:12.00]hello\n[00:13.00]there\n", "is LRC, which says when a line begins"),
    ],
)
def test_times_without_sentences_are_said_for_what_they_are(
    tmp_path: Path, name: str, content: str, told: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ManifestError) as caught:
        load_manifest(tmp_path / name)
    assert told in str(caught.value) and "\n" not in str(caught.value)


CUE = "00:00:00,000 --> 00:00:01,000"
LATER = "00:00:01,000 --> 00:00:02,000"


@pytest.mark.parametrize(
    "text",
    [
        f"{CUE}\nhello\n\n{LATER}\nyou there\n",
        f"1\n{CUE}\nhello\n2\n{LATER}\nyou\nthere\n",
        f"1\r{CUE}\rhello\r\r2\r{LATER}\ryou there\r",
        "00:00.000-->00:01.000\nhello\n\n00:01-->00:02\nyou there\n",
        f"[{CUE}]   hello\n[{LATER}]   you there\n",
        f"WEBVTT\n\nNOTE one\ntwo\n\nSTYLE\n::cue {{}}\n\nname\n{CUE}\nhello\n\n{LATER}\nyou there\n",
    ],
    ids=["no numbers", "no blank line", "CR", "WebVTT without its head", "Whisper's", "blocks"],
)
def test_times_are_never_words(text: str) -> None:
    kind = kind_of_labels(text)
    assert [(said.begin, said.end, said.text) for said in segments_of(text, kind)] == [
        (0.0, 1.0, "hello"),
        (1.0, 2.0, "you there"),
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            f"1\n{CUE}\nhello\n\n2\n00:00:01,000 -> 00:00:02,000\nyou\n",
            "line 6 is no line of times",
        ),
        (f"{CUE}\nhello\n\n00:00:01;000 --> 00:00:02;000\nyou\n", "line 4 is no line of times"),
        ("00:00:00, 000 --> 00:00:03, 000\nhello\n", "line 1 is no line of times"),
        ("00:00:00.000 – 00:00:03.000\nhello\n", "line 1 is no line of times"),
        (f"1\n{CUE}\nhello\n\nthere\n\n2\n{LATER}\nyou\n", "line 5 stands in no cue: 'there'"),
    ],
)
def test_a_cue_that_cannot_be_read_is_a_fault_with_its_line(text: str, why: str) -> None:
    with pytest.raises(UnusableError, match=why):
        segments_of(text, kind_of_labels(text))


@pytest.mark.parametrize(
    "text",
    ["from 3 -> 4", "3 -> 4", "10:30 – 12:45 lunch", "at 10:30 we - he and I - left", "a --> b"],
)
def test_an_arrow_alone_is_no_subtitle(text: str) -> None:
    assert kind_of_labels(text) == ""


def test_whole_seconds_are_an_stm_and_channels_are_not_mixed() -> None:
    text = "a 1 anna 0 5.2 <o,f0,female> hello\nb 1 bert 0 3 <o,f0,male> foo\n"
    assert kind_of_list(text) == "STM"
    assert [said.text for said in segments_of(text, "STM")] == ["hello", "foo"]
    assert kind_of_list("a 1 anna 0 5 hello\nb 1 bert 0 3 foo\n") == ""
    two = "a A anna 0.0 2.0 <o> hello\na B bert 0.5 3.0 <o> you\n"
    with pytest.raises(UnusableError, match="line 2 is of channel 'B' of 'a'") as caught:
        segments_of(two, "STM")
    assert str(caught.value).endswith(
        "or where the recording is one mix of all, write A as channel in every line"
    )
    assert len(segments_of(two.replace("a B", "a A"), "STM")) == 2


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.srt", "hello there\n", "a.srt has no line of times"),
        ("a.txt", "{\\rtf1 hello}", "a.txt is RTF"),
        ("a.txt", "<html><body>404</body></html>", "a.txt is HTML"),
        ("a.txt", "hello\0there", "a.txt is a binary file"),
        ("a.txt", "[00:01.00] hello\n[00:02.00] you\n", "a.txt is LRC"),
        ("a.srt", "1\n00:00:01,000 --> 00:00:01,000\nhello\n", "begins at 1 s and ends at 1 s"),
        ("a.trans.txt", "a ONE\na TWO\n", "'a' has a transcript already"),
        (
            "a.json",
            '{"chunks": [{"timestamp": [2.0, 1.0], "text": "hi"}]}',
            "begins at 2 s and ends at 1 s",
        ),
    ],
)
def test_a_file_beside_a_recording_that_says_no_words_is_a_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str, why: str
) -> None:
    (tmp_path / "d").mkdir()
    tone(tmp_path / "d" / "a.wav")
    (tmp_path / "d" / name).write_text(content)
    out = tmp_path / "out.jsonl"
    assert orchestrate("manifest", "from-folder", tmp_path / "d", out) == 2
    assert why in " ".join(capsys.readouterr().err.split())
    assert not out.exists()


def test_a_part_without_an_end_goes_to_that_of_its_recording(tmp_path: Path) -> None:
    """As transformers writes the last one of a recording that was cut off."""
    (tmp_path / "d").mkdir()
    tone(tmp_path / "d" / "a.wav", seconds=2.0)
    said = [{"timestamp": [0.0, 0.5], "text": "hello"}, {"timestamp": [0.5, None], "text": "there"}]
    (tmp_path / "d" / "a.json").write_text(json.dumps({"chunks": said}))
    out = tmp_path / "out.jsonl"
    assert orchestrate("manifest", "from-folder", tmp_path / "d", out) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["offset"], row["duration"], row["text"]) for row in rows] == [
        (0.0, 0.5, "hello"),
        (0.5, 1.5, "there"),
    ]


def test_rows_of_a_chapter_whose_recording_is_not_there_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "d").mkdir()
    tone(tmp_path / "d" / "a.wav")
    (tmp_path / "d" / "x.trans.txt").write_text("a ONE\nb TWO\nc THREE\n")
    assert orchestrate("manifest", "from-folder", tmp_path / "d", tmp_path / "out.jsonl") == 0
    assert "2 listed without a recording" in " ".join(capsys.readouterr().out.split())


def test_a_region_without_a_label_is_one_of_a_label_track() -> None:
    track = "0.0\t2.0\thello\n2.0\t4.0\t\n4.0\t5.0\n"
    assert kind_of_labels(track) == "Audacity labels"
    assert [said.text for said in segments_of(track, "Audacity labels")] == ["hello"]


def test_a_textgrid_that_begins_later_is_refused() -> None:
    with pytest.raises(UnusableError, match=r"begins at 5 s \(xmin\).*write 0 as the first xmin"):
        list(read_textgrid(LONG_GRID.replace("xmin = 0", "xmin = 5", 1)))


def test_an_stm_of_one_channel_of_several_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "rec"
    folder.mkdir()
    noise = np.random.default_rng(0).normal(0, 0.1, (48_000, 2))
    soundfile.write(folder / "x.wav", noise, 16_000)
    (folder / "x.stm").write_text("x B spk 0.5 2.5 <o,f0,male> hello there\n")
    for words in ([], ["--transcripts", str(folder / "x.stm")]):
        out = tmp_path / f"m{len(words)}.jsonl"
        assert orchestrate("manifest", "from-folder", folder, out, *words) == 2
        assert "has 2 channels and the record means one" in capsys.readouterr().err
    soundfile.write(folder / "x.wav", noise[:, 0], 16_000)
    assert orchestrate("manifest", "from-folder", folder, tmp_path / "mono.jsonl") == 0


@pytest.mark.parametrize("listed", [False, True])
def test_numbered_speakers_of_stm_are_other_people_in_each_recording(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], listed: bool
) -> None:
    """They were one person in all of the corpus, by whom the bounds of a verdict are drawn."""
    folder, rows = tmp_path / "rec", ""
    folder.mkdir()
    for seed, name in enumerate("ab"):
        noise = np.random.default_rng(seed).normal(0, 0.1, 48_000)
        soundfile.write(folder / f"{name}.wav", noise, 16_000)
        own = f"{name} 1 SPEAKER_00 0.5 1.5 hello\n{name} 1 anna 1.5 2.5 hello you\n"
        rows += own
        if not listed:
            (folder / f"{name}.stm").write_text(own)
    (tmp_path / "all.stm").write_text(rows)
    words = ["--transcripts", str(tmp_path / "all.stm")] if listed else []
    out = tmp_path / "m.jsonl"
    assert orchestrate("manifest", "from-folder", folder, out, *words) == 0
    speakers = sorted(each.speaker for each in load_manifest(out).utterances)
    assert speakers == ["a-SPEAKER_00", "anna", "anna", "b-SPEAKER_00"]
    assert "such as 'SPEAKER_00', of 2 recordings, are taken for other" in capsys.readouterr().out


def test_a_file_that_is_named_stm_is_read_as_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With whole seconds, or a torn line at its beginning, all of it was learnt as words."""
    folder = tmp_path / "rec"
    folder.mkdir()
    soundfile.write(folder / "a.wav", np.random.default_rng(0).normal(0, 0.1, 80_000), 8000)
    whole = "a 1 anna 0 5 hello there\na 1 bert 5 9 yes\n"
    exact = whole.replace(" 9 ", " 9.0 ")
    for number, (name, text) in enumerate((("a.stm", whole), ("a.txt", exact))):
        (folder / name).write_text(text)
        out = tmp_path / f"{number}.jsonl"
        assert orchestrate("manifest", "from-folder", folder, out) == 0
        found = [(each.text, each.offset, each.speaker) for each in load_manifest(out).utterances]
        assert sorted(found) == [("hello there", 0.0, "anna"), ("yes", 5.0, "bert")]
        (folder / name).unlink()
    (folder / "a.stm").write_text(f"{exact}torn\n")
    (tmp_path / "all.stm").write_text(f"{exact}torn\n")
    for words in ([], ["--transcripts", str(tmp_path / "all.stm")]):
        assert orchestrate("manifest", "from-folder", folder, tmp_path / "m.jsonl", *words) == 2
        assert "is STM, and line 3 is none: 'torn'" in capsys.readouterr().err
    (folder / "all.stm").write_text(whole)
    with pytest.raises(ManifestError, match="is STM, of parts of recordings"):
        load_manifest(folder / "all.stm")


def test_a_table_of_whisper_in_seconds_is_refused() -> None:
    table = "start\tend\ttext\n0\t3\thello there\n3\t6\tgood day\n"
    assert kind_of_labels(table)
    with pytest.raises(UnusableError, match="would last 3 ms; where they are seconds"):
        list(segments_of(table, kind_of_labels(table)))


@pytest.mark.parametrize("mark", ["sil", "SP", "#", "<p:>"])
def test_an_interval_of_silence_says_nothing(mark: str) -> None:
    plain = [part.text for part in read_textgrid(LONG_GRID)]
    empty = LONG_GRID.replace('text = ""', f'text = "{mark}"')
    assert empty != LONG_GRID and [part.text for part in read_textgrid(empty)] == plain
