"""How long one waits for a command that trains nothing: a process each, from its start to its end.

    python benchmarks/commands.py [--commands validate,plan] [--repeats 15] [--against PATH_OR_REF]

The sweep is the shipped quickstart, whose recordings are known from a run before, which is not
counted. With `--against` each command is run in another checkout as well, by turns: a folder, or a
git reference, of which a worktree is made and removed. Compare the rows of one run only.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from _shared import ROOT
from _shared.checkouts import checkout, command_of
from _shared.tables import markdown

SPEC = "sweeps/quickstart.yaml"
HEAD = ("", "median, ms", "least, ms", "processor time, median, ms")


def main() -> None:
    """Measure and print."""
    options = _options()
    with checkout(options.against) as other:
        places = {"": ROOT} | ({f", {options.against}": other} if other else {})
        lines = []
        for command in options.commands.split(","):
            taken: dict[str, list[tuple[float, float]]] = {name: [] for name in places}
            for turn in range(options.repeats + 1):
                for name, place in places.items():
                    times = time_command(place, command)
                    if turn:
                        taken[name].append(times)
            lines += [_line(f"{command}{name}", times) for name, times in taken.items()]
    print(markdown(HEAD, lines))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--commands", default="--help,validate,plan", help="such as validate,plan")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--against", help="another checkout: a folder or a git reference")
    return parser.parse_args()


def time_command(place: Path, command: str) -> tuple[float, float]:
    """Run a command of the checkout at `place` and return its wall-clock and processor time in
    seconds. Ends the program where the command fails.
    """
    arguments = [command] if command.startswith("-") else [command, SPEC]
    line, environment = command_of(place, *arguments)
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(line, cwd=place, env=environment, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{command} in {place} ended with exit code {done.returncode}")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, used


def _line(name: str, times: list[tuple[float, float]]) -> list[str]:
    wall, used = ([1000 * row[column] for row in times] for column in (0, 1))
    return [
        name,
        *(
            f"{value:.0f}"
            for value in (statistics.median(wall), min(wall), statistics.median(used))
        ),
    ]


if __name__ == "__main__":
    main()
