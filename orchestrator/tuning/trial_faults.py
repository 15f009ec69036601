"""Faults: what went wrong in one trial, as a value. An exception that is kept would keep its stack
frames, and with them the tensors, alive.
"""

from __future__ import annotations

import gc
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

from orchestrator.errors import ManifestError, ModelError

Result = TypeVar("Result")

_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "status_alloc_failed",  # by cuBLAS and cuDNN, about their own workspaces
    "std::bad_alloc",  # by C++, about whatever is no tensor
)
"""Parts of the messages by which out-of-memory errors are recognised."""
_MEMORY_OF_ONEDNN = frozenset(
    {
        "could not create a primitive",
        "could not create a memory object",
        "could not execute a primitive",
    }
)
"""Whole messages of oneDNN, which computes on CPUs, where it gets no memory for an operation. It
does not say why; an operation that it lacks is refused earlier, at its primitive descriptor.
"""
_NO_THREAD = "can't start new thread"
"""Python's own message."""
_TRIED = re.compile(r"tried to allocate ([\d.]+) ?(bytes|[KMGT]iB)", re.IGNORECASE)
_UNITS = {"bytes": 1.0, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30, "tib": 2.0**40}
LONGEST = 200
"""The most characters of another library's message that are shown."""


@dataclass(frozen=True)
class Fault:
    """Why a trial cannot go on."""

    reason: str
    traceback: str = ""
    memory: bool = False
    """Whether memory ran out, so that the same work on less at once may succeed."""


@dataclass(frozen=True)
class Done(Generic[Result]):
    """The result of an attempt that succeeded."""

    value: Result


def attempt(work: Callable[[], Result], device: torch.device) -> Done[Result] | Fault:
    """Return the result of `work`, or what went wrong in it, after freeing the memory that it took.

    Raises Interrupted, ManifestError, and RuntimeError where the system lets no thread start, which
    are no faults of a trial: recordings that cannot be read would end every trial that follows.
    Raises ModelError where the device itself has failed.
    """
    try:
        return Done(work())
    except ManifestError:
        raise
    except Exception as error:  # of any kind: an error in one trial must not end the others
        if _NO_THREAD in str(error):
            raise
        fault = fault_of(error)
    # outside of the handler, in which the exception still holds the tensors of its stack frames
    free_memory(device)
    return fault


def fault_of(error: Exception) -> Fault:
    """Return the fault that describes an exception."""
    told = "".join(traceback.format_exception(error))
    if is_out_of_memory(error):
        return Fault(f"out of memory{memory_needed(str(error))}", told, memory=True)
    said = " ".join(str(error).split())
    said = f"{said[:LONGEST]}..." if len(said) > LONGEST else said
    return Fault(f"{type(error).__name__}: {said}" if said else type(error).__name__, told)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out, which torch reports in several ways."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and (
        said in _MEMORY_OF_ONEDNN or any(words in said for words in _MEMORY)
    )


def memory_needed(message: str) -> str:
    """Return a phrase with the amount of memory that was asked for in vain, where the message of an
    error says it; empty where it does not.
    """
    found = _TRIED.search(message)
    if found is None:
        return ""
    return f", {float(found[1].rstrip('.')) * _UNITS[found[2].lower()] / 2**20:,.0f} MiB more were needed at once"


def free_memory(device: torch.device) -> None:
    """Free the memory that a failed attempt held. Raises ModelError where the device does not
    answer any more.
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
    """A context that raises ModelError, which begins with `what`, where memory runs out within it.
    It is for work that belongs to no single trial, which could fail alone.
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
