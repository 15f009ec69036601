"""`manifest split` and `filter`: what parts share, what is left out, and that parts appear together
or not at all.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from orchestrator.corpus.manifests.manifest import load_manifest
from orchestrator.corpus.sets.overlap import sentence_key
from orchestrator.corpus.utterance import Utterance
from tests.cli_project import orchestrate
from tests.test_cli_manifest import make_manifest, tone


def segments(folder: Path, recordings: int = 6, speaker: str = "ann") -> Path:
    """Four segments of each recording; every text is said twice, in two recordings."""
    lines = []
    for number in range(recordings):
        audio = tone(folder / f"{number}.wav", 4.0, 300 + 50 * number)
        for part in range(4):
            line = {
                "audio_filepath": audio.name,
                "offset": float(part),
                "duration": 1.0,
                "speaker": speaker,
            }
            lines.append(
                json.dumps(
                    line | {"text": f"Sentence {(number // 2) * 4 + part}{'.' * (number % 2)}"}
                )
                + "\n"
            )
    path = folder / "all.jsonl"
    path.write_text("".join(lines))
    return path


def parts_of(source: Path, count: int, *options: object) -> list[tuple[Utterance, ...]]:
    paths = [source.parent / f"{name}.jsonl" for name in "abc"[:count]]
    assert orchestrate("manifest", "split", source, "--out", *paths, *map(str, options)) == 0
    found = [load_manifest(path).utterances for path in paths]
    assert sum(map(len, found)) == len(load_manifest(source).utterances) and all(found)
    return found


def apart(parts: list[tuple[Utterance, ...]], unit: str) -> bool:
    def key(each: Utterance) -> object:
        return {"sentence": sentence_key(each.text), "recording": each.audio}.get(unit, each.id)

    keys = [{key(each) for each in part} for part in parts]
    return all(not one & other for n, one in enumerate(keys) for other in keys[n + 1 :])


@pytest.mark.parametrize("unit", ["sentence", "recording", "utterance"])
@pytest.mark.parametrize("count", [2, 3])
def test_no_two_parts_share_the_unit(tmp_path: Path, unit: str, count: int) -> None:
    parts = parts_of(
        segments(tmp_path), count, "--by", unit, "--share", "0.5" if count == 2 else "0.5:0.25"
    )
    assert apart(parts, unit)
    assert abs(len(parts[0]) - 12) <= 2
    source = json.loads((tmp_path / "a.jsonl.source.json").read_text())
    assert source["arguments"]["by"] == unit and source["arguments"]["source"]["utterances"] == 24


def test_three_parts_without_a_common_speaker(tmp_path: Path) -> None:
    source = make_manifest(tmp_path, "abcdefghij" * 2)
    parts = parts_of(source, 3, "--share", "0.6", "--seed", 4)
    assert [len(part) for part in parts] == [12, 4, 4]
    speakers = [{each.speaker for each in part} for part in parts]
    assert sum(map(len, speakers)) == len(set().union(*speakers)) == 10


def test_the_manifest_may_stand_last(tmp_path: Path) -> None:
    source = make_manifest(tmp_path, "abcdef")
    paths = [tmp_path / f"{name}.jsonl" for name in "xyz"]
    assert orchestrate("manifest", "split", "--out", *paths, source) == 0
    assert all(path.is_file() for path in paths)


def test_one_speaker_is_split_by_sentence_and_it_says_what_that_means(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = segments(tmp_path)
    assert apart(parts_of(source, 2), "sentence")
    assert capsys.readouterr().out.splitlines()[2] == (
        f"{source} has one speaker, 'ann': it is split by sentence, so that no text stands in two parts. "
        "The parts share that voice, and a WER measured on one says nothing about other speakers."
    )
    nameless = segments(tmp_path / "nameless", speaker="")
    nameless.write_text(nameless.read_text().replace('"speaker": "", ', ""))
    assert apart(parts_of(nameless, 3), "sentence")
    assert (
        f"no line of {nameless} names a speaker: it is split by sentence" in capsys.readouterr().out
    )


def test_sentences_in_two_parts_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts_of(segments(tmp_path), 2, "--by", "recording", "--seed", "1")
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2 or said[2].endswith(
        "sentences stand in more than one part; --by sentence keeps them apart."
    )


@pytest.mark.parametrize(
    ("speakers", "options", "message"),
    [
        (
            "aaa",
            ("--by", "speaker"),
            "{0} has one speaker, 'a'; two parts need at least two\n"
            "  Divide it by something else: orchestrate manifest split takes "
            "--by sentence, --by recording, --by utterance.\n",
        ),
        (
            "a b",
            (),
            "1 of 3 lines of {0} name no speaker, the first is {0}:2\n"
            "  Give every line a speaker, for nobody may speak in both parts; "
            "or divide it by sentence: --by sentence.\n",
        ),
        (
            "ab",
            ("--by", "word"),
            "--by word is not known\n  Allowed: speaker, sentence, recording, utterance.\n",
        ),
        (
            "ab",
            ("--share", "1"),
            "--share 1 leaves a part empty\n  Allowed: above 0 and below 1.\n",
        ),
        (
            "ab",
            ("--share", "half"),
            "--share half is no share\n  Write 0.5, or 0.6:0.2 for three parts.\n",
        ),
        (
            "ab",
            ("--share", "0.5:0.2"),
            "--share 0.5:0.2 has 2 shares for 2 parts\n  The last part gets the rest.\n",
        ),
    ],
)
def test_what_cannot_be_split(
    tmp_path: Path,
    speakers: str,
    options: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = make_manifest(tmp_path, speakers)
    source.write_text(source.read_text().replace('"speaker": " ", ', ""))
    out = (tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    assert orchestrate("manifest", "split", source, "--out", *out, *options) == 2
    assert capsys.readouterr().err == message.format(source)
    assert not any(path.exists() for path in out)


def test_two_speakers_are_too_few_for_three_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make_manifest(tmp_path, "aabb")
    out = [tmp_path / f"{name}.jsonl" for name in "xyz"]
    assert orchestrate("manifest", "split", source, "--out", *out) == 2
    assert f"{source} has 2 speakers; three parts need at least three\n" in capsys.readouterr().err


def test_all_parts_appear_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_manifest(tmp_path, "abcdef")
    before = sorted(tmp_path.iterdir())
    real, calls = os.replace, []

    def full(one: Path, other: Path) -> None:
        calls.append(other)
        if len(calls) == 3:
            raise OSError(28, "No space left on device", str(other))
        real(one, other)

    monkeypatch.setattr(os, "replace", full)
    assert (
        orchestrate(
            "manifest", "split", source, "--out", tmp_path / "x.jsonl", tmp_path / "y.jsonl"
        )
        == 3
    )
    assert len(calls) == 3 and sorted(tmp_path.iterdir()) == before


# filter


def filtered(source: Path, *options: object) -> list[str]:
    out = source.parent / "out" / "some.jsonl"
    assert orchestrate("manifest", "filter", source, out, *map(str, options)) == 0
    return [each.text for each in load_manifest(out).utterances]


@pytest.mark.parametrize(
    ("options", "kept", "said"),
    [
        ((), "012345", ""),
        (("--min-seconds", 1.2), "2345", "left out 2 of 6: 2 shorter than 1.2 s\n"),
        (("--max-seconds", 1.2), "012", "left out 3 of 6: 3 longer than 1.2 s\n"),
        (
            ("--name", "audio/[0-2].wav"),
            "012",
            "left out 3 of 6: 3 whose name is not audio/[0-2].wav\n",
        ),
        (("--name", "4.wav"), "4", "left out 5 of 6: 5 whose name is not 4.wav\n"),
        (("--text", "[135]$"), "135", "left out 3 of 6: 3 whose text has no [135]$\n"),
        (("--without-text", "text [01]"), "2345", "left out 2 of 6: 2 whose text has text [01]\n"),
        (
            ("--min-seconds", 1.1, "--without-text", "3"),
            "1245",
            "left out 2 of 6: 1 shorter than 1.1 s, 1 whose text has 3\n",
        ),
    ],
)
def test_a_filter_says_how_many_it_left_out_and_why(
    tmp_path: Path,
    options: tuple[object, ...],
    kept: str,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = make_manifest(tmp_path)
    assert filtered(source, *options) == [f"text {number}" for number in kept]
    assert capsys.readouterr().out.partition("\n")[2] == said
    written = json.loads((tmp_path / "out" / "some.jsonl.source.json").read_text())["arguments"]
    assert written["source"]["sha256"] == load_manifest(source).sha256
    assert sum(written["left_out"].values()) == 6 - len(kept)


def test_a_filter_copies_any_format_into_our_own(tmp_path: Path) -> None:
    make_manifest(tmp_path)
    source = tmp_path / "list.csv"
    source.write_text("0|eins [tone]\n1|zwei\n")
    for number in "01":
        (tmp_path / "audio" / f"{number}.wav").rename(tmp_path / f"{number}.wav")
    assert filtered(source, "--brackets", "strip") == ["eins", "zwei"]


def test_filters_that_leave_nothing_or_are_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make_manifest(tmp_path)
    command = ("manifest", "filter", source, tmp_path / "o.jsonl")
    assert orchestrate(*command, "--min-seconds", "60") == 2
    assert capsys.readouterr().err == (
        f"nothing of {source} is left: left out 6 of 6: 6 shorter than 60 s\n  Ask for less, or of another place.\n"
    )
    assert orchestrate(*command, "--text", "(") == 2
    assert capsys.readouterr().err.startswith("--text ( is no regular expression: ")
    assert not (tmp_path / "o.jsonl").exists()


@pytest.mark.parametrize("other_there", [False, True])
def test_a_manifest_in_a_folder_that_is_a_link_names_the_recordings(
    tmp_path: Path, other_there: bool
) -> None:
    """`..` leads above what the link means: there was no recording, or another one of that name was taken."""
    disk, project = tmp_path / "disk/deep/data", tmp_path / "project"
    disk.mkdir(parents=True)
    source = make_manifest(project)
    if other_there:
        make_manifest(disk.parent)
    (project / "data").symlink_to(disk, target_is_directory=True)
    out = project / "data/part.jsonl"
    assert orchestrate("manifest", "filter", source, out) == 0
    own = [each.audio for each in load_manifest(source).utterances]
    for path in (out, disk / "part.jsonl"):
        assert [each.audio for each in load_manifest(path).utterances] == own
    for line in map(json.loads, out.read_text().splitlines()):  # as any other program opens it
        assert (out.parent / line["audio_filepath"]).resolve() in own


def test_a_folder_that_is_reached_by_a_link_is_left_by_it(tmp_path: Path) -> None:
    """Where both lie behind one link, they may still be moved together."""
    source = make_manifest(tmp_path / "disk/project")
    (tmp_path / "home").symlink_to(tmp_path / "disk", target_is_directory=True)
    out = tmp_path / "home/project/parts/part.jsonl"
    out.parent.mkdir()
    assert orchestrate("manifest", "filter", tmp_path / "home/project" / source.name, out) == 0
    found = {json.loads(line)["audio_filepath"] for line in out.read_text().splitlines()}
    assert found == {
        f"../audio/{each.audio.name}" for each in load_manifest(source).utterances if each.audio
    }


def test_a_path_with_parents_is_the_file_that_the_system_opens(tmp_path: Path) -> None:
    for folder in ("disk/data", "project"):
        (tmp_path / folder).mkdir(parents=True)
    tone(tmp_path / "disk/a.wav", 1.0, 300)
    tone(tmp_path / "project/a.wav", 2.0, 300)
    (tmp_path / "project/data").symlink_to(tmp_path / "disk/data", target_is_directory=True)
    manifest = tmp_path / "project/data/m.jsonl"
    manifest.write_text(json.dumps({"audio_filepath": "../a.wav", "text": "yes"}) + "\n")
    (found,) = load_manifest(manifest).utterances
    assert (found.audio, found.seconds) == (tmp_path / "disk/a.wav", 1.0)
