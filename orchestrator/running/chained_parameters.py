"""Implements `take:` of a sweep file: parameters that the best trial of another, finished study
decides.

A study without a feasible trial decides nothing, and the chain ends there; with `take.fallback:
lowest_domain` its trial of lowest domain WER is taken, and marked infeasible wherever it is shown.

The spec stays pure: what was taken is laid over the sweep file like an override. So it is checked
like any other value, is kept as a fixed value in the new study's spec.yaml together with the trial
and the recipe it came from, and is compared on resume.
"""

from __future__ import annotations

import json
from pathlib import Path

from orchestrator.errors import StudyError
from orchestrator.planning.trial_plan import TrialPlan, alpha_ratio_of
from orchestrator.records.content_digests import stored_spec
from orchestrator.records.results import TrialResult
from orchestrator.records.store import StudyFolder
from orchestrator.running.completion import is_finished
from orchestrator.sweepfile.presets import PRESETS
from orchestrator.sweepfile.search_space import SearchSpace
from orchestrator.sweepfile.search_space_reading import CUSTOM
from orchestrator.sweepfile.sweep import TakeSpec
from orchestrator.verdicts.concluding import conclude
from orchestrator.verdicts.conclusion import Conclusion


def chained_overrides(name: str, take: TakeSpec, studies: Path, project: Path) -> list[str]:
    """Return the overrides `path=value` that give sweep `name` the values it takes and say which
    trial they come from. Raises StudyError where the other study is missing, unfinished or has no
    trial to take.
    """
    if take.study == name:
        raise StudyError(
            f"sweep {name} takes parameters from itself\n  Name another study under take.study."
        )
    folder, taker = StudyFolder(studies, take.study), StudyFolder(studies, name)
    # a study that has begun has kept what it took, and is continued by its name
    goes_on = (
        f" Study {name} goes on without it: orchestrate run {taker.named}" if taker.began else ""
    )
    if not folder.exists:
        raise StudyError(
            f"sweep {name} takes {', '.join(take.parameters)} from study {take.study}, which is not in {studies}\n"
            f"  Run sweep {take.study} first, or write the values under parameters and remove take.{goes_on}"
        )
    source = stored_spec(folder, project)
    if not is_finished(source, folder):
        raise StudyError(
            f"sweep {name} takes {', '.join(take.parameters)} from study {take.study}, which is not finished\n"
            f"  Let sweep {take.study} end first: its best trial may still change.{goes_on}"
        )
    result = source_trial(name, take, conclude(source, folder))
    plan = folder.read_plan(result.number)
    if plan is None:
        raise StudyError(
            f"trial {result.number} of study {take.study} has no plan.json\n  Restore it from a copy."
        )
    values = [
        f"parameters.{parameter}={_value_text(parameter, plan, result, source.parameters)}"
        for parameter in take.parameters
    ]
    origin = {
        "trial": result.number,
        "recipe": f"'{plan.recipe}'",
        "infeasible": json.dumps(not result.feasible),
    }
    return [*values, *(f"take.{key}={value}" for key, value in origin.items())]


def source_trial(name: str, take: TakeSpec, conclusion: Conclusion) -> TrialResult:
    """The trial that sweep `name` takes its parameters from. Raises StudyError when there is
    none.
    """
    if take.trial is None:
        chosen = conclusion.best or (
            conclusion.lowest_domain if take.fallback == "lowest_domain" else None
        )
        if chosen is None:
            raise StudyError(_nothing_feasible(name, take, conclusion))
        return chosen
    found = conclusion.ended(take.trial)
    if found is None:
        raise StudyError(
            f"study {take.study} has no trial {take.trial}, from which sweep {name} takes parameters\n"
            f"  It has trials 0 to {len(conclusion.results) - 1}; without take.trial its best one is taken."
        )
    return found


def _nothing_feasible(name: str, take: TakeSpec, conclusion: Conclusion) -> str:
    """Say that the other study has no feasible trial to take, what that means, and what can be
    done.
    """
    said = (
        f"sweep {name} takes {', '.join(take.parameters)} from study {take.study}, none of whose "
        f"{len(conclusion.results)} trials is feasible\n"
        f"  Each was pruned, failed or breaks a guardrail, so study {take.study} found nothing that its own sweep file "
        "allows to use, and the chain ends here.\n"
    )
    nearest = conclusion.lowest_domain
    if nearest is None:
        return f"{said}  None was measured: read why in the report of {take.study}, and mend that sweep first."
    return (
        f"{said}  Lowest domain WER: trial {nearest.number}, {nearest.wer['domain']:.2f} % "
        f"({nearest.delta['domain']:+z.2f} points), {nearest.state}: {nearest.reason}.\n"
        f"  Ways on: mend sweep {take.study} and run it as a new study; or take.fallback: lowest_domain, which takes "
        "that trial and marks it infeasible; or take.trial: N; or write the values under parameters and remove take."
    )


def _value_text(parameter: str, plan: TrialPlan, result: TrialResult, space: SearchSpace) -> str:
    """Return one parameter of a trial of this search space as the text of a sweep file's value."""
    params = plan.params
    if parameter == "adapter_scale":
        return json.dumps(1.0 if result.adapter_scale is None else result.adapter_scale)
    if parameter == "alpha_ratio":
        return json.dumps(alpha_ratio_of(params, space))
    if (
        parameter == "target_modules"
        and PRESETS.get(params.target_modules) != params.target_patterns
    ):
        patterns = list(params.target_patterns)
        own = {"value": params.target_modules, "presets": {params.target_modules: patterns}}
        return json.dumps({"patterns": patterns} if params.target_modules == CUSTOM else own)
    return json.dumps(getattr(params, parameter))
