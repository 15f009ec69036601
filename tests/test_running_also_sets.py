"""Sweeps with further evaluation sets, in every form that a file may have them, through all that
reads their plans again: the confirmation, and the commands on a study.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli_project import SWEEP, folder_of, make_project, orchestrate

Printed = pytest.CaptureFixture[str]

FORMS = {
    "a path": "data/confirm_heldout.jsonl",
    "a mapping": "{manifest: data/confirm_heldout.jsonl}",
    "a mapping with its rungs": "{manifest: data/confirm_heldout.jsonl, rungs: last}",
}


@pytest.fixture(params=list(FORMS.values()), ids=list(FORMS))
def spec(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A sweep file whose sets are divided by speaker for the confirmation."""
    named = "confirm: {domain: data/confirm_domain.jsonl, heldout: data/confirm_heldout.jsonl}"
    assert named in SWEEP
    return make_project(
        tmp_path,
        SWEEP.replace(named, f"also: {{tower: {request.param}}}\n  confirm: {{split: 0.4}}"),
    )


def test_a_plan_with_further_sets_is_read_again(spec: Path, capsys: Printed) -> None:
    assert orchestrate(spec, "--quiet") in (0, 4, 5)
    folder = folder_of(spec)
    confirmed = sorted((folder.path / "confirm").iterdir())
    assert len(confirmed) == 2, "the finalist, by two seeds"
    for words in (
        ("trial", spec, 0, "--quiet"),
        ("table", spec, "--of", "measurements"),
        ("table", spec, "--of", "utterances"),
        ("compare", f"{spec}:0", f"{spec}:1"),
        ("status", spec),
        ("repair", spec, "--check"),
    ):
        capsys.readouterr()
        assert orchestrate(*words) == 0, (words, capsys.readouterr().err)
    capsys.readouterr()
    assert orchestrate(spec) in (0, 4, 5)
    assert "tower" in capsys.readouterr().out
