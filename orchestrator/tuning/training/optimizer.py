"""AdamW, gradient clipping and learning-rate schedules for K trials at once, on buffers (K, P) with
one row per trial; each trial is updated as if it were alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from orchestrator.planning.trial_plan import TrialParams

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""torch.optim.AdamW's defaults, which transformers' Trainer also uses."""


def learning_rate(params: TrialParams, step: int) -> float:
    """Return the learning rate of optimizer step `step` (0 is the first), equal to that of
    transformers' schedule of the same name.
    """
    if step < params.warmup_steps:
        return params.learning_rate * step / max(1, params.warmup_steps)
    if params.scheduler == "constant":
        return params.learning_rate
    progress = (step - params.warmup_steps) / max(1, params.max_steps - params.warmup_steps)
    if params.scheduler == "cosine":
        return params.learning_rate * max(0.0, 0.5 * (1 + math.cos(math.pi * progress)))
    return params.learning_rate * max(0.0, 1 - progress)


class PackedAdamW:
    """AdamW (Loshchilov & Hutter 2019) with a learning rate, weight decay, clipping norm, step
    number and LoRA+ ratio of its own for each trial.
    """

    def __init__(
        self, flat: Tensor, is_B: Tensor, params: Sequence[TrialParams], steps: Sequence[int]
    ) -> None:
        self.params, self.steps = tuple(params), list(steps)
        self.exp_avg, self.exp_avg_sq = torch.zeros_like(flat), torch.zeros_like(flat)
        column = flat.new_tensor  # of (K,) values, made (K, 1) to broadcast over the P entries
        self.max_norm = column([p.max_grad_norm for p in params])[:, None]
        self.decay = column([p.weight_decay for p in params])[:, None]
        ratio = column([p.loraplus_lr_ratio for p in params])[:, None]
        self.ratio = (
            torch.where(is_B, ratio, 1.0) if any(p.loraplus_lr_ratio != 1 for p in params) else None
        )

    @torch.no_grad()
    def step(self, flat: Tensor, grad: Tensor) -> Tensor:
        """Make one optimizer step of every row of `flat` (K, P), in place; return the gradient
        norms (K,) before clipping.

        Everything that allocates memory comes before anything that changes the state, so a step
        that runs out of memory has changed nothing.
        """
        norm = grad.norm(dim=1, keepdim=True)
        # 1e-6 as in torch.nn.utils.clip_grad_norm_
        grad = grad * (self.max_norm / (norm + 1e-6)).clamp_max(1)

        def column(values: Iterable[float]) -> Tensor:
            return flat.new_tensor(list(values))[:, None]

        rate = column(learning_rate(p, s) for p, s in zip(self.params, self.steps, strict=True))
        steps = [step + 1 for step in self.steps]
        rates = rate if self.ratio is None else rate * self.ratio
        exp_avg = self.exp_avg.lerp(grad, 1 - BETA1)
        exp_avg_sq = (self.exp_avg_sq * BETA2).addcmul_(grad, grad, value=1 - BETA2)
        correction1 = column(1 - BETA1**step for step in steps)
        correction2 = column(math.sqrt(1 - BETA2**step) for step in steps)
        denominator = exp_avg_sq.sqrt().div_(correction2).add_(EPSILON)
        change = (rates / correction1 * exp_avg).div_(denominator)
        kept = 1 - rates * self.decay
        norms: Tensor = norm[:, 0]
        flat.mul_(kept).sub_(change)
        self.exp_avg, self.exp_avg_sq, self.steps = exp_avg, exp_avg_sq, steps
        return norms
