"""The quickstart from its command to its verdict, by turns: as its file leaves it to the machine, in
one pack on all cores, and in another checkout.

    python benchmarks/quickstart.py [--against PATH_OR_REF] [--repeats 2] [--warm]

Every run is a new study and a new cache, so the sound is decoded each time, as in a fresh clone; with
`--warm` all runs of a checkout share one cache, and a run that fills it comes before. Seconds are of
the whole command, processor time of it and its packs. What packs are under way decides what is asked
next, so the sides need not train the same trials; the verdicts stand beside them.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from _shared import ROOT
from _shared.checkouts import checkout, command_of
from _shared.processes import run_all
from _shared.sides import VERDICTS
from _shared.tables import markdown

NAMES = {0: "ACCEPT", 4: "REJECT", 5: "INCONCLUSIVE"}
"""Exit code -> verdict."""
ONE_PACK = ("execution.packs=1", "execution.pack=4")


@dataclass(frozen=True)
class Run:
    """One run of the quickstart: wall-clock and processor seconds, peak memory, verdict."""

    seconds: float
    processor: float
    peak_bytes: int
    verdict: str


def main() -> None:
    """Run the sides by turns and print their medians."""
    chosen = _options()
    with checkout(chosen.against) as other, tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        sides: dict[str, tuple[Path, tuple[str, ...]]] = {
            "as it is": (ROOT, ()),
            "one pack of 4 on all cores": (ROOT, ONE_PACK),
        }
        if other:
            sides[chosen.against] = (other, ())
        runs: dict[str, list[Run]] = {side: [] for side in sides}
        for turn in range(chosen.repeats + chosen.warm):
            for index, (side, (path, words)) in enumerate(sides.items()):
                # with --warm the first turn fills the cache of each checkout and is not counted
                place = path.name if chosen.warm else f"{index}-{turn}"
                run = _run(path, words, folder / place / "studies", f"run-{index}-{turn}")
                if turn or not chosen.warm:
                    runs[side].append(run)
                print(f"{side}: {run.seconds:.0f} s, {run.verdict}", flush=True)
    print(_table(runs))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", help="another checkout: a folder or a git reference")
    parser.add_argument("--repeats", type=int, default=1, help="runs of each side")
    parser.add_argument("--warm", action="store_true", help="with sound that is decoded already")
    return parser.parse_args()


def _run(path: Path, words: tuple[str, ...], studies: Path, study: str) -> Run:
    spec = str(path / "sweeps" / "quickstart.yaml")
    command, environment = command_of(path, spec, f"name={study}", *words)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    usage = run_all(
        [[*command, "--quiet", "--studies", str(studies)]],
        accepted=VERDICTS,
        environment=environment,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return Run(usage.seconds, processor, usage.peak_bytes, NAMES[usage.codes[0]])


def _table(runs: dict[str, list[Run]]) -> str:
    """Return a Markdown table of each side's medians, and how many times faster it was than the
    last side.
    """
    slowest = statistics.median(run.seconds for run in list(runs.values())[-1])
    rows = []
    for side, of in runs.items():
        seconds = statistics.median(run.seconds for run in of)
        processor = statistics.median(run.processor for run in of)
        rows.append(
            [
                side,
                f"{seconds:.0f}",
                f"{slowest / seconds:.2f}",
                f"{processor:.0f}",
                f"{max(run.peak_bytes for run in of) / 2**20:.0f}",
                ", ".join(sorted({run.verdict for run in of})),
            ]
        )
    head = ["", "seconds", "times faster", "processor, s", "memory, MiB", "verdict"]
    return "\n" + markdown(head, rows)


if __name__ == "__main__":
    main()
