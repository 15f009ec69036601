"""The caveats of a study: sentences about what its numbers do not show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.records.results import Measurement
from orchestrator.records.store import StudyFolder
from orchestrator.reporting.wording import limits_of, shown_points, utterances_text
from orchestrator.scoring.judge import Verdict, error_budget
from orchestrator.scoring.limit_text import allowed_text, enough_decimals, metric_text
from orchestrator.scoring.limit_text import value_text as limit_value_text
from orchestrator.scoring.limits import Evidence, LimitVerdict, Risk, risk
from orchestrator.set_names import confirm_name
from orchestrator.sweepfile.limits import ANY, set_of
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.conclusion import Conclusion, chosen_measurement, n_competing
from orchestrator.verdicts.confirming import earlier_runs
from orchestrator.verdicts.headroom import high_rates

_SHOWN = 4
"""The most earlier runs of a confirmation that are named."""


def caveats(
    spec: SweepSpec, folder: StudyFolder, conclusion: Conclusion, done: bool
) -> Iterator[str]:
    """Yield the caveats of a study as sentences; `done`: nothing is left to train."""
    if not done:
        yield "The sweep is not finished: every number here may still be replaced."
    measured = n_competing(conclusion.results)
    finalists = len(conclusion.confirmed)
    confirmed = any(finalist.verdict for finalist in conclusion.confirmed)
    if conclusion.best and not confirmed:
        advice = "" if finalists else " data.confirm and confirm: measure by how much."
        yield f"{_chosen_sentences(measured)}{advice}"
    if finalists > 1 and confirmed:
        yield (
            f"The best of {finalists} finalists was taken on the confirm sets: its number is slightly "
            f"optimistic{_shared_error(finalists)}."
        )
    if finalists:
        yield from _precision_sentences(spec)
    yield from _earlier_sentences(spec, folder, conclusion)
    if seeds := _repeated_seeds(spec, conclusion):
        yield (
            f"Not fresh: confirm.seeds holds {seeds}, with which the search trained the finalist too. Such a run "
            "repeats the very training that was chosen; give confirm.seeds that parameters.seed has not."
        )
    if conclusion.deciding:
        yield from _evidence_sentences(conclusion.deciding)
    best = chosen_measurement(folder, conclusion.best) if conclusion.best else None
    if best and conclusion.best:
        yield from _decoding_sentences([best])
        who = f"Trial {conclusion.best.number}"
        yield from (found.message for found in high_rates(spec, best, who))
    if conclusion.confirmation:
        ended = [seed.result for seed in conclusion.confirmation.seeds if seed.result]
        yield from _decoding_sentences([m for r in ended if (m := chosen_measurement(folder, r))])
    for found in folder.findings():
        ignored = f"Check {found.name} was ignored: " if found.name in spec.checks.ignore else ""
        yield f"{ignored}{found.message}" if ignored else _as_sentence(found.message)
    if any(result.pruned_by == "wall_clock" for result in conclusion.results):
        yield "The wall clock cut trials short: they might have ended better."


def _as_sentence(message: str) -> str:
    """Return a finding's message with a capital at its beginning, unless that names a field."""
    first = message.partition(" ")[0]
    return message if "." in first else f"{message[0].upper()}{message[1:]}"


def _chosen_sentences(measured: int) -> str:
    """Say what was chosen on the sets that judge the winner, of so many measured trials."""
    if measured == 1:
        return (
            "The winner is the only measured trial, and its rung and adapter scale were chosen on the very sets that "
            "judge it: its gain is optimistic."
        )
    return (
        f"The winner is the best of {measured} measured trials on the very sets that chose it: its gain is "
        f"optimistic{_shared_error(measured)}. The choice of its rung and adapter scale comes on top."
    )


def _precision_sentences(spec: SweepSpec) -> Iterator[str]:
    """Say what differs where the finalists were confirmed in another precision than searched."""
    precision, training = spec.evaluation.precision, spec.evaluation.training_precision
    if precision.search == precision.verdict:
        return
    trained = (
        ""
        if training
        else " The adapter of the trial itself, which is what is exported, was trained as the search was."
    )
    yield (
        f"The search was in {precision.search} and the confirmation in {precision.verdict}: the optimism of the search "
        f"holds that difference, too.{trained}"
    )


def _earlier_sentences(
    spec: SweepSpec, folder: StudyFolder, conclusion: Conclusion
) -> Iterator[str]:
    """Say which confirmation runs were seen before those that count."""
    earlier = earlier_runs(spec, folder, conclusion.results)
    if not earlier:
        return
    rate = confirm_name(spec.objective)
    shown = [
        f"trial {run.result.params['trial']} with seed {run.result.params['seed']} "
        f"({shown_points(rate, run.result.delta.get(rate))} points; {run.why})"
        for run in earlier[:_SHOWN]
    ]
    more = [f"{len(earlier) - len(shown)} more"] if len(earlier) > len(shown) else []
    yield (
        f"Not the first confirmation: earlier runs no longer count, {', '.join([*shown, *more])}. Where their numbers "
        "led to what was changed since, the verdict is optimistic."
    )


def _repeated_seeds(spec: SweepSpec, conclusion: Conclusion) -> str:
    """List the seeds of the confirmation with which a finalist was already trained in the
    search.
    """
    if spec.confirm is None:
        return ""
    finalists = {finalist.trial for finalist in conclusion.confirmed}
    fixed = spec.parameters.fixed.get("seed")
    found = {
        result.params.get("seed", fixed)
        for result in conclusion.results
        if result.number in finalists
    }
    return ", ".join(str(seed) for seed in spec.confirm.seeds if seed in found)


def _shared_error(n_comparisons: int) -> str:
    each = 100 * error_budget(0.95, n_comparisons)
    # of a thousand trials it is 99.995, which is no certainty
    decimals = enough_decimals(2, (each, lambda shown: shown < 100))
    return (
        f", so its bounds are wide enough to hold for all {n_comparisons} at once "
        f"(each {round(each, decimals):.10g} %)"
    )


def _evidence_sentences(verdict: Verdict) -> Iterator[str]:
    for limit in limits_of(verdict):
        if (open_risk := risk(limit)) is not None:
            yield _risk_sentence(limit, open_risk)
        # of several sets the one that is shown may break a limit that is open on another
        is_open = limit.evidence is Evidence.UNDECIDED and limit.lower <= limit.criterion.threshold
        if is_open and limit.estimate and limit.holds is not None:
            yield undecided_sentence(limit, limit.estimate.utterances)
    estimates = {
        limit.criterion.metric: limit.estimate for limit in limits_of(verdict) if limit.estimate
    }
    for metric, estimate in estimates.items():
        yield f"The bounds of {metric_text(metric)} resample {estimate.unit}s ({estimate.why}), not training runs."


def _risk_sentence(limit: LimitVerdict, open_risk: Risk) -> str:
    """Say how likely a limit that holds as measured is broken by the true value."""
    name = metric_text(limit.criterion.metric)
    percent = 100 * open_risk.chance
    decimals = enough_decimals(
        0, (percent, lambda shown: shown > 0), (percent, lambda shown: shown < 5)
    )
    said = f"By these data the true {name} is beyond its limit with a chance of {percent:.{decimals}f} %"
    if open_risk.chance < 0.05 or open_risk.utterances is None:
        return f"{said}."
    return f"{said}; about {utterances_text(open_risk.utterances)} like these would bring that below 5 %."


def undecided_sentence(limit: LimitVerdict, utterances: int) -> str:
    """Say that so many utterances cannot tell the measured value from the limit."""
    criterion = limit.criterion
    change = "a change of " if criterion.unit == "points" and criterion.kind != "max_rate" else ""
    said = f"{change}{limit_value_text(limit)} from the limit ({allowed_text(criterion)})"
    name = set_of(criterion.metric)
    counted = utterances_text(utterances, "" if name == ANY else name)
    further = " of a further set" if name == ANY else ""
    return f"{counted}{further} cannot tell {said}."


def _decoding_sentences(measurements: Sequence[Measurement]) -> Iterator[str]:
    """Say how many decodings of an adapter, or of its retrainings together, did not end well."""
    if not measurements:
        return
    seeds = f" of {len(measurements)} seeds" if len(measurements) > 1 else ""
    for name in measurements[0].sets:
        cap_hits = sum(measurement.sets[name].cap_hits for measurement in measurements)
        loops = sum(measurement.sets[name].loops for measurement in measurements)
        if cap_hits or loops:
            reached = (
                f"decoding{seeds} reached its"
                if cap_hits == 1
                else f"decodings{seeds} reached their"
            )
            yield (
                f"On {name}, {cap_hits} {reached} token cap and {loops} {'ends' if loops == 1 else 'end'} in a "
                "repeated phrase; both count as errors in full."
            )
