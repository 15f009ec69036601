"""The recorded and planned experiments: every field of every file against what was recorded, typed
here by hand.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import StudyError
from orchestrator.planning.sweep_plan import sweep_plan
from orchestrator.records.store import StudyFolder
from orchestrator.reporting.documents import plan_report
from orchestrator.reporting.rendering import markdown
from orchestrator.running.chained_spec import load_chained_spec
from orchestrator.sweepfile.loading import changed_fields, load_spec, resolved_yaml
from orchestrator.sweepfile.parameters import TABLE
from orchestrator.sweepfile.presets import PRESETS
from orchestrator.sweepfile.search_space import Dimension, SearchSpace
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.concluding import conclude
from orchestrator.verdicts.conclusion import Conclusion
from tests.cli_project import make_project, orchestrate
from tests.embedded import DATA, ROOT

RECORDED = ROOT / "sweeps" / "recorded"
V1, STREAMING = "UsefulSensors/moonshine-tiny", "UsefulSensors/moonshine-streaming-tiny"
SMALL, EXPANDED = "train_manifest", "train_manifest_expanded"
HELDOUT, DOMAIN, TWO = ("heldout_manifest",), ("domain_manifest",), ("test_manifest",)
BOTH = ("domain_manifest", "heldout_manifest")

QKV_FC = {"q-k-v-fc1-fc2": ("q_proj", "k_proj", "v_proj", "fc1", "fc2")}
QKVO_FC = {"q-k-v-o-fc1-fc2": ("q_proj", "k_proj", "v_proj", "o_proj", "fc1", "fc2")}
DECODER = {
    "decoder-attention-mlp": (
        "decoder.*.q_proj", "decoder.*.k_proj", "decoder.*.v_proj", "decoder.*.o_proj", "decoder.*.fc1",
        "decoder.*.fc2",
    )
}  # fmt: skip
ALL_LINEAR = {
    "all-linear": (
        "q_proj", "k_proj", "v_proj", "o_proj", "encoder.layers.*.fc1", "encoder.layers.*.fc2", "decoder.*.fc1",
        "decoder.*.fc2",
    )
}  # fmt: skip
ATTENTION = {"attention": ("q_proj", "k_proj", "v_proj", "o_proj")}

BELOW_SHORT = {
    "domain_wer": {"min_gain": 0.01, "max_wer": "2x", "rule": "point"},
    "train_loss": "falls",
}
BELOW_LONG = BELOW_SHORT | {"train_loss": "falls_monotonically"}
WITHIN_5_PERCENT = {"domain_wer": {"max_regression": "5%", "max_wer": "2x"}, "train_loss": "falls"}
POINT_DOWN = {
    "domain_wer": {"min_gain": 1.0, "max_wer": "2x", "rule": "point"},
    "train_loss": "falls",
}
LATER_SHORT = POINT_DOWN | {"heldout_wer": {"max_regression": 0.2, "max_wer": "2x"}}
LATER_LONG = LATER_SHORT | {"train_loss": "falls_monotonically"}
HELD = {"heldout_wer": {"max_regression": 0.2}}


@dataclass(frozen=True)
class Run:
    """A row of the record. A tuple of values is searched, a grid; None is left to `take`."""

    model: str
    steps: int | tuple[int, ...]
    rate: float | tuple[float, ...] | None
    every: int
    adapter: str | tuple[str, ...] | None
    targets: Mapping[str, tuple[str, ...]] | None
    seconds: float
    train: str
    sets: tuple[str, ...]
    acceptance: dict[str, Any]
    stop: float | None = None
    guardrails: dict[str, Any] | None = None
    trials: int = 1
    take: dict[str, Any] | None = None
    rank: int | None = 8
    seed: int | tuple[int, ...] = 42
    scale: float = 1.0
    ignore: tuple[str, ...] = ()


def taken(study: str, *parameters: str, fallback: str = "lowest_domain") -> dict[str, Any]:
    return {"study": study, "parameters": parameters, "fallback": fallback}


RUNS = {
    "h1": Run(V1, 200, 1e-5, 50, "lora", QKV_FC, 8, SMALL, HELDOUT, BELOW_SHORT),
    "h2": Run(V1, 2000, 1e-4, 200, "lora", QKV_FC, 8, SMALL, HELDOUT, BELOW_LONG, stop=1.1),
    "h2-micro-batches": Run(V1, 500, 1e-4, 50, "lora", QKV_FC, 8, SMALL, HELDOUT, BELOW_LONG, stop=1.1),
    "h3-lr1e4": Run(V1, 200, 1e-4, 50, "lora", QKV_FC, 8, SMALL, HELDOUT, WITHIN_5_PERCENT),
    "h3-lr3e4": Run(V1, 200, 3e-4, 50, "lora", QKV_FC, 8, SMALL, HELDOUT, WITHIN_5_PERCENT),
    "h4": Run(V1, 200, 1e-4, 50, "lora", QKV_FC, 8, SMALL, TWO, BELOW_SHORT, ignore=("no-headroom",)),
    "h1-expanded": Run(V1, 200, 1e-5, 50, "lora", QKVO_FC, 20, EXPANDED, HELDOUT, BELOW_SHORT),
    "h2-expanded": Run(V1, 2000, 1e-4, 200, "lora", QKVO_FC, 20, EXPANDED, HELDOUT, BELOW_LONG, stop=1.1),
    "h2-expanded-micro-batches": Run(
        V1, 500, 1e-4, 50, "lora", QKVO_FC, 20, EXPANDED, HELDOUT, BELOW_LONG, stop=1.1
    ),
    "h3-lr1e4-expanded": Run(V1, 200, 1e-4, 50, "lora", QKVO_FC, 20, EXPANDED, HELDOUT, WITHIN_5_PERCENT),
    "h3-lr3e4-expanded": Run(V1, 200, 3e-4, 50, "lora", QKVO_FC, 20, EXPANDED, HELDOUT, WITHIN_5_PERCENT),
    "h4-domain-expanded": Run(V1, 200, 1e-4, 50, "lora", QKVO_FC, 20, EXPANDED, DOMAIN, BELOW_SHORT),
    "headroom-heldout": Run(V1, 100, 1e-4, 50, "lora", QKVO_FC, 20, EXPANDED, HELDOUT, BELOW_SHORT),
    "headroom-domain": Run(V1, 100, 1e-4, 50, "lora", QKVO_FC, 20, EXPANDED, DOMAIN, BELOW_SHORT),
    "phase-1.1-baseline": Run(
        V1, 1, 1e-4, 50, "lora", QKVO_FC, 20, EXPANDED, DOMAIN, {"domain_wer": {"max_regression": 0.1}},
        guardrails={"domain_wer": {"max_regression": 0.1, "rule": "point"}}, trials=2, seed=(42, 43), scale=0.0,
    ),
    "phase-1.1": Run(
        V1, 200, 1e-4, 50, None, None, 20, EXPANDED, DOMAIN, POINT_DOWN, rank=None,
        take=taken("phase-1.1-baseline", "adapter", "rank", "target_modules", fallback="none"),
    ),
    "phase-2.1": Run(
        V1, 200, 1e-4, 50, ("lora", "dora"), None, 20, EXPANDED, BOTH, LATER_SHORT, guardrails=HELD, trials=2,
        rank=None, take=taken("phase-1.1", "rank", "target_modules"),
    ),
    "phase-2.2": Run(
        V1, 200, 1e-4, 50, ("lora", "dora", "pissa"), None, 20, EXPANDED, BOTH, LATER_SHORT, guardrails=HELD,
        trials=3, rank=None, take=taken("phase-1.1", "rank", "target_modules"),
    ),
    "phase-3.1": Run(
        V1, 200, (1e-5, 5e-5, 1e-4, 3e-4), 50, None, None, 20, EXPANDED, BOTH, LATER_SHORT, guardrails=HELD,
        trials=4, rank=None, take=taken("phase-2.2", "adapter", "rank", "target_modules"),
    ),
    "phase-3.2": Run(
        V1, (500, 1000), None, 100, None, None, 20, EXPANDED, BOTH, LATER_SHORT, guardrails=HELD, trials=2,
        rank=None, take=taken("phase-3.1", "learning_rate", "adapter", "rank", "target_modules"),
    ),
    "exp_2_3_v2_bridge_focus": Run(
        STREAMING, 1000, 1e-5, 200, "lora", ALL_LINEAR, 20, EXPANDED, BOTH, LATER_LONG
    ),
    "exp_2_4_v2_true_bridge": Run(STREAMING, 1000, 1e-5, 200, "dora", DECODER, 20, EXPANDED, BOTH, LATER_LONG),
    "exp_2_5_v2_universal_lora": Run(
        STREAMING, 1000, 1e-5, 200, "lora", ATTENTION, 20, EXPANDED, BOTH, LATER_LONG
    ),
}  # fmt: skip
CHAIN = ("phase-1.1-baseline", "phase-1.1", "phase-2.1", "phase-2.2", "phase-3.1", "phase-3.2")


def expected(name: str, run: Run) -> SweepSpec:
    """The whole sweep that a row of the table stands for; what it does not say is at the tool's
    defaults.
    """
    says: dict[str, Any] = {
        "max_steps": run.steps,
        "learning_rate": run.rate,
        "adapter": run.adapter,
    }
    says |= {"rank": run.rank, "seed": run.seed, "batch_size": 1, "gradient_accumulation_steps": 4}
    says |= {"target_modules": next(iter(run.targets)) if run.targets else None}
    left = run.take["parameters"] if run.take else ()
    assert {key for key, value in says.items() if value is None} == set(left)
    searched = {key: value for key, value in says.items() if isinstance(value, tuple)}
    defaults = {key: row.default for key, row in TABLE.items() if row.default is not None}
    fixed = {
        key: value for key, value in (defaults | says).items() if key not in (*left, *searched)
    }
    space = SearchSpace(
        fixed=fixed,
        searched=tuple(Dimension(name=key, choices=values) for key, values in searched.items()),
        adapter_scales=(run.scale,),
        presets=PRESETS | dict(run.targets or {}),
    )
    sets = dict(zip(("domain", "heldout"), run.sets, strict=False))
    manifests = {
        key: ROOT / "data" / f"{stem}.jsonl" for key, stem in ({"train": run.train} | sets).items()
    }
    says = {
        "version": 1,
        "name": name,
        "model": {"id": run.model, "revision": "main"},
        "data": manifests | {"max_seconds": float(run.seconds)},
        "evaluation": {
            "rms": 0.075, "normalizer": "whisper-en", "max_tokens_per_second": 6.5, "max_seconds": float(run.seconds),
            "every": run.every,
        },
        "method": "grid",
        "take": run.take,
        "parameters": space,
        "guardrails": run.guardrails or {},
        "acceptance": run.acceptance,
        "early_stop": {"method": "ratio", "ratio": run.stop} if run.stop else {"method": "none"},
        "budget": {"trials": run.trials},
        "checks": {"ignore": run.ignore},
    }  # fmt: skip
    return SweepSpec.model_validate(says).located(ROOT)


def file_of(name: str) -> Path:
    return RECORDED / f"{name}.yaml"


def differences(one: SweepSpec, other: SweepSpec) -> set[str]:
    return {change.path for change in changed_fields(one, other)}


def test_every_run_has_a_file_and_a_twin_and_there_are_no_others() -> None:
    assert {path.stem for path in RECORDED.glob("*.yaml")} == set(RUNS)
    assert {path.stem for path in (RECORDED / "embedded").glob("*.yaml")} == set(RUNS)


@pytest.mark.parametrize("name", RUNS)
def test_every_field_is_what_was_recorded(name: str) -> None:
    spec = load_spec(file_of(name))
    assert spec.description
    assert [
        (each.path, each.old, each.new) for each in changed_fields(expected(name, RUNS[name]), spec)
    ] == [("description", "", spec.description)]


def test_a_field_that_is_not_as_recorded_would_be_found() -> None:
    spec = load_spec(file_of("h2"))
    changes = {
        "rate": 1e-5,
        "every": 50,
        "seconds": 20,
        "sets": BOTH,
        "stop": 1.2,
        "targets": QKVO_FC,
    }
    for field, value in changes.items():
        other = replace(RUNS["h2"], **{field: value})  # type: ignore[arg-type]
        assert len(changed_fields(expected("h2", other), spec)) > 1, field


@pytest.mark.parametrize("name", RUNS)
def test_a_twin_differs_in_name_model_and_token_cap_alone(name: str) -> None:
    original, twin = load_spec(file_of(name)), load_spec(RECORDED / "embedded" / f"{name}.yaml")
    chained = {"take.study"} if original.take else set()
    assert (
        differences(original, twin)
        == {"name", "model.id", "evaluation.max_tokens_per_second"} | chained
    )
    assert (twin.name, twin.model.id) == (f"embedded-{name}", str(DATA / "base-model"))
    assert twin.evaluation.max_tokens_per_second == 13
    if twin.take and original.take:
        assert twin.take.study == f"embedded-{original.take.study}"


def planned_text(spec: SweepSpec) -> str:
    """What `orchestrate plan` prints of a sweep, apart from its sets."""
    return markdown.render(
        plan_report.build(sweep_plan(spec), "", spec.execution, None, ())
    ).replace("\\", "")


@pytest.mark.parametrize("name", [name for name, run in RUNS.items() if not run.take])
def test_the_plan_prints_what_was_recorded(name: str) -> None:
    run, text = RUNS[name], planned_text(load_spec(file_of(name)))
    assert (
        isinstance(run.steps, int)
        and isinstance(run.rate, float)
        and isinstance(run.adapter, str)
        and run.targets
    )
    (targets, patterns), *_ = run.targets.items()
    for parameter, value in {
        "learning_rate": f"{run.rate:g}", "max_steps": run.steps, "adapter": run.adapter, "target_modules": targets,
        "batch_size": 1, "gradient_accumulation_steps": 4,
    }.items():  # fmt: skip
        assert f"| {parameter} | fixed | {value} |" in text
    rungs = [*range(run.every, run.steps, run.every), run.steps]
    assert f"evaluated at steps {', '.join(map(str, rungs))}\n" in text
    assert f"training speech up to {run.seconds} s, evaluation speech up to {run.seconds} s" in text
    assert (f"target_modules {targets}: {', '.join(patterns)}" in text) == (targets not in PRESETS)
    assert ("a trial stops above 1.1 times the baseline's domain WER" in text) == (
        run.stop is not None
    )


def test_the_command_prints_it_of_a_twin_with_its_sets(capsys: pytest.CaptureFixture[str]) -> None:
    assert orchestrate("plan", RECORDED / "embedded" / "h4.yaml") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert (
        "Sweep embedded-h4" in text
        and "learning_rate fixed 0.0001" in text
        and "max_steps fixed 200" in text
    )
    assert "longest trial evaluated at steps 50, 100, 150, 200" in text
    assert " domain 2 " in text, "two utterances"


def experiments(*words: str) -> list[str]:
    """The sweep files that `make experiments` would run, in order; none where it refuses."""
    command = ["make", "-n", "-o", ".venv/installed", "experiments", *words]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    return [
        word
        for line in printed.split("\n")
        if "for sweep in" in line
        for word in re.findall(r"\S+\.yaml", line)
    ]


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_experiments_runs_the_twins_each_phase_after_the_one_it_takes_from() -> None:
    order = [Path(path).stem for path in experiments()]
    assert sorted(order) == sorted(RUNS) and len(experiments()) == len(set(experiments()))
    assert all(
        order.index(run.take["study"]) < order.index(name) for name, run in RUNS.items() if run.take
    )
    assert experiments("NAME=h4") == ["sweeps/recorded/embedded/h4.yaml"]
    assert experiments("NAME=phase3") == ["sweeps/embedded/phase3.yaml"]
    assert experiments("NAME=h5") == []


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The phases in a project of short noise; the folder of their sweep files."""
    root = tmp_path_factory.mktemp("chain")
    make_project(root)
    for name, stem in {
        "train": EXPANDED,
        "domain": "domain_manifest",
        "heldout": "heldout_manifest",
    }.items():
        (root / "data" / f"{stem}.jsonl").write_text((root / "data" / f"{name}.jsonl").read_text())
    folder = root / "sweeps" / "recorded"
    folder.mkdir()
    for name in CHAIN:
        (folder / f"{name}.yaml").write_text(file_of(name).read_text())
    return folder


def concluded(chain: Path, name: str) -> Conclusion:
    folder = StudyFolder(chain.parents[1] / "studies", name)
    return conclude(load_spec(folder.path / "spec.yaml"), folder)


def test_the_phases_follow_one_another(chain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    studies = chain.parents[1] / "studies"
    for name, before in zip(CHAIN[1:], CHAIN, strict=False):
        if name != "phase-2.2":  # like 2.1, of phase 1.1
            with pytest.raises(StudyError, match=rf"from study {before}, which is not in "):
                load_chained_spec(chain / f"{name}.yaml", [], studies)
        assert orchestrate(chain / f"{before}.yaml", "--quiet") in (0, 4, 5)
    assert orchestrate(chain / f"{CHAIN[-1]}.yaml", "--quiet") in (0, 4, 5)
    variants, rates = concluded(chain, "phase-2.2"), concluded(chain, "phase-3.1")
    variant, rate = variants.best or variants.lowest_domain, rates.best or rates.lowest_domain
    assert variant and rate
    last = load_spec(studies / "phase-3.2" / "spec.yaml")
    assert last.take and last.take.trial == rate.number
    assert last.parameters.fixed["adapter"] == variant.params["adapter"]
    assert last.parameters.fixed["learning_rate"] == rate.params["learning_rate"]
    assert (
        last.parameters.presets[str(last.parameters.fixed["target_modules"])]
        == QKVO_FC["q-k-v-o-fc1-fc2"]
    )
    capsys.readouterr()
    assert orchestrate("plan", chain / "phase-3.2.yaml") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert (
        "max_steps searched 500, 1000" in text
        and f"taken from trial {rate.number} of study phase-3.1" in text
    )
    assert load_spec(studies / "phase-3.2" / "spec.yaml") == last and resolved_yaml(last)


def test_nothing_is_tuned_where_the_baseline_is_not_reproduced(chain: Path, tmp_path: Path) -> None:
    gate, never = (
        chain / "phase-1.1-baseline.yaml",
        "guardrails.domain_wer={max_wer: 1, rule: point}",
    )
    assert orchestrate(gate, never, "--quiet", "--studies", tmp_path) == 5
    with pytest.raises(StudyError, match="none of whose 2 trials is feasible"):
        load_chained_spec(chain / "phase-1.1.yaml", [], tmp_path)


def test_the_derived_manifests_are_what_the_script_makes_over_audio_that_is_there() -> None:
    loaded = importlib.util.spec_from_file_location(
        "derive_manifests", DATA / "derive_manifests.py"
    )
    assert loaded and loaded.loader
    script = importlib.util.module_from_spec(loaded)
    loaded.loader.exec_module(script)
    made = script.contents()
    sizes = {name: len(content.splitlines()) for name, content in made.items()}
    assert sizes == {
        f"{SMALL}.jsonl": 120,
        f"{TWO[0]}.jsonl": 2,
        "domain_all.jsonl": 1000,
        "heldout_all.jsonl": 1000,
    }
    for name, content in made.items():
        assert (DATA / name).read_bytes() == content
        rows = [json.loads(line) for line in content.splitlines()]
        assert all((DATA / row["audio_filepath"]).is_file() for row in rows)
        assert len({row["id"] for row in rows}) == len(rows)
