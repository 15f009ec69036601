"""Some cells of the matrix of files, damages and commands. `python -m tests.faults.damage` tries
all.
"""

from __future__ import annotations

import pytest

from tests.faults import damage
from tests.faults.damage import CONFIRMING, FINISHED, SEARCHING, Cell, Matrix

CELLS = (
    # of the database, which has no digest
    (CONFIRMING, "study.db", damage.older, "run", "followed"),
    (CONFIRMING, "study.db", damage.other, "run", "followed"),
    (FINISHED, "study.db", damage.older, "check", "told"),
    (FINISHED, "study.db", damage.older, "repair", "noticed"),
    (FINISHED, "study.db", damage.older, "dashboard", "told"),
    # of the files beside the sealed ones
    (FINISHED, "clock.json", damage.other, "check", "told"),
    (FINISHED, "clock.json", damage.older, "run", "noticed"),
    (FINISHED, "findings.json", damage.digit, "report", "noticed"),
    (SEARCHING, "checkpoint/000002.json", damage.folder, "run", "noticed"),
    # of a confirmation that goes on
    (CONFIRMING, "confirm/0001/result.json", damage.absent, "run", "followed"),
    (CONFIRMING, "confirm/0003/plan.json", damage.digit, "run", "followed"),
    (FINISHED, "baseline.json", damage.absent, "all", "noticed"),
    (FINISHED, "spec.yaml", damage.absent, "all", "noticed"),
    (FINISHED, "checkpoint", damage.absent, "report", "equal"),
    (FINISHED, "findings.json", damage.absent, "report", "noticed"),
    (CONFIRMING, "checkpoint", damage.absent, "meanwhile", "equal"),
    (CONFIRMING, "confirm/0001/result.json", damage.absent, "meanwhile", "followed"),
    (CONFIRMING, "confirm/0003/plan.json", damage.absent, "meanwhile", "followed"),
)


@pytest.fixture(name="matrix", scope="module")
def _matrix(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    return Matrix(tmp_path_factory.mktemp("damage"))


@pytest.mark.parametrize(("state", "name", "harm", "command", "outcome"), CELLS)
def test_a_cell_holds(
    matrix: Matrix, state: str, name: str, harm: damage.Harm, command: str, outcome: str
) -> None:
    found = matrix.attempt(Cell(state, name, harm, command))
    assert found == outcome, matrix.broken
