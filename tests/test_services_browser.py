"""The page in a real browser: it works under its own policy without a network, and is accessible."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

for package in ("playwright", "axe_playwright_python"):
    pytest.importorskip(package)
pytestmark = pytest.mark.services

from axe_playwright_python.sync_playwright import Axe  # noqa: E402

from orchestrator.records.content_digests import stored_spec  # noqa: E402
from orchestrator.reporting.wording import percent  # noqa: E402
from orchestrator.running.dashboard_contents import dashboard_study, watched_files  # noqa: E402
from orchestrator.search.dashboard import open_server  # noqa: E402
from tests.browser import chromium  # noqa: E402
from tests.page_study import HOSTILE, folder_of, make_study, played  # noqa: E402

ADD_A_SCRIPT = """new Promise(done => {
    document.addEventListener("securitypolicyviolation", e => done(e.effectiveDirective));
    const script = document.createElement("script");
    script.textContent = "document.title = 1";
    document.body.append(script);
})"""
PLAY = """audio => audio.play().then(() => new Promise(done =>
    setTimeout(() => done([audio.error, audio.duration, audio.currentTime > 0]), 400)))"""
FORGET_THE_LAST = """async () => {
    const contents = JSON.parse(document.getElementById("contents").textContent);
    const set = contents.sets.find(each => each.name === "confirm_heldout");
    const row = set.references.length - 1;
    set.heard[set.winner].rows[row] = ["", "D".repeat(set.references[row].split(" ").length), 0];
    const place = document.createElement("div");
    await showWorst(new Source(contents), place);
    return [[...place.querySelectorAll(".facts")].map(each => each.textContent), set.ids[row]];
}"""
ONE_CONFIRMED = """async () => {
    const contents = JSON.parse(document.getElementById("contents").textContent);
    const confirming = contents.sets.filter(each => each.name.startsWith("confirm_"));
    confirming.forEach(set => set.heard[set.winner].rows.fill(0));
    const [heard, letters] = confirming[0].heard.baseline.rows[0];
    confirming[0].heard[confirming[0].winner].rows[0] = [`${heard} more`, `${letters}I`, 0];
    const place = document.createElement("div");
    await showWorst(new Source(contents), place);
    return [[...place.querySelectorAll(".facts")].map(each => each.textContent), confirming[0].title];
}"""
SHOW_MORE = """async () => {
    const contents = JSON.parse(document.getElementById("contents").textContent);
    const place = document.getElementById("utterance-view");
    const view = new UtteranceView(new Source(contents), place, document.createElement("div"));
    view.shown = 1;
    await view.show();
    const button = view.list.querySelector(":scope > button");
    button.focus();
    button.click();
    return [document.activeElement.tagName, [...view.list.children].indexOf(document.activeElement)];
}"""
FIRST_BEFORE_SECOND = """text => {
    const columns = columnsOf(text, [text, "==", 0], ["", "DD", 0]);
    document.getElementById("utterance-view").append(columns);
    const [first, second] = [...columns.children].map(each => each.getBoundingClientRect().left);
    columns.remove();
    return first < second;
}"""
FOUND = """([word, texts]) => {
    const rows = texts.map(text => [text, "=", 0]);
    const set = { references: texts, speakers: texts.map(() => "") };
    const choice = { speaker: "", word, change: "all" };
    const view = Object.assign(Object.create(UtteranceView.prototype), { set, choice });
    return Object.assign(view, { before: { rows }, after: { rows } }).fitting().length;
}"""
CUT_OFF = (
    "all => all.filter(each => each.scrollWidth > each.clientWidth).map(each => each.ariaLabel)"
)
SIDES = """lines => lines.map(([axis, value, at]) => beside(axis, value)({ chart: {
    chartArea: { left: 0, right: 400, top: 0, bottom: 200 },
    scales: { [axis]: { getPixelForValue: () => at } },
} }))"""
HOLD_BACK = """path => {
    const fetched = window.fetch;
    const released = new Promise(done => { window.release = () => (done(), new Promise(r => setTimeout(r, 400))); });
    window.fetch = (asked) => (asked === path ? released.then(() => fetched(asked)) : fetched(asked));
}"""
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 800}


@pytest.fixture(name="sweep", scope="module")
def _sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_study(tmp_path_factory.mktemp("project"))


@pytest.fixture(name="browser", scope="module")
def _browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


class Watched:
    """A page, and what went wrong in it and what it asked for."""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        self.context = browser.new_context(**{"viewport": WIDE, **options})
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.errors.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address)
        self.page.wait_for_selector("#utterance-view article")


@pytest.fixture(name="watched")
def _watched(browser: Any, sweep: Path) -> Iterator[Watched]:
    found = Watched(browser, folder_of(sweep).report_html.as_uri(), offline=True)
    yield found
    assert found.errors == []
    found.context.close()


def test_it_stands_without_a_network_under_its_own_policy(watched: Watched) -> None:
    loaded = [address for address in watched.asked if not address.startswith("data:")]
    assert len(loaded) == 1 and loaded[0].startswith("file:")
    found = watched.page.evaluate(ADD_A_SCRIPT)
    assert found.startswith("script-src") and watched.page.title() != "1"
    watched.errors.clear()  # of the script that was refused


def test_the_first_screen_answers_and_plays(watched: Watched) -> None:
    page = watched.page
    assert page.locator(".badge").bounding_box()["y"] < WIDE["height"]
    assert page.locator(".reasons li").count() == 2
    worst = page.locator("#worst article")
    assert worst.count() == 3 and "more error" in worst.first.inner_text()
    state = worst.first.locator("audio").evaluate(PLAY)
    assert (state[0], state[2]) == (None, True) and 1.4 < state[1] < 1.7


def test_what_got_worse_most_on_any_confirm_set_is_on_the_first_screen(watched: Watched) -> None:
    facts, utterance = watched.page.evaluate(FORGET_THE_LAST)
    assert len(facts) == 3 and utterance in facts[0]


def test_what_the_verdict_rests_on_comes_before_the_sets_of_the_search(watched: Watched) -> None:
    """However much worse an utterance of the search got."""
    facts, title = watched.page.evaluate(ONE_CONFIRMED)
    assert len(facts) == 3 and [title in each for each in facts] == [True, False, False]


def test_trials_are_sorted_and_filtered(watched: Watched) -> None:
    page = watched.page
    rows = page.locator("#trial-table tbody tr:not([hidden])")

    def column(index: int) -> list[float]:
        return [float(row.locator("td").nth(index).inner_text()) for row in rows.all()]

    assert page.locator("#trial-table tr.best").count() == 1
    head = page.locator("#trial-table").get_by_role("button", name="domain %")
    head.click()
    assert column(1) == sorted(column(1)) and len(column(1)) == 5
    head.click()
    assert column(1) == sorted(column(1), reverse=True)
    state = page.locator("#trial-state option").nth(1).get_attribute("value")
    page.select_option("#trial-state", state)
    assert {row.locator("td").first.inner_text() for row in rows.all()} == {state}
    page.select_option("#trial-state", "")
    page.fill("#trial-words", "nothing that is there")
    assert rows.count() == 0 and page.locator("#trial-count").inner_text() == "0 of 5 trials"


def test_a_plot_has_a_legend_that_hides_and_its_numbers(watched: Watched) -> None:
    figure = watched.page.locator("#chart-steps-domain")
    entry = figure.locator(".legend button").first
    assert figure.locator(".legend button").count() == 5
    canvas = figure.locator("canvas")
    canvas.scroll_into_view_if_needed()
    before = canvas.screenshot()
    entry.click()
    watched.page.mouse.move(0, 0)
    assert entry.get_attribute("aria-pressed") == "false" and canvas.screenshot() != before
    figure.locator("summary").click()
    rows = figure.locator("details tbody tr")
    rows.first.wait_for()  # they are made when it opens
    assert rows.count() >= 5
    gain = watched.page.locator("#chart-gain")
    chosen = gain.locator(".legend button").all_inner_texts()
    gain.locator("select").select_option("scales")
    assert gain.locator(".legend button").all_inner_texts() != chosen


def test_the_label_of_a_limit_lies_beside_its_line(watched: Watched) -> None:
    lines = [["y", 1, 100], ["y", 0, 104], ["y", 4.03, 5], ["y", 0, 195], ["x", 0.2, 200],
             ["x", 0, 196], ["x", 0.2, 395], ["x", 0, 4]]  # fmt: skip
    # downwards or to the right; those of zero and of a limit close to it never at one place
    assert watched.page.evaluate(SIDES, lines) == [-8, 8, 8, -8, 8, -8, -8, 8]


def test_no_table_of_words_is_cut_off_on_a_wide_screen(watched: Watched) -> None:
    boxes = watched.page.locator("#words .scroll")
    assert boxes.count() >= 3 and boxes.evaluate_all(CUT_OFF) == []


def test_what_is_hidden_stays_hidden_in_the_other_theme(watched: Watched) -> None:
    figure = watched.page.locator("#chart-steps-domain")
    best = watched.page.locator("#chart-steps-domain .swatch")
    figure.locator(".legend button").first.click()
    colours = best.evaluate_all("all => all.map(each => each.style.background)")
    watched.page.emulate_media(color_scheme="dark")
    watched.page.wait_for_function(
        "before => [...document.querySelectorAll('#chart-steps-domain .swatch')]"
        ".some((each, index) => each.style.background !== before[index])",
        arg=colours,
    )
    assert figure.locator(".legend button").first.get_attribute("aria-pressed") == "false"
    shown = "canvas => [0, 1].map(index => Chart.getChart(canvas).isDatasetVisible(index))"
    assert figure.locator("canvas").evaluate(shown) == [False, True]


def test_words_are_explained_under_pointer_and_keyboard(watched: Watched) -> None:
    page, tip = watched.page, watched.page.locator("#tip")
    term = page.locator("#verdict .term[data-term=verdict]")
    term.hover()
    assert "ACCEPT" in tip.inner_text()
    page.keyboard.press("Escape")
    assert not tip.is_visible()
    page.locator("#verdict .term[data-term=bounds]").last.focus()
    assert "95 % confidence" in tip.inner_text()
    page.keyboard.press("Tab")
    assert "best trial that keeps every guardrail" in tip.inner_text()


def test_utterances_are_chosen_sorted_and_filtered(watched: Watched) -> None:
    page = watched.page
    view = page.locator("#utterance-view")

    def control(name: str) -> Any:
        return view.get_by_label(name, exact=True)

    control("Set").select_option("domain")
    count = view.get_by_role("status")
    assert count.inner_text().startswith("12 utterances")
    control("Sort").select_option("order")
    assert HOSTILE[0].split()[0] in view.locator("article").first.inner_text()
    control("Change").select_option("worse")
    assert all("▲" in each for each in view.locator(".change").all_inner_texts())
    control("Change").select_option("all")
    control("Word").fill("seven")
    assert count.inner_text().startswith("8 utterances")
    control("Word").fill("")
    control("Speaker").select_option("<i>domain</i>-1")
    assert count.inner_text().startswith("4 utterances")
    labels = control("Model").locator("option").all_inner_texts()
    control("Model").select_option(labels[-1])
    page.wait_for_function(
        "l => document.querySelector('#words').textContent.includes(l)", arg=labels[-1]
    )
    marks = view.locator(".mark").all_inner_texts()
    assert marks and all(mark for mark in marks)


def test_the_keyboard_keeps_its_place_where_utterances_are_drawn_anew(watched: Watched) -> None:
    page = watched.page
    view = page.locator("#utterance-view")
    for name in ("Model", "Set"):
        control = view.get_by_label(name, exact=True)
        chosen = control.input_value()
        control.focus()
        page.keyboard.press("ArrowDown")
        page.wait_for_function(
            "([name, chosen]) => document.activeElement.ariaLabel === name"
            " && document.activeElement.value !== chosen && document.activeElement.isConnected",
            arg=[name, chosen],
        )
    facts = page.evaluate(SHOW_MORE)
    assert facts == ["ARTICLE", 1]


def test_words_stand_in_the_direction_of_their_language(watched: Watched) -> None:
    assert watched.page.evaluate(FIRST_BEFORE_SECOND, "turn left")
    assert not watched.page.evaluate(FIRST_BEFORE_SECOND, "פנה שמאלה")
    assert not watched.page.evaluate(FIRST_BEFORE_SECOND, "انعطف يسارا")


@pytest.mark.parametrize(
    ("word", "texts", "found"),
    [
        ("天气", ["今天天气很好", "我不知道"], 1),
        ("left", ["turn left", "leftover", "LEFT"], 2),
        ("turn left", ["turn left now", "return left"], 1),
    ],
)
def test_a_word_is_found_in_languages_without_spaces(
    watched: Watched, word: str, texts: list[str], found: int
) -> None:
    assert watched.page.evaluate(FOUND, [word, texts]) == found


def test_texts_stay_text(watched: Watched) -> None:
    page = watched.page
    page.locator("#utterance-view").get_by_label("Set", exact=True).select_option("domain")
    page.locator("#utterance-view").get_by_label("Sort", exact=True).select_option("order")
    written = page.locator("#utterance-view article details").all_text_contents()
    for row, text in enumerate(HOSTILE):
        assert text.replace("\x1b", "\ufffd").replace("\u202e", "\ufffd") in written[row]
    assert page.locator("main img, main i, main b, main script").count() == 0
    assert page.title().startswith("Sweep demo")


def test_plots_round_as_the_report_does(watched: Watched) -> None:
    """Three errors in 2,400 words are 0.125 points, which toFixed makes 0.13."""
    changes = [100 * errors / words for words in (800, 2400, 4000) for errors in range(-900, 900)]
    shown = watched.page.evaluate("numbers => numbers.map(twoDecimals)", [*changes, -0.001, 0.0])
    assert shown == [
        percent(0.0 if abs(each) < 0.005 else each) for each in (*changes, -0.001, 0.0)
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["wide", "narrow"])
def test_it_is_accessible_and_never_wider_than_the_screen(
    browser: Any, sweep: Path, scheme: str, viewport: dict[str, int]
) -> None:
    address = folder_of(sweep).report_html.as_uri()
    found = Watched(browser, address, color_scheme=scheme, viewport=viewport)
    for summary in found.page.locator("summary").all():
        summary.click()
    violations = Axe().run(found.page).response["violations"]
    assert [(each["impact"], each["id"], each["nodes"][0]["html"]) for each in violations] == []
    assert found.page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    found.context.close()


def test_on_paper_no_column_of_the_trials_is_cut_off(watched: Watched) -> None:
    trials = watched.page.locator("#trial-table")
    row = "row => [...row.querySelectorAll('td')].map(cell => getComputedStyle(cell, '::before').content)"
    watched.page.emulate_media(media="print")
    names = trials.locator("tbody tr").first.evaluate(row)
    assert '"domain %: "' in names and len(set(names)) == len(names)
    assert trials.locator("td").first.evaluate("cell => getComputedStyle(cell).display") == "block"
    swatch = watched.page.locator(".swatch").first
    assert swatch.evaluate("each => getComputedStyle(each).printColorAdjust") == "exact"


@pytest.fixture(name="address", scope="module")
def _address(sweep: Path) -> Iterator[str]:
    with played(sweep) as (host, port):
        yield f"http://{host}:{port}/"


def test_listen_shows_every_trial_and_plays_every_utterance(browser: Any, address: str) -> None:
    found = Watched(browser, address)
    view = found.page.locator("#utterance-view")
    view.get_by_label("Set", exact=True).select_option("heldout")
    view.locator("article .faint", has_text="held-out (set of the search)").first.wait_for()
    assert view.locator("audio").count() == 12
    labels = view.get_by_label("Model", exact=True).locator("option").all_inner_texts()
    assert len(labels) == 5
    view.get_by_label("Model", exact=True).select_option(labels[-1])
    found.page.wait_for_function(
        "l => document.querySelector('#words').textContent.includes(l)", arg=labels[-1]
    )
    state = view.locator("audio").last.evaluate(PLAY)
    assert state == [None, 1.5, True]
    assert Axe().run(found.page).response["violations"] == []
    assert found.errors == [] and all(each.startswith(address) for each in found.asked)
    found.context.close()


def test_listen_shows_what_was_chosen_last_however_late_the_rest_arrives(
    browser: Any, address: str
) -> None:
    found = Watched(browser, address)
    page, view = found.page, found.page.locator("#utterance-view")

    def choose(name: str) -> None:
        view.get_by_label("Set", exact=True).select_option(name)

    def shown() -> Any:
        return view.locator("article .facts").all_inner_texts()

    first = shown()
    page.evaluate(HOLD_BACK, "sets/heldout/heard/baseline")
    choose("heldout")
    choose("confirm_domain")
    page.evaluate("release()")
    assert shown() == first
    choose("heldout")
    page.wait_for_function("document.querySelector('#words').textContent.startsWith('held-out')")
    assert all("held-out (set of the search)" in each for each in shown())
    found.context.close()


def test_listen_says_what_it_cannot_show(browser: Any, address: str) -> None:
    found = Watched(browser, address)
    view = found.page.locator("#utterance-view")
    before = view.locator("article .names").all_inner_texts()
    chosen = view.get_by_label("Model", exact=True).input_value()
    found.page.route("**/heard/*", lambda route: route.abort())
    last = view.get_by_label("Model", exact=True).locator("option").last
    view.get_by_label("Model", exact=True).select_option(last.get_attribute("value"))
    view.get_by_role("status").filter(has_text="cannot be shown").wait_for()
    assert view.get_by_label("Model", exact=True).input_value() == chosen
    view.get_by_label("Sort", exact=True).select_option("order")
    assert sorted(view.locator("article .names").all_inner_texts()) == sorted(before)
    found.context.close()


def test_the_dashboard_shows_verdict_reasons_and_plays(browser: Any, sweep: Path) -> None:
    folder = folder_of(sweep)
    give = partial(dashboard_study, stored_spec(folder, sweep.parents[1]), folder, [str(sweep)])
    server = open_server(folder.database, watched_files(folder), give, 0)
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        page = browser.new_page(viewport=WIDE)
        page.goto(f"{address}/dashboard/studies/0/trials?numbers=0", wait_until="commit")
        page.get_by_text("best at step").first.wait_for(timeout=120_000)
        assert "keeps the guardrails" in page.locator("main").inner_text()
        # what a transcript says is text, whatever it looks like
        assert page.locator("main img[src*=elsewhere], main i").count() == 0
        state = page.locator("audio").first.evaluate(PLAY)
        assert (state[0], state[2]) == (None, True) and 1.4 < state[1] < 1.7
        page.goto(f"{address}/dashboard/studies/0/note", wait_until="commit")
        page.get_by_role("link", name="report.html").wait_for(timeout=120_000)
        page.get_by_role("link", name="report.html").click()
        page.locator(".badge").first.wait_for(timeout=120_000)
        page.close()
        server.shutdown()
        thread.join()
