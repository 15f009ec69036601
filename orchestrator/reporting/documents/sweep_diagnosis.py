"""The output of `orchestrate diagnose SPEC`: lengths, splits and leakage of the sets; headroom and
efficacy of training once there is a study.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from orchestrator.checks import Finding
from orchestrator.corpus.manifests.manifest import Manifest
from orchestrator.corpus.sets.decoding_findings import DECODING_NOTES, Ready, lines_of
from orchestrator.corpus.sets.durations_and_speakers import (
    SURVIVAL_LIMITS,
    duration_profile,
    speaker_sizes,
)
from orchestrator.records.results import TrialState
from orchestrator.records.store import StudyFolder
from orchestrator.refused_findings import refused
from orchestrator.reporting.documents import transcripts
from orchestrator.reporting.rendering.report_blocks import (
    Block,
    Bullets,
    Document,
    Heading,
    Paragraph,
    Table,
)
from orchestrator.reporting.wording import counted, percent, points
from orchestrator.scoring.limit_text import rate_text
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.conclusion import Conclusion
from orchestrator.verdicts.headroom import headroom, high_rates, rate_of, searched_rate


def build(
    spec: SweepSpec,
    ready: Ready,
    findings: Sequence[Finding],
    conclusion: Conclusion | None,
    folder: StudyFolder | None = None,
) -> Document:
    """Build the document; `conclusion` and `folder` are given where a study exists."""
    if conclusion is not None and conclusion.baseline is not None:
        baseline = conclusion.baseline
        findings = [
            *findings,
            *headroom(spec, baseline.sets["domain"]),
            *high_rates(spec, baseline, "the untuned model"),
        ]
    stopping = len(refused(findings, spec.checks.ignore))
    headline = "No findings"
    if findings:
        headline = f"{counted(len(findings), 'finding')}, {stopping} of which stop a sweep"
    sets = {name: manifest for name, (manifest, _) in ready.items()}
    blocks: list[Block] = [
        Heading("Durations"),
        _durations_table(sets),
        Heading("Splits"),
        _splits_table(sets),
    ]
    blocks += [Heading("Sound"), _sound_table(ready)]
    if parts := tuple(
        f"{name} is the {manifest.part}" for name, manifest in sets.items() if manifest.part
    ):
        blocks += [Bullets(parts)]
    if findings:
        blocks += [Heading("Findings"), Bullets(findings_text(spec, findings))]
    blocks += _study_blocks(spec, conclusion)
    if folder is not None and conclusion is not None:
        blocks += transcripts.blocks(folder, conclusion)
    return Document(f"Data of sweep {spec.name}", headline, tuple(blocks))


def checks_blocks(spec: SweepSpec, findings: Sequence[Finding]) -> tuple[Block, ...]:
    """Return the findings in the sets before their sound is decoded, and a note about the checks
    that need it.
    """
    stopping = len(refused(findings, spec.checks.ignore))
    said = counted(len(findings), "finding") if findings else "Nothing was found"
    stops = f", {stopping} of which stop the sweep" if stopping else ""
    rest = (
        f"{said} in manifests, headers and the model's configuration{stops}. Sound is decoded, and silence, channels "
        "and equal sound in other files are found, by `orchestrate diagnose SPEC` and at the start."
    )
    bullets = [Bullets(findings_text(spec, findings))] if findings else []
    return (Heading("Checks of the data"), *bullets, Paragraph(rest))


def findings_text(spec: SweepSpec, findings: Sequence[Finding]) -> tuple[str, ...]:
    """Return a line for each finding: its level, or that it is ignored, its name and message."""
    ignore = spec.checks.ignore
    return tuple(
        f"{'ignored' if f.name in ignore else f.level} ({f.name}): {f.message}" for f in findings
    )


def _durations_table(sets: Mapping[str, Manifest]) -> Table:
    columns = ("set", "utterances", "minutes", "median s", "95 % s", "longest s")
    rows = []
    for name, manifest in sets.items():
        profile = duration_profile(manifest)
        numbers = (profile.median, profile.percentile_95, profile.longest)
        kept = [str(profile.survivors[limit].utterances) for limit in SURVIVAL_LIMITS]
        minutes = f"{profile.total.seconds / 60:.1f}"
        rows.append(
            (name, str(profile.total.utterances), minutes, *(f"{n:.1f}" for n in numbers), *kept)
        )
    return Table((*columns, *(f"up to {limit:g} s" for limit in SURVIVAL_LIMITS)), tuple(rows))


def _sound_table(ready: Ready) -> Table:
    columns = ("set", *(field.replace("_", " ") for field in DECODING_NOTES))
    rows = []
    for name, (_, clips) in ready.items():
        counts = [len(lines_of(clips.notes, field)) for field in DECODING_NOTES]
        rows.append((name, *map(str, counts)))
    return Table(columns, tuple(rows))


def _splits_table(sets: Mapping[str, Manifest]) -> Table:
    rows = []
    for name, manifest in sets.items():
        sizes = speaker_sizes(manifest)
        unnamed = sizes.pop("").utterances if "" in sizes else 0
        ends = [f"{size.utterances} ({size.seconds / 60:.1f} min)" for size in sizes.values()]
        rows.append(
            (name, str(len(sizes)), *((ends[0], ends[-1]) if ends else ("-", "-")), str(unnamed))
        )
    columns = (
        "set",
        "speakers",
        "utterances of the largest",
        "utterances of the smallest",
        "without a speaker",
    )
    return Table(columns, tuple(rows))


def _study_blocks(spec: SweepSpec, conclusion: Conclusion | None) -> Iterator[Block]:
    """Yield the errors that are there to win, and what the trials won, of the kind that the search
    minimises.
    """
    if conclusion is None or conclusion.baseline is None:
        yield Paragraph(
            "Headroom and adapter efficacy are known once `orchestrate SPEC` has measured a trial, or by --train."
        )
        return
    yield Heading("Headroom")
    kind = searched_rate(spec)
    of_characters = kind == "CER"
    errors = {
        name: sum(score.character_errors if of_characters else score.errors)
        for name, score in conclusion.baseline.sets.items()
    }
    rows = tuple(
        (name, percent(rate_of(score, kind)), str(errors[name]))
        for name, score in conclusion.baseline.sets.items()
    )
    unit = "character" if of_characters else "word"
    yield Table(("set", f"baseline {kind} %", f"{unit} errors to win"), rows)
    yield Heading("Adapter efficacy")
    trained = [result for result in conclusion.results if result.duplicate_of is None]
    rate = spec.objective
    gains = sorted(result.delta[rate] for result in trained if rate in result.delta)
    failed = sum(result.state is TrialState.FAIL for result in trained)
    if gains:
        text = (
            f"Change of the {rate_text(rate)} in {counted(len(gains), 'measured trial')}: {points(gains[0])} (best) "
            f"to {points(gains[-1])} points."
        )
        better = sum(gain < 0 for gain in gains)
        are = "is" if better == 1 else "are"
        yield Paragraph(
            f"{text} {better} {are} better than the baseline; {counted(failed, 'trial')} failed."
        )
    else:
        yield Paragraph(f"No trial was measured; {failed} failed.")
