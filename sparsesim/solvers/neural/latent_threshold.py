"""The thresholds, one a latent, that a choice among the samples of a batch has in inference."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from sparsesim.solvers.neural.selected import Selection


@final
class LatentThresholds(nn.Module):
    """Running mean of the smallest kept code of each latent: its threshold in inference.

    A plain mean over the first ``memory`` batches in which the latent spoke, then an exponential one with that time
    constant. A latent that never spoke has threshold zero. Nothing changes outside training mode.
    """

    value: Tensor
    seen: Tensor

    def __init__(self, width: int, memory: float = 200.0) -> None:
        super().__init__()
        self.memory = memory
        self.register_buffer("value", torch.zeros(width, dtype=torch.float32))
        self.register_buffer("seen", torch.zeros(width, dtype=torch.float32))

    @torch.no_grad()
    def observe(self, values: Tensor, chosen: Selection) -> None:
        """Take note of the ``values (nnz,)`` kept at a selection."""
        if not self.training:
            return
        least = chosen.smallest_of_latents(values)
        self.seen.add_(least.isfinite())
        rate = 1.0 / self.seen.clamp(1.0, self.memory)
        self.value.add_(torch.where(least.isfinite(), (least - self.value) * rate, 0.0))

    def apply_to(self, u: Tensor) -> Tensor:
        """Return ``u (..., B, p)`` where it exceeds the threshold of its latent and zero elsewhere."""
        return u * (u > self.value.unsqueeze(-2))
