"""The JumpReLU autoencoder: each latent has a learned threshold, and the number of active latents is penalised."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import final

import numpy as np
import torch
from torch import Tensor

from sparsesim._arrays import Rng, check_real
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.pieces import UnitDecoder, affine, drawn, squared_error
from sparsesim.solvers.neural.proximal import hard_positive, jump_relu
from sparsesim.solvers.neural.solver import NeuralSolver, check_neural
from sparsesim.solvers.neural.train import Training


@final
class JumpReLUModule(UnitDecoder):
    """z = u * 1[u > theta] with a price for each active latent, or for straying from a number of them."""

    penalty: Tensor
    bandwidth: Tensor
    target: Tensor

    def __init__(self, spec: JumpReLU, dim: int, rng: Rng) -> None:
        super().__init__(spec.width, dim, rng)
        self.log_threshold = drawn(np.full(spec.width, math.log(spec.threshold)))
        self.warmup, self.pre_bias, self.targeted = spec.warmup, spec.pre_bias, spec.target is not None
        for name, value in (("penalty", spec.penalty), ("bandwidth", spec.bandwidth), ("target", spec.target or 1.0)):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32))

    def inputs(self, x: Tensor) -> Tensor:
        """Return the pre-activations u ``(..., B, p)``, with or without the pre-bias."""
        return self.pre_activations(x) if self.pre_bias else affine(x, self.encoder.mT, self.encoder_bias)

    def encode(self, x: Tensor) -> Tensor:
        return hard_positive(self.inputs(x), self.log_threshold.exp().unsqueeze(-2))

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        codes, fired = jump_relu(self.inputs(x), self.log_threshold, self.bandwidth)
        count = fired.sum((-2, -1)) / x.shape[-2]
        price = (count / self.target - 1.0).square() if self.targeted else count
        return {
            "squared_error": squared_error(x, self.decode(codes)),
            "l0": price * (self.penalty * step.ramp(0.0, self.warmup)),
        }


@final
@dataclass(frozen=True)
class JumpReLU(NeuralSolver):
    """Learns atoms and thresholds that balance squared error against the number of active latents, unshrunk.

    u = x W_e' + b_e,  z = u * 1[u > theta],  x_hat = z D + b_d with unit rows of D and theta > 0 in R^p, and the loss

        mean_B (||x - x_hat||^2 + penalty * w * ||z||_0),

    or, with a ``target``, mean_B ||x - x_hat||^2 + penalty * w * (mean_B ||z||_0 / target - 1)^2, which chooses the
    number instead of its price; w rises from 0 to 1 over ``warmup``. Thresholds learn through log theta by the
    derivatives of `jump_relu`, two-sided and on pre-activations, where published implementations take one side
    or leave out the factor theta of the logarithm. Encoder and inference are those of the paper; W_e starts as D.

    The paper's bandwidth and first threshold are 0.001 for data with E||x||^2 = 1 and batches of thousands. In the
    scale E||x - mean||^2 = d codes are sqrt(d) times as large, and a batch of hundreds needs a wider window to find any
    sample in it; the defaults suit such batches. The paper's Adam has ``betas=(0.0, 0.999)``.

    Parameters
    ----------
    width : p, the number of atoms.
    penalty : price of an active latent, for the squared error summed over d; with ``target`` the weight of the square.
    bandwidth : eps, width of the window around a threshold.
    threshold : at which all thresholds start.
    target : number of active latents aimed at; None pays by number.
    warmup : share of the training over which the penalty rises.
    pre_bias : whether the encoder subtracts b_d.

    References
    ----------
    Rajamanoharan et al. (2024), "Jumping ahead", arXiv 2407.14435, equations 8 to 12.
    """

    width: int
    penalty: float = 1.0
    bandwidth: float = 0.5
    threshold: float = 0.5
    target: float | None = None
    warmup: float = 0.1
    pre_bias: bool = False
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        check_neural(self)
        check_real("penalty", self.penalty, 0.0)
        check_real("bandwidth", self.bandwidth, 0.0, open_low=True)
        check_real("threshold", self.threshold, 0.0, open_low=True)
        if self.target is not None:
            check_real("target", self.target, 0.0, self.width, open_low=True)
        check_real("warmup", self.warmup, 0.0, 1.0)

    def module(self, dim: int, rng: Rng) -> JumpReLUModule:
        return JumpReLUModule(self, dim, rng)
