"""The result of a study in one line, with a warning where it should not be believed."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.records.results import Measurement, SetMeasurement
from orchestrator.records.store import StudyFolder
from orchestrator.reporting.documents import verification_report
from orchestrator.reporting.wording import counted, ended_text, limits_of, proof, utterances_text
from orchestrator.scoring.judge import Decision
from orchestrator.scoring.limit_text import asked_text, rate_text, value_text
from orchestrator.scoring.limits import LimitVerdict
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.conclusion import Conclusion
from orchestrator.verdicts.headroom import HIGH, on_its_side, rate_of, searched_rate
from orchestrator.verdicts.shipping import asks_for_shipped, judge_again, shipped_of


def headline(spec: SweepSpec, folder: StudyFolder, conclusion: Conclusion, done: bool) -> str:
    """Return the result of a study in one line; `done`: nothing is left to train."""
    ended = ended_text(len(conclusion.results), spec.budget.trials, "trials ended")
    if not done:
        left = conclusion.unconfirmed
        runs = f", {counted(left, 'confirmation run')} left" if left else ""
        return f"Not finished: {ended}{runs}"
    best, doubted = conclusion.best, doubt(spec, conclusion)
    if best is None:
        return f"INCONCLUSIVE: no feasible trial; {ended}{doubted}"
    confirmed = conclusion.deciding is not None and conclusion.deciding.confirmed
    where = "on the confirm sets" if confirmed else "on the sets of the search"
    if conclusion.decision is None:
        found = f"trial {best.number} is the best feasible one {where}"
        return f"Finished: {found}; no acceptance criteria were declared{doubted}"
    judged = f"judged {where}"
    if conclusion.deciding is None:
        judged = "not judged on the confirm sets, where none of its seeds was measured"
    ends = (
        f"{_broken_limits(conclusion)}{_open_questions(conclusion)}{_disagreement(spec, conclusion)}"
        f"{_shipped_clause(spec, folder, conclusion)}{doubted}"
    )
    return f"{conclusion.decision}: trial {best.number}, {judged}{ends}"


def doubt(spec: SweepSpec, conclusion: Conclusion) -> str:
    """Return a warning to append to a result that should not be believed, because a rate of the
    kind that the search minimises is very high; empty where there is none.
    """
    sets, kind = (
        _measured_sets((conclusion.baseline, conclusion.confirm_baseline)),
        searched_rate(spec),
    )
    rates = [rate_of(score, kind) for score in sets.values()]
    named = {f"{name}_cer" if kind == "CER" else name for name in sets}
    # a set of data.also may have no confirm set
    for verdict in filter(None, (conclusion.verdict, conclusion.deciding)):
        rates += [rate for name, rate in verdict.rates.items() if name in named]
    highest = max(rates, default=0.0)
    if highest <= HIGH:
        return ""
    shown = on_its_side(highest, HIGH, 0)
    return f"; DOUBTFUL: a {kind} of {shown} % says that a model hears little or nothing, read its transcripts"


def _measured_sets(measurements: Sequence[Measurement | None]) -> dict[str, SetMeasurement]:
    found: dict[str, SetMeasurement] = {}
    for measurement in measurements:
        if measurement is not None:
            found |= measurement.sets
    return found


def _broken_limits(conclusion: Conclusion) -> str:
    """Name the limits that do not hold, by which a verdict is REJECT, with the measured numbers."""
    verdict = conclusion.deciding
    if conclusion.decision is not Decision.REJECT or verdict is None:
        return ""
    broken = [limit for limit in limits_of(verdict) if limit.holds is False]
    texts = (f"; {asked_text(limit.criterion)}: measured {value_text(limit)}" for limit in broken)
    return "".join(dict.fromkeys(texts))


def _open_questions(conclusion: Conclusion) -> str:
    """Name the limits that leave an INCONCLUSIVE verdict open."""
    verdict = conclusion.deciding
    if conclusion.decision is not Decision.INCONCLUSIVE or verdict is None:
        return ""
    # of a guardrail the verdict asks no proof, whatever its rule
    unmet = [
        (limit, limit.criterion.rule == "proven")
        for limit in verdict.acceptance
        if not limit.satisfied
    ]
    unmet += [(limit, False) for limit in verdict.guardrails if not limit.kept]
    texts = (f"; {asked_text(limit.criterion)}: {_lack(limit, proven)}" for limit, proven in unmet)
    return "".join(dict.fromkeys(texts))


def _lack(limit: LimitVerdict, proven: bool) -> str:
    """Say what a limit lacks: proof where it must be `proven`, else only that there is a gain."""
    if proven or limit.holds is None or limit.gain_significant:
        return proof(limit)
    if limit.utterances_for_gain is None:
        return "no gain is shown"
    return f"no gain is shown; about {utterances_text(limit.utterances_for_gain)} would show it"


def _disagreement(spec: SweepSpec, conclusion: Conclusion) -> str:
    """Say that the fresh seeds do not agree, where the sweep file asks for it."""
    agreement = conclusion.confirmation.agreement if conclusion.confirmation else None
    if spec.confirm is None or spec.confirm.agree != "all" or agreement is None or agreement.all:
        return ""
    lowered = f"{agreement.better} of {agreement.asked} seeds lower the {rate_text(spec.objective)}"
    return f"; {lowered}, which the sweep file requires of all"


def _shipped_clause(spec: SweepSpec, folder: StudyFolder, conclusion: Conclusion) -> str:
    """Say how the exported form did, where the sweep asks for it."""
    if not asks_for_shipped(spec) or conclusion.best is None:
        return ""
    found = shipped_of(folder, conclusion)
    if found is None:
        return "; what ships was not heard, `orchestrate verify SPEC` hears it"
    again = tuple(judge_again(spec, folder, conclusion.best, found))
    return f"; what ships ({found.key}): {verification_report.headline(found, again)}"
