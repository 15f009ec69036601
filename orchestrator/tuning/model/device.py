"""The device that a sweep runs on."""

from __future__ import annotations

import torch

from orchestrator.errors import ModelError
from orchestrator.host.machine import machine_memory
from orchestrator.sweepfile.evaluation import Precision


def choose_device(
    requested: str, asked_by: str = "execution.device"
) -> tuple[torch.device, tuple[str, ...]]:
    """Return the device for `requested`, and notes for the study when `auto` found no CUDA device.
    On CUDA, TensorFloat-32 is switched off for this process from then on.

    `asked_by` is the field of the sweep file, or the option, that messages name. Raises ModelError
    when a device is asked for by name and is not there.
    """
    device, notes = _available_device(requested, asked_by)
    if device.type == "cuda":
        compute_float32_exactly()
    return device, notes


def compute_float32_exactly() -> None:
    """Switch TensorFloat-32 off: torch would round the operands of float32 convolutions to ten
    bits, in the front end of every clip.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def autocast_to(precision: Precision, device: torch.device) -> torch.autocast:
    """Return the context in which a float32 model computes in a precision of the sweep file: bf16
    stands for products in bfloat16.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def _available_device(requested: str, asked_by: str) -> tuple[torch.device, tuple[str, ...]]:
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if requested != "auto":
        kind, _, number = requested.partition(":")
        missing_gpu = bool(number) and int(number) >= torch.cuda.device_count()
        if not available[kind] or missing_gpu:
            there = ", ".join(name for name, here in available.items() if here)
            if missing_gpu and available[kind]:
                there = ", ".join(f"cuda:{index}" for index in range(torch.cuda.device_count()))
            raise ModelError(
                f"{asked_by}: {requested} is not available here; allowed: auto, {there}"
            )
        if number:
            torch.cuda.set_device(int(number))
        return torch.device(requested), ()
    chosen = next(name for name in ("cuda", "mps", "cpu") if available[name])
    if chosen == "cuda":
        return torch.device(chosen), ()
    missing = "CUDA" if chosen == "mps" else "CUDA and MPS"
    return torch.device(chosen), (
        f"device {chosen}: {missing} not available to torch {torch.__version__}",
    )


def memory_of(device: torch.device) -> int:
    """Return the bytes of memory that a device has in all. A CPU and MPS have the machine's, or
    what a container allows of it.
    """
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return machine_memory()


def hardware(device: torch.device) -> dict[str, str]:
    """Return what the rounding of a result depends on: of a GPU its name, of a CPU the instruction
    set that torch chose for it (ATEN_CPU_CAPABILITY chooses another). Empty for other devices.
    """
    if device.type == "cuda":
        return {"GPU": torch.cuda.get_device_name(device)}
    if device.type == "cpu":
        return {"instructions of the CPU": torch.backends.cpu.get_cpu_capability()}
    return {}
