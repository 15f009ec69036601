"""The table of checks, and what ignoring one by name does: nothing stops, nothing is silent."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from orchestrator.checks import CHECKS, Finding, Ignorable, finding, may_be_ignored
from orchestrator.errors import DataError, SpecError
from orchestrator.records.results import Measurement
from orchestrator.records.store import StudyFolder
from orchestrator.refused_findings import refused, stop
from orchestrator.sweepfile.loading import changed_fields, load_spec
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.headroom import headroom, high_rates
from tests.cli_project import SWEEP, folder_of, make_project, orchestrate, ran_project
from tests.scoring_support import set_with


def test_what_can_be_ignored_is_what_the_table_says() -> None:
    assert set(get_args(Ignorable)) == {check.name for check in CHECKS.values() if not check.fixed}


def test_every_check_is_planted_by_a_test() -> None:
    own = (Path(__file__).name, "test_docs.py")
    tests = "".join(
        path.read_text() for path in Path(__file__).parent.glob("test_*.py") if path.name not in own
    )
    assert not [name for name in CHECKS if f'"{name}"' not in tests]


def test_the_level_of_a_finding_is_the_tables() -> None:
    assert finding("audio-overlap", "x") == Finding("audio-overlap", "refuse", "x")
    assert finding("too-few", "x").level == "warn"


def test_all_refusals_are_said_at_once_with_the_way_on() -> None:
    found = [
        finding("empty", "no clip."),
        finding("audio-overlap", "both."),
        finding("too-few", "few."),
    ]
    with pytest.raises(DataError) as caught:
        stop(found, (), "Not so", DataError)
    assert str(caught.value) == (
        "Not so:\n  - no clip. (empty)\n  - both. (audio-overlap)\n"
        "Correct it. Or go on in spite of it, with the doubt on record: checks.ignore='[audio-overlap]'"
    )
    with pytest.raises(DataError, match=r"^Not so:\n  - no clip\. \(empty\)$"):
        stop(found, ("audio-overlap",), "Not so", DataError)
    stop(found[1:], ("audio-overlap",), "Not so", DataError)
    assert refused(found, ()) == found[:2]


def test_what_is_ignored_already_stays_so_with_the_advised_setting() -> None:
    found = [finding("audio-overlap", "both."), finding("token-cap", "long.")]
    with pytest.raises(DataError, match=r"checks\.ignore='\[too-few, audio-overlap, token-cap\]'$"):
        stop(found[1:], ("too-few", "audio-overlap"), "Not so", DataError)


def test_a_check_that_cannot_be_ignored_says_why() -> None:
    with pytest.raises(
        ValueError, match="fingerprint cannot, because the numbers do not measure the same thing"
    ):
        may_be_ignored("fingerprint")
    assert may_be_ignored("padding") == "padding"


def test_an_unknown_name_is_refused_with_the_nearest(tmp_path: Path) -> None:
    spec = make_project(tmp_path, SWEEP + "checks: {ignore: [to-few, zero-delta]}\n")
    with pytest.raises(SpecError) as caught:
        load_spec(spec)
    unknown, fixed, _ = str(caught.value).split("\n")
    assert (
        "checks.ignore.0 cannot be `to-few`; did you mean `too-few`? allowed: 'audio-overlap'"
        in unknown
    )
    assert "zero-delta cannot, because there is nothing to measure" in fixed


def test_a_model_that_hears_nothing_is_doubted(tmp_path: Path) -> None:
    def measured(errors: int, character_errors: int) -> Measurement:
        sets = {"domain": set_with(errors, 10, character_errors, 50)}
        return Measurement(trial=None, step=0, adapter_scale=1.0, fingerprint="f", sets=sets)

    spec = load_spec(make_project(tmp_path))
    assert high_rates(spec, measured(5, 49), "the untuned model") == []
    [doubt] = high_rates(spec, measured(16, 3), "the untuned model")
    assert (doubt.name, doubt.level) == ("high-wer", "warn")
    assert doubt.message.startswith("the untuned model has a WER of 160.0 % on domain")
    spaceless = load_spec(tmp_path / "sweeps" / "demo.yaml", ["metric={name: domain_cer}"])
    assert high_rates(spaceless, measured(10, 3), "the untuned model") == []
    [doubt] = high_rates(spaceless, measured(5, 40), "the untuned model")
    assert doubt.message.startswith("the untuned model has a CER of 80.0 % on domain")


def test_what_is_ignored_may_change_between_runs(tmp_path: Path) -> None:
    spec = make_project(tmp_path)
    before, after = load_spec(spec), load_spec(spec, ["checks.ignore=[too-few]"])
    assert [(change.path, change.allowed) for change in changed_fields(before, after)] == [
        ("checks.ignore", True)
    ]


def overlapping(root: Path) -> Path:
    """A project whose held-out set is its training set."""
    spec = make_project(root)
    (root / "data" / "heldout.jsonl").write_bytes((root / "data" / "train.jsonl").read_bytes())
    return spec


def test_a_refusal_ignored_by_name_is_noted_and_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = overlapping(tmp_path)
    assert orchestrate(spec) == 2
    assert "checks.ignore='[audio-overlap]'" in capsys.readouterr().err
    assert orchestrate(spec, "checks.ignore=[audio-overlap]") == 0
    out = capsys.readouterr().out
    assert "Check audio-overlap is ignored by the sweep file." in out
    assert (
        "Check audio-overlap was ignored: 3 of 3 utterances of heldout"
        in out.partition("cannot say")[2]
    )
    folder = StudyFolder(tmp_path / "studies", "demo")
    [noted] = [
        line for line in folder.notes.read_text().split("\n") if "audio-overlap is ignored" in line
    ]
    assert noted.startswith("- 20") and "data: 3 of 3 utterances of heldout" in noted
    assert "audio-overlap" in {each.name for each in folder.findings()}
    assert orchestrate("diagnose", spec, "checks.ignore=[audio-overlap]") == 0
    assert "ignored (audio-overlap): 3 of 3" in capsys.readouterr().out


def test_a_warning_stands_among_the_doubts_of_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = make_project(tmp_path)
    assert orchestrate(spec) == 0
    doubts = capsys.readouterr().out.partition("What the numbers cannot say")[2]
    assert (
        "3 training utterances are few; below 200 most trials memorise them"
        in doubts.partition("Baseline")[0]
    )


def test_a_gain_beyond_the_baseline_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = make_project(
        tmp_path, SWEEP.replace("domain_wer: {min_gain: 1.0}", "domain_wer: {min_gain: 40}")
    )
    for _ in range(2):
        assert orchestrate(spec) == 2
        error = capsys.readouterr().err
        assert error.startswith(
            "The baseline leaves no room for the gain that is asked for:\n  - the baseline's domain"
        )
        assert (
            "so a gain of 40 points cannot be reached by any adapter" in error
            and "(no-headroom)" in error
        )
    assert orchestrate(spec, "checks.ignore=[no-headroom]") == 4


def test_what_the_baseline_refuses_can_be_corrected_in_the_sweep_file(tmp_path: Path) -> None:
    refused = SWEEP.replace("min_gain: 1.0", "min_gain: 40").replace(
        "method: tpe", "method: random"
    )
    spec = make_project(tmp_path / "refused", refused)
    assert orchestrate(spec, "--quiet") == 2
    spec.write_text(SWEEP)
    code, straight = orchestrate(spec, "--quiet"), ran_project(tmp_path / "straight")
    assert code == orchestrate(straight, "--quiet")
    folder, other = folder_of(spec), folder_of(straight)
    assert folder.read_spec() == other.read_spec()
    of_both = [
        [result.model_copy(update={"seconds": 0.0}) for result in each.results()]
        for each in (folder, other)
    ]
    assert of_both[0] == of_both[1] and of_both[0]


def test_little_headroom_warns(tmp_path: Path) -> None:
    def found(spec: SweepSpec, *counts: int) -> list[tuple[str, str]]:
        return [(each.name, each.level) for each in headroom(spec, set_with(*counts))]

    spec = load_spec(make_project(tmp_path))
    assert found(spec, 49, 1000) == [("low-headroom", "warn")]
    assert found(spec, 10, 1000) == [("no-headroom", "refuse")]
    assert found(spec, 50, 1000) == []
    characters = ["metric={name: domain_cer}", "acceptance={domain_cer: {min_gain: 2}}"]
    spaceless = load_spec(tmp_path / "sweeps" / "demo.yaml", characters)
    assert found(spaceless, 9, 10, 19, 1000) == [("no-headroom", "refuse")]
    assert found(spaceless, 9, 10, 49, 1000) == [("low-headroom", "warn")]
    assert found(spaceless, 0, 10, 60, 1000) == []


def test_damaged_findings_are_a_doubt_and_made_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = ran_project(tmp_path)
    place = tmp_path / "studies" / "demo" / "findings.json"
    verdict, lost = orchestrate("report", spec), "found is lost, as findings.json was damaged"
    capsys.readouterr()
    for data in (b"{", None):
        place.unlink()
        if data is not None:
            place.write_bytes(data)
            assert orchestrate("report", spec) == verdict
            assert lost in " ".join(capsys.readouterr().out.split())
            assert orchestrate("repair", spec, "--check") == 3
            assert "findings.json has been altered" in capsys.readouterr().err
        assert orchestrate(spec, "--quiet") == verdict
        assert "made again: findings.json" in folder_of(spec).noted()
        assert lost in " ".join(capsys.readouterr().out.split())
