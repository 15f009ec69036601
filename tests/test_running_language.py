"""Texts of another language under the rules for English are said, and English ones are not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.corpus.manifests.manifest import Manifest, load_manifest
from orchestrator.running.preflight import find_before_decoding
from orchestrator.sweepfile.loading import load_spec
from tests.cli_project import SWEEP, make_project

GERMAN = ("Er erhält 3,5 mg um acht Uhr", "Die Übelkeit ließ nach", "Der Puls ist ruhig", "ja")
ENGLISH = (
    "José went home",
    "she’s well",
    "two of them",
    "a café",
    "one",
    "it is",
    "so",
    "no",
    "yes",
    "ok",
    "go",
)


@pytest.mark.parametrize(
    ("texts", "rules", "said"),
    [
        (GERMAN, "whisper-en", True),
        (GERMAN, "basic", False),
        (ENGLISH, "whisper-en", False),
        (("тихо", "громко"), "whisper-en", True),
    ],
)
def test_another_language_under_the_rules_for_english(
    tmp_path: Path, texts: tuple[str, ...], rules: str, said: bool
) -> None:
    sweep = SWEEP.replace("{every: 100}", f"{{every: 100, normalizer: {rules}}}")
    spec = load_spec(make_project(tmp_path, sweep))
    manifest: Manifest = load_manifest(spec.data.domain)
    rows = [
        replace(manifest.utterances[0], id=str(index), text=text)
        for index, text in enumerate(texts)
    ]
    sets = {"domain": replace(manifest, utterances=tuple(rows))}
    findings = find_before_decoding(spec, sets, tmp_path / "cache")
    found = [each for each in findings if each.name == "not-english"]
    assert bool(found) is said
    if said and texts is GERMAN:
        assert "2 of 4 texts of domain" in found[0].message
        assert (
            "'Er erhält 3,5 mg um acht Uhr' counts as 'er erhalt 35 mg acht uhr'"
            in found[0].message
        )


def test_an_evaluation_set_without_spaces_is_said(tmp_path: Path) -> None:
    spec = load_spec(make_project(tmp_path, SWEEP))
    manifest = load_manifest(spec.data.domain)
    texts = {"train": "可以着陆", "domain": "左转航向", "heldout": "turn left"}
    sets = {
        name: replace(manifest, utterances=(replace(manifest.utterances[0], text=text),))
        for name, text in texts.items()
    }
    findings = find_before_decoding(spec, sets, tmp_path / "cache")
    said = [each.message for each in findings if each.name == "no-spaces"]
    assert len(said) == 1
    assert said[0].startswith("the references of domain are written without spaces between words")
    assert said[0].endswith("set limits on domain_cer, and metric: {name: domain_cer}.")
    by_characters = load_spec(
        tmp_path / "sweeps" / "demo.yaml",
        [
            "metric={name: domain_cer}",
            "guardrails={heldout_cer: {max_regression: 1}}",
            "acceptance={domain_cer: {min_gain: 1}}",
        ],
    )
    findings = find_before_decoding(by_characters, sets, tmp_path / "cache")
    assert not [each for each in findings if each.name == "no-spaces"], "as it was advised"
