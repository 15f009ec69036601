"""Products of rows with the weights of linear layers: the one place where they are computed.

On a CPU torch ships two libraries for them in float32. `aten` is what `torch.nn.functional.linear`
calls, MKL on x86, which leaves the AVX-512 of AMD's processors unused. `onednn` is the operator that
torch's own compiler puts in the place of a linear layer (`torch.ops.mkldnn._linear_pointwise`); it
uses whatever the processor has. Both compute the same sums and round them differently, so a study
keeps the one that it began with.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orchestrator.errors import ModelError
from orchestrator.sweepfile.sweep import KernelName


class Products:
    """What torch calls by itself, `aten`: any device and type, under autocast too."""

    name: KernelName = "aten"

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """x (..., in), a frozen weight (out, in) and bias (out,) -> (..., out)."""
        return F.linear(x, weight, bias)

    def linears(self, x: Tensor, weights: Tensor, bias: Tensor | None = None) -> Tensor:
        """x (K, L, in), weights (K, out, in) and one bias (out,) for all -> (K, L, out)."""
        if bias is None:
            return torch.bmm(x, weights.mT)
        return torch.baddbmm(bias, x, weights.mT)


class OneDnnProducts(Products):
    """oneDNN for float32 on a CPU; for anything else, and under autocast, what torch calls."""

    name: KernelName = "onednn"

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """The same; differentiable in x alone."""
        if not _takes_operands(x, weight):
            return super().linear(x, weight, bias)
        product: Tensor = _FrozenProduct.apply(x, weight, bias)  # type: ignore[no-untyped-call]
        return product

    def linears(self, x: Tensor, weights: Tensor, bias: Tensor | None = None) -> Tensor:
        """The same, slot after slot, for oneDNN has no float32 product of batches of matrices in
        torch. Not differentiable."""
        if not _takes_operands(x, weights):
            return super().linears(x, weights, bias)
        if len(x) == 1:
            return _onednn_product(x[0], weights[0], bias)[None]
        return torch.stack(
            [_onednn_product(rows, weight, bias) for rows, weight in zip(x, weights, strict=True)]
        )


ATEN, ONEDNN = Products(), OneDnnProducts()


def products_of(kernel: KernelName, device: torch.device, dtype: torch.dtype) -> Products:
    """The products that a kernel computes; `dtype` is what the sweep computes in. Raises ModelError
    where they are not offered."""
    if kernel == "aten":
        return ATEN
    if lacking := lacks_onednn(device, dtype):
        raise ModelError(
            f"execution.kernel: onednn is not offered here: {lacking}; a new study takes auto or aten, and one that "
            "began with onednn goes on where it is offered, or is begun anew with --fork NAME"
        )
    return ONEDNN


def lacks_onednn(device: torch.device, dtype: torch.dtype) -> str:
    """Why oneDNN cannot compute a sweep's products; empty where it can."""
    if device.type != "cpu" or dtype != torch.float32:
        kind = str(dtype).removeprefix("torch.")
        return f"it is for float32 on a CPU, and this sweep computes {kind} on {device.type}"
    return "" if _operator_runs() else f"torch {torch.__version__} does not have it on this machine"


@lru_cache
def _operator_runs() -> bool:
    """Whether the operator is there and multiplies; builds of torch differ in what they contain."""
    one = torch.ones(1, 1)
    try:
        return bool(_onednn_product(one, one, None) == one)
    except (AttributeError, RuntimeError):
        return False


class _FrozenProduct(torch.autograd.Function):
    """x (..., in), weight (out, in), bias (out,) or None -> (..., out): the operator has no gradient
    of its own, and a frozen weight needs none."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return _onednn_product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return _onednn_product(gradients[0], weight.mT, None), None, None


def _takes_operands(x: Tensor, weight: Tensor) -> bool:
    """Whether the operator takes these: it refuses other types and knows nothing of autocast."""
    return (
        x.dtype == weight.dtype == torch.float32
        and x.device.type == "cpu"
        and not torch.is_autocast_enabled("cpu")
    )


def _onednn_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return product


class FrozenLinear(nn.Module):
    """Stands in the place of a frozen `nn.Linear`, with the very same parameters, and computes it by
    a kernel."""

    def __init__(self, linear: nn.Linear, products: Products = ATEN) -> None:
        super().__init__()
        self.weight, self.bias, self.products = linear.weight, linear.bias, products

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in) -> (..., out)."""
        return self.products.linear(x, self.weight, self.bias)
