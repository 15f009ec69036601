"""What a report says can be recomputed from the study's files, and nothing in it is markup by
accident.
"""

from __future__ import annotations

import io
import json
import re
import shutil
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from orchestrator.checks import finding
from orchestrator.records.results import SetMeasurement, TrialResult, TrialState
from orchestrator.records.shipping import ShippedSet
from orchestrator.records.store import StudyFolder
from orchestrator.reporting.documents import (
    adapter_scales,
    report,
    report_json,
    status,
    sweep_diagnosis,
)
from orchestrator.reporting.page import html
from orchestrator.reporting.rendering import markdown, terminal
from orchestrator.reporting.rendering.escape import html_text, plain
from orchestrator.reporting.rendering.escape import markdown as escape_markdown
from orchestrator.reporting.rendering.report_blocks import Document, Table
from orchestrator.reporting.rendering.svg import Axis, Point, scatter_plot
from orchestrator.running import dashboard_contents
from orchestrator.running.confirmation import run_confirmation
from orchestrator.scoring.judge import Decision
from orchestrator.sweepfile.data import AlsoSet, ConfirmData, DataSpec
from orchestrator.sweepfile.limits import Limit
from orchestrator.sweepfile.search_space import Dimension, Metric
from orchestrator.sweepfile.sweep import Budget, ConfirmSpec, SweepSpec
from orchestrator.verdicts import concluding
from orchestrator.verdicts.concluding import conclude
from orchestrator.verdicts.conclusion import Conclusion
from orchestrator.verdicts.confirming import rank_feasible
from orchestrator.verdicts.judging import guardrails_of, late_rates
from orchestrator.verdicts.shipping import shipped_of
from tests.fake_worker import FakeWorker
from tests.running_support import RESAMPLES, make_spec, run
from tests.test_shipping import shipped

DATA = DataSpec(
    train=Path("/t"),
    domain=Path("/d"),
    heldout=Path("/h"),
    confirm=ConfirmData(domain=Path("/cd"), heldout=Path("/ch")),
)
SPEC = make_spec(
    data=DATA, confirm=ConfirmSpec(top=2, seeds=(101, 102, 103)), budget=Budget(trials=7)
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("studies")
    run(SPEC, root)
    run_confirmation(
        SPEC, StudyFolder(root, "s"), lambda: FakeWorker(sets="confirm"), resamples=RESAMPLES
    )
    return root


def built(spec: SweepSpec, root: Path) -> Document:
    folder = StudyFolder(root, "s")
    return report.build(
        spec, folder, conclude(spec, folder, RESAMPLES), ["sweeps/s.yaml"], done=True
    )


def rows_of(root: Path, number: int) -> list[dict[str, Any]]:
    folder = "trials" if number >= 0 else "confirm"
    text = (root / "s" / folder / f"{abs(number):04d}" / "measurements.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def wer(counts: dict[str, Any]) -> float:
    errors = np.sum([counts[kind] for kind in ("substitutions", "deletions", "insertions")])
    return float(100 * errors / np.sum(counts["reference_words"]))


def baselines(root: Path) -> dict[str, float]:
    found = json.loads((root / "s" / "baseline.json").read_text())
    return {name: wer(counts) for each in found.values() for name, counts in each["sets"].items()}


def test_every_number_of_the_trial_table_follows_from_the_edit_counts(root: Path) -> None:
    text = markdown.render(built(SPEC, root))
    base = baselines(root)
    for result in StudyFolder(root, "s").results():
        source = result.number if result.duplicate_of is None else result.duplicate_of
        [row] = [
            r
            for r in rows_of(root, source)
            if (r["step"], r["adapter_scale"]) == (result.step, result.adapter_scale)
        ]
        cells = []
        for name in ("domain", "heldout"):
            value = wer(row["sets"][name])
            cells.append(f"{value:.2f} ({value - base[name]:+.2f})")
        assert f"| {result.number} | {result.state} | {cells[0]} | {cells[1]} |" in text


def test_the_best_trial_is_the_feasible_one_of_lowest_confirmed_wer(root: Path) -> None:
    folder = StudyFolder(root, "s")
    conclusion = conclude(SPEC, folder, RESAMPLES)
    base = baselines(root)
    pooled: dict[int, dict[str, float]] = {}
    for number in sorted({result.params["trial"] for result in folder.confirmations()}):
        runs = [
            result.number for result in folder.confirmations() if result.params["trial"] == number
        ]
        rows = [rows_of(root, n)[0] for n in runs]
        pooled[number] = {
            name: float(np.mean([wer(row["sets"][name]) for row in rows]))
            for name in ("confirm_domain", "confirm_heldout")
        }
    feasible = [
        n for n, w in pooled.items() if w["confirm_heldout"] - base["confirm_heldout"] < 0.3
    ]
    assert conclusion.best is not None
    assert conclusion.best.number == min(feasible, key=lambda n: pooled[n]["confirm_domain"])
    confirmation = conclusion.confirmation
    assert confirmation and confirmation.verdict and confirmation.optimism is not None
    change = pooled[conclusion.best.number]["confirm_domain"] - base["confirm_domain"]
    assert confirmation.verdict.delta["confirm_domain"] == pytest.approx(change)
    assert confirmation.optimism == pytest.approx(change - conclusion.best.delta["domain"])


def test_a_confirmation_without_limits_shows_what_was_measured(root: Path) -> None:
    """It has no limit to keep, which is not to break one, and its pooled rates are in a table."""
    spec = SPEC.model_copy(update={"guardrails": {}, "acceptance": {}})
    text, base = markdown.render(built(spec, root)), baselines(root)
    assert "keep every limit" not in text and "| limit |" not in text
    found = conclude(spec, StudyFolder(root, "s"), RESAMPLES)
    verdicts = [each.verdict for each in found.confirmed]
    assert verdicts and found.best is not None
    for verdict in (*verdicts, found.verdict):
        assert verdict is not None
        for rate, value in verdict.rates.items():
            change = value - base[rate]
            name = rate.removeprefix("confirm_")
            assert f"| {name} WER | {value:.2f} | {change:+z.2f} |" in text
    fields = json.loads(report_json.render(spec, found, done=True, other_limits=False))
    seeds = [seed for each in fields["confirmation"] for seed in each["seeds"]]
    assert seeds and all(seed["reproduces"] is None for seed in seeds)


def test_limits_on_other_rates_are_not_said_to_be_in_wer_points(root: Path) -> None:
    of_characters = {"acceptance": {"domain_cer": Limit(min_gain=1.0)}}
    text = markdown.render(built(SPEC.model_copy(update=of_characters), root))
    assert "; rates in percent, changes in points:" in text and "WER points:" not in text
    assert "; WER in percent, changes in WER points:" in markdown.render(built(SPEC, root))


def test_the_error_of_a_proof_is_shared_among_those_it_was_chosen_from(root: Path) -> None:
    """Two finalists on the confirm sets, every recipe that was measured on those of the search; a
    seed by itself competes with none.
    """
    folder = StudyFolder(root, "s")
    found = conclude(SPEC, folder, RESAMPLES)
    recipes = {str(sorted(r.params.items())) for r in folder.results() if r.wer}
    assert len(recipes) > 2 == len(found.confirmed)
    judged = [(found.verdict, len(recipes))]
    for finalist in found.confirmed:
        judged += [(finalist.verdict, 2), *((seed.verdict, 1) for seed in finalist.seeds)]
    for verdict, rivals in judged:
        assert verdict is not None and verdict.acceptance
        for limit in verdict.acceptance:
            assert limit.estimate is not None
            assert limit.upper == pytest.approx(limit.estimate.upper(1 - 0.05 / rivals))
            assert limit.lower == pytest.approx(limit.estimate.lower(1 - 0.05 / rivals))


def test_a_sweep_that_asks_for_the_exported_model_waits_for_what_it_keeps(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = StudyFolder(root, "s")
    asked = SPEC.model_copy(
        update={"acceptance": SPEC.acceptance | {"shipped": Limit(asks="kept")}}
    )
    assert conclude(SPEC, folder, RESAMPLES).decision is Decision.ACCEPT
    assert conclude(asked, folder, RESAMPLES).decision is Decision.INCONCLUSIVE, "it was not run"
    best, seen = conclude(SPEC, folder, RESAMPLES).best, []

    def keeps(kept: bool, _: SweepSpec, __: StudyFolder, found: Conclusion) -> bool:
        seen.append(found.best)
        return kept

    for kept, decision in ((True, Decision.ACCEPT), (False, Decision.REJECT)):
        monkeypatch.setattr(concluding, "keeps_limits", partial(keeps, kept))
        assert conclude(asked, folder, RESAMPLES).decision is decision
    assert seen == [best, best], "the trial to use is the one that is exported"
    assert conclude(SPEC, folder, RESAMPLES).decision is Decision.ACCEPT
    run(asked.model_copy(update={"budget": Budget(trials=2)}), tmp_path)
    before = conclude(asked, StudyFolder(tmp_path, "s"), RESAMPLES)
    assert before.decision is None and len(seen) == 2, "nothing is decided before the confirmation"


def test_an_exported_model_that_heard_other_confirm_sets_has_not_heard_those_of_the_study(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sets of as many words are others, too: all sentences of a set may have one length."""
    folder = StudyFolder(Path(shutil.copytree(root, tmp_path / "copy")), "s")
    found = conclude(SPEC, folder, RESAMPLES)
    assert found.best and found.baseline and found.confirm_baseline
    trial = found.best.number
    rates = found.baseline.sets | found.confirm_baseline.sets

    def told(sets: dict[str, SetMeasurement], sound: str = "", text: str = "") -> tuple[bool, bool]:
        """Whether what was heard on these sets is in the report, and decides the verdict."""
        models = [name for name in ShippedSet.model_fields if name not in ("audio", "text")]
        forms = {
            name: ShippedSet(audio=sound, text=text, **dict.fromkeys(models, counts))
            for name, counts in sets.items()
        }
        record = shipped(quantized="none", trial=trial, sets=forms)
        with folder.lock():
            folder.write_shipped(record)
        text = markdown.render(report.build(SPEC, folder, found, ["s.yaml"], done=True))
        return "## What ships" in text, shipped_of(folder, found) is not None

    assert told(rates) == (True, True)
    confirm = rates["confirm_heldout"]
    longer = tuple(words + 1 for words in confirm.reference_words)
    other = confirm.model_copy(update={"reference_words": longer})
    assert told(rates | {"confirm_heldout": other}) == (False, False)
    assert told(found.baseline.sets) == (True, False)
    parts = {f"{name}.{part}": part for name in found.baseline.sets for part in ("audio", "text")}
    evaluated = dict.fromkeys(
        (found.baseline.fingerprint, found.confirm_baseline.fingerprint), parts
    )
    monkeypatch.setattr(StudyFolder, "evaluations", lambda folder: evaluated)
    assert told(rates, "audio", "text") == (True, True)
    assert told(rates, "other", "text") == told(rates, "audio", "other") == (False, False)


def test_seeds_that_keep_every_limit_alone_reproduce(root: Path) -> None:
    base = baselines(root)
    for finalist in conclude(SPEC, StudyFolder(root, "s"), RESAMPLES).confirmed:
        for seed in finalist.seeds:
            [row] = rows_of(root, seed.run.number)
            gain = base["confirm_domain"] - wer(row["sets"]["confirm_domain"])
            regression = wer(row["sets"]["confirm_heldout"]) - base["confirm_heldout"]
            assert seed.reproduces == (gain >= 1.0 and regression < 0.3)


def test_a_finalist_keeps_its_schedule_and_stops_at_its_best_step(root: Path) -> None:
    folder = StudyFolder(root, "s")
    for confirmed in folder.confirmations():
        plan, original = (
            folder.read_plan(confirmed.number),
            folder.read_plan(confirmed.params["trial"]),
        )
        result = folder.read_result(confirmed.params["trial"])
        assert plan and original and result
        assert plan.params.max_steps == original.params.max_steps
        assert (plan.rungs[0], plan.params.adapter_scales) == (result.step, (result.adapter_scale,))
        assert plan.params.seed == confirmed.params["seed"]
        assert (plan.data.domain, plan.data.heldout) == (Path("/cd"), Path("/ch"))


def test_confirmation_is_resumed_and_not_repeated(root: Path, tmp_path: Path) -> None:
    run(SPEC, tmp_path)
    folder = StudyFolder(tmp_path, "s")

    class Dies(FakeWorker):
        ticks = 0

        def advance(self) -> Any:
            self.ticks += 1
            if self.ticks == 9:
                raise KeyboardInterrupt
            return super().advance()

    with pytest.raises(KeyboardInterrupt):
        run_confirmation(SPEC, folder, lambda: Dies(sets="confirm"), resamples=RESAMPLES)
    done = len(folder.confirmations())
    assert 0 < done < 6
    worker = FakeWorker(sets="confirm")
    run_confirmation(SPEC, folder, lambda: worker, resamples=RESAMPLES)
    assert (len(worker.admitted), worker.baselines) == (6 - done, 0)
    straight = StudyFolder(root, "s").confirmations()
    assert folder.confirmations() == straight

    def never() -> FakeWorker:
        raise AssertionError("nothing is left to do")

    run_confirmation(SPEC, folder, never)


def test_a_winner_that_alone_was_measured_on_every_set_is_not_said_to_have_the_best_number(
    root: Path,
) -> None:
    """Acceptance asks about a set that is measured at a trial's last step, and the better trial was
    ended before it.
    """
    also = {"far": AlsoSet(manifest=Path("/f"), rungs="last")}
    data = DATA.model_copy(update={"also": also, "confirm": None})
    limits = {"far_wer": Limit(max_wer=50.0)}
    spec = make_spec(data=data, acceptance=limits, budget=Budget(trials=2))
    found = conclude(SPEC, StudyFolder(root, "s"), RESAMPLES)
    assert found.best is not None
    whole = found.best.model_copy(update={"number": 0, "wer": {"domain": 9.0, "far": 40.0}})
    ended = found.best.model_copy(update={"number": 1, "wer": {"domain": 8.0}})
    assert rank_feasible([ended, whole], "domain", late_rates(spec))[0] is whole
    changed = replace(found, results=(whole, ended), best=whole, confirmed=())
    said = markdown.render(report.build(spec, StudyFolder(root, "s"), changed, ["s"], done=True))
    assert (
        "On the sets of the search, on which trial 1 is better; that one was not measured on all sets that "
        "acceptance asks about; WER in percent"
    ) in said


def test_scales_and_seeds_are_not_rounded_over_a_limit(root: Path) -> None:
    """Two decimals of these changes would be on the other side of the limits."""
    folder = StudyFolder(root, "s")
    found = conclude(SPEC, folder, RESAMPLES)
    assert found.best is not None and found.confirmation is not None
    [*_, scale] = adapter_scales.by_trial(SPEC, folder, found)[found.best.number]
    gain = round(-scale.delta["domain"], 2)
    changes = [
        seed.verdict.delta["confirm_heldout"] for seed in found.confirmation.seeds if seed.verdict
    ]
    rise = next(rounded for change in changes if (rounded := round(change, 2)) > change)
    assert gain > -scale.delta["domain"]
    for limits, answer, column in (
        ({"domain_wer": Limit(min_gain=gain)}, "keeps the guardrails", 2),
        ({"heldout_wer": Limit(max_regression=rise)}, "reproduces", 2),
    ):
        spec = SPEC.model_copy(update={"guardrails": limits, "acceptance": {}})
        document = report.build(spec, folder, conclude(spec, folder, RESAMPLES), ["s"], done=True)
        [criterion] = guardrails_of(spec)
        rows = [
            (float(row[column]), row[block.columns.index(answer)])
            for block in document.blocks
            if isinstance(block, Table) and answer in block.columns
            for row in block.rows
        ]
        assert rows and all(
            kept == ("yes" if criterion.keeps(change) else "no") for change, kept in rows
        )


def test_no_trial_disappears_from_any_format(root: Path) -> None:
    document = built(SPEC, root)
    reasons = [result.reason for result in StudyFolder(root, "s").results()]
    page, text = html.render(document), markdown.render(document)
    for reason in reasons:
        assert reason.replace("'", "&#x27;") in page
        assert escape_markdown(reason) in text
    trials = json.loads(
        report_json.render(SPEC, conclude(SPEC, StudyFolder(root, "s"), RESAMPLES), True, False)
    )["trials"]
    assert [trial["number"] for trial in trials] == list(range(7))


class Tags(HTMLParser):
    """Collects what a browser would see as elements."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


HOSTILE = "[/foo]<script>alert(1)</script> | `x` \x1b[31m\r\n\u2028\u202e [link=http://x]y[/link] ![](http://x)"


def hostile(root: Path) -> Document:
    folder = StudyFolder(root, "s")
    result = TrialResult(
        number=0, state=TrialState.FAIL, reason=HOSTILE, params={"target_modules": HOSTILE}, feasible=False, step=None,
        adapter_scale=None, wer={}, delta={}, constraints={}, steps_trained=0,
    )  # fmt: skip
    folder.write_result(result)
    folder.note(HOSTILE)
    return report.build(
        SPEC, folder, conclude(SPEC, folder, RESAMPLES), [f"a {HOSTILE}.yaml"], done=False
    )


def test_hostile_text_stays_text_in_html(tmp_path: Path) -> None:
    parser = Tags()
    page = html.render(hostile(tmp_path))
    parser.feed(page)
    assert {tag for tag, _ in parser.seen} <= {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "table", "thead", "tbody", "tr", "th", "td",
        "ul", "li", "pre", "main", "div", "span", "button", "script", "dl", "dt", "dd",
    }  # fmt: skip
    own = re.sub(r"<(style|script)[ >].*?</\1>", "", page, flags=re.S)
    assert "alert(1)&lt;/script" in own and not re.search(r"[\x00-\x09\x0b-\x1f\u2028\u202e]", own)


def test_a_document_as_a_page_explains_the_terms_that_it_marks(root: Path) -> None:
    page = html.render(built(SPEC, root))
    marked = set(re.findall(r'data-term="([^"]+)"', page))
    assert marked and marked == set(re.findall(r'id="term-([^"]+)"', page))


def test_hostile_text_stays_text_in_markdown(tmp_path: Path) -> None:
    text = markdown.render(hostile(tmp_path))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u2028\u202e]", text)
    rows = [line for line in text.splitlines() if line.startswith("| 0 |")]
    assert len(rows) == 1 and len(re.findall(r"(?<!\\)\|", rows[0])) == 9
    outside_code = "\n".join(line for line in text.splitlines() if not line.startswith("    "))
    assert "<script" not in outside_code and not re.search(r"(?<!\\)\]\(", outside_code)


def test_hostile_text_stays_text_on_a_terminal(tmp_path: Path) -> None:
    out = io.StringIO()
    terminal.show(hostile(tmp_path), Console(file=out, width=400))
    assert "\x1b" not in out.getvalue() and "[/foo]<script>" in out.getvalue()
    assert "[link=http://x]y[/link]" in out.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_no_word_or_number_of_a_table_is_broken(root: Path, width: int) -> None:
    document = built(SPEC, root)
    out = io.StringIO()
    terminal.show(document, Console(file=out, width=width))
    shown = set(out.getvalue().split())
    tables = [block for block in document.blocks if isinstance(block, Table)]
    for cell in (cell for table in tables for row in table.rows for cell in row):
        assert {word for word in plain(cell).split() if len(word) <= 40} <= shown
    for line in out.getvalue().splitlines():
        assert cell_len(line) <= width or line.startswith("  orchestrate")


def test_short_cells_of_a_table_stand_in_one_line_and_long_ones_share_the_rest() -> None:
    changes, reasons, points = "8.32 (-3.55)", "word " * 30, "name=1 " * 40
    widths = terminal.widths_of(("a", "b", "c"), ((changes, reasons, points),), 120)
    assert widths is not None and terminal.width_taken(widths) == 120
    assert widths[0] == len(changes) and abs(widths[1] - widths[2]) <= 1


def test_a_report_of_nothing_says_so(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path, "s")
    document = report.build(SPEC, folder, conclude(SPEC, folder, RESAMPLES), ["s.yaml"], done=False)
    assert document.headline == "Not finished: 0 of 7 trials ended"
    text = markdown.render(document)
    assert "not finished: every number here may still be replaced" in text
    assert "orchestrate run s.yaml" in text and "orchestrate trial" not in text


@pytest.mark.parametrize("width", [12, 200])
def test_an_empty_table_is_seen_on_every_terminal(width: int) -> None:
    out = io.StringIO()
    document = Document("", "", (Table(("", "trial", "domain WER %"), ()),))
    terminal.show(document, Console(file=out, width=width))
    for word in ("trial", "domain", "WER"):
        assert word in out.getvalue()


def test_a_finalist_that_the_confirm_sets_prefer_is_not_called_the_best_of_the_search(
    root: Path,
) -> None:
    folder = StudyFolder(root, "s")
    found = conclude(SPEC, folder, RESAMPLES)
    ranked = rank_feasible(found.results, SPEC.objective)
    for best, said in (
        (ranked[0], "whose best number it is"),
        (ranked[1], f"on which trial {ranked[0].number} is better; the confirm sets prefer this"),
    ):
        preferred = replace(found, best=best)
        text = markdown.render(report.build(SPEC, folder, preferred, ["s.yaml"], done=True))
        assert f"On the sets of the search, {said}" in text
    failed = tuple(
        replace(each, verdict=None) if each.trial == ranked[0].number else each
        for each in found.confirmed
    )
    chosen = replace(found, best=ranked[1], confirmed=failed)
    text = markdown.render(report.build(SPEC, folder, chosen, ["s.yaml"], done=True))
    assert f"trial {ranked[0].number} is better; no seed of that one was measured on the" in text


def test_diagnose_counts_a_result_that_was_taken_over_once(tmp_path: Path) -> None:
    searched = (Dimension(name="learning_rate", choices=(1e-4, 5e-4)),)
    spec = make_spec(searched=searched, budget=Budget(trials=5), fixed={"max_steps": 100})
    run(spec, tmp_path)
    found = conclude(spec, StudyFolder(tmp_path, "s"), RESAMPLES)
    assert sum(result.duplicate_of is not None for result in found.results) == 3
    text = markdown.render(sweep_diagnosis.build(spec, {}, (), found))
    assert "Change of the domain WER in 2 measured trials" in text
    one = sweep_diagnosis.build(spec, {}, (), replace(found, results=found.results[:1]))
    assert "in 1 measured trial: " in markdown.render(one)
    failed = found.results[0].model_copy(update={"state": TrialState.FAIL, "delta": {"domain": -1}})
    one = sweep_diagnosis.build(spec, {}, (), replace(found, results=(failed,)))
    assert "1 is better than the baseline; 1 trial failed." in markdown.render(one)


def test_diagnose_counts_one_finding_in_the_singular() -> None:
    found = [finding("low-headroom", "few errors are left to win"), finding("too-few", "few")]
    for count, said in ((0, "No findings"), (1, "1 finding, 0 of which"), (2, "2 findings, 0 of")):
        document = sweep_diagnosis.build(SPEC, {}, found[:count], None)
        assert document.headline.startswith(said)


def test_a_finding_that_begins_with_the_name_of_a_field_keeps_it_as_it_is_written(
    tmp_path: Path,
) -> None:
    run(SPEC, tmp_path)
    folder = StudyFolder(tmp_path, "s")
    messages = ("data.confirm keeps utterances.", "few errors are left, e.g. none.")
    with folder.lock():
        folder.write_findings("data", [finding("low-headroom", each) for each in messages])
    found = conclude(SPEC, folder, RESAMPLES)
    text = markdown.render(report.build(SPEC, folder, found, ["s"], done=True))
    assert "data.confirm keeps utterances." in text and "Few errors are left, e.g. none." in text


def test_status_lists_what_trains(root: Path, tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path, "s")
    plan = StudyFolder(root, "s").read_plan(0)
    assert plan is not None
    folder.write_plans(plan)
    out = io.StringIO()
    terminal.show(
        status.build(SPEC, folder, conclude(SPEC, folder, RESAMPLES), done=False, running=True),
        Console(file=out, width=200),
    )
    assert re.search(rf"\n 0 +0/{plan.params.max_steps} +- +learning_rate=", out.getvalue())


def test_status_of_a_sweep_by_the_cer_shows_the_cer_of_what_trains(
    root: Path, tmp_path: Path
) -> None:
    folder, kept = StudyFolder(tmp_path, "s"), StudyFolder(root, "s")
    plan, row = kept.read_plan(0), kept.read_measurements(0)[0]
    assert plan is not None
    count = len(row.sets["domain"].errors)
    counts = {"characters": (40,) * count, "character_errors": (3,) * count}
    domain = row.sets["domain"].model_copy(update=counts)
    folder.write_plans(plan)
    measured = row.model_copy(update={"sets": row.sets | {"domain": domain}})
    folder.record_measurements(0, [measured], [kept.read_hypotheses(0, row)])
    spec = SPEC.model_copy(update={"metric": Metric(name="domain_cer")})
    built = status.build(spec, folder, conclude(spec, folder, RESAMPLES), done=False, running=True)
    text = markdown.render(built)
    assert "| trial | last evaluated | domain CER % | parameters |" in text
    assert f"| 0 | {row.step}/{plan.params.max_steps} | 7.50 |" in text


def test_a_sweep_by_the_cer_shows_the_cer_of_the_untuned_model(root: Path) -> None:
    """In the report, as JSON, on the dashboard and by diagnose: its WER may be one of whole sentences."""
    folder = StudyFolder(root, "s")
    found = conclude(SPEC, folder, RESAMPLES)
    assert found.baseline is not None
    domain = found.baseline.sets["domain"]
    count = len(domain.errors)
    counts = {"characters": (40,) * count, "character_errors": (3,) * count}
    sets = found.baseline.sets | {"domain": domain.model_copy(update=counts)}
    changed = replace(found, baseline=found.baseline.model_copy(update={"sets": sets}))
    spec = SPEC.model_copy(update={"metric": Metric(name="domain_cer")})
    text = markdown.render(report.build(spec, folder, changed, ["s.yaml"], done=True))
    assert f"| domain | {domain.wer:.2f} | 7.50 | {count} |" in text
    assert f"| heldout | {sets['heldout'].wer:.2f} | - |" in text
    programs = json.loads(report_json.render(spec, changed, done=True, other_limits=False))
    assert programs["baseline"]["domain_cer"] == 7.5
    attributes = dashboard_contents._study_attributes(spec, changed, done=True)
    assert attributes["untuned: domain CER, %"] == 7.5
    text = markdown.render(sweep_diagnosis.build(spec, {}, (), changed))
    assert "| set | baseline CER % | character errors to win |" in text
    assert f"| domain | 7.50 | {3 * count} |" in text


def test_a_point_of_the_plot_lies_where_its_numbers_say() -> None:
    axis = Axis(0.0, 2.0, 100.0, 300.0)
    assert [axis.at(value) for value in (0.0, 1.0, 2.0)] == [100.0, 200.0, 300.0]
    svg = scatter_plot(
        [Point(0.0, 0.0, "a<b", "good"), Point(1.0, 2.0, "c", "this")], 1.0, 0.2, ("x", "y")
    )
    tree = ElementTree.fromstring(svg)
    marks = [each for each in tree.iter() if each.get("class") == "mark"]
    assert [mark.text for mark in marks] == ["●", "★"] and svg.count("stroke-dasharray") == 2
    assert "a&lt;b" in svg and "does not keep them" not in svg and "this model" in svg


@pytest.mark.parametrize(("x", "anchor"), [(-9.0, "end"), (9.0, "start")])
def test_the_name_of_a_limit_stands_where_there_is_room(x: float, anchor: str) -> None:
    tree = ElementTree.fromstring(scatter_plot([Point(x, 0.0, "", "good")], 1.0, 0.2, ("x", "y")))
    [name] = [each for each in tree.iter() if (each.text or "").startswith("allowed")]
    assert name.get("text-anchor") == anchor


def test_plain_text_is_one_line() -> None:
    assert plain("a\x1b[31mb\r\nc\u2028d\u202ee\u200ff") == "a [31mb  c d e f"


def test_a_page_shows_that_there_is_what_it_does_not_show() -> None:
    assert html_text("a\x1bb\nc\u202ed\u200fe\u061cf<") == "a\ufffdb c\ufffdd\ufffde\ufffdf&lt;"


def test_an_entity_of_a_text_stays_one_in_markdown() -> None:
    assert escape_markdown("AT&amp;T <b> & c") == "AT&amp;amp;T &lt;b&gt; &amp; c"
