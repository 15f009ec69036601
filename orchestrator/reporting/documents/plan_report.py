"""The output of `orchestrate plan`: what would run, what its data can resolve, how long it takes.
Nothing in it is a result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from orchestrator.corpus.manifests.manifest import Manifest
from orchestrator.planning.cost import Cost, coarse_span
from orchestrator.planning.sweep_plan import Resolution, SetSize, SweepPlan
from orchestrator.records.json_files import PackRecord
from orchestrator.records.readiness.reading_sets import known_files
from orchestrator.reporting.rendering.report_blocks import (
    Block,
    Bullets,
    Document,
    Heading,
    Paragraph,
    Table,
)
from orchestrator.reporting.wording import counted, params_text
from orchestrator.scoring.limit_text import enough_decimals
from orchestrator.scoring.normalizers import normalizer, normalizer_version
from orchestrator.sweepfile.execution import Execution


def set_sizes(
    sets: Mapping[str, Manifest], normalizer_name: str, cache: Path | None
) -> dict[str, SetSize]:
    """Count the utterances and the reference words of each set, as the corpus WER counts them. The
    project's `cache` remembers the counts of texts that were counted before.
    """
    how = normalizer_version(normalizer_name)

    def count_words(texts: Sequence[str]) -> int:
        normalize = normalizer(normalizer_name)
        return sum(len(normalize(text).split()) for text in texts)

    sizes = {}
    with known_files(cache) as known:
        for name, manifest in sets.items():
            texts = [utterance.text for utterance in manifest.utterances]
            words = known.words(texts, how, partial(count_words, texts))
            sizes[name] = SetSize(utterances=len(texts), words=words)
    return sizes


def pack_text(execution: Execution, kept: PackRecord | None) -> str:
    """Say how many adapters train at once: by what the study has `kept` since it began, else by the
    sweep file.
    """
    one = _one_pack_text(execution.pack, kept)
    packs = execution.packs if kept is None else kept.packs
    if packs == 1:
        return one
    cores = execution.cores if kept is None else kept.cores or "auto"
    each = "an equal share of the cores" if cores == "auto" else f"cores: {cores}"
    return f"{packs} packs, {each}, {place_text(execution)}; each a {one}"


def place_text(execution: Execution) -> str:
    """Say where several packs would run."""
    if execution.launcher == "ray":
        gpu = " and a GPU" if execution.device == "cuda" else ""
        return f"an actor each on the Ray cluster, which asks for its cores{gpu}"
    if execution.processes is False:
        return "all in one process"
    devices = f" on {', '.join(execution.devices)} in turn" if execution.devices else ""
    gains = " where that gains something" if execution.processes == "auto" else ""
    return f"a process each{devices}{gains}"


def _one_pack_text(pack: int | str, kept: PackRecord | None) -> str:
    if kept is not None:
        return f"pack of {kept.slots} adapters at once, kept since the study began ({kept.why})"
    if pack != "auto":
        return f"pack of {pack} adapters at once"
    return "pack: auto, decided when the sweep starts and then kept"


def kernel_text(execution: Execution, kept: PackRecord | None) -> str:
    """Say which library computes the linear layers: by what the study has `kept`, else by
    the file.
    """
    if kept is not None:
        return f"matrix kernel {kept.kernel}, kept since the study began"
    if execution.kernel != "auto":
        return f"matrix kernel {execution.kernel}"
    return "matrix kernel: auto, on a CPU timed when the sweep starts and then kept"


def cost_texts(costs: Sequence[Cost], clock_lost: bool) -> tuple[str, ...]:
    """Return a line for each estimate of the time, or how to get one. `clock_lost`: the record of
    the time that the study's trials took is lost.
    """
    if not costs:
        why = ": clock.json of the study is lost or damaged, and its next run makes it again"
        return (
            f"time: not known{why if clock_lost else ''}; `orchestrate plan SPEC --probe` loads the "
            "model and measures it, and so does a first study with this model",
        )
    return tuple(
        f"{coarse_span(cost.low, cost.high)}, less where trials are pruned or repeat others; from {cost.basis}"
        for cost in costs
    )


def build(
    plan: SweepPlan,
    missing: str,
    execution: Execution,
    kept: PackRecord | None,
    costs: Sequence[Cost],
    checks: Sequence[Block] = (),
    clock_lost: bool = False,
) -> Document:
    """Build the document. `missing` says why the sets could not be read, and is empty where they
    were; `checks` are the findings in the sets. For `execution` and `kept` see `pack_text`, for
    `clock_lost` see `cost_texts`.
    """
    blocks: list[Block] = [
        Table(
            ("parameter", "", "values", "when"),
            tuple((p.name, p.role, p.values, p.when) for p in plan.parameters),
        ),
        Bullets(
            (
                _trials_text(plan),
                f"longest trial evaluated at steps {', '.join(map(str, plan.rungs))}",
                f"at most {plan.optimizer_steps} optimizer steps and {plan.evaluations} evaluations",
                pack_text(execution, kept),
                kernel_text(execution, kept),
                *cost_texts(costs, clock_lost),
                *plan.conditions,
                *filter(
                    None, (plan.in_flight, plan.taken, plan.split, plan.warm_up if missing else "")
                ),
            )
        ),
        *_first_points(plan),
    ]
    if missing:
        unread = tuple(f"Not read: {line}" for line in missing.splitlines())
        blocks += [Heading("Sets"), Bullets(unread)]
    blocks += [*checks, *_resolution_blocks(plan)]
    return Document(f"Sweep {plan.name}", "Plan: nothing has been run", tuple(blocks))


def _trials_text(plan: SweepPlan) -> str:
    """Say how many trials there are, and of how many points."""
    point = "distinct point"
    points = f"no countable number of {point}s"
    if plan.points is not None:
        points = counted(plan.points, point)
    text = f"{plan.method} over {points}; {counted(plan.trials, 'trial')}"
    if plan.trained < plan.trials:
        text += f" (at most {plan.trained} trained: a point is not trained twice)"
    if plan.confirmation_trials:
        text += f", {counted(plan.confirmation_trials, 'confirmation run')}"
    return text


def _first_points(plan: SweepPlan) -> Iterator[Block]:
    if plan.first:
        rows = tuple(
            (str(number), point.origin, params_text(point.searched))
            for number, point in enumerate(plan.first)
        )
        yield Heading("First points")
        yield Table(("trial", "from", "given"), rows)


def _resolution_blocks(plan: SweepPlan) -> Iterator[Block]:
    """Yield the table of the changes that the sets can tell from none, and warnings."""
    if not plan.resolution:
        return
    columns = (
        "set",
        "utterances",
        "words",
        "smallest detectable",
        "limit",
        "utterances needed",
        "resolved",
    )
    yield Heading("What the sets can resolve")
    yield Table(columns, tuple(map(_resolution_row, plan.resolution)))
    yield Paragraph(
        "WER points at 80 % power, one-sided 5 %; assumes that words err independently."
    )
    warnings = [_resolution_warning(row) for row in plan.resolution if row.resolved is False]
    yield Bullets((*warnings, *filter(None, map(_gain_text, plan.resolution))))


def _resolution_row(resolution: Resolution) -> tuple[str, ...]:
    needed = "-" if resolution.utterances_needed is None else str(resolution.utterances_needed)
    answer = {True: "yes", False: "no", None: "-"}[resolution.resolved]
    limit = "-" if resolution.limit is None else f"{resolution.limit:g}"
    smallest = resolution.smallest_detectable
    decimals = enough_decimals(2, (smallest, lambda points: points <= (resolution.limit or 0.0)))
    return (
        resolution.set,
        str(resolution.utterances),
        str(resolution.words),
        f"{smallest:.{decimals}f}",
        limit,
        needed,
        answer,
    )


def _gain_text(resolution: Resolution) -> str:
    """Say which true gain an ACCEPT needs: to be proven, it must exceed the gain asked for; empty
    where no gain is to be proven.
    """
    if resolution.gain_asked is None or resolution.provable_gain is None:
        return ""
    asked, provable = resolution.gain_asked, resolution.provable_gain
    decimals = enough_decimals(1, (provable, lambda points: points > asked))
    return (
        f"An ACCEPT proves a gain of {asked:g} points on {resolution.set}: 80 % of trials with a true "
        f"gain of {provable:.{decimals}f} do, and few with one little above {asked:g}."
    )


def _resolution_warning(resolution: Resolution) -> str:
    return (
        f"{resolution.limit:g} points cannot be told from 0 with the {resolution.utterances} utterances "
        f"of {resolution.set}."
    )
