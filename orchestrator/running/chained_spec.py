"""A sweep file with what it takes from another study filled in.

Kept apart from `chained_parameters.py`, which reads and judges that study: most sweep files take
nothing, and validating one must not import the judging code.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orchestrator.sweepfile.loading import load_spec, project_root
from orchestrator.sweepfile.sweep import SweepSpec


def load_chained_spec(
    path: Path,
    overrides: Sequence[str],
    studies: Path,
    root: Path | None = None,
    named: Sequence[str] = (),
) -> SweepSpec:
    """`load_spec`, with what the file, or an override, takes from a study below `studies` filled
    in.

    Raises SpecError, and StudyError when that study is missing, unfinished, or has no such trial.
    """
    root = root or project_root(path)
    spec = load_spec(path, overrides, root, named)
    if spec.take is None or spec.take.recipe is not None:
        return spec
    from orchestrator.running.chained_parameters import chained_overrides

    taken = chained_overrides(spec.name, spec.take, studies, root)
    return load_spec(path, [*overrides, *taken], root, named)
