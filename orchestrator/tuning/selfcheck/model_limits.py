"""Clips and texts of every set against the model that was loaded, confirm sets too, before any of
them is transcribed or trained on.
"""

from __future__ import annotations

from pathlib import Path

from orchestrator.checks import Finding
from orchestrator.errors import DataError
from orchestrator.records.model_limit_checks import find_limit_violations
from orchestrator.records.model_limits import ModelLimits
from orchestrator.records.sets import read_sets
from orchestrator.refused_findings import stop
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.tuning.model.base_model import BaseModel


def check_model_limits(
    spec: SweepSpec, base: BaseModel, cache: Path | None = None
) -> tuple[Finding, ...]:
    """What is left out or ignored. Raises DataError with all clips and texts that do not fit, each
    with file and line; ManifestError."""
    findings = find_limit_violations(spec, read_sets(spec, cache), limits_of(base))
    stop(findings, spec.checks.ignore, "The model cannot take the data as they are", DataError)
    return tuple(findings)


def limits_of(base: BaseModel) -> ModelLimits:
    """What a loaded model can take and say."""
    return ModelLimits(
        longest_seconds=base.family.longest_seconds,
        shortest=base.family.shortest,
        stride=base.family.stride,
        positions=base.decoder.positions,
        labels=base.labels,
        texts=lambda rows: base.tokenizer.batch_decode(rows, skip_special_tokens=True),
    )
