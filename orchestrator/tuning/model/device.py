"""Which device a sweep runs on."""

from __future__ import annotations

import torch

from orchestrator.errors import ModelError


def choose_device(requested: str) -> tuple[torch.device, tuple[str, ...]]:
    """The device for `execution.device`, and notes for the study when `auto` had to fall back.

    Raises ModelError when a device is asked for by name and is not there.
    """
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
                f"execution.device: {requested} is not available here; allowed: auto, {there}"
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


def hardware(device: torch.device) -> dict[str, str]:
    """The kind of a device as far as a rounding depends on it: of a GPU its name, of a CPU the
    instructions that torch chose for it (ATEN_CPU_CAPABILITY chooses others).
    """
    if device.type == "cuda":
        return {"GPU": torch.cuda.get_device_name(device)}
    if device.type == "cpu":
        return {"instructions of the CPU": torch.backends.cpu.get_cpu_capability()}
    return {}
