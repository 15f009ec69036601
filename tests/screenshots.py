"""Make the pictures of docs/images of a finished study:
`python -m tests.screenshots quickstart`.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIServer

from rich.console import Console, Group

from orchestrator.commands.opening_study import open_study
from orchestrator.host.loopback import guarded_server
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Progress
from orchestrator.reporting.documents import report
from orchestrator.reporting.page.listen import Player
from orchestrator.reporting.progress.live import LiveReporter
from orchestrator.reporting.progress.sweep_standing import Budgeted
from orchestrator.reporting.rendering import terminal
from orchestrator.reporting.rendering.report_blocks import Document
from orchestrator.running.completion import judged
from orchestrator.running.dashboard_contents import dashboard_study, watched_files
from orchestrator.search.dashboard import open_server
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.conclusion import Conclusion
from orchestrator.verdicts.judging import judge_scores, scores
from tests.browser import chromium

IMAGES = Path(__file__).parents[1] / "docs" / "images"
SIZE = {"width": 1200, "height": 820}
TALL = {"width": 1200, "height": 1300}
NOON = datetime(2026, 11, 28, 12)
COLUMNS = 118
"""Width of the terminal, in characters."""


@contextmanager
def served(server: WSGIServer) -> Iterator[str]:
    """Serve while the context lasts; yield the address of the server."""
    with server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def main(name: str) -> None:
    """Write every picture of one study."""
    opened = open_study(Path(name), [], None)
    sweep, folder = opened.sweep, opened.folder

    def reported(conclusion: Conclusion, done: bool) -> Document:
        return report.build(sweep, folder, conclusion, [f"sweeps/{name}.yaml"], done)

    judge = partial(judged, sweep, folder)
    _of_report_on_terminal(reported(*judge()))
    _of_live_table(sweep, folder)
    with chromium() as browser:
        _of_report(browser, folder.report_html)
        player = Player(sweep, folder, judge, reported)
        with served(guarded_server(player, 0, "player")) as address:
            _of_listen(browser, address)
        with served(
            open_server(
                folder.database,
                watched_files(folder),
                partial(dashboard_study, sweep, folder, [name]),
                0,
            )
        ) as address:
            _of_dashboard(browser, address)


def _of_report_on_terminal(document: Document) -> None:
    """Draw the first part of the report that the command prints."""
    with _recording() as console:
        shown = Document(document.title, document.headline, document.blocks[:10])
        terminal.show(shown, console)
        _save_svg(console, "terminal.svg")


def _of_live_table(sweep: SweepSpec, folder: StudyFolder) -> None:
    """Draw what the command shows while it runs, at a moment when half of the trials have ended and
    the next are at their first rung. The numbers are those of the study.
    """
    results = folder.results()
    half = len(results) // 2
    pack = folder.read_pack()
    in_training = [result.number for result in results[half : half + (pack.slots if pack else 1)]]
    varied = tuple(dimension.name for dimension in sweep.parameters.searched)
    with _recording() as console:
        quiet = Console(file=console.file, width=COLUMNS, height=40)
        seconds = count(step=2.0)  # a real clock would say that no time had passed
        live = LiveReporter(
            quiet, varied, Budgeted.of(sweep), lambda: next(seconds), today=lambda: NOON
        )
        seconds_spent = folder.seconds_spent() or 0.0
        live.resumed(results[:half], seconds_spent * half / len(results))
        for number in in_training:
            _train_to_first_rung(live, sweep, folder, number)
        console.print(Group(*live.visible_parts()))
        _save_svg(console, "live.svg")


def _train_to_first_rung(
    live: LiveReporter, sweep: SweepSpec, folder: StudyFolder, number: int
) -> None:
    """Report to the live table a trial from its admission to its first measurement, as recorded."""
    plan, first = folder.read_plan(number), folder.read_measurements(number)[0]
    baseline = folder.read_baseline(first.fingerprint)
    if plan is None or baseline is None:
        raise ValueError(f"trial {number} of {folder.name} lacks its files")
    live.admitted(plan, 0)
    live.progress(Progress(number, first.step, first.train_loss or 0.0))
    live.measured(judge_scores(sweep, scores(first), scores(baseline), resamples=100))


@contextmanager
def _recording() -> Iterator[Console]:
    """Yield a console that records what is printed on it, to be exported as an SVG."""
    with Path("/dev/null").open("w") as nowhere:
        yield Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True)


def _save_svg(console: Console, name: str) -> None:
    svg = console.export_svg(title="orchestrate sweeps/quickstart.yaml")
    # rich's SVG loads fonts from the network; without them it takes the reader's
    (IMAGES / name).write_text(re.sub(r"@font-face \{.*?\}", "", svg, flags=re.S))


def _of_report(browser: Any, path: Path) -> None:
    page = _page(browser, path.as_uri())
    page.screenshot(path=IMAGES / "report.png")
    page.locator("#utterance-view").get_by_label("Sort").select_option("better")
    _at(page, "#utterances", "utterances.png")
    _at(page, "#trials", "trials.png")
    _at(page, "#chart-gain", "plots.png")
    page = _page(browser, path.as_uri(), "dark")
    page.screenshot(path=IMAGES / "report-dark.png")


def _of_listen(browser: Any, address: str) -> None:
    page = _page(browser, address)
    view = page.locator("#utterance-view")
    view.get_by_label("Set").select_option("domain")
    view.locator("article .faint", has_text="domain (set of the search)").first.wait_for()
    _at(page, "#utterances", "listen.png")


def _of_dashboard(browser: Any, address: str) -> None:
    page = browser.new_page(viewport=TALL)
    for path, name in (("", "dashboard.png"), ("/trials?numbers=0", "dashboard-trial.png")):
        page.goto(f"{address}dashboard/studies/0{path}", wait_until="commit")
        page.locator("main").wait_for(timeout=120_000)
        page.wait_for_timeout(8_000)  # its plots are drawn late, and nothing says when
        page.screenshot(path=IMAGES / name)
    page.close()


def _page(browser: Any, address: str, scheme: str = "light") -> Any:
    page = browser.new_page(viewport=SIZE, color_scheme=scheme)
    page.goto(address)
    page.wait_for_selector("#utterance-view article")
    return page


def _at(page: Any, place: str, name: str) -> None:
    """Scroll until `place` is at the top of the screen, below the links, and save a picture."""
    page.locator(place).evaluate("e => window.scrollTo(0, e.offsetTop - 50)")
    page.screenshot(path=IMAGES / name)


if __name__ == "__main__":
    main(sys.argv[1])
