"""`take:`: what another study decided becomes fixed in this one, and is compared on resume."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from orchestrator.errors import SpecError, StudyError
from orchestrator.records.results import TrialResult, TrialState
from orchestrator.records.store import StudyFolder
from orchestrator.running.chained_parameters import source_trial
from orchestrator.running.chained_spec import load_chained_spec
from orchestrator.running.spec_changes import agree_on_spec
from orchestrator.sweepfile.loading import load_spec, resolved_yaml
from orchestrator.sweepfile.sweep import TakeSpec
from orchestrator.verdicts.concluding import conclude
from orchestrator.verdicts.conclusion import Conclusion
from tests.cli_project import SWEEP, make_project, orchestrate

PHASE2 = (
    SWEEP.replace("name: demo", "name: phase2")
    .replace(
        "  target_modules: attention\n",
        "  adapter: {values: [dora, pissa]}\n"
        "  target_modules: {values: [attention, mine], presets: {mine: [fc1, q_proj]}}\n",
    )
    .replace(
        "{learning_rate: 5.0e-4, rank: 32}",
        "{learning_rate: 5.0e-4, rank: 32, target_modules: mine}",
    )
)
PHASE3 = SWEEP.replace("name: demo", "name: phase3").replace("  target_modules: attention\n", "").replace(
    "  rank: {min: 4, max: 32, log: true}\n", ""
).replace(", rank: 32}", "}").replace("budget: {trials: 5}", "budget: {trials: 2}") + (
    "take: {study: phase2, parameters: [adapter, rank, target_modules]}\n"
)  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose phase 2 is finished; returns the sweep file of phase 3."""
    root = tmp_path_factory.mktemp("chained")
    phase2 = make_project(root, PHASE2)
    assert orchestrate(phase2, "--quiet") == 0
    phase3 = root / "sweeps" / "phase3.yaml"
    phase3.write_text(PHASE3)
    return phase3


def studies(phase3: Path) -> Path:
    return phase3.parents[1] / "studies"


def test_the_best_trial_of_the_other_study_is_taken_and_written_down(project: Path) -> None:
    source = StudyFolder(studies(project), "phase2")
    best = conclude(load_spec(source.path / "spec.yaml"), source).best
    assert best is not None
    plan = source.read_plan(best.number)
    assert plan is not None
    spec = load_chained_spec(project, [], studies(project))
    assert spec.take is not None
    assert (spec.take.study, spec.take.trial, spec.take.recipe) == (
        "phase2",
        best.number,
        plan.recipe,
    )
    fixed = spec.parameters.fixed
    assert (fixed["adapter"], fixed["rank"]) == (plan.params.adapter, plan.params.rank)
    assert spec.parameters.presets[str(fixed["target_modules"])] == plan.params.target_patterns
    assert not {"adapter", "rank", "target_modules"} & {
        dimension.name for dimension in spec.parameters.searched
    }


def test_a_run_keeps_what_was_taken_and_a_changed_choice_is_refused(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert orchestrate("validate", project) == 0
    assert "taken from trial " in capsys.readouterr().out
    assert orchestrate("plan", project) == 0
    out = capsys.readouterr().out
    assert " taken " in out and " of study phase2" in out
    assert orchestrate(project, "--quiet") in (0, 4, 5)
    folder = StudyFolder(studies(project), "phase3")
    stored = load_spec(folder.path / "spec.yaml")
    assert stored == load_chained_spec(project, [], studies(project))
    assert stored.take is not None and stored.take.trial is not None
    plan = folder.read_plan(0)
    assert plan is not None and plan.params.rank == stored.parameters.fixed["rank"]
    other = next(n for n in range(5) if n != stored.take.trial)
    changed = load_chained_spec(project, [f"take.trial={other}"], studies(project))
    with pytest.raises(StudyError) as refused:
        agree_on_spec(changed, folder)
    assert (
        f"The sweep file takes trial {other} now: its own take.trial says so, or the other study has another best "
        f"trial than when this study began. take.trial: {stored.take.trial} keeps what was taken then.\n"
    ) in str(refused.value)
    assert "take.recipe" in str(refused.value)
    kept = load_chained_spec(project, [f"take.trial={stored.take.trial}"], studies(project))
    agree_on_spec(kept, folder)
    assert orchestrate("status", project) in (0, 4, 5), "reading needs the other study no more"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["take.study=phase3"],
            "sweep phase3 takes parameters from itself\n  Name another study under take.study.",
        ),
        (
            ["take.study=phase1", "name=phase4"],
            "sweep phase4 takes adapter, rank, target_modules from study phase1, which is not in STUDIES\n"
            "  Run sweep phase1 first, or write the values under parameters and remove take.",
        ),
        (
            ["take.trial=77"],
            "study phase2 has no trial 77, from which sweep phase3 takes parameters\n"
            "  It has trials 0 to 4; without take.trial its best one is taken.",
        ),
    ],
)
def test_what_cannot_be_taken_is_said(project: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(StudyError) as refused:
        load_chained_spec(project, overrides, studies(project))
    assert str(refused.value).replace(str(studies(project)), "STUDIES") == message


def test_an_unfinished_study_decides_nothing(project: Path, tmp_path: Path) -> None:
    source = load_spec(studies(project) / "phase2" / "spec.yaml")
    StudyFolder(tmp_path, "phase2").write_spec(resolved_yaml(source))
    with pytest.raises(StudyError, match="from study phase2, which is not finished"):
        load_chained_spec(project, [], tmp_path)


def test_a_study_that_has_taken_goes_on_when_the_other_is_not_finished_any_more(
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = shutil.copytree(project.parents[1], tmp_path / "copy")
    monkeypatch.chdir(root)
    phase3 = root / "sweeps" / "phase3.yaml"
    assert orchestrate(phase3, "--quiet") in (0, 4, 5)
    source = StudyFolder(root / "studies", "phase2")
    with source.lock():
        source.write_spec(resolved_yaml(load_spec(source.spec, ["budget.trials=9"])))
    capsys.readouterr()
    assert orchestrate(phase3, "--quiet", "budget.trials=3") == 3
    advised = capsys.readouterr().err.partition("goes on without it: ")[2]
    assert advised == "orchestrate run phase3\n"
    assert orchestrate(*advised.split()[1:], "--quiet", "budget.trials=3") in (0, 4, 5)
    assert len(StudyFolder(root / "studies", "phase3").results()) == 3


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose phase 2 allows nothing, so that none of its trials is feasible; the sweep
    file of phase 3.
    """
    root = tmp_path_factory.mktemp("strict")
    phase2 = make_project(root, PHASE2.replace("max_regression: 0.5", "max_regression: 0.0"))
    assert orchestrate(phase2, "--quiet") == 5
    phase3 = root / "sweeps" / "phase3.yaml"
    phase3.write_text(PHASE3)
    return phase3


def lowest(phase3: Path) -> TrialResult:
    """Of phase 2, by its results alone."""
    results = StudyFolder(studies(phase3), "phase2").results()
    assert results and not any(result.feasible for result in results)
    return min(
        (result for result in results if result.wer), key=lambda result: result.wer["domain"]
    )


def test_a_chain_ends_where_no_trial_is_feasible_and_says_what_that_means(strict: Path) -> None:
    nearest = lowest(strict)
    with pytest.raises(StudyError) as refused:
        load_chained_spec(strict, [], studies(strict))
    assert str(refused.value) == (
        "sweep phase3 takes adapter, rank, target_modules from study phase2, none of whose 5 trials is feasible\n"
        "  Each was pruned, failed or breaks a guardrail, so study phase2 found nothing that its own sweep file allows "
        "to use, and the chain ends here.\n"
        f"  Lowest domain WER: trial {nearest.number}, {nearest.wer['domain']:.2f} % ({nearest.delta['domain']:+.2f} "
        f"points), {nearest.state}: {nearest.reason}.\n"
        "  Ways on: mend sweep phase2 and run it as a new study; or take.fallback: lowest_domain, which takes that "
        "trial and marks it infeasible; or take.trial: N; or write the values under parameters and remove take."
    )
    assert orchestrate(strict, "--quiet") == 3


def test_where_nothing_was_measured_even_the_fallback_takes_nothing() -> None:
    failed = TrialResult(
        number=0, state=TrialState.FAIL, reason="loss is not finite", params={}, feasible=False, step=None,
        adapter_scale=None, wer={}, delta={}, constraints={}, steps_trained=0,
    )  # fmt: skip
    nothing = Conclusion((failed,), None, None, None, None, (), None)
    take = TakeSpec(study="phase2", parameters=("rank",), fallback="lowest_domain")
    with pytest.raises(
        StudyError, match="None was measured: read why in the report of phase2, and mend that sweep"
    ):
        source_trial("phase3", take, nothing)


def test_the_fallback_takes_the_lowest_domain_wer_and_marks_it_wherever_it_is_shown(
    strict: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fallback, nearest = "take.fallback=lowest_domain", lowest(strict)
    spec = load_chained_spec(strict, [fallback], studies(strict))
    assert spec.take is not None
    assert (spec.take.trial, spec.take.infeasible) == (nearest.number, True)
    assert spec.parameters.fixed["adapter"] == nearest.params["adapter"]
    mark = f"taken from trial {nearest.number} of study phase2, which is INFEASIBLE: it does not keep the guardrails of"
    assert mark in spec.taken
    assert orchestrate("validate", strict, f"take.trial={nearest.number}") == 0, (
        "named, it is taken and marked as well"
    )
    assert mark in " ".join(capsys.readouterr().out.split())
    assert orchestrate("plan", strict, fallback) == 0
    planned = " ".join(capsys.readouterr().out.split())
    assert mark in planned and " taken, infeasible " in planned
    assert orchestrate(strict, fallback, "--quiet") in (0, 4, 5)
    folder = StudyFolder(studies(strict), "phase3")
    assert mark in " ".join(capsys.readouterr().out.split())
    assert mark in folder.report_markdown.read_text() and mark in folder.notes.read_text()
    assert load_spec(folder.path / "spec.yaml").taken == spec.taken


def test_the_fallback_changes_nothing_where_a_trial_is_feasible(project: Path) -> None:
    plain, fallback = (
        load_chained_spec(project, words, studies(project))
        for words in ([], ["take.fallback=lowest_domain"])
    )
    assert plain.take and fallback.take
    assert (fallback.take.trial, fallback.take.infeasible) == (plain.take.trial, False)
    assert fallback.taken == plain.taken and "INFEASIBLE" not in plain.taken


def test_scales_and_ratios_are_taken_as_the_trial_had_them(project: Path) -> None:
    names = [
        "parameters.adapter_scale=",
        "take.parameters=[alpha_ratio, rank, adapter, target_modules, adapter_scale]",
    ]
    spec = load_chained_spec(project, names, studies(project))
    assert spec.take is not None and spec.take.trial is not None
    result = StudyFolder(studies(project), "phase2").read_result(spec.take.trial)
    assert result is not None
    assert spec.parameters.adapter_scales == (result.adapter_scale,)
    assert spec.parameters.fixed["alpha_ratio"] == 1.0


@pytest.mark.parametrize("ratio", ["0.7", "{values: [0.7]}", "{min: 0.7, max: 0.8, step: 0.1}"])
def test_a_ratio_that_alpha_by_rank_does_not_give_back_is_taken(tmp_path: Path, ratio: str) -> None:
    demo = make_project(
        tmp_path,
        SWEEP.replace("{min: 4, max: 32, log: true}", "6")
        .replace(", rank: 32", "")
        .replace("  max_steps", f"  alpha_ratio: {ratio}\n  max_steps")
        .replace("trials: 5", "trials: 1"),
    )
    assert orchestrate(demo, "--quiet") in (0, 4, 5)
    taking = demo.with_name("phase3.yaml")
    taking.write_text(PHASE3)
    names = ["take.study=demo", "take.trial=0", "take.parameters=[alpha_ratio, rank]"]
    spec = load_chained_spec(taking, names, studies(demo))
    assert spec.parameters.fixed["alpha_ratio"] in (0.7, 0.8)


def test_what_was_taken_has_no_other_value_on_the_command_line(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert orchestrate(project, "--quiet") in (0, 4, 5)
    monkeypatch.chdir(studies(project).parent)
    for command in ("validate", "plan"):
        for value in ("{values: [4, 8]}", "8"):
            capsys.readouterr()
            assert orchestrate(command, "phase3", f"parameters.rank={value}") == 2
            assert "rank was taken from trial" in capsys.readouterr().err
    for removed in ("parameters.rank=", "parameters={learning_rate: 1.0e-4, max_steps: 10}"):
        assert orchestrate("validate", "phase3", "name=other", removed) == 2
        assert "rank was taken from trial" in capsys.readouterr().err
    assert orchestrate("validate", "phase3") == 0


@pytest.mark.parametrize(
    "override", ["take.trial=1", "take.study=other", "take.parameters=[rank]", "take.infeasible=1"]
)
def test_where_a_study_took_from_has_no_other_value_on_the_command_line(
    project: Path,
    override: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A fork of it would name a trial that its values are not from."""
    assert orchestrate(project, "--quiet") in (0, 4, 5)
    monkeypatch.chdir(studies(project).parent)
    capsys.readouterr()
    assert orchestrate("phase3", "--fork", "phase4", override, "--quiet") == 2
    key = override.partition("=")[0]
    assert f"{key} was decided when the study began" in capsys.readouterr().err
    assert orchestrate("validate", "phase3", "name=phase4", "take=") == 0
    assert "taken" not in capsys.readouterr().out


def test_a_fork_of_a_study_by_its_name_takes_what_an_override_asks_for(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(studies(project).parent)
    rank = load_chained_spec(project, [], studies(project)).parameters.fixed["rank"]
    taking = ["take={study: phase2, parameters: [rank]}", "parameters.rank=", "start_with="]
    fork = ["phase2", "--fork", "phase5", *taking, "budget.trials=2", "--quiet"]
    assert orchestrate(*fork) in (0, 4, 5)
    assert f"rank={rank} taken from trial " in capsys.readouterr().out
    folder = StudyFolder(studies(project), "phase5")
    assert load_spec(folder.spec).parameters.fixed["rank"] == rank
    plan = folder.read_plan(0)
    assert plan is not None and plan.params.rank == rank
    assert orchestrate("phase5", "--quiet") in (0, 4, 5)


def test_a_parameter_is_taken_or_written_never_both(project: Path) -> None:
    with pytest.raises(
        SpecError, match="rank is under parameters and under take; remove it from one of the two"
    ):
        load_chained_spec(project, ["parameters.rank=8"], studies(project))
    with pytest.raises(
        SpecError, match=r"take.parameters cannot be .* different parameters, of learning_rate"
    ):
        load_chained_spec(project, [f"take.parameters={json.dumps(['depth'])}"], studies(project))
