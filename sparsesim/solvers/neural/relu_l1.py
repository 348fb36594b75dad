"""The ReLU autoencoder with an L1 penalty, the first sparse autoencoder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from sparsesim._arrays import Rng, check_real
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.priced import PricedModule
from sparsesim.solvers.neural.resampling import Resampling, check_resampling
from sparsesim.solvers.neural.solver import NeuralSolver, check_neural
from sparsesim.solvers.neural.train import Training


@final
class ReLUL1Module(PricedModule):
    """z = ReLU(u) with an L1 penalty."""

    penalty: Tensor

    def __init__(self, width: int, penalty: float, dim: int, rng: Rng, *, resampling: Resampling | None = None) -> None:
        super().__init__(width, dim, rng, resampling)
        self.register_buffer("penalty", torch.tensor(penalty, dtype=torch.float32))

    def prices(self, codes: Tensor, step: Step) -> dict[str, Tensor]:
        return {"l1": codes.sum(-1) * self.penalty.unsqueeze(-1)}


@final
@dataclass(frozen=True)
class ReLUL1(NeuralSolver):
    """Learns atoms and a one-layer encoder that balance squared error against the L1 norm of the codes.

    u = (x - b_d) W_e + b_e,  z = ReLU(u),  x_hat = z D + b_d with unit rows of D, and the loss

        mean_B (||x - x_hat||^2 + penalty * ||z||_1)

    in the scale E||x - mean||^2 = d. It is the model of the paper, with its resampling of dead latents where asked for
    (`Resampling`); b_d starts at the mean (`FromGeometricMedian` starts it at the geometric median, as the paper does).
    With the decoder on the unit sphere no rescaling of codes against atoms can evade the penalty. The codes are shrunk
    by it: for orthonormal tied atoms z = max(u - penalty / 2, 0).

    Parameters
    ----------
    width : p, the number of atoms.
    penalty : weight of the L1 norm, for the squared error summed over d.
    resampling : when silent latents are replaced; None leaves them alone.

    References
    ----------
    Bricken et al. (2023), "Towards monosemanticity", Transformer Circuits.
    """

    width: int
    penalty: float = 1.0
    training: Training = field(default_factory=Training)
    resampling: Resampling | None = None

    def __post_init__(self) -> None:
        check_neural(self)
        check_real("penalty", self.penalty, 0.0)
        check_resampling(self.resampling)

    def module(self, dim: int, rng: Rng) -> ReLUL1Module:
        return ReLUL1Module(self.width, self.penalty, dim, rng, resampling=self.resampling)
