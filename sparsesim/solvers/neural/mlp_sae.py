"""An autoencoder whose encoder has a hidden layer: amortised inference that is not one linear map and a threshold."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import final

import numpy as np
import torch
from torch import Tensor

from sparsesim._arrays import FloatArray, Rng, check_int, check_real
from sparsesim._identity import fork
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.pieces import affine, drawn
from sparsesim.solvers.neural.priced import PricedModule
from sparsesim.solvers.neural.solver import NeuralSolver, check_neural
from sparsesim.solvers.neural.train import Training


def linear_start(atoms: FloatArray, hidden: int, rng: Rng) -> tuple[FloatArray, FloatArray]:
    """Return layers ``V (h, d)`` and ``W (p, h)`` with ``ReLU(x V') W' = x A'`` for atoms A, if h is at least 2 d.

    V is [G, -G] with G random, and ReLU(g) - ReLU(-g) = g: the network starts as the tied linear encoder does, where
    random layers would start with latents that never speak. With fewer units it is x A' of the directions that G spans.
    Of an odd number of units the last is without a partner, and silent at first.
    """
    dim, half = atoms.shape[1], (hidden + 1) // 2
    g = rng.standard_normal((half, dim)) / math.sqrt(dim)
    pairs = max(hidden // 2, 1)
    back = np.zeros((len(atoms), half))
    back[:, :pairs] = atoms @ np.linalg.pinv(g[:pairs])
    return np.vstack([g, -g])[:hidden], np.hstack([back, -back])[:, :hidden]


@final
class PerceptronModule(PricedModule):
    """z = ReLU(ReLU((x - b_d) V' + c) W_e' + b_e) with an L1 penalty; ``encoder`` is W_e, of shape (p, h)."""

    penalty: Tensor

    def __init__(self, width: int, hidden: int, penalty: float, dim: int, rng: Rng) -> None:
        decoder_rng, layer_rng = fork(rng, 2)
        super().__init__(width, dim, decoder_rng, None)
        first, second = linear_start(self.decoder.detach().double().numpy(), hidden, layer_rng)
        self.first, self.first_bias = drawn(first), drawn(np.zeros(hidden))
        self.encoder = drawn(second)
        self.register_buffer("penalty", torch.tensor(penalty, dtype=torch.float32))

    def pre_activations(self, x: Tensor) -> Tensor:
        hidden = affine(x - self.bias.unsqueeze(-2), self.first.mT, self.first_bias).relu()
        return affine(hidden, self.encoder.mT, self.encoder_bias)

    def prices(self, codes: Tensor, step: Step) -> dict[str, Tensor]:
        return {"l1": codes.sum(-1) * self.penalty.unsqueeze(-1)}


@final
@dataclass(frozen=True)
class PerceptronSAE(NeuralSolver):
    """Learns atoms and an encoder with one hidden layer, for the objective of `ReLUL1`.

    h = ReLU((x - b_d) V' + c),  z = ReLU(h W_e' + b_e),  x_hat = z D + b_d with unit rows of D, and the loss

        mean_B (||x - x_hat||^2 + penalty * ||z||_1).

    One linear map and a threshold cannot invert an overcomplete dictionary; a hidden layer can do more at
    2 h (d + p) operations a sample. D starts as random directions, the encoder as the tied linear one (`linear_start`).

    Parameters
    ----------
    width : p, the number of atoms.
    hidden : h, units of the hidden layer.
    penalty : weight of the L1 norm, for the squared error summed over d.

    References
    ----------
    O'Neill, Gumran, Klindt (2025), "Compute optimal inference and provable amortisation gap in sparse autoencoders",
    arXiv 2411.13117, whose MLP encoder this is.
    """

    width: int
    hidden: int
    penalty: float = 1.0
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        check_neural(self)
        check_int("hidden", self.hidden, 1)
        check_real("penalty", self.penalty, 0.0)

    def module(self, dim: int, rng: Rng) -> PerceptronModule:
        return PerceptronModule(self.width, self.hidden, self.penalty, dim, rng)
