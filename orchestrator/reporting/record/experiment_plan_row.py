"""The row of a study in the record of runs, cell by cell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.results import Measurement, TrialResult
from orchestrator.records.store import StudyFolder
from orchestrator.reporting.rendering.escape import markdown, plain
from orchestrator.reporting.wording import percent, relative_to, value_text
from orchestrator.set_names import confirm_name
from orchestrator.sweepfile.presets import PRESETS
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.conclusion import Conclusion

COLUMNS = (
    "run",
    "date",
    "command",
    "data",
    "steps",
    "learning rate",
    "targets",
    "manifests",
    "domain WER %: baseline",
    "tuned",
    "held-out WER %: baseline",
    "tuned",
    "verdict",
    "seed",
    "output",
)


@dataclass(frozen=True)
class Row:
    """One row, with each cell as it is written in the table."""

    cells: tuple[str, ...]

    @property
    def key(self) -> tuple[str, str]:
        """What identifies the study of a row: its name and its folder."""
        return self.cells[0], self.cells[-1]

    @property
    def facts(self) -> tuple[str, ...]:
        """All cells but the date and the command: a row is replaced only where these differ."""
        return (self.cells[0], *self.cells[3:])

    @property
    def line(self) -> str:
        """The row as a line of Markdown."""
        return f"| {' | '.join(self.cells)} |"


def study_row(
    spec: SweepSpec,
    folder: StudyFolder,
    conclusion: Conclusion,
    command: str,
    root: Path,
    date: str,
) -> Row:
    """Make the row of a finished study. It shows the best feasible trial, or without one the trial
    with the lowest domain WER.

    `command` is what was typed, `root` the project's folder, `date` in the form 2026-11-28.
    """
    shown = conclusion.best or conclusion.lowest_domain
    plan = folder.read_plan(shown.number) if shown else None
    return Row(
        (
            markdown(spec.name),
            date,
            _code_cell(command),
            markdown(_data_cell(spec, root)),
            "-" if shown is None or plan is None else f"{shown.step} of {plan.params.max_steps}",
            "-" if plan is None else value_text(plan.params.learning_rate),
            "-"
            if plan is None
            else markdown(f"{plan.params.adapter} r{plan.params.rank}, {_targets_cell(plan)}"),
            markdown(_manifests_cell(spec, conclusion.baseline, root)),
            *_baseline_and_tuned(conclusion, shown, "domain"),
            *_baseline_and_tuned(conclusion, shown, "heldout"),
            _verdict_cell(conclusion, shown),
            "-" if plan is None else _seeds_cell(conclusion, plan),
            _code_cell(relative_to(str(folder.path), root)),
        )
    )


def _data_cell(spec: SweepSpec, root: Path) -> str:
    paths = (str(path) for path in (spec.model.id, spec.data.train, spec.data.replay) if path)
    return ", ".join(relative_to(path, root) for path in paths)


def _targets_cell(plan: TrialPlan) -> str:
    name, patterns = plan.params.target_modules, plan.params.target_patterns
    targets = name if PRESETS.get(name) == patterns else " ".join(patterns)
    return targets if plan.params.layers == "all" else f"{targets} ({plan.params.layers} layers)"


def _manifests_cell(spec: SweepSpec, baseline: Measurement | None, root: Path) -> str:
    """List the evaluation manifests, each with its utterances, the first digits of its SHA-256, and
    the part that the search used.
    """
    texts = []
    for name, source in spec.data.evaluated.items():
        measured = baseline.sets.get(name) if baseline else None
        part = f", {source.part_text}" if source.part_text else ""
        known = (
            f" ({len(measured.errors)}, {measured.manifest_sha256[:8]}{part})" if measured else ""
        )
        texts.append(relative_to(str(source.path), root) + known)
    return ", ".join(texts)


def _baseline_and_tuned(
    conclusion: Conclusion, shown: TrialResult | None, name: str
) -> tuple[str, str]:
    """Return baseline and tuned WER in percent, on the confirm sets where those decide."""
    verdict = conclusion.deciding if conclusion.best else None
    confirmed = verdict is not None and verdict.confirmed
    name = confirm_name(name, confirmed)
    baseline = conclusion.confirm_baseline if confirmed else conclusion.baseline
    measured = baseline.sets.get(name) if baseline else None
    rates = verdict.rates if verdict else shown.wer if shown else {}
    return percent(measured.wer if measured else None), percent(rates.get(name))


def _verdict_cell(conclusion: Conclusion, shown: TrialResult | None) -> str:
    if conclusion.best is None:
        return "INCONCLUSIVE: no feasible trial" + (f", shown is {shown.number}" if shown else "")
    confirmed = conclusion.deciding is not None and conclusion.deciding.confirmed
    where = ", confirm sets" if confirmed else ""
    return f"{conclusion.decision or 'no criteria'}: trial {conclusion.best.number}{where}"


def _seeds_cell(conclusion: Conclusion, plan: TrialPlan) -> str:
    fresh = (
        [str(seed.run.seed) for seed in conclusion.confirmation.seeds]
        if conclusion.confirmation
        else []
    )
    return str(plan.params.seed) + (f", confirmed with {', '.join(fresh)}" if fresh else "")


def _code_cell(text: str) -> str:
    return f"`{plain(text).replace('`', chr(39)).replace('|', chr(92) + '|')}`"
