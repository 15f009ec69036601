"""Some cells of the matrix of files, damages and commands. `python -m tests.faults.matrix` tries
all.
"""

from __future__ import annotations

import errno
import itertools
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.files import atomic
from tests.cli_project import folder_of
from tests.crashes import Fuse, effects
from tests.faults import damage
from tests.faults.commands import contents
from tests.faults.matrix import REJECTED, Cell, Matrix
from tests.faults.matrix_commands import words_of
from tests.faults.matrix_states import CONFIRMING, FINISHED, SEARCHING, VERIFIED, Stopped

CELLS = (
    # of the database, which has no digest
    (CONFIRMING, "study.db", damage.older, "run", "followed"),
    (CONFIRMING, "study.db", damage.empty, "run", "followed"),
    (CONFIRMING, "study.db", damage.other, "run", "followed"),
    (FINISHED, "study.db", damage.older, "check", "told"),
    (FINISHED, "study.db", damage.older, "repair", "noticed"),
    (FINISHED, "study.db", damage.older, "dashboard", "told"),
    # of the files beside the sealed ones
    (FINISHED, "clock.json", damage.other, "check", "told"),
    (FINISHED, "clock.json", damage.absent, "plan", "noticed"),
    # of what lies among ours and is not
    (FINISHED, "cache", damage.folder, "clean", "equal"),
    (FINISHED, "clock.json", damage.older, "run", "noticed"),
    (FINISHED, "findings.json", damage.digit, "report", "noticed"),
    (SEARCHING, "checkpoint/000002.json", damage.folder, "run", "noticed"),
    (SEARCHING, "study.db", damage.link, "meanwhile", "followed"),
    (SEARCHING, "study.db-wal", damage.folder, "meanwhile", "followed"),
    (SEARCHING, "checkpoint/000003/slots.json", damage.folder, "run", "followed"),
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
    (CONFIRMING, "study.db", damage.absent, "meanwhile", "followed"),
    (SEARCHING, "checkpoint", damage.link, "meanwhile", "followed"),
    (CONFIRMING, "journal.jsonl", damage.link, "meanwhile", "followed"),
    # of what an exported form was heard to say
    (VERIFIED, "shipped.json", damage.absent, "run", "followed"),
    (VERIFIED, "shipped.json", damage.digit, "report", "told"),
    (FINISHED, "baseline.json", damage.absent, "verify", "told"),
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


def test_a_form_is_not_heard_where_the_answer_cannot_be_kept(matrix: Matrix) -> None:
    project = matrix.fresh(VERIFIED)
    (project / "studies" / "demo" / "shipped.json").unlink()
    ended = matrix.command(project, words_of(project, "verify"))
    assert ended.code == 3 and "shipped.json is lost" in ended.said
    assert "exporting" not in ended.said


@pytest.mark.slow
def test_cells_at_random_hold(matrix: Matrix) -> None:
    cells = itertools.islice(matrix.sampled(random.Random(1)), 300)
    assert len([cell for cell in cells if matrix.attempt(cell)]) > 100
    assert not matrix.broken, "\n".join(matrix.broken)


@pytest.mark.parametrize(
    "at", [2, 9, 16, *(pytest.param(at, marks=pytest.mark.slow) for at in range(3, 60, 2))]
)
def test_a_kill_in_the_middle_of_a_confirmation(matrix: Matrix, at: int) -> None:
    project = matrix.fresh(CONFIRMING)
    run = words_of(project, "run")
    fuse = Fuse(at)
    with effects(fuse):
        ended = matrix.command(project, run)
    assert ("Killed" in ended.said) == (fuse.count >= at)
    assert matrix.command(project, run).code == REJECTED
    assert contents(folder_of(project / "sweeps" / "demo.yaml")) == matrix.whole
    assert not left_over(project)


@pytest.mark.parametrize("at", [1, 5])
def test_a_disk_that_is_full_in_the_middle_of_a_confirmation(
    matrix: Matrix, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    project = matrix.fresh(CONFIRMING)
    run = words_of(project, "run")
    with monkeypatch.context() as patch:
        patch.setattr(atomic, "_sync_file", refusing(at, errno.ENOSPC))
        ended = matrix.command(project, run)
    assert ended.code == 3 and "No space left on device; it needs" in ended.said
    assert "run the same command again" in ended.said and not left_over(project)
    assert matrix.command(project, run).code == REJECTED
    assert contents(folder_of(project / "sweeps" / "demo.yaml")) == matrix.whole


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("step", ["copied", "synced"])
def test_a_disk_that_refuses_an_export(
    matrix: Matrix, monkeypatch: pytest.MonkeyPatch, number: int, step: str
) -> None:
    project = matrix.fresh(FINISHED)
    export = words_of(project, "export")
    with monkeypatch.context() as patch:
        if step == "copied":
            patch.setattr(shutil, "copyfile", refusing(1, number))
        else:
            patch.setattr(atomic, "_sync_file", refusing(2, number))
        ended = matrix.command(project, export)
    first = ended.said.partition("\n")[0]
    assert ended.code in (2, 3) and first == f"PROJECT/out: {os.strerror(number)}"
    assert not (project / "out").exists() and not left_over(project)
    assert matrix.command(project, export).code == 0


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.ENOMEM, "Cannot allocate memory")])
def test_a_memory_that_is_full_in_the_middle_of_a_confirmation(
    matrix: Matrix, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    project = matrix.fresh(CONFIRMING)
    run = words_of(project, "run")

    def fail() -> None:
        Stopped.meanwhile = None
        raise error

    monkeypatch.setattr(Stopped, "meanwhile", fail)
    ended = matrix.command(project, run)
    assert (
        ended.code == 2
        and "memory" in ended.said
        and "run the same command again" in " ".join(ended.said.split())
    )
    assert matrix.command(project, run).code == REJECTED
    assert contents(folder_of(project / "sweeps" / "demo.yaml")) == matrix.whole


def refusing(at: int, number: int) -> Callable[..., object]:
    """In the place of a call: the disk refuses it, from the `at`-th time on."""
    calls = itertools.count(1)

    def refuse(path: Path, *more: object, **options: object) -> object:
        if next(calls) >= at:
            raise OSError(number, os.strerror(number), str(path))
        return None

    return refuse


def left_over(project: Path) -> list[Path]:
    """What stands aside."""
    return [path for path in project.rglob("*.tmp-*") if path.suffix != ".aside"]
