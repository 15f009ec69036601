"""Every shipped sweep file runs to its verdict, on the embedded corpus, with both families of
models.

The twins of the recorded experiments are left out: they differ from these in what is made small
here.

Few trials, steps and utterances, and small models of the real classes with random weights: what is
tested is that a file's search, parameters, limits and confirmation work together in the real
worker, not how good the models get.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli import main
from orchestrator.records.results import TrialState
from orchestrator.records.store import StudyFolder
from orchestrator.running.completion import is_finished
from orchestrator.sweepfile.loading import load_spec
from orchestrator.tuning.worker import start_worker
from orchestrator.verdicts.concluding import conclude
from orchestrator.verdicts.conclusion import EXIT_CODES, Conclusion
from tests.embedded import DATA, ROOT
from tests.tuning_models import small_model_folder

FAMILIES = ("streaming", "v1")
FILES = sorted((ROOT / "sweeps").rglob("*.yaml"))
BY_DEFAULT = {
    "quickstart": "streaming",
    "recorded/h2": "v1",
    "embedded/phase3": "streaming",
    "embedded/recommended": "v1",
}
"""What `make test` runs, each with one family; together they cover tpe and grid, guardrails, both
confirmations, replay, one set and two, the stop above a multiple of the baseline, and all variants.
"""
PHASES = ("phase-1.1-baseline", "phase-1.1", "phase-2.1", "phase-2.2", "phase-3.1", "phase-3.2")
CHAINED = ("phase3_chained", *(f"recorded/{name}" for name in PHASES))
COUNTS = {
    "train_manifest_expanded": 10,
    "train_manifest": 8,
    "replay_manifest": 6,
    "domain_manifest": 4,
    "heldout_manifest": 4,
    "test_manifest": 2,
    "domain_all": 4,
    "heldout_all": 4,
    "domain_confirm": 3,
    "heldout_confirm": 3,
}
"""Utterances of each shipped set that are used."""
STEPS = 3
"""Of a trial, or one more where the length is searched: one measurement on the way and one at the
end.
"""


@dataclass(frozen=True)
class Place:
    """Where the small sweeps run."""

    root: Path

    def model(self, family: str) -> Path:
        """A small model of the family."""
        folder = self.root / family
        return folder if folder.exists() else small_model_folder(folder, family)

    def manifest(self, stem: str) -> Path:
        """The shortest utterances of a shipped set."""
        path = self.root / f"{stem}.jsonl"
        if not path.exists():
            rows = [json.loads(line) for line in (DATA / f"{stem}.jsonl").read_text().splitlines()]
            rows = sorted(rows, key=lambda row: row["duration"])[: COUNTS[stem]]
            whole = ({**row, "audio_filepath": str(DATA / row["audio_filepath"])} for row in rows)
            path.write_text("".join(json.dumps(row) + "\n" for row in whole))
        return path


@pytest.fixture(autouse=True)
def _checks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The start-up checks of the model take longer than the sweeps: what runs by default leaves
    them to the same files with the other family.
    """
    if request.node.get_closest_marker("slow") is None:
        monkeypatch.setattr("orchestrator.tuning.prepared_sweep.check_model", lambda *_: [])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("sweeps"))


def stem(path: Path) -> str:
    return path.relative_to(ROOT / "sweeps").with_suffix("").as_posix()


def overrides(path: Path, family: str, place: Place) -> list[str]:
    """What makes a sweep file small; its search, parameters and limits stay its own."""
    spec = load_spec(path)
    changes: dict[str, Any] = {
        "model.id": str(place.model(family)),
        "evaluation.max_tokens_per_second": 13,
        "evaluation.every": STEPS - 1,
        "budget.trials": min(spec.budget.trials, 3),
        "execution.pack": 2,
        "execution.device": "cpu",
        "parameters.max_steps": {"values": [STEPS, STEPS + 1]}
        if "max_steps" in searched(spec)
        else STEPS,
    }
    named = {"train": spec.data.train, "replay": spec.data.replay, "domain": spec.data.domain}
    named["heldout"] = spec.data.heldout
    if spec.data.confirm:
        named |= {
            "confirm.domain": spec.data.confirm.domain,
            "confirm.heldout": spec.data.confirm.heldout,
        }
    for each, shipped in named.items():
        if shipped:
            changes[f"data.{each}"] = str(place.manifest(shipped.stem))
    if spec.parameters.fixed.get("warmup_steps"):
        changes["parameters.warmup_steps"] = 1
    if spec.start_with:
        changes["start_with"] = [dict(point) | {"max_steps": STEPS} for point in spec.start_with]
    if spec.confirm:
        changes["confirm"] = {"top": 1, "seeds": [101, 102]}
    return [f"{key}={json.dumps(value)}" for key, value in changes.items()]


def searched(spec: Any) -> set[str]:
    return {dimension.name for dimension in spec.parameters.searched}


def run(path: Path, family: str, place: Place, *more: str) -> tuple[int, StudyFolder, Conclusion]:
    """The command with the real worker: its exit code, the study, and what follows from it."""
    studies = place.root / "studies" / family
    words = [
        str(path),
        *overrides(path, family, place),
        *more,
        "--quiet",
        "--studies",
        str(studies),
    ]
    with pytest.raises(SystemExit) as ended:
        main(words, lambda spec, folder: start_worker(spec, folder.project_cache))
    assert ended.value.code in (None, 0, 4, 5)
    folder = StudyFolder(studies, load_spec(path).name)
    return (
        int(ended.value.code or 0),
        folder,
        conclude(load_spec(folder.path / "spec.yaml"), folder),
    )


def check_verdict(code: int, folder: StudyFolder, conclusion: Conclusion) -> None:
    """The sweep ended with every trial trained and measured, and with an answer."""
    spec = load_spec(folder.path / "spec.yaml")
    assert is_finished(spec, folder)
    results = conclusion.results
    assert len(results) == spec.budget.trials > 0
    assert {result.state for result in results} <= {TrialState.COMPLETE, TrialState.PRUNED}, results
    assert all(spec.data.evaluated.keys() <= result.wer.keys() for result in results)
    decision = conclusion.decision
    assert (
        decision is not None if conclusion.best else not any(result.feasible for result in results)
    )
    assert code == (EXIT_CODES[decision] if decision else 5)
    headline = folder.report_markdown.read_text().split("\n\n")[1]
    assert f"**{decision or 'INCONCLUSIVE'}: " in headline.replace("\\", "")
    if spec.confirm and conclusion.best:
        assert conclusion.confirmation and conclusion.unconfirmed == 0


def cases() -> list[Any]:
    return [
        pytest.param(
            path,
            family,
            marks=() if family == BY_DEFAULT.get(stem(path)) else pytest.mark.slow,
            id=f"{stem(path)}-{family}",
        )
        for path in FILES
        if stem(path) not in CHAINED and not stem(path).startswith("recorded/embedded/")
        for family in FAMILIES
    ]


@pytest.mark.parametrize(("path", "family"), cases())
def test_a_sweep_file_runs_to_its_verdict(path: Path, family: str, place: Place) -> None:
    check_verdict(*run(path, family, place))


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_the_phases_and_what_is_chained_to_them(family: str, place: Place) -> None:
    ended = {}
    for name in PHASES:
        code, folder, ended[name] = run(
            ROOT / "sweeps" / "recorded" / f"{name}.yaml", family, place
        )
        check_verdict(code, folder, ended[name])
    assert all(
        change == 0 for result in ended[PHASES[0]].results for change in result.delta.values()
    )
    fallback = "take.fallback=lowest_domain"
    code, folder, conclusion = run(ROOT / "sweeps" / "phase3_chained.yaml", family, place, fallback)
    check_verdict(code, folder, conclusion)
    decided = ended["phase-2.2"].best or ended["phase-2.2"].lowest_domain
    spec = load_spec(folder.path / "spec.yaml")
    assert decided and spec.take
    assert (spec.take.study, spec.take.trial, spec.take.infeasible) == (
        "phase-2.2", decided.number, not decided.feasible
    )  # fmt: skip
    plans = [folder.read_plan(result.number) for result in conclusion.results]
    assert {plan.params.adapter for plan in plans if plan} == {decided.params["adapter"]}
