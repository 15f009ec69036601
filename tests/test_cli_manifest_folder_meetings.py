"""Recordings of several people, and data directories that were written for another folder: `manifest from-folder`
and `from-kaldi` on AISHELL-4, speechocean762, ESPnet and SpeechBrain as they are published.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from orchestrator.corpus.label_files.segments import Segment
from orchestrator.corpus.label_files.textgrid import are_of_people
from orchestrator.corpus.manifests.manifest import load_manifest
from tests.cli_project import orchestrate
from tests.test_cli_manifest_folder_corpora import made, put, refused, told, tones

Tier = tuple[str, Sequence[tuple[float, float, str]]]


def grid(*tiers: Tier) -> str:
    """A TextGrid in its long form."""
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", "xmax = 9"]
    lines += ["tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for name, parts in tiers:
        lines += ['class = "IntervalTier"', f'name = "{name}"', "xmin = 0", "xmax = 9"]
        lines.append(f"intervals: size = {len(parts)}")
        for begin, end, text in parts:
            lines += [f"xmin = {begin}", f"xmax = {end}", f'text = "{text}"']
    return "\n".join(lines)


def test_tiers_of_people_are_their_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """AISHELL-4; a sentence and its translation are not chosen from."""
    folder = tmp_path / "test"
    tones(folder, "wav/L_R003.flac", seconds=9.0)
    first = [(1.0, 3.0, "那我们"), (5.0, 6.0, "就开始吧")]
    place = put(
        folder / "TextGrid/L_R003.TextGrid", grid(("001-M", first), ("002-F", [(2.5, 4.0, "好")]))
    )
    made(folder)
    assert told(tmp_path / "out.jsonl") == {
        ("那我们", 1.0, 2.0, "001-M"),
        ("就开始吧", 5.0, 1.0, "001-M"),
        ("好", 2.5, 1.5, "002-F"),
    }
    place.write_text(grid(("001-M", first), ("002-F", [(1.0, 3.0, "we")])))
    assert "is Praat TextGrid with several tiers, '001-M', '002-F'; save the one" in refused(
        folder, capsys
    )


@pytest.mark.parametrize(
    ("names", "people"),
    [
        (("R8001_N_SPK8013", "R8001_N_SPK8014"), True),
        (("A", "B"), True),
        (("Doctor", "Patient"), True),
        (("tier1", "tier2"), False),
        (("text", "notes"), False),
        (("Anna", "noise"), False),
        (("utt_1", "utt_2"), False),
        (("1", "1"), False),
    ],
)
def test_names_of_tiers_of_people_are_alike(names: tuple[str, str], people: bool) -> None:
    parts = [[Segment(1, 0.0, 1.0, "a")], [Segment(2, 0.5, 2.0, "b")]]
    assert are_of_people(list(zip(names, parts, strict=True))) is people


def test_paths_of_kaldi_begin_where_its_recipe_was_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """speechocean762, whose wav.scp lies in `train` below the recordings; and ESPnet's archives."""
    top = tmp_path / "so762"
    tones(top, "WAVE/S1/000010011.WAV", "WAVE/S1/000010035.WAV")
    scp = put(
        top / "train/wav.scp",
        "000010011\tWAVE/S1/000010011.WAV\n000010035\tWAVE/S1/000010035.WAV\n",
    )
    put(top / "train/text", "000010011\tWE CALL IT BEAR\n000010035\tTHEY\n")
    out = tmp_path / "m.jsonl"
    assert orchestrate("manifest", "from-kaldi", top / "train", out) == 0
    found = {each.id: each for each in load_manifest(out).utterances}
    assert {name: each.text for name, each in found.items()} == {
        "000010011": "WE CALL IT BEAR",
        "000010035": "THEY",
    }
    assert Path(found["000010011"].audio or "").resolve() == top / "WAVE/S1/000010011.WAV"
    scp.write_text("000010011 gone/1.wav\n000010035 dump/format.1/a.ark:24\n")
    capsys.readouterr()
    assert orchestrate("manifest", "from-kaldi", top / "train", tmp_path / "n.jsonl") == 2
    said = capsys.readouterr().err
    assert f"{scp}:1: audio file 'gone/1.wav' does not exist, neither in {top}/train nor in" in said
    assert f"{scp}:2: 'dump/format.1/a.ark:24' is a place in an archive, which is not read" in said


def test_texts_of_kaldi_that_are_not_scored_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tones(tmp_path / "k", "a.wav", "b.wav")
    put(tmp_path / "k/wav.scp", "a a.wav\nb b.wav\n")
    put(tmp_path / "k/text", "a hello\nb ignore_time_segment_in_scoring\n")
    assert orchestrate("manifest", "from-kaldi", tmp_path / "k", tmp_path / "m.jsonl") == 0
    assert [each.text for each in load_manifest(tmp_path / "m.jsonl").utterances] == ["hello"]
    assert "left out 1 of 2: 1 marked as not to be scored" in capsys.readouterr().out


def test_the_words_of_a_list_of_speechbrain_become_texts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "sb"
    tones(folder, "wavs/a.wav", "wavs/b.wav")
    rows = {
        name: {"wav": f"{{data_root}}/wavs/{name}.wav", "length": 1.0, "words": name.upper()}
        for name in "ab"
    }
    table = put(folder / "train.json", json.dumps(rows, indent=1))
    said = refused(folder, capsys, "--transcripts", table)
    _, _, command = said.partition("; the words of SpeechBrain become texts with: ")
    subprocess.run(command, shell=True, check=True)
    assert made(folder, "--transcripts", folder / "manifest.jsonl") == {
        "wavs/a": "A",
        "wavs/b": "B",
    }
