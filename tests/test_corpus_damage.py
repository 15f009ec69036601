"""Every kind of damage to a manifest is found with file and line, alone and together with
others.
"""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from orchestrator.corpus.manifest_errors import SAVE_AS_UTF8
from orchestrator.corpus.manifests import lines
from orchestrator.corpus.manifests.manifest import load_manifest
from orchestrator.corpus.sets.diagnosis import check_sets
from orchestrator.errors import ManifestError
from tests.corpus_damage import AUDIO_KEYS, DAMAGE, RATE, TEXT_KEYS, cut, line


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.05, RATE).astype(np.float32)


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Good audio in three codecs, and the bytes of bad files."""
    folder = tmp_path_factory.mktemp("encoded")
    soundfile.write(folder / "a.wav", noise(1), RATE)
    soundfile.write(folder / "b.flac", noise(2), RATE)
    soundfile.write(folder / "c.opus", noise(3), RATE, format="OGG", subtype="OPUS")
    soundfile.write(folder / "none.wav", np.zeros(0, np.float32), RATE)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    claims_days = bytearray(files["b.flac"])
    claims_days[21] |= 0x0F  # the top four of 36 bits of the number of samples
    bad = {"html.wav": b"<html>404</html>", "empty.wav": b"", "cut.wav": files["a.wav"][:20_000]}
    return files | bad | {"days.flac": bytes(claims_days)}


@pytest.fixture
def folder(tmp_path: Path, encoded: dict[str, bytes]) -> Path:
    """A corpus with good files and one of each bad kind."""
    for name, content in encoded.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder.wav").mkdir()
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "device.wav").symlink_to("/dev/zero")
    return tmp_path


def write(folder: Path, *lines: bytes, end: bytes = b"\n") -> Path:
    path = folder / "set.jsonl"
    path.write_bytes(b"\n".join(lines) + end)
    return path


def faults(path: Path) -> list[str]:
    """The fault lines of the error, without the path."""
    with pytest.raises(ManifestError) as caught:
        load_manifest(path)
    found = str(caught.value).split("\n")
    assert re.fullmatch(rf"{re.escape(str(path))} has (1 fault|\d+ faults):", found[0])
    assert found[-1] == "Correct or delete these lines, then run the same command again."
    return [each.removeprefix(f"  {path}:") for each in found[1:-1]]


@pytest.mark.parametrize("kind", DAMAGE)
def test_each_damage_alone_is_found_at_its_line(folder: Path, kind: str) -> None:
    raw, message = DAMAGE[kind]
    path = write(folder, line(audio_filepath="c.opus"), b"", raw)
    assert faults(path) == [f"3: {message.replace('FOLDER', str(folder))}"]
    assert not (folder / "x").exists()


def test_all_damage_at_once_in_the_order_of_lines(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(folder, *(raw for raw, _ in DAMAGE.values()))
    messages = [message.replace("FOLDER", str(folder)) for _, message in DAMAGE.values()]
    expected = [f"{number}: {message}" for number, message in enumerate(messages, start=1)]
    assert faults(path) == [*expected[:20], f"  and {len(DAMAGE) - 20} more"]
    monkeypatch.setattr("orchestrator.corpus.manifest_errors.SHOWN", len(DAMAGE))
    assert faults(path) == expected


def test_all_faults_of_one_line_are_reported(folder: Path) -> None:
    assert faults(write(folder, line(text=5, duration=-1, audio_filepath=None))) == [
        '1: "duration" is -1, must be a number of seconds above 0',
        '1: "text" is 5, must be a string',
        f"1: no audio; one of {AUDIO_KEYS} must name it",
    ]


def test_a_torn_last_line(folder: Path) -> None:
    torn = line(audio_filepath="b.flac")[:-10]
    assert faults(write(folder, line(), torn, end=b"")) == [
        "2: not valid JSON at character 66: Unterminated string starting at "
        "(the line is cut off: it is the last one and has no newline)"
    ]


def test_duplicates_name_both_lines(folder: Path) -> None:
    path = write(
        folder,
        line(id="x"),
        line(id="x", audio_filepath="b.flac"),
        line(id="y", audio_filepath="./a.wav"),
        line(id="z", audio_filepath="c.opus", offset=0.0, duration=0.5),
        line(id="w", audio_filepath="c.opus", offset=0.5, duration=0.5),
    )
    assert faults(path) == [
        "2: the id 'x' is already on line 1; ids are unique",
        "3: the same audio as line 1; keep one of the two",
    ]


def test_parts_of_two_people_may_begin_together(folder: Path) -> None:
    """They have ids of their own; of two that are the whole recording, or of one person, one is wrong."""
    part = {"audio_filepath": "c.opus", "offset": 0.25, "duration": 0.5}
    anna, bert = line(**part, text="yes", speaker="anna"), line(**part, text="no", speaker="bert")
    path = write(folder, anna, bert, line(**part | {"duration": 0.25}, text="yes", speaker="cora"))
    found = load_manifest(path)
    assert len({each.id for each in found.utterances}) == 3
    sets = {"domain": found, "heldout": load_manifest(write(folder, line()))}
    assert not {"duplicates", "audio-overlap"} & {
        one.name for one in check_sets(sets, max_seconds=9)
    }
    twice = line(text="one", speaker="anna"), line(text="two", speaker="bert")
    begun = {"text": "no", "speaker": "bert", "offset": 0.0, "duration": 0.5}
    inside = line(speaker="anna"), line(**begun)
    for first, second in ((anna, line(**part, text="no", speaker="anna")), twice, inside):
        assert "2: the same audio as line 1" in faults(write(folder, first, second))[0]


def test_a_line_too_long(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 2**20)
    path = write(folder, line(), line(text="x" * 3 * 2**20), line(audio_filepath="gone.wav"))
    assert faults(path) == [
        "2: the line is longer than 1 MB; write each utterance in a line of its own, with its audio in a file",
        f"3: audio file 'gone.wav' does not exist, neither in {folder} nor in the current folder",
    ]


def test_json_over_many_lines_may_be_longer_than_a_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 150)
    items = [line(id="a"), line(id="b", audio_filepath="b.flac"), line(id="c", text="x" * 200)]
    path = write(folder, b"[", b",\n".join(items[:2]), b"]")
    assert len(path.read_bytes()) > lines.MAX_LINE_BYTES
    assert [each.id for each in load_manifest(path).utterances] == ["a", "b"]
    assert faults(write(folder, b"[", b",\n".join(items), b"]")) == [
        "4: the line is longer than 0 MB; write each utterance in a line of its own, with its audio in a file"
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"",
            "{path} holds no utterances: the file is empty. A set needs at least one line with audio and text.",
        ),
        (
            b"\n \n",
            "{path} holds no utterances: the file is empty. A set needs at least one line with audio and text.",
        ),
        (
            b'{"_skipme": true}\n',
            "{path} holds no utterances: every line is marked _skipme. A set "
            "needs at least one line with audio and text.",
        ),
        (
            b"\x1f\x8b\x08\x00",
            "{path} is compressed (gzip) and damaged: "
            "Compressed file ended before the end-of-stream marker was reached; compress it again",
        ),
        (
            "{}".encode("utf-16"),
            "{path} is UTF-16; write it as UTF-8: iconv -f UTF-16 -t UTF-8 {path} > {folder}/set-utf8.jsonl",
        ),
    ],
)
def test_a_file_without_utterances(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "set.jsonl"
    path.write_bytes(content)
    with pytest.raises(ManifestError) as caught:
        load_manifest(path)
    assert str(caught.value) == message.format(path=path, folder=tmp_path)


def test_the_manifest_itself_must_be_a_regular_file(folder: Path) -> None:
    for name, reason in [
        ("gone.jsonl", "cannot be opened: No such file or directory."),
        ("pipe.wav", "is not a regular file."),
    ]:
        with pytest.raises(ManifestError) as caught:
            load_manifest(folder / name)
        assert (
            str(caught.value)
            == f"The manifest {folder / name} {reason} Check the path, which a sweep file has under data:."
        )


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b'[\n{"audio": "a.wav", "text": "x"},\n{"audio": 3, "text": "x"}]\n', "AUDIO at line 3"),
        (b'[{"audio": "a.wav", "text": "x"}\n,\n7]', "3: item 2: expected a JSON object, found 7"),
        (
            b'[{"audio": "a.wav", "text": "x"},\n{"a',
            "2: item 2: not valid JSON at character 36: Unterminated string starting at",
        ),
        (
            b'[{"audio": "a.wav", "text": "x"}\n{}]',
            '2: "," or "]" is missing after item 1 of the JSON array',
        ),
        (
            b'[{"audio": "a.wav", "text": "x"},\n{"audio": "b.flac", "text": "caf\xe9"}]',
            "2: byte 33 of the line (0xe9) is not UTF-8; " + SAVE_AS_UTF8,
        ),
        (b'[{"audio": "a.wav", "text": "x"}]\n{}', "1: more text, '{}', follows the JSON array"),
        (
            b"a.wav\tone\nb.flac two\n",
            "2: 1 tab-separated columns where 2 are expected (audio_filepath<TAB>text)",
        ),
        (
            b"path\tduration\tsentence\na.wav\tlong\tone\n",
            "2: \"duration\" is 'long', must be a number of seconds above 0",
        ),
        (b"a.wav\tone\nb.flac\n", f"2: no text; one of {TEXT_KEYS} must hold what is said"),
        (b"path\tsentence\na.wav\t\n", f"2: no text; one of {TEXT_KEYS} must hold what is said"),
        (
            b"a.wav\tone\nb.flac\tcaf\xe9\n",
            "2: byte 11 of the line (0xe9) is not UTF-8; " + SAVE_AS_UTF8,
        ),
    ],
)
def test_damage_in_arrays_and_tables(folder: Path, content: bytes, found: str) -> None:
    path = folder / "set.json"
    path.write_bytes(content)
    where = '3: "audio" is 3, must be a path, an audio mapping or a list of samples'
    assert faults(path) == [found.replace("AUDIO at line 3", where)]


def test_a_wav_of_unknown_length_is_no_fault(folder: Path) -> None:
    """Writers into a pipe put the largest number where the length belongs."""
    raw = bytearray((folder / "a.wav").read_bytes())
    at = raw.index(b"data") + 4
    raw[at : at + 4] = struct.pack("<I", 0xFFFFFFFF)
    (folder / "piped.wav").write_bytes(raw)
    assert (
        load_manifest(write(folder, line(audio_filepath="piped.wav"))).utterances[0].duration == 1.0
    )


def test_no_damage_escapes_as_another_exception(folder: Path) -> None:
    """Bytes changed, cut out and repeated at random: the manifest loads, or the error is one for a
    person.
    """
    whole = (
        b"\n".join([line(), line(audio_filepath=None, duration=None, audio=[0.1, 2e-3]), cut()])
        + b"\n"
    )
    draws = np.random.default_rng(0)
    outcomes = set()
    for _ in range(200):
        raw = bytearray(whole)
        for _ in range(draws.integers(1, 4)):
            at, length = draws.integers(len(raw)), draws.integers(1, 12)
            raw[at : at + length] = [b"", draws.bytes(int(length)), raw[at : at + length] * 2][
                draws.integers(3)
            ]
        path = folder / "set.jsonl"
        path.write_bytes(raw)
        try:
            load_manifest(path)
            outcomes.add("loaded")
        except ManifestError:
            outcomes.add("refused")
    assert outcomes == {"loaded", "refused"}
