"""With bfloat16 on a CPU, attention is computed in float32."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from orchestrator.tuning.model.attention import attend


def test_under_bfloat16_a_cpu_attends_in_float32() -> None:
    generator = torch.Generator().manual_seed(3)
    query, keys, values = (torch.randn(2, 3, 40, 8, generator=generator) for _ in range(3))
    mask = torch.rand(2, 1, 40, 40, generator=generator) > 0.2

    def gradients(autocast: bool) -> list[torch.Tensor]:
        leaves = [state.clone().requires_grad_() for state in (query, keys, values)]
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            y = attend(leaves[0], leaves[1], leaves[2], mask, 0.3)
        assert y.dtype == (torch.bfloat16 if autocast else torch.float32)
        # in whole numbers, which bfloat16 holds
        return list(torch.autograd.grad(y.float().sum(), leaves))

    exact = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask, scale=0.3)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(attend(query, keys, values, mask, 0.3), exact.bfloat16())
    for rough, fine in zip(gradients(True), gradients(False), strict=True):
        assert torch.equal(rough, fine)
