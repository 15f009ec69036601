"""Which trials are confirmed, by which runs, under which numbers. Only computes; runs nothing."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.content_digests import confirm_contents
from orchestrator.records.results import SetRecord, TrialResult
from orchestrator.records.store import StudyFolder
from orchestrator.scoring.judge import Rank, rank
from orchestrator.set_names import is_confirm, search_name
from orchestrator.sweepfile.sweep import SweepSpec


@dataclass(frozen=True)
class ConfirmationRun:
    """One finalist retrained with one fresh seed and scored on the confirm sets."""

    trial: int
    """Number of the finalist."""
    seed: int
    number: int
    """The run's own number, which names its folder; negative, as those of trials are not."""
    plan: TrialPlan


def rank_feasible(
    results: Sequence[TrialResult],
    objective: str = "domain",
    late: frozenset[str] = frozenset(),
) -> list[TrialResult]:
    """Return the feasible trials, without exact duplicates, best first, as `scoring.judge.rank`
    orders them. Those that lack rates in `late` come after all others.
    """

    def key(result: TrialResult) -> tuple[int, Rank]:
        scale = 1.0 if result.adapter_scale is None else result.adapter_scale
        return len(late - result.wer.keys()), rank(
            result.wer[objective],
            result.delta.get("heldout"),
            result.step or 0,
            result.number,
            scale,
        )

    return sorted(
        (r for r in results if r.feasible and r.duplicate_of is None and objective in r.wer),
        key=key,
    )


def confirmation_spec(spec: SweepSpec) -> SweepSpec:
    """Return the sweep with the confirm sets in the place of the search's and the precision of the
    verdict, for the worker of the confirmation.
    """
    assert spec.data.confirming is not None
    changes = {"data": spec.data.confirming, "evaluation": spec.evaluation.of_verdict}
    return spec.model_copy(update=changes)


def confirmation_plan(
    spec: SweepSpec,
    plan: TrialPlan,
    result: TrialResult,
    seed: int,
    number: int,
    sets: Mapping[str, SetRecord],
) -> TrialPlan:
    """Return the plan of a confirmation run: the finalist's recipe with another seed, evaluated
    once, at the finalist's best step and adapter scale.

    `sets` are the study's records of its sets, as far as they are known. `max_steps` is kept,
    because the learning-rate schedule depends on it; the run ends at its first rung instead.
    """
    assert result.step is not None and result.adapter_scale is not None
    params = plan.params.model_copy(
        update={"seed": seed, "adapter_scales": (result.adapter_scale,)}
    )
    evaluation = plan.evaluation.of_verdict.model_copy(update={"every": result.step})
    data = confirmation_spec(spec).portable.data
    contents = confirm_contents(sets, plan.contents)
    changes = {
        "number": number,
        "params": params,
        "evaluation": evaluation,
        "data": data,
        "contents": contents,
    }
    return plan.model_copy(update=changes)


def confirmation_runs(
    spec: SweepSpec, folder: StudyFolder, results: Sequence[TrialResult]
) -> tuple[ConfirmationRun, ...]:
    """Return all confirmation runs of the finalists, best finalist first. Runs that were started
    keep their number; others get the next free one below zero.

    Trials that differ in their seed alone are one finalist, the best of them: with fresh seeds they
    are the same training.
    """
    if spec.confirm is None or spec.data.confirm is None:
        return ()
    known, sets = _known_runs(folder), folder.sets()
    free = itertools.count(min(known.values(), default=0) - 1, -1)
    runs: list[ConfirmationRun] = []
    confirmed: set[str] = set()
    for result in rank_feasible(results, spec.objective):
        plan = folder.read_plan(result.number)
        if plan is None:
            continue
        # by the trial's plan, as a run's ends at the best step and scale, which vary with the seed
        any_seed = plan.params.model_copy(update={"seed": 0})
        training = plan.model_copy(update={"params": any_seed}).recipe
        if training in confirmed:
            continue
        confirmed.add(training)
        for seed in spec.confirm.seeds:
            run = confirmation_plan(spec, plan, result, seed, 0, sets)
            number = known[run.recipe] if run.recipe in known else next(free)
            numbered = run.model_copy(update={"number": number})
            runs.append(ConfirmationRun(result.number, run.params.seed, number, numbered))
        if len(confirmed) == spec.confirm.top:
            break
    return tuple(runs)


@dataclass(frozen=True)
class EarlierRun:
    """A confirmation run that was measured and that the verdict no longer rests on."""

    result: TrialResult
    why: str
    """What differs from the runs that the verdict rests on."""


def earlier_runs(
    spec: SweepSpec, folder: StudyFolder, results: Sequence[TrialResult]
) -> tuple[EarlierRun, ...]:
    """Return the confirmation runs on file that were measured, but are none of those that the sweep
    now asks for. Somebody has seen their numbers before those that count.
    """
    counted = confirmation_runs(spec, folder, results)
    numbers = {run.number for run in counted}
    contents = {
        search_name(name): record.content
        for name, record in folder.sets().items()
        if is_confirm(name)
    }
    found = []
    for number in sorted(_known_runs(folder).values(), reverse=True):
        plan, result = folder.read_plan(number), folder.read_result(number)
        if number in numbers or plan is None or result is None or not result.wer:
            continue
        if not counted:
            why = "which the sweep file asks for no longer"
        elif any(plan.contents.get(name) != content for name, content in contents.items()):
            why = "on other confirm sets"
        elif spec.confirm is not None and plan.params.seed not in spec.confirm.seeds:
            why = "with another seed"
        elif result.params["trial"] not in {run.trial for run in counted}:
            why = "of a trial that is no finalist any more"
        else:
            why = "evaluated otherwise"
        found.append(EarlierRun(result, why))
    return tuple(found)


def pending_runs(spec: SweepSpec, folder: StudyFolder) -> list[ConfirmationRun]:
    """Return the confirmation runs that have no result yet."""
    runs = confirmation_runs(spec, folder, folder.results())
    return [run for run in runs if not folder.read_result(run.number)]


def _known_runs(folder: StudyFolder) -> dict[str, int]:
    """Map the recipe of each confirmation run that was started to its number."""
    plans = itertools.takewhile(
        lambda plan: plan is not None, (folder.read_plan(-n) for n in itertools.count(1))
    )
    return {plan.recipe: plan.number for plan in plans if plan is not None}
