"""The same trials by a plain Optuna + Seq2SeqTrainer + PEFT script and by packs of adapters, side
by side.

    python benchmarks/makespan.py                                  the shipped corpus and model, all tables
    python benchmarks/makespan.py --trials 2 --steps 6 --utterances 24     a quick look
    python benchmarks/makespan.py --device cuda --config streaming-tiny --k 32     or v1-tiny
                                                                   the real size, random weights, on a GPU

Every row is a fresh process (or several), timed from before it starts to after it ends. All figures
of a run are of one machine, one after the other; compare them with each other, not with another
run's. See docs/performance.md.
"""

from __future__ import annotations

import argparse
import platform
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from _shared import workload
from _shared.arithmetic import operations
from _shared.sides import Measured, Sides
from _shared.tables import growth_table, peer_table, row_table, wer_table

HERE = Path(__file__).parent
ROOT = HERE.parent
PARTS = ("plain", "one", "onednn", "concurrent", "packed", "k", "n", "bf16", "peer")
"""The parts that --only may name, in order: the plain script with one process per trial, in one
process, both of these with oneDNN's matrix products, and with several processes at once; packs; the
growth of the makespan with the size of the pack and with the number of trials; packs in bf16; the
model authors' own tool.
"""
SHIPPED = ("plain", "one", "packed", "k", "n")
"""The parts that run by default on the shipped model."""


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, help="12; of a real size as many as --k")
    parser.add_argument("--steps", type=int, default=30, help="optimizer steps a trial")
    parser.add_argument("--rungs", type=int, default=2, help="evaluations a trial")
    parser.add_argument(
        "--utterances", type=int, default=60, help="of each of the two evaluation sets"
    )
    parser.add_argument("--only", help=f"comma-separated parts: {', '.join(PARTS)}")
    parser.add_argument("--data", type=Path, default=ROOT / "data", help="folder of the manifests")
    parser.add_argument("--model", type=Path, default=ROOT / "data" / "base-model")
    parser.add_argument(
        "--repeats", type=int, default=1, help="runs of each row; the median is shown"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--config", choices=("shipped", *workload.REAL_SIZES), default="shipped")
    parser.add_argument("--k", type=int, default=8, help="largest pack of the growth table")
    parser.add_argument("--processes", type=int, default=12, help="of the part `concurrent`")
    parser.add_argument(
        "--plain-trials",
        type=int,
        help="run the plain script on so many trials and scale (marked ~)",
    )
    parser.add_argument("--peer-steps", type=int, default=600, help="of the part `peer`")
    parser.add_argument(
        "--tokens-per-second", type=float, help="cap of decoding; 13, or 6.5 of a real size"
    )
    return parser.parse_args()


def parts(chosen: argparse.Namespace) -> tuple[str, ...]:
    """Return the parts to run: those of --only, else the defaults. A model of a real size has packs
    of every size as rows of the first table, and on a GPU the part `concurrent`, which makes sense
    only there. Raises SystemExit for an unknown part.
    """
    if chosen.only is None:
        if chosen.config == "shipped":
            return SHIPPED
        return ("plain", "concurrent", "k") if chosen.device == "cuda" else ("plain", "k")
    asked = tuple(chosen.only.split(","))
    if wrong := [part for part in asked if part not in PARTS]:
        raise SystemExit(f"--only {wrong[0]}: allowed are {', '.join(PARTS)}")
    return asked


def ceiling(device: str, kind: str = "float32") -> float:
    """Measure the floating-point operations per second of large matrix products, in a process of
    its own.
    """
    command = [sys.executable, str(HERE / "_shared" / "gemm.py"), device, kind]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout) * 1e9


def prepare(chosen: argparse.Namespace, folder: Path) -> workload.Workload:
    """Build the workload that the options describe."""
    data, model, rate = chosen.data.resolve(), chosen.model.resolve(), 13.0
    if chosen.config != "shipped":
        train = chosen.steps * workload.BATCH // 2
        data, model = workload.real_size(folder, chosen.config, train, chosen.utterances)
        rate = 6.5
    trials = chosen.trials or (chosen.k if chosen.config != "shipped" else 12)
    return workload.build(
        folder,
        data,
        model,
        trials,
        chosen.steps,
        chosen.rungs,
        chosen.utterances,
        chosen.tokens_per_second or rate,
    )


def rows(sides: Sides, asked: tuple[str, ...], chosen: argparse.Namespace) -> list[Measured]:
    """Measure the rows of the first table."""
    found = []
    if "plain" in asked:
        found.append(sides.plain_processes(1))
    if "one" in asked:
        found.append(sides.plain_in_one())
    if "onednn" in asked:
        found += [sides.plain_processes(1, onednn=True), sides.plain_in_one(onednn=True)]
    if "concurrent" in asked:
        found.append(sides.plain_processes(chosen.processes))
    if "packed" in asked:
        found += [sides.packed(pack) for pack in (1, 4, "auto")]
    if "k" in asked and chosen.config != "shipped":
        found += [sides.packed(pack) for pack in packs(chosen.k)]
    return found


def packs(largest: int) -> list[int]:
    """Return the sizes of packs to measure: 1, 2, 4, ... up to `largest`."""
    return [2**i for i in range(largest.bit_length()) if 2**i <= largest]


def counts(trials: int) -> list[int]:
    """Return the numbers of trials to measure: a third, two thirds and all of `trials`."""
    return sorted({max(1, trials // 3), max(1, 2 * trials // 3), trials})


def main() -> None:
    chosen = options()
    asked = parts(chosen)
    # end as with Ctrl+C: the process that is being measured is stopped, the temporary folder
    # removed
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("makespan.py: terminated"))
    if chosen.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            print(
                "--device cuda: torch finds no CUDA device on this machine; use --device cpu",
                file=sys.stderr,
            )
            raise SystemExit(2)
    with tempfile.TemporaryDirectory(prefix="makespan-") as name:
        folder = Path(name).resolve()
        work = prepare(chosen, folder)
        limit = ceiling(chosen.device)
        sides = Sides(work, chosen.device, chosen.repeats, chosen.plain_trials)
        trials = len(work.points)
        sets = sum(len(work.rows(name)) for name in ("domain", "heldout"))
        print(
            f"{trials} trials of {work.steps} steps of {workload.BATCH} utterances, {work.rungs} evaluations each on "
            f"{sets} utterances; {work.model.name}\n"
            f"{platform.machine()}, {chosen.device}, Python {platform.python_version()}, "
            f"float32 matrix products at {limit / 1e9:.0f} GFLOP/s\n"
            f"Useful arithmetic: {operations(work, trials, False) / 1e9:.0f} GFLOP, "
            f"{operations(work, trials, True) / 1e9:.0f} with what is frozen computed once\n",
            flush=True,
        )
        measured = rows(sides, asked, chosen)
        if measured:
            print(row_table(measured, work, limit), flush=True)
        if measured and chosen.config == "shipped":  # random weights say no words
            print(wer_table(measured, work), flush=True)
        if "k" in asked and chosen.config == "shipped":
            print(growth_table("K", [[sides.packed(k)] for k in packs(chosen.k)], work), flush=True)
        if "bf16" in asked:
            in_bf16 = [sides.packed(4), sides.packed(4, precision="trained in bf16")]
            in_bf16 += [sides.packed(pack, precision="bf16") for pack in (4, 1)]
            limit = ceiling(chosen.device, "bfloat16")
            print(f"bfloat16 matrix products at {limit / 1e9:.0f} GFLOP/s\n")
            print(row_table(in_bf16, work, limit), flush=True)
            if chosen.config == "shipped":
                print(wer_table(in_bf16, work), flush=True)
        if "peer" in asked:
            peer = sides.peer(chosen.data.resolve(), chosen.peer_steps)
            print(peer_table(sides.packed(4), *peer, chosen.peer_steps, work), flush=True)
        if "n" in asked:
            plain = [row for row in measured if len(row.ends) == trials]
            cut = [[*(row.first(n) for row in plain), sides.packed(4, n)] for n in counts(trials)]
            print(growth_table("N", cut, work), flush=True)


if __name__ == "__main__":
    main()
