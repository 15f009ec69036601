"""`orchestrate listen`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from orchestrator.commands.opening_study import open_study
from orchestrator.commands.output import naming_words, say, told
from orchestrator.commands.study_arguments import ForkName, Port, Studies, Study

if TYPE_CHECKING:
    from orchestrator.reporting.rendering.report_blocks import Document
    from orchestrator.verdicts.conclusion import Conclusion


def listen(
    spec: Study,
    overrides: ForkName = None,
    studies: Studies = None,
    port: Port = 8081,
) -> None:
    """Serve the report as a page until Ctrl+C, with every trial's transcripts and all audio.

    Read only, and reachable from this machine alone. The address is printed.
    """
    from orchestrator.host.loopback import guarded_server, require_free, serve_until_interrupted

    sweep, folder = told(open_study(spec, overrides or [], studies))
    require_free(port)

    from orchestrator.reporting.documents import report
    from orchestrator.reporting.page.listen import Player
    from orchestrator.running.completion import judged

    words = naming_words(spec, folder.name, studies)

    def report_of(conclusion: Conclusion, done: bool) -> Document:
        return report.build(sweep, folder, conclusion, words, done)

    player = Player(sweep, folder, partial(judged, sweep, folder), report_of)
    server = guarded_server(player, port, "player")
    serve_until_interrupted(server, lambda address: say(f"{address}  (Ctrl+C ends it)"))
