"""report.md and report.html of a study."""

from __future__ import annotations

from orchestrator.records.store import StudyFolder
from orchestrator.records.writing import write_aside
from orchestrator.reporting.rendering import markdown
from orchestrator.reporting.rendering.report_blocks import Document


def write(folder: StudyFolder, document: Document, page: str) -> None:
    """Write both files, each atomically; `page` is the content of report.html."""
    write_aside(
        folder.report_markdown, markdown.render(document).encode("utf-8", errors="backslashreplace")
    )
    write_aside(folder.report_html, page.encode("utf-8", errors="backslashreplace"))
