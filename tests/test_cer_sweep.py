"""A sweep that minimises the CER has its plots, and `orchestrate trial`, in that rate."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.records.results import SetMeasurement
from orchestrator.records.store import StudyFolder
from orchestrator.reporting.cards.model_card import card_plot
from orchestrator.reporting.page.charts import charts
from orchestrator.reporting.wording import plotted_limits, plotted_rates
from orchestrator.sweepfile.limits import Limit
from orchestrator.sweepfile.search_space import Metric
from orchestrator.sweepfile.sweep import Budget
from orchestrator.verdicts.concluding import conclude
from orchestrator.verdicts.saved_adapters import best_adapter
from tests.cli_project import SWEEP, make_project, orchestrate
from tests.fake_worker import FakeWorker
from tests.running_support import RESAMPLES, make_spec, run

LIMITS = {
    "guardrails": {"heldout_cer": Limit(max_regression=0.3)},
    "acceptance": {"domain_cer": Limit(min_gain=0.1), "domain_wer": Limit(min_gain=0.2)},
}


class CharacterWorker(FakeWorker):
    """A fake worker that counts characters: five a word, of which one is wrong in each wrong word."""

    def _set(self, name: str, rate: float, seed: int) -> SetMeasurement:
        measured = super()._set(name, rate, seed)
        characters = tuple(5 * words for words in measured.reference_words)
        counts = {"characters": characters, "character_errors": measured.errors}
        return measured.model_copy(update=counts)


def test_plots_are_in_the_rate_that_the_search_minimises(tmp_path: Path) -> None:
    spec = make_spec(metric=Metric(name="domain_cer"), budget=Budget(trials=3), **LIMITS)
    run(spec, tmp_path, CharacterWorker())
    folder = StudyFolder(tmp_path, "s")
    conclusion = conclude(spec, folder, RESAMPLES)
    assert conclusion.best is not None
    by_id = {chart.id: chart for chart in charts(spec, folder, conclusion)}
    gain = by_id["gain"]
    assert (gain.x, gain.y) == ("rise of held-out CER, points", "fall of domain CER, points")
    assert {("x", 0.3), ("y", 0.1)} <= {(axis, value) for axis, value, _ in gain.limits}
    own = {
        result.number: (result.delta["heldout_cer"], -result.delta["domain_cer"])
        for result in conclusion.results
    }
    chosen = [series for series in gain.series if series.view == "chosen"]
    dots = [point[:2] for series in chosen if series.role != "bounds" for point in series.points]
    assert sorted(dots) == sorted(own.values())
    crosses = [series for series in gain.series if series.view == "bounds"]
    assert [cross.points[2][:2] for cross in crosses] == list(own.values())
    assert {series.view for series in gain.series} == {"chosen", "bounds", "scales", "steps"}
    ends = {
        point[:2] for series in gain.series if series.view == "steps" for point in series.points
    }
    assert all(-100 < x < 100 and abs(y) < 6 for x, y in ends)
    assert {"steps-domain", "steps-domain_cer", "steps-heldout_cer"} <= by_id.keys()
    curve = by_id["steps-domain_cer"]
    assert curve.y == "domain CER, %" and curve.limits[0][1] == pytest.approx(6, abs=1)
    kept = best_adapter(folder, conclusion.best)
    plot = card_plot(spec, kept, conclusion)
    assert "domain gain, CER points" in plot and "allowed: less than 0.3" in plot


@pytest.mark.parametrize(
    ("guarded", "plotted"),
    [("heldout_wer", "heldout"), ("heldout_cer", "heldout_cer"), ("domain_cer", "heldout_cer")],
)
def test_a_plot_has_the_heldout_rate_that_is_limited(guarded: str, plotted: str) -> None:
    """Otherwise the one that the search minimises."""
    limits = {guarded: Limit(max_regression=0.4)}
    spec = make_spec(metric=Metric(name="domain_cer"), guardrails=limits, acceptance={})
    assert plotted_rates(spec) == ("domain_cer", plotted)
    assert plotted_limits(spec) == (None, 0.4 if "heldout" in guarded else None)


def test_a_trial_that_is_run_again_has_the_rates_of_the_sweep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = make_project(tmp_path, SWEEP.replace("method: tpe", "metric: {name: domain_cer}"))
    made = {
        "worker": lambda spec, folder: CharacterWorker(sets=spec.data.evaluated["domain"].path.stem)
    }
    assert orchestrate(spec, "--quiet", **made) in (0, 4, 5)
    capsys.readouterr()
    assert orchestrate("trial", spec, "0", "--quiet", **made) == 0
    said = capsys.readouterr().out
    assert "domain CER" in said and "domain WER" in said and "heldout CER" not in said
