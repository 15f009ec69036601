"""Transcripts of speech services beside their recordings: their parts, with the times of each in its unit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from orchestrator.corpus.importing.part_tables import parts_of_table
from orchestrator.corpus.label_files.service_json import parts_of_service
from tests.test_cli_manifest_folder_corpora import made, put, refused, told, tones

DEEPGRAM = {
    "metadata": {"channels": 1},
    "results": {
        "channels": [{"alternatives": [{"transcript": "hello there yes", "words": []}]}],
        "utterances": [
            {"start": 0.5, "end": 1.5, "channel": 0, "transcript": "Hello there.", "speaker": 0},
            {"start": 2.0, "end": 2.5, "channel": 0, "transcript": "Yes.", "speaker": 1},
        ],
    },
}
PARAGRAPHS = [
    {"sentences": [{"text": "Hello there.", "start": 0.5, "end": 1.5}], "speaker": 0},
    {"sentences": [{"text": "Yes.", "start": 2.0, "end": 2.5}], "speaker": 1},
]
ASSEMBLY_TURNS = [
    {"speaker": "A", "text": "Hello there.", "start": 500, "end": 1500, "words": []},
    {"speaker": "B", "text": "Yes.", "start": 2000, "end": 2500, "words": []},
]
ASSEMBLY = {"id": "x", "audio_url": "https://x/a.wav", "text": "Hello there. Yes.", "words": []}


def aws_item(text: str, begin: float | None = None, end: float | None = None) -> dict[str, Any]:
    times = {} if begin is None else {"start_time": str(begin), "end_time": str(end)}
    kind = "punctuation" if begin is None else "pronunciation"
    return {"type": kind, "alternatives": [{"confidence": "0.9", "content": text}]} | times


AWS_ITEMS = [
    aws_item("Hello", 0.5, 0.9) | {"speaker_label": "spk_0"},
    aws_item("there", 0.9, 1.5) | {"speaker_label": "spk_0"},
    aws_item(".") | {"speaker_label": "spk_0"},
    aws_item("Yes", 2.0, 2.5) | {"speaker_label": "spk_1"},
    aws_item(".") | {"speaker_label": "spk_1"},
]
AWS_PARTS = [
    {
        "transcript": text,
        "start_time": str(begin),
        "end_time": str(end),
        "speaker_label": f"spk_{number}",
    }
    for number, (text, begin, end) in enumerate((("Hello there.", 0.5, 1.5), ("Yes.", 2.0, 2.5)))
]
AZURE = [
    {
        "recognitionStatus": "Success",
        "speaker": number,
        "channel": 0,
        "offsetInTicks": begin * 10_000_000,
        "durationInTicks": seconds * 10_000_000,
        "nBest": [{"lexical": text.lower(), "display": text}],
    }
    for number, (text, begin, seconds) in enumerate((("Hello there.", 0.5, 1.0), ("Yes.", 2, 0.5)))
]
GOOGLE = [
    {
        "alternatives": [
            {"transcript": " Hello there.", "words": [{"startTime": "0.5s", "speakerTag": 1}]}
        ],
        "resultEndTime": "1.500s",
    },
    {
        "alternatives": [{"transcript": "Yes.", "words": [{"startTime": "2s", "speakerTag": 2}]}],
        "resultEndTime": "2.5s",
    },
]
GOOGLE_2 = [
    {
        "alternatives": [
            {"transcript": text, "words": [{"startOffset": begin, "speakerLabel": speaker}]}
        ],
        "resultEndOffset": end,
        "languageCode": "en-us",
    }
    for text, begin, end, speaker in (
        ("Hello there.", "0.500s", "1.500s", "1"),
        (" Yes.", "2s", "2.500s", "2"),
    )
]


def rev(text: str, begin: float | None = None, end: float | None = None) -> dict[str, Any]:
    if begin is None:
        return {"type": "punct", "value": text}
    return {"type": "text", "value": text, "ts": begin, "end_ts": end}


REV = [
    {
        "speaker": 0,
        "elements": [
            rev("Hello", 0.5, 0.9),
            rev(" "),
            rev("there", 0.9, 1.5),
            rev("."),
            rev(" "),
            rev("Yes", 2.0, 2.5),
            rev("."),
        ],
    }
]


def speechmatics(text: str, begin: float, end: float, speaker: str) -> dict[str, Any]:
    kind = "punctuation" if text == "." else "word"
    best = [{"content": text, "speaker": speaker}]
    return {"alternatives": best, "start_time": begin, "end_time": end, "type": kind}


SPEECHMATICS = [
    speechmatics("Hello", 0.5, 0.9, "S1"),
    speechmatics("there", 0.9, 1.5, "S1"),
    speechmatics(".", 1.5, 1.5, "S1"),
    speechmatics("Yes", 2.0, 2.5, "S2"),
    speechmatics(".", 2.5, 2.5, "S2"),
]
WORDS = (("Hello", 0.5, 0.9), ("there.", 0.9, 1.5), ("Yes.", 2.0, 2.5))
HEARD = [
    {"word": text.lower().strip("."), "punctuated_word": text, "start": begin, "end": end}
    | {"speaker": int(begin) // 2}
    for text, begin, end in WORDS
]
ASSEMBLY_WORDS = [
    {
        "text": text,
        "start": int(1000 * begin),
        "end": int(1000 * end),
        "speaker": "AB"[int(begin) // 2],
    }
    for text, begin, end in WORDS
]
AZURE_FAST = [
    {"offsetMilliseconds": begin, "durationMilliseconds": length, "text": text, "speaker": number}
    for number, (text, begin, length) in enumerate(
        (("Hello there.", 500, 1000), ("Yes.", 2000, 500))
    )
]
SPOKEN = [
    {"alternatives": [{"transcript": text, "words": [{"startTime": begin}]}], "resultEndTime": end}
    for text, begin, end in ((" Hello there.", "0.5s", "1.500s"), ("Yes.", "2s", "2.5s"))
]
TAGGED = [
    {
        "word": text,
        "startTime": f"{begin}s",
        "endTime": f"{end}s",
        "speakerTag": 1 + int(begin) // 2,
    }
    for text, begin, end in WORDS
]
SERVICES: dict[str, tuple[dict[str, Any], tuple[str, str]]] = {
    "Deepgram": (DEEPGRAM, ("0", "1")),
    "Deepgram's paragraphs": (
        {
            "metadata": {"channels": 1},
            "results": {
                "channels": [{"alternatives": [{"paragraphs": {"paragraphs": PARAGRAPHS}}]}]
            },
        },
        ("0", "1"),
    ),
    "Deepgram's words": (
        {
            "metadata": {"channels": 1},
            "results": {
                "channels": [{"alternatives": [{"transcript": "hello there yes", "words": HEARD}]}]
            },
        },
        ("0", "1"),
    ),
    "AssemblyAI": (ASSEMBLY | {"utterances": ASSEMBLY_TURNS}, ("A", "B")),
    "AssemblyAI's words": (ASSEMBLY | {"utterances": None, "words": ASSEMBLY_WORDS}, ("A", "B")),
    "AssemblyAI's sentences": (
        {"id": "x", "audio_duration": 3, "sentences": ASSEMBLY_TURNS},
        ("A", "B"),
    ),
    "AWS": (
        {"jobName": "j", "results": {"items": AWS_ITEMS, "audio_segments": AWS_PARTS}},
        ("spk_0", "spk_1"),
    ),
    "AWS of old": ({"jobName": "j", "results": {"items": AWS_ITEMS}}, ("spk_0", "spk_1")),
    "Azure": ({"source": "x", "recognizedPhrases": AZURE}, ("0", "1")),
    "Azure's fast transcription": (
        {
            "durationMilliseconds": 3000,
            "combinedPhrases": [{"text": "Hello."}],
            "phrases": AZURE_FAST,
        },
        ("0", "1"),
    ),
    "Google": ({"results": GOOGLE}, ("1", "2")),
    "Google, with a time of silence": (
        {"results": [GOOGLE[0], {"resultEndTime": "1.9s"}, GOOGLE[1]]},
        ("1", "2"),
    ),
    "Google, with who says each word at the end": (
        {"results": [*SPOKEN, {"alternatives": [{"words": TAGGED}], "languageCode": "en-us"}]},
        ("1", "2"),
    ),
    "Google, with an empty transcript at the end": (
        {"results": [*SPOKEN, {"alternatives": [{"transcript": "", "words": TAGGED}]}]},
        ("1", "2"),
    ),
    "the second version of Google's": ({"results": GOOGLE_2}, ("1", "2")),
    "Rev": ({"speakers": [], "monologues": REV}, ("0", "0")),
    "Speechmatics": ({"format": "2.9", "results": SPEECHMATICS}, ("S1", "S2")),
}


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_says_of_a_recording_is_its_parts(tmp_path: Path, name: str) -> None:
    """The speakers are those of the recording alone."""
    value, (first, second) = SERVICES[name]
    tones(tmp_path / "d", "call_7.wav", seconds=3.0)
    put(tmp_path / "d/call_7.json", json.dumps(value, indent=1))
    made(tmp_path / "d")
    assert told(tmp_path / "out.jsonl") == {
        ("Hello there.", 0.5, 1.0, f"call_7-{first}"),
        ("Yes.", 2.0, 0.5, f"call_7-{second}"),
    }


def test_a_channel_of_a_call_is_not_taken_from_the_mean(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    soundfile.write(folder / "a.wav", np.zeros((48_000, 2)), 16_000)
    channels = [{"channel_label": f"ch_{n}", "items": AWS_ITEMS[3 * n :]} for n in range(2)]
    put(
        folder / "a.json",
        json.dumps({"results": {"channel_labels": {"channels": channels}, "items": AWS_ITEMS}}),
    )
    assert (
        f"{folder}/a.json:1: audio file '{folder}/a.wav' has 2 channels and the record means one, for \"channel\" is "
        "'ch_0'; save that one as mono audio, for the texts of that channel alone: sox IN.wav OUT.wav remix 1"
        in refused(folder, capsys)
    )


@pytest.mark.parametrize(
    "value",
    [
        {"results": {"transcripts": [{"transcript": "hello"}]}},
        {"results": [{"alternatives": [{"transcript": "hello"}]}]},
        {"results": [1], "monologues": "x", "recognizedPhrases": [{"nBest": []}]},
        {"utterances": ASSEMBLY_TURNS},  # nothing says that these are milliseconds
        {  # no sentence of these words ends
            "metadata": {},
            "results": {
                "channels": [{"alternatives": [{"words": [{"word": "hi", "start": 0, "end": 1}]}]}]
            },
        },
        {
            "audio_url": "x",
            "sentences": [{"text": "hello", "start": 10**400, "end": 10**401}],
        },
        [],
        {},
    ],
)
def test_what_has_no_times_is_of_no_service(value: object) -> None:
    assert parts_of_service(json.dumps(value)) is None


def test_a_text_that_is_no_json_is_of_no_service() -> None:
    assert parts_of_service("hello") is None


TABLES = {
    "a.csv": 'start,end,speaker,text\r\n0.5,1.5,Agent,"Hello,\r\nthere.",\r\n2.0,2.5,Customer,Yes.\r\n',
    "a.tsv": "Start\tEnd\tSpeaker\tTranscript\n00:00:00.500\t00:00:01.500\tAgent\tHello, there.\n\n"
    "2\t2,5\tCustomer\tYes.\n",
    "a.txt": "start_ms\tduration_ms\tspeaker\tutterance\n500\t1000\tAgent\tHello, there.\n"
    "2000\t500\tCustomer\tYes.\n2500\t1\tAgent\t\n",
}
CORAAL = (
    'Line\tSpkr\tStTime\tContent\tEnTime\n1\tATL_int_01\t0.5\tSo "yes" \t1.25\n'
    "2\tATL_se0_01\t1.25\t(pause 0.35)\t1.6\n"
)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_one_recording_tells_its_parts(tmp_path: Path, name: str) -> None:
    tones(tmp_path / "d", "a.wav", seconds=3.0)
    put(tmp_path / "d" / name, TABLES[name])
    made(tmp_path / "d")
    assert told(tmp_path / "out.jsonl") == {
        ("Hello, there.", 0.5, 1.0, "a-Agent"),
        ("Yes.", 2.0, 0.5, "a-Customer"),
    }


def test_a_text_of_several_lines_may_have_commas_and_numbers() -> None:
    found = parts_of_table('start,end,text\n0,1,"one\n2, three, 4, 5"\n', "a")
    assert [part.text for part in found or []] == ["one 2, three, 4, 5"]


def test_google_without_times_of_words_does_not_tell_who_says_a_result() -> None:
    """The speaker of the last word was taken for that of every result."""
    heard = [
        {"alternatives": [{"transcript": text, "words": [{"word": text}]}], "resultEndTime": end}
        for text, end in (("Hello.", "1.5s"), ("Yes.", "2.5s"))
    ]
    tagged = [{"word": text, "speakerTag": tag} for text, tag in (("Hello.", 1), ("Yes.", 2))]
    answer = {"results": [*heard, {"alternatives": [{"words": tagged}]}]}
    found = parts_of_service(json.dumps(answer))
    assert [(part.text, part.speaker) for part in found or []] == [("Hello.", ""), ("Yes.", "")]


def test_a_result_of_google_that_only_says_how_sure_it_is_hides_none_of_the_others() -> None:
    """An empty transcript is left out of JSON, and all of the answer was of a form that is not read."""
    sure = {"alternatives": [{"confidence": 0.1}], "resultEndTime": "4s"}
    heard = {"alternatives": [{"transcript": "Hello."}], "resultEndTime": "3s"}
    found = parts_of_service(json.dumps({"results": [heard, sure]}))
    assert [(part.text, part.end) for part in found or []] == [("Hello.", 3.0)]


def test_a_result_of_google_in_which_two_speak_has_no_speaker() -> None:
    """All of it was taken for what the first of them says."""
    words = [{"startTime": f"{tag}s", "speakerTag": tag} for tag in (1, 2)]
    heard = {"transcript": "Hello. Yes.", "words": words}
    answer = {"results": [{"alternatives": [heard], "resultEndTime": "3s"}]}
    found = parts_of_service(json.dumps(answer))
    assert [(part.text, part.speaker) for part in found or []] == [("Hello. Yes.", "")]


def test_a_transcript_of_coraal_is_parts(tmp_path: Path) -> None:
    tones(tmp_path / "d", "ATL_se0_1.wav", seconds=3.0)
    put(tmp_path / "d/ATL_se0_1.txt", CORAAL)
    made(tmp_path / "d", "--brackets", "strip")
    assert told(tmp_path / "out.jsonl") == {('So "yes"', 0.5, 0.75, "ATL_int_01")}


@pytest.mark.parametrize(
    ("table", "why"),
    [
        (
            "start,end,text\n0.5,soon,hello\n",
            "is a table of parts, and in line 2 'start' is '0.5', 'end' is 'soon'; write both in seconds",
        ),
        (
            "start,end,text\n500,1500,hello\n",
            "is a table of parts, and the one in line 2 would last 1000 s, from 500 to 1500; where these are "
            "milliseconds, call the columns start_ms and end_ms",
        ),
        (
            'start,end,text\n0,1,"hello.\n1,2,yes"\n',
            "is a table of parts, and a quote in the row that begins in line 2 takes in the next rows",
        ),
        (
            'start,end,text\n0,1,"hello\n',
            "is a table of parts, and the row that begins in line 2 cannot be read",
        ),
        (
            "start,end,text\n"
            + "".join(f"{n / 2},{n / 2 + 0.5},{'abcdef'[n]}\n" for n in range(6)),
            "is a table whose 6 parts are single words",
        ),
        ("start,end,text\n2,1,hello\n", "a part begins at 2 s and ends at 1 s"),
    ],
)
def test_a_table_that_cannot_be_read_is_a_fault(
    tmp_path: Path, table: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tones(tmp_path / "d", "a.wav", seconds=3.0)
    put(tmp_path / "d/a.csv", table)
    assert why in refused(tmp_path / "d", capsys)


@pytest.mark.parametrize(
    "table",
    [
        "path,start,end,text\nb.wav,0,1,hello\n",  # a list
        "start,text,note\n0,hello,x\n",
        "time,f0,voiced\n0.0,100,1\n",
    ],
)
def test_another_table_beside_a_recording_is_no_transcript(
    tmp_path: Path, table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tones(tmp_path / "d", "a.wav")
    put(tmp_path / "d/a.csv", table)
    assert "none of the 1 recordings" in refused(tmp_path / "d", capsys)


def test_a_name_that_returns_in_every_recording_is_another_person(tmp_path: Path) -> None:
    """Of whisperX and of captions; a name of somebody is one."""
    tones(tmp_path / "d", "a.wav", "b.wav", "c.wav", seconds=3.0)
    part = {"start": 0.0, "end": 1.0, "text": "hi", "speaker": "SPEAKER_00"}
    for name in "ab":
        put(tmp_path / f"d/{name}.json", json.dumps({"segments": [part]}))
    put(tmp_path / "d/c.vtt", "WEBVTT\n\n00:00.000 --> 00:01.000\n<v Anna>hi\n")
    made(tmp_path / "d")
    speakers = {speaker for _, _, _, speaker in told(tmp_path / "out.jsonl")}
    assert speakers == {"a-SPEAKER_00", "b-SPEAKER_00", "Anna"}


def aws_word(begin: float, end: float, text: str) -> dict[str, object]:
    times = {"start_time": str(begin), "end_time": str(end)}
    return times | {"alternatives": [{"content": text}], "type": "pronunciation"}


def test_older_answers_of_aws_name_who_speaks_in_a_list_of_their_own() -> None:
    spoken = [
        (0.5, 1.0, "Hello", 0),
        (1.0, 2.0, "there", 0),
        (2.5, 3.0, "yes", 1),
        (3.0, 4.0, "sir", 1),
    ]
    turns = [
        {"items": [{"start_time": str(b), "end_time": str(e), "speaker_label": f"spk_{who}"}]}
        for b, e, _, who in spoken
    ]
    items = [aws_word(b, e, text) for b, e, text, _ in spoken]
    results = {"items": items, "speaker_labels": {"speakers": 2, "segments": turns}}
    parts = parts_of_service(json.dumps({"results": results}))
    assert parts is not None
    assert [(part.text, part.speaker) for part in parts] == [
        ("Hello there", "spk_0"),
        ("yes sir", "spk_1"),
    ]


def test_the_signs_of_rev_have_their_own_spaces() -> None:
    def word(text: str, begin: float) -> dict[str, object]:
        return {"type": "text", "value": text, "ts": begin, "end_ts": begin + 0.3}

    def sign(text: str) -> dict[str, object]:
        return {"type": "punct", "value": text}

    elements = [word("He", 0.5), sign(" "), word("said", 1.0), sign(', "'), word("No", 2.0)]
    elements += [
        sign('." '),
        word("So", 3.0),
        sign(" "),
        word("e", 3.4),
        sign("-"),
        word("mail", 3.8),
    ]
    elements += [sign(" ("), word("yes", 4.5), sign(").")]
    parts = parts_of_service(json.dumps({"monologues": [{"speaker": 0, "elements": elements}]}))
    assert parts is not None
    assert [part.text for part in parts] == ['He said, "No."', "So e-mail (yes)."]


def test_a_speaker_whom_speechmatics_does_not_know_is_none() -> None:
    word = {"type": "word", "start_time": 3, "end_time": 4}
    for said, speaker in (("UU", ""), ("S1", "S1")):
        results = [word | {"alternatives": [{"content": "Yes", "speaker": said}]}]
        [part] = parts_of_service(json.dumps({"results": results})) or []
        assert part.speaker == speaker
