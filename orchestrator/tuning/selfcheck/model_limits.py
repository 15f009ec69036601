"""Start-up check of the clips and texts of every set, confirm sets too, against the limits of the
loaded model, before any of them is transcribed or trained on.
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.checks import Finding
from orchestrator.corpus.manifests.manifest import Manifest
from orchestrator.errors import DataError
from orchestrator.records.readiness.model_limit_checks import CANNOT_TAKE, find_limit_violations
from orchestrator.records.readiness.model_limits import ModelLimits
from orchestrator.refused_findings import stop
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.tuning.model.base_model import BaseModel


def check_model_limits(
    spec: SweepSpec, base: BaseModel, sets: Mapping[str, Manifest]
) -> tuple[Finding, ...]:
    """Return findings about what of the sets is left out or ignored. Raises DataError, which names
    all clips and texts that do not fit, each with file and line."""
    findings = find_limit_violations(spec, sets, limits_of(base))
    stop(findings, spec.checks.ignore, CANNOT_TAKE, DataError)
    return tuple(findings)


def limits_of(base: BaseModel) -> ModelLimits:
    """Return the limits of what a loaded model can take and give."""
    return ModelLimits(
        longest_seconds=base.family.longest_seconds,
        shortest=base.family.shortest,
        stride=base.family.stride,
        positions=base.decoder.positions,
        labels=base.labels,
        texts=lambda rows: base.tokenizer.batch_decode(rows, skip_special_tokens=True),
    )
