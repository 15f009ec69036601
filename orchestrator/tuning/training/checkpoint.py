"""The checkpoint of a worker: all its slots at one tick, in one file. It is written under another
name, fsynced and renamed, so it is whole or absent.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from orchestrator.errors import StudyError
from orchestrator.files.atomic import new_file
from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.writing import safely
from orchestrator.tuning.adapters.pack import Adapter
from orchestrator.tuning.training.pack_group import Slot

FILE = "slots.safetensors"


Shortage = dict[int, tuple[int, int]]
"""Entry depth -> `division` and `parts` of its pack group, which are above 1 where memory was
short. A run that continues takes them up, so that its sums are made in the same order.
"""


def save_slots(slots: Sequence[Slot], folder: Path, shortage: Shortage | None = None) -> None:
    """Write the adapter, optimizer moments and counters of every slot to `folder`, in order.

    Tensors are named number/kind/module/part, where the kind is adapter, exp_avg, exp_avg_sq or
    summed. Raises StudyError where the disk refuses.
    """
    tensors: dict[str, Tensor] = {}
    described = []
    for slot in slots:
        number = slot.plan.number
        for name, parts in slot.adapter.modules.items():
            tensors |= {f"{number}/adapter/{name}/{part}": tensor for part, tensor in parts.items()}
        kinds = {"exp_avg": slot.exp_avg, "exp_avg_sq": slot.exp_avg_sq, "summed": slot.summed}
        for kind, moments in kinds.items():
            tensors |= {
                f"{number}/{kind}/{name}/{part}": tensor for (name, part), tensor in moments.items()
            }
        described.append(
            {
                "number": number,
                "recipe": slot.plan.recipe,
                "targets": slot.targets,
                "scaling": slot.adapter.scaling,
                "step": slot.step,
                "loss_sum": slot.loss_sum,
                "loss_steps": slot.loss_steps,
                "ended": slot.ended,
            }
        )
    # a placeholder where there is no slot, so that the file always holds a tensor
    kept = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()} or {
        "empty": torch.zeros(1)
    }
    needed = sum(tensor.nbytes for tensor in kept.values())
    with safely(folder / FILE, needed), new_file(folder / FILE) as aside:
        save_file(
            kept,
            aside,
            metadata={"slots": json.dumps(described), "groups": json.dumps(shortage or {})},
        )


def load_slots(
    folder: Path, plans: dict[int, TrialPlan], device: torch.device
) -> tuple[list[Slot], Shortage]:
    """Return the slots of a checkpoint, in order, and its `Shortage`. Raises StudyError when it is
    damaged or belongs to other plans."""
    path = folder / FILE
    try:
        with safe_open(path, "pt", device=str(device)) as file:
            described = json.loads(file.metadata()["slots"])
            groups = json.loads(file.metadata().get("groups", "{}"))
            shortage = {
                int(depth): (int(division), int(parts))
                for depth, (division, parts) in groups.items()
            }
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise StudyError(
            f"{path} is damaged ({error}); delete the folder {folder}: trials in flight then start over, "
            f"nothing else is lost"
        ) from error
    slots = []
    for row in described:
        plan = plans.get(row["number"])
        if plan is None or plan.recipe != row["recipe"]:
            raise StudyError(
                f"{path} holds trial {row['number']} with another plan than the study; delete the folder {folder}: "
                f"trials in flight then start over, nothing else is lost"
            )
        slots.append(_restore_slot(plan, row, tensors))
    return slots, shortage


def _restore_slot(plan: TrialPlan, row: dict[str, Any], tensors: dict[str, Tensor]) -> Slot:
    """Make a slot of its description in the file's metadata and of its tensors among `tensors`."""
    groups: dict[str, dict[tuple[str, str], Tensor]] = {
        "adapter": {},
        "exp_avg": {},
        "exp_avg_sq": {},
        "summed": {},
    }
    for key, tensor in tensors.items():
        number, _, rest = key.partition("/")
        if number == str(plan.number):
            kind, name, part = rest.split("/")
            groups[kind][name, part] = tensor
    modules: dict[str, dict[str, Tensor]] = {}
    for (name, part), tensor in groups["adapter"].items():
        modules.setdefault(name, {})[part] = tensor
    ordered = {name: modules[name] for name in row["targets"]}
    adapter = Adapter(row["scaling"], plan.params.lora_dropout, plan.params.seed, ordered)
    return Slot(
        plan,
        tuple(row["targets"]),
        adapter,
        row["step"],
        groups["exp_avg"],
        groups["exp_avg_sq"],
        row["loss_sum"],
        row["loss_steps"],
        row["ended"],
        groups["summed"],
    )
