"""The adapter of a trial's last measurement, which counts where a limit is on the course of the
training loss: what is exported and shown is what the search saw.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.sweepfile.loading import load_spec
from orchestrator.verdicts.saved_adapters import best_adapter, final_adapter
from orchestrator.verdicts.training_losses import all_losses
from tests.cli_project import SWEEP, folder_of, make_project, orchestrate

Printed = pytest.CaptureFixture[str]


@pytest.fixture(params=["falls", None], ids=["with the loss", "without"])
def spec(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A sweep whose trials are measured at four steps, and whose points come again."""
    text = SWEEP.replace("every: 100", "every: 50").replace("{min: 4, max: 32, log: true}", "8")
    text = text.replace("learning_rate: 5.0e-4, rank: 32", "learning_rate: 5.0e-4")
    if request.param is not None:
        text = text.replace("guardrails:\n", f"guardrails:\n  train_loss: {request.param}\n")
    spec = make_project(tmp_path, text.replace("confirm: {top: 1, seeds: [101, 102]}\n", ""))
    assert orchestrate(spec, "--quiet", "budget.trials=6") in (0, 4, 5)
    return spec


def test_the_last_adapter_is_the_one_of_the_last_step(spec: Path) -> None:
    sweep, folder = load_spec(spec), folder_of(spec)
    measured = [result for result in folder.results() if result.wer]
    others = 0
    for result in measured:
        final, best = final_adapter(sweep, folder, result), best_adapter(folder, result)
        last = folder.read_measurements(result.trained)[-1].step
        assert (final.step, best.step) == (last, result.step)
        assert (final.folder == best.folder) == (last == result.step)
        for each in (final, best):
            kept = json.loads((each.folder / "adapter_config.json").read_bytes())
            assert kept == {
                "number": result.trained,
                "step": each.step,
                "scale": each.adapter_scale,
            }
        others += final.folder != best.folder
        before, later = all_losses(sweep, folder, result)
        assert len(before + later) == (
            len(folder.read_measurements(result.trained)) // 2
            if sweep.guardrails.get("train_loss")
            else 0
        )
    assert others, "else nothing is shown of those that are not the best"
    assert any(result.duplicate_of is not None for result in measured)


def test_a_feasible_trial_is_feasible_at_one_of_its_scales(spec: Path, capsys: Printed) -> None:
    assert orchestrate("report", spec, "--format", "md") in (0, 4, 5)
    scales = capsys.readouterr().out.partition("Adapter scales of trial")[2].partition("\n## ")[0]
    assert scales and "| yes |" in scales
