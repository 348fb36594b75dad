"""The ReLU autoencoder whose L1 penalty weighs each code with the norm of its atom, so that the decoder is free."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from sparsesim._arrays import Rng, check_real
from sparsesim.solvers.neural.free_decoder import FreeDecoder
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.pieces import unit_normal
from sparsesim.solvers.neural.separable import averaged, row_errors
from sparsesim.solvers.neural.solver import NeuralSolver, check_neural
from sparsesim.solvers.neural.train import Training

INITIAL_NORM = 0.1  # of the atoms


@final
class WeightedReLUL1Module(FreeDecoder):
    """z = ReLU(x W_e' + b_e) with the penalty sum_i z_i ||d_i||."""

    penalty: Tensor

    def __init__(self, width: int, penalty: float, warmup: float, dim: int, rng: Rng) -> None:
        atoms = INITIAL_NORM * unit_normal(width, dim, rng)
        super().__init__(atoms, atoms)
        self.warmup = warmup
        self.register_buffer("penalty", torch.tensor(penalty, dtype=torch.float32))

    def encode(self, x: Tensor) -> Tensor:
        return self.pre_activations(x).relu()

    def row_losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        """Return the terms of each sample, ``(..., B)`` each."""
        codes = self.encode(x)
        weighted = (codes @ self.norms().unsqueeze(-1)).squeeze(-1)
        return {
            "squared_error": row_errors(x, self.decode(codes)),
            "l1": weighted * (self.penalty * step.ramp(0.0, self.warmup)).unsqueeze(-1),
        }

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        return averaged(self.row_losses(x, step))


@final
@dataclass(frozen=True)
class WeightedReLUL1(NeuralSolver):
    """Learns atoms of any norm and an encoder whose codes, times the norms of their atoms, have a small L1 norm.

    u = x W_e' + b_e (no pre-bias),  z = ReLU(u),  x_hat = z D + b_d with D unconstrained, and the loss

        mean_B (||x - x_hat||^2 + penalty * w * sum_i z_i ||d_i||),

    w rising from 0 to 1 over the first ``warmup`` of the training. Loss and reconstruction are unchanged by d_i -> c
    d_i, (e_i, b_i) -> (e_i, b_i) / c. Atoms start random with norm 0.1, the encoder as the same, the biases at zero.
    The paper's schedule is ``Training(grad_clip=1.0, warmup=0.0, decay=0.2)``; its penalty of 5 is for activations of
    language models scaled to a norm near sqrt(d). A published trainer of this name keeps the pre-bias, which the update
    drops.

    Parameters
    ----------
    width : p, the number of atoms.
    penalty : weight of the L1 norm, for the squared error summed over d, in the scale E||x - mean||^2 = d.
    warmup : share of the training over which the penalty rises.

    References
    ----------
    Conerly, Templeton, Bricken, Marcus, Henighan (2024), "Update on how we train SAEs", Transformer Circuits, April.
    """

    width: int
    penalty: float = 1.0
    warmup: float = 0.05
    training: Training = field(default_factory=lambda: Training(grad_clip=1.0, warmup=0.0, decay=0.2))

    def __post_init__(self) -> None:
        check_neural(self)
        check_real("penalty", self.penalty, 0.0)
        check_real("warmup", self.warmup, 0.0, 1.0)

    def module(self, dim: int, rng: Rng) -> WeightedReLUL1Module:
        return WeightedReLUL1Module(self.width, self.penalty, self.warmup, dim, rng)
