"""A finished study of which every file in turn is lost, or has one byte flipped: the same verdict,
or one message.
"""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.records.store import StudyFolder
from orchestrator.running.repairing import faults_of
from orchestrator.search import database_differences
from tests import fake_worker
from tests.cli_project import SWEEP, folder_of, make_project, orchestrate, ran_project

DOUBT = "are not as journal.jsonl says they were written"


@dataclass(frozen=True)
class Finished:
    """A study that ended, the verdict it gave, and a copy of its folder."""

    spec: Path
    folder: StudyFolder
    code: int
    verdict: str
    copy: Path

    def restore(self) -> None:
        """As it ended."""
        shutil.rmtree(self.folder.path)
        shutil.copytree(self.copy, self.folder.path)


@pytest.fixture(scope="module", name="made")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    root = tmp_path_factory.mktemp("sealed")
    spec = make_project(
        root, SWEEP.replace("trials: 5", "trials: 4").replace("min_gain: 1.0", "min_gain: 20.0")
    )
    code = orchestrate(spec, "--quiet")
    assert code == 4, "a rejected study, which a lost file must not turn into anything else"
    folder = folder_of(spec)
    shutil.copytree(folder.path, root / "copy")
    return Finished(spec, folder, code, (folder.path / "report.md").read_text(), root / "copy")


@pytest.fixture(name="finished")
def _finished(made: Finished, capsys: pytest.CaptureFixture[str]) -> Iterator[Finished]:
    yield made
    made.restore()


def lose(path: Path) -> None:
    """The file is gone."""
    path.unlink()


def flip(path: Path) -> None:
    """One byte in the middle is another: a digit stays a digit where it can."""
    data = bytearray(path.read_bytes())
    digits = [i for i, byte in enumerate(data) if 48 <= byte < 57]
    at = digits[len(digits) // 2] if digits else len(data) // 2
    if data:
        data[at] += 1
    path.write_bytes(bytes(data))


def kinds(folder: Path, every: bool = False) -> list[str]:
    """Every file of a study, one of each kind for those that come for every measurement; unless
    `every`, for those that come for every trial and confirmation run too.
    """
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and not name.startswith("cache/"):
            kind = re.sub(r"hypotheses-\d.*", "hypotheses", name)
            found.setdefault(kind if every else re.sub(r"/\d{4}/", "/", kind), name)
    return list(found.values())


# That a flipped byte is found in every kind of file is held by the check, which the run makes too.
@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("damage", [lose, pytest.param(flip, marks=pytest.mark.slow)])
def test_no_damage_changes_a_verdict(
    finished: Finished,
    damage: Callable[[Path], None],
    every: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = kinds(finished.folder.path, every)
    assert len(names) > (35 if every else 15)
    refused = set()
    for name in names:
        damage(finished.folder.path / name)
        capsys.readouterr()
        code = orchestrate(finished.spec, "--quiet")
        said = capsys.readouterr().err
        if code == 3:
            refused.add(name)
            assert "Traceback" not in said and said.count(DOUBT) <= 1 and "  " in said, name
        else:
            assert code == finished.code, name
        finished.restore()
    stand = {"baseline.json", "pack.json", "sets.json", "spec.yaml", "study.json", "journal.jsonl"}
    stand |= {f"trials/{n:04d}/{what}" for n in range(4) for what in ("result.json",)}
    stand |= {
        f"confirm/{n:04d}/{what}"
        for n in (1, 2)
        for what in ("result.json", "plan.json", "measurements.jsonl")
    }
    stand &= set(names)
    assert len(stand) >= 10 and stand <= refused, stand - refused


@pytest.mark.parametrize("damage", [lose, flip])
def test_the_check_names_every_damaged_file(
    finished: Finished, damage: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert orchestrate("repair", finished.spec, "--check") == 0
    free = {"clock.json", "findings.json", "notes.md", "report.md", "report.html", "study.lock"}
    for name in kinds(finished.folder.path):
        if name in free or name.startswith(("checkpoint", "study.db")):
            continue
        damage(finished.folder.path / name)
        capsys.readouterr()
        assert orchestrate("repair", finished.spec, "--check") == 3, name
        assert name in capsys.readouterr().err
        finished.restore()


def remade(finished: Finished, names: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The advice is followed: the bytes are those that were lost, and the verdict is the same."""
    capsys.readouterr()
    assert orchestrate(finished.spec, "--quiet") == 3
    assert "orchestrate repair SPEC" in capsys.readouterr().err
    assert orchestrate("repair", finished.spec) == 0
    said = capsys.readouterr().out
    assert all(f"made again: {name} from " in said for name in names), said
    notes = finished.folder.notes.read_text()
    for name in names:
        assert f"repair: {name} from " in notes
        if name != "study.db":
            assert (finished.folder.path / name).read_bytes() == (finished.copy / name).read_bytes()
    assert orchestrate("repair", finished.spec, "--check") == 0
    assert orchestrate(finished.spec, "--quiet") == finished.code


REMADE = {
    "settings": ["spec.yaml", "study.json"],
    "sets": ["sets.json"],
    "plan": ["trials/0000/plan.json"],
    "results": ["trials/0000/result.json", "trials/0002/result.json"],
    "confirmation": [
        "confirm/0001/plan.json",
        "confirm/0001/result.json",
        "confirm/0002/result.json",
    ],
    "finalist": ["trials/0000/result.json", "trials/0000/plan.json", "confirm/0002/plan.json"],
}


@pytest.mark.parametrize(
    ("damage", "names"),
    [
        pytest.param(
            damage,
            names,
            id=f"{damage.__name__}-{kind}",
            marks=() if damage is lose or kind in ("results", "finalist") else pytest.mark.slow,
        )
        for damage in (lose, flip)
        for kind, names in REMADE.items()
    ],
)
def test_what_follows_from_the_rest_is_made_again_to_the_byte(
    finished: Finished,
    names: list[str],
    damage: Callable[[Path], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in names:
        damage(finished.folder.path / name)
    remade(finished, names, capsys)


def test_a_lost_result_with_further_sets_and_guardrails_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    further = {"tower": 0.1, "arc": 0.2}  # a database returns them by name, arc before domain
    rates = fake_worker.rates_at
    monkeypatch.setattr(fake_worker, "BASELINE_RATE", fake_worker.BASELINE_RATE | further)
    monkeypatch.setattr(fake_worker, "rates_at", lambda *at: rates(*at) | further)
    also = "  also: {tower: data/confirm_domain.jsonl, arc: data/confirm_heldout.jsonl}\n"
    sets = re.sub(r"  confirm: \{domain.*\n", also, SWEEP).replace("confirm: {top", "# {top")
    limits = "guardrails:\n  tower_wer: {max_regression: 9}\n  arc_wer: {max_regression: 9}\n"
    spec = make_project(tmp_path, sets.replace("guardrails:\n", limits))
    assert orchestrate(spec, "--quiet", "budget.trials=2") in (0, 4, 5)
    result = folder_of(spec).result_file(0)
    written = result.read_bytes()
    assert list(json.loads(written)["wer"]) == ["domain", "heldout", "tower", "arc"]
    result.unlink()
    assert orchestrate("repair", spec) == 0, capsys.readouterr().err
    assert result.read_bytes() == written


def test_a_lost_database_is_made_again_and_the_search_goes_on(
    finished: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in finished.folder.path.glob("study.db*"):
        path.unlink()
    remade(finished, ["study.db"], capsys)
    assert orchestrate(finished.spec, "--quiet", "budget.trials=6") in (0, 4, 5)
    params = [result.params for result in finished.folder.results()]
    finished.restore()
    assert orchestrate(finished.spec, "--quiet", "budget.trials=6") in (0, 4, 5)
    assert [result.params for result in finished.folder.results()] == params


def test_a_plan_that_is_lost_with_the_database_is_made_again_from_its_result(
    finished: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in finished.folder.path.glob("study.db*"):
        path.unlink()
    finished.folder.plan_file(0).unlink()
    remade(finished, ["trials/0000/plan.json", "study.db"], capsys)


@pytest.mark.parametrize("name", ["trials/0000/plan.json", "confirm/0001/plan.json", "sets.json"])
def test_a_file_from_before_a_study_had_its_name_is_made_again(
    name: str, finished: Finished, tmp_path: Path
) -> None:
    project = shutil.copytree(finished.spec.parents[1], tmp_path / "project")
    spec, studies = project / "sweeps" / "demo.yaml", project / "studies"
    (studies / "demo").rename(studies / "renamed")
    (project / "data" / "confirm_domain.jsonl").rename(project / "data" / "renamed.jsonl")
    spec.write_text(spec.read_text().replace("data/confirm_domain.jsonl", "data/renamed.jsonl"))
    assert orchestrate(spec, "name=renamed", "--quiet") == finished.code
    lost = studies / "renamed" / name
    written = lost.read_bytes()
    lost.unlink()
    assert orchestrate("repair", spec, "name=renamed") == 0
    assert lost.read_bytes() == written


def test_a_sweep_file_that_has_changed_since_makes_no_spec_again(
    finished: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    finished.folder.spec.unlink()
    capsys.readouterr()
    assert orchestrate("repair", finished.spec, "budget.trials=50") == 3
    said = capsys.readouterr().err
    assert "  spec.yaml is lost\n" in said
    assert "put that back, then run the same command again" in said and "repair SPEC" not in said
    assert orchestrate("repair", finished.spec) == 0


def test_a_repair_makes_no_empty_database(
    finished: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in finished.folder.path.glob("study.db*"):
        path.unlink()
    finished.folder.plan_file(0).unlink()
    finished.folder.result_file(0).unlink()
    capsys.readouterr()
    assert orchestrate("repair", finished.spec) == 3
    said = capsys.readouterr().err
    for name in ("study.db", "trials/0000/plan.json", "trials/0000/result.json"):
        assert f"{name} is lost" in said
    assert not finished.folder.database.exists()


def test_a_damaged_database_is_set_aside_and_made_again(
    finished: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    finished.folder.database.write_bytes(b"not a database" * 1000)
    capsys.readouterr()
    assert orchestrate(finished.spec, "--quiet", "budget.trials=5") == 3
    assert "`orchestrate repair SPEC`" in capsys.readouterr().err
    assert orchestrate("repair", finished.spec, "budget.trials=5") == 0
    assert finished.folder.database.with_name("study.db.damaged").exists()
    assert orchestrate(finished.spec, "--quiet", "budget.trials=5") in (0, 4, 5)
    assert len(finished.folder.results()) == 5


def test_a_database_with_other_numbers_is_refused_before_the_search_learns_from_it(
    finished: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(finished.folder.database)) as connection, connection:
        connection.execute("UPDATE trial_values SET value = value - 1 WHERE value_type = 'FINITE'")
    capsys.readouterr()
    assert orchestrate(finished.spec, "--quiet", "budget.trials=5") == 3
    assert "Move study.db away, then run `orchestrate repair SPEC`" in capsys.readouterr().err
    finished.folder.database.unlink()
    assert orchestrate("repair", finished.spec) == 0
    assert orchestrate(finished.spec, "--quiet", "budget.trials=5") in (0, 4, 5)


@pytest.mark.parametrize("name", ["baseline.json", "trials/0001/measurements.jsonl", "pack.json"])
def test_what_was_measured_is_not_made_up(
    finished: Finished, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flip(finished.folder.path / name)
    before = finished.folder.journal.path.read_bytes()
    capsys.readouterr()
    assert orchestrate("repair", finished.spec) == 3
    said = capsys.readouterr().err
    assert (
        f"  {name} has been altered\n" in said and "restore them from a copy of the study" in said
    )
    assert finished.folder.journal.path.read_bytes() == before, "nothing was sealed"
    shutil.copy(finished.copy / name, finished.folder.path / name)
    assert orchestrate("repair", finished.spec, "--check") == 0


def test_a_lost_trial_is_said_with_what_still_stands(
    finished: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(finished.folder.path / "trials" / "0002")
    for command in (
        (finished.spec, "--quiet"),
        ("report", finished.spec),
        ("status", finished.spec),
    ):
        capsys.readouterr()
        assert orchestrate(*command) == 3
        said = capsys.readouterr().err
        assert "  trials/0002/result.json is lost\n" in said and "sealed files hold" in said


def test_a_fault_of_an_unsealed_file_leaves_the_sealed_ones_whole(
    finished: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    sealed = len(finished.folder.journal.chain().files)
    (finished.folder.path / "study.db").unlink()
    (finished.folder.path / "clock.json").write_text("{")
    assert orchestrate("repair", finished.spec, "--check") == 3
    assert f"  {sealed} of {sealed} sealed files hold. " in capsys.readouterr().err


def test_looser_limits_are_refused_without_spec_or_database(finished: Finished) -> None:
    loose = "acceptance.domain_wer.min_gain=0.1"
    assert orchestrate(finished.spec, "--quiet", loose) == 3
    for lost in ("spec.yaml", "study.db", "baseline.json"):
        (finished.folder.path / lost).unlink()
        assert orchestrate(finished.spec, "--quiet", loose) == 3
        finished.restore()


@pytest.mark.parametrize("name", ["result.json", "plan.json"])
@pytest.mark.parametrize("command", [(), ("status",), ("report",)])
def test_a_file_that_nobody_sealed_is_refused(
    finished: Finished, command: tuple[str, ...], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    invented = finished.folder.path / "trials" / "0009" / name
    invented.parent.mkdir()
    shutil.copy(finished.folder.trial_folder(0) / name, invented)
    assert orchestrate(*command, finished.spec) == 3
    assert f"trials/0009/{name} was not written by a run of this study" in capsys.readouterr().err


@pytest.mark.parametrize(
    "damage", [lose, flip, lambda path: path.write_bytes(b"")], ids=["lost", "flipped", "emptied"]
)
def test_a_damaged_adapter_is_not_exported(
    finished: Finished,
    damage: Callable[[Path], None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    best = json.loads(finished.folder.result_file(0).read_bytes())["number"]
    damage(finished.folder.adapter_folder(best) / "adapter_config.json")
    assert orchestrate("export", finished.spec, best, "--to", tmp_path / "out") == 3
    assert f"trials/{best:04d}/adapter/adapter_config.json" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_copied_and_a_moved_study_hold(finished: Finished, tmp_path: Path) -> None:
    project = finished.spec.parents[1]
    shutil.copytree(project, tmp_path / "copied")
    copied = tmp_path / "copied" / "sweeps" / "demo.yaml"
    assert orchestrate("repair", copied, "--check") == 0
    shutil.move(tmp_path / "copied", tmp_path / "moved")
    moved = tmp_path / "moved" / "sweeps" / "demo.yaml"
    assert (
        orchestrate("repair", moved, "--check") == 0
        and orchestrate(moved, "--quiet") == finished.code
    )


def test_a_damaged_checkpoint_is_removed_by_a_repair(
    finished: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    newest = max(finished.folder.checkpoint.glob("*.json"))
    flip(newest)
    assert orchestrate("repair", finished.spec, "--check") == 3
    assert f"checkpoint/{newest.stem} has been altered" in capsys.readouterr().err
    assert orchestrate("repair", finished.spec) == 0 and not newest.exists()
    assert orchestrate(finished.spec, "--quiet") == finished.code


@pytest.mark.parametrize("name", ["baseline.json", "trials/0000/result.json"])
def test_a_folder_in_the_place_of_a_sealed_file_is_no_file(
    finished: Finished, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (finished.folder.path / name).unlink()
    (finished.folder.path / name).mkdir()
    assert orchestrate("report", finished.spec) == 3
    assert f"  {name} is no file any more: move away what has its name\n" in capsys.readouterr().err


def test_a_folder_in_the_place_of_a_file_to_be_made_again_is_said(
    finished: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = finished.folder.spec
    spec.unlink()
    spec.mkdir()
    assert orchestrate("repair", finished.spec) == 3
    assert capsys.readouterr().err == (
        f"{spec} is a directory, and a file belongs there\n"
        "  Move it away, then run the same command again.\n"
    )
    spec.rmdir()
    assert orchestrate("repair", finished.spec) == 0


def test_a_folder_in_the_place_of_a_checkpoint_is_a_damaged_checkpoint(
    finished: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    newest = max(finished.folder.checkpoint.glob("*.json"))
    newest.unlink()
    newest.mkdir()
    (newest / "mine").touch()
    assert orchestrate("repair", finished.spec, "--check") == 3
    assert f"checkpoint/{newest.stem} has been altered" in capsys.readouterr().err
    assert orchestrate("repair", finished.spec) == 3
    said = capsys.readouterr().err
    assert said.startswith(f"{newest} is a directory, and a file belongs there\n  Move it away")
    assert orchestrate("clean", finished.spec, "--yes") == 0
    newest.rename(newest.with_name("away"))
    assert orchestrate("repair", finished.spec) == 0
    assert (newest.with_name("away") / "mine").exists()
    assert orchestrate(finished.spec, "--quiet") == finished.code


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("inside_a_line", [False, True])
def test_a_journal_that_was_cut_off_is_said_to_be_and_left_as_it_is(
    share: float, inside_a_line: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = ran_project(tmp_path)
    folder = folder_of(spec)
    whole = folder.journal.path.read_bytes()
    lines = whole.splitlines(keepends=True)
    cut = b"".join(lines[: round(share * len(lines))]) + (b'{"act": 9' if inside_a_line else b"")
    folder.journal.path.write_bytes(cut)
    capsys.readouterr()
    for command in ((spec, "-q"), ("status", spec), ("repair", spec), ("repair", spec, "--check")):
        assert orchestrate(*command) == 3
        said = capsys.readouterr().err
        assert said.startswith(f"{folder.journal.path} is cut off, or an older one: it ends in the")
        assert "Restore it from a copy of the study that has them" in said
        assert "altered" not in said
    assert folder.journal.path.read_bytes() == cut
    # what is advised
    assert orchestrate(spec, "-q", "--fork", "again") in (0, 4, 5)
    folder.journal.path.write_bytes(whole)
    assert orchestrate(spec, "-q") == 0


def test_a_file_in_a_trial_of_a_killed_run_that_no_run_writes_cuts_off_no_journal(
    tmp_path: Path,
) -> None:
    spec = ran_project(tmp_path)
    folder = folder_of(spec)
    lines = folder.journal.path.read_bytes().splitlines(keepends=True)
    folder.journal.path.write_bytes(b"".join(lines[:-1]))  # killed before it closed
    (folder.trial_folder(0) / ".DS_Store").write_bytes(b"1")
    assert orchestrate(spec, "-q") == 0


def test_what_a_result_was_heard_to_say_is_checked_before_more_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = ran_project(tmp_path)
    folder = folder_of(spec)
    heard = folder.trial_folder(0) / "hypotheses-200-1.0.jsonl"
    damaged = [heard, *folder.path.glob("hypotheses-baseline-*.jsonl")]
    for path in damaged:
        whole = path.read_bytes()
        path.write_bytes(whole.replace(b"words", b"wordz", 1))
        assert orchestrate(spec, "-q", "budget.trials=8") == 3
        said = capsys.readouterr().err
        assert f"{path.relative_to(folder.path)} has been altered" in said
        assert len(folder.planned()) == 5, "trained in vain"
        path.write_bytes(whole)
    assert orchestrate(spec, "-q", "budget.trials=8") == 0
    assert len(folder.planned()) == 8


def test_a_trial_that_ends_while_a_running_study_is_checked_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(ran_project(tmp_path))
    (*earlier, last) = folder.results()
    monkeypatch.setattr(StudyFolder, "results", lambda self: tuple(earlier))
    for number, whole in ((last.number, True), (last.number + 1, False), (0, False)):
        monkeypatch.setattr(
            database_differences, "differing_trial_in", lambda *_, found=number: found
        )
        found = faults_of(folder, folder.path / "study.db", tmp_path)
        assert (found == {}) is whole
