"""The threshold that a selection among a whole batch has in inference, where there is no batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class BatchThreshold(nn.Module):
    """Running mean of the smallest kept code of a batch: the threshold a batch-wise selection has in inference.

    A plain mean over the first ``memory`` batches, then an exponential one with that time constant, so that the
    first batches of training, of another model, are forgotten. Nothing changes outside training mode.
    """

    value: Tensor
    seen: Tensor

    def __init__(self, memory: float = 200.0) -> None:
        super().__init__()
        self.memory = memory
        self.register_buffer("value", torch.zeros((), dtype=torch.float32))
        self.register_buffer("seen", torch.zeros((), dtype=torch.float32))

    def observe(self, codes: Tensor) -> None:
        """Take note of the kept ``codes (..., B, p)``; a batch in which none is positive is passed over."""
        codes = codes.detach()
        self.observe_smallest(codes.masked_fill(codes <= 0.0, torch.inf).amin((-2, -1)))

    @torch.no_grad()
    def observe_smallest(self, smallest: Tensor) -> None:
        """Take note of the smallest kept code of a batch, ``()`` or ``(E,)``, infinite where none was kept."""
        if not self.training:
            return
        valid = smallest.isfinite()
        self.seen.add_(valid.to(self.seen.dtype))
        rate = 1.0 / self.seen.clamp(1.0, self.memory)
        self.value.add_(torch.where(valid, (smallest - self.value) * rate, 0.0))

    def apply_to(self, u: Tensor) -> Tensor:
        """Return ``u`` where it exceeds the threshold and zero elsewhere; before any batch the threshold is zero."""
        return u * (u > self.value[..., None, None])
