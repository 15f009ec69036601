"""`manifest from-folder` and `from-kaldi` on folders as they come: strays, links, lists, texts that
need choosing.
"""

from __future__ import annotations

import gzip
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from orchestrator.corpus.manifest_errors import SAVE_AS_UTF8
from orchestrator.corpus.manifests.manifest import load_manifest
from tests.cli_project import ROOT, orchestrate
from tests.test_cli_manifest import tone

APPLE = bytes.fromhex("00051607000200004d6163204f5320582020202020202020") + bytes(4072)


def say(path: Path, text: str, seconds: float = 0.5, pitch: float = 1000.0) -> Path:
    """A recording and, beside it, its transcript."""
    tone(path, seconds, pitch).with_suffix(".txt").write_text(text)
    return path


def texts(path: Path) -> dict[str, str]:
    return {each.id: each.text for each in load_manifest(path).utterances}


def made(folder: Path, out: Path, *options: object) -> dict[str, str]:
    assert orchestrate("manifest", "from-folder", folder, out, *map(str, options)) == 0
    return texts(out)


def test_what_a_mac_leaves_behind_is_no_recording(tmp_path: Path) -> None:
    folder = tmp_path / "rec"
    for name in ("one", "two"):
        say(folder / f"{name}.wav", name)
        for stray in (
            folder / f"._{name}.wav",
            folder / f"._{name}.txt",
            folder / "__MACOSX" / f"{name}.wav",
        ):
            stray.parent.mkdir(exist_ok=True)
            stray.write_bytes(APPLE)
    say(folder / ".trash" / "old.wav", "old")
    (folder / ".DS_Store").write_bytes(APPLE)
    assert made(folder, tmp_path / "m.jsonl") == {"one": "one", "two": "two"}


def test_sound_that_is_not_read_is_counted_with_what_converts_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "rec", tmp_path / "m.jsonl"
    say(folder / "one.wav", "one")
    (tmp_path / "disk").mkdir()
    (folder / "day two").symlink_to(tmp_path / "disk", target_is_directory=True)
    sound = tone(folder / "day two" / "two.wav")
    sound.rename(sound.with_suffix(".m4a"))
    (folder / "day two" / "two.txt").write_text("two")
    assert made(folder, out) == {"one": "one"}
    left, note = capsys.readouterr().out.splitlines()[1:]
    assert left == "left out 1 of 2: 1 not read as sound, such as day two/two.m4a"
    command = note.removeprefix("this converts what is not read as sound: ")
    programs = tmp_path / "bin"
    programs.mkdir()
    stand_in = programs / "ffmpeg"  # -n -i IN OUT
    stand_in.write_text('#!/bin/sh\ncp "$3" "$4"\n')
    stand_in.chmod(0o755)
    path = os.pathsep.join((str(programs), os.environ["PATH"]))
    subprocess.run(["sh", "-c", command], check=True, env=os.environ | {"PATH": path})
    again = tmp_path / "again.jsonl"
    assert made(folder, again) == {"one": "one", "day two/two": "two"}
    assert "not read as sound" not in capsys.readouterr().out


@pytest.mark.parametrize("ending", ["gsm", "sln", "g722", "awb", "3ga", "voc"])
def test_recordings_of_telephones_are_not_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    """They were neither read nor counted, whatever lay beside them."""
    folder, out = tmp_path / "rec", tmp_path / "m.jsonl"
    say(folder / "one.wav", "one")
    say(folder / "two.wav", "two").rename(folder / f"two.{ending}")
    assert made(folder, out) == {"one": "one"}
    left, note = capsys.readouterr().out.splitlines()[1:]
    assert left == f"left out 1 of 2: 1 not read as sound, such as two.{ending}"
    assert note.startswith("this converts what is not read as sound: find ")


@pytest.mark.parametrize(
    ("ending", "coding"), [("pcm", "s16le -ar 16000"), ("UL", "mulaw -ar 8000")]
)
def test_sound_without_a_header_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str, coding: str
) -> None:
    folder, out = tmp_path / "rec", tmp_path / "m.jsonl"
    say(folder / "one.wav", "one")
    sound = say(folder / "two.wav", "two").rename(folder / f"two.{ending}")
    assert made(folder, out) == {"one": "one"}
    assert capsys.readouterr().out.splitlines()[1:] == [
        f"left out 1 of 2: 1 without a header, such as two.{ending}",
        f"{sound} may be sound without a header; where it is, convert it and its like, with the rate that its corpus "
        f"tells: ffmpeg -f {coding} -ac 1 -i IN OUT.wav",
    ]


@pytest.mark.parametrize(
    ("ending", "kind"), [("bwf", "WAV"), ("rf64", "RF64"), ("snd", "AU"), ("nist", "NIST")]
)
def test_sound_that_is_read_is_found_by_every_ending(
    tmp_path: Path, ending: str, kind: str
) -> None:
    folder = tmp_path / "rec"
    folder.mkdir()
    soundfile.write(folder / f"a.{ending}", np.sin(np.arange(8000) / 5) / 3, 8000, format=kind)
    (folder / "a.txt").write_text("one")
    assert made(folder, tmp_path / "m.jsonl") == {"a": "one"}


def test_recordings_without_a_transcript_are_left_out_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "rec", tmp_path / "m.jsonl"
    say(folder / "one.wav", "one")
    for name in ("two", "three"):
        tone(folder / f"{name}.wav")
    assert made(folder, out) == {"one": "one"}
    assert (
        capsys.readouterr().out
        == f"{out}: 1 utterances, 0.00 h\nleft out 2 of 3: 2 without a transcript\n"
    )
    source = json.loads((tmp_path / "m.jsonl.source.json").read_text())
    assert source["arguments"]["left_out"] == {"without a transcript": 2}
    (folder / "one.txt").unlink()
    assert orchestrate("manifest", "from-folder", folder, tmp_path / "n.jsonl") == 2
    assert capsys.readouterr().err == (
        f"none of the 3 recordings in {folder} has a transcript\n"
        "  Write NAME.txt beside NAME.wav, or name a list of them: --transcripts FILE.\n"
    )


def test_one_file_name_in_two_folders_is_two_recordings(tmp_path: Path) -> None:
    for number, place in enumerate(("ann", "bob")):
        say(tmp_path / "rec" / place / "001.wav", f"said by {place}", pitch=500 + 100 * number)
    assert made(tmp_path / "rec", tmp_path / "m.jsonl") == {
        "ann/001": "said by ann",
        "bob/001": "said by bob",
    }


def test_links_to_folders_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    say(tmp_path / "elsewhere" / "one.wav", "one")
    say(tmp_path / "rec" / "own" / "two.wav", "two")
    (tmp_path / "rec" / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "rec" / "again").symlink_to(tmp_path / "rec" / "own", target_is_directory=True)
    (tmp_path / "elsewhere" / "loop").symlink_to(tmp_path / "rec", target_is_directory=True)
    assert made(tmp_path / "rec", tmp_path / "m.jsonl") == {"linked/one": "one", "own/two": "two"}


MARKS = {"a/tone": "[tone]", "b/noted": "(coughs [twice])"}
"""What stands in brackets in the texts of recordings."""


@pytest.mark.parametrize(
    ("options", "kept", "said"),
    [
        (("--min-seconds", 1), {"b/long", "b/noted"}, "2 shorter than 1 s"),
        (("--max-seconds", 1), {"a/short", "a/tone"}, "2 longer than 1 s"),
        (("--name", "a/*"), {"a/short", "a/tone"}, "2 whose name is not a/*"),
        (("--name", "*e*.wav"), {"a/tone", "b/noted"}, "2 whose name is not *e*.wav"),
        (("--brackets", "drop"), {"a/short", "b/long"}, "2 whose text has a part in brackets"),
        (
            ("--brackets", "strip"),
            {"a/short", "b/long", "b/noted"},
            "1 whose text is all in brackets",
        ),
        (
            ("--brackets", "strip", "--min-seconds", 1, "--name", "b/*"),
            {"b/long", "b/noted"},
            "2 whose name is not b/*",
        ),
    ],
)
def test_recordings_are_chosen_by_length_name_and_brackets(
    tmp_path: Path,
    options: tuple[object, ...],
    kept: set[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "rec"
    say(folder / "a" / "short.wav", "short", 0.5, 400)
    say(folder / "a" / "tone.wav", "[tone]", 0.6, 500)
    say(folder / "b" / "long.wav", "long", 1.5, 600)
    say(folder / "b" / "noted.wav", "well (coughs [twice]) then <unk> go", 1.6, 700)
    found = made(folder, tmp_path / "m.jsonl", *options)
    assert set(found) == kept
    left = 4 - len(kept)
    marks = [mark for name, mark in MARKS.items() if name in kept and "--brackets" not in options]
    told = (
        f"of {len(marks)} recordings the text has something in brackets, such as '{marks[0]}', and it is learnt as "
        "words; --brackets strip or drop leaves it out"
        for _ in marks[:1]
    )
    assert capsys.readouterr().out.splitlines()[1:] == [f"left out {left} of 4: {said}", *told]
    if "strip" in options:
        assert found["b/noted"] == "well then go"


def test_nothing_left_and_options_that_are_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    say(tmp_path / "rec" / "one.wav", "one")
    command = ("manifest", "from-folder", tmp_path / "rec", tmp_path / "m.jsonl")
    assert orchestrate(*command, "--min-seconds", "9") == 2
    assert capsys.readouterr().err.startswith(
        f"nothing of {tmp_path / 'rec'} is left: left out 1 of 1: 1 shorter than"
    )
    assert orchestrate(*command, "--brackets", "remove") == 2
    assert (
        capsys.readouterr().err == "--brackets remove is not known\n  Allowed: keep, drop, strip.\n"
    )
    assert not (tmp_path / "m.jsonl").exists()


def test_errors_name_the_transcript_and_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "rec"
    say(folder / "a.wav", "fine")
    say(folder / "b.wav", " \n\n")
    say(folder / "c.wav", "").with_suffix(".txt").write_bytes(b"one\ncaf\xe9\n")
    say(folder / "d.wav", "twice")
    tone(folder / "d.flac")
    assert orchestrate("manifest", "from-folder", folder, tmp_path / "m.jsonl") == 2
    assert capsys.readouterr().err.splitlines() == [
        f"{folder} has 3 faults:",
        f"  {folder}/b.txt:1: the transcript is empty; write what is said, or take the file away to go without",
        f"  {folder}/c.txt:2: byte 0xe9 is not UTF-8; " + SAVE_AS_UTF8,
        f"  {folder}/d.txt:1: d.flac and d.wav are one recording by name; keep one of them",
    ]
    for name in ("b", "c", "d"):
        (folder / f"{name}.txt").unlink()
    (folder / "e.wav").symlink_to(folder / "a.wav")
    (folder / "e.txt").write_text("\nthe same sound")
    assert orchestrate("manifest", "from-folder", folder, tmp_path / "m.jsonl") == 2
    error = capsys.readouterr().err
    assert "m.jsonl is not written; what it is made of has 1 fault:\n" in error
    assert (
        f"{folder}/e.txt:2: the same audio as {folder}/a.txt:1; keep one of the two" in error
        or (f"{folder}/a.txt:1: the same audio as {folder}/e.txt:2; keep one of the two" in error)
    )
    assert [path.name for path in tmp_path.iterdir()] == ["rec"]


LISTS = {
    "ljspeech": "one|eins|eins\ntwo|zwei|zwei\n",
    "audiofolder": "file_name,transcription\none.wav,eins\ntwo.wav,zwei\n",
    "paths from elsewhere": "path\tsentence\nrec/one.wav\teins\nrec/two.wav\tzwei\n",
    "json": '{"file_name": "one.wav", "text": "eins"}\n{"file_name": "two.wav", "text": "zwei"}\n',
    "names": "one.wav: eins\ntwo.wav: zwei\n",
    "stems": "one: eins\ntwo: zwei\n",
    "words": "one eins\ntwo zwei\n",
}


@pytest.mark.parametrize("form", LISTS)
@pytest.mark.parametrize("inside", [True, False])
def test_a_list_of_transcripts_has_any_format_that_is_read(
    tmp_path: Path, form: str, inside: bool
) -> None:
    folder = tmp_path / "rec"
    for number, name in enumerate(("one", "two")):
        tone(folder / f"{name}.wav", pitch=500 + 100 * number)
    path = (folder if inside else tmp_path) / "list.csv"
    path.write_text(LISTS[form])
    assert made(folder, tmp_path / "m.jsonl", "--transcripts", path) == {
        "one": "eins",
        "two": "zwei",
    }
    path.rename(folder / "metadata.csv")
    assert made(folder, tmp_path / "n.jsonl") == {"one": "eins", "two": "zwei"}


def test_a_published_list_of_prompts_is_read_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Comments, a path that is also a file name elsewhere, and a line whose recording was never
    delivered.
    """
    folder, out, path = tmp_path / "rec", tmp_path / "m.jsonl", tmp_path / "prompts.txt.gz"
    for number, name in enumerate(("sorry", "followme/sorry", "#1", "followme/unique")):
        tone(folder / f"{name}.wav", pitch=500 + 100 * number)
    path.write_bytes(
        gzip.compress(
            b"; Prompts in English\n;\n\nfollowme/sorry: I'm sorry; he is # 1\n# unsaid: no\nsorry: We're sorry.\n"
            b"#1: one\nlater: Try later.\nunique: by its file name\n"
        )
    )
    assert made(folder, out, "--transcripts", path) == {
        "sorry": "We're sorry.",
        "followme/sorry": "I'm sorry; he is # 1",
        "#1": "one",
        "followme/unique": "by its file name",
    }
    why = f"1 listed without a recording (the first is {path}:8: 'later')"
    assert capsys.readouterr().out.splitlines()[1:] == [f"left out 1 of 5: {why}"]


def test_the_only_speaker_is_named_and_the_split_says_what_that_means(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, text in enumerate(("yes", "no", "Yes!", "maybe")):
        say(tmp_path / "rec" / f"{number}.wav", text, pitch=500 + 100 * number)
    out, parts = tmp_path / "m.jsonl", [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    made(tmp_path / "rec", out, "--speaker", "one=Allison Smith")
    assert {each.speaker for each in load_manifest(out).utterances} == {"Allison Smith"}
    assert orchestrate("manifest", "split", out, "--share", 0.5, "--out", *parts) == 0
    assert "has one speaker, 'Allison Smith': it is split by sentence" in capsys.readouterr().out
    for wrong in ("one=", "one= ", "allison"):
        command = (
            "manifest",
            "from-folder",
            tmp_path / "rec",
            tmp_path / "n.jsonl",
            "--speaker",
            wrong,
        )
        assert orchestrate(*command) == 2
        assert capsys.readouterr().err.endswith("Allowed: none, folder, prefix, one=NAME.\n")


def test_a_list_for_another_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tone(tmp_path / "rec" / "one.wav")
    path = tmp_path / "list.txt"
    path.write_text("; for others\nthree.wav: three\n; and\nfour.wav: four\n")
    command = (
        "manifest",
        "from-folder",
        tmp_path / "rec",
        tmp_path / "m.jsonl",
        "--transcripts",
        path,
    )
    assert orchestrate(*command) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"{tmp_path / 'rec'} has 2 faults:",
        f"  {path}:2: 'three.wav' names no recording",
        f"  {path}:4: 'four.wav' names no recording",
    ]
    path.write_text("; nothing but this\n")
    assert orchestrate(*command) == 2
    assert capsys.readouterr().err.startswith(
        f"{path} is no manifest: its first line is '; nothing but this'"
    )


def test_a_list_that_is_none_and_recordings_that_are_not_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "rec"
    tone(folder / "one.wav")
    path = tmp_path / "list.txt"
    path.write_text("Dear all,\n")
    assert (
        orchestrate("manifest", "from-folder", folder, tmp_path / "m.jsonl", "--transcripts", path)
        == 2
    )
    assert capsys.readouterr().err.startswith(
        f"{path} is no manifest: its first line is 'Dear all,'; read are JSON"
    )
    (folder / "one.wav").rename(folder / "one.m4a")
    assert orchestrate("manifest", "from-folder", folder, tmp_path / "m.jsonl") == 2
    assert (
        f"{folder}/one.m4a is not read; convert it and its like: find -L {folder} -iname '*.m4a' -exec sh -c "
        """'ffmpeg -n -i "$1" "${1%.*}.wav"' - {} \\;""" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    "locale", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}]
)
def test_names_beyond_ascii_in_any_locale(tmp_path: Path, locale: dict[str, str]) -> None:
    say(tmp_path / "rec" / "grün.wav", "grün")
    environment = {**os.environ, "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(ROOT)} | locale
    for words in (
        ("from-folder", "rec", "grün.jsonl", "--speaker", "prefix"),
        ("filter", "grün.jsonl", "größer.jsonl"),
        ("diagnose", "größer.jsonl"),  # its tables are another library's
    ):
        group = [] if words[0] == "diagnose" else ["manifest"]
        command = [sys.executable, "-m", "orchestrator", *group, *words]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, b"")
    assert texts(tmp_path / "größer.jsonl") == {"grün": "grün"}
    assert b'"gr\xc3\xbcn.jsonl"' in (tmp_path / "größer.jsonl.source.json").read_bytes()


def test_a_name_that_is_not_utf8_is_a_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rec").mkdir()
    for path in (say(tmp_path / "a.wav", "green"), tmp_path / "a.txt"):
        path.rename(tmp_path / "rec" / os.fsdecode(b"gr\xfcn" + path.suffix.encode()))
    assert orchestrate("manifest", "from-folder", tmp_path / "rec", tmp_path / "m.jsonl") == 2
    assert "gr\\udcfcn.wav' is not UTF-8; rename the file" in capsys.readouterr().err


# from-kaldi


def kaldi(folder: Path) -> Path:
    for number, name in enumerate(("rec1", "rec2")):
        tone(folder / "audio" / f"{name}.wav", 2.0, 500 + 100 * number)
    (folder / "wav.scp").write_text(f"rec1 audio/rec1.wav\nrec2 {folder}/audio/rec2.wav\n")
    (folder / "text").write_text("rec1 HELLO THERE\nrec2 GOOD BYE\n")
    return folder


def test_a_kaldi_directory_becomes_a_manifest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = kaldi(tmp_path / "train")
    (folder / "utt2spk").write_text("rec1 ann\nrec2 bob\n")
    (folder / "wav.scp").write_text((folder / "wav.scp").read_text() + "rec3 audio/rec3.wav\n")
    for number, name in enumerate(("wav.scp", "text", "")):
        for source in (folder / name, folder):
            assert orchestrate("manifest", "filter", source, tmp_path / "x.jsonl") == 2
            said = capsys.readouterr().err
            assert "is a" in said and "orchestrate manifest from-kaldi" in said
        words = said[said.index("manifest") :].split("orchestrate ")[-1].split()
        out = tmp_path / f"{number}.jsonl"
        assert orchestrate(*words[:-1], out) == 0
        assert capsys.readouterr().out.splitlines()[1] == "left out 1 of 3: 1 without a transcript"
        found = {
            each.id: (each.text, each.speaker, each.duration)
            for each in load_manifest(out).utterances
        }
        assert found == {"rec1": ("HELLO THERE", "ann", 2.0), "rec2": ("GOOD BYE", "bob", 2.0)}
        assert all(json.loads(line)["duration"] == 2.0 for line in out.read_text().splitlines())


def test_segments_of_a_kaldi_directory(tmp_path: Path) -> None:
    folder = kaldi(tmp_path / "train")
    (folder / "segments").write_text("u1 rec1 0.0 0.75\nu2 rec1 0.75 2.0\n")
    (folder / "text").write_text("u1 HELLO\nu2 THERE\n")
    assert orchestrate("manifest", "from-kaldi", folder, tmp_path / "m.jsonl") == 0
    found = {
        each.id: (each.offset, each.duration)
        for each in load_manifest(tmp_path / "m.jsonl").utterances
    }
    assert found == {"u1": (0.0, 0.75), "u2": (0.75, 1.25)}
    (folder / "segments").write_text("u1 rec1 0.0 0.75\nu2 rec1 0.5 -1\n")
    assert orchestrate("manifest", "from-kaldi", folder, tmp_path / "n.jsonl") == 0
    last = {each.id: each.duration for each in load_manifest(tmp_path / "n.jsonl").utterances}
    assert last == {"u1": 0.75, "u2": 1.5}  # to the end of its recording


def test_the_sign_by_which_dos_ends_a_text_is_no_word(tmp_path: Path) -> None:
    tone(tmp_path / "d" / "a.wav", 2.0)
    (tmp_path / "d" / "a.txt").write_bytes(b"hello there\r\n\x1a")
    assert orchestrate("manifest", "from-folder", tmp_path / "d", tmp_path / "m.jsonl") == 0
    assert json.loads((tmp_path / "m.jsonl").read_text())["text"] == "hello there"


def test_brackets_of_a_kaldi_directory_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = kaldi(tmp_path / "train"), tmp_path / "m.jsonl"
    (folder / "text").write_text("rec1 hello <unk>\nrec2 [noise] good bye\n")
    assert orchestrate("manifest", "from-kaldi", folder, out, "--seed", 1) == 0
    [_, note] = capsys.readouterr().out.splitlines()
    said, command = note.split("this leaves it out: orchestrate ")
    assert said == (
        "of 2 utterances the text has something in brackets, such as '<unk>', and it is learnt as words; "
    )
    assert orchestrate(*shlex.split(command)) == 0
    found = load_manifest(tmp_path / "m-said.jsonl").utterances
    assert {each.text for each in found} == {"hello", "good bye"}


def test_utterances_that_are_their_own_speakers_have_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Recipes without speakers map each utterance to itself; a set of one voice had a speaker for each line."""
    folder = kaldi(tmp_path / "train")
    (folder / "utt2spk").write_text("rec1 rec1\nrec2 rec2\n")
    assert orchestrate("manifest", "from-kaldi", folder, tmp_path / "m.jsonl") == 0
    first, note = capsys.readouterr().out.splitlines()
    assert first.endswith("2 utterances, 0.00 h")
    assert note.startswith("utt2spk names every utterance as its own speaker")
    (folder / "utt2spk").write_text("rec1 rec1\nrec2 bob\n")
    assert orchestrate("manifest", "from-kaldi", folder, tmp_path / "n.jsonl") == 0
    assert {each.speaker for each in load_manifest(tmp_path / "n.jsonl").utterances} == {
        "rec1",
        "bob",
    }


def test_faults_of_a_kaldi_directory_name_file_and_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = kaldi(tmp_path / "train")
    (folder / "wav.scp").write_text("rec1 sox a.sph -t wav - |\nrec2 gone.wav\nrec2 again.wav\n")
    (folder / "text").write_text("rec1 HELLO\nrec2 GOOD BYE\nrec9 WHO\nrec4\n")
    assert orchestrate("manifest", "from-kaldi", folder, tmp_path / "m.jsonl") == 2
    assert capsys.readouterr().err.splitlines() == [
        f"{folder} has 5 faults:",
        f"  {folder}/wav.scp:3: the id 'rec2' is already in {folder}/wav.scp:2; ids are unique",
        f"  {folder}/text:4: 'rec4' stands alone; write what belongs to it, or delete the line",
        f"  {folder}/wav.scp:1: 'sox a.sph -t wav - |' is a command, and commands are never run: "
        "keep its output in a file",
        f"  {folder}/wav.scp:2: audio file 'gone.wav' does not exist, neither in {folder} nor in the current folder",
        f"  {folder}/text:3: wav.scp has no recording 'rec9'",
    ]
    (folder / "text").unlink()
    assert orchestrate("manifest", "from-kaldi", folder, tmp_path / "m.jsonl") == 2
    assert capsys.readouterr().err == f"{folder} has no file text\n  Name a Kaldi data directory.\n"


def test_a_channel_of_a_kaldi_directory_is_not_the_mean_of_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = kaldi(tmp_path / "train"), tmp_path / "m.jsonl"
    (folder / "reco2file_and_channel").write_text("rec1 rec1 A\nrec2 rec2 B\n")
    assert orchestrate("manifest", "from-kaldi", folder, out) == 0, "both are mono"
    out.unlink()
    both = np.stack([np.full(32000, 0.1), np.full(32000, 0.2)], axis=1)
    soundfile.write(folder / "audio" / "rec2.wav", both, 16_000)
    assert orchestrate("manifest", "from-kaldi", folder, out) == 2
    said = capsys.readouterr().err
    assert f"{folder}/text:2: audio file " in said
    assert """has 2 channels and the record means one, for "channel" is 'B'""" in said
    assert not out.exists()


def test_a_name_without_a_prefix_names_no_speaker(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "rec", tmp_path / "m.jsonl"
    for name in ("anna-1", "bert_2", "three"):
        tone(folder / f"{name}.wav").with_suffix(".txt").write_text(name)
    assert orchestrate("manifest", "from-folder", folder, out, "--speaker", "prefix") == 0
    assert {each.id: each.speaker for each in load_manifest(out).utterances} == {
        "anna-1": "anna",
        "bert_2": "bert",
        "three": "",
    }
    assert "of 1 recordings the name has no - or _, such as 'three.wav'" in capsys.readouterr().out
