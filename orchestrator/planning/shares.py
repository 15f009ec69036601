"""What each of several packs has of its machine: where it computes, beside how many others, and what
part of the memory for frames. Pure; no machine is asked here.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

from orchestrator.sweepfile.sweep import Execution

Where = Literal["inline", "fork", "spawn", "ray"]


@dataclass(frozen=True)
class Share:
    """Of one pack; the same of all packs of a study."""

    where: Where
    """In this process, in one forked from it, in one that loads the model itself, or in an
    actor.
    """
    at_once: int
    """Packs that compute at the same time; the others wait for them."""
    holders: int
    """Processes of one machine that keep frames of their own: the memory for frames is divided
    among them. Packs inline and forked ones have them in common; with packs that load the model
    themselves, the process that they are started from is one more.
    """
    holders_a_device: int
    """Those of them that have one device in common, at the most."""


def share_of(execution: Execution, device: str, cores: int) -> Share:
    """`device` is the kind that was chosen, `cores` are those of the machine. With `packs` to be
    decided yet it is the share of one.
    """
    packs = 1 if execution.packs == "auto" else execution.packs
    each = cores if execution.cores == "auto" else execution.cores
    fit = max(1, min(packs, cores // each))
    where = _where(execution, device, cores)
    if where == "ray":
        return Share(where, at_once=packs, holders=fit, holders_a_device=1)
    if where == "spawn":
        devices = _devices(execution)
        return Share(where, min(packs, devices), packs + 1, -(-packs // devices) + 1)
    return Share(where, at_once=fit if where == "fork" else 1, holders=1, holders_a_device=1)


def _where(execution: Execution, device: str, cores: int) -> Where:
    if execution.launcher == "ray":
        return "ray"
    if execution.processes is False:
        return "inline"
    asked = execution.processes is True
    # several processes on one GPU only wait for each other
    if device == "cuda" and (asked or _devices(execution) > 1):
        return "spawn"
    if device == "cpu" and sys.platform == "linux" and (asked or cores > 1):
        return "fork"
    return "inline"


def _devices(execution: Execution) -> int:
    return max(1, len(set(execution.devices)))
