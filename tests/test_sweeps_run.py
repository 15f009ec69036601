"""Every shipped sweep file runs to its verdict, on the embedded corpus, with both families of models.

Few trials, steps and utterances, and small models of the real classes with random weights: what is tested is that a
file's search, parameters, limits and confirmation work together in the real worker, not how good the models get.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.cli import main
from orchestrator.records.results import TrialState
from orchestrator.records.store import StudyFolder
from orchestrator.running.session import finished
from orchestrator.sweepfile.loading import load_spec
from orchestrator.tuning.worker import start_worker
from orchestrator.verdicts.conclusion import EXIT_CODES, Conclusion, conclude
from tests.cli_project import orchestrate
from tests.embedded import DATA, ROOT
from tests.tuning_models import small_model

FAMILIES = ("streaming", "v1")
FILES = sorted((ROOT / "sweeps").rglob("*.yaml"))
BY_DEFAULT = ("quickstart", "h4", "embedded/phase3")
"""What `make test` runs; together they cover tpe and grid, guardrails, confirmation, replay, noise and all variants."""
CHAINED = "phase3_chained"
MANIFESTS = {
    "train": ("train_manifest_expanded", 10),
    "replay": ("replay_manifest", 6),
    "domain": ("domain_manifest", 4),
    "heldout": ("heldout_manifest", 4),
    "confirm.domain": ("domain_confirm", 3),
    "confirm.heldout": ("heldout_confirm", 3),
}
STEPS = 3
"""Of the longest trials: one measurement on the way and one at the end."""


@dataclass(frozen=True)
class Place:
    """Where the small sweeps run."""

    root: Path

    def model(self, family: str) -> Path:
        """A model folder as the hub has them: random weights, the shipped tokenizer."""
        folder = self.root / family
        if not folder.exists():
            small_model(family, torch.float32, vocabulary=384, positions=2048).save_pretrained(folder)
            for name in ("tokenizer.json", "tokenizer_config.json", "processor_config.json"):
                shutil.copy(DATA / "base-model" / name, folder)
        return folder

    def manifest(self, name: str) -> Path:
        """The shortest utterances of a shipped set."""
        stem, count = MANIFESTS[name]
        path = self.root / f"{stem}.jsonl"
        if not path.exists():
            rows = [json.loads(line) for line in (DATA / f"{stem}.jsonl").read_text().splitlines()]
            rows = sorted(rows, key=lambda row: row["duration"])[:count]
            whole = ({**row, "audio_filepath": str(DATA / row["audio_filepath"])} for row in rows)
            path.write_text("".join(json.dumps(row) + "\n" for row in whole))
        return path

    def noisy(self, name: str) -> Path:
        """Its noisy copy, made as the sweep file says."""
        path = self.root / "noisy" / self.manifest(name).name
        if not path.exists():
            channel = ("--snr", "0:15", "--band", "300:3400", "--speed", "0.9:1.1", "--seed", "1")
            assert orchestrate("manifest", "noisy", self.manifest(name), path, *channel) == 0
        return path


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
        "parameters.max_steps": {"values": [STEPS - 1, STEPS]} if "max_steps" in searched(spec) else STEPS,
    }
    noisy = spec.data.train.parent.name == "noisy"
    named = {"train": spec.data.train, "replay": spec.data.replay, "domain": spec.data.domain}
    named["heldout"] = spec.data.heldout
    if spec.data.confirm:
        named |= {"confirm.domain": spec.data.confirm.domain, "confirm.heldout": spec.data.confirm.heldout}
    for each, shipped in named.items():
        if shipped:
            own = place.noisy(each) if noisy and shipped.parent.name == "noisy" else place.manifest(each)
            changes[f"data.{each}"] = str(own)
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
    words = [str(path), *overrides(path, family, place), *more, "--quiet", "--studies", str(studies)]
    with pytest.raises(SystemExit) as ended:
        main(words, lambda spec, folder: start_worker(spec, folder.cache))
    assert ended.value.code in (None, 0, 4, 5)
    folder = StudyFolder(studies, load_spec(path).name)
    return int(ended.value.code or 0), folder, conclude(load_spec(folder.path / "spec.yaml"), folder)


def check_verdict(code: int, folder: StudyFolder, conclusion: Conclusion) -> None:
    """The sweep ended with every trial trained and measured, and with an answer."""
    spec = load_spec(folder.path / "spec.yaml")
    assert finished(spec, folder)
    results = conclusion.results
    assert len(results) == spec.budget.trials > 0
    assert {result.state for result in results} <= {TrialState.COMPLETE, TrialState.PRUNED}, results
    assert all({"domain", "heldout"} <= result.wer.keys() for result in results)
    decision = conclusion.decision
    assert decision is not None if conclusion.best else not any(result.feasible for result in results)
    assert code == (EXIT_CODES[decision] if decision else 5)
    headline = folder.report_markdown.read_text().split("\n\n")[1]
    assert f"**{decision or 'INCONCLUSIVE'}: " in headline.replace("\\", "")
    if spec.confirm and conclusion.best:
        assert conclusion.confirmation and conclusion.unconfirmed == 0


def cases() -> list[Any]:
    return [
        pytest.param(
            path, family, marks=() if stem(path) in BY_DEFAULT else pytest.mark.slow, id=f"{stem(path)}-{family}"
        )
        for path in FILES
        if stem(path) != CHAINED
        for family in FAMILIES
    ]


@pytest.mark.parametrize(("path", "family"), cases())
def test_a_sweep_file_runs_to_its_verdict(path: Path, family: str, place: Place) -> None:
    check_verdict(*run(path, family, place))


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_the_chained_file_takes_what_phase_2_decided(family: str, place: Place) -> None:
    code, phase2, decided = run(ROOT / "sweeps" / "phase2.yaml", family, place)
    check_verdict(code, phase2, decided)
    assert decided.best is not None
    code, folder, conclusion = run(ROOT / "sweeps" / f"{CHAINED}.yaml", family, place)
    check_verdict(code, folder, conclusion)
    spec = load_spec(folder.path / "spec.yaml")
    assert spec.take and (spec.take.study, spec.take.trial) == ("phase2", decided.best.number)
    plans = [folder.read_plan(result.number) for result in conclusion.results]
    assert {plan.params.adapter for plan in plans if plan} == {decided.best.params["adapter"]}
