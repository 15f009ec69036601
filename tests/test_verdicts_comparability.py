"""Studies and trials side by side: the difference, its bounds, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from scipy import stats

from orchestrator.errors import Interrupted
from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.reporting.documents.studies_compared import _difference_blocks, _pair_fields
from orchestrator.reporting.rendering import markdown
from orchestrator.reporting.rendering.report_blocks import Document
from orchestrator.scoring.judge import Scores
from orchestrator.scoring.rates import SetScore
from orchestrator.verdicts.comparability import (
    Side,
    Stage,
    _differing_fields,
    _equal_decodings,
    pair_of,
)
from tests.cli_project import SWEEP, folder_of, make_project, orchestrate, ran_project
from tests.fake_worker import FakeWorker


@pytest.fixture(scope="module", name="spec")
def _spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = ran_project(tmp_path_factory.mktemp("project"))
    assert orchestrate(spec, "--quiet", "budget.trials=2", "seed=5", "--fork", "other") in (0, 4, 5)
    return spec


@pytest.fixture(autouse=True)
def _inside(
    spec: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(spec.parents[1])
    capsys.readouterr()


def compared(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    assert orchestrate("compare", *words, "--format", "json") == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_difference_is_that_of_the_counts(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [pair] = compared(capsys, "demo:0", "demo:2")["pairs"]
    folder = folder_of(spec)
    rows = {}
    for number in (0, 2):
        result = folder.read_result(number)
        assert result is not None
        rows[number] = next(
            row
            for row in folder.read_measurements(number)
            if (row.step, row.adapter_scale) == (result.step, result.adapter_scale)
        )
    for found in pair["differences"]:
        if found["sets"] == "search":
            one, other = (rows[number].sets[found["rate"]] for number in (0, 2))
            assert (found["before"], found["after"]) == (one.wer, other.wer)
            assert found["difference"] == pytest.approx(other.wer - one.wer)
            lower, upper = found["bounds"]
            assert lower < found["difference"] < upper
            by_speaker: dict[str, list[int]] = {}
            for speaker, a, b in zip(one.speakers, one.errors, other.errors, strict=True):
                by_speaker.setdefault(speaker, []).append(b - a)
            means = [100 * np.mean(each) / 12 for each in by_speaker.values()]
            shared = 1 - 0.05 / len(pair["differences"])  # Bonferroni, over all that are shown
            interval = stats.t.interval(shared, len(means) - 1, np.mean(means), stats.sem(means))
            if stats.sem(means) > 0.1:  # else the floor of the standard error decides
                assert (lower, upper) == pytest.approx(interval, abs=0.25)
    errors = sum(
        each["errors"][1] - each["errors"][0] for each in pair["changed"] if each["set"] == "domain"
    )
    assert errors == sum(rows[2].sets["domain"].errors) - sum(rows[0].sets["domain"].errors)


def test_studies_are_compared_by_their_best_trials(capsys: pytest.CaptureFixture[str]) -> None:
    assert orchestrate("compare", "demo", "other") == 0
    out = capsys.readouterr().out
    assert "budget.trials" in out and "seed" in out and "other against demo" in out
    assert "confirm" in out, "both were confirmed on the same sets"
    assert orchestrate("compare", "demo:0", "demo:1", "demo:2", "--format", "md") == 0
    assert "demo:2 against demo:0" in capsys.readouterr().out


def test_long_values_that_differ_at_their_ends_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start = "encoder.layers.0.self_attn"  # and floats that have six digits in common
    for name, last in (("one", "k_proj"), ("two", "o_proj")):
        modules = f"{{patterns: [{start}.q_proj, {start}.v_proj, {start}.{last}]}}"
        text = SWEEP.replace("target_modules: attention", f"target_modules: {modules}")
        text = text.replace("5.0e-4", "5.0000001e-4" if name == "two" else "5.0e-4")
        spec = make_project(tmp_path, text.replace("trials: 5", "trials: 1"))
        assert orchestrate(spec, "--quiet", f"name={name}") in (0, 4, 5)
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert orchestrate("compare", "one", "two", "--format", "md") == 0
    out = capsys.readouterr().out
    assert "No parameter" not in out
    for title in ("What differs in the sweep files", "What differs in the trials"):
        rows = out.partition(title)[2].partition("##")[0].splitlines()
        for part in ("target", "learning"):
            cells = [row.split("|")[2:4] for row in rows if part in row]
            assert cells and all(one != other for one, other in cells)


def test_a_study_that_is_half_confirmed_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class OneSeed(FakeWorker):
        def admit(self, plan: TrialPlan) -> None:
            if plan.params.seed == 102:
                raise Interrupted("Stopped.")
            super().admit(plan)

    spec = make_project(tmp_path)
    one_slot = partial(OneSeed, capacity=1)
    assert orchestrate(spec, "--quiet", "execution.pack=1", worker=lambda *_: one_slot()) == (
        Interrupted.exit_code
    )
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    best, other = compared(capsys, "demo", "demo:1")["sides"]
    assert best["seeds"] == {"measured": 1, "planned": 2} and other["seeds"] is None
    assert orchestrate("compare", "demo", "demo:1") == 0
    assert ["1", "of", "2", "seeds", "-"] in [
        line.split()[2:]
        for line in capsys.readouterr().out.splitlines()
        if "confirmed with" in line
    ]


def test_more_comparisons_have_wider_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    alone = compared(capsys, "demo:0", "demo:2")["pairs"][0]["differences"][0]["bounds"]
    among = compared(capsys, "demo:0", "demo:2", "demo:1")["pairs"][0]["differences"][0]["bounds"]
    assert among[0] < alone[0] and alone[1] < among[1]


def test_other_evaluations_are_refused_by_field(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = make_project(tmp_path)
    audio = (elsewhere.parents[1] / "data" / "domain.jsonl").rename(
        elsewhere.parents[1] / "data" / "talk.jsonl"
    )
    assert orchestrate(elsewhere, "--quiet", "name=talk", f"data.domain={audio}") in (0, 4, 5)
    (elsewhere.parents[1] / "studies" / "talk").rename(Path("studies") / "talk")
    capsys.readouterr()
    assert orchestrate("compare", "demo", "talk") == 0
    out = capsys.readouterr().out
    said = "domain WER is not compared on the search sets: it was evaluated differently (sets)"
    assert said in " ".join(out.split())
    assert "Not compared: no set of the search was evaluated alike." in out
    assert "on the confirm set" in out.splitlines()[1]
    best = out.partition("trial compared")[2].split()[0]
    first = 1 if best == "0" else 0  # not confirmed, so measured on the sets of the search alone
    assert orchestrate("compare", f"demo:{first}", f"talk:{first}") == 2
    error = capsys.readouterr().err
    assert "have no set that both were evaluated on alike" in error
    assert f"  sets: domain in demo:{first}, talk in talk:{first}\n" in error


def stage(**parts: str) -> Stage:
    score = SetScore((1, 0), (3, 3))
    fields = {"device": "cpu", "domain.audio": "a", "domain.text": "t", "noisy.audio": "n"}
    return Stage(Scores(str(parts), {"domain": score, "heldout": score}), fields | parts)


def test_a_part_of_one_set_decides_about_that_set_alone() -> None:
    assert _differing_fields(stage(), replace(stage(), parts=stage().parts)) == ({}, {})
    other = stage(**{"domain.audio": "b"})
    assert _differing_fields(stage(), other) == ({}, {"domain": {"domain.audio": ("a", "b")}})
    assert _differing_fields(stage(), stage(device="cuda"))[0] == {"device": ("cpu", "cuda")}


def test_other_confirm_sets_are_not_paired_utterance_by_utterance() -> None:
    def side(label: str, **parts: str) -> Side:
        scores = {name: SetScore((1, 0, 2), (3, 3, 3)) for name in ("domain", "heldout")}
        fields = {"device": "cpu", "domain.audio": "a", "domain.text": "t", "heldout.audio": "h"}
        confirm = {f"confirm_{name}": score for name, score in scores.items()}
        stages = {"confirm": Stage(Scores(str(parts), confirm), fields | parts)}
        return cast(Side, SimpleNamespace(label=label, stages=stages, spec=SimpleNamespace(seed=0)))

    found = pair_of(side("one"), side("other", **{"domain.audio": "b"}), resamples=50)
    assert [(each.stage, each.rate) for each in found.differences] == [
        ("confirm", "confirm_heldout")
    ]
    assert found.refused == {("confirm", "confirm_domain"): {"domain.audio": ("a", "b")}}


def test_a_rate_without_a_value_is_named() -> None:
    """Precision of terms none of which was heard is left out, and is not as if it had not been
    asked for.
    """

    def side(label: str, heard: int) -> Side:
        scores = {
            "confirm_domain": SetScore((1, 0), (3, 3)),
            "confirm_domain_terms_precision": SetScore((0, 0), (heard, 0), of_hypotheses=True),
        }
        stages = {"confirm": Stage(Scores("f", scores), {})}
        return cast(Side, SimpleNamespace(label=label, stages=stages, spec=SimpleNamespace(seed=0)))

    found = pair_of(side("one", 2), side("other", 0), resamples=50)
    assert [each.rate for each in found.differences] == ["confirm_domain"]
    text = markdown.render(Document("", "", tuple(_difference_blocks(found))))
    assert (
        "- domain terms precision is not compared on the confirm sets: it has no value in other, "
        "where none of the terms was heard"
    ) in text
    assert _pair_fields(found)["uncomputed"] == [
        {"rate": "confirm_domain_terms_precision", "sets": "confirm", "sides": ("other",)}
    ]


def test_seeds_of_different_number_weigh_the_same() -> None:
    three, two = SetScore((3, 0), (9, 9), (), 3), SetScore((4, 2), (6, 6), (), 2)
    one, other = _equal_decodings(three, two)
    assert (one.decodings, one.errors, one.units) == (6, (6, 0), (18, 18))
    assert (other.errors, other.units) == ((12, 6), (18, 18))
    assert (one.rate, other.rate) == (three.rate, two.rate)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (
            ["demo"],
            2,
            "compare needs two studies or trials\n  orchestrate compare A B, or A:3 A:7\n",
        ),
        (["demo", "demo:9"], 3, "study demo has no ended trial 9\n"),
        (["demo", "nothing"], 2, "nothing"),
        (["demo", "other", "--format", "pdf"], 2, "--format pdf is not known"),
    ],
)
def test_what_is_refused(
    words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert orchestrate("compare", *words) == code
    assert message in capsys.readouterr().err
