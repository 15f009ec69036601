"""report.html holds what the study's files say, loads nothing, and shows every text as text."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import soundfile

from orchestrator.records.content_digests import stored_spec
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Event, Failed
from orchestrator.reporting.documents import report
from orchestrator.reporting.page import charts as page_charts
from orchestrator.reporting.page import report_page, trial_bounds
from orchestrator.reporting.page.contents import CLIPS, file_contents, to_script
from orchestrator.reporting.page.glossary import GLOSSARY, HEADINGS
from orchestrator.reporting.page.shell import LIBRARIES, OWN
from orchestrator.reporting.page.sound import AUDIO_BYTES, embed_clips, read_utterances
from orchestrator.reporting.page.utterances import utterance_sets
from orchestrator.reporting.progress.json_lines import JsonReporter
from orchestrator.reporting.progress.sweep_standing import Budgeted
from orchestrator.reporting.wording import percent
from orchestrator.sweepfile.data import DataSpec
from orchestrator.sweepfile.limits import Limit
from orchestrator.sweepfile.sweep import Budget, SweepSpec
from orchestrator.verdicts.concluding import conclude
from tests.cli_project import orchestrate
from tests.page_study import HOSTILE, SWEEP_TEXT, HearingWorker, folder_of, make_study
from tests.running_support import RESAMPLES, make_spec, run

PAGE = Path(report_page.__file__).parent


@pytest.fixture(name="sweep", scope="module")
def _sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_study(tmp_path_factory.mktemp("project"))


@pytest.fixture(name="page", scope="module")
def _page(sweep: Path) -> str:
    return folder_of(sweep).report_html.read_text()


@pytest.fixture(name="contents", scope="module")
def _contents(page: str) -> dict[str, Any]:
    [text] = re.findall(r'<script type="application/json" id="contents">(.*?)</script>', page)
    found: dict[str, Any] = json.loads(text)
    return found


def rows_of(each: dict[str, Any], key: str) -> list[list[Any]]:
    """What a model heard; 0 stands for what the untuned model heard."""
    before = each["heard"]["baseline"]["rows"]
    return [row or before[place] for place, row in enumerate(each["heard"][key]["rows"])]


class Elements(HTMLParser):
    """Elements with their attributes, and what stands in scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.inline: list[tuple[str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.inline.append((tag, ""))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem and self.inline:
            tag, text = self.inline[-1]
            self.inline[-1] = (tag, text + data)


def test_nothing_is_loaded_and_only_its_own_scripts_may_run(page: str) -> None:
    elements = Elements(page)
    addresses = [
        value
        for _, attributes in elements.found
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "action", "data") and value
    ]
    assert [address for address in addresses if not address.startswith("#")] == []
    assert not any(name.startswith("on") for _, each in elements.found for name in each)
    assert not any("style" in attributes for _, attributes in elements.found)
    [policy] = [
        a["content"] or "" for _, a in elements.found if "content-security-policy" in str(a).lower()
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'" and rules["connect-src"] == "'none'"
    assert "unsafe" not in policy and "http" not in policy
    digests = {
        tag: [
            f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
            for text in texts
        ]
        for tag in ("script", "style")
        if (texts := [text for own, text in elements.inline if own == tag])
    }
    own = [digest for digest in digests["script"] if digest in rules["script-src"].split()]
    assert len(own) == len(LIBRARIES) + len(OWN) == len(rules["script-src"].split())
    assert digests["style"] == [rules["style-src"]]


def test_the_first_screen_has_the_verdict_its_reasons_and_the_winner(
    page: str, sweep: Path
) -> None:
    folder = folder_of(sweep)
    conclusion = conclude(stored_spec(folder, sweep.parents[1]), folder)
    assert conclusion.best and conclusion.deciding
    first = page.partition('<section id="verdict"')[2].partition("</section>")[0]
    assert f">{conclusion.decision}</span>" in first
    assert f": trial {conclusion.best.number}</h2>" in first
    assert first.count('<li class="') == len(conclusion.deciding.acceptance)
    assert "domain WER falls by at least 1 points" in first


def test_every_alignment_has_the_errors_that_were_counted(
    sweep: Path, contents: dict[str, Any]
) -> None:
    folder = folder_of(sweep)
    spec = stored_spec(folder, sweep.parents[1])
    sets = {each.name: each for each in utterance_sets(spec, folder, conclude(spec, folder))}
    assert [each["name"] for each in contents["sets"]] == list(sets)
    assert list(sets) == ["confirm_domain", "confirm_heldout", "domain", "heldout"]
    for each in contents["sets"]:
        own = sets[each["name"]]
        assert {model["key"] for model in each["models"]} == {model.key for model in own.models}
        for key, part in each["heard"].items():
            rows = rows_of(each, key)
            errors = [len(row[1]) - row[1].count("=") for row in rows]
            assert tuple(errors) == own.errors(key) and part["counted"]
            assert part["errors"] == sum(errors)
            for reference, (heard, letters, _) in zip(each["references"], rows, strict=True):
                assert len(reference.split()) == len(letters) - letters.count("I")
                assert len(heard.split()) == len(letters) - letters.count("D")


def test_the_winner_is_shown_first_on_every_set(sweep: Path, contents: dict[str, Any]) -> None:
    folder = folder_of(sweep)
    conclusion = conclude(stored_spec(folder, sweep.parents[1]), folder)
    assert conclusion.best and conclusion.confirmation
    runs = [str(seed.run.number) for seed in conclusion.confirmation.seeds]
    for each in contents["sets"]:
        confirm = each["name"].startswith("confirm_")
        assert each["winner"] == (runs[0] if confirm else str(conclusion.best.number))
        labels = {model["key"]: model["label"] for model in each["models"]}
        assert "the winner" in labels[each["winner"]]


def test_clips_are_those_that_changed_and_can_be_played(contents: dict[str, Any]) -> None:
    clips = contents["clips"]
    assert clips and sum(map(len, clips.values())) <= AUDIO_BYTES
    for key, uri in clips.items():
        name, row = key.split("/")
        each = next(own for own in contents["sets"] if own["name"] == name)
        before, after = (
            rows_of(each, model)[int(row)][1].replace("=", "")
            for model in ("baseline", each["winner"])
        )
        assert len(before) != len(after)
        sound = soundfile.info(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
        assert sound.format == "MP3" and 1.4 < sound.duration < 1.7
    worst = [key for key in clips if key.startswith("domain/")]
    assert 0 < len(worst) <= 2 * CLIPS


def test_clips_stop_at_their_budget(sweep: Path) -> None:
    folder = folder_of(sweep)
    spec = stored_spec(folder, sweep.parents[1])
    baseline = next(utterance_sets(spec, folder, conclude(spec, folder)))
    known = read_utterances(spec, baseline.name, baseline.measured.manifest_sha256)
    every = embed_clips(known.items())
    assert len(every) == 12
    size = sum(map(len, every.values()))
    assert 0 < len(embed_clips(known.items(), size // 2)) < 12


def test_texts_are_no_markup_wherever_they_stand(page: str, contents: dict[str, Any]) -> None:
    tags = {tag for tag, _ in Elements(page).found}
    assert not tags & {"img", "i", "b", "iframe", "object", "link"}
    assert page.count("<script") == len(LIBRARIES) + len(OWN) + 1
    assert not re.search(r"[\x1b\u202e]", page)
    domain = next(each for each in contents["sets"] if each["name"] == "domain")
    assert (
        domain["written"][0].startswith(HOSTILE[0]) and domain["speakers"][0] == "<i>domain</i>-0"
    )
    assert "\ufffd[31m" in domain["written"][3]


@pytest.mark.parametrize(
    "text", ["</script>", "<!--", "<script>", "\u2028", "&lt;", "\ud800", "\x00", "a\u202eb"]
)
def test_what_scripts_read_cannot_end_or_open_an_element(text: str) -> None:
    written = to_script({"text": [text]})
    assert not re.search(r"[<>&\x00\u2028\u202e\ud800]", written)
    shown = json.loads(written)["text"][0]
    assert shown == re.sub(r"[\x00\u2028\u202e\ud800]", "\ufffd", text)


def test_trials_have_their_state_their_values_and_their_reason(page: str, sweep: Path) -> None:
    table = page.partition('id="trial-table"')[2].partition("</table>")[0]
    results = folder_of(sweep).results()
    assert table.count("<tr") == len(results) + 1 and table.count("★ best") == 1
    for result in results:
        assert f'data-state="{result.state}"' in table
        assert f'data-value="{result.delta["domain"]!r}"' in table
        assert table.count(
            f'<td data-label="domain %" class="number" data-value="{result.wer["domain"]!r}"'
        )
    assert "<span>learning_rate</span>" in table and "<span>target_modules</span>" not in table


def test_what_is_explained_is_in_the_glossary(page: str) -> None:
    explained = set(re.findall(r'data-term="([^"]+)"', page))
    assert explained <= set(GLOSSARY) and {"verdict", "winner", "state", "bounds"} <= explained
    assert set(HEADINGS.values()) <= set(GLOSSARY)
    assert all(f'id="term-{key}"' in page for key in explained)


def test_plots_have_the_measured_numbers(sweep: Path, contents: dict[str, Any]) -> None:
    charts = {chart["id"]: chart for chart in contents["charts"]}
    assert {"gain", "steps-domain", "steps-heldout"} <= set(charts)
    results = {result.number: result for result in folder_of(sweep).results()}
    chosen = [
        point
        for series in charts["gain"]["series"]
        if series["role"] in ("trial", "broken", "best") and series["view"] == "chosen"
        for point in series["points"]
    ]
    own = {(r.delta["heldout"], -r.delta["domain"]) for r in results.values() if r.wer}
    assert {(x, y) for x, y, _ in chosen} == own
    bounds = [series for series in charts["gain"]["series"] if series["role"] == "bounds"]
    assert len(bounds) == 4
    assert {("y", 1.0), ("x", 0.5)} <= {
        (axis, value) for axis, value, _ in charts["gain"]["limits"]
    }
    crosses = [series for series in charts["gain"]["series"] if series["view"] == "bounds"]
    assert len(crosses) == sum(r.duplicate_of is None for r in results.values() if r.wer)
    for series in crosses:
        (left, y, _), (right, _, _), (x, _, name), (_, low, _), (_, high, _) = series["points"]
        assert (x, y) in own and left <= x <= right and min(low, high) <= y <= max(low, high)
        assert series["name"] == name
    [winner] = [series for series in crosses if series["role"] == "best"]
    ends = {end for series in bounds for point in series["points"] for end in point[:2]}
    assert {winner["points"][0][0], winner["points"][1][0]} <= ends, "as the verdict has them"


def test_a_change_along_steps_is_the_one_that_is_counted() -> None:
    """Three errors of 2,400 words are 0.125 points, shown as 0.12; the difference of two rates may
    be a little more.
    """
    shown = 0
    for before in range(1, 300):
        exact, raw = 100 * 3 / 2400, 100 * (before + 3) / 2400 - 100 * before / 2400
        shown += percent(raw) != percent(exact)
        change = page_charts._less(100 * (before + 3) / 2400, 100 * before / 2400)
        assert change == exact
    assert shown


def test_a_curve_over_steps_has_one_adapter_scale(tmp_path: Path) -> None:
    spec = make_spec(scales=(0.3, 1.0), budget=Budget(trials=3))
    run(spec, tmp_path)
    folder = StudyFolder(tmp_path, "s")
    found = file_contents(spec, folder, conclude(spec, folder, RESAMPLES))["charts"]
    by_id = {chart["id"]: chart for chart in found}
    along = [series for series in by_id["gain"]["series"] if series["view"] == "steps"]
    curves = by_id["steps-domain"]["series"]
    assert len(curves) == 3 and len(along) == 3
    for curve, line in zip(curves, along, strict=True):
        number = int(curve["name"].removeprefix("trial "))
        rows = [row for row in folder.read_measurements(number) if row.adapter_scale == 0.3]
        expected = {row.step: row.sets["domain"].wer for row in rows}
        assert {step: wer for step, wer, _ in curve["points"]} == expected
        assert len(line["points"]) == len(expected)
    assert "smallest adapter scale" in by_id["steps-domain"]["note"]


@pytest.mark.parametrize(
    ("most", "said"), [(2, "bounds of the 2 trials of largest gain"), (3, "all")]
)
def test_the_bounds_of_some_trials_are_not_called_those_of_all(
    most: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (page_charts, trial_bounds):
        monkeypatch.setattr(module, "MOST", most)
    spec = make_spec(budget=Budget(trials=3))
    run(spec, tmp_path)
    folder = StudyFolder(tmp_path, "s")
    gain = next(page_charts.charts(spec, folder, conclude(spec, folder, RESAMPLES)))
    assert said in dict(gain.views)["bounds"]
    assert sum(series.view == "bounds" for series in gain.series) == most


def test_what_got_worse_stands_on_the_page_without_scripts(
    page: str, contents: dict[str, Any]
) -> None:
    inside = page.partition('id="utterances"')[2].partition("<noscript>")[2]
    inside = inside.partition("</noscript>")[0]
    listed = re.findall(r"<tr><td>([^<]*)</td><td>\d+</td><td>\+(\d+)</td>", inside)
    expected = []
    for each in contents["sets"]:
        before, after = (rows_of(each, key) for key in ("baseline", each["winner"]))
        changes = [
            len(now[1]) - now[1].count("=") - len(was[1]) + was[1].count("=")
            for was, now in zip(before, after, strict=True)
        ]
        worst = sorted(zip(changes, each["ids"], strict=True), key=lambda pair: -pair[0])[:10]
        expected += [(name, str(change)) for change, name in worst if change > 0]
    assert listed and sorted(listed) == sorted(expected)
    for each in contents["sets"]:
        [label] = [own["label"] for own in each["models"] if own["key"] == each["winner"]]
        assert f"<span>{label}</span>" in inside, "whose words they are"
    assert "<script>document.title" not in inside


def test_a_study_without_results_texts_or_confirmation_has_a_page(tmp_path: Path) -> None:
    spec = make_spec(budget=Budget(trials=2))
    run(spec, tmp_path)
    folder = StudyFolder(tmp_path, "s")
    conclusion = conclude(spec, folder, RESAMPLES)
    document = report.build(spec, folder, conclusion, ["s.yaml"], done=True)
    page = report_page.render(spec, folder, conclusion, document, ["s.yaml"], True)
    assert 'id="trial-table"' in page and 'id="utterance-view"' not in page
    empty = make_spec(name="empty")
    nothing = StudyFolder(tmp_path, "empty")
    concluded = conclude(empty, nothing, RESAMPLES)
    document = report.build(empty, nothing, concluded, ["s.yaml"], done=False)
    page = report_page.render(empty, nothing, concluded, document, ["s.yaml"], False)
    assert "NOT FINISHED" in page and "0 of 8 trials ended" in page


def test_a_study_of_one_set_has_a_page(tmp_path: Path) -> None:
    data = DataSpec(train=Path("/t"), domain=Path("/d"))
    spec = make_spec(data=data, guardrails={}, acceptance={}, budget=Budget(trials=2))
    run(spec, tmp_path)
    folder = StudyFolder(tmp_path, "s")
    conclusion = conclude(spec, folder, RESAMPLES)
    charts = file_contents(spec, folder, conclusion)["charts"]
    assert "steps-domain" in {chart["id"] for chart in charts}


def test_audio_that_is_gone_leaves_the_rest(sweep: Path, tmp_path: Path) -> None:
    spec = make_study(tmp_path, SWEEP_TEXT.replace("trials: 5", "trials: 1"))
    for audio in (tmp_path / "data").glob("confirm_*.wav"):
        audio.unlink()
    (tmp_path / "data" / "heldout.jsonl").write_text("")
    folder = folder_of(spec)
    found = file_contents(
        stored_spec(folder, tmp_path), folder, conclude(stored_spec(folder, tmp_path), folder)
    )
    assert {key.split("/")[0] for key in found["clips"]} == {"domain"}
    assert len(found["sets"]) == 4 and found["sets"][0]["seconds"][0] is None


def test_trials_after_a_manifest_was_rewritten_are_among_the_utterances(tmp_path: Path) -> None:
    """Ids of lines without one are made of their paths, and the lines are the same."""
    alone = SWEEP_TEXT.replace("confirm: {top: 1, seeds: [101, 102]}\n", "")
    spec = make_study(tmp_path, alone.replace("trials: 5", "trials: 1"))
    for manifest in (tmp_path / "data").glob("*.jsonl"):
        text = manifest.read_text()
        manifest.write_text(text.replace('"audio_filepath": "', '"audio_filepath": "./'))

    def make(spec: SweepSpec, folder: StudyFolder) -> HearingWorker:
        return HearingWorker(spec)

    assert orchestrate(spec, "--quiet", "budget.trials=4", worker=make) in (0, 4, 5)
    folder = folder_of(spec)
    study = stored_spec(folder, tmp_path)
    measured = [str(each.number) for each in folder.results() if each.duplicate_of is None]
    assert len(measured) > 1
    for each in file_contents(study, folder, conclude(study, folder))["sets"]:
        assert [model["key"] for model in each["models"]] == ["baseline", *measured]


def test_a_trial_whose_guardrail_was_not_measured_is_not_said_to_break_it(tmp_path: Path) -> None:
    """It is not feasible, as one that breaks it."""
    spec = make_spec(budget=Budget(trials=1), guardrails={"far_wer": Limit(max_regression=1.0)})
    run(spec, tmp_path)
    folder = StudyFolder(tmp_path, "s")
    found = conclude(spec, folder, RESAMPLES)
    assert found.results[0].wer and found.best is None
    gain = next(page_charts.charts(spec, folder, found))
    assert gain.series[0].name == "trials that do not keep every guardrail"


def test_the_command_prints_the_page(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert orchestrate("report", sweep, "--format", "html") == 0
    assert '<section id="verdict"' in capsys.readouterr().out


def latin_stdout(monkeypatch: pytest.MonkeyPatch) -> io.BytesIO:
    """Make standard output that of a locale whose encoding is Latin-1; return what it writes to."""
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, "latin-1", "backslashreplace", write_through=True)
    monkeypatch.setattr("sys.stdout", stream)
    return written


@pytest.mark.parametrize("form", ["html", "md", "json"])
@pytest.mark.parametrize("command", ["report", "compare"])
def test_what_programs_read_is_utf8_in_every_locale(
    command: str, form: str, sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, text = latin_stdout(monkeypatch), "é ★ \U0001f600"
    for place in ("wording.literal", "documents.report_json._limit_fields"):
        monkeypatch.setattr(f"orchestrator.reporting.{place}", lambda _: text)
    monkeypatch.setattr(
        "orchestrator.reporting.documents.studies_compared._decision_of", lambda _: text
    )
    sides = [sweep] if command == "report" else [f"{sweep}:0", f"{sweep}:1"]
    assert orchestrate(command, *sides, "--format", form) == 0
    printed = written.getvalue().decode()
    assert text in printed
    if form == "json":
        json.loads(printed)


def test_events_are_utf8_in_every_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    written = latin_stdout(monkeypatch)
    with JsonReporter(Path("größe"), Budgeted.of(make_spec())) as reporter:
        reporter.say("é ★ \U0001f600")
    event = json.loads(written.getvalue())
    assert (event["study"], event["text"]) == ("größe", "é ★ \U0001f600")


def test_the_library_is_small_and_comes_with_its_licence() -> None:
    vendored = [PAGE / name for name in LIBRARIES]
    assert sum(path.stat().st_size for path in vendored) < 1_500_000
    for name in ("chart.js", "chartjs-plugin-annotation"):
        assert "MIT" in (PAGE / "vendor" / f"{name}.LICENSE.md").read_text()
    fetched = re.findall(
        r"^fetch (\S+) (\S+) (\S+)", (PAGE / "vendor" / "fetch.sh").read_text(), re.M
    )
    assert [f"vendor/{file}" for _, _, file in fetched] == list(LIBRARIES)
    for _, version, file in fetched:
        assert f" v{version}\n" in (PAGE / "vendor" / file).read_text()[:200]
    own = "".join((PAGE / name).read_text() for name in OWN)
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", own
    )


class DivergingWorker(HearingWorker):
    """A worker whose trials all fail before they are measured."""

    def advance(self) -> tuple[Event, ...]:
        """Fail every trial that trains."""
        return tuple(Failed(number, 1, "loss nan: not finite") for number in self.active)


def test_a_sweep_of_which_nothing_was_measured_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.page_study.HearingWorker", DivergingWorker)
    folder = folder_of(make_study(tmp_path))
    assert {str(result.state) for result in folder.results()} == {"FAIL"}
    assert "INCONCLUSIVE" in folder.report_markdown.read_text()
    assert "No trial was measured." in folder.report_html.read_text()
    [text] = re.findall(
        r'<script type="application/json" id="contents">(.*?)</script>',
        folder.report_html.read_text(),
    )
    sets = json.loads(text)["sets"]
    assert sets and {each["winner"] for each in sets} == {"baseline"}
