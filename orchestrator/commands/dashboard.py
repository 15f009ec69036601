"""`orchestrate dashboard`."""

from __future__ import annotations

from functools import partial

from orchestrator.commands.opening_study import open_study
from orchestrator.commands.output import naming_words, say, told
from orchestrator.commands.study_arguments import ForkName, Port, Studies, Study


def dashboard(
    spec: Study,
    overrides: ForkName = None,
    studies: Studies = None,
    port: Port = 8080,
) -> None:
    """Serve optuna-dashboard for a study until Ctrl+C, with notes, transcripts and clips.

    Read only, and reachable from this machine alone. The address is printed.
    """
    from orchestrator.host.loopback import require_free, serve_until_interrupted

    sweep, folder = told(open_study(spec, overrides or [], studies))
    require_free(port)

    from orchestrator.running.dashboard_contents import dashboard_study, watched_files
    from orchestrator.search.dashboard import open_server
    from orchestrator.search.storage import database_of

    words = naming_words(spec, folder.name, studies)
    server = open_server(
        database_of(folder),
        watched_files(folder),
        partial(dashboard_study, sweep, folder, words),
        port,
    )
    serve_until_interrupted(server, lambda address: say(f"{address}  (Ctrl+C ends it)"))
