"""Does torch.compile pay? Packed optimizer steps as they are, and with the layers of encoder and
decoder compiled.

    python benchmarks/compiled.py [--k 4] [--targets mixed] [--mode reduce-overhead]

Both sides take turns, so that what else the machine does meets both. `--mode reduce-overhead` is
CUDA graphs. The last line says after how many steps of the pack the compiling is paid back; a trial
of the quickstart has 100 or 150.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from _shared import workload
from _shared.tables import markdown

TURNS = 5


def options() -> argparse.Namespace:
    parser = workload.pack_parser(__doc__)
    parser.add_argument("--steps", type=int, default=10, help="optimizer steps a turn")
    parser.add_argument("--mode", default="default", help="of torch.compile")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    return parser.parse_args()


def main() -> None:
    chosen = options()
    with tempfile.TemporaryDirectory(prefix="compiled-") as name:
        steps = (2 * TURNS + 3) * chosen.steps
        work = workload.build(
            Path(name).resolve(),
            chosen.data.resolve(),
            chosen.model.resolve(),
            3 * chosen.k,
            steps,
            1,
            8,
            13.0,
        )
        print(compare(work, chosen))


def compare(work: workload.Workload, chosen: argparse.Namespace) -> str:
    """Time packed steps with and without torch.compile; return a Markdown table and a summary."""
    import torch
    from _shared.packs import filled

    from orchestrator.tuning.model import families
    from orchestrator.tuning.model.decoder import Decoder

    worker, groups = filled(work, chosen.k, chosen.targets, chosen.device)
    eager = families.encoder_layer, Decoder.__call__
    compiled = tuple(torch.compile(each, dynamic=True, mode=chosen.mode) for each in eager)

    def seconds(sides: tuple[Callable[..., object], ...]) -> float:
        """Return the seconds of `chosen.steps` optimizer steps with the encoder layer and the
        decoder of `sides`. Each step ends with its losses on the host, so a GPU is done by then.
        """
        families.encoder_layer, Decoder.__call__ = sides  # type: ignore[assignment, method-assign]
        began = time.perf_counter()
        for _ in range(chosen.steps):
            for group in groups:
                group.step(worker.base, worker.store, worker.data)
        return time.perf_counter() - began

    # the first turn compiles and fills caches, and is shown by itself
    first = seconds(eager), seconds(compiled)
    turns = [(seconds(eager), seconds(compiled)) for _ in range(TURNS)]
    step = [statistics.median(turn[side] for turn in turns) / chosen.steps for side in (0, 1)]
    rows = [
        [name, f"{first[side]:.1f}", f"{1000 * step[side]:.0f}", f"{step[0] / step[side]:.2f}"]
        for side, name in enumerate(("eager", f"torch.compile, {chosen.mode}"))
    ]
    head = ["", f"first {chosen.steps} steps, s", "later a step, ms", "times faster"]
    gained = step[0] - step[1]
    paid = f"after {(first[1] - first[0]) / gained:.0f} steps" if gained > 0 else "never"
    return (
        f"K = {chosen.k}, {chosen.targets} targets, {work.model.name}, {chosen.device}\n\n"
        f"{markdown(head, rows)}\nPaid back {paid}."
    )


if __name__ == "__main__":
    main()
