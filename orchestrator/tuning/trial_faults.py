"""What went wrong in one trial, as a value: an exception would keep the memory of its frames."""

from __future__ import annotations

import gc
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

from orchestrator.errors import ModelError

Result = TypeVar("Result")

_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "status_alloc_failed",  # cuBLAS and cuDNN, of their own workspaces
)
_TRIED = re.compile(r"tried to allocate ([\d.]+) ?(bytes|[KMGT]iB)", re.IGNORECASE)
_UNITS = {"bytes": 1.0, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30, "tib": 2.0**40}
LONGEST = 200
"""Characters of a foreign message that are shown."""


@dataclass(frozen=True)
class Fault:
    """Why a trial cannot go on."""

    reason: str
    traceback: str = ""
    memory: bool = False
    """Less at once might do."""


@dataclass(frozen=True)
class Done(Generic[Result]):
    """What an attempt gave."""

    value: Result


def attempt(work: Callable[[], Result], device: torch.device) -> Done[Result] | Fault:
    """`work`, or what went wrong in it, with the memory that it took freed.

    Raises Interrupted, which is no fault of a trial, and ModelError where the device itself has
    failed.
    """
    try:
        return Done(work())
    except Exception as error:  # any: what one trial meets must not end the others
        fault = fault_of(error)
    free_memory(device)
    return fault


def fault_of(error: Exception) -> Fault:
    """The fault that an exception stands for."""
    told = "".join(traceback.format_exception(error))
    if is_out_of_memory(error):
        return Fault(f"out of memory{memory_needed(str(error))}", told, memory=True)
    said = " ".join(str(error).split())
    said = f"{said[:LONGEST]}..." if len(said) > LONGEST else said
    return Fault(f"{type(error).__name__}: {said}" if said else type(error).__name__, told)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether less at once might do: torch says so in several ways."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _MEMORY)


def memory_needed(message: str) -> str:
    """How much was asked for in vain, where the message says it."""
    found = _TRIED.search(message)
    if found is None:
        return ""
    return f", {float(found[1].rstrip('.')) * _UNITS[found[2].lower()] / 2**20:,.0f} MiB more were needed at once"


def free_memory(device: torch.device) -> None:
    """Give back what a failed attempt held. Raises ModelError where the device does not answer any
    more.
    """
    gc.collect()
    if device.type != "cuda":
        return
    try:
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
    except RuntimeError as error:
        raise ModelError(
            f"the GPU has failed and this process cannot use it any more: {str(error).splitlines()[0][:LONGEST]}\n"
            "  Nothing that was measured is lost: the same command continues from the last checkpoint."
        ) from error


@contextmanager
def enough_memory(what: str) -> Iterator[None]:
    """Within the block running out of memory is a sentence: what belongs to no trial cannot fail
    alone.

    Raises ModelError then.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise ModelError(
            f"{what}: out of memory{memory_needed(str(error))}\n"
            "  End what else runs on this machine, take another execution.device, or shorter and fewer clips."
        ) from error
