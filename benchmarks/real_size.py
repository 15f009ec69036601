"""Four trials of sweeps/phase3.yaml at the size of the published model, and what `plan --probe` said
of them before.

    python benchmarks/real_size.py [--against PATH_OR_REF] [--utterances 500] [--max-steps 20] [--repeats 2]

The model is streaming-tiny (44 M parameters with the untied head) with random weights, the speech
noise of 2 to 6 s with made-up texts; two rungs, the scales of phase3 at the last, no limit that ends
a trial early. Random weights seldom end a sentence by themselves: nearly every decode runs to its
cap of 3.5 tokens a second, and drafts are hardly ever right, so evaluation is shown at its worst.
With `--against` another checkout runs the same file, by turns with ours.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from _shared import ROOT
from _shared.checkouts import checkout, command_of
from _shared.processes import Usage, run_all
from _shared.sides import VERDICTS
from _shared.workload import NAMES, real_size
from ruamel.yaml import YAML

TRIALS: tuple[dict[str, Any], ...] = (
    {"target_modules": "decoder-attention", "adapter": "lora", "rank": 8, "learning_rate": 3e-4},
    {"target_modules": "attention", "adapter": "lora", "rank": 16, "learning_rate": 1e-4},
    {"target_modules": "all-linear", "adapter": "dora", "rank": 8, "learning_rate": 1e-4},
    {"target_modules": "attention", "adapter": "pissa", "rank": 32, "learning_rate": 5e-5},
)
NO_LIMIT = {"heldout_wer": {"max_regression": 10_000}}  # in WER points: never reached


def main() -> None:
    """Make the model and the speech, print what `plan --probe` says, and run the sides by turns."""
    chosen = _options()
    with (
        checkout(chosen.against) as other,
        tempfile.TemporaryDirectory(prefix="real-size-") as name,
    ):
        folder = Path(name).resolve()
        data, model = real_size(folder, "streaming-tiny", 8 * chosen.max_steps, chosen.utterances)
        sweep = _write_sweep(folder, data, model, chosen.max_steps, chosen.pack)
        print(f"{len(TRIALS)} trials of {chosen.max_steps} steps of 8 utterances, heard twice on "
              f"{2 * chosen.utterances} utterances, at the last step at three scales\n", flush=True)  # fmt: skip
        print(_time_said(sweep, folder), end="\n\n", flush=True)
        sides = {"ours": ROOT} | ({chosen.against: other} if other else {})
        runs: dict[str, list[Usage]] = {side: [] for side in sides}
        for turn in range(chosen.repeats):
            for side, path in sides.items():
                runs[side].append(_run_sweep(sweep, path, folder / f"{path.name}-{turn}"))
                print(f"{side}: {runs[side][-1].seconds:.0f} s", flush=True)
        print(_table(runs))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", help="another checkout: a folder or a git reference")
    parser.add_argument("--utterances", type=int, default=500, help="of each evaluation set")
    parser.add_argument("--max-steps", type=int, default=20, help="optimizer steps a trial")
    parser.add_argument("--pack", default="auto", help="execution.pack of both sides")
    parser.add_argument("--repeats", type=int, default=1, help="runs of each side")
    return parser.parse_args()


def _write_sweep(folder: Path, data: Path, model: Path, steps: int, pack: str) -> Path:
    """Write sweeps/phase3.yaml with another model, other data, fewer steps and no limits."""
    sweep = YAML(typ="safe").load((ROOT / "sweeps" / "phase3.yaml").read_text())
    sweep["model"] = {"id": str(model)}
    sweep["data"] = {name: str(data / NAMES[name][0]) for name in ("train", "domain", "heldout")}
    sweep["evaluation"] |= {"max_tokens_per_second": 3.5, "every": -(-steps // 2)}
    sweep["parameters"]["max_steps"] = steps
    sweep["start_with"] = list(TRIALS)
    sweep["guardrails"] = sweep["acceptance"] = NO_LIMIT
    sweep["budget"] = {"trials": len(TRIALS)}
    sweep["execution"]["pack"] = pack if pack == "auto" else int(pack)
    path = folder / "phase3.yaml"
    path.write_text(json.dumps(sweep))
    return path


def _time_said(sweep: Path, folder: Path) -> str:
    """Run `plan --probe` and return the sentence in which it predicts the time of the sweep."""
    command, environment = _command(sweep, "plan", ROOT, folder / "probe")
    done = subprocess.run(
        [*command, "--probe"], env=environment, capture_output=True, text=True, check=True
    )
    return time_in(done.stdout)


def time_in(plan: str) -> str:
    """Return the point of what `plan` prints that estimates the time of the sweep."""
    points = re.split(r"\n *- ", plan)
    return " ".join(next(said for said in points if "trials are pruned" in said).split())


def _run_sweep(sweep: Path, path: Path, studies: Path) -> Usage:
    command, environment = _command(sweep, "run", path, studies)
    return run_all([[*command, "--quiet"]], accepted=VERDICTS, environment=environment)


def _command(sweep: Path, name: str, path: Path, studies: Path) -> tuple[list[str], dict[str, str]]:
    """Return a command line of the checkout at `path`, and its environment."""
    command, environment = command_of(path, name, str(sweep), "--studies", str(studies))
    return command, environment | {"COLUMNS": "400"}


def _table(runs: dict[str, list[Usage]]) -> str:
    """Return a Markdown table: median seconds of each side, how many times faster it was than the
    last side, and its peak memory.
    """
    seconds = {side: statistics.median(run.seconds for run in of) for side, of in runs.items()}
    peaks = {side: max(run.peak_bytes for run in of) / 2**20 for side, of in runs.items()}
    slowest = list(seconds.values())[-1]
    rows = [
        f"| {side} | {seconds[side]:.1f} | {slowest / seconds[side]:.2f} | {peaks[side]:.0f} |"
        for side in runs
    ]
    head = "| | seconds | times faster | memory, MiB |\n| --- | --- | --- | --- |"
    return "\n".join(["", head, *rows])


if __name__ == "__main__":
    main()
