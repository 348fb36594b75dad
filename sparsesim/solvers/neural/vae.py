"""The Gaussian variational autoencoder with a linear decoder: dense, signed codes and an evidence bound in nats."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from sparsesim._arrays import Rng, check_int, check_real
from sparsesim.solvers.neural.module import SparseModule, Step
from sparsesim.solvers.neural.pieces import affine, drawn, squared_error, unit_normal
from sparsesim.solvers.neural.solver import NeuralSolver, check_neural
from sparsesim.solvers.neural.train import Training


@final
class GaussianVAEModule(SparseModule):
    """q(z|x) = N(mu(x), diag s^2(x)), p(z) = N(0, I), p(x|z) = N(z D + b, sigma^2 I).

    With ``gated`` a latent is heard as far as it is known: s^2 <= 1 is a sigmoid, and the decoder is given (1 - s) z.
    """

    beta: Tensor

    def __init__(
        self,
        width: int,
        dim: int,
        rng: Rng,
        *,
        beta: float,
        noise_variance: float | None,
        hidden: int | None,
        gated: bool = False,
    ) -> None:
        super().__init__()
        self.gated = gated
        atoms, inputs = unit_normal(width, dim, rng), hidden or dim
        # A linear encoder starts tied, shrunk so that it does not overshoot; behind a hidden layer it starts at zero.
        means = np.zeros((hidden, width)) if hidden else atoms.T * min(1.0, dim / width)
        self.width = width
        self.hidden = drawn(rng.standard_normal((dim, hidden)) * math.sqrt(2 / dim)) if hidden else None
        self.hidden_bias = drawn(np.zeros(hidden)) if hidden else None
        self.heads = drawn(np.concatenate([means, np.zeros((inputs, width))], axis=1))  # mu and log s^2
        self.heads_bias = drawn(np.zeros(2 * width))
        self.decoder = drawn(atoms)
        self.bias = drawn(np.zeros(dim))
        log_variance = torch.tensor(math.log(noise_variance or 1.0), dtype=torch.float32)
        if noise_variance is None:
            self.log_noise: Tensor = nn.Parameter(log_variance)
        else:
            self.register_buffer("log_noise", log_variance)
        self.register_buffer("beta", torch.tensor(beta, dtype=torch.float32))

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and the log variance of the posterior, ``(..., B, p)`` each."""
        if self.hidden is not None and self.hidden_bias is not None:
            x = affine(x, self.hidden, self.hidden_bias).relu()
        heads = affine(x, self.heads, self.heads_bias)
        spread = heads[..., self.width :]
        return heads[..., : self.width], nn.functional.logsigmoid(spread) if self.gated else spread

    def heard(self, z: Tensor, deviation: Tensor) -> Tensor:
        """Return what the decoder is given of latents ``z (..., B, p)``."""
        return (1.0 - deviation) * z if self.gated else z

    def encode(self, x: Tensor) -> Tensor:
        mean, log_variance = self.posterior(x)
        return self.heard(mean, _root(log_variance))

    def decode(self, codes: Tensor) -> Tensor:
        return affine(codes, self.decoder, self.bias)

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        mean, log_variance = self.posterior(x)
        deviation = _root(log_variance)
        heard = self.heard(mean + deviation * step.normal(mean), deviation)
        error = squared_error(x, self.decode(heard))
        divergence = (mean.square() + deviation.square() - log_variance - 1.0).sum((-2, -1)) / (2 * x.shape[-2])
        constant = x.shape[-1] * (self.log_noise + math.log(2 * math.pi))
        return {"reconstruction": 0.5 * (error / self.log_noise.exp() + constant), "kl": self.beta * divergence}

    def atoms(self) -> Tensor:
        return self.decoder

    def decoder_bias(self) -> Tensor:
        return self.bias


def _root(log_variance: Tensor) -> Tensor:
    """Return the standard deviation.

    2^x is computed in place; e^x may go to a vendor library whose threads fight with those of compiled kernels.
    """
    return torch.exp2((0.5 / math.log(2)) * log_variance)


@final
@dataclass(frozen=True)
class GaussianVAE(NeuralSolver):
    """Learns a linear decoder under a Gaussian prior; the codes are posterior means, dense and signed.

    The loss is the negative evidence bound in nats a sample, with weight beta on the divergence,

        ||x - z D - b||^2 / (2 sigma^2) + d/2 log(2 pi sigma^2) + beta * KL(N(mu, s^2) || N(0, I)),

    z drawn from the posterior, in the scale E||x - mean||^2 = d (in the scale of the data the bound is lower by d log
    of the factor between them). With ``hidden=None`` encoder and decoder are linear, and at the optimum this is
    probabilistic principal components: a direction of variance lambda is silent iff lambda <= beta sigma^2.

    Parameters
    ----------
    width : p, the number of latents.
    beta : weight of the divergence.
    noise_variance : sigma^2 in the scale above; None learns it.
    hidden : units of one hidden ReLU layer of the encoder; None is a linear encoder.

    References
    ----------
    Kingma, Welling (2014), arXiv 1312.6114; Higgins et al. (2017), beta-VAE; for the linear model Lucas et al. (2019),
    arXiv 1911.02469, and Tipping, Bishop (1999).
    """

    width: int
    beta: float = 1.0
    noise_variance: float | None = None
    hidden: int | None = None
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        check_neural(self)
        check_real("beta", self.beta, 0.0)
        if self.noise_variance is not None:
            check_real("noise_variance", self.noise_variance, 0.0, open_low=True)
        if self.hidden is not None:
            check_int("hidden", self.hidden, 1)

    def module(self, dim: int, rng: Rng) -> GaussianVAEModule:
        return GaussianVAEModule(
            self.width, dim, rng, beta=self.beta, noise_variance=self.noise_variance, hidden=self.hidden
        )
