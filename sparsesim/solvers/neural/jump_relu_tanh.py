"""The JumpReLU autoencoder with a tanh penalty, a free decoder, and help for latents below their threshold."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import final

import numpy as np
import torch
from torch import Tensor

from sparsesim._arrays import Rng, check_real
from sparsesim.solvers.neural.free_decoder import FreeDecoder
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.pieces import drawn
from sparsesim.solvers.neural.proximal import hard_positive, jump_relu
from sparsesim.solvers.neural.separable import averaged, row_errors
from sparsesim.solvers.neural.solver import NeuralSolver, check_neural
from sparsesim.solvers.neural.train import Training


@final
class TanhJumpReLUModule(FreeDecoder):
    """z = u * 1[u > theta] with penalties tanh(c z ||d||) and max(theta - u, 0) ||d||."""

    penalty: Tensor
    below: Tensor
    sharpness: Tensor
    bandwidth: Tensor

    def __init__(self, spec: TanhJumpReLU, dim: int, rng: Rng) -> None:
        atoms = rng.uniform(-1.0, 1.0, (spec.width, dim)) / math.sqrt(dim)
        super().__init__(atoms * (dim / spec.width), atoms)
        self.rate = spec.rate
        self.log_threshold = drawn(np.full(spec.width, math.log(spec.threshold)))
        for name in ("penalty", "below", "sharpness", "bandwidth"):
            self.register_buffer(name, torch.tensor(getattr(spec, name), dtype=torch.float32))

    def prime(self, sample: Tensor, rng: Rng) -> None:
        """Set the encoder biases so that each latent fires on the share ``rate`` of the sample."""
        level = torch.quantile(self.pre_activations(sample), 1.0 - self.rate, dim=0)
        self.encoder_bias.add_(self.log_threshold.exp() - level)

    def encode(self, x: Tensor) -> Tensor:
        return hard_positive(self.pre_activations(x), self.log_threshold.exp().unsqueeze(-2))

    def row_losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        """Return the terms of each sample, ``(..., B)`` each."""
        u, norms = self.pre_activations(x), self.norms().unsqueeze(-2)
        codes, _ = jump_relu(u, self.log_threshold, self.bandwidth)
        bent = torch.tanh(codes * (self.sharpness[..., None, None] * norms)).sum(-1)
        short = ((self.log_threshold.exp().unsqueeze(-2) - u).relu() * norms).sum(-1)
        return {
            "squared_error": row_errors(x, self.decode(codes)),
            "tanh": bent * (self.penalty * step.progress).unsqueeze(-1),
            "below": short * self.below.unsqueeze(-1),
        }

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        return averaged(self.row_losses(x, step))


@final
@dataclass(frozen=True)
class TanhJumpReLU(NeuralSolver):
    """Learns atoms of any norm and thresholds under a penalty that saturates: about a count, with a slope.

    u = x W_e' + b_e,  z = u * 1[u > theta],  x_hat = z D + b_d with D unconstrained, and the loss

        mean_B (||x - x_hat||^2 + penalty * t * sum_i tanh(c z_i ||d_i||)
                + below * sum_i max(theta_i - u_i, 0) ||d_i||),

    t rising from 0 to 1 over the whole training, c the ``sharpness``. All parameters get gradients from all terms,
    thresholds through log theta by `jump_relu`. The last term lifts latents that do not reach their threshold. D starts
    uniform within 1 / sqrt(d), W_e as (d / p) D, biases so that each latent fires at ``rate``: the paper's 10,000 / p
    is for dictionaries of millions.

    Parameters
    ----------
    width : p, the number of atoms.
    penalty : weight of the tanh terms, for the squared error summed over d, in the scale E||x - mean||^2 = d.
    below : weight of the last term.
    sharpness : c.
    bandwidth : eps, width of the window around a threshold.
    threshold : at which all thresholds start.
    rate : share of samples on which a latent fires at the start.

    References
    ----------
    Conerly, Cunningham, Templeton, Lindsey, Hosmer, Jermyn (2025), "Dictionary learning optimization techniques",
    Transformer Circuits, January. Read in third-party ports, not in full.
    """

    width: int
    penalty: float = 0.3
    below: float = 3e-6
    sharpness: float = 4.0
    bandwidth: float = 2.0
    threshold: float = math.exp(0.1)
    rate: float = 0.1
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        check_neural(self)
        check_real("penalty", self.penalty, 0.0)
        check_real("below", self.below, 0.0)
        for name in ("sharpness", "bandwidth", "threshold"):
            check_real(name, getattr(self, name), 0.0, open_low=True)
        check_real("rate", self.rate, 0.0, 1.0)

    def module(self, dim: int, rng: Rng) -> TanhJumpReLUModule:
        return TanhJumpReLUModule(self, dim, rng)
