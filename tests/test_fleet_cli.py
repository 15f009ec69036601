"""Several packs from the command line: decided once, shown, kept, compared, and the same wherever
they run.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest

from orchestrator.errors import SpecError
from orchestrator.records.store import StudyFolder
from orchestrator.sweepfile.loading import load_spec
from tests.cli_project import SWEEP, folder_of, make_project, orchestrate, process, ran_project
from tests.fleet_support import UNEQUAL

PACKS = SWEEP + "execution: {pack: 2, packs: 2, cores: 1, device: cpu, processes: false}\n"


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join("".join(capsys.readouterr()).split())


def came(folder: StudyFolder) -> dict[str, str]:
    """What was measured and decided, of search and confirmation; not how many seconds it took, nor
    which checkpoints are left.
    """
    files = {}
    for path in sorted(folder.path.glob("*/0*/*.json*")):
        if path.parents[1] == folder.checkpoint:
            continue
        text = path.read_text()
        if path.name == "result.json":
            text = json.dumps(json.loads(text) | {"seconds": 0})
        if path.name not in UNEQUAL:
            files[str(path.relative_to(folder.path))] = text
    return files


@pytest.fixture(scope="module", name="inline")
def _inline(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A finished study of two packs in one process, which is read alone, and its exit code."""
    spec = make_project(tmp_path_factory.mktemp("inline"), PACKS)
    return spec, orchestrate(spec, "--quiet")


@pytest.mark.skipif(sys.platform != "linux", reason="packs are forked on Linux alone")
def test_a_study_is_the_same_inline_and_in_processes(
    inline: tuple[Path, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (straight, code), forked = inline, make_project(tmp_path, PACKS)
    assert orchestrate(forked, "--quiet", "execution.processes=true") == code
    assert came(folder_of(straight)) == came(folder_of(forked))
    assert len(came(folder_of(straight))) > 20
    pack = json.loads((folder_of(forked).path / "pack.json").read_bytes())
    assert pack == {
        "slots": 2,
        "why": "execution.pack: 2",
        "device": "unknown",
        "packs": 2,
        "cores": 1,
    }
    assert "runs in process" in (folder_of(forked).logs / "pack-1.log").read_text()
    assert "runs in this process" in (folder_of(straight).logs / "pack-1.log").read_text()
    capsys.readouterr()
    assert orchestrate("status", forked) == 0
    assert "Packs: 2, each of 2 adapters at once on unknown, cores for each: 1" in said(capsys)


def test_other_packs_are_another_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = PACKS.replace("trials: 5", "trials: 2").replace(
        "confirm: {top: 1, seeds: [101, 102]}\n", ""
    )
    spec = make_project(tmp_path, short)
    orchestrate(spec, "--quiet")
    for change, text in {
        "execution.packs=3": "trains 2 packs, the sweep file says execution.packs: 3",
        "execution.cores=2": "trains each pack on 1 core, the sweep file says execution.cores: 2",
        "execution.pack=4": "trains 2 adapters at once, the sweep file says execution.pack: 4",
    }.items():
        capsys.readouterr()
        assert orchestrate(spec, change) == 3
        assert f"study demo {text} Write" in said(capsys)
    assert orchestrate(spec, "--quiet", "execution.packs=auto", "execution.cores=auto") in (0, 4, 5)


def test_plan_shows_packs_and_what_trials_in_flight_cost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = make_project(tmp_path, PACKS)
    assert (
        orchestrate("plan", spec, "execution.processes=true", "execution.devices=[cuda:0, cuda:1]")
        == 0
    )
    shown = said(capsys)
    assert (
        "2 packs, cores: 1, a process each on cuda:0, cuda:1 in turn; each a pack of 2 adapters at once"
        in shown
    )
    assert (
        "4 trials in flight: 5 trials, 4 drawn before any result; tpe learns from few of them: give budget.trials at "
        "least 12, or fewer packs or a smaller pack"
    ) in shown
    assert orchestrate("plan", spec, "budget.trials=12") == 0
    shown = said(capsys)
    assert "2 packs, cores: 1, all in one process;" in shown
    assert (
        "4 trials in flight: 12 trials, 4 drawn before any result" in shown
        and "learns from few" not in shown
    )
    assert orchestrate("plan", spec, "execution.packs=1") == 0
    assert "in flight" not in said(capsys)


@pytest.mark.skipif(sys.platform != "linux", reason="packs are forked on Linux alone")
def test_status_shows_packs_and_a_stopped_run_continues(
    inline: tuple[Path, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (straight, _), stopped = inline, make_project(tmp_path, PACKS)
    run = process(stopped, "execution.processes=true", pause=0.3)
    assert run.stdout is not None and run.stderr is not None
    for line in run.stdout:
        if "step 100" in line:
            run.send_signal(signal.SIGTERM)
            break
    run.communicate()
    assert run.returncode == 75
    capsys.readouterr()
    assert orchestrate("status", stopped) == 0
    shown = said(capsys)
    assert "Packs at the last checkpoint" in shown and "process " in shown and "at 100" in shown
    orchestrate(stopped, "--quiet")  # the rest inline
    assert came(folder_of(stopped)) == came(folder_of(straight))


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("launcher: slurm", "execution.launcher cannot be `slurm`; allowed: "),
        (
            "launcher: ray",
            "launcher: ray needs execution.packs; add it: 2 or more, for one pack runs on the",
        ),
        ("launcher: ray", "launcher: ray needs execution.cores; add it: a number"),
        ("launcher: ray", "launcher: ray needs execution.device; add it: cpu, or cuda"),
        (
            "launcher: ray, packs: 1",
            "execution.packs cannot be `1` with launcher: ray; allowed: 2 or more",
        ),
        (
            "launcher: ray, device: auto",
            "execution.device cannot be `auto` with launcher: ray; allowed: cpu, or cuda",
        ),
        (
            "launcher: ray, devices: [cuda:0]",
            "execution.devices is of one machine, and launcher: ray has others; remove it",
        ),
        (
            "launcher: ray, processes: true",
            "execution.processes is of one machine, and launcher: ray has others; remove it",
        ),
        (
            "workers: 1",
            "execution.workers is no key any more; remove it: several packs at once are execution.packs",
        ),
        ("packs: 0", "execution.packs cannot be `0`; allowed: "),
        ("devices: [gpu1]", "cpu, cuda, or one GPU of several such as cuda:1"),
        ("processes: some", "execution.processes cannot be `some`"),
        (
            "packs: 1, devices: [cuda:0, cuda:1]",
            "execution.devices names 2, and execution.packs is 1: a pack trains on one device; "
            "write packs: auto, or at least 2",
        ),
        (
            "packs: 2, devices: [cuda:0, cuda:0, cuda:1]",
            "execution.devices names 3, and execution.packs is 2: a pack trains on one device; "
            "write packs: auto, or at least 3",
        ),
        (
            "packs: 2, devices: [cuda:0, cpu]",
            "are of several kinds, cpu and cuda; name those of one",
        ),
        (
            "packs: 2, processes: false, devices: [cuda:0, cuda:1]",
            "execution.processes: false keeps all packs in one process, on one device, and",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(line: str, text: str, tmp_path: Path) -> None:
    spec = make_project(tmp_path, SWEEP + f"execution: {{{line}}}\n")
    with pytest.raises(SpecError) as caught:
        load_spec(spec)
    assert text in str(caught.value)


def test_a_study_of_before_is_read(tmp_path: Path) -> None:
    spec = ran_project(tmp_path)
    stored = folder_of(spec).spec
    old = stored.read_text().replace("execution:\n", "execution:\n  workers: 1\n")
    stored.write_text(old)
    assert load_spec(stored).execution == load_spec(spec).execution
