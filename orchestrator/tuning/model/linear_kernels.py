"""The matrix products of all linear layers of a model, by one of two kernels.

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
from orchestrator.sweepfile.execution import KernelName


class Products:
    """Products by torch's own kernel, `aten`: for any device and dtype, and under autocast."""

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
    """Products by oneDNN for float32 on a CPU; for anything else, and under autocast, by `aten`."""

    name: KernelName = "onednn"

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """x (..., in), a frozen weight (out, in) and bias (out,) -> (..., out), differentiable in x
        alone.
        """
        if not _takes_operands(x, weight):
            return super().linear(x, weight, bias)
        product: Tensor = _FrozenProduct.apply(x, weight, bias)  # type: ignore[no-untyped-call]
        return product

    def linears(self, x: Tensor, weights: Tensor, bias: Tensor | None = None) -> Tensor:
        """x (K, L, in), weights (K, out, in) and one bias (out,) for all -> (K, L, out), not
        differentiable.

        It is computed slot after slot: torch offers no batched float32 product by oneDNN.
        """
        if not _takes_operands(x, weights):
            return super().linears(x, weights, bias)
        if len(x) == 1:
            return _onednn_product(x[0], weights[0], bias)[None]
        return torch.stack(
            [_onednn_product(rows, weight, bias) for rows, weight in zip(x, weights, strict=True)]
        )


ATEN, ONEDNN = Products(), OneDnnProducts()


def products_of(kernel: KernelName, device: torch.device, dtype: torch.dtype) -> Products:
    """Return the products of a kernel for a sweep that computes in `dtype`. Raises ModelError where
    this device or machine does not offer them."""
    if kernel == "aten":
        return ATEN
    if lacking := lacks_onednn(device, dtype):
        raise ModelError(
            f"execution.kernel: onednn is not offered here: {lacking}; a new study takes auto or aten, and one that "
            "began with onednn goes on where it is offered, or is begun anew with --fork NAME"
        )
    return ONEDNN


def lacks_onednn(device: torch.device, dtype: torch.dtype) -> str:
    """Return why oneDNN cannot compute a sweep's products; the empty string where it can."""
    if device.type != "cpu" or dtype != torch.float32:
        kind = str(dtype).removeprefix("torch.")
        return f"it is for float32 on a CPU, and this sweep computes {kind} on {device.type}"
    return "" if _operator_runs() else f"torch {torch.__version__} does not have it on this machine"


@lru_cache
def _operator_runs() -> bool:
    """Return whether this build of torch has the oneDNN operator and it works."""
    one = torch.ones(1, 1)
    try:
        return bool(_onednn_product(one, one, None) == one)
    except (AttributeError, RuntimeError):
        return False


class _FrozenProduct(torch.autograd.Function):
    """x (..., in), weight (out, in), bias (out,) or None -> (..., out), by oneDNN.

    The operator has no backward pass of its own. This one gives the gradient of x alone, for the
    weight is frozen.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return _onednn_product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return _onednn_product(gradients[0], weight.mT, None), None, None


def _takes_operands(x: Tensor, weight: Tensor) -> bool:
    """Return whether the operator takes these: no other types, and nothing under autocast."""
    return (
        x.dtype == weight.dtype == torch.float32
        and x.device.type == "cpu"
        and not torch.is_autocast_enabled("cpu")
    )


def _onednn_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return product


class FrozenLinear(nn.Module):
    """Replaces a frozen `nn.Linear`, with the same parameter tensors; `products` says by which
    kernel it is computed.
    """

    def __init__(self, linear: nn.Linear, products: Products = ATEN) -> None:
        super().__init__()
        self.weight, self.bias, self.products = linear.weight, linear.bias, products

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in) -> (..., out)."""
        return self.products.linear(x, self.weight, self.bias)
