"""The section of a report with the transcripts of ten utterances, which show what no rate shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from orchestrator.records.results import SetMeasurement
from orchestrator.records.short_run import SHOWN, spread_rows
from orchestrator.records.store import StudyFolder
from orchestrator.reporting.rendering.report_blocks import Block, Heading, Paragraph, Table
from orchestrator.verdicts.conclusion import Conclusion, chosen_measurement

NOTHING = "(nothing)"
TEN_UTTERANCES = "Ten utterances of the domain"


def blocks(folder: StudyFolder, conclusion: Conclusion) -> Iterator[Block]:
    """Yield a table of ten utterances, spread over the domain set: the reference, and the
    transcripts of the untuned model and of the best trial where there is one.
    """
    if conclusion.baseline is None or "domain" not in conclusion.baseline.sets:
        return
    record, columns = folder.sets().get("domain"), {}
    if record is not None and record.texts:
        columns["reference"] = record.texts
    columns["untuned model"] = folder.read_baseline_hypotheses(conclusion.baseline).get(
        "domain", ()
    )
    best = conclusion.best
    measurement = chosen_measurement(folder, best) if best else None
    if best is not None and measurement is not None:
        columns[f"trial {best.number}"] = folder.read_hypotheses(best.number, measurement).get(
            "domain", ()
        )
    yield Heading(TEN_UTTERANCES)
    yield Paragraph(
        "As they were written down, before the normaliser; spread over the set, not chosen."
    )
    yield transcripts_table(conclusion.baseline.sets["domain"], columns)


def transcripts_table(measured: SetMeasurement, columns: Mapping[str, Sequence[str]]) -> Table:
    """Make a table with a row for each shown utterance. Columns without a text for every utterance
    of the set are left out.
    """
    total = len(measured.utterance_ids)
    rows = spread_rows(total, SHOWN)
    kept = {name: texts for name, texts in columns.items() if len(texts) == total}
    cells = (
        (measured.utterance_ids[row], *(texts[row].strip() or NOTHING for texts in kept.values()))
        for row in rows
    )
    return Table(("utterance", *kept), tuple(cells))
