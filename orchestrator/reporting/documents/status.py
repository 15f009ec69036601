"""The output of `orchestrate status` for one study, from its files alone."""

from __future__ import annotations

from itertools import count, takewhile

from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.fleet_file import FleetFile, PackInFile
from orchestrator.records.json_files import PackRecord
from orchestrator.records.store import StudyFolder
from orchestrator.reporting.documents.headline import headline
from orchestrator.reporting.rendering.report_blocks import (
    Block,
    Document,
    Heading,
    Paragraph,
    Table,
)
from orchestrator.reporting.wording import (
    delta_text,
    params_text,
    percent,
    rate_heading,
    rates_of,
    search_time_text,
)
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.conclusion import Conclusion
from orchestrator.verdicts.headroom import rate_of, searched_rate


def build(
    spec: SweepSpec,
    folder: StudyFolder,
    conclusion: Conclusion,
    done: bool,
    running: bool,
    fleet: FleetFile | None = None,
) -> Document:
    """Build the document: ended trials, those in training, and the time spent. `running`: a process
    holds the study; `fleet` is that of the last checkpoint.
    """
    trials = [_running_row(spec, folder, plan) for plan in running_plans(folder)]
    spent = search_time_text(folder.seconds_spent(), spec.budget.wall_clock)
    when = ", as of the last checkpoint" if trials else ""
    blocks: list[Block] = [Paragraph(f"Time: {spent}{when}")]
    if (pack := folder.read_pack()) is not None:
        blocks.append(Paragraph(_pack_text(pack)))
    if fleet is not None and not done:
        rows = tuple(_pack_row(index, pack) for index, pack in enumerate(fleet.packs))
        blocks += [
            Heading("Packs at the last checkpoint"),
            Table(("pack", "in", "trials at their steps"), rows),
        ]
    if trials:
        blocks += [
            Heading(
                "In training" if running else "Interrupted; the sweep's command continues them"
            ),
            Table(
                ("trial", "last evaluated", f"{rate_heading(spec.objective)} %", "parameters"),
                tuple(trials),
            ),
        ]
    rates = rates_of(spec)
    ended = []
    for result in conclusion.results:
        numbers = [delta_text(result, rate) for rate in rates]
        ended.append((str(result.number), str(result.state), *numbers, params_text(result.params)))
    if ended:
        columns = (
            "trial",
            "state",
            *(f"{rate_heading(rate)} % (change)" for rate in rates),
            "parameters",
        )
        blocks += [Heading("Ended"), Table(columns, tuple(ended))]
    return Document(f"Sweep {spec.name}", headline(spec, folder, conclusion, done), tuple(blocks))


def _pack_text(pack: PackRecord) -> str:
    kernel = "" if pack.kernel == "aten" else f", matrix kernel {pack.kernel}"
    if pack.packs == 1:
        return f"Pack: {pack.slots} adapters at once on {pack.device}{kernel}"
    cores = "" if pack.cores is None else f", cores for each: {pack.cores}"
    one = f"each of {pack.slots} adapters at once on {pack.device}"
    return f"Packs: {pack.packs}, {one}{cores}{kernel}"


def _pack_row(index: int, pack: PackInFile) -> tuple[str, ...]:
    trials = ", ".join(f"{number} at {step}" for number, step in pack.steps.items())
    return str(index), pack.where or "-", trials or "-"


def running_plans(folder: StudyFolder) -> list[TrialPlan]:
    """Return the plans of the trials that were started and have not ended."""
    plans = takewhile(
        lambda plan: plan is not None, (folder.read_plan(number) for number in count())
    )
    return [plan for plan in plans if plan is not None and folder.read_result(plan.number) is None]


def _running_row(spec: SweepSpec, folder: StudyFolder, plan: TrialPlan) -> tuple[str, ...]:
    rows = folder.read_measurements(plan.number)
    step = rows[-1].step if rows else 0
    domain = rows[-1].sets.get("domain") if rows else None
    rate = None if domain is None else rate_of(domain, searched_rate(spec))
    values = plan.params.model_dump()
    searched = {d.name: values[d.name] for d in spec.parameters.searched if d.name in values}
    return str(plan.number), f"{step}/{plan.params.max_steps}", percent(rate), params_text(searched)
