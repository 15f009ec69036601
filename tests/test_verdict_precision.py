"""`evaluation.precision: {search: ..., verdict: ...}`: a search in one precision whose confirmation
is in another, from the sweep file to the verdict.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from orchestrator.planning.sweep_plan import sweep_plan
from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.results import Measurement
from orchestrator.records.store import StudyFolder
from orchestrator.reporting.documents.caveats import caveats
from orchestrator.sweepfile.evaluation import Precisions
from orchestrator.sweepfile.loading import load_spec, resolved_yaml
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.tuning.model import kernel_choice, linear_kernels
from orchestrator.verdicts.concluding import conclude
from tests.embedded import confirmed_sweep, run_to_end

PAIR = "evaluation.precision={search: bf16, verdict: fp32}"


def test_the_pair_is_kept_and_read_again(tmp_path: Path) -> None:
    spec = confirmed_sweep(tmp_path, PAIR)
    assert spec.evaluation.precision == Precisions(search="bf16", verdict="fp32")
    stored = tmp_path / "stored.yaml"
    stored.write_text(resolved_yaml(spec))
    assert load_spec(stored).evaluation == spec.evaluation
    plan = spec.evaluation.model_dump(mode="json")
    assert plan["precision"] == {"search": "bf16", "verdict": "fp32"}
    assert type(spec.evaluation).model_validate_json(json.dumps(plan)) == spec.evaluation


@pytest.mark.parametrize(
    ("training", "confirming"), [(None, None), ("bf16", "bf16"), ("fp32", None)]
)
def test_the_confirmation_trains_as_the_verdict_is_unless_training_has_its_own(
    tmp_path: Path, training: str | None, confirming: str | None
) -> None:
    more = [] if training is None else [f"evaluation.training_precision={training}"]
    whole = confirmed_sweep(tmp_path, PAIR, *more).evaluation.of_verdict
    assert whole.precision == Precisions()
    assert whole.training_precision == confirming


def test_confirm_sets_are_measured_in_the_precision_of_the_verdict(tmp_path: Path) -> None:
    spec = confirmed_sweep(tmp_path, PAIR)
    assert {name: spec.precision_of(name) for name in spec.data.all_evaluated} == {
        "domain": "bf16",
        "heldout": "bf16",
        "confirm_domain": "fp32",
        "confirm_heldout": "fp32",
    }


@dataclass(frozen=True)
class Finished:
    """A study whose sweep has ended, with what it keeps of its search and its confirmation."""

    spec: SweepSpec
    folder: StudyFolder
    trial: Measurement
    """Of the search's one trial."""
    run: Measurement
    """Of the one run of its confirmation."""
    plan: TrialPlan
    """Of that run."""

    def baseline(self, row: Measurement) -> Measurement:
        """The untuned model's numbers that `row` is compared with."""
        found = self.folder.read_baseline(row.fingerprint)
        assert found is not None
        return found

    def precision_of(self, row: Measurement) -> str:
        """The precision that the fingerprint of a measurement says."""
        return self.folder.evaluations()[row.fingerprint]["precision"]


def finished(folder: Path, name: str, precision: str, *more: str) -> Finished:
    """Run that sweep to its end with real workers."""
    spec = confirmed_sweep(folder, f"name={name}", f"evaluation.precision={precision}", *more)
    study = StudyFolder(folder / "studies", spec.name)
    run_to_end(spec, study)
    plan = study.read_plan(-1)
    assert plan is not None
    trial, run = (study.read_measurements(number)[-1] for number in (0, -1))
    return Finished(spec, study, trial, run, plan)


@pytest.mark.usefixtures("without_model_checks")
def test_a_verdict_in_fp32_rests_on_numbers_of_fp32_alone(tmp_path: Path) -> None:
    # a sweep in float32 throughout may find another kernel faster, which rounds otherwise
    both, exact, coarse = (
        finished(tmp_path, name, precision, "execution.kernel=aten")
        for name, precision in (
            ("both", "{search: bf16, verdict: fp32}"),
            ("exact", "fp32"),
            ("coarse", "bf16"),
        )
    )
    rough = "bf16, attention in fp32"
    assert [both.precision_of(row) for row in (both.trial, both.run)] == [rough, "fp32"]
    # the search is that of a sweep in bfloat16, its baseline included
    assert both.trial == coarse.trial != exact.trial
    assert both.baseline(both.trial) == coarse.baseline(coarse.trial)
    # the confirmation is that of a sweep in float32: recipe, baseline, words and rates
    assert both.plan.recipe == exact.plan.recipe != coarse.plan.recipe
    assert both.baseline(both.run) == exact.baseline(exact.run)
    assert both.run == exact.run
    verdict, wanted = (conclude(each.spec, each.folder).deciding for each in (both, exact))
    assert verdict is not None and verdict.confirmed
    assert verdict == wanted
    differs = [
        [
            line
            for line in caveats(each.spec, each.folder, conclude(each.spec, each.folder), True)
            if "bf16" in line
        ]
        for each in (both, exact)
    ]
    assert differs[1] == [] and "the optimism of the search holds that difference" in differs[0][0]


@pytest.mark.skipif(
    bool(linear_kernels.lacks_onednn(torch.device("cpu"), torch.float32)),
    reason="this torch has no oneDNN",
)
@pytest.mark.usefixtures("without_model_checks")
def test_a_kernel_that_was_fastest_in_float32_does_not_stop_a_confirmation_in_bf16(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_choice, "fastest", lambda seconds: "onednn")
    study = finished(tmp_path, "reversed", "{search: fp32, verdict: bf16}")
    parts = [study.folder.evaluations()[row.fingerprint] for row in (study.trial, study.run)]
    assert [part.get("kernel") for part in parts] == ["onednn", None]
    assert [part["precision"] for part in parts] == ["fp32", "bf16, attention in fp32"]


def test_a_plan_says_that_the_confirmation_is_in_another_precision(tmp_path: Path) -> None:
    said = "the search is in bf16, the confirmation in fp32"
    for changes, expected in (((PAIR,), True), ((), False)):
        lines = sweep_plan(confirmed_sweep(tmp_path, *changes)).conditions
        assert any(line.startswith(said) for line in lines) is expected
