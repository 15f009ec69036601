"""Measured rows as Markdown tables."""

from __future__ import annotations

from collections.abc import Sequence

from _shared.arithmetic import operations
from _shared.sides import Measured
from _shared.workload import Workload

MEBI = 2**20
SPARED = 0.2
"""How many WER points worse the held-out set may become, as in the shipped sweeps."""


def row_table(rows: Sequence[Measured], work: Workload, ceiling: float) -> str:
    """One line per side; ratios are to the first. `ceiling` is in operations per second."""
    device = any(row.device_bytes for row in rows)
    head = [
        "",
        "makespan, s",
        "times faster",
        "trial-steps/s",
        "utterances/s",
        "start-up and rest, s",
        "memory, MiB",
    ]
    head += ["device memory, MiB"] * device + ["share of GEMM ceiling"]
    lines = []
    for row in rows:
        rest = row.seconds - row.train - row.decode
        share = operations(work, row.trials, row.reuse) / row.seconds / ceiling
        lines.append(
            [
                row.name,
                f"{'~' * row.scaled}{row.seconds:.1f}",
                f"{rows[0].seconds / row.seconds:.2f}",
                f"{row.trials * work.steps / row.train:.1f}",
                f"{work.utterances(row.trials) / row.decode:.1f}",
                f"{rest:.1f}",
                f"{row.peak_bytes / MEBI:.0f}",
                *([f"{row.device_bytes / MEBI:.0f}"] * device),
                f"{100 * share:.1f} %",
            ]
        )
    return markdown(head, lines)


def wer_table(rows: Sequence[Measured], work: Workload) -> str:
    """The domain and heldout WER of every trial at its last step on every side, which show that all
    sides did the same work.
    """
    head = ["trial", *(row.name for row in rows), "largest difference"]
    lines = []
    for number, point in enumerate(work.points):
        shown = [row.wers[number] if number < len(row.wers) else None for row in rows]
        there = [wer for wer in shown if wer is not None]
        if not there:  # a plain script that ran the first trials only
            break
        apart = max(
            max(w[s] for w in there) - min(w[s] for w in there) for s in ("domain", "heldout")
        )
        lines.append(
            [
                f"{number}: {point['adapter']} r{point['rank']} {point['target_modules']} {point['learning_rate']:g}",
                *(
                    "" if wer is None else f"{wer['domain']:.1f} / {wer['heldout']:.1f}"
                    for wer in shown
                ),
                f"{apart:.1f}",
            ]
        )
    return "WER in percent, domain / heldout, at the last step\n\n" + markdown(head, lines)


def peer_table(
    packed: Measured, seconds: float, found: dict[str, dict[str, float]], steps: int, work: Workload
) -> str:
    """One run of the authors' tool beside a whole packed sweep, of which the row shows the trial of
    lowest domain WER among those that lose at most SPARED points on the heldout set.
    """
    untuned, tuned = found["untuned"], found["tuned"]
    kept = [wer for wer in packed.wers if wer["heldout"] <= untuned["heldout"] + SPARED]
    best = min(kept, key=lambda wer: wer["domain"], default=None)
    rows = [
        ("untuned", "", "", untuned),
        ("moonshine_voice.lora, its recipe", f"1 of {steps} steps", f"{seconds:.1f}", tuned),
        (
            f"{packed.name}, best that spares general speech",
            f"{packed.trials} of {work.steps} steps",
            f"{packed.seconds:.1f}",
            best,
        ),
    ]
    lines = [
        [
            name,
            runs,
            spent,
            *(["none", ""] if wer is None else [f"{wer['domain']:.1f}", f"{wer['heldout']:.1f}"]),
        ]
        for name, runs, spent, wer in rows
    ]
    head = ["", "trainings", "makespan, s", "domain WER, %", "heldout WER, %"]
    return "The authors' own tool\n\n" + markdown(head, lines)


def growth_table(letter: str, rows: Sequence[Sequence[Measured]], work: Workload) -> str:
    """The makespan by the size of the pack (`letter` "K", one row in each list), or by the number
    of trials ("N", the rows of all sides in each list).
    """
    if letter == "K":
        first = rows[0][0]
        head = [
            "",
            "makespan, s",
            "times faster than K = 1",
            "trial-steps/s",
            "utterances/s",
            "memory, MiB",
        ]
        lines = [
            [
                row.name,
                f"{row.seconds:.1f}",
                f"{first.seconds / row.seconds:.2f}",
                f"{row.trials * work.steps / row.train:.1f}",
                f"{work.utterances(row.trials) / row.decode:.1f}",
                f"{row.peak_bytes / MEBI:.0f}",
            ]
            for (row,) in rows
        ]
        return f"Growth with K, {first.trials} trials\n\n" + markdown(head, lines)
    head = [
        "trials",
        *(f"{row.name}, s" for row in rows[0]),
        *["times faster"] * (len(rows[0]) > 1),
    ]
    lines = [
        [
            str(own[-1].trials),
            *(f"{row.seconds:.1f}" for row in own),
            *[f"{own[0].seconds / own[-1].seconds:.2f}"] * (len(own) > 1),
        ]
        for own in rows
    ]
    return "Growth with the number of trials\n\n" + markdown(head, lines)


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table that ends in a newline."""
    table = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in table) + "\n"
