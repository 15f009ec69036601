"""The doubt whether trials end before the warm-up of their learning rate does."""

from __future__ import annotations

from orchestrator.sweepfile.sweep import SweepSpec


def warm_up_text(spec: SweepSpec) -> str:
    """Warn, in words, that trials may end before their warm-up does; empty where none can."""
    longest = int(max(map(float, spec.parameters.possible("warmup_steps")), default=0))
    fewest = int(min(map(float, spec.parameters.possible("max_steps"))))
    if longest < fewest:
        return ""
    return (
        f"warmup_steps may be {longest} where max_steps is {fewest}: such trials never train at their learning_rate; "
        "keep warmup_steps below max_steps"
    )
