"""The Gaussian variational autoencoder: dense, signed codes and an evidence bound in nats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sparsesim._arrays import Rng, check_real
from sparsesim.solvers.neural.gaussians import drawn_from, standard_kl
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.variational import VariationalModule, VariationalSolver


@final
class GaussianVAEModule(VariationalModule):
    """q(z|x) = N(mu(x), diag s^2(x)), p(z) = N(0, I), p(x|z) = N(f(z), sigma^2 I)."""

    beta: Tensor

    def __init__(self, spec: VariationalSolver, dim: int, rng: Rng, *, beta: float, gated: bool = False) -> None:
        super().__init__(spec, dim, rng, gated=gated)
        self.register_buffer("beta", torch.tensor(beta, dtype=torch.float32))

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        mean, log_variance = self.posterior(x)
        heard = self.heard(drawn_from(mean, log_variance, step), log_variance)
        return {
            "reconstruction": self.surprise(x, self.decode(heard)),
            "kl": self.beta * standard_kl(mean, log_variance),
        }


@final
@dataclass(frozen=True)
class GaussianVAE(VariationalSolver):
    """Learns a decoder under a Gaussian prior; the codes are posterior means, dense and signed.

    The loss is the negative evidence bound in nats a sample, with weight beta on the divergence,

        ||x - f(z)||^2 / (2 sigma^2) + d/2 log(2 pi sigma^2) + beta * KL(N(mu, s^2) || N(0, I)),

    z drawn from the posterior, in the scale E||x - mean||^2 = d (in the scale of the data the bound is lower by d log
    of the factor between them). Without hidden layers f(z) = z D + b, and at the optimum this is probabilistic
    principal components: a direction of variance lambda is silent iff lambda <= beta sigma^2.

    Parameters
    ----------
    beta : weight of the divergence. The others are those of `VariationalSolver`.

    References
    ----------
    Kingma, Welling (2014), arXiv 1312.6114; Higgins et al. (2017), beta-VAE; for the linear model Lucas et al. (2019),
    arXiv 1911.02469, and Tipping, Bishop (1999).
    """

    beta: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_real("beta", self.beta, 0.0)

    def module(self, dim: int, rng: Rng) -> GaussianVAEModule:
        return GaussianVAEModule(self, dim, rng, beta=self.beta)
