"""What discrete autoencoders share: rounding with a gradient, and scalar latents of which each has a few values."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from sparsesim._arrays import Rng
from sparsesim.solvers.neural.free_decoder import FreeDecoder
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.pieces import squared_error, unit_normal


def straight_through(value: Tensor, quantised: Tensor) -> Tensor:
    """Return ``quantised``, with the gradient that ``value`` would have in its place."""
    return value + (quantised - value).detach()


class ScalarQuantised(FreeDecoder):
    """u = x W_e' + b_e, each entry rounded to one of the values of its latent, x_hat = z D + b_d."""

    def __init__(self, width: int, dim: int, rng: Rng) -> None:
        atoms = unit_normal(width, dim, rng)
        super().__init__(atoms, atoms)

    @abstractmethod
    def quantise(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is rounded and what it is rounded to, ``(..., B, p)`` each."""

    def encode(self, x: Tensor) -> Tensor:
        return self.quantise(self.pre_activations(x))[1]

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        value, quantised = self.quantise(self.pre_activations(x))
        error = squared_error(x, self.decode(straight_through(value, quantised)))
        return {"squared_error": error, **self.commitments(value, quantised)}

    def commitments(self, value: Tensor, quantised: Tensor) -> dict[str, Tensor]:
        """Return the terms that draw what is rounded and what it is rounded to together."""
        return {}


def nearest(value: Tensor, table: Tensor) -> Tensor:
    """Return the entry of each row of ``table (..., p, V)`` nearest to ``value (..., B, p)``, the first of equals."""
    distance = (value.unsqueeze(-1) - table.unsqueeze(-3)).abs()
    index = distance.argmin(-1)
    rows = table.unsqueeze(-3).expand(*index.shape, table.shape[-1])
    return torch.gather(rows, -1, index.unsqueeze(-1)).squeeze(-1)
