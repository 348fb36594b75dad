"""One bit a latent: an autoencoder that keeps of a sample the signs of its projections."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import numpy as np
import torch
from torch import Tensor

from sparsesim._arrays import Rng, check_real
from sparsesim.solvers.neural.module import SparseModule, Step
from sparsesim.solvers.neural.pieces import drawn, squared_error, unit_normal
from sparsesim.solvers.neural.quantised import straight_through
from sparsesim.solvers.neural.solver import NeuralSolver, check_neural
from sparsesim.solvers.neural.train import Training


@final
class SignModule(SparseModule):
    """z = sign(x B') with unit rows of B, x_hat = z A; the gradient is that of tanh(x B' / temperature)."""

    temperature: Tensor
    bias: Tensor

    def __init__(self, width: int, dim: int, temperature: float, rng: Rng) -> None:
        super().__init__()
        rows = unit_normal(width, dim, rng)
        self.encoder = drawn(rows)
        self.decoder = drawn(rows * min(1.0, dim / width))
        self.register_buffer("bias", torch.zeros(dim))
        self.register_buffer("temperature", torch.tensor(float(np.float32(temperature))))

    def projections(self, x: Tensor) -> Tensor:
        """Return x B' ``(..., B, p)``."""
        return x @ torch.nn.functional.normalize(self.encoder, dim=-1).mT

    def encode(self, x: Tensor) -> Tensor:
        return _sign(self.projections(x))

    def decode(self, codes: Tensor) -> Tensor:
        return codes @ self.decoder

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        seen = self.projections(x)
        smooth = (seen / self.temperature[..., None, None]).tanh()
        return {"squared_error": squared_error(x, self.decode(straight_through(smooth, _sign(seen))))}

    def atoms(self) -> Tensor:
        return self.decoder

    def decoder_bias(self) -> Tensor:
        return self.bias


def _sign(value: Tensor) -> Tensor:
    return torch.where(value >= 0, 1.0, -1.0).to(value.dtype)


@final
@dataclass(frozen=True)
class SignAutoencoder(NeuralSolver):
    """Learns ``z = sign(x B^T)``, ``x_hat = z A``: p bits a sample, a rate of p/d bits a dimension.

    The loss is the squared error. The sign has no slope: its gradient is that of ``tanh(x B^T / temperature)``. B has
    unit rows, since their norms do not matter; A is free; there are no biases but the mean of the samples, taken off
    under ``training.normalise``. Codes are -1 and 1, and sign(0) = 1: on sparse data with B at the features themselves
    rounding decides the sign of what is off, as if at random.

    Parameters
    ----------
    width : p, bits a sample.
    temperature : of the slope, in units of the projections, whose variance is about one in the scale of training.

    References
    ----------
    Shevchenko, Koegler, Hassani, Mondelli (2023), "Fundamental limits of two-layer autoencoders, and achieving them
    with gradient methods", arXiv 2212.13468; Koegler et al. (2024), arXiv 2402.05013.
    """

    width: int
    temperature: float = 0.5
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        check_neural(self)
        check_real("temperature", self.temperature, 0.0, open_low=True)

    def module(self, dim: int, rng: Rng) -> SignModule:
        return SignModule(self.width, dim, self.temperature, rng)
