"""The soak's short form: every kind of harm once. `make soak` is the long one."""

from __future__ import annotations

from pathlib import Path

from tests.faults.soak import Soak, table


def test_every_harm_once(tmp_path: Path) -> None:
    soak = Soak(tmp_path, seed=7)
    for harm in soak.harms:
        soak.attempt(harm, 0)
    assert not soak.broken, "\n".join(table(soak))
    assert sum(soak.counts.values()) == len(soak.harms)
