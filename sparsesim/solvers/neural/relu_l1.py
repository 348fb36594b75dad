"""The ReLU autoencoder with an L1 penalty, the first sparse autoencoder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from sparsesim._arrays import Rng, check_real
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.pieces import UnitDecoder, squared_error
from sparsesim.solvers.neural.solver import NeuralSolver, check_neural
from sparsesim.solvers.neural.train import Training


@final
class ReLUL1Module(UnitDecoder):
    """z = ReLU(u) with an L1 penalty."""

    penalty: Tensor

    def __init__(self, width: int, penalty: float, dim: int, rng: Rng) -> None:
        super().__init__(width, dim, rng)
        self.register_buffer("penalty", torch.tensor(penalty, dtype=torch.float32))

    def encode(self, x: Tensor) -> Tensor:
        return self.pre_activations(x).relu()

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        codes = self.encode(x)
        return {
            "squared_error": squared_error(x, self.decode(codes)),
            "l1": codes.sum((-2, -1)) * (self.penalty / x.shape[-2]),
        }


@final
@dataclass(frozen=True)
class ReLUL1(NeuralSolver):
    """Learns atoms and a one-layer encoder that balance squared error against the L1 norm of the codes.

    u = (x - b_d) W_e + b_e,  z = ReLU(u),  x_hat = z D + b_d with unit rows of D, and the loss

        mean_B (||x - x_hat||^2 + penalty * ||z||_1)

    in the scale E||x - mean||^2 = d. It is the model of the paper without its resampling of dead latents and with b_d
    started at the mean. With the decoder on the unit sphere no rescaling of codes against atoms can evade the penalty.
    The codes are shrunk by it: for orthonormal tied atoms z = max(u - penalty / 2, 0).

    Parameters
    ----------
    width : p, the number of atoms.
    penalty : weight of the L1 norm, for the squared error summed over d.

    References
    ----------
    Bricken et al. (2023), "Towards monosemanticity", Transformer Circuits.
    """

    width: int
    penalty: float = 1.0
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        check_neural(self)
        check_real("penalty", self.penalty, 0.0)

    def module(self, dim: int, rng: Rng) -> ReLUL1Module:
        return ReLUL1Module(self.width, self.penalty, dim, rng)
