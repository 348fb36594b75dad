"""SpaDE: codes are the projection on the simplex of negative squared distances to prototypes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import final

import numpy as np
import torch
from torch import Tensor

from sparsesim._arrays import Rng, check_real
from sparsesim.solvers.neural.module import SparseModule, Step
from sparsesim.solvers.neural.pieces import affine, drawn
from sparsesim.solvers.neural.proximal import sparsemax
from sparsesim.solvers.neural.separable import averaged, row_errors
from sparsesim.solvers.neural.solver import NeuralSolver, check_neural
from sparsesim.solvers.neural.train import Training


@final
class SpaDEModule(SparseModule):
    """z = sparsemax(-scale ||x - w_i||^2), x_hat = z A."""

    penalty: Tensor
    origin: Tensor

    def __init__(self, width: int, penalty: float, dim: int, rng: Rng) -> None:
        super().__init__()
        prototypes = rng.standard_normal((width, dim))
        self.prototypes, self.decoder = drawn(prototypes), drawn(prototypes)
        # softplus of it is the scale, at first 1 / (2 d)
        self.raw_scale = drawn(np.array(math.log(math.expm1(1 / (2 * dim)))))
        self.register_buffer("penalty", torch.tensor(penalty, dtype=torch.float32))
        self.register_buffer("origin", torch.zeros(dim, dtype=torch.float32))

    def nearness(self, x: Tensor) -> Tensor:
        """Return 2 x . w_i - ||w_i||^2 = ||x||^2 - ||x - w_i||^2, ``(..., B, p)``."""
        return affine(x, 2.0 * self.prototypes.mT, -self.prototypes.square().sum(-1))

    def codes_of(self, nearness: Tensor) -> Tensor:
        """Return the codes; ||x||^2, the same for all latents, changes nothing."""
        scale = torch.nn.functional.softplus(self.raw_scale)
        return sparsemax(nearness * scale[..., None, None])

    def encode(self, x: Tensor) -> Tensor:
        return self.codes_of(self.nearness(x))

    def decode(self, codes: Tensor) -> Tensor:
        return codes @ self.decoder

    def row_losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        """Return the terms of each sample, ``(..., B)`` each."""
        near = self.nearness(x)
        codes = self.codes_of(near)
        # The codes sum to one: sum_i z_i ||x - w_i||^2 = ||x||^2 - sum_i z_i near_i.
        spread = x.square().sum(-1) - (codes * near).sum(-1)
        return {
            "squared_error": row_errors(x, self.decode(codes)),
            "distance": spread * self.penalty.unsqueeze(-1),
        }

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        return averaged(self.row_losses(x, step))

    def atoms(self) -> Tensor:
        return self.decoder

    def decoder_bias(self) -> Tensor:
        return self.origin


@final
@dataclass(frozen=True)
class SpaDE(NeuralSolver):
    """Learns prototypes and atoms; a sample is a convex combination of the atoms of the prototypes near to it.

    z = sparsemax(-s ||x - w_i||^2)_i with a trained scale s > 0 (a softplus, at first 1 / (2 d)), x_hat = z A, no
    biases, A of any norm. The codes are non-negative and sum to one, and x_hat lies in the convex hull of the rows of
    A. Where a latent is active is a convex polytope around its prototype, not a half-space. The loss is

        mean_B (||x - x_hat||^2 + penalty * sum_i z_i ||x - w_i||^2)

    in the scale E||x - mean||^2 = d, which is the released code's. W ~ N(0, 1) and A = W at first. Codes that sum to
    one know no silence: a sample without any feature still has codes.

    Parameters
    ----------
    width : p, the number of prototypes and atoms.
    penalty : weight of the distances, for squared errors summed over d.

    References
    ----------
    Hindupur, Lubana, Fel, Ba (2025), "Projecting assumptions", arXiv 2503.01822.
    """

    width: int
    penalty: float = 1e-3
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        check_neural(self)
        check_real("penalty", self.penalty, 0.0)

    def module(self, dim: int, rng: Rng) -> SpaDEModule:
        return SpaDEModule(self.width, self.penalty, dim, rng)
