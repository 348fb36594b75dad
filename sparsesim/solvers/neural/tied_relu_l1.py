"""The tied ReLU autoencoder: one matrix is encoder and decoder, normalised inside the forward pass."""

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
from sparsesim.solvers.neural.separable import averaged, row_errors
from sparsesim.solvers.neural.solver import NeuralSolver, check_neural
from sparsesim.solvers.neural.train import Training


@final
class TiedReLUL1Module(SparseModule):
    """D = rows of W over their norms; z = ReLU(x D' + b), x_hat = z D."""

    penalty: Tensor
    origin: Tensor

    def __init__(self, width: int, penalty: float, dim: int, rng: Rng) -> None:
        super().__init__()
        reach = math.sqrt(6 / (width + dim))
        self.rows = drawn(rng.uniform(-reach, reach, (width, dim)))
        self.encoder_bias = drawn(np.zeros(width))
        self.register_buffer("penalty", torch.tensor(penalty, dtype=torch.float32))
        self.register_buffer("origin", torch.zeros(dim, dtype=torch.float32))

    def atoms(self) -> Tensor:
        norms: Tensor = torch.linalg.vector_norm(self.rows, dim=-1, keepdim=True)
        return self.rows / norms.clamp_min(torch.finfo(self.rows.dtype).tiny)

    def decoder_bias(self) -> Tensor:
        return self.origin

    def encode(self, x: Tensor) -> Tensor:
        return affine(x, self.atoms().mT, self.encoder_bias).relu()

    def decode(self, codes: Tensor) -> Tensor:
        return codes @ self.atoms()

    def row_losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        """Return the terms of each sample, ``(..., B)`` each."""
        atoms = self.atoms()  # once, so that its gradient is taken once
        codes = affine(x, atoms.mT, self.encoder_bias).relu()
        return {
            "squared_error": row_errors(x, codes @ atoms),
            "l1": codes.sum(-1) * self.penalty.unsqueeze(-1),
        }

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        return averaged(self.row_losses(x, step))


@final
@dataclass(frozen=True)
class TiedReLUL1(NeuralSolver):
    """Learns unit atoms that encode by their own correlations: z = ReLU(x D' + b), x_hat = z D, with an L1 penalty.

    D is the row-normalised weight matrix, normalised inside the forward pass, so that the gradient has no component
    along an atom. There is no decoder bias; the data are centred (the released code offers that as an option). The loss

        mean_B (||x - x_hat||^2 + penalty * ||z||_1)

    sums over d; the released code averages the squared error over d and sums the L1 norm, so its alpha is penalty =
    alpha * d here. Weights start uniform within sqrt(6 / (p + d)), biases at zero. Dead latents are left alone.

    Parameters
    ----------
    width : p, the number of atoms.
    penalty : weight of the L1 norm, for the squared error summed over d, in the scale E||x - mean||^2 = d.

    References
    ----------
    Cunningham, Ewart, Riggs, Huben, Sharkey (2023), arXiv 2309.08600, section 2.
    """

    width: int
    penalty: float = 1.0
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        check_neural(self)
        check_real("penalty", self.penalty, 0.0)

    def module(self, dim: int, rng: Rng) -> TiedReLUL1Module:
        return TiedReLUL1Module(self.width, self.penalty, dim, rng)
