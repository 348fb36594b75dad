"""AuxK for latents that speak less than a rank law expects of them, not only for those that are silent."""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from torch import Tensor

from sparsesim._arrays import FloatArray
from sparsesim.solvers.neural.dead import RENEW_DEAD_EVERY, DeadLatents
from sparsesim.solvers.neural.ranks import ranks

LOW = 0.5  # a latent is underused below this share of what its rank should have


def zipf_shares(width: int, exponent: float, shift: float) -> FloatArray:
    """Return shares ``(p,)`` that fall with the rank r = 1, ..., p as (r + shift)^-exponent and sum to 1."""
    weights = (np.arange(1, width + 1) + shift) ** -exponent
    return np.asarray(weights / weights.sum())


@final
class UnderusedLatents(DeadLatents):
    """Latents count as dead whose share of all firing is below half of what a Zipf law gives the rank they have.

    Shares are exponential means with a time constant of ``dead_after`` steps, started at what is expected; latents are
    ranked by them. A silent latent is underused once its mean has decayed, so this includes AuxK for dead ones.

    References
    ----------
    Ayonrinde (2024), arXiv 2411.02124. The source says that the loss extends AuxK to underused latents by way of a
    fitted Zipf law; the factor one half and the use of declared instead of fitted parameters are choices made here.
    """

    share: Tensor
    expected: Tensor

    def __init__(self, dim: int, weight: float, dead_after: int, expected: FloatArray) -> None:
        super().__init__(len(expected), dim, weight, dead_after)
        for name in ("share", "expected"):
            self.register_buffer(name, torch.tensor(expected, dtype=torch.float32))

    @torch.no_grad()
    def observe_counts(self, fired: Tensor, index: int) -> None:
        total = fired.sum(-1, keepdim=True)
        share = torch.where(total > 0, fired / total.clamp_min(1.0), self.share)
        self.share.lerp_(share, 1.0 / self.dead_after)
        if (index + 1) % RENEW_DEAD_EVERY == 0:
            self.renew(self.share < LOW * self.expected.gather(-1, self.rank()))

    def rank(self) -> Tensor:
        """Return the rank of each latent by its share of all firing, ``(..., p)``: 0 has the largest."""
        return ranks(self.share)
