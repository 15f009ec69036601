"""`manifest from-folder` on corpora whose lists name recordings in a way of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_cli_manifest import tone
from tests.test_cli_manifest_folder_corpora import made, put, refused, tones


def test_prompts_of_voxforge_name_features(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Submissions with one list and with two, recordings in `wav` and in `flac`."""
    folder = tmp_path / "voxforge"
    for number, (name, sound) in enumerate(
        (("Ann-20080318-kdl", "wav"), ("bob-20090101-x", "flac"))
    ):
        for clip in (19, 20):
            tone(folder / name / sound / f"b00{clip}.{sound}", 1.0, 400 + 50 * number + clip)
        rows = f"{name}/mfc/b0019 HEARD HER\n{name}/mfc/b0020 AND OFF\n"
        put(folder / name / "etc/PROMPTS", rows)
        put(folder / name / "etc/README", "User Name: ann\nGender: Female\n")
    put(folder / "bob-20090101-x/etc/prompts-original", "b0019 Heard her,\nb0020 And off.\n")
    assert made(folder, "--speaker", "folder") == {
        "Ann-20080318-kdl/wav/b0019": "HEARD HER",
        "Ann-20080318-kdl/wav/b0020": "AND OFF",
        "bob-20090101-x/flac/b0019": "Heard her,",
        "bob-20090101-x/flac/b0020": "And off.",
    }
    assert capsys.readouterr().out.splitlines()[1:] == [
        "of 2 recordings the list is prompts-original, and not PROMPTS beside it"
    ]
    own = folder / "Ann-20080318-kdl"
    assert set(made(own)) == {"wav/b0019", "wav/b0020"}
    every = put(tmp_path / "prompts.txt", "*/Ann-20080318-kdl/mfc/b0019 ONE\n*/b0020 TWO\n")
    assert made(own, "--transcripts", every) == {"wav/b0019": "ONE", "wav/b0020": "TWO"}


def test_prompts_of_voxforge_for_other_recordings_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "Ann-1-a"
    tones(folder, "wav/b1.wav", "wav/b2.wav")
    table = put(folder / "etc/PROMPTS", "Ann-1-a/mfc/b1 ONE\nAnn-1-a/mfc/b1 TWO\n")
    told = f"{table}:2: 'Ann-1-a/mfc/b1' has a transcript already, {table}:1"
    assert told in refused(folder, capsys)
    table.write_text("Ann-1-a/mfc/b1 ONE\nAnn-1-a/mfc/b3 THREE\n")
    assert made(folder) == {"wav/b1": "ONE"}
    assert capsys.readouterr().out.splitlines()[1] == (
        "left out 2 of 3: 1 without a transcript, 1 listed without a recording (the first is "
        f"{table}:2: 'Ann-1-a/mfc/b3')"
    )
