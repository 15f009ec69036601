"""How long the searches of studies have taken, as the basis of an estimate for the next one."""

from __future__ import annotations

from orchestrator.errors import OrchestrateError
from orchestrator.planning.cost import Spent
from orchestrator.records.content_digests import stored_spec
from orchestrator.records.store import StudyFolder
from orchestrator.sweepfile.execution import Execution
from orchestrator.sweepfile.sweep import SweepSpec


def spent_before(spec: SweepSpec, folder: StudyFolder, execution: Execution) -> tuple[Spent, ...]:
    """Return what this study's search has taken so far if it trained anything, else what the
    searches of other studies under the same root took with the same model. `execution` is the one
    that the sweep would have: where studies had as many packs and slots, they alone count, because
    the pace depends on these.
    """
    own = search_spent(folder)
    if own is not None:
        return (own,)
    found: list[Spent] = []
    alike: list[Spent] = []
    for study in folder.neighbours():
        # An estimate must not fail because an unrelated study is damaged; whoever opens that one is
        # told.
        try:
            if stored_spec(study, spec.project).model == spec.model and (
                took := search_spent(study)
            ):
                found.append(took)
                if _has_packs_of(study, execution):
                    alike.append(took)
        except (OrchestrateError, OSError):
            continue
    return tuple(alike or found)


def _has_packs_of(study: StudyFolder, execution: Execution) -> bool:
    kept = study.read_pack()
    if kept is None or kept.packs != execution.packs:
        return False
    return execution.pack in ("auto", kept.slots)


def search_spent(folder: StudyFolder) -> Spent | None:
    """Return the time and steps of a study's search; None where no trial has trained."""
    results = [result for result in folder.results() if result.steps_trained]
    steps, seconds = sum(result.steps_trained for result in results), folder.seconds_spent()
    if not steps or not seconds:
        return None
    plans = {result.number: folder.read_plan(result.number) for result in results}
    to_end = sum(
        plan.params.max_steps if (plan := plans[r.number]) else r.steps_trained for r in results
    )
    return Spent(study=folder.name, seconds=seconds, steps=steps, steps_to_end=to_end)
