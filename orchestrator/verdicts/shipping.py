"""The limits of a sweep, judged on what is deployed: the winner's adapter in the form that was
measured in the search, and in an exported form.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from orchestrator.records.readiness.optional_packages import check_installed
from orchestrator.records.results import Measurement, SetMeasurement, TrialResult
from orchestrator.records.shipping import Shipped, ShippedSet
from orchestrator.records.store import StudyFolder
from orchestrator.scoring.judge import Verdict
from orchestrator.scoring.limits import LimitVerdict
from orchestrator.set_names import is_confirm, search_name
from orchestrator.sweepfile.limits import SHIPPED
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.conclusion import Conclusion
from orchestrator.verdicts.judging import judge_scores, scores
from orchestrator.verdicts.training_losses import all_losses

VERDICT_FORM = "onnx"
"""The exported form that `acceptance: {shipped: true}` asks about."""


@dataclass(frozen=True)
class JudgedAgain:
    """The verdicts on both forms, on the search's sets or on the confirm sets."""

    confirmed: bool
    measured: Verdict
    shipped: Verdict

    @property
    def lost(self) -> tuple[LimitVerdict, ...]:
        """The limits that hold in the measured form and not in the exported form, where they may also
        have nothing to be measured on: a form that hears none of the terms has no precision.
        """
        held = {
            limit.criterion: limit.holds
            for limit in (*self.measured.acceptance, *self.measured.guardrails)
        }
        limits = {
            limit.criterion: limit for limit in (*self.shipped.acceptance, *self.shipped.guardrails)
        }
        return tuple(
            limit
            for criterion, limit in limits.items()
            if held[criterion] is True and limit.holds is not True
        )


def judge_again(
    spec: SweepSpec, folder: StudyFolder, result: TrialResult, found: Shipped
) -> Iterator[JudgedAgain]:
    """Judge both forms on the search's sets, then on the confirm sets, as far as the exported form
    was run on them.
    """
    losses = all_losses(spec, folder, result)
    for confirmed in (False, True):
        sets = {
            name: of_set for name, of_set in found.sets.items() if is_confirm(name) is confirmed
        }
        if not sets:
            continue
        verdicts = []
        for form in ("measured", "shipped"):
            rows = [
                _measurement(
                    found,
                    model,
                    {name: getattr(of_set, f"{model}_{form}") for name, of_set in sets.items()},
                )
                for model in ("tuned", "baseline")
            ]
            tuned, baseline = scores(rows[0], *losses), scores(rows[1])
            verdicts.append(judge_scores(spec, tuned, baseline, confirmed=confirmed))
        yield JudgedAgain(confirmed, *verdicts)


def _measurement(found: Shipped, model: str, sets: dict[str, SetMeasurement]) -> Measurement:
    return Measurement(
        trial=found.trial if model == "tuned" else None,
        step=found.step or 0,
        adapter_scale=1.0 if found.adapter_scale is None else found.adapter_scale,
        fingerprint=found.key,
        sets=sets,
    )


def asks_for_shipped(spec: SweepSpec) -> bool:
    """Whether the sweep asks that the exported form keeps the limits."""
    return SHIPPED in spec.acceptance


def check_can_ship(spec: SweepSpec) -> None:
    """Raise SpecError where the sweep asks for the exported form and the packages that make and run
    it are not installed.
    """
    if asks_for_shipped(spec):
        check_installed(VERDICT_FORM, "acceptance.shipped")


def shipped_of(folder: StudyFolder, conclusion: Conclusion) -> Shipped | None:
    """Return the record of running the winner in the exported form that decides the verdict; None
    where it was not run on the sets that the study was measured on.
    """
    if conclusion.best is None:
        return None
    found = folder.shipped().get(f"{VERDICT_FORM}/{conclusion.best.number}")
    measured = _measured_sets(conclusion)
    if found is None or measured.keys() - found.sets.keys():
        return None
    return found if heard_same(found, folder, conclusion) else None


def heard_same(found: Shipped, folder: StudyFolder, conclusion: Conclusion) -> bool:
    """Whether the sets that an exported form was run on are those that the study was measured on, by
    their sound and texts: confirm sets may be replaced until they are used.
    """
    return all(
        name not in found.sets
        or _is_of(
            found.sets[name], counts, folder.evaluations().get(baseline.fingerprint, {}), name
        )
        for baseline in _baselines(conclusion)
        for name, counts in baseline.sets.items()
    )


def _is_of(
    heard: ShippedSet, measured: SetMeasurement, parts: Mapping[str, str], name: str
) -> bool:
    """Whether it is the set that was measured under the evaluation of these parts."""
    own = search_name(name)  # a confirmation names the sets as the search does
    contents = parts.get(f"{own}.audio", ""), parts.get(f"{own}.text", "")
    words = heard.baseline_measured.reference_words
    return contents == (heard.audio, heard.text) and words == measured.reference_words


def _baselines(conclusion: Conclusion) -> Iterator[Measurement]:
    yield from filter(None, (conclusion.baseline, conclusion.confirm_baseline))


def _measured_sets(conclusion: Conclusion) -> dict[str, SetMeasurement]:
    """Return the untuned model's measurements of the search's and of the confirm sets."""
    return {
        name: counts
        for baseline in _baselines(conclusion)
        for name, counts in baseline.sets.items()
    }


def keeps_limits(spec: SweepSpec, folder: StudyFolder, conclusion: Conclusion) -> bool | None:
    """Whether every limit that holds for the winner in the measured form holds in the exported form,
    on every set, and the export is the study's own; None where it was not run.
    """
    found = shipped_of(folder, conclusion)
    if found is None or conclusion.best is None:
        return None
    return not found.differences and not any(
        judged.lost for judged in judge_again(spec, folder, conclusion.best, found)
    )
