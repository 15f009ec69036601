"""Which modules a trial adapts, how its adapter is initialised, and how it is exported as a folder
that stock PEFT loads.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import peft
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from orchestrator.errors import ModelError
from orchestrator.files.atomic import as_refusals_of
from orchestrator.planning.trial_plan import TrialParams
from orchestrator.records.writing import safely
from orchestrator.sweepfile.layer_ranges import fault_of_layers, layers_of
from orchestrator.sweepfile.presets import matches
from orchestrator.sweepfile.sweep import ModelSpec
from orchestrator.tuning.adapters.pack import Adapter
from orchestrator.tuning.adapters.packed_linear import PackedLinear, row_norm
from orchestrator.tuning.model.linear_kernels import FrozenLinear

ROOT = "model."
"""The prefix of the module paths of a stock model. Target patterns are matched without it, so
`decoder.*` means the decoder of either family.
"""


def resolve_targets(
    modules: Mapping[str, nn.Module], patterns: Iterable[str], layers: str = "all"
) -> tuple[str, ...]:
    """Return the module paths below `model.` that the patterns match, in the model's order, of
    those blocks of the encoder and of the decoder that `layers` names.

    Raises ModelError when a pattern matches nothing, or anything but a plain linear layer of the
    encoder's or the decoder's blocks: PEFT would ignore the first silently and fail obscurely on
    the second. Also when a stack (encoder or decoder) that the patterns reach does not have those
    layers, or has no target in them.
    """
    chosen: set[str] = set()
    for pattern in patterns:
        hits = [name for name in modules if matches(pattern, name)]
        if not hits:
            near = difflib.get_close_matches(
                pattern, {n.rpartition(".")[2] for n in modules} | set(modules), 3, 0.4
            )
            raise ModelError(
                f"target pattern {pattern!r} matches no module of this model"
                + (f"; near it are {', '.join(near)}" if near else "")
                + ". Use a preset such as attention, or a pattern such as decoder.*.q_proj."
            )
        for name in hits:
            if not isinstance(modules[name], PackedLinear):
                raise ModelError(
                    f"target pattern {pattern!r} matches {name}, a {_class_name(modules[name])}; only the linear "
                    f"layers inside the encoder's and the decoder's blocks can be adapted. Narrow the pattern, for "
                    f"example to *.layers.*."
                )
        chosen.update(hits)
    targets = tuple(name for name in modules if name in chosen)
    kept: set[str] = set()
    for stack in ("encoder", "decoder"):
        in_stack = [name for name in targets if name.startswith(f"{stack}.")]
        kept.update(_targets_in_layers(layers, stack, modules, in_stack))
    return tuple(name for name in targets if name in kept)


def _class_name(module: nn.Module) -> str:
    """Return the name of a module's class in the stock model, where ours stand for `nn.Linear`."""
    return "Linear" if isinstance(module, FrozenLinear) else type(module).__name__


def _targets_in_layers(
    layers: str, stack: str, modules: Mapping[str, nn.Module], targets: list[str]
) -> list[str]:
    """Return those of a stack's targets that lie in its `layers`. Raises ModelError where the stack
    does not have them, or none of the targets is in them.
    """
    if layers == "all" or not targets:
        return targets
    count = len(cast(nn.ModuleList, modules[f"{stack}.layers"]))
    if fault := fault_of_layers(layers, stack, count, {_layer_of(name) for name in targets}):
        raise ModelError(fault)
    chosen = layers_of(layers, count)
    return [name for name in targets if _layer_of(name) in chosen]


def _layer_of(name: str) -> int:
    return int(name.split(".")[2])


def initial_adapter(
    linears: Mapping[str, PackedLinear], targets: tuple[str, ...], params: TrialParams
) -> Adapter:
    """Return a trial's adapter before the first step, initialised by PEFT itself with its seed.

    Raises ModelError when the rank is larger than a target's weight allows.
    """
    for name in targets:
        if params.rank > min(linears[name].weight.shape):
            raise ModelError(
                f"rank {params.rank} is larger than {name} allows ({min(linears[name].weight.shape)}); "
                f"choose a smaller one"
            )
    container = nn.ModuleDict(
        {_attribute_name(name): _plain_linear(linears[name], params) for name in targets}
    )
    # a restored trial's adapter is initialised again where trials are measured, under autocast
    with torch.random.fork_rng(devices=[]), torch.autocast("cpu", enabled=False):
        torch.manual_seed(params.seed)
        peft.inject_adapter_in_model(
            _lora_config(params, [_attribute_name(name) for name in targets]), container
        )
    modules = {}
    for name in targets:
        layer, weight = cast(Any, container[_attribute_name(name)]), linears[name].weight
        parts = {"A": layer.lora_A["default"].weight, "B": layer.lora_B["default"].weight}
        if params.adapter.startswith("pissa"):
            parts |= {"A0": parts["A"], "B0": parts["B"]}
        if params.adapter in ("dora", "pissa-dora"):
            parts["magnitude"] = layer.lora_magnitude_vector["default"].weight
        modules[name] = {part: tensor.detach().clone().to(weight) for part, tensor in parts.items()}
    return Adapter(scaling(params), params.lora_dropout, params.seed, modules)


def scaling(params: TrialParams) -> float:
    """alpha / r, or alpha / sqrt(r) with rsLoRA (Kalajdzievski 2023)."""
    return params.alpha / (params.rank**0.5 if params.use_rslora else params.rank)


def export(
    linears: Mapping[str, PackedLinear],
    adapter: Adapter,
    adapter_scale: float,
    base_model: ModelSpec,
    folder: Path,
) -> None:
    """Write an adapter folder with which stock PEFT computes W + adapter_scale * (W' - W), where W'
    is W with the adapter merged in, to `folder`, which is empty or made. Raises StudyError where
    the disk refuses.

    PiSSA is written as a plain adapter of rank 2r, [B, -B0] and [A ; A0], because PEFT's own form
    changes the base weight. DoRA at scale l is again a DoRA: with g its gain per row,

        W + l (g (W + s B A) - W) = g' (W + s B' A),    g' = 1 - l + l g,    B' = (l g / g') B
    """
    tensors: dict[str, Tensor] = {}
    rank = 0
    for name, parts in adapter.modules.items():
        A, B, magnitude = _scale_factors(
            linears[name].weight, parts, adapter.scaling, adapter_scale
        )
        prefix = f"base_model.model.{ROOT}{name}"
        tensors |= {f"{prefix}.lora_A.weight": A, f"{prefix}.lora_B.weight": B}
        if magnitude is not None:
            tensors[f"{prefix}.lora_magnitude_vector"] = magnitude
        rank = len(A)
    config = peft.LoraConfig(
        r=rank,
        lora_alpha=adapter.scaling * rank,  # PEFT's scaling is lora_alpha / r
        target_modules=[ROOT + name for name in adapter.modules],
        use_dora=any("magnitude" in parts for parts in adapter.modules.values()),
        lora_dropout=0.0,
        inference_mode=True,
        base_model_name_or_path=base_model.id,
        revision=None if base_model.is_folder else base_model.revision,
        task_type=None,
    )
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    needed = sum(tensor.nbytes for tensor in stored.values())
    with safely(folder, needed), as_refusals_of(folder):
        folder.mkdir(parents=True, exist_ok=True)
        config.save_pretrained(str(folder))
        _in_order(folder / "adapter_config.json")
        save_file(stored, folder / "adapter_model.safetensors")


def _in_order(path: Path) -> None:
    """Rewrite a configuration with its lists sorted: PEFT keeps them as sets, whose order differs
    from process to process, and equal adapters should give equal files.
    """
    config = json.loads(path.read_bytes())
    lists = {key: sorted(value) for key, value in config.items() if isinstance(value, list)}
    path.write_text(json.dumps(config | lists, indent=2, sort_keys=True), encoding="utf-8")


@torch.no_grad()
def _scale_factors(
    weight: Tensor, parts: Mapping[str, Tensor], s: float, adapter_scale: float
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the A, B and magnitude with which PEFT, at scaling `s`, computes the adapter at
    `adapter_scale`; the formulas are those of `export`. The magnitude is None but for DoRA.
    """
    A, B = parts["A"], parts["B"]
    if "A0" in parts:
        A, B = torch.cat((A, parts["A0"])), torch.cat((B, -parts["B0"]), 1)
    if "magnitude" not in parts:
        return A, adapter_scale * B, None
    gain = parts["magnitude"] / row_norm(weight, A[None], s * B[None])[0]
    mixed = 1 - adapter_scale + adapter_scale * gain  # g'
    B = (adapter_scale * gain / mixed)[:, None] * B  # B'
    # PEFT divides the magnitude by the row norm again, which is now that of W + s B' A
    return A, B, mixed * row_norm(weight, A[None], s * B[None])[0]


def _attribute_name(name: str) -> str:
    """Return a module path as a name without dots, which a key of `nn.ModuleDict` must not have."""
    return name.replace(".", "-")


def _plain_linear(linear: PackedLinear, params: TrialParams) -> nn.Linear:
    """Return a copy of a layer on the CPU for PEFT to initialise: PiSSA changes the weight in
    place, and refuses float64, so it gets a float32 copy.
    """
    out, width = linear.weight.shape
    plain = nn.Linear(width, out, bias=False)
    weight = linear.weight.data.cpu()
    plain.weight.data = (
        weight.float().clone() if params.adapter.startswith("pissa") else weight.clone()
    )
    return plain


def _lora_config(params: TrialParams, targets: list[str]) -> peft.LoraConfig:
    """Return PEFT's configuration of a trial. `task_type` stays None, because any other breaks the
    forward pass of a speech model.
    """
    return peft.LoraConfig(
        r=params.rank,
        lora_alpha=params.alpha,
        use_rslora=params.use_rslora,
        use_dora=params.adapter in ("dora", "pissa-dora"),
        init_lora_weights="pissa" if params.adapter.startswith("pissa") else True,
        lora_dropout=params.lora_dropout,
        target_modules=targets,
        task_type=None,
    )
