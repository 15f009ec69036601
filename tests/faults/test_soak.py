"""The soak's short forms. `make soak` is the long one."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import harms, system_calls
from tests.faults.soak import Soak, table

needs_system_calls = pytest.mark.skipif(
    bool(system_calls.missing()), reason=system_calls.missing() or "can be"
)


def test_a_kill_and_a_lost_file(tmp_path: Path) -> None:
    soak = Soak(tmp_path, seed=7)
    for harm in (harms.kill, harms.lost):
        soak.attempt(harm, 0)
    assert not soak.broken, "\n".join(table(soak))
    assert sum(soak.counts.values()) == 2


def test_no_harm_is_left_out() -> None:
    tried = {harm.__name__ for harm in (*harms.ANYWHERE, *harms.AT_CALLS, *harms.ON_LINUX)}
    written = {
        name
        for name, value in vars(harms).items()
        if inspect.isfunction(value) and list(inspect.signature(value).parameters) == ["attempt"]
        if not name.startswith("_")
    }
    assert tried == written


@pytest.mark.slow
def test_every_harm_three_times() -> None:
    command = [sys.executable, "-m", "tests.faults.soak", "--rounds", "3", "--seed", "7"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr


AT_A_CALL = """
import os, sys
from pathlib import Path
from tests.faults.system_calls import Fault, arm, counted

folder = Path(sys.argv[1])
arm(folder, int(sys.argv[2]), Fault[sys.argv[3]], int(sys.argv[4]))
(folder / "new").write_bytes(b"0123456789")  # calls 1 and 2
os.replace(folder / "new", folder / "named")  # call 3
print(counted())
"""


@needs_system_calls
@pytest.mark.parametrize(
    ("fault", "call", "code", "left"),
    [
        ("COUNT", 0, 0, {"named": b"0123456789"}),
        ("KILL", 2, -9, {"new": b""}),
        ("TEAR", 2, -9, {"new": b"01234"}),
        ("KILL", 3, -9, {"new": b"0123456789"}),
        ("REFUSE", 2, 1, {"new": b""}),
        ("FULL", 2, 1, {"new": b"01234"}),
        ("SHORT", 2, 0, {"named": b"0123456789"}),  # Python writes the rest
        ("REFUSE", 4, 0, {"named": b"0123456789"}),
    ],
)
def test_a_system_call_fails_where_it_shall(
    tmp_path: Path, fault: str, call: int, code: int, left: dict[str, bytes]
) -> None:
    words = [str(tmp_path), str(call), fault, "5"]
    ended = subprocess.run(
        [sys.executable, "-c", AT_A_CALL, *words],
        env=system_calls.environment() | {"PYTHONPATH": ":".join(filter(None, sys.path))},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == code, ended.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == left
    calls = 4 if fault == "SHORT" else 3
    assert code != 0 or ended.stdout == f"{calls}\n"
