"""The quantised-latent autoencoder: every latent has a learned codebook of a few scalars."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import numpy as np
import torch
from torch import Tensor

from sparsesim._arrays import Rng, check_int, check_real
from sparsesim.solvers.neural.pieces import drawn
from sparsesim.solvers.neural.quantised import ScalarQuantised, nearest
from sparsesim.solvers.neural.solver import NeuralSolver, check_neural
from sparsesim.solvers.neural.train import Training

REACH = 0.5  # of the values at the start


@final
class QuantisedLatentModule(ScalarQuantised):
    """z_j = the value of codebook j nearest to u_j."""

    quantising: Tensor
    commitment: Tensor

    def __init__(self, spec: QuantisedLatent, dim: int, rng: Rng) -> None:
        super().__init__(spec.width, dim, rng)
        self.values = drawn(np.tile(np.linspace(-REACH, REACH, spec.values), (spec.width, 1)))
        for name in ("quantising", "commitment"):
            self.register_buffer(name, torch.tensor(getattr(spec, name), dtype=torch.float32))

    def quantise(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return u, nearest(u, self.values)

    def commitments(self, value: Tensor, quantised: Tensor) -> dict[str, Tensor]:
        # Published weights are relative to means over d and over p: both times d.
        unit = self.decoder.shape[-1] / (value.shape[-2] * value.shape[-1])
        to_values = (value.detach() - quantised).square().sum((-2, -1))
        to_latents = (value - quantised.detach()).square().sum((-2, -1))
        return {
            "quantising": self.quantising * unit * to_values,
            "commitment": self.commitment * unit * to_latents,
        }


@final
@dataclass(frozen=True)
class QuantisedLatent(NeuralSolver):
    """Learns a linear code of which every entry has one of a few learned values of its own (QLAE).

    u = x W_e' + b_e,  z_j = argmin_{v in V_j} |u_j - v|,  x_hat = z D + b_d, with the gradient of z passed to u, and

        mean_B [ ||x - x_hat||^2 + d/p (quantising ||sg(u) - z||^2 + commitment ||u - sg(z)||^2) ].

    The codebooks start equidistant in [-1/2, 1/2]. The paper holds a decoupled weight decay of 0.1 for essential; here
    it acts on all weights, the codebooks included, and is part of the default training. The paper's networks are deep.

    Parameters
    ----------
    width : p, the number of latents; the paper has twice as many as sources.
    values : in each codebook.
    quantising, commitment : weights as published, relative to means over coordinates and over latents.

    References
    ----------
    Hsu et al. (2023), "Disentanglement via latent quantization", arXiv 2305.18378.
    """

    width: int
    values: int = 10
    quantising: float = 0.01
    commitment: float = 0.01
    training: Training = field(default_factory=lambda: Training(weight_decay=0.1))

    def __post_init__(self) -> None:
        check_neural(self)
        check_int("values", self.values, 2)
        check_real("quantising", self.quantising, 0.0)
        check_real("commitment", self.commitment, 0.0)

    def module(self, dim: int, rng: Rng) -> QuantisedLatentModule:
        return QuantisedLatentModule(self, dim, rng)
