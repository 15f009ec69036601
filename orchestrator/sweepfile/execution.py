"""The section `execution` of a sweep file: where and how a sweep is computed."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from orchestrator.sweepfile.frozen import Frozen


def _device_name(text: str) -> str:
    if not re.fullmatch(r"cpu|cuda(:[0-9]{1,3})?", text):
        raise ValueError("cpu, cuda, or one GPU of several such as cuda:1")
    return text


Device = Annotated[str, AfterValidator(_device_name)]
"""cpu, cuda, or one GPU of several: cuda:1."""


KernelName = Literal["aten", "onednn"]
"""Which of torch's libraries computes the linear layers."""


MOST_PACKS = 64
_Gigabytes = Annotated[float, Field(gt=0, le=1_000_000)]
"""An amount of memory or disk in GB, at most a petabyte."""


class Execution(Frozen):
    """Where and how the sweep is computed; never part of its identity."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto: CUDA if it is there, else MPS, else the CPU."""
    pack: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """Number of adapters that one pack trains at once, its slots."""
    packs: Literal["auto"] | Annotated[int, Field(ge=1, le=MOST_PACKS)] = "auto"
    """Number of packs that train side by side. Like `pack` it is part of what a study is, which
    keeps the number that it began with.
    """
    cores: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """Number of CPU cores for each pack. Sums are rounded differently with another number, so a
    study keeps it too.
    """
    kernel: Literal["auto"] | KernelName = "auto"
    """Library that computes the linear layers. Another one rounds differently, so a study keeps it
    too.
    """
    devices: tuple[Device, ...] = ()
    """Devices on which the packs are placed in turn, one that is named twice twice a turn; if there
    are none, all packs are on `device`.
    """
    processes: Literal["auto"] | bool = "auto"
    """Whether each pack has a process of its own. It changes the time and nothing else."""
    launcher: Literal["local", "ray"] = "local"
    """ray: each pack is an actor on a machine of the Ray cluster, which is joined at the start."""
    memory_gb: Literal["auto"] | _Gigabytes = "auto"
    """Memory in GB that the frames which all trials share may take; frames that do not fit are
    computed anew whenever they are needed.
    """
    cache_gb: _Gigabytes = 20.0
    """Disk space in GB that the decoded sound of all studies of the project may take. The sound of
    the study itself stays in any case.
    """

    @property
    def first_device(self) -> str:
        """The device of the process that the command starts."""
        return self.devices[0] if self.devices else self.device

    def device_of(self, pack: int) -> str:
        """Return the device on which a pack is placed."""
        devices = self.devices or (self.device,)
        return devices[pack % len(devices)]

    @property
    def in_flight(self) -> int | None:
        """The number of trials that train at the same time; None while `pack` or `packs`
        is auto.
        """
        if self.pack == "auto" or self.packs == "auto":
            return None
        return self.packs * self.pack
